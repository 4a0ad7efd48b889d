"""The command line in processes that start in milliseconds: one process has imported everything, and forks for each.

For tests of many short processes. What is forked has its own event loop, gets its own signals and ends as Python ends;
only its start is not what a user's is, and `servers.py` is there for that.

The test's side hands over two descriptors with its order: the pipe that is to be the server's stderr, and a socket on
which the nursery says the process's id, and later its exit code.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from tests.live.servers import PATIENCE, Lines
from tests.support.processes import START_PATIENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Child", "Nursery"]

_ROOT: Final = Path(__file__).parent.parent.parent
PRELOADED: Final = ("trio", "anyio._backends._asyncio", "anyio._backends._trio", "tests.support.stop_site")
"""What each child would import otherwise."""

_LOOK_SECONDS: Final = 0.02
"""How often the nursery looks for children that have ended."""


class Child:
    """One server's process."""

    def __init__(self, word: socket.socket, stderr: int) -> None:
        self._word = word
        self._word.settimeout(START_PATIENCE)
        self.stderr = Lines(os.fdopen(stderr))
        self.pid = int(self._word.recv(100))
        self._code: int | None = None

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait_exit(self, timeout: float) -> int:
        """The exit code. A process that does not end fails the test with what it said."""
        self._word.settimeout(timeout)
        try:
            self._code = int(self._word.recv(100))
        except TimeoutError:
            raise AssertionError(f"the server does not end; its stderr:\n{self.stderr.text}") from None
        return self._code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave nothing behind: no process, no open pipe."""
        if self._code is None:
            self.send_signal(signal.SIGKILL)
            self.wait_exit(PATIENCE)
        self._word.close()
        self.stderr.close()


class Nursery:
    """The test's side. Any thread may start a server."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair()
        words = [sys.executable, "-X", "faulthandler", "-W", "error", "-m", "tests.live.nursery", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                words,
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "NO_COLOR": "1"},
            )
        self._ordering = threading.Lock()

    def start(self, arguments: Sequence[str]) -> Child:
        """`asgiserve` with these arguments."""
        word, theirs = socket.socketpair()
        stderr, written = os.pipe()
        try:
            with self._ordering:
                socket.send_fds(self._orders, [json.dumps(arguments).encode()], [theirs.fileno(), written])
                return Child(word, stderr)
        finally:
            theirs.close()
            os.close(written)

    def close(self) -> None:
        self._orders.close()
        assert self._process.wait(PATIENCE) == 0


# --- the other side ---------------------------------------------------------------------------


def nurse(orders: socket.socket) -> list[str] | None:
    """Fork for each order. Returns twice: the arguments in each child, None at the end."""
    children: dict[int, socket.socket] = {}
    while True:
        _tell_ends(children)
        if not select.select([orders], [], [], _LOOK_SECONDS)[0]:
            continue
        data, descriptors, _, _ = socket.recv_fds(orders, 65536, 2)
        if not data:
            for left in children:  # of a run that was broken off
                os.kill(left, signal.SIGKILL)
            return None
        word, stderr = socket.socket(fileno=descriptors[0]), descriptors[1]
        pid = os.fork()
        if pid == 0:
            os.dup2(stderr, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            for each in (word, *children.values()):
                each.close()
            os.close(stderr)
            arguments: list[str] = json.loads(data)
            return arguments
        os.close(stderr)
        children[pid] = word
        word.send(str(pid).encode())


def _tell_ends(children: dict[int, socket.socket]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with children.pop(pid) as word:
            word.send(str(os.waitstatus_to_exitcode(status)).encode())


def main() -> None:
    from asgiserve.cli import main as command_line

    for module in PRELOADED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # a collection in a child would copy all of it
    with socket.socket(fileno=int(sys.argv[1])) as orders:
        arguments = nurse(orders)
    if arguments is not None:
        sys.argv = ["asgiserve", *arguments]
        command_line()


if __name__ == "__main__":
    main()
