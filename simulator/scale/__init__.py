"""The scale model: what servers and links of a large network carry, without an event for each frame.

``routers``     a network of routers as arrays; ``networks`` has those that have a name
``trees``       shortest paths with ties broken always alike, and sums over their trees
``placement``   where clients, groups and servers are, by seed; ``plans`` takes them from a Plan
``sizes``       octets of a packet, from the wire format
``loads``       frames, copies and octets for each way of forwarding
``tables``      rows of the patent's tables, and ``rekeying``, what a fresh key costs
``latency``     delays of deliveries
``costs``       processor time from what was measured
``queueing``    waiting in queues, exact for FIFO, and ``waiting``, at a server that fans out
``levels``      in which order the queues on routes can be worked out
``model``       all of it for one scenario; each field says whether it is exact

A load is counted in whole frames of one round, in which every client sends the same: integers, no estimates.
"""
