"""VPN client 102: joins a group and carries its LAN's frames to and from it.

``tables``           SA management 308, VPN information 309, authentication information 310,
                     external LAN MAC management 311
``establishment``    VPN establishment processing 313: registration and keys over the control channel
``loop_protection``  which of a group's clients on one LAN forwards
``announcing``       where stations are, after one has taken over
``transfer``         VPN transfer processing 314: a frame in, a datagram out, and the reverse

Patent: Figs. 3-1 to 4-2, 8-1, 8-2; claims 6-9.
"""

from protocol.client.client import Client

__all__ = ["Client"]
