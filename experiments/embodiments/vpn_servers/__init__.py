"""Embodiments 4 and 5: a representative and VPN servers, with what must hold, faults, and loads.

Patent: Figs. 15-19.
"""
