"""Configuration files: what they become, and the one line that refuses them."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from nodes.configuration import (
    ConfigurationError,
    load_client,
    load_manual_client,
    load_manual_server,
    load_server,
    read_password,
)
from nodes.toml_positions import locate

KEY = "000102030405060708090a0b0c0d0e0f"

SERVER = """\
# the server of embodiment 1
[server]
address = "3ffe::1000"
certificate = "server.pem"
private_key = "server.key"
database = "users.sqlite"
status_socket = "server.status"

[timers]
hold_down_s = 0.5

[groups.1001]
multicast_address = "ff1e::1"

[groups.1002]
multicast_address = "ff1e::2"
algorithm = "aes-256-gcm"
"""

CLIENT = """\
[client]
server = "3ffe::1000"
certificate_authority = "ca.pem"
user = "A"
password_file = "a.password"
vpn_id = 1001
address = "3ffe:aaaa::1"
status_socket = "c1.status"

[lan]
kind = "interface"
name = "c1-lan"
"""

MANUAL_CLIENT = f"""\
vpn_id = 1001
multicast_address = "ff1e::1"
server_address = "3ffe::1000"
spi = 4097
key = "{KEY}"
salt = "a0a1a2a3"
sender_id = 1
lan_mtu = 1346
counter_file = "c1.counter"
"""

MANUAL_SERVER = """\
[groups.1001]
multicast_address = "ff1e::1"
spis = [4097, 4098]
members = [
  { client_id = 1, user = "A", address = "3ffe:aaaa::1" },
  { client_id = 2, address = "3ffe:bbbb::1", port = 5000 },
]
"""


def written(folder: Path, name: str, text: str, mode: int = 0o600) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def client_folder(tmp_path: Path) -> Path:
    written(tmp_path, "a.password", "secret\n")
    return tmp_path


def test_a_server_file_becomes_values_with_paths_beside_the_file(tmp_path: Path) -> None:
    configuration = load_server(written(tmp_path, "server.toml", SERVER))
    server = configuration.server
    assert server.address == ip_address("3ffe::1000")
    assert (server.control_port, server.data_port) == (4791, 4790)
    assert (server.forwarding, server.strip, server.keys) == ("relay", "keep", "tls")
    assert server.certificate == tmp_path / "server.pem"
    assert server.database == tmp_path / "users.sqlite"
    assert configuration.timers.hold_down_s == 0.5
    assert configuration.timers.mac_lifetime_s == 3600.0
    assert set(configuration.groups) == {1001, 1002}
    assert configuration.groups[1001].algorithm == "aes-128-gcm"
    assert configuration.groups[1002].multicast_address == ip_address("ff1e::2")


def test_a_client_file_becomes_values(client_folder: Path) -> None:
    configuration = load_client(written(client_folder, "c1.toml", CLIENT))
    assert configuration.client.user == "A"
    assert configuration.client.vpn_id == 1001
    assert configuration.client.password_file == client_folder / "a.password"
    assert configuration.client.server_name is None
    assert (configuration.lan.kind, configuration.lan.name) == ("interface", "c1-lan")


def test_a_tap_may_have_a_mac(client_folder: Path) -> None:
    text = CLIENT.replace('"interface"', '"tap"') + 'mac = "02:00:00:00:00:aa"\n'
    configuration = load_client(written(client_folder, "c1.toml", text))
    assert configuration.lan.mac == bytes.fromhex("0200000000aa")


def test_a_manual_client_file_becomes_values_and_hides_the_key(tmp_path: Path) -> None:
    manual = load_manual_client(written(tmp_path, "c1.sa.toml", MANUAL_CLIENT))
    assert manual.key.reveal() == bytes.fromhex(KEY)
    assert manual.salt.reveal() == bytes.fromhex("a0a1a2a3")
    assert (manual.spi, manual.sender_id, manual.server_port) == (4097, 1, 4790)
    assert manual.counter_file == tmp_path / "c1.counter"
    assert KEY not in repr(manual)
    assert KEY not in str(manual)


def test_a_manual_server_file_becomes_values(tmp_path: Path) -> None:
    manual = load_manual_server(written(tmp_path, "relay.toml", MANUAL_SERVER))
    group = manual.groups[1001]
    assert group.spis == (4097, 4098)
    assert [member.client_id for member in group.members] == [1, 2]
    assert [member.port for member in group.members] == [4790, 5000]


SERVER_MISTAKES = [
    (
        "[server]",
        '[server]\nhop_tags = "required"\nforwarding = "hub"',
        "3: server.hop_tags: expected",
    ),
    ("[server]", '[server]\ndataplane = "wire"', "3: server.dataplane: expected"),
    ('address = "3ffe::1000"', 'address = "server"', "3: server.address: expected an IPv4 or"),
    ('address = "3ffe::1000"', "address = 7", "3: server.address: expected a string, got 7"),
    ('address = "3ffe::1000"', 'address = "ff1e::9"', "3: server.address: expected the address"),
    ('address = "3ffe::1000"', "", "2: server.address: expected an IP address, got nothing"),
    ('database = "users.sqlite"', 'databse = "x"', "6: server.databse: expected one of address,"),
    ('database = "users.sqlite"', "", '2: server.database: expected a path, because keys is "tls"'),
    ('database = "users.sqlite"', 'keys = "manual"', "2: server.manual_file: expected a path"),
    ('database = "users.sqlite"', 'database = ""', "6: server.database: expected a path, got ''"),
    ("[timers]", "data_port = 0\n[timers]", "9: server.data_port: expected int >= 1, got 0"),
    ("[timers]", "data_port = 65536\n[timers]", "9: server.data_port: expected int <= 65535, got"),
    ("[timers]", "data_port = true\n[timers]", "9: server.data_port: expected int, got True"),
    ("[timers]", 'strip = "all"\n[timers]', "9: server.strip: expected one of keep, patent, got"),
    (
        "[timers]",
        'rekey = "yes"\n[timers]',
        "9: server.rekey: expected one of on-leave, on-change,",
    ),
    ("[timers]", "sa_lifetime_s = 5\n[timers]", "9: server.sa_lifetime_s: expected float >= 15"),
    (
        "[timers]",
        'vici_socket = "charon.vici"\n[timers]',
        '9: server.vici_socket: expected none unless control is "ike", got one',
    ),
    (
        "[timers]",
        "ike_version = true\n[timers]",
        "9: server.ike_version: expected one of 1, 2, got True",
    ),
    ("[timers]", "ike_version = 3\n[timers]", "9: server.ike_version: expected one of 1, 2, got 3"),
    (
        "[timers]",
        "sa_lifetime_packets = 0\n[timers]",
        "9: server.sa_lifetime_packets: expected int >= 1, got 0",
    ),
    (
        "[timers]",
        'member_delivery = "all"\n[timers]',
        "9: server.member_delivery: expected one of patent, spi",
    ),
    (
        "[timers]",
        "[timer]",
        "9: timer: expected one of groups, server, servers, timers, got an unknown",
    ),
    ("hold_down_s = 0.5", "hold_down_s = -1", "10: timers.hold_down_s: expected float > 0"),
    ("hold_down_s = 0.5", "hold_down_s = inf", "10: timers.hold_down_s: expected float <= 1"),
    (
        "hold_down_s = 0.5",
        "hold_down_s = nan",
        "10: timers.hold_down_s: expected float > 0.0, got nan",
    ),
    ("hold_down_s = 0.5", "timeout_s = 5", "10: timers.timeout_s: expected more than keepalive_s"),
    ("[groups.1002]", "[groups.B]", "15: groups.B: expected int as name, got '"),
    ("[groups.1002]", "[groups.0]", "15: groups.0: expected int as name, got '"),
    ('"ff1e::2"', '"3ffe::2"', "16: groups.1002.multicast_address: expected a multicast address"),
    ('"ff1e::2"', '"239.1.1.1"', "16: groups.1002.multicast_address: expected IPv6 to fit"),
    ('"ff1e::2"', '"ff1e::1"', "16: groups.1002.multicast_address: expected one that nobody"),
    ('"aes-256-gcm"', '"des"', "17: groups.1002.algorithm: expected one of aes-128-gcm, aes-256"),
    ('"aes-256-gcm"', '["des"]', "17: groups.1002.algorithm: expected one of aes-128-gcm, aes-256"),
    (
        'algorithm = "aes-256-gcm"',
        "algorithm aes",
        "17: syntax: expected valid TOML, got an error: Exp",
    ),
    ('algorithm = "aes-256-gcm"', "algorithm = '", "17: syntax: expected valid TOML, got"),
    ('address = "3ffe::1000"', "address = [", "3: syntax: expected valid TOML, got"),
]


@pytest.mark.parametrize(("right", "wrong", "expected"), SERVER_MISTAKES)
def test_a_mistake_in_a_server_file_is_one_line_with_file_line_and_key(
    tmp_path: Path, right: str, wrong: str, expected: str
) -> None:
    assert right in SERVER
    path = written(tmp_path, "server.toml", SERVER.replace(right, wrong, 1))
    with pytest.raises(ConfigurationError) as caught:
        load_server(path)
    message = str(caught.value)
    if "address = [" not in wrong:
        assert message.startswith(f"{path}:{expected}")
    assert "\n" not in message
    assert ": expected " in message
    assert ", got " in message


CLIENT_MISTAKES = [
    ('user = "A"\n', "", "1: client.user: expected str, got nothing"),
    ('user = "A"', 'user = ""', "4: client.user: expected str of length >= 1, got ''"),
    ("vpn_id = 1001", "vpn_id = 4294967296", "6: client.vpn_id: expected int <= 4294967295"),
    ('"3ffe:aaaa::1"', '"::"', "7: client.address: expected the address of one host, got '::'"),
    ('"3ffe:aaaa::1"', '"198.18.0.1"', "7: client.address: expected IPv6 to fit"),
    ('"c1.status"', f'"{"x" * 120}"', "8: client.status_socket: expected a path of at most 107"),
    ('"c1-lan"', '"a-name-of-sixteen"', "12: lan.name: expected str of length <= 15, got"),
    ('"c1-lan"', '"c1-lan"\nmac = "02:00:00:00:00:01"', "13: lan.mac: expected none unless kind"),
    ('"c1-lan"', '"c1-lan"\nmac = "03:00:00:00:00:01"', "13: lan.mac: expected the MAC address"),
    ('"c1-lan"', '"c1-lan"\nmac = "02-00"', "13: lan.mac: expected a MAC address such as"),
    ('"a.password"', '"b.password"', "5: client.password_file: expected a file that only its"),
    ("[lan]\n", "", "1: lan: expected a table, got nothing"),
]


@pytest.mark.parametrize(("right", "wrong", "expected"), CLIENT_MISTAKES)
def test_a_mistake_in_a_client_file_is_one_line_with_file_line_and_key(
    client_folder: Path, right: str, wrong: str, expected: str
) -> None:
    assert right in CLIENT
    text = CLIENT.replace(right, wrong, 1)
    if right == "[lan]\n":
        text = text[: text.index("kind")]
    path = written(client_folder, "c1.toml", text)
    with pytest.raises(ConfigurationError) as caught:
        load_client(path)
    assert str(caught.value).startswith(f"{path}:{expected}")
    assert "\n" not in str(caught.value)


def test_a_password_file_that_others_can_read_is_refused(client_folder: Path) -> None:
    path = written(client_folder, "c1.toml", CLIENT)
    (client_folder / "a.password").chmod(0o640)
    with pytest.raises(ConfigurationError, match=r"c1.toml:5: .*got mode 0640$"):
        load_client(path)
    with pytest.raises(ConfigurationError, match=r"a.password: password: .*got mode 0640$"):
        read_password(client_folder / "a.password")


def test_a_password_is_read_without_the_newline_that_ends_it(tmp_path: Path) -> None:
    path = written(tmp_path, "a.password", " two words \n")
    assert read_password(path).reveal() == b" two words "


@pytest.mark.parametrize(("octets", "got"), [("", "none"), ("\n", "none"), ("x" * 2000, "more")])
def test_an_empty_or_endless_password_is_refused(tmp_path: Path, octets: str, got: str) -> None:
    with pytest.raises(ConfigurationError, match=f"expected 1 to 1024 octets, got {got}$"):
        read_password(written(tmp_path, "a.password", octets))


MANUAL_CLIENT_MISTAKES = [
    (f'"{KEY}"', f'"{KEY}00"', "5: key: expected 16 octets (for aes-128-gcm) in hexadecimal, got"),
    (f'"{KEY}"', f'"{KEY}zz"', "5: key: expected hexadecimal octets, got something else"),
    (f'"{KEY}"', f"0x{KEY}", "5: key: expected a string, got a value of type int"),
    (f'key = "{KEY}"', f'kye = "{KEY}"', "5: kye: expected one of algorithm, counter_file"),
    ("spi = 4097", f'spi = "{KEY}"', "4: spi: expected int, got a value of type str"),
    ("spi = 4097", "spi = 255", "4: spi: expected int >= 256, got a value of type int"),
    ('multicast_address = "ff1e::1"', f'multicast_address = "{KEY}"', "2: multicast_address: "),
    ('salt = "a0a1a2a3"', f'algorithm = "{KEY}"', "6: algorithm: expected one of aes-128-gcm"),
    ('salt = "a0a1a2a3"', "", "1: salt: expected hexadecimal octets, got nothing"),
    ('salt = "a0a1a2a3"', f'salt = "a0" {KEY}', "6: syntax: expected valid TOML"),
]


@pytest.mark.parametrize(("right", "wrong", "expected"), MANUAL_CLIENT_MISTAKES)
def test_a_mistake_in_a_manual_client_file_never_shows_the_key(
    tmp_path: Path, right: str, wrong: str, expected: str
) -> None:
    assert right in MANUAL_CLIENT
    path = written(tmp_path, "c1.sa.toml", MANUAL_CLIENT.replace(right, wrong, 1))
    with pytest.raises(ConfigurationError) as caught:
        load_manual_client(path)
    assert str(caught.value).startswith(f"{path}:{expected}")
    assert KEY[:8] not in str(caught.value)
    assert str(int(KEY, 16)) not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_manual_client_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "c1.sa.toml", MANUAL_CLIENT, mode=0o644)
    with pytest.raises(ConfigurationError, match="only its owner can read.*got mode 0644$"):
        load_manual_client(path)


MANUAL_SERVER_MISTAKES = [
    (
        "spis = [4097, 4098]",
        f'key = "{KEY}"',
        "3: groups.1001.key: expected no key, because relays",
    ),
    ('user = "A"', f'salt = "{KEY}"', "5: groups.1001.members[0].salt: expected no key, because"),
    ("spis = [4097, 4098]", "spis = [4097, 1]", "3: groups.1001.spis[1]: expected int >= 256"),
    ("port = 5000", "port = 0", "6: groups.1001.members[1].port: expected int >= 1"),
    ("client_id = 2", "client_id = 1", "6: groups.1001.members[1].client_id: expected one that"),
    ('"3ffe:bbbb::1", port = 5000', '"3ffe:aaaa::1"', "6: groups.1001.members[1].address: expec"),
    ('"3ffe:bbbb::1"', '"198.18.0.1"', "6: groups.1001.members[1].address: expected IPv6"),
    ("client_id = 2, ", "", "6: groups.1001.members[1].client_id: expected int, got nothing"),
]


@pytest.mark.parametrize(("right", "wrong", "expected"), MANUAL_SERVER_MISTAKES)
def test_a_mistake_in_a_manual_server_file_names_the_entry(
    tmp_path: Path, right: str, wrong: str, expected: str
) -> None:
    assert right in MANUAL_SERVER
    path = written(tmp_path, "relay.toml", MANUAL_SERVER.replace(right, wrong, 1))
    with pytest.raises(ConfigurationError) as caught:
        load_manual_server(path)
    assert str(caught.value).startswith(f"{path}:{expected}")
    assert KEY not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_server(tmp_path / "none.toml")
    assert str(caught.value) == (
        f"{tmp_path}/none.toml: file: expected a readable TOML file, got no such file or directory"
    )


def test_a_file_that_is_not_text_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_bytes(b"[server]\n\xff\n")
    with pytest.raises(ConfigurationError, match=r"server.toml:2: syntax: expected UTF-8 text"):
        load_server(path)


def test_the_lines_of_all_that_toml_allows_are_found() -> None:
    text = '''
top = """
[not a table]
key = 1 \\"""" # a comment with = and [
"quoted \\u0041.b" . 'c' = 'x = [1'
[a . b]  # comment
c.d = { e = 1, f = [ "]", '}' ] }
g = [ # [
  1, # one
  [2, 3],
  { h = 1979-05-27 07:32:00 },
]
[[list]]
i = 1
[list.inner]
j = \'\'\'
[k]\'\'\'
[[list]]
i = 2
[a]
l = -inf
'''
    lines = locate(text)
    assert lines == {
        ("top",): 2,
        ("quoted A.b",): 5,
        ("quoted A.b", "c"): 5,
        ("a",): 20,
        ("a", "b"): 6,
        ("a", "b", "c"): 7,
        ("a", "b", "c", "d"): 7,
        ("a", "b", "c", "d", "e"): 7,
        ("a", "b", "c", "d", "f"): 7,
        ("a", "b", "c", "d", "f", 0): 7,
        ("a", "b", "c", "d", "f", 1): 7,
        ("a", "b", "g"): 8,
        ("a", "b", "g", 0): 9,
        ("a", "b", "g", 1): 10,
        ("a", "b", "g", 1, 0): 10,
        ("a", "b", "g", 1, 1): 10,
        ("a", "b", "g", 2): 11,
        ("a", "b", "g", 2, "h"): 11,
        ("list",): 13,
        ("list", 0): 13,
        ("list", 0, "i"): 14,
        ("list", 0, "inner"): 15,
        ("list", 0, "inner", "j"): 16,
        ("list", 1): 18,
        ("list", 1, "i"): 19,
        ("a", "l"): 21,
    }


def test_a_group_says_how_its_packets_are_delivered(tmp_path: Path) -> None:
    text = SERVER + '\n[groups.7]\nmulticast_address = "ff1e::7"\ndelivery = "multicast"\n'
    groups = load_server(written(tmp_path, "server.toml", text)).groups
    assert (groups[1001].delivery, groups[7].delivery) == ("relay", "multicast")


def test_a_hub_is_refused_a_group_that_it_would_never_see(tmp_path: Path) -> None:
    text = SERVER + '\n[groups.7]\nmulticast_address = "ff1e::7"\ndelivery = "multicast"\n'
    with pytest.raises(ConfigurationError) as error:
        load_server(written(tmp_path, "server.toml", text), "hub")
    assert 'groups.7.delivery: expected "relay", because a hub' in str(error.value)


def test_what_esp_had_before_gcm_is_for_hubs_alone(tmp_path: Path) -> None:
    algorithm = "aes-128-cbc-hmac-sha1"
    text = SERVER.replace('"aes-256-gcm"', f'"{algorithm}"')
    file = written(tmp_path, "server.toml", text)
    assert load_server(file, "hub").groups[1002].algorithm == algorithm
    with pytest.raises(ConfigurationError) as error:
        load_server(file)
    assert 'groups.1002.algorithm: expected AES-GCM unless forwarding is "hub"' in str(error.value)
