"""Table distribution: the representative's tables 507 and 508, as its VPN servers hold them.

``tables``      rows by key; what differs between two tables
``view``        what one server is to hold, and how far it has got
``publisher``   the representative's side: what each server is to hold, and what it was told
``subscriber``  a server's side: takes what comes, checks that it follows, and keeps the relay in step

No key has a place in them.

Patent: Figs. 15-19; tables 507, 508.
"""
