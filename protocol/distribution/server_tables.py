"""What each VPN server is to hold, by what user VPN management and the other servers say.

With direct delivery that is every client of every group; via servers (Fig. 19) a server's own clients, and
the other servers in place of theirs, each once.

Patent: Figs. 18, 19; tables 19, 507, 508; effects E4, E5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from protocol.distribution.hop_keys import HopKeys
from protocol.distribution.stations import ReportedStations
from protocol.distribution.view import View
from protocol.relay.tables import Member, RelayedGroup
from protocol.types import ClientId, Secret, ServerDelivery
from protocol.wire.codec import Endpoint
from protocol.wire.table_messages import GroupRow, MemberEndpoint, MemberRow, ServerRow, SpiRow


class ServerTables:
    """Puts rows into the servers' views, and takes them out."""

    def __init__(
        self,
        views: Mapping[str, View],
        delivery: ServerDelivery,
        reports: bool,
        hop_keys: HopKeys | None,
    ) -> None:
        """Takes the servers by name; ``reports`` and ``hop_keys`` as the publisher does."""
        self._views = views
        self._delivery = delivery
        self._hop_keys = hop_keys
        self._members: dict[ClientId, tuple[Member, str]] = {}
        self._held: dict[str, Counter[int]] = {name: Counter() for name in views}
        self.stations = ReportedStations(views, self._members, reports)
        self.tell_of_servers()

    def server_of(self, client_id: ClientId) -> str | None:
        """Returns the server that a client was given; None: there is no such client."""
        _, server = self._members.get(client_id, (None, None))
        return server

    def clients(self, server: str) -> int:
        """Returns how many clients a server was given."""
        return self._held[server].total()

    # -- groups and clients

    def group_changed(self, group: RelayedGroup) -> None:
        """Takes a group's address and SPIs; a group without SPIs has no member."""
        row = GroupRow(
            group.vpn_id,
            group.multicast_address,
            tuple(sorted(group.spis)),
            tuple(SpiRow(spi, sub_id) for spi, sub_id in sorted(group.sub_ids)),
            group.member_delivery,
        )
        for view in self._views.values():
            if group.spis:
                view.put_group(row)
            else:
                view.remove_group(group.vpn_id)

    def member_joined(self, member: Member, server: str) -> None:
        """Adds a client that was given ``server``, or gives it that one."""
        before = self.server_of(member.client_id)
        self._members[member.client_id] = member, server
        if before != server:
            if before is not None:
                self.stations.forget_client(member.client_id)
                self._hold(before, member, -1)
            self._hold(server, member, +1)
        for view in self._views.values():
            home = view.name == server
            if home or self._delivery == "direct":
                view.put_member(_row(member, home))
            else:
                view.remove_member(member.client_id)

    def member_left(self, client_id: ClientId) -> None:
        """Removes a client and its stations."""
        member, server = self._members.pop(client_id)
        self.stations.forget_client(client_id)
        self._hold(server, member, -1)
        for view in self._views.values():
            view.remove_member(client_id)

    def _hold(self, server: str, member: Member, change: int) -> None:
        """Counts a client at its server; the others learn which groups that one has clients of."""
        before = self._held[server][member.vpn_id]
        self._held[server][member.vpn_id] += change
        if before == 0 or before + change == 0:
            self.tell_of_servers()

    # -- other servers

    def tell_of_servers(self) -> None:
        """Names each server the others, with direct delivery none: they send it nothing."""
        if self._delivery == "direct":
            return
        for view in self._views.values():
            for other in self._views.values():
                if other is not view:
                    view.put_server(self._row_of(other, view))

    def _row_of(self, other: View, view: View) -> ServerRow:
        held = tuple(sorted(vpn for vpn, count in self._held[other.name].items() if count))
        endpoint = Endpoint.of(other.server.address)
        return ServerRow(other.name, endpoint, held, *self._keys_of(view, other))

    def _keys_of(self, view: View, other: View) -> tuple[Secret | None, tuple[Secret, ...]]:
        """Returns what a server tags what it sends the other with, and checks the other's with.

        The first once the other has the key, so that nothing is tagged with what it could not check.
        """
        if self._hop_keys is None:
            return None, ()
        send = self._hop_keys.of(view.name, other.name) if other.has_keys else None
        return send, (self._hop_keys.of(other.name, view.name),)


def _row(member: Member, home: bool) -> MemberRow:
    """Returns a client's row as its own server has it (``home``), with its keys, or as others do."""
    return MemberRow(
        member.client_id,
        member.vpn_id,
        MemberEndpoint.of(member.address),
        home,
        member.sub_id,
        member.hop_keys if home else (),
        member.binding_key if home else None,
    )
