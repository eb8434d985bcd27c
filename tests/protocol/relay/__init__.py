"""Tests of protocol.relay."""
