"""Tests of protocol.wire."""
