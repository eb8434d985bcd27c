"""Tests of nodes.kernel."""
