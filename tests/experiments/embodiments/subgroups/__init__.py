"""Tests of embodiment 2's experiment."""
