"""VPN transfer at the client (Figs. 8-1, 8-2): what is sealed, what is delivered, and why not."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from protocol.client import Client
from protocol.client.actions import DeliverFrame, SendDatagram
from protocol.client.tables import AuthenticationInformation, Side, VpnInformation
from protocol.errors import DropReason
from protocol.types import SECOND, Address, ClientId, Secret, VpnId
from protocol.wire import esp, etherip, ethernet
from protocol.wire.inner_packet import InnerPacket
from protocol.wire.vpn_header import VpnHeader
from tests.protocol.associations import association
from tests.world import frame, mac

RELAY = Address("3ffe::1000", 5000)
GROUP, OTHER_GROUP = "ff1e::1", "ff1e::2"
MTU = 1346


class Station:
    """A client with its SA set by hand, and what it does with frames and datagrams."""

    def __init__(self, sender_id: int, group: str = GROUP, listening: int = 0) -> None:
        authentication = AuthenticationInformation("a", Secret(b""), VpnId(1001))
        self.client = Client(authentication, 5000, listening=listening)
        self.information = VpnInformation(
            ClientId(sender_id),
            VpnId(1001),
            ip_address(f"3ffe:{sender_id:x}::1"),
            ip_address(group),
            RELAY,
            MTU,
        )
        self.client.configure(self.information, association(sender_id))

    def sends(self, octets: bytes, seconds: float = 0) -> bytes | DropReason:
        """Takes a frame of the LAN; the datagram's payload, or why it is dropped."""
        self.client.receive_frame(octets, round(seconds * SECOND))
        return self._result()

    def takes(
        self, payload: bytes, seconds: float = 0, source: Address = RELAY
    ) -> bytes | DropReason:
        """Takes a datagram; the frame, or why it is dropped."""
        self.client.receive_datagram(payload, source, round(seconds * SECOND))
        return self._result()

    def _result(self) -> bytes | DropReason:
        action = self.client.next_action()
        drops = self.client.drops
        if action is None:
            (reason,) = drops
            assert drops[reason] == 1
            drops.clear()
            return reason
        assert not drops
        assert self.client.next_action() is None
        if isinstance(action, SendDatagram):
            assert action.destination == RELAY
            return action.payload
        assert isinstance(action, DeliverFrame)
        return action.frame


def sealed(octets: bytes, sender_id: int = 2, group: str = GROUP) -> bytes:
    """The datagram that another client makes of ``octets``."""
    payload = Station(sender_id, group).sends(octets)
    assert isinstance(payload, bytes)
    return payload


def wrapped(packet: bytes, octets: bytes, group: str = GROUP) -> bytes:
    """A datagram with that ESP packet and the header that belongs to the frame."""
    header = ethernet.EthernetHeader.parse(octets)
    inner = InnerPacket(ip_address("3ffe:2::1"), ip_address(group), packet)
    return VpnHeader((header.source, header.destination)).pack() + inner.pack()


BROADCAST = frame("*", "bb")


# -- from the LAN


def test_a_frame_becomes_a_datagram_with_the_frames_stations_outside() -> None:
    payload = Station(1).sends(frame("bb", "aa", b"secret words"))
    assert isinstance(payload, bytes)
    assert VpnHeader.parse(payload) == ((mac("aa"), mac("bb")), 0)
    inner = InnerPacket.parse(payload[16:])
    assert (str(inner.source), str(inner.destination)) == ("3ffe:1::1", GROUP)
    assert b"secret words" not in payload


@pytest.mark.parametrize("length", [0, 6, 13])
def test_a_frame_without_a_whole_header_is_malformed(length: int) -> None:
    assert Station(1).sends(bytes(length)) is DropReason.MALFORMED_FRAME


@pytest.mark.parametrize("source", ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "00:00:00:00:00:00"])
def test_a_frame_from_a_group_or_zero_address_stays_here(source: str) -> None:
    octets = mac("bb") + ethernet.parse_mac(source) + b"\x88\xb5"
    assert Station(1).sends(octets) is DropReason.GROUP_SOURCE


def test_a_frame_may_fill_the_lan_mtu_and_one_octet_more_goes_in_pieces() -> None:
    payload = Station(1).sends(frame("bb", "aa", bytes(MTU)))
    assert isinstance(payload, bytes)
    assert 40 + 8 + len(payload) <= 1500
    first, second = pieces_of(Station(1), frame("bb", "aa", bytes(MTU + 1)))
    assert 1490 < 40 + 8 + len(first) <= 1500
    receiver = Station(2)
    assert receiver.takes(second) is DropReason.PIECE_KEPT
    assert receiver.takes(first) == frame("bb", "aa", bytes(MTU + 1))


