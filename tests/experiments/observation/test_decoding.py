"""Shows that tshark reads our packets with the right key only, and that captures are whole."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap

from experiments.observation.capture import (
    Capture,
    CaptureError,
    DecodingKey,
    contains_run_of,
    decode_frames,
    find_runs,
    merge,
    read_packets,
)
from experiments.records.environment import CHECKOUT
from experiments.traffic.probe import ProbeFrame, mac_from_text
from tests.protocol.vectors import octets_of, vectors

KEY = DecodingKey(0x1001, bytes(range(16)), b"salt")
MARKER = bytes(range(0x80, 0x90))


def probe(sequence: int, length: int = 512) -> bytes:
    """Makes an inner frame."""
    source, destination = mac_from_text("02:00:00:00:aa:01"), mac_from_text("02:00:00:00:bb:01")
    return ProbeFrame(destination, source, MARKER, 1, sequence, length).to_bytes()


def seal(frame: bytes, sequence: int, family: int = 6, next_header: int = 97) -> bytes:
    """Seals a frame as a client does, with scapy's ESP: the inner packet."""
    make: Any = SecurityAssociation
    association = make(
        ESP, spi=KEY.spi, seq_num=sequence, crypt_algo="AES-GCM", crypt_key=KEY.key + KEY.salt
    )
    inner: Any = (
        IPv6(src="3ffe:aaaa::1", dst="ff1e::1", nh=next_header)
        if family == 6
        else IP(src="198.18.1.1", dst="239.192.0.1", proto=next_header)
    )
    packet = type(inner)(bytes(inner / Raw(b"\x30\x00" + frame)))
    return bytes(association.encrypt(packet, iv=b"\x00\x01" + sequence.to_bytes(6, "big")))


def header(frame: bytes, next_data: int = 1, hop_tag: bytes = b"") -> bytes:
    """Makes the VPN header of a frame."""
    macs = frame[6:12] + frame[:6] if next_data == 1 else b""
    return bytes([next_data, 1 if hop_tag else 0, 0, 0]) + macs + hop_tag


def datagram(payload: bytes, family: int = 6, port: int = 4790) -> Any:
    """Puts a payload into an outer packet."""
    outer: Any = (
        IPv6(src="3ffe:aaaa::1", dst="3ffe::1000")
        if family == 6
        else IP(src="198.18.1.1", dst="198.18.0.1")
    )
    ethernet = Ether(src="02:00:00:00:01:01", dst="02:00:00:00:01:02")
    return ethernet / outer / UDP(sport=port, dport=port) / Raw(payload)


