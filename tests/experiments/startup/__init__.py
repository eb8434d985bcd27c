"""Tests of how long clients take until they are in their group."""
