"""Embodiments 4 and 5 as processes: a representative, VPN servers without keys, clients at the nearest."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from experiments.credentials import CertificateAuthority
from experiments.observation.memory_scan import cipher_modules, key_forms, scan
from protocol.wire.codec import pack
from protocol.wire.inner_packet import InnerPacket
from protocol.wire.probe import Probe
from protocol.wire.table_messages import Applied, Hello, Stations
from protocol.wire.vpn_header import VpnHeader
from tests.namespaces import inside
from tests.nodes.hostile import Impostor, closing
from tests.nodes.running import DEADLINE, Crew, crew_on, eventually
from tests.nodes.sites import (
    CLIENTS,
    RELAYS,
    SERVERS_PORT,
    all_reach,
    copies_of_broadcasts,
    impostor,
    place,
    sender_ids,
    server_of,
    settled,
    sites,
    written,
)
from topologies.emulate import Network, emulate

pytestmark = pytest.mark.emulated

EVERYBODY = ("server", *RELAYS, *CLIENTS)
STRAY = (
    VpnHeader((bytes.fromhex("020000000001"), bytes.fromhex("ffffffffffff"))).pack()
    + InnerPacket(
        ip_address("3ffe:aaaa::1"), ip_address("ff1e::1"), struct.pack("!II", 4097, 1) + bytes(64)
    ).pack()
)
"""What a client of some group may send."""


@pytest.fixture(scope="module", params=["direct", "cascade"])
def delivery(request: pytest.FixtureRequest) -> str:
    """Says by whom a client gets its frames."""
    return str(request.param)


@pytest.fixture(scope="module")
def network(delivery: str) -> Iterator[Network]:
    """Builds three sites."""
    with emulate(sites(delivery)) as built:
        yield built


@pytest.fixture(scope="module")
def files(delivery: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes what all processes read."""
    return written(sites(delivery), tmp_path_factory.mktemp("sites"))


@pytest.fixture(scope="class")
def running(network: Network, files: Path) -> Iterator[Crew]:
    """Gives everybody, up, for the tests of a class."""
    with crew_on(network, files) as crew:
        crew.up(*EVERYBODY)
        yield crew


@pytest.fixture
def crew(network: Network, files: Path) -> Iterator[Crew]:
    """Gives processes for one test, none of them started."""
    with crew_on(network, files) as gathered:
        yield gathered


