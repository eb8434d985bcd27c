"""Tests of experiments.embodiments.multicast."""
