"""Holds the discrete-event world that will drive the protocol's objects without a network.

It is empty for now: the testbed comes first. Its imports are checked already, so that the first
module here keeps to them.
"""
