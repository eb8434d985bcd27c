"""The ladder: from a forwarder that looks at nothing to a hub as it was in 2004, in the same loop.

Patent: effect E1.
"""
