"""Tests of experiments.scale."""
