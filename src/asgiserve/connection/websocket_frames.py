"""Control frames on their way out: written at once where nobody is writing, and never waited for.

A pong must not wait for the application, nor whoever reads for a peer that does not. So the one who has a control
frame to send only hands it over, and a task is made where the frame cannot go at once. Messages of the application
do not come this way. Used by `websocket.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgiserve.backend import ki_protected
from asgiserve.connection.outlet import ALL, NOTHING, PART

if TYPE_CHECKING:
    from asgiserve.connection.outlet import Outlet, Taken
    from asgiserve.connection.service import Service

__all__ = ["ControlFrames"]


class ControlFrames:
    """Writes the control frames of one WebSocket."""

    __slots__ = ("_outlet", "_service", "_unsent", "_waiting", "_writing")

    def __init__(self, outlet: Outlet, service: Service) -> None:
        self._outlet = outlet
        self._service = service
        self._waiting: bytes | None = None
        """A pong that could not be written yet."""
        self._writing = False
        """A task is there for the above."""
        self._unsent: tuple[Taken, bytes] | None = None
        """What is left of the last bytes."""

    def ping(self, frame: bytes) -> bool:
        """Write a ping, if nobody is writing. Whether it was."""
        taken = self._outlet.write_nowait(frame)
        if taken is PART:
            self._outlet.spawn_rest(taken, frame)
        return taken is not NOTHING

    def pong(self, frame: bytes) -> None:
        """Answer a ping. If pongs have to wait, the last one is enough (RFC 6455 5.5.3)."""
        taken = self._outlet.write_nowait(frame)
        if taken is ALL:
            return
        if taken is PART:
            self._outlet.spawn_rest(taken, frame)
        elif not self._outlet.broken:
            self._waiting = frame
            if not self._writing:
                self._writing = True
                self._service.spawn(self._write_waiting)

    def last(self, data: bytes) -> None:
        """Write the last bytes of the connection; `flush_last` sends what cannot go at once."""
        self._waiting = None
        taken = self._outlet.write_nowait(data)
        self._unsent = None if taken is ALL else (taken, data)

    async def flush_last(self) -> None:
        """Wait for whoever is still writing, and for the last bytes."""
        if self._unsent is None:
            await self._outlet.write()
        else:
            await self._outlet.write_rest(*self._unsent)

    @ki_protected
    async def _write_waiting(self) -> None:
        try:
            while self._waiting is not None:
                frame, self._waiting = self._waiting, None
                await self._outlet.write(frame)
        finally:
            self._writing = False
