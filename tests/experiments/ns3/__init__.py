"""Tests of experiments.ns3."""
