"""What goes on in one server, from its state down to where each application is, as text for people.

Read off the server when somebody asks: by SIGUSR1, by `Server.overview()`, for a test that hangs. It must work in any
thread, since a loop that is blocked tells nothing. The part about connections is `connection/overview.py`.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from asgiserve.backend import loop_name
from asgiserve.connection.overview import connections_text, lasting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asgiserve.connection.service import Service
    from asgiserve.server.lifespan import Lifespan
    from asgiserve.server.listeners import AcceptLoop
    from asgiserve.server.stopping import Stopping

__all__ = ["Overview"]


class Overview:
    """What there is to tell of one server. Made in its event loop."""

    def __init__(self, service: Service, stopping: Stopping, lifespan: Lifespan) -> None:
        self._service = service
        self._stopping = stopping
        self._lifespan = lifespan
        self._loop_name = loop_name()
        self._accepting: list[tuple[str, AcceptLoop]] = []

    def accepts(self, where: str, loop: AcceptLoop) -> None:
        """There is a listener more."""
        self._accepting.append((where, loop))

    def text(self) -> str:
        return "\n".join([*self._server(), connections_text(self._service)])

    def _server(self) -> Iterator[str]:
        service = self._service
        yield (
            f"asgiserve {_version()} on {self._loop_name}, process {os.getpid()}:"
            f" {self._stopping.doing(service.clock())}"
        )
        opened = "" if service.opened_at is None else f" in {lasting(service.clock() - service.opened_at)}"
        requests = f"{service.requests} request{'s' * (service.requests != 1)}{opened}"
        yield f"{requests}; lifespan: {self._lifespan.doing}"
        for where, loop in self._accepting:
            yield f"{where}: {loop.doing}"


def _version() -> str:
    # The package imports us, so it is not imported here; its metadata is missing where nobody has installed it.
    version: str = sys.modules["asgiserve"].__version__
    return version
