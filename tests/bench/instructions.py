"""Count the instructions of a request instead of its time: `python tests/bench/instructions.py --help`.

The same work is the same number, within a hundredth or two, whatever the machine does beside it. It is user code
only: the interpreter, its extension modules, OpenSSL. The kernel's part and what caches make of it all do not show; for
those there is `suite.py`. One client asks, and waits for each answer: nothing is shared between requests that come
together, except where a scenario sends them together.

valgrind's callgrind counts (Debian's package is called valgrind). A server is started under it once for each scenario,
asked until it has seen everything, and then for as many requests as are counted.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import websocket_client
from events_load import Readers
from load import framed
from process import ServerError, anyone, running
from report.page import filled
from report.tables import counts
from scenarios import SCENARIOS, WebSocketScenario
from servers import OUR_SOURCE, present, servers

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Sequence

    from scenarios import AnyScenario, Scenario
    from servers import Server

_CALLGRIND: Final = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--trace-children=yes")
_ASK: Final = ("callgrind_control", "-e")
_OF_A_THREAD: Final = re.compile(r"^\s*Th\s+\d+\s+([\d,]+)", re.MULTILINE)

_SERVERS: Final = ("asgiserve-asyncio", "asgiserve-uvloop", "asgiserve-trio", "uvicorn")
"""Those that are one process: others are not counted."""
_DEFAULT: Final = (
    "bare",
    "browser",
    "access-log",
    "pipelined",
    "close",
    "tls",
    "post",
    "starlette",
    "fastapi",
    "sse-1000",
)
_STREAMS: Final = 50
"""Server-sent events go to so many clients here: each is counted alone."""
_WARM_UP: Final = 150
"""Requests before counting begins. CPython specialises code that has run a few dozen times."""
_COUNTED: Final = 200
_BATCHES: Final = 5
"""The median of so many: a batch with a garbage collection more, or a date that changes, is not the rule."""


def main() -> None:
    options = _parser().parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed; Debian's package is called valgrind too.")
    os.environ["PYTHONHASHSEED"] = "0"  # the same order of everything, every time
    known = servers(options.python, options.peers_python, [options.source.resolve()])
    chosen, versions, left_out = present([one for one in known if one.name in _columns(options.scenarios)])
    print(f"- {', '.join(f'{name} {version}' for name, version in versions.items())}")
    for title, reason in left_out.items():
        print(f"- {title}: left out, {reason}")
    text = counts(_SERVERS, dict(_row(name, SCENARIOS[name], chosen) for name in options.scenarios))
    print(f"\n{text}")
    if options.page:
        options.page.write_text(filled(options.page.read_text(), {"instructions": text}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Count the instructions of user code that a request takes.")
    countable = [name for name, one in SCENARIOS.items() if _countable(one)]
    parser.add_argument(
        "--scenarios",
        nargs="+",
        choices=countable,
        default=list(_DEFAULT),
        metavar="NAME",
        help=f"of: {', '.join(countable)} [{', '.join(_DEFAULT)}]",
    )
    parser.add_argument("--python", default=sys.executable, metavar="PATH", help="interpreter for asgiserve [this one]")
    parser.add_argument("--peers-python", default=sys.executable, metavar="PATH", help="for uvicorn [this one]")
    parser.add_argument("--source", type=Path, default=OUR_SOURCE, metavar="PATH", help="source folder of asgiserve")
    parser.add_argument("--page", type=Path, metavar="FILE", help="the page whose table is filled [none]")
    return parser


def _countable(scenario: AnyScenario) -> bool:
    """One process, and something to ask it for; ten thousand connections say nothing that one does not."""
    return scenario.load in ("wrk", "events", "websocket") and scenario.workers == 1 and not scenario.family


def _columns(scenarios: Sequence[str]) -> set[str]:
    return {_peer(SCENARIOS[name]) if one == "uvicorn" else one for one in _SERVERS for name in scenarios}


def _peer(scenario: AnyScenario) -> str:
    return "uvicorn-sansio" if isinstance(scenario, WebSocketScenario) else "uvicorn"


def _row(name: str, scenario: AnyScenario, chosen: Sequence[Server]) -> tuple[str, list[float | None]]:
    """The scenario's title, and what each of `_SERVERS` takes; None where it was not counted."""
    by_name = {one.name: one for one in chosen}
    found: list[float | None] = []
    for column in _SERVERS:
        server = by_name.get(_peer(scenario) if column == "uvicorn" else column)
        count = None
        if server is not None:
            try:
                count = counted(server, scenario)
            except (OSError, ServerError) as error:
                print(f"- {server.title}, {name}: {error}", flush=True)
        found.append(count)
        print(f"- {name}, {column}: {'-' if count is None else f'{count:,.0f}'}", flush=True)
    return f"{scenario.title}, per {scenario.unit}", found


