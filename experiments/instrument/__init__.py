"""The instrument: what a server's process pays for a frame, on a measurement that has been checked."""
