"""tshark reads our packets with the right key only."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap

from experiments.observation.capture import CaptureError
from experiments.observation.decoding import DecodingKey, decode_frames
from experiments.observation.packets import contains_run_of
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


def test_sealed_frames_show_no_run_of_what_is_inside(every_form: Path) -> None:
    assert not contains_run_of(every_form, MARKER, probe(1))


def test_a_file_that_is_no_capture_gives_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "no.pcap"
    path.write_text("nothing of the kind, but long enough to have a header")
    with pytest.raises(CaptureError, match=r"no\.pcap"):
        decode_frames(path, [KEY])
