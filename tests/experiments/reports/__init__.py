"""Tests of experiments.reports."""
