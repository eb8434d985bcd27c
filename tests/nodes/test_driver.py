"""What a client's sockets could not send shows in its status."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import closing
from ipaddress import ip_address
from typing import Any

import pytest

from nodes.clock import now
from nodes.datagram_queue import DatagramQueue
from nodes.driver import BATCH, ROUNDS, Driver
from nodes.lan import Lan
from nodes.segmentation import Octets
from nodes.tap_lan import TapLan
from protocol.client import Client
from protocol.client.tables import AuthenticationInformation
from protocol.types import Delivery, Secret, VpnId
from protocol.wire.codec import Endpoint
from protocol.wire.messages import GroupSecurityAssociation, Registered

OWN = ip_address("::1")
GROUP = ip_address("ff1e::1")
LAN_MTU = 1346
FRAME = bytes.fromhex("ffffffffffff 020000000001 88b5") + bytes(LAN_MTU)


def _registered(delivery: Delivery) -> Registered:
    association = GroupSecurityAssociation(
        4097, "aes-128-gcm", Secret(bytes(16)), Secret(bytes(4)), 1
    )
    relay = Endpoint(OWN, 4790)
    return Registered(
        client_id=1,
        vpn_id=1001,
        client_address=OWN,
        multicast_address=GROUP,
        relay=relay,
        relays=(relay,),
        security_association=association,
        older=(),
        activation_delay=0,
        deactivation_delay=0,
        lan_mtu=LAN_MTU,
        keepalive_interval=1000,
        delivery=delivery,
    )


async def _counters_after_a_frame(delivery: Delivery) -> dict[str, Any]:
    """Returns the counters of a client that sealed one frame, too large for its outside interface."""
    authentication = AuthenticationInformation("A", Secret(b"p"), VpnId(1001))
    with TapLan("lan", LAN_MTU) as lan, closing(DatagramQueue(OWN, 0)) as udp:
        driver = Driver(Client(authentication, 4790, listening=0), lan, udp, "lo")
        driver.client.channel_opened(0)
        driver.client.receive_message(_registered(delivery), 0)
        driver.act()
        driver.client.receive_frame(FRAME, 0)
        driver.act()
        assert driver.failure is None
        before = driver.snapshot()["counters"]
        driver.stop()
        assert driver.snapshot()["counters"] == before
        return dict(before)


@pytest.mark.emulated
@pytest.mark.usefixtures("private_network")
@pytest.mark.parametrize(
    ("delivery", "datagrams", "packets"), [("relay", 1, 0), ("multicast", 0, 1)]
)
def test_what_the_network_refuses_is_counted_by_the_way_it_was_to_go(
    delivery: Delivery, datagrams: int, packets: int
) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up", "mtu", "1280"], check=True, timeout=60)
    counters = asyncio.run(_counters_after_a_frame(delivery))
    assert counters["frames_sealed"] == 1
    assert counters["datagrams_refused_by_network"] == datagrams
    assert counters["packets_refused_by_network"] == packets


async def _failure_when_the_device_has_gone() -> str:
    """Returns why a client ends that joins after somebody has taken its device away."""
    authentication = AuthenticationInformation("A", Secret(b"p"), VpnId(1001))
    with TapLan("lan", LAN_MTU) as lan, closing(DatagramQueue(OWN, 0)) as udp:
        driver = Driver(Client(authentication, 4790, listening=0), lan, udp, "lo")
        driver.client.channel_opened(0)
        subprocess.run(["ip", "link", "set", "lan", "name", "other"], check=True, timeout=60)
        driver.client.receive_message(_registered("relay"), 0)
        driver.act()
        assert driver.ended.is_set()
        driver.stop()
        return str(driver.failure)


@pytest.mark.emulated
@pytest.mark.usefixtures("private_network")
def test_a_device_that_has_gone_ends_the_client_with_its_name() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=60)
    assert asyncio.run(_failure_when_the_device_has_gone()) == "interface lan: no such device"


class Waiting(Lan):
    """A LAN on which frames wait, and which notes how many were read before anything was sent."""

    def __init__(self, reads: list[list[bytes]]) -> None:
        super().__init__("lan")
        self.reads = reads

    def fileno(self) -> int:
        return -1

    def receive(self) -> list[bytes] | None:
        return self.reads.pop(0) if self.reads else None

    def _write(self, header: bytes, octets: Octets) -> bool:
        return True

    def close(self) -> None:
        pass

    @property
    def kernel_drops(self) -> int:
        return 0


async def _sent_after_one_wake_up(reads: list[list[bytes]]) -> tuple[int, int]:
    """Returns how many reads were left, and how many datagrams were sent."""
    authentication = AuthenticationInformation("A", Secret(b"p"), VpnId(1001))
    with closing(Waiting(reads)) as lan, closing(DatagramQueue(OWN, 0)) as udp:
        driver = Driver(Client(authentication, 4790, listening=0), lan, udp)
        driver.client.channel_opened(now())
        driver.client.receive_message(_registered("relay"), now())
        driver.act()
        before = driver.client.frames_sealed
        driver._lan_readable()
        driver._timer.set(None)
        return len(lan.reads), driver.client.frames_sealed - before


def test_a_wake_up_takes_a_bounded_number_of_frames_however_they_are_read() -> None:
    lone, large, most = [FRAME], [FRAME] * 48, ROUNDS * BATCH
    assert asyncio.run(_sent_after_one_wake_up([lone] * (most + 72))) == (72, most)
    assert asyncio.run(_sent_after_one_wake_up([large] * 30)) == (30 - 3 * ROUNDS, 144 * ROUNDS)
    assert asyncio.run(_sent_after_one_wake_up([lone, [], lone])) == (0, 2)


def test_neighbours_with_the_same_header_go_together_and_all_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = FRAME[:6] + bytes.fromhex("020000000002") + FRAME[12:]
    frames = [FRAME] * 5 + [other] * 6 + [FRAME[:60]] + [other[:13], FRAME[:700]]
    taken: list[list[bytes]] = []

    def receive_frames(self: Client, frames: list[bytes], now: int) -> None:
        taken.append(list(frames))

    monkeypatch.setattr(Client, "receive_frames", receive_frames)
    asyncio.run(_sent_after_one_wake_up([[one] for one in frames]))
    assert [len(some) for some in taken] == [5, 6, 1, 1, 1]
    assert [one for some in taken for one in some] == frames
    taken.clear()
    asyncio.run(_sent_after_one_wake_up([frames[:3], [], frames[3:5], frames[5:]]))
    assert [len(some) for some in taken] == [5, len(frames) - 5]