class TestWhileAllGoesWell:
    def test_each_client_is_at_the_nearest_vpn_server(self, running: Crew) -> None:
        plan = running.network.plan
        given = {row[0]: row[5] for row in running.rows("server", "clients")}
        for client in CLIENTS:
            nearest = plan.nearest(client)
            assert server_of(running, client) == place(running, nearest)
            assert given[plan.node(client).user] == nearest
            measured = {row[1]: row[5] for row in running.rows(client, "VPN servers")}
            assert min(measured, key=lambda name: measured[name]) == nearest
            assert running.counter(nearest, "probes_echoed") >= 60

    def test_a_frame_reaches_every_other_lan_once(self, running: Crew) -> None:
        assert all_reach(running)
        for counts in copies_of_broadcasts(running).values():
            assert counts == [1] * len(counts)

    def test_what_a_server_holds_is_what_its_way_of_delivery_needs(
        self, running: Crew, delivery: str
    ) -> None:
        assert all_reach(running)
        assert settled(running)
        held = sorted(row[3] for row in running.rows("a", "507"))
        wait = DEADLINE if delivery == "direct" else 3
        seen = eventually(lambda: len(running.rows("a", "509 reported")) == 2, wait)
        if delivery == "direct":
            assert held == ["elsewhere", "elsewhere", "own"]
            assert seen
            assert {row[3] for row in running.rows("server", "509 reports")} == set(RELAYS)
        else:
            assert held == ["VPN server", "VPN server", "own"]
            assert not seen

    def test_what_servers_count_by_client_is_summed_at_the_representative(
        self, running: Crew
    ) -> None:
        assert all_reach(running)
        columns = running.status("server")["tables"]["users on line"]["columns"]
        assert columns[3] == "client"

        def shown() -> dict[int, list[int]]:
            return {row[3]: row[6:] for row in running.rows("server", "users on line")}

        def counted() -> dict[int, list[int]]:
            total: dict[int, list[int]] = {}
            for relay in RELAYS:
                for client_id, *numbers in running.rows(relay, "clients counted"):
                    known = total.setdefault(client_id, [0] * 4)
                    total[client_id] = [x + y for x, y in zip(known, numbers, strict=True)]
            return total

        assert eventually(lambda: shown() == counted(), 30)
        assert all(min(numbers) > 0 for numbers in shown().values())
        before = shown()
        assert running.reach("t1a", "t2a")
        assert eventually(lambda: shown() == counted() != before, 30)

    def test_the_representative_has_no_data_socket(self, running: Crew) -> None:
        with inside(running.network.pid("server")):
            sockets = Path("/proc/thread-self/net/udp6").read_text().splitlines()
        assert len(sockets) == 1  # the heading
        relay = Path(f"/proc/{running.network.pid('a')}/net/udp6").read_text().splitlines()
        assert len(relay) == 2

    def test_no_process_but_the_clients_shows_or_writes_a_key(self, running: Crew) -> None:
        forms = key_forms(key for client in CLIENTS for key in running.keys(client))
        said = b""
        for node in ("server", *RELAYS):
            said += json.dumps(running.status(node)).encode() + running.output(node).encode()
            said += "".join(running.errors(node)).encode()
        said += b"".join(path.read_bytes() for path in running.folder.iterdir() if path.is_file())
        assert [name for name, octets in forms.items() if octets in said] == []

    def test_no_relay_has_a_live_key_in_its_memory_and_a_client_has(self, running: Crew) -> None:
        forms = key_forms(running.keys("c1"))
        for relay in RELAYS:
            pid = running.processes[relay].pid
            result = scan(pid, forms)
            assert not result.found
            assert result.octets > 1 << 20
            assert result.unreadable == 0
            assert cipher_modules(pid) == []
            assert not running.status(relay)["process"]["cipher_loaded"]
        client = running.processes["c1"].pid
        assert scan(client, forms).found
        assert cipher_modules(client)

    def test_garbage_on_the_servers_port_harms_nobody(self, running: Crew) -> None:
        before = {row[0]: row[2:4] for row in running.rows("server", "VPN servers")}
        address = str(running.network.plan.data_address("server"))
        for octets in (b"", b"GET / HTTP/1.0\r\n\r\n", bytes(1000), b"\x16\x03\x01\x02\x00" * 50):
            with inside(running.network.pid("c3")):
                opened = socket.create_connection((address, SERVERS_PORT), 60)
            with opened:
                opened.sendall(octets)
        assert eventually(lambda: running.counter("server", "servers_refused_certificate") >= 4)
        assert {row[0]: row[2:4] for row in running.rows("server", "VPN servers")} == before
        assert all_reach(running)


class TestWhoMayBeAVpnServer:
    def test_a_certificate_of_another_authority_is_refused(self, crew: Crew) -> None:
        for name in ("a.pem", "a.key"):
            (crew.folder / name).unlink()
        CertificateAuthority().issue("a", crew.folder / "a.pem", crew.folder / "a.key")
        crew.up("server", "b")
        crew.start("a")
        assert eventually(lambda: crew.counter("server", "servers_refused_certificate") > 0)
        assert any(line.startswith("blindrelay server: refused a VPN server at ")
                   for line in crew.errors("server"))  # fmt: skip
        assert crew.state("a") == "waiting"
        assert [row[2] for row in crew.rows("server", "VPN servers")] == [False, True, False]

    def test_a_name_that_is_not_configured_is_refused(self, crew: Crew) -> None:
        tables = crew.folder / "server.toml"
        text = tables.read_text()
        start = text.index("[servers.c]")
        tables.write_text(text[:start])
        crew.up("server", "a")
        crew.start("c")
        assert eventually(lambda: crew.counter("server", "servers_refused_name") > 0)
        assert any("c is not in [servers]" in line for line in crew.errors("server"))
        assert crew.state("c") == "waiting"

    def test_a_representative_of_another_authority_is_refused(self, crew: Crew) -> None:
        CertificateAuthority().write(crew.folder / "foreign.pem")
        crew.configure("a", relay={"certificate_authority": "foreign.pem"})
        crew.up("server", "b")
        crew.start("a")
        assert eventually(lambda: bool(crew.errors("a")))
        expected = "blindrelay relay: the representative's certificate does not hold: "
        assert crew.errors("a")[0].startswith(expected)
        assert crew.state("a") == "waiting"

    def test_messages_out_of_turn_end_the_connection_and_nothing_else(self, crew: Crew) -> None:
        crew.up("server", "a", "b", "c1", "c2")
        attempts = [
            struct.pack("!I", 2**31),
            struct.pack("!I", 5) + b"{}{}{",
            pack(Applied(1, 1)),
            pack(Hello(9)),
            pack(Stations((), ())),
            pack(Hello(1)) + pack(Hello(1)),
        ]
        for octets in attempts:
            with impostor(crew, "c") as opened:
                opened.settimeout(60)
                opened.sendall(octets)
                while opened.recv(65536):
                    pass
        assert [row[2] for row in crew.rows("server", "VPN servers")] == [True, True, False]
        assert crew.reach("t1a", "t2a")


