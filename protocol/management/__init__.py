"""User VPN management 511: the group key server. Who belongs to which group, and with what key.

``tables``      user VPN group 506, multicast address 508 with the SAs
``rekeying``    which changes bring a new SA, and when
``management``  registration, leaving, time-out, new SAs (Fig. 7-1); changed users (Fig. 11)

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
