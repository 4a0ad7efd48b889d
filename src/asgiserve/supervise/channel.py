"""The line between the supervisor and a worker: a socket pair, and on it JSON, one object a line.

The first thing on it is the plan, which only the supervisor writes. From then on each side reads what the other says
with distrust: a line that is too long, or no JSON object with a `word`, is the end of the line, and so is its end. The
supervisor waits for a line until the process has ended; in a worker a thread does, as long as there is a process
(hearing.py).
"""

from __future__ import annotations

import io
import json
import pickle
import socket
import struct
import sys
from contextlib import suppress
from typing import Any, Final

import anyio

__all__ = ["MAX_LINE", "Channel", "read_plan", "said_in", "say_nowait", "write_plan"]

MAX_LINE: Final = 1 << 20
"""Bytes of a line. The longest are overviews, with a stack for each request."""

_CHUNK: Final = 65_536
_LENGTH: Final = struct.Struct("!I")


class Channel:
    """The supervisor's end, in its event loop. Owns its socket."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._buffer = bytearray()
        self._waiting = False
        """A task waits for what comes."""
        self._closing = False
        """It closes the socket when it no longer does."""

    async def receive(self) -> dict[str, Any] | None:
        """The next object; None if either end is closed, or the other one says what it should not."""
        while True:
            try:
                return self.receive_nowait()
            except anyio.WouldBlock:
                await self._wait_readable()

    def receive_nowait(self) -> dict[str, Any] | None:
        """As `receive`. Raises WouldBlock if the next object is not here yet."""
        while (newline := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MAX_LINE:
                return None
            try:
                data = self._socket.recv(_CHUNK)
            except BlockingIOError:
                raise anyio.WouldBlock from None
            except OSError:
                return None
            if not data:
                return None
            self._buffer += data
        line = bytes(self._buffer[:newline])
        del self._buffer[: newline + 1]
        return said_in(line)

    def send_nowait(self, word: str, **more: Any) -> bool:
        """`say_nowait()` on this line."""
        return say_nowait(self._socket, word, **more)

    async def send_plan(self, plan: bytes) -> None:
        """The first bytes on a line. Raises OSError."""
        rest = memoryview(_LENGTH.pack(len(plan)) + plan)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self._socket)

    def close(self) -> None:
        """Whoever waits in `receive` hears the end at once, also if a process that a worker has forked still holds the
        other one. Only then is the socket closed: the loop knows it by its number, which the next one may have."""
        if self._waiting:
            self._closing = True
            with suppress(OSError):  # it is awake already
                self._socket.shutdown(socket.SHUT_RDWR)
        else:
            self._socket.close()

    async def _wait_readable(self) -> None:
        self._waiting = True
        try:
            await anyio.wait_readable(self._socket)
        finally:
            self._waiting = False
            if self._closing:
                self._socket.close()


def say_nowait(end: socket.socket, word: str, **more: Any) -> bool:
    """Say it, if the other end takes it at once: what it has not read by far is all there is to say."""
    line = json.dumps({"word": word, **more}).encode() + b"\n"
    try:
        return end.send(line, socket.MSG_DONTWAIT) == len(line)  # also where a thread waits for what comes
    except OSError:
        return False


def said_in(line: bytes) -> dict[str, Any] | None:
    """The object on a line; None if there is none."""
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) and isinstance(said.get("word"), str) else None


def write_plan(plan: object) -> bytes:
    """A plan as `read_plan` takes it. Raises what pickle raises for what cannot be handed to another process."""
    pickled = pickle.dumps(plan)
    _Elsewhere(io.BytesIO(pickled)).load()
    return pickle.dumps((sys.argv, sys.path, pickled))


class _Elsewhere(pickle.Unpickler):
    """Reads as another process does, to which `__main__` is another program."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if module_name == "__main__":
            raise pickle.UnpicklingError(f"{global_name} is defined in the program itself, which no other one imports")
        return super().find_class(module_name, global_name)


def read_plan(end: socket.socket) -> tuple[list[str], list[str], bytes]:
    """The first thing on a line: the supervisor's arguments and where it imports from, as multiprocessing hands them
    down too; and what to unpickle once that is set. Blocks: there is no loop yet."""
    length = _LENGTH.unpack(_exactly(end, _LENGTH.size))[0]
    arguments, search_path, plan = pickle.loads(_exactly(end, length))
    return arguments, search_path, plan


def _exactly(end: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = end.recv(size - len(data))
        if not more:
            raise EOFError("the supervisor is gone")
        data += more
    return bytes(data)
