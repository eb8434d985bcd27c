"""Tests of protocol.management."""
