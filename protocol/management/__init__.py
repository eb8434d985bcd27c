"""User VPN management 511: the group key server. Who belongs to which group, and with what key.

``management``     what a driver calls: connections, messages, time
``registration``   from a user ID to a place in a group (Fig. 7-1)
``placement``      which VPN server a client gets (Figs. 15, 16); ``servers`` chooses
``changed_users``  users expelled or moved while they are there (Fig. 11)
``members``        the tables and connections, and how a membership ends
``group_keys``     the SAs: made, handed out, replaced; ``rekeying`` says when
``relay_keys``     what a client shares with its relay alone
``tables``         user VPN group 506, multicast address 508 with the SAs

It makes keys and hands them out; it seals and opens nothing.

Patent: Fig. 5-2 part 511; Fig. 7-1; claims 1, 3-5.
"""

from protocol.management.management import AssociationPer, Management
from protocol.management.rekeying import Rekeying, RekeyPolicy
from protocol.management.tables import GroupConfiguration, UserRecord

__all__ = [
    "AssociationPer",
    "GroupConfiguration",
    "Management",
    "RekeyPolicy",
    "Rekeying",
    "UserRecord",
]
