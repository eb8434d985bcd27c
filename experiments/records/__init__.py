"""What a run leaves: its samples, its figures, and what it ran on."""
