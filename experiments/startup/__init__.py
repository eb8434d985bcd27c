"""How long clients take until they are in their group, what that takes outside, and what they hold.

Patent: Fig. 7-1 steps 701-708.
"""
