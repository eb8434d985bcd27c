"""Tests of table distribution."""
