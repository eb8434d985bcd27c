"""Settings of the property tests: the same examples on every machine, and few enough to be fast."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile(
    "protocol", max_examples=40, deadline=None, derandomize=True, database=None
)
settings.load_profile("protocol")
