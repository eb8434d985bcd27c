"""VPN transfer processing 512: forwards a group's packets and cannot decrypt them.

``transfer``    takes datagrams (Fig. 7-2)
``flow``        a datagram's flow: all that a relay may read of it
``decider``     where a flow goes (steps 712-719)
``flow_table``  the decisions in force; ``upkeep`` ends those that are silent
``tables``      which clients use which group, without keys (507, 508)
``stations``    where stations are, seen here or reported (509)
``tagged``      checks hop tags before
``bindings``    where clients are, as they have shown by messages of their own

The path of a datagram: the driver receives it, :meth:`Relay.receive_datagram` finds the decision that
its flow already has or makes one, and the driver sends the same octets to each destination named.

Patent: Fig. 5-2 part 512; Fig. 7-2; claim 1.
"""

from protocol.relay.flow_table import Passed
from protocol.relay.tables import Member, RelayedGroup
from protocol.relay.tagged import TaggedRelay
from protocol.relay.transfer import Relay
from protocol.relay.verdicts import Destination, Drop, Forward, Run, Strip, Verdict

__all__ = [
    "Destination",
    "Drop",
    "Forward",
    "Member",
    "Passed",
    "Relay",
    "RelayedGroup",
    "Run",
    "Strip",
    "TaggedRelay",
    "Verdict",
]
