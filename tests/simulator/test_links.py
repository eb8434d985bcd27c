from __future__ import annotations

from ipaddress import ip_address

import pytest

from simulator.chance import Chance
from simulator.engine import Engine
from simulator.links import Direction, Impairment
from simulator.packets import UDP, Packet

MILLISECOND = 1_000_000


class Wire:
    """A link and what arrives at its end."""

    def __init__(self, rate_bits: int | None = None, queue_octets: int = 10_000) -> None:
        self.engine = Engine()
        self.arrived: list[tuple[int, bytes]] = []
        self.direction = Direction(
            self.engine,
            Chance(1).stream("link"),
            lambda packet: self.arrived.append((self.engine.now, packet.payload)),
            5 * MILLISECOND,
            rate_bits,
            queue_octets,
        )

    def send(self, count: int = 1, size: int = 100) -> None:
        for number in range(count):
            self.direction.send(packet(number.to_bytes(2, "big").ljust(size, b"\0")))
        self.engine.run_until(self.engine.now + 1_000 * MILLISECOND)


def packet(payload: bytes) -> Packet:
    return Packet(ip_address("3ffe::1"), ip_address("3ffe::2"), UDP, payload, (1, 2))


def test_a_packet_arrives_after_the_delay() -> None:
    wire = Wire()
    wire.send()
    assert [at for at, _ in wire.arrived] == [5 * MILLISECOND]


def test_packets_wait_for_each_other_at_a_limited_rate() -> None:
    wire = Wire(rate_bits=8 * 162_000)  # 162 octets a millisecond: one packet with its framing
    wire.send(3)
    assert [at for at, _ in wire.arrived] == [6 * MILLISECOND, 7 * MILLISECOND, 8 * MILLISECOND]


def test_a_full_queue_drops_and_counts() -> None:
    wire = Wire(rate_bits=8_000, queue_octets=320)
    wire.send(5)
    assert wire.direction.counts["queue_full"] == 3


@pytest.mark.parametrize(
    ("impairment", "counter"),
    [
        (Impairment(loss=0.3), "lost"),
        (Impairment(duplication=0.3), "duplicated"),
        (Impairment(reordering=0.3), "late"),
        (Impairment(corruption=0.3), "corrupted"),
    ],
)
def test_an_impairment_befalls_about_its_share(impairment: Impairment, counter: str) -> None:
    wire = Wire()
    wire.direction.impairment = impairment
    wire.send(1000)
    counts = wire.direction.counts
    assert 200 < counts[counter] < 400
    assert counts["arrived"] == 1000 - counts["lost"] + counts["duplicated"] == len(wire.arrived)


def test_a_link_that_is_down_loses_everything() -> None:
    wire = Wire()
    wire.direction.impairment = Impairment(down=True)
    wire.send(5)
    assert wire.direction.counts["lost"] == 5
    assert wire.arrived == []


def test_corruption_turns_one_bit_over() -> None:
    before = packet(bytes(4))
    changed = before.corrupted(9).payload
    assert changed == b"\x00\x02\x00\x00"
