"""The load of server-sent events: a process of its own, which `load.py` starts and speaks to.

    python events_load.py PORT CONNECTIONS

opens the streams, says READY, and then for each line on its standard input, a number of seconds, causes events for so
long and prints a line `RESULT {…}`. One more connection causes an event by a GET; the next one comes when the event
has arrived on all streams. Counted is what arrives. It ends with its standard input.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections import Counter
from typing import Final

from apps import EVENT, GREETING

PATIENCE: Final = 5.0
"""Seconds for the last events, when nothing more is caused."""
CHUNK: Final = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
"""An event as it arrives: each is a chunk of its own with every server here."""


class Readers:
    """All streams, and what has been counted on them."""

    def __init__(self, port: int, count: int) -> None:
        self._streams = {one.fileno(): one for one in (_opened(port) for _ in range(count))}
        self._cause = _connected(port)
        self._poll = select.epoll()
        for number in self._streams:
            self._poll.register(number, select.EPOLLIN)
        self._partial = dict.fromkeys(self._streams, b"")
        self._errors: Counter[str] = Counter()

    def run(self, seconds: float) -> dict[str, object]:
        """Cause events for so long, wait for the last of them, and report."""
        self._errors = Counter()
        delays: list[float] = []
        count = 0
        began = time.perf_counter()
        while (now := time.perf_counter()) < began + seconds and self._partial:
            count += self.cause()
            delays.append(time.perf_counter() - now)
        took = time.perf_counter() - began
        delays.sort()
        return {
            "requests": count,
            "seconds": took,
            "p50_ms": delays[len(delays) // 2] * 1e3,
            "p99_ms": delays[len(delays) * 99 // 100] * 1e3,
            "errors": dict(self._errors),
        }

    def cause(self) -> int:
        """One event: on how many streams it has come."""
        give_up_at = time.perf_counter() + PATIENCE
        self._cause.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = b""
        while not answer.endswith(GREETING):
            more = self._cause.recv(4096)
            if not more:
                raise OSError("the causing connection was closed")
            answer += more
        return self._arrived(give_up_at)

    def _arrived(self, give_up_at: float) -> int:
        """On how many streams one event has come."""
        awaited = set(self._partial)
        count = 0
        while awaited:
            ready = self._poll.poll(max(0.0, give_up_at - time.perf_counter()))
            if not ready:
                self._errors["missing"] += len(awaited)
                raise OSError(f"{len(awaited)} events did not arrive")
            for number, _ in ready:
                data = self._streams[number].recv(65536)
                whole = self._partial[number] + data
                if whole == CHUNK:
                    self._partial[number] = b""
                    awaited.discard(number)
                    count += 1
                elif data and CHUNK.startswith(whole):
                    self._partial[number] = whole
                else:
                    self._errors["wrong" if data else "closed"] += 1
                    self._poll.unregister(number)
                    del self._partial[number]
                    awaited.discard(number)
        return count


def _connected(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _opened(port: int) -> socket.socket:
    """A stream whose first event has come."""
    connection = _connected(port)
    connection.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n")
    answer = b""
    while not answer.endswith(CHUNK):
        more = connection.recv(65536)
        if not more:
            raise OSError(f"closed behind {answer[-64:]!r}")
        answer += more
    return connection


def main() -> None:
    try:
        readers = Readers(int(sys.argv[1]), int(sys.argv[2]))
        print("READY", flush=True)
        for line in sys.stdin:
            print(f"RESULT {json.dumps(readers.run(float(line)))}", flush=True)
    except OSError as error:
        print(f"no events: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
