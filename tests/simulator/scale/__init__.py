"""Tests of simulator.scale."""