# --- one server, one scenario -----------------------------------------------------------------------


def counted(server: Server, scenario: AnyScenario) -> float:
    """Instructions for each request, message or event. Raises ServerError or OSError."""
    with running(server, scenario, None, under=_CALLGRIND) as process, _asking(scenario, process.port) as (ask, size):
        rounds = max(_COUNTED // size, 1)
        for _ in range(max(_WARM_UP // size, 3)):
            ask()
        batches: list[float] = []
        for _ in range(_BATCHES):
            before = _instructions(process.pid)
            for _ in range(rounds):
                ask()
            batches.append((_instructions(process.pid) - before) / rounds / size)
        return median(batches)


def _instructions(pid: int) -> int:
    """What all threads of that process have taken so far."""
    answer = subprocess.run([*_ASK, str(pid)], capture_output=True, text=True, timeout=60, check=False)
    found = _OF_A_THREAD.findall(answer.stdout)
    if not found:
        raise ServerError(f"callgrind_control says nothing: {answer.stderr.strip()[-200:]}")
    return sum(int(one.replace(",", "")) for one in found)


@contextmanager
def _asking(scenario: AnyScenario, port: int) -> Iterator[tuple[Callable[[], object], int]]:
    """What asks once, and how many requests that is."""
    if isinstance(scenario, WebSocketScenario):
        with websocket_client.opened(port) as connection:
            payload = websocket_client.payload_of(scenario.size)
            text = scenario.kind != "binary"
            message = websocket_client.masked_frame(payload, text=text)
            size = len(websocket_client.answer_frame(payload, text=text))
            yield lambda: _exchange(connection, message, lambda answer: len(answer) >= size), 1
    elif scenario.load == "events":
        yield Readers(port, _STREAMS).cause, _STREAMS
    else:
        with ExitStack() as stack:
            yield _requesting(scenario, port, stack), scenario.depth


def _requesting(scenario: Scenario, port: int, stack: ExitStack) -> Callable[[], object]:
    data = _request(scenario) * scenario.depth

    def complete(answer: bytes) -> bool:
        return answer.count(scenario.answer) >= scenario.depth

    def connected() -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return anyone().wrap_socket(connection) if scenario.tls else connection

    def alone() -> None:
        with connected() as connection:
            _exchange(connection, data, complete)
            while connection.recv(65536):
                pass

    if ("Connection", "close") in scenario.fields:
        return alone
    kept = stack.enter_context(connected())
    return lambda: _exchange(kept, data, complete)


def _request(scenario: Scenario) -> bytes:
    fields = [("Host", "127.0.0.1"), *scenario.fields]
    body = scenario.body
    if scenario.chunk:
        fields.append(("Transfer-Encoding", "chunked"))
        body = framed(body, scenario.chunk)
    elif body:
        fields.append(("Content-Length", str(len(body))))
    lines = [f"{scenario.method} {scenario.target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode() + body


def _exchange(connection: socket.socket | ssl.SSLSocket, data: bytes, complete: Callable[[bytes], bool]) -> None:
    connection.sendall(data)
    answer = b""
    while not complete(answer):
        more = connection.recv(65536)
        if not more:
            raise ServerError(f"closed behind {answer[-64:]!r}")
        answer += more


if __name__ == "__main__":
    main()
