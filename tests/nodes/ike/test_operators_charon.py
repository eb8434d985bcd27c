"""Server and client with charons that somebody else runs: told what is needed, and of nothing else."""

from __future__ import annotations

import pytest

from nodes.users import UserDatabase
from tests.nodes.ike.operators import OWN, operating
from tests.nodes.running import Crew, eventually

pytestmark = pytest.mark.emulated

IMPATIENT = """import sys
from nodes.client import main
from nodes.ike import supervisor

supervisor.START_SECONDS = 0.2
sys.exit(main())
"""
UNTOUCHED = {"connections": {OWN}, "passwords": {OWN}, "keys": set(), "pools": set()}


def test_frames_pass_and_charon_has_at_the_end_what_it_had_before(ike_crew: Crew) -> None:
    with operating(ike_crew, "server", "c1") as operators:
        ike_crew.up("server", "c1", "c2")
        assert ike_crew.reach("t1a", "t2a")
        assert ike_crew.status("c1")["process"]["charon_pid"] is None
        assert eventually(lambda: len(ike_crew.rows("server", "unicast SAs")) == 2)
        at_server, at_client = (operator.holds() for operator in operators)
        assert at_server["connections"] == at_client["connections"] == {OWN, "blindrelay"}
        assert len(at_server["keys"]) == 1 == len(at_server["pools"])
        UserDatabase(ike_crew.folder / "users.sqlite").remove("C")
        assert eventually(lambda: len(operators[0].holds()["passwords"]) == 1 + 3)
        assert OWN in operators[0].holds()["passwords"]
        assert ike_crew.end("c1", "c2", "server") == [0, 0, 0]
        assert [operator.holds() for operator in operators] == [UNTOUCHED, UNTOUCHED]
        with operators[0].session() as session:
            assert list(session.list_sas()) == []


@pytest.mark.parametrize("victim", ["server", "c1"])
def test_when_it_dies_and_comes_back_the_sa_comes_back_and_frames_go_on(
    ike_crew: Crew, victim: str
) -> None:
    with operating(ike_crew, victim) as (operator,):
        ike_crew.up("server", "c1", "c2")
        operator.kill()
        assert ike_crew.reach("t1a", "t2a")
        complaint = "charon has ended; waiting for the next one"
        assert eventually(lambda: any(complaint in line for line in ike_crew.errors(victim)))
        operator.start()
        operator.kill()  # while it is being told, or just before
        operator.start()
        assert eventually(lambda: "blindrelay" in operator.holds()["connections"])
        assert eventually(lambda: len(ike_crew.rows("c1", "308 SA management: unicast")) == 1)
        assert eventually(lambda: ike_crew.state("c1") == "registered")


def test_what_a_killed_server_has_left_is_no_hindrance(ike_crew: Crew) -> None:
    with operating(ike_crew, "server"):
        ike_crew.up("server", "c1")
        ike_crew.kill("server")
        ike_crew.up("server")
        assert eventually(lambda: ike_crew.members() == [ike_crew.member("c1")])


def test_a_socket_that_nobody_answers_on_ends_the_process_with_one_line(
    ike_crew: Crew,
) -> None:
    path = ike_crew.folder / "nobody.vici"
    ike_crew.configure("c1", client={"vici_socket": str(path)})
    ike_crew.start("c1", program=IMPATIENT)
    assert ike_crew.code("c1") == 3
    expected = f"blindrelay client: {path}: expected charon's vici socket: nobody answers"
    assert ike_crew.errors("c1") == [expected]
