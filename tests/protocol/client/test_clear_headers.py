"""What is known of a payload's beginning is what parsing it would say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.client import clear_headers
from protocol.client.clear_headers import ClearHeaders, ClearPart
from protocol.errors import WireError
from tests.protocol.relay.datagrams import datagram

payloads = st.builds(
    datagram,
    st.sampled_from([1001, 1002, 1003]),
    st.sampled_from([None, "01", "02"]),
    st.sampled_from(["01", "*"]),
    length=st.sampled_from([36, 37, 64]),
    flags=st.sampled_from([0, 0, 0, 1]),
)
stripped = st.builds(lambda whole: whole[16 if whole[0] == 1 else 4 :], payloads)
changed = st.builds(
    lambda whole, place, octet: whole[:place] + octet + whole[place + 1 :],
    payloads | stripped,
    st.integers(0, 80),
    st.binary(max_size=1),
)
courses = st.lists(payloads | stripped | changed | st.binary(max_size=60), max_size=30)


def said(headers: ClearHeaders, payload: bytes) -> ClearPart | str:
    try:
        return headers.take_apart(payload)
    except WireError as error:
        return str(error)


@settings(max_examples=200, deadline=None)
@given(courses)
def test_payloads_are_taken_apart_alike_whatever_came_before(course: list[bytes]) -> None:
    headers = ClearHeaders()
    for payload in course:
        expected = said(ClearHeaders(), payload)
        assert said(headers, payload) == said(headers, payload) == expected
        if isinstance(expected, ClearPart):
            assert len(payload) - expected.length >= 0


def test_the_esp_packet_does_not_tell_beginnings_apart_and_a_length_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    headers = ClearHeaders()
    whole = datagram(1001, "01")
    first = headers.take_apart(whole)
    assert (first.length, first.macs) == (56, (bytes.fromhex("020000000001"), b"\xff" * 6))
    monkeypatch.setattr(clear_headers, "_parse", lambda _: pytest.fail("parsed again"))
    assert headers.take_apart(whole[:-1] + b"x") is first
    with pytest.raises(pytest.fail.Exception):
        headers.take_apart(whole + b"x")


def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clear_headers, "MOST_KNOWN", 4)
    headers = ClearHeaders()
    for length in range(36, 60):
        headers.take_apart(datagram(1001, "01", length=length))
        assert len(headers._known) <= 4
