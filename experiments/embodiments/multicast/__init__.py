"""Embodiment 3: multicast routers carry the sealed packets."""
