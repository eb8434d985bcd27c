"""IKEv1 with XAUTH, what the patent's time had: charon's own, checked against the NT hash that we keep."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from experiments.credentials import CertificateAuthority
from tests.nodes.running import Crew, eventually

pytestmark = pytest.mark.emulated


@pytest.fixture
def old_crew(ike_crew: Crew) -> Crew:
    """Gives processes that all use IKEv1; the server's certificate has an RSA key."""
    authority = CertificateAuthority()
    authority.write(ike_crew.folder / "authority.pem")
    (ike_crew.folder / "server.key").unlink()
    authority.issue(
        ike_crew.network.plan.data_address("server"),
        ike_crew.folder / "server.pem",
        ike_crew.folder / "server.key",
        rsa.generate_private_key(65537, 2048),
    )
    ike_crew.configure("server", server={"ike_version": 1})
    for client in ("c1", "c2"):
        ike_crew.configure(client, client={"ike_version": 1})
    return ike_crew


def test_frames_pass_and_the_server_knows_the_users(old_crew: Crew) -> None:
    old_crew.up("server", "c1", "c2")
    assert old_crew.reach("t1a", "t2a")
    assert eventually(
        lambda: {row[0] for row in old_crew.rows("server", "unicast SAs")} == {"A", "B"}
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"password_file": "wrong.password"}, "user ID or password is wrong"),
        ({"user": "nobody"}, "user ID or password is wrong"),
    ],
    ids=["wrong password", "unknown user"],
)
def test_a_refused_client_ends_with_one_line(
    old_crew: Crew, change: dict[str, str], reason: str
) -> None:
    wrong = old_crew.folder / "wrong.password"
    wrong.write_text("not-the-password")
    wrong.chmod(0o600)
    old_crew.up("server")
    old_crew.configure("c1", client=change)
    old_crew.start("c1")
    assert old_crew.code("c1") == 1
    assert old_crew.errors("c1") == [f"blindrelay client: refused: {reason}"]
    assert old_crew.members() == []


def test_a_certificate_without_an_rsa_key_is_refused_with_one_line(ike_crew: Crew) -> None:
    ike_crew.configure("server", server={"ike_version": 1})
    ike_crew.start("server")
    assert ike_crew.code("server") == 3
    (line,) = ike_crew.errors("server")
    assert "private_key: expected an RSA key, as IKEv1 needs" in line
