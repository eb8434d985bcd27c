"""What a kernel does is told from calls between which it did nothing, and every datagram is counted."""

from __future__ import annotations

import json
import socket

import pytest

from experiments.instrument.commands import FLOOR_CLASS
from experiments.instrument.pacing import send_pairs
from experiments.planes.ways import FORWARDING
from nodes.kernel.program import COMPILED
from tests.experiments.planes.pairs_program import RELAY
from tests.programs import output_of

BATCHES = [b"one", b"two"]


def pairs(count: int, fails: int | None = None) -> tuple[list[tuple[bytes, int]], tuple[int, ...]]:
    """Returns what each call of so many pairs sent under which class; call ``fails`` is refused."""
    made: list[tuple[bytes, int]] = []
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:

        def send(batch: bytes) -> None:
            made.append((batch, udp.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS)))
            if len(made) == fails:
                raise BlockingIOError(11, "full")

        sent = send_pairs(udp, send, BATCHES, count, 100_000.0)
        assert udp.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS) == 0
    return made, (sent.frames, sent.refused, sent.cpu_ns, sent.floor_ns)


def test_each_batch_goes_once_for_real_and_once_to_be_dropped_in_an_order_by_chance() -> None:
    made, (frames, refused, cpu, floor) = pairs(100)
    assert (frames, refused) == (100, 0)
    assert cpu > 0
    assert floor > 0
    for number in range(100):
        batch = BATCHES[number % 2]
        assert sorted(made[2 * number : 2 * number + 2]) == [(batch, 0), (batch, FLOOR_CLASS)]
    assert 20 < sum(traffic_class == 0 for _, traffic_class in made[::2]) < 80


def test_a_refused_call_counts_if_it_was_to_arrive() -> None:
    made, _ = pairs(50)
    real = 1 + next(index for index, (_, traffic_class) in enumerate(made) if not traffic_class)
    dropped = 1 + next(index for index, (_, traffic_class) in enumerate(made) if traffic_class)
    assert pairs(50, real)[1][:2] == (49, 1)
    assert pairs(50, dropped)[1][:2] == (50, 0)


@pytest.mark.emulated
@pytest.mark.skipif(not COMPILED.exists(), reason="the kernel plane's program is not compiled")
def test_of_relay_and_router_the_same_packets_pass_and_those_of_the_floor_do_not() -> None:
    found = json.loads(output_of("tests.experiments.planes.pairs_program", 50))
    assert found[f"single.{RELAY}"]["counts"] == [400, 0, 400, 400]
    assert found[f"single.{FORWARDING}"]["counts"] == [400, 0, 400, 400]
    bulk = found[f"bulk.{RELAY}"]["counts"][0]
    assert found[f"bulk.{RELAY}"]["counts"] == [bulk, 0, bulk, bulk]
    assert found[f"bulk.{FORWARDING}"]["counts"] == [bulk, 0, bulk, bulk]
    for name, one in found.items():
        assert one["floor"] > 0
        assert (one["program"] > 0) == (RELAY in name)
