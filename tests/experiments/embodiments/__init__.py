"""Tests of experiments.embodiments."""
