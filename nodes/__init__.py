"""The real processes around the protocol: sockets, LAN attachments, files, users and status.

``lan``            packet socket or TAP device: whole Ethernet frames in and out (on ``interface``)
``configuration``  TOML files to ``sections``, values that cannot be wrong, or one clear line
                   (on ``toml_document``, ``toml_positions``, ``private_file``)
``users``          the users, groups and Sub IDs of a server, in SQLite (on ``database``)
``admin``          ``python -m nodes.admin``: the command line over ``users``
``server``         key server and relay, or VPN servers' representative; ``relay`` relays alone
``portal``         ``python -m nodes.portal``: the group administrators' page
``administration`` how a running server learns that its users have changed
``status``         a process's tables and counters on a Unix socket

Everything here runs on asyncio and calls ``protocol`` for every decision.
"""
