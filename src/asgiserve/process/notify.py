"""What systemd is told of a service of Type=notify: that it is ready, reloads, stops, lives. See sd_notify(3).

    NOTIFY_SOCKET     where to; without it there is nobody to tell, and nothing happens
    WATCHDOG_USEC     how long systemd waits for the next sign of life before it restarts the service
    WATCHDOG_PID      whose signs it waits for

The environment is handed in, by whoever may read it. Telling never fails: a server that cannot be watched still
serves. What is told, and when, is decided by `signals.py`, or by whoever supervises workers.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Final, Self

import anyio

from asgiserve import logs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Notifier"]

_SEND_SECONDS: Final = 0.25
"""How long a full queue of systemd's may hold us up. The event loop stands still meanwhile; a READY that was dropped
would have systemd end the service."""

_EXTENSION_SECONDS: Final = 10.0
"""How often a stop that takes long asks for more time; each time for twice as much."""

_SHORTEST_SECONDS: Final = 0.01
"""Between two signs of life; a unit that wants more of them has its unit of time wrong."""

_MOST_DIGITS: Final = len(str(2**64))
"""Of WATCHDOG_USEC, which is 64 bits wide. Python reads no number of thousands of digits."""

_ONE_LINE: Final = {ord(sign): " " for sign in "\r\n"}
"""Each value is a line: none may begin another one."""

_RELOAD_CLOCK: Final = getattr(time, "CLOCK_MONOTONIC", None)


class Notifier:
    """The way to systemd; one that leads nowhere does nothing."""

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        """`watchdog` is how long systemd waits for a sign of life, in seconds."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog = watchdog
        self._failed = False

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> Self:
        """The one that the variables name. Values that make no sense are told in the log, and not used.

        The variables stay where they are: applications tell systemd things of their own.
        """
        address = environ.get("NOTIFY_SOCKET", "")
        if address and (address[0] not in "/@" or not hasattr(socket, "AF_UNIX")):
            logs.log_warning(f"NOTIFY_SOCKET: expected a path or @NAME, but got {address!r}; systemd is not told.")
            address = ""
        return cls(address, _watchdog_of(environ, pid) if address else None)

    @property
    def listens(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """It serves, for the first time or again after `reloading()`."""
        self._tell(READY=1, MAINPID=os.getpid(), STATUS=status)

    def reloading(self) -> None:
        """It reads its files again, or restarts its workers. `ready()` ends that."""
        # The clock's reading tells systemd 253 which of several reloads this one is.
        now = {} if _RELOAD_CLOCK is None else {"MONOTONIC_USEC": time.clock_gettime_ns(_RELOAD_CLOCK) // 1000}
        self._tell(RELOADING=1, **now, STATUS="Reloading")

    def stopping(self, status: str) -> None:
        """It has begun to stop."""
        self._tell(STOPPING=1, STATUS=status)

    def status(self, text: str) -> None:
        """What `systemctl status` shows."""
        self._tell(STATUS=text)

    def extend(self, seconds: float) -> None:
        """What goes on, a start or a stop, may take this much longer than the unit says."""
        self._tell(EXTEND_TIMEOUT_USEC=int(seconds * 1_000_000))

    async def keep_alive(self) -> None:
        """Give a sign of life, twice as often as systemd wants one, until cancelled. The event loop itself gives it:
        one that is blocked is a service that hangs."""
        while self._watchdog is not None:
            self._tell(WATCHDOG=1)
            await anyio.sleep(max(self._watchdog / 2, _SHORTEST_SECONDS))

    async def keep_extending(self) -> None:
        """Ask for more time during a stop, until cancelled: its limits are the server's own settings, which may be
        longer than TimeoutStopSec=, and `none` among them."""
        while self.listens:
            self.extend(2 * _EXTENSION_SECONDS)
            await anyio.sleep(_EXTENSION_SECONDS)

    def _tell(self, **values: str | int) -> None:
        if not self._address:
            return
        lines = [f"{name}={str(value).translate(_ONE_LINE)}" for name, value in values.items()]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_SEND_SECONDS)
                # A path need not be UTF-8, and systemd takes nothing else.
                sock.sendto("\n".join(lines).encode(errors="backslashreplace"), self._address)
        except OSError as error:
            if not self._failed:
                self._failed = True
                logs.log_warning(f"Cannot tell systemd {lines[0]}: {error.strerror or error}. Serving goes on.")


def _watchdog_of(environ: Mapping[str, str], pid: int) -> float | None:
    text, owner = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not text or (owner and owner != str(pid)):
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > _MOST_DIGITS or int(text) == 0:
        logs.log_warning(f"WATCHDOG_USEC: expected a number above 0, but got {text!r}; systemd gets no signs of life.")
        return None
    return int(text) / 1_000_000
