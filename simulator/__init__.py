"""A deterministic world of events that drives the protocol's objects without a machine beneath them.

``engine``     time in integer ns, events by (time, serial number)
``chance``     random streams by name, and ``trace``, a run's fingerprint
``packets``    what crosses links; ``links`` and ``network`` carry it, ``lan`` carries frames
``channels``   control channels: ordered streams that are delayed, break and come back
``processes``  hosts' processes around Client, Management, Representative, Relay and Subscriber
``world``      a Plan with all of these in it
``faults``     what can go wrong, as data; ``monitor`` what must hold whatever does; ``search`` both together

Time, chance and faults come from the seed and the script alone: the same two give the same run.
"""