class TestFaults:
    def test_a_relay_without_tables_drops_and_counts(self, crew: Crew) -> None:
        crew.start("a")
        crew.wait("a", "waiting")
        with closing(sender := Impostor(crew.network, "c1")):
            address = crew.network.plan.data_address("a")
            sender.send(STRAY, address)
            sender.send(Probe(1, bytes(16)).pack(), address)
        assert eventually(lambda: crew.counter("a", "dropped_unknown_token") == 1)
        assert crew.counter("a", "dropped_unregistered_sender") == 1
        assert crew.counter("a", "copies_out") == 0
        assert eventually(lambda: bool(crew.errors("a")))
        (line,) = crew.errors("a")
        assert line.startswith("blindrelay relay: no channel to [3ffe::1000]:4792: ")

    def test_frames_go_on_while_the_representative_is_away_and_it_rekeys_when_back(
        self, crew: Crew
    ) -> None:
        crew.configure(
            "server", timers={"recovery_s": 15}
        )  # looking takes a while on a busy machine
        crew.up(*EVERYBODY)
        assert all_reach(crew)
        before = sender_ids(crew)
        (old,) = {spi for spi, _ in before}
        crew.kill("server")
        assert eventually(lambda: not crew.status("a")["process"]["representative_connected"])
        assert all_reach(crew)
        crew.start("server")
        crew.wait("server", "serving")
        assert crew.status("server")["process"]["epoch"] == 2
        for client in CLIENTS:
            crew.wait(client, "registered")
        for client in CLIENTS:
            held = crew.rows(client, "308")
            assert [row[6] for row in held if row[1] == old] == [True]  # the old one still seals
            assert len(held) == 2
        held_now = sender_ids(crew)
        assert all_reach(crew)
        assert len(set(held_now)) == len(held_now)
        assert {one for one in held_now if one[0] == old} == set(before)
        (new,) = {spi for spi, _ in held_now} - {old}

        def all_seal_with_the_new_one() -> bool:
            rows = [row for client in CLIENTS for row in crew.rows(client, "308")]
            return all(row[6] == (row[1] == new) for row in rows)

        assert eventually(all_seal_with_the_new_one, 15 + DEADLINE)
        assert all_reach(crew)
        for counts in copies_of_broadcasts(crew).values():
            assert counts == [1] * len(counts)

    def test_clients_of_a_vpn_server_that_dies_are_moved_and_it_can_come_back(
        self, crew: Crew
    ) -> None:
        crew.up(*EVERYBODY)
        crew.kill("b")
        assert eventually(lambda: server_of(crew, "c2") != place(crew, "b"))
        assert server_of(crew, "c2") == place(crew, "a")  # the next nearest
        assert all_reach(crew)
        for counts in copies_of_broadcasts(crew).values():
            assert counts == [1] * len(counts)
        crew.start("b")
        crew.wait("b", "serving")
        assert eventually(lambda: all(row[2] for row in crew.rows("server", "VPN servers")))
        crew.end("c2")
        crew.up("c2")
        assert server_of(crew, "c2") == place(crew, "b")
        assert all_reach(crew)

    def test_with_one_server_left_all_clients_are_there(self, crew: Crew) -> None:
        crew.up(*EVERYBODY)
        crew.kill("a")
        crew.kill("c")
        assert eventually(lambda: {server_of(crew, one) for one in CLIENTS} == {place(crew, "b")})
        assert all_reach(crew)


def test_whole_tables_give_what_changes_give_and_cost_more(delivery: str, crew: Crew) -> None:
    held = {}
    octets = {}
    for distribution in ("full", "delta"):
        crew.configure("server", server={"distribution": distribution})
        crew.up("server", *RELAYS)
        for client in CLIENTS:  # one by one, so that both tell the same changes
            crew.up(client)
        assert settled(crew)
        held[distribution] = [
            [[row[0], *row[2:]] for row in crew.rows(relay, "507")] for relay in RELAYS
        ]
        assert all_reach(crew)
        octets[distribution] = sum(crew.counter(relay, "table_octets_received") for relay in RELAYS)
        crew.end(*CLIENTS)
        crew.end(*RELAYS)
        crew.end("server")
    assert held["full"] == held["delta"]
    assert octets["full"] > octets["delta"]
