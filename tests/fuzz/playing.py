"""Playing a plan: a server in memory, its application, a client and the network, in virtual time on one backend.

What is seen goes into `Seen`, and is judged in `judging.py`. The actors never act at the same instant: each adds an odd
bit of its own to every pause. So what two backends do can be compared, although within one instant each of them runs
its tasks in an order of its own.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import anyio

from asgiserve.config import Settings
from asgiserve.server import serve_with
from asgiserve.streams.stream import CLOSED
from asgiserve.testing import Faults, MemoryListener
from asgiserve.testing.clock import virtual_time
from tests.fuzz.scripts import Call, Script, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asgiserve.server import Server
    from asgiserve.testing import MemoryStream
    from asgiserve.types import Receive, Scope, Send
    from tests.fuzz.corpus import Case

__all__ = ["Seen", "play"]

_CLIENT, _SERVER, _READER = 0.001_733, 0.007_759, 0.005_101
"""Seconds: the odd bit of each actor; `scripts.py` has the application's."""

_GONE: Final = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)
_SETTLED_AFTER: Final = 500.000_911
"""Seconds: longer than every timeout, and than every script."""
_LEFT_ALONE: Final = 100.0
"""Seconds in which everything has to end once the client is gone."""


@dataclass
class Seen:
    """What came of a plan on one backend."""

    received: bytes = b""
    end: str = "open"
    """How the connection ended for the client."""
    calls: list[Call] = field(default_factory=list)
    access: list[tuple[Any, ...]] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    """What must never be: errors of ours, of the event loop and of the interpreter."""
    left: list[str] = field(default_factory=list)
    """What is still there although everything had to be over."""

    def comparable(self) -> tuple[Any, ...]:
        """What has to be the same on every backend."""
        # How often an application hears of the end is a matter of which of its tasks asks again first.
        calls = [replace(call, heard=[what for what, _ in groupby(call.heard)]) for call in self.calls]
        # A line that names several requests names them in any order.
        logged = Counter(tuple(sorted(line.replace(",", "").rstrip(".").split())) for line in self.logged)
        return self.received, self.end, calls, Counter(self.access), logged


def play(plan: Case, backend: str, **settings: Any) -> Seen:
    """Play it on "asyncio" or "trio"; `settings` replace those of the plan."""
    seen = Seen()
    name, options = virtual_time(backend)
    with _watched(seen), warnings.catch_warnings():
        warnings.simplefilter("error")
        stage = _Stage(plan, seen, settings)
        anyio.run(stage.run, backend=name, backend_options=dict(options))
    return seen


