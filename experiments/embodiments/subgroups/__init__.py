"""Embodiment 2: Sub IDs changed while frames flow, expulsion, and what a rekey costs.

Patent: Figs. 11, 12-1, 12-2; claim 2; effect E2.
"""