def test_a_piece_behind_another_vpn_header_spoils_its_frame() -> None:
    first, second = pieces_of(Station(1), frame("bb", "aa", bytes(MTU + 1)))
    receiver = Station(2)
    assert receiver.takes(first) is DropReason.PIECE_KEPT
    other = VpnHeader((mac("cc"), mac("bb"))).pack() + second[16:]
    assert receiver.takes(other) is DropReason.HEADER_MISMATCH


def test_pieces_behind_one_wrong_vpn_header_are_no_frame() -> None:
    receiver = Station(2)
    header = VpnHeader((mac("cc"), mac("bb"))).pack()
    first, second = pieces_of(Station(1), frame("bb", "aa", bytes(MTU + 1)))
    assert receiver.takes(header + first[16:]) is DropReason.PIECE_KEPT
    assert receiver.takes(header + second[16:]) is DropReason.HEADER_MISMATCH


def test_no_piece_is_sent_of_a_frame_for_which_counters_do_not_suffice() -> None:
    station = Station(1)
    sealing = station.client.associations.sealing
    assert sealing is not None
    sealing.next_counter = sealing.last_counter
    assert station.sends(frame("bb", "aa", bytes(MTU + 1))) is DropReason.COUNTER_EXHAUSTED


def pieces_of(station: Station, octets: bytes) -> list[bytes]:
    """Has a station send a frame; the payloads of all its datagrams."""
    station.client.receive_frame(octets, 0)
    payloads = []
    while (action := station.client.next_action()) is not None:
        assert isinstance(action, SendDatagram)
        payloads.append(action.payload)
    return payloads


def test_a_frame_between_two_stations_of_this_lan_stays_here() -> None:
    station = Station(1)
    assert isinstance(station.sends(frame("*", "aa")), bytes)
    assert station.sends(frame("aa", "ab")) is DropReason.LOCAL_DESTINATION
    assert isinstance(station.sends(frame("bb", "aa")), bytes)


@pytest.mark.parametrize("last", [0x00, 0x02, 0x0E])
def test_a_frame_that_no_bridge_forwards_stays_here(last: int) -> None:
    octets = bytes.fromhex("0180c20000") + bytes([last]) + mac("aa") + b"\x88\xcc"
    assert Station(1).sends(octets) is DropReason.BRIDGE_LOCAL_DESTINATION


def test_before_a_registration_nothing_is_sealed_and_nothing_opened() -> None:
    station = Station(1)
    station.client = Client(AuthenticationInformation("a", Secret(b""), VpnId(1001)), 5000)
    assert station.sends(frame("bb", "aa")) is DropReason.NOT_REGISTERED
    assert station.takes(sealed(BROADCAST)) is DropReason.NOT_REGISTERED


def test_a_frame_that_is_dropped_uses_up_no_counter() -> None:
    station = Station(1)
    station.sends(frame("bb", "aa", bytes(66_000)))
    station.sends(b"short")
    assert station.client.associations.sealing is not None
    assert station.client.associations.sealing.next_counter == 1


# -- loop protection (step 802) and moves


def test_a_copy_that_comes_round_is_not_sent_out_again() -> None:
    station = Station(1)
    assert station.takes(sealed(BROADCAST), 0) == BROADCAST
    assert station.sends(BROADCAST, 0) is DropReason.STATION_SEEN_OUTSIDE
    assert station.sends(BROADCAST, 0.99) is DropReason.STATION_SEEN_OUTSIDE


def test_a_station_that_moves_to_this_lan_is_heard_after_the_hold_down() -> None:
    station = Station(1)
    station.takes(sealed(BROADCAST), 0)
    assert isinstance(station.sends(BROADCAST, 1), bytes)
    assert station.client.transfer.stations.lookup(mac("bb"), SECOND) is Side.LAN


def test_a_local_frame_does_not_prolong_the_hold_down() -> None:
    station = Station(1)
    station.takes(sealed(BROADCAST), 0)
    for tenth in range(10):
        assert station.sends(BROADCAST, tenth / 10) is DropReason.STATION_SEEN_OUTSIDE
    assert isinstance(station.sends(BROADCAST, 1), bytes)


def test_a_frame_of_a_local_station_does_not_come_back_in() -> None:
    station, other = Station(1), Station(2)
    station.sends(frame("*", "aa"), 0)
    again = [other.sends(frame("*", "aa", bytes([n]))) for n in range(2)]
    assert all(isinstance(payload, bytes) for payload in again)
    first, second = (payload for payload in again if isinstance(payload, bytes))
    assert station.takes(first, 0.9) is DropReason.STATION_SEEN_HERE
    assert station.takes(second, 1.0) == frame("*", "aa", bytes([1]))


def test_frames_to_a_station_that_moved_away_are_sent_after_it_is_heard_outside() -> None:
    station = Station(1)
    station.sends(frame("*", "bb"), 0)
    assert station.sends(frame("bb", "aa"), 2) is DropReason.LOCAL_DESTINATION
    assert station.takes(sealed(BROADCAST), 2) == BROADCAST
    assert isinstance(station.sends(frame("bb", "aa"), 2), bytes)