class _Stage:
    """One server, one client, one connection."""

    def __init__(self, plan: Case, seen: Seen, settings: dict[str, Any]) -> None:
        self._plan = plan
        self._seen = seen
        self._settings = Settings.of(
            {"date_header": False, "lifespan": "off", **plan["settings"], **settings}  # a date differs with the second
        )
        self._listener = MemoryListener()
        self._serving = anyio.CancelScope
        self._scope: anyio.CancelScope | None = None

    async def run(self) -> None:
        async with anyio.create_task_group() as group:
            server: Server = await group.start(self._serve)
            stream = self._connect()
            group.start_soon(self._read, stream)
            group.start_soon(self._act, stream)
            group.start_soon(self._end_server, server)
            await anyio.sleep(_SETTLED_AFTER)
            self._look_at_client(server)
            stream.abort()
            await anyio.sleep(_LEFT_ALONE)
            self._look_at_server(server, stream)
            server.stop()
            with anyio.move_on_after(_LEFT_ALONE) as patience:
                while server.state != "stopped":  # noqa: ASYNC110 - nothing else tells
                    await anyio.sleep(1)
            if patience.cancelled_caught:
                self._seen.left.append("the server does not stop")
            group.cancel_scope.cancel()

    async def _serve(self, task_status: Any) -> None:
        with anyio.CancelScope() as self._scope:
            await serve_with(self._application, self._settings, listeners=[self._listener], task_status=task_status)

    def _connect(self) -> MemoryStream:
        faults: dict[str, Any] = {
            name: Faults(**self._plan[name]) for name in ("to_server", "to_client") if self._plan[name] is not None
        }
        return self._listener.connect(capacity=self._plan["capacity"], **faults)

    def _look_at_client(self, server: Server) -> None:
        """An application may go on behind its connection, but the client has to see the end of that."""
        ended = not server._stopping._service.connections
        if ended and self._plan["reads"] == "all" and self._seen.end == "open":
            self._seen.left.append("the connection has ended, and its client has not seen it")

    def _look_at_server(self, server: Server, stream: MemoryStream) -> None:
        """The client is gone: note what is left where nothing may be."""
        service = server._stopping._service
        left = {
            "tasks": service.tasks,
            "in flight": service.in_flight,
            "connections": len(service.connections),
            "lingering": len(service.lingering),
            "handshakes": len(service.handshakes),
            "open streams": int(stream._peer._receiving is not CLOSED),
        }
        if service.slots is not None and server.state == "serving":
            left["lost slots"] = (self._settings.limits.connections or 0) - service.slots.value
        self._seen.left += [f"{count} {what}" for what, count in left.items() if count]

    # --- the client ---

    async def _act(self, stream: MemoryStream) -> None:
        try:
            for step in self._plan["client"]:
                if step[0] in ("eof", "abort", "close"):
                    await anyio.sleep(_CLIENT)  # never in the instant in which the server has made room
                match step[0]:
                    case "send":
                        with anyio.move_on_after(_SETTLED_AFTER / 5 + _CLIENT):
                            await stream.send(step[1].encode("latin-1"))
                    case "pause":
                        await anyio.sleep(step[1] / 1000 + _CLIENT)
                    case "eof":
                        await stream.send_eof()
                    case "abort":
                        stream.abort()
                    case "close":
                        await stream.aclose()
        except (*_GONE, anyio.BusyResourceError):
            pass

    async def _read(self, stream: MemoryStream) -> None:
        reads, seen = self._plan["reads"], self._seen
        if reads == "none":
            return
        if reads in ("late", "slow"):
            await anyio.sleep(5 + _READER)
        try:
            while True:
                seen.received += await stream.receive()
                if reads == "slow":
                    await anyio.sleep(0.3 + _READER)
        except anyio.EndOfStream:
            seen.end = "eof"
        except anyio.BrokenResourceError:
            seen.end = "reset"
        except anyio.ClosedResourceError:
            seen.end = "closed by the client"

    async def _end_server(self, server: Server) -> None:
        if self._plan["server"] is None:
            return
        what, milliseconds = self._plan["server"]
        await anyio.sleep(milliseconds / 1000 + _SERVER)
        match what:
            case "stop":
                server.stop()
            case "stop quickly":
                server.stop_quickly(1.31)
            case "abort":
                server.abort()
            case "cancel" if self._scope is not None:
                self._scope.cancel()

    # --- the application ---

    async def _application(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        before = sum(one.kind == kind for one in self._seen.calls)
        scripts = self._plan[kind]
        script = scripts[before % len(scripts)]
        call = Call(kind, scope.get("method", "GET"), scope["http_version"])
        self._seen.calls.append(call)
        try:
            await Script(call, receive, send, careful=script["careful"]).run(script["ops"])
            call.end = "returned"
        except anyio.get_cancelled_exc_class():
            call.end = "cancelled"
            raise
        except BaseException as error:
            call.end = name_of(error)
            raise


# --- what is logged and what must not be ---


class _Keeping(logging.Handler):
    def __init__(self, seen: Seen) -> None:
        super().__init__(logging.INFO)
        self._seen = seen

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "asgiserve.access":
            assert isinstance(record.args, tuple)
            self._seen.access.append((*record.args, vars(record)["bytes"]))
            return
        if record.levelno < logging.WARNING:
            return
        text = record.getMessage()
        if record.name != "asgiserve.error" or text.startswith("Unexpected error"):
            error = logging.Formatter().format(record)
            self._seen.strange.append(f"{record.name}: {error}")
        self._seen.logged.append(text.partition("\n")[0])


@contextmanager
def _watched(seen: Seen) -> Iterator[None]:
    """Note what is logged, and what the interpreter has to complain of."""
    handler, root = _Keeping(seen), logging.getLogger()
    loggers = [logging.getLogger(name) for name in ("asgiserve.error", "asgiserve.access")]
    levels, hook = [one.level for one in loggers], sys.unraisablehook
    root.addHandler(handler)
    for one in loggers:
        one.setLevel(logging.INFO)
    sys.unraisablehook = partial(_note_unraisable, seen)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        root.removeHandler(handler)
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


def _note_unraisable(seen: Seen, what: Any) -> None:
    seen.strange.append(f"unraisable: {what.exc_value!r} in {what.object!r}")
