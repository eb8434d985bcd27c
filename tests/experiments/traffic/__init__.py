"""Tests of experiments.traffic."""
