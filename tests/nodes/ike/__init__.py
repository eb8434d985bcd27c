"""Tests of `nodes.ike`."""
