"""Tests of the group administrators' page."""
