"""What systemd is told, read from a real datagram socket as systemd reads it."""

from __future__ import annotations

import math
import os
import socket
import sys
import time
from typing import TYPE_CHECKING

import anyio
import pytest

from asgiserve.process.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PID = 4711


class Systemd:
    """The end that listens."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        sock.setblocking(False)
        self._sock = sock
        self.address = address

    def told(self) -> list[dict[str, str]]:
        """Every message that has come since the last call."""
        messages = []
        while True:
            try:
                data = self._sock.recv(65536)
            except BlockingIOError:
                return messages
            pairs = [line.partition("=") for line in data.decode().split("\n")]
            messages.append({name: value for name, _, value in pairs})

    def told_once(self) -> dict[str, str]:
        (message,) = self.told()
        return message

    def notifier(self, **environ: str) -> Notifier:
        return Notifier.of({"NOTIFY_SOCKET": self.address, **environ}, PID)


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("only Linux has abstract Unix sockets")
    name = str(tmp_path / "notify") if request.param == "path" else f"@asgiserve-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        yield Systemd(sock, name)


# --- messages ---------------------------------------------------------------------------------


def test_ready_names_the_main_process_and_what_it_does(systemd: Systemd) -> None:
    systemd.notifier().ready("Serving on http://127.0.0.1:8000")
    expected = {"READY": "1", "MAINPID": str(os.getpid()), "STATUS": "Serving on http://127.0.0.1:8000"}
    assert systemd.told_once() == expected


def test_reloading_carries_the_reading_of_the_clock(systemd: Systemd) -> None:
    notifier = systemd.notifier()
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    told = systemd.told_once()
    assert told["RELOADING"] == "1"
    assert before <= int(told["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_stopping_and_status_and_more_time(systemd: Systemd) -> None:
    notifier = systemd.notifier()
    notifier.stopping("Stopping")
    notifier.status("Waiting for 3 connections")
    notifier.extend(12.5)
    assert systemd.told() == [
        {"STOPPING": "1", "STATUS": "Stopping"},
        {"STATUS": "Waiting for 3 connections"},
        {"EXTEND_TIMEOUT_USEC": "12500000"},
    ]


def test_a_text_with_line_ends_says_nothing_else(systemd: Systemd) -> None:
    systemd.notifier().status("fine\nMAINPID=1\r\n")
    assert systemd.told_once() == {"STATUS": "fine MAINPID=1  "}


def test_a_path_that_is_not_utf_8_is_told_with_escapes(systemd: Systemd) -> None:
    systemd.notifier().ready("Serving on unix:" + os.fsdecode(b"/run/\xff"))
    assert systemd.told_once()["STATUS"] == r"Serving on unix:/run/\udcff"


# --- nobody to tell ---------------------------------------------------------------------------


def test_without_a_socket_nothing_is_told_and_nothing_fails(caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier.of({"WATCHDOG_USEC": "1000000"}, PID)
    assert not notifier.listens
    notifier.ready("")
    notifier.stopping("")
    assert caplog.text == ""


def test_a_socket_that_nobody_reads_is_told_once_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier.of({"NOTIFY_SOCKET": str(tmp_path / "missing")}, PID)
    notifier.ready("")
    notifier.stopping("")
    assert caplog.text.count("Cannot tell systemd") == 1
    assert "READY=1: No such file or directory" in caplog.text


def test_a_full_queue_holds_nobody_up_for_long(systemd: Systemd, caplog: pytest.LogCaptureFixture) -> None:
    notifier = systemd.notifier()
    began = time.monotonic()
    while "Cannot tell systemd" not in caplog.text:
        notifier.status("x" * 1000)
    assert time.monotonic() - began < 5
    assert systemd.told()
    notifier.status("after that")
    assert systemd.told_once() == {"STATUS": "after that"}


@pytest.mark.parametrize("address", ["notify", "vsock:2:1234", " /run/notify"])
def test_an_address_of_another_kind_is_told_in_the_log_and_not_used(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier.of({"NOTIFY_SOCKET": address}, PID)
    assert not notifier.listens
    assert f"NOTIFY_SOCKET: expected a path or @NAME, but got {address!r}" in caplog.text


def test_the_variables_stay_for_the_application(systemd: Systemd) -> None:
    environ = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(PID)}
    before = dict(environ)
    Notifier.of(environ, PID)
    assert environ == before


# --- signs of life ----------------------------------------------------------------------------


async def count_signs(notifier: Notifier, systemd: Systemd, seconds: float) -> int:
    with anyio.move_on_after(seconds):
        await notifier.keep_alive()
    told = systemd.told()
    assert all(one == {"WATCHDOG": "1"} for one in told)
    return len(told)


@pytest.mark.anyio
@pytest.mark.parametrize("whose", [{}, {"WATCHDOG_PID": str(PID)}], ids=["anybody's", "ours"])
async def test_signs_of_life_come_twice_as_often_as_they_are_wanted(systemd: Systemd, whose: dict[str, str]) -> None:
    notifier = systemd.notifier(WATCHDOG_USEC="30000000", **whose)
    # At 0, 15, 30, 45 seconds; systemd's own queue is short, and nobody reads it meanwhile.
    assert await count_signs(notifier, systemd, 59) == 4


@pytest.mark.anyio
@pytest.mark.parametrize(
    "environ", [{}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}], ids=["no watchdog", "another process's"]
)
async def test_without_a_watchdog_of_ours_there_are_no_signs_of_life(systemd: Systemd, environ: dict[str, str]) -> None:
    assert await count_signs(systemd.notifier(**environ), systemd, 3600) == 0


@pytest.mark.anyio
@pytest.mark.parametrize("value", ["0", "-1", "1s", "1.5", pytest.param("9" * 5000, id="5000 digits")])
async def test_a_watchdog_without_a_number_is_told_in_the_log(
    systemd: Systemd, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    await systemd.notifier(WATCHDOG_USEC=value).keep_alive()
    assert systemd.told() == []
    assert f"WATCHDOG_USEC: expected a number above 0, but got {value!r}" in caplog.text


# --- a stop that takes long -------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_long_stop_asks_for_more_time_well_before_it_is_over(systemd: Systemd) -> None:
    told = []
    with anyio.move_on_after(65):
        async with anyio.create_task_group() as group:
            group.start_soon(systemd.notifier().keep_extending)
            while True:
                await anyio.sleep(1)
                told += [(anyio.current_time(), one) for one in systemd.told()]
    given = math.inf
    for at, one in told:
        assert at < given
        given = at + int(one["EXTEND_TIMEOUT_USEC"]) / 1_000_000
    assert len(told) == 7


@pytest.mark.anyio
async def test_without_a_socket_nobody_is_asked_for_more_time() -> None:
    with anyio.fail_after(1):
        await Notifier().keep_extending()
