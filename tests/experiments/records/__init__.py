"""Tests of experiments.records."""
