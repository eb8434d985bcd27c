"""Settings of the property tests: examples few enough to be fast."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("protocol", settings.get_profile("steady"), max_examples=40)
settings.load_profile("protocol")
