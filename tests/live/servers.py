"""A live server for one test: in a thread of the test's process, or the command line in its own process.

`ThreadServer` takes an application object, so that a test and its application can share events and lists.
`ProcessServer` takes an import string; signals, exit codes, descriptors and log lines are tested on it.
Both are made by the fixture `live_server` of the conftest, which calls `finish()` at the test's end: it stops
the server within a bound, and fails the test if the server does not end, fails, or logs an error that nobody
expected.

Nothing here sleeps: a thread that has to know something waits for an event, with PATIENCE as its bound.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import anyio
from anyio.lowlevel import current_token

from asgiserve.server import serve
from tests.support.processes import START_PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from anyio.lowlevel import EventLoopToken

    from asgiserve.server import Server
    from asgiserve.types import ASGIApplication
    from tests.live.backends import Backend

__all__ = ["LATE", "PATIENCE", "Lines", "ProcessServer", "ThreadServer", "command"]

PATIENCE: Final = 10.0
"""How long a test waits for what should happen at once. Only a failing test ever waits this long."""

LATE: Final = 1.5
"""Seconds that what has its time may come later on a machine that has other things to do as well."""

_STOP_SETTINGS: Final = {"timeout_graceful_shutdown": 5, "timeout_linger": 0.1}
"""For every server that a test does not tell otherwise: ends soon, and well within PATIENCE."""

_ENDS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
"""What ends a server in any case."""

_ROOT: Final = Path(__file__).parent.parent.parent


def _completed(settings: Mapping[str, Any]) -> dict[str, Any]:
    somewhere = settings.keys() & {"port", "uds", "fd", "bind"}
    return {**_STOP_SETTINGS, **({} if somewhere else {"port": 0}), **settings}


class ThreadServer:
    """`serve()` in an event loop of a thread of its own."""

    def __init__(self, app: ASGIApplication, backend: Backend, settings: Mapping[str, Any]) -> None:
        self._app = app
        self._backend, self._options = backend
        self._settings = _completed(settings)
        self._stop: anyio.Event
        self._token: EventLoopToken
        self._ready: Future[Server] = Future()
        self._ended: Future[None] = Future()
        self._errors = _ErrorRecords()
        self._thread = threading.Thread(target=self._main, name="live server", daemon=True)
        self._thread.start()
        try:
            self.port: int = self._ready.result(PATIENCE).addresses[0][1]
        except BaseException:
            self._errors.detach()
            raise
        self.url = f"http://127.0.0.1:{self.port}"

    def started(self, value: Server | None = None) -> None:
        """`serve()` calls this as its task status."""
        assert value is not None
        self._ready.set_result(value)

    def call(self, function: Callable[[], object]) -> None:
        """Call it in the server's event loop, for example `event.set`."""
        anyio.from_thread.run_sync(function, token=self._token)

    def stop(self) -> None:
        """Ask the server to stop gracefully; does not wait."""
        self.call(self._stop.set)

    def wait_ended(self) -> None:
        """Wait until the event loop is closed. Raises what `serve()` raised."""
        try:
            self._ended.result(PATIENCE)
        except TimeoutError:
            raise AssertionError(f"the server does not end; its threads:\n{_stacks()}") from None
        finally:
            self._errors.detach()
        self._thread.join(PATIENCE)

    def take_errors(self) -> list[str]:
        """What was logged as an error so far, and is expected."""
        taken, self._errors.lines = self._errors.lines, []
        return taken

    def finish(self) -> None:
        if not self._ended.done():
            self.stop()
        self.wait_ended()
        assert not self._errors.lines, "\n".join(self._errors.lines)

    def _main(self) -> None:
        try:
            anyio.run(self._serve, backend=self._backend, backend_options=self._options)
        except BaseException as error:
            self._ended.set_exception(error)
            if not self._ready.done():
                self._ready.set_exception(error)
        else:
            self._ended.set_result(None)

    async def _serve(self) -> None:
        self._token = current_token()
        self._stop = anyio.Event()
        await serve(self._app, stop=self._stop, task_status=self, **self._settings)


class _ErrorRecords(logging.Handler):
    """Collects what the server and the event loops' own libraries log as errors."""

    _NAMES = ("asgiserve.error", "asyncio", "trio")

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []
        for name in self._NAMES:
            logging.getLogger(name).addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def detach(self) -> None:
        for name in self._NAMES:
            logging.getLogger(name).removeHandler(self)


def _stacks() -> str:
    """Where every thread of this process is."""
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read()


