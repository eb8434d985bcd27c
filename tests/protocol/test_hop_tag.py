"""Hop tags: the function's reference vectors, what a tag is over, and who is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from siphashc import siphash

from protocol import hop_tag
from protocol.errors import DropReason, WireError
from protocol.relay import Drop, Forward, Member, RelayedGroup, Strip, TaggedRelay
from protocol.types import Address, Secret, VpnId
from tests.protocol.relay.datagrams import (
    GROUPS,
    address,
    datagram,
    member,
    receivers,
    relay_with,
)
from tests.protocol.vectors import octets_of, vectors

KEY, OTHER_KEY = Secret(bytes(range(16))), Secret(bytes(16))
VPN, IPV4_VPN = 1001, 1003

# The authors' reference outputs for the key 00 01 … 0f and the messages 00 01 … of these lengths.
REFERENCE = {
    0: "310e0edd47db6f72",
    1: "fd67dc93c539f874",
    7: "37d1018bf50002ab",
    8: "6224939a79f5f593",
    15: "e545be4961ca29a1",
}


@pytest.mark.parametrize("length", REFERENCE)
def test_the_function_gives_the_reference_outputs(length: int) -> None:
    found = siphash(KEY.reveal(), bytes(range(length))).to_bytes(8, "little")
    assert found.hex() == REFERENCE[length]


@pytest.mark.parametrize("vector", vectors("hop_tag").values(), ids=vectors("hop_tag"))
def test_a_tagged_datagram_is_the_vector(vector: dict[str, Any]) -> None:
    untagged, key = bytes.fromhex(vector["untagged"]), Secret(bytes.fromhex(vector["key"]))
    assert hop_tag.add(untagged, key) == octets_of(vector)
    other = hop_tag.add(untagged, OTHER_KEY)
    head = hop_tag.renewed(other, key)
    assert head + other[len(head) :] == octets_of(vector)
    assert hop_tag.remove(octets_of(vector)) == untagged


@pytest.mark.parametrize("vpn_id", [VPN, IPV4_VPN])
@pytest.mark.parametrize("source", ["aa", None])
def test_a_tag_stands_behind_the_vpn_header_and_comes_off_again(
    vpn_id: int, source: str | None
) -> None:
    plain = datagram(vpn_id, source)
    added = hop_tag.add(plain, KEY)
    assert len(added) == len(plain) + hop_tag.LENGTH
    headers = (4 if source is None else 16) + (40 if vpn_id == VPN else 20) + 8
    tagged = hop_tag.split(added)
    assert tagged is not None
    clear, tag = tagged
    assert clear == plain[:1] + b"\x01" + plain[2:headers]
    assert tag == added[(4 if source is None else 16) :][:8]
    assert hop_tag.key_of(tagged, (KEY,)) == hop_tag.key_of(tagged, (OTHER_KEY, KEY)) == KEY
    assert hop_tag.key_of(tagged, (OTHER_KEY,)) is None
    assert hop_tag.key_of(tagged, ()) is None


@pytest.mark.parametrize("vpn_id", [VPN, IPV4_VPN])
@pytest.mark.parametrize("source", ["aa", None])
def test_a_tag_is_over_all_that_is_clear_and_nothing_else(vpn_id: int, source: str | None) -> None:
    added = hop_tag.add(datagram(vpn_id, source), KEY)
    headers = (4 if source is None else 16) + (40 if vpn_id == VPN else 20) + 8
    for place in range(2, len(added)):
        changed = bytearray(added)
        changed[place] ^= 0x01
        tagged = hop_tag.split(bytes(changed))
        covered = place < headers + hop_tag.LENGTH
        assert (tagged is None or hop_tag.key_of(tagged, (KEY,)) is None) == covered, place


@pytest.mark.parametrize("source", ["aa", None])
def test_a_receiver_takes_the_tag_off_and_refuses_a_datagram_without(source: str | None) -> None:
    plain = datagram(VPN, source)
    assert hop_tag.remove(hop_tag.add(plain, KEY)) == plain
    stripped = plain[4 if source is None else 16 :]
    assert hop_tag.remove(stripped) == stripped
    for octets in (plain, plain[:2], b""):
        with pytest.raises(WireError, match="hop tag"):
            hop_tag.remove(octets)


@given(st.binary(max_size=80))
def test_any_octets_are_taken_apart_or_refused(octets: bytes) -> None:
    tagged = hop_tag.split(octets)
    if tagged is None:
        return
    clear, tag = tagged
    header = 16 if octets[0] == 1 else 4
    assert octets.startswith(clear[:header] + tag + clear[header:])


# -- relays that require tags


def hop_key(name: str) -> Secret:
    return Secret(name.encode() * 16)


def tagging_relay(*names: str, strip: Strip = Strip.KEEP) -> TaggedRelay:
    relay = TaggedRelay(strip)
    for row in relay_with().multicast_addresses.rows():
        relay.install_group(RelayedGroup(row.vpn_id, row.multicast_address, row.spis))
    for name in names:
        known = member(name)
        relay.add_member(
            Member(known.client_id, known.vpn_id, known.address, hop_keys=(hop_key(name),))
        )
    return relay


def tagged_datagram(name: str, source: str | None = "aa", destination: str = "*") -> bytes:
    return hop_tag.add(datagram(VPN, source, destination), hop_key(name))


def pass_on(relay: TaggedRelay, name: str, payload: bytes) -> set[str] | str:
    return receivers(relay.receive_datagram(payload, address(name), 0))


@pytest.mark.parametrize("source", ["aa", None])
def test_a_datagram_with_its_senders_tag_is_forwarded_and_counted_whole(source: str | None) -> None:
    relay = tagging_relay("a", "b", "c")
    payload = tagged_datagram("a", source)
    for _ in range(2):
        assert pass_on(relay, "a", payload) == {"b", "c"}
    totals = relay.flows.totals()
    assert (totals.octets_in, totals.octets_out) == (2 * len(payload), 4 * len(payload))
    assert len(relay.flows) == 1


@pytest.mark.parametrize(
    ("sender", "payload", "reason"),
    [
        ("a", datagram(VPN), "forged_hop_tag"),
        ("a", tagged_datagram("b"), "forged_hop_tag"),
        ("a", tagged_datagram("a")[:30], "forged_hop_tag"),
        ("a", b"", "forged_hop_tag"),
        ("a", tagged_datagram("a")[:-1], "malformed_datagram"),
        ("a", hop_tag.add(datagram(VPN, spi=7), hop_key("a")), "unknown_spi"),
        ("c", tagged_datagram("c"), "unregistered_sender"),
    ],
)
def test_what_must_not_pass_is_dropped_before_anything_is_learnt(
    sender: str, payload: bytes, reason: str
) -> None:
    relay = tagging_relay("a", "b")
    if reason == "unknown_spi":
        assert pass_on(relay, sender, payload) == reason
        return
    assert pass_on(relay, sender, payload) == reason
    assert relay.flows.totals().drops == {DropReason(reason): 1}
    assert (len(relay.flows), len(relay.mac_ip)) == (0, 0)


def test_a_forged_datagram_of_a_known_flow_is_dropped_and_moves_no_station() -> None:
    relay = tagging_relay("a", "b", "c")
    assert pass_on(relay, "b", tagged_datagram("b", "bb")) == {"a", "c"}
    assert pass_on(relay, "a", tagged_datagram("a", "aa", "bb")) == {"b"}
    for _ in range(3):
        assert pass_on(relay, "a", tagged_datagram("c", "aa", "bb")) == "forged_hop_tag"
        assert pass_on(relay, "c", tagged_datagram("a", "bb")) == "forged_hop_tag"
    assert pass_on(relay, "a", tagged_datagram("a", "aa", "bb")) == {"b"}


def test_every_datagram_of_a_batch_is_checked() -> None:
    relay = tagging_relay("a", "b")
    good, forged = tagged_datagram("a"), tagged_datagram("b")
    size = len(good)
    buffer = bytearray(good * 3 + forged + good * 2)
    runs = relay.receive_batch(buffer, slice(0, len(buffer)), size, address("a"), 0)
    assert [
        (run.start // size, run.stop // size, isinstance(run.verdict, Drop)) for run in runs
    ] == [
        (0, 3, False),
        (3, 4, True),
        (4, 6, False),
    ]
    assert relay.flows.totals().datagrams_in == 6


SEQUENCE_AT = 16 + hop_tag.LENGTH + 40 + 4


def sequenced(sender: str, number: int, destination: str = "*") -> bytes:
    """Builds a datagram of one flow with a sequence number, and the tag that goes with it."""
    plain = bytearray(datagram(VPN, "aa", destination))
    at = SEQUENCE_AT - hop_tag.LENGTH
    plain[at : at + 4] = number.to_bytes(4, "big")
    return hop_tag.add(bytes(plain), hop_key(sender))


segments = st.builds(
    sequenced,
    st.sampled_from(["a", "a", "a", "a", "b"]),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["*", "*", "*", "bb"]),
)
altered = st.builds(
    lambda whole, place, bit: whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :],
    segments,
    st.integers(0, SEQUENCE_AT + 40),
    st.integers(0, 7),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(segments | segments | altered, min_size=1, max_size=12), st.integers(0, 60))
def test_a_tagged_batch_is_decided_as_one_datagram_after_the_other(
    batch: list[bytes], cut: int
) -> None:
    size, source = len(batch[0]), address("a")
    joined = b"".join(batch)
    buffer = bytearray(joined[: len(joined) - cut])
    batched, single = tagging_relay("a", "b", "c"), tagging_relay("a", "b", "c")
    for now in (0, 1):
        verdicts = []
        for run in batched.receive_batch(buffer, slice(0, len(buffer)), size, source, now):
            verdicts += [run.verdict] * -((run.start - run.stop) // size)
        parts = [bytes(buffer[at : at + size]) for at in range(0, len(buffer), size)]
        assert verdicts == [single.receive_datagram(part, source, now) for part in parts]
        assert batched.flows.totals() == single.flows.totals()


def test_a_batch_of_one_flow_is_parsed_once_and_each_tag_checked() -> None:
    relay = tagging_relay("a", "b")
    good = [sequenced("a", number) for number in range(40)]
    spoilt = bytearray(good[30])
    spoilt[SEQUENCE_AT] ^= 1
    size = len(good[0])
    assert hop_tag.count_alike(memoryview(b"".join(good)), size, hop_key("a")) == 40
    buffer = bytearray(b"".join([*good[:30], spoilt, *good[31:]]))
    assert hop_tag.count_alike(memoryview(buffer), size, hop_key("a")) == 30
    assert hop_tag.count_alike(memoryview(buffer), size, hop_key("b")) == 0
    assert hop_tag.count_alike(memoryview(buffer)[: 2 * size - 1], size, hop_key("a")) == 1
    runs = relay.receive_batch(buffer, slice(0, len(buffer)), len(good[0]), address("a"), 0)
    assert [isinstance(run.verdict, Drop) for run in runs] == [False, True, False]


@pytest.mark.parametrize("place", range(SEQUENCE_AT + 4))
def test_one_octet_that_differs_ends_a_run_of_tagged_datagrams(place: int) -> None:
    good = [sequenced("a", number) for number in range(4)]
    size = len(good[0])
    spoilt = bytearray(good[2])
    spoilt[place] ^= 1
    batch = memoryview(b"".join([*good[:2], spoilt, good[3]]))
    assert hop_tag.count_alike(batch, size, hop_key("a")) == 2


@pytest.mark.parametrize("cut", [1, 8, 40])
def test_a_datagram_of_a_kept_flow_that_is_cut_short_is_dropped(cut: int) -> None:
    relay = tagging_relay("a", "b")
    whole = tagged_datagram("a")
    assert pass_on(relay, "a", whole) == {"b"}
    short = whole[:-cut]
    assert pass_on(relay, "a", short) == "malformed_datagram"
    runs = relay.receive_batch(
        bytearray(3 * short), slice(0, 3 * len(short)), len(short), address("a"), 0
    )
    assert [run.verdict for run in runs] == [Drop(DropReason.MALFORMED_DATAGRAM)]


def test_with_the_header_the_tag_is_stripped_too() -> None:
    relay = tagging_relay("a", "b", strip=Strip.PATENT)
    payload = tagged_datagram("a")
    verdict = relay.receive_datagram(payload, Address(*address("a")), 0)
    assert isinstance(verdict, Forward)
    ((_, strip, _),) = verdict.destinations
    assert payload[strip:] == datagram(VPN)[16:]


def test_a_relay_without_tags_refuses_the_flag() -> None:
    relay = relay_with("a", "b")
    verdict = relay.receive_datagram(tagged_datagram("a"), address("a"), 0)
    assert receivers(verdict) in ("unsupported_flags", "malformed_datagram")
    assert GROUPS[VpnId(VPN)]
