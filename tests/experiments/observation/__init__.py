"""Tests of experiments.observation."""
