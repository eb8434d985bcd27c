"""The data planes against each other: what a datagram costs in each, and that each loses none.

Patent: effect E1.
"""
