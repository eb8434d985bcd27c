"""Tests of experiments.planes."""