@pytest.fixture(scope="module")
def every_form(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes a capture with a datagram of every form that the wire format knows."""
    path = tmp_path_factory.mktemp("forms") / "forms.pcap"
    tag = b"\x11" * 8
    datagrams = [
        datagram(header(probe(1)) + seal(probe(1), 1)),
        datagram(header(probe(2), hop_tag=tag) + seal(probe(2), 2)),
        datagram(header(probe(3), next_data=2) + seal(probe(3), 3)),
        datagram(header(probe(4), next_data=2, hop_tag=tag) + seal(probe(4), 4)),
        datagram(seal(probe(5), 5)),
        datagram(header(probe(6, 61)) + seal(probe(6, 61), 6, family=4), family=4),
        datagram(seal(probe(7, 1346), 7, family=4), family=6),
    ]
    wrpcap(str(path), datagrams)
    return path


def test_tshark_decodes_every_form_to_the_very_frames(every_form: Path) -> None:
    frames = decode_frames(every_form, [KEY])
    lengths = {6: 61, 7: 1346}
    assert [frame.octets for frame in frames] == [
        probe(n, lengths.get(n, 512)) for n in range(1, 8)
    ]
    assert {frame.spi for frame in frames} == {KEY.spi}


@pytest.mark.parametrize(
    "wrong",
    [
        DecodingKey(KEY.spi, bytes(16), KEY.salt),
        DecodingKey(KEY.spi, KEY.key, b"pepr"),
        DecodingKey(0x1002, KEY.key, KEY.salt),
    ],
    ids=["key", "salt", "spi"],
)
def test_tshark_decodes_nothing_with_a_wrong_association(
    every_form: Path, wrong: DecodingKey
) -> None:
    assert decode_frames(every_form, [wrong]) == []


def test_a_forged_packet_and_a_piece_of_a_frame_are_left_out(tmp_path: Path) -> None:
    forged = bytearray(seal(probe(1), 1))
    forged[-1] ^= 1
    path = tmp_path / "forged.pcap"
    piece = seal(probe(2), 2, next_header=253)
    wrpcap(str(path), [datagram(bytes(forged)), datagram(piece), datagram(seal(probe(3), 3))])
    assert [frame.packet for frame in decode_frames(path, [KEY])] == [3]


def test_another_data_port_can_be_told(tmp_path: Path) -> None:
    path = tmp_path / "port.pcap"
    wrpcap(str(path), [datagram(header(probe(1)) + seal(probe(1), 1), port=5555)])
    assert decode_frames(path, [KEY]) == []
    assert len(decode_frames(path, [KEY], port=5555)) == 1


def test_the_dissector_shows_the_fields_of_the_header(every_form: Path) -> None:
    lua = CHECKOUT / "experiments" / "wireshark" / "vpn_header.lua"
    names = ("next_data", "flags", "source", "destination", "hop_tag", "stripped")
    fields = [word for name in names for word in ("-e", f"vpn.{name}")]
    result = subprocess.run(
        ["tshark", "-r", str(every_form), "-X", f"lua_script:{lua}", "-T", "fields", *fields],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    macs = ["02:00:00:00:aa:01", "02:00:00:00:bb:01"]
    assert rows[0] == ["1", "0x00", *macs, "", ""]
    assert rows[1] == ["1", "0x01", *macs, "11" * 8, ""]
    assert rows[2] == ["2", "0x00", "", "", "", ""]
    assert rows[4][:5] == [""] * 5
    assert rows[4][5] in ("1", "True")


def test_the_dissector_shows_probes_and_bindings(tmp_path: Path) -> None:
    question = octets_of(vectors("binding")["question_with_token"])
    path = tmp_path / "answered.pcap"
    payloads = [octets_of(vectors("probe")["probe"]), question, question[:-1]]
    wrpcap(str(path), [datagram(payload) for payload in payloads])
    lua = CHECKOUT / "experiments" / "wireshark" / "vpn_header.lua"
    names = ("next_data", "probe.number", *(f"binding.{name}" for name in ("kind", "client")))
    names += ("binding.counter", "binding.token", "binding.tag", "malformed")
    fields = [word for name in names for word in ("-e", f"vpn.{name}")]
    result = subprocess.run(
        ["tshark", "-r", str(path), "-X", f"lua_script:{lua}", "-T", "fields", *fields],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    probe_row, binding_row, other = (line.split("\t") for line in result.stdout.splitlines())
    assert probe_row[:2] == ["3", "7"]
    assert binding_row == ["4", "", "0", "7", "2", question[16:24].hex(), question[24:].hex(), ""]
    assert other[0] == ""
    assert other[-1] != "", "a binding cut short is none"


def test_a_file_that_is_no_capture_gives_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "no.pcap"
    path.write_text("nothing of the kind, but long enough to have a header")
    with pytest.raises(CaptureError, match=r"no\.pcap"):
        decode_frames(path, [KEY])
    with pytest.raises(CaptureError, match=r"no\.pcap"):
        list(read_packets(path))


def test_sealed_frames_show_no_run_of_what_is_inside(every_form: Path) -> None:
    assert not contains_run_of(every_form, MARKER, probe(1))


def test_a_run_is_found_wherever_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "leak.pcap"
    leak = probe(1)[100:116]
    wrpcap(str(path), [datagram(os.urandom(99)), datagram(os.urandom(77) + leak + os.urandom(3))])
    assert contains_run_of(path, probe(1))
    assert not contains_run_of(path, MARKER)
    sighting = next(find_runs(path, [probe(1)]))
    assert (sighting.packet, sighting.octets) == (2, leak)
    assert not contains_run_of(path, probe(1), length=17)


def test_a_needle_that_is_too_short_is_refused(every_form: Path) -> None:
    with pytest.raises(CaptureError, match="needle of 3 octets"):
        contains_run_of(every_form, b"abc")


CAPTURING = """
import socket, subprocess, sys
from pathlib import Path
from experiments.observation.capture import Capture, read_packets
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
def popen(node, argv, **arguments):
    assert node == "here"
    return subprocess.Popen(argv, **arguments)
with Capture(popen, "here", ["lo"], Path(sys.argv[1]), "udp") as capture:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(2000):
            sender.sendto(number.to_bytes(4, "big") * 25, ("127.0.0.1", 9))
packets = [octets for octets in read_packets(capture.path) if len(octets) == 142]
assert [int.from_bytes(octets[42:46], "big") for octets in packets] == list(range(2000))
assert capture.counts["lo"].lost == 0, capture.counts
assert capture.counts["lo"].captured >= 2000, capture.counts
"""


@pytest.mark.emulated
def test_a_capture_begins_before_the_block_and_ends_whole(tmp_path: Path) -> None:
    command = ["unshare", "--net", sys.executable, "-c", CAPTURING, str(tmp_path / "lo.pcapng")]
    result = subprocess.run(
        command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.emulated
def test_an_interface_that_is_not_there_is_named(tmp_path: Path) -> None:
    def popen(node: str, argv: Any, **arguments: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(argv, **arguments)

    assert "nowhere" not in [name for _, name in socket.if_nameindex()]
    with (
        pytest.raises(CaptureError, match="capture at c1 on nowhere"),
        Capture(popen, "c1", ["nowhere"], tmp_path / "x.pcapng"),
    ):
        pytest.fail("the block must not begin")


def stamped(path: Path, *packets: tuple[float, bytes]) -> Path:
    """Writes a capture of packets, each with its Unix time in s."""
    made = []
    for at, octets in packets:
        packet: Any = Ether(octets)
        packet.time = at
        made.append(packet)
    wrpcap(str(path), made)
    return path


def test_captures_are_merged_by_time_while_all_ran(tmp_path: Path) -> None:
    begun = 1_800_000_000.25
    early, a, b, c = (bytes([number]) * 60 for number in range(4))
    one = stamped(tmp_path / "one.pcap", (begun - 0.1, early), (begun, a), (begun + 2, c))
    late = bytes([9]) * 60
    other = stamped(
        tmp_path / "other.pcap", (begun - 30, early), (begun + 1, b), (begun + 3.1, late)
    )
    merged = merge([one, other], tmp_path / "merged.pcapng", begun, begun + 3)
    assert list(read_packets(merged)) == [a, b, c]
    assert {path.name for path in tmp_path.iterdir()} == {"one.pcap", "other.pcap", merged.name}


def test_one_capture_alone_is_kept_as_it_is(tmp_path: Path) -> None:
    one = stamped(tmp_path / "one.pcap", (1.0, bytes(60)), (9.0, bytes(61)))
    whole = one.read_bytes()
    assert merge([one], tmp_path / "merged.pcapng", 5.0, 6.0).read_bytes() == whole


def test_captures_that_cannot_be_merged_name_the_program_and_why(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"mergecap: .*nosuch"):
        merge([tmp_path / "nosuch", tmp_path / "other"], tmp_path / "merged.pcapng", 0.0, 1.0)
