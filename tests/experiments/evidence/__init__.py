"""Tests of experiments.evidence."""
