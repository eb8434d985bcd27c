"""The readings, of this process and of a small eBPF program."""

from __future__ import annotations

import ctypes
import os
import struct
import time

import pytest

from experiments.instrument.accounting import core_times, cpu_time, datagrams, scheduled_time
from experiments.instrument.bpf_stats import BpfStats, bpf
from experiments.instrument.interface_drop import HEADER_OCTETS, Copies
from experiments.instrument.window import Load, Window

PROG_LOAD, PROG_TEST_RUN = 5, 10
SOCKET_FILTER = 1


def window(**changed: object) -> Window:
    load = Load(8, 512, "broadcast", 1000.0, 0.5)
    values: dict[str, object] = {
        "server": "relay",
        "load": load,
        "seconds": 0.5,
        "sent": 500,
        "frames_in": 500,
        "copies_out": 3500,
        "lost": 0,
        "cpu_ns": 7_000_000,
        "schedstat_ns": 7_000_000,
        "steal_ns": 0,
        "saturated": False,
        "latest_ns": 0,
    }
    return Window(**{**values, **changed})  # type: ignore[arg-type]


def test_the_cost_is_per_frame_in_and_per_copy_out() -> None:
    assert window().ns_per_frame == 14_000
    assert window().ns_per_copy == 2_000
    assert window().flags == ()


@pytest.mark.parametrize(
    ("changed", "flag"),
    [
        ({"lost": 1}, "lost"),
        ({"saturated": True}, "saturated"),
        ({"steal_ns": 20_000_000, "elapsed_ns": 500_000_000}, "steal"),
        ({"copies_out": 3499}, "copies"),
    ],
)
def test_a_doubtful_window_says_why(changed: dict[str, object], flag: str) -> None:
    assert window(**changed).flags == (flag,)


def test_a_batch_that_leaves_as_one_counts_as_its_datagrams() -> None:
    assert Copies(3, 3 * HEADER_OCTETS + 9 * 600).datagrams(600) == 9


def test_the_cpu_clock_of_a_process_runs_with_its_work() -> None:
    before, own = cpu_time(os.getpid()), time.process_time_ns()
    while time.process_time_ns() - own < 20_000_000:
        pass
    assert cpu_time(os.getpid()) - before == pytest.approx(20_000_000, rel=0.2)


def test_the_schedulers_figure_is_near_the_cpu_clock() -> None:
    assert scheduled_time(os.getpid()) <= cpu_time(os.getpid()) * 1.01 + 5_000_000


def test_every_core_and_the_datagrams_can_be_read() -> None:
    assert core_times(min(os.sched_getaffinity(0))).busy > 0
    assert datagrams(os.getpid()).lost >= 0


def test_a_core_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="core 9999"):
        core_times(9999)


@pytest.mark.emulated
def test_the_run_time_of_a_program_is_counted_while_it_is_asked_for() -> None:
    instructions = ctypes.create_string_buffer(
        struct.pack("=BBhi", 0xB7, 0, 0, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    )
    licence = ctypes.create_string_buffer(b"GPL")
    attribute = struct.pack(
        "=IIQQ", SOCKET_FILTER, 2, ctypes.addressof(instructions), ctypes.addressof(licence)
    )
    program = bpf(PROG_LOAD, attribute)
    try:
        with BpfStats() as stats:
            before = stats.run_time(program)
            _run_program(program, 1000)
            after = stats.run_time(program)
    finally:
        os.close(program)
    assert after.runs - before.runs == 1000
    assert after.ns > before.ns


def _run_program(program: int, times: int) -> None:
    data = ctypes.create_string_buffer(64)
    attribute = struct.pack("=IIIIQQI", program, 0, 64, 0, ctypes.addressof(data), 0, times)
    bpf(PROG_TEST_RUN, attribute)


def test_a_descriptor_that_is_no_program_is_refused() -> None:
    with open(os.devnull, "rb") as file, pytest.raises(ValueError, match="eBPF program"):
        BpfStats.run_time(file.fileno())
