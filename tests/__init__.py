"""Tests, in the same folders as what they test; run by `make test` or `make test-fast`."""
