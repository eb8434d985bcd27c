"""The experiments in the simulator's world: the same frames, invariants, record and report, no machine.

``views``   what a world's processes would say of themselves
``course``  the course of a run
"""
