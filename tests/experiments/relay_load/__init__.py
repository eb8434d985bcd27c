"""Tests of experiments.relay_load."""
