"""A running server as others see it: where it listens, how it does, and the ways to stop it.

Made by `serve.py`, and given to whoever awaits `serve()`, by its task status. What stopping is, is in `stopping.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asgiserve.server.stopping import Stopping

__all__ = ["Server"]


class Server:
    """A running server, as `serve()` reports it by `task_status.started(server)`."""

    def __init__(
        self,
        addresses: Sequence[Any],
        urls: Sequence[str],
        stopping: Stopping,
        reload_certificates: Callable[[], None],
        overview: Callable[[], str],
        counts: Callable[[], tuple[int, int]],
    ) -> None:
        self.addresses = tuple(addresses)
        """The bound addresses: (host, port) pairs, and paths of Unix sockets."""
        self.urls = tuple(urls)
        """The same as "http://127.0.0.1:8000", "https://[::1]:8443" or "unix:/run/app.sock"."""
        self._stopping = stopping
        self._reload_certificates = reload_certificates
        self._overview = overview
        self._counts = counts

    def __repr__(self) -> str:
        return f"<Server {self.state} on {', '.join(self.urls)}>"

    @property
    def state(self) -> str:
        """ "starting", "serving", "draining", "stopping" or "stopped"."""
        return self._stopping.state.value

    def stop(self, *, delay: float | None = None) -> None:
        """Stop gracefully: running requests are finished, up to `timeout_graceful_shutdown`. Idempotent.

        Before that, serve on for `delay` seconds, in the state "draining"; None is the setting `shutdown_delay`."""
        self._stopping.stop(delay)

    def stop_quickly(self, grace: float) -> None:
        """Stop gracefully while a person waits: applications are told at once, and have `grace` seconds."""
        self._stopping.stop_quickly(grace)

    def abort(self) -> None:
        """Cancel the requests that run, now. The application's lifespan still shuts down."""
        self._stopping.abort()

    def overview(self) -> str:
        """What goes on at this moment, as text for people: the server, where it listens, the connections with their
        state, age and deadline, and where their applications are. May be called in any thread."""
        return self._overview()

    def counts(self) -> tuple[int, int]:
        """How many requests have been taken up since the start, and how many connections are open."""
        return self._counts()

    def reload_certificates(self) -> None:
        """Read the files of the TLS settings now, instead of when a change is noticed. Connections that are open
        keep what they have, and so does the server if the files cannot be used, which is logged."""
        self._reload_certificates()
