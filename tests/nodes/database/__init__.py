"""Tests of what a server keeps on disk."""
