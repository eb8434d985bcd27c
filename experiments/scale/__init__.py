"""Runs of the scale model: what it says of large networks, and how well it foretells what is measured.

``calibration``  measures cells for fitting and for checking on the instrument's rig, ``in_networks`` there
``prediction``   fits, predicts what was left out, and compares; ``offered`` is what both count
``calibrate``    the command that does this; ``command`` the one that works out a large network
``curves``       loads against numbers; ``plots`` draws them; ``drawings`` says what a record's figures show
"""
