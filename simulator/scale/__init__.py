"""Models of large networks, in arrays instead of events."""
