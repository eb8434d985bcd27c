"""The kernel data plane: an eBPF program that holds copies of the relay's decisions.

``relay.bpf.c`` replicates datagrams of decided flows; all else goes up to the socket plane
``layout``      the octets of its maps
``library``     libbpf, called by ctypes
``attachment``  puts the program on an interface and takes it off, an earlier run's too
``program``     loads it, and gives its maps and counters to
``plane``       which copies the relay's decisions into them, takes them back and reads the counters
``beside``      what a server has of all this
"""