def test_a_station_that_was_long_silent_is_forgotten() -> None:
    station = Station(1)
    station.takes(sealed(BROADCAST), 0)
    station.client.handle_timeout(3599 * SECOND)
    assert len(station.client.transfer.stations) == 1
    station.client.handle_timeout(3604 * SECOND)
    assert len(station.client.transfer.stations) == 0


# -- from the relay


def test_a_datagram_becomes_the_frame_whole_or_stripped() -> None:
    for below in (0, 16):
        assert Station(1).takes(sealed(BROADCAST)[below:]) == BROADCAST


def test_a_header_without_stations_is_accepted() -> None:
    payload = VpnHeader(None).pack() + sealed(BROADCAST)[16:]
    assert Station(1).takes(payload) == BROADCAST


@pytest.mark.parametrize(
    "source", [Address("3ffe::1000", 5001), Address("3ffe::1001", 5000)], ids=str
)
def test_a_datagram_that_is_not_from_the_relay_is_not_looked_at(source: Address) -> None:
    station = Station(1)
    payload = sealed(BROADCAST)
    assert station.takes(payload, source=source) is DropReason.UNEXPECTED_SOURCE
    assert station.takes(payload) == BROADCAST


def test_a_datagram_of_another_groups_address_is_refused() -> None:
    payload = sealed(BROADCAST, group=OTHER_GROUP)
    assert Station(1).takes(payload) is DropReason.FOREIGN_GROUP


def test_an_spi_without_an_sa_is_unknown() -> None:
    payload = bytearray(sealed(BROADCAST))
    payload[16 + 40 + 3] ^= 1
    assert Station(1).takes(bytes(payload)) is DropReason.UNKNOWN_SPI


def test_an_own_packet_that_comes_back_is_not_delivered() -> None:
    station = Station(1)
    payload = station.sends(frame("*", "aa"))
    assert isinstance(payload, bytes)
    assert station.takes(payload, 5) is DropReason.OWN_PACKET


def test_a_packet_that_comes_twice_is_delivered_once() -> None:
    station = Station(1)
    payload = sealed(BROADCAST)
    assert [station.takes(payload), station.takes(payload)] == [BROADCAST, DropReason.REPLAYED]


def test_a_forged_icv_is_refused_and_teaches_nothing() -> None:
    station = Station(1)
    payload = sealed(BROADCAST)
    assert station.takes(payload[:-1] + b"\0") is DropReason.FORGED_ICV
    assert len(station.client.transfer.stations) == 0
    assert station.takes(payload) == BROADCAST


@pytest.mark.parametrize("place", [4, 9, 10, 15])
def test_stations_outside_that_are_not_the_frames_are_refused_and_not_learnt(place: int) -> None:
    station = Station(1)
    payload = bytearray(sealed(BROADCAST))
    payload[place] ^= 1
    assert station.takes(bytes(payload)) is DropReason.HEADER_MISMATCH
    assert len(station.client.transfer.stations) == 0


@pytest.mark.parametrize("source", ["ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"])
def test_a_member_that_forges_a_group_source_is_refused(source: str) -> None:
    octets = mac("aa") + ethernet.parse_mac(source) + b"\x88\xb5"
    payload = wrapped(association(2).seal(octets), octets)
    assert Station(1).takes(payload) is DropReason.GROUP_SOURCE


def test_a_frame_without_a_whole_header_inside_is_refused() -> None:
    payload = wrapped(association(2).seal(b"thirteen octe"), BROADCAST)
    assert Station(1).takes(payload) is DropReason.MALFORMED_PLAINTEXT


@pytest.mark.parametrize("cut", range(0, 110, 3))
def test_a_datagram_cut_short_is_malformed(cut: int) -> None:
    payload = sealed(BROADCAST)
    assert Station(1).takes(payload[: min(cut, len(payload) - 1)]) is DropReason.MALFORMED_DATAGRAM


@pytest.mark.parametrize(("place", "value"), [(0, 3), (1, 1), (2, 1), (16, 0x50), (22, 17)])
def test_a_datagram_that_breaks_a_rule_outside_is_malformed(place: int, value: int) -> None:
    payload = bytearray(sealed(BROADCAST))
    payload[place] = value
    assert Station(1).takes(bytes(payload)) is DropReason.MALFORMED_DATAGRAM


def test_the_overhead_is_what_the_lan_mtu_allows_for() -> None:
    payload = sealed(frame("aa", "bb", bytes(100)))
    padding = -(etherip.HEADER_LENGTH + 14 + 100 + esp.TRAILER_LENGTH) % esp.ALIGNMENT
    assert len(payload) - 100 == 16 + 40 + 8 + 8 + 2 + 14 + padding + 2 + 16
