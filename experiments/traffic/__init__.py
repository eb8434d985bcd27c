"""Frames between terminals: numbered probe frames, steady streams, ping and TCP."""
