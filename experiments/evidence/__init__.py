"""What is claimed, what is expected of it, and the runs that show it: ``make claims`` and CLAIMS.md."""
