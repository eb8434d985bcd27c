"""Runs of the patent's embodiments: what they have in common, and what each adds."""