def command(target: str, backend: Backend, settings: Mapping[str, Any]) -> list[str]:
    """The command line that serves `target` with these settings."""
    name, options = backend
    words = [sys.executable, "-X", "faulthandler", "-W", "error", "-m", "asgiserve", "--backend", name]
    if name == "asyncio":
        words += ["--loop", "uvloop" if options.get("use_uvloop") else "asyncio"]
    for setting, value in settings.items():
        flag = setting.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            for one in value if isinstance(value, list) else [value]:
                words += [f"--{flag}", str(one)]
    return [*words, *([] if "app_dir" in settings else ["--app-dir", str(_ROOT)]), target]


class ProcessServer:
    """`python -m asgiserve` in a process of its own."""

    def __init__(
        self,
        target: str,
        backend: Backend,
        settings: Mapping[str, Any],
        *,
        wrapper: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
        ready: str = "asgiserve running on ",
    ) -> None:
        """`wrapper` goes before the command; `ready` is the line of stderr to wait for."""
        words = [*wrapper, *command(target, backend, _completed(settings))]
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=pass_fds,
            env={**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.stdout = Lines(self.process.stdout)
        self.stderr = Lines(self.process.stderr)
        self.expected_code: int | None = 0
        """What `finish()` checks; None for any."""
        self._traceback_expected = False
        self._signalled = False
        """It has been told to end."""
        try:
            self.stderr.wait_for(ready, patience=START_PATIENCE)
        except BaseException:
            self._end()
            raise

    @property
    def urls(self) -> list[str]:
        """Every address that has been announced so far."""
        marker = "asgiserve running on "
        return [line.partition(marker)[2].split()[0] for line in self.stderr.lines() if marker in line]

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def wait_workers(self, count: int) -> list[int]:
        """Wait until so many workers have become ready since the start; the process ids of all, in that order."""
        self.stderr.wait_for("] is ready", count, patience=START_PATIENCE)
        return [int(pid) for pid in re.findall(r"Worker \[(\d+)\] is ready", self.stderr.text)]

    def send_signal(self, number: signal.Signals) -> None:
        self._signalled = self._signalled or number in _ENDS
        self.process.send_signal(number)

    def wait_exit(self, timeout: float = PATIENCE) -> int:
        """Wait for the exit code. A process that does not end says where it is, and fails the test."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self._end()
            raise AssertionError(f"the server does not end; its stderr:\n{self.stderr.text}") from None
        self._end()
        return code

    def expect_traceback(self) -> None:
        """The application has an error that is shown, and that is what is tested."""
        self._traceback_expected = True

    def finish(self) -> None:
        if not self._signalled:
            self.send_signal(signal.SIGTERM)
        code = self.wait_exit()
        print(self.stderr.timed())  # shown with a test that fails, for those that fail once in fifty times
        errors = self.stderr.text
        assert self.expected_code in (code, None), f"exit code {code}; stderr:\n{errors}"
        assert self._traceback_expected or "Traceback" not in errors, errors

    def _end(self) -> None:
        """Leave nothing behind: no process, no thread, no open pipe."""
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.stdout.close()
        self.stderr.close()


class Lines:
    """The lines of a pipe, read by a thread as they come."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe
        self._lines: list[str] = []
        self._began = time.monotonic()
        self._came: list[float] = []
        """When each line came."""
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        return "".join(self.lines())

    def lines(self) -> list[str]:
        with self._changed:
            return self._lines[:]

    def timed(self) -> str:
        """All lines, each behind the seconds since the pipe was opened."""
        with self._changed:
            return "".join(
                f"{self.seconds(came):7.3f} {line}" for came, line in zip(self._came, self._lines, strict=True)
            )

    def seconds(self, moment: float) -> float:
        """Of the monotonic clock, as `timed()` counts them."""
        return moment - self._began

    def wait_for(self, text: str, count: int = 1, *, patience: float = PATIENCE) -> str:
        """The `count`th line that has `text` in it; waits until it comes."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or len(self._with(text)) >= count, patience)
            found = self._with(text)
            assert len(found) >= count, f"no {text!r} in:\n{''.join(self._lines)}"
            return found[count - 1]

    def _with(self, text: str) -> list[str]:
        return [line for line in self._lines if text in line]

    def close(self) -> None:
        self._thread.join(PATIENCE)
        self._pipe.close()

    def _read(self) -> None:
        for line in self._pipe:
            with self._changed:
                self._lines.append(line)
                self._came.append(time.monotonic())
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
