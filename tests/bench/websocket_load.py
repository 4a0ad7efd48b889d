"""The load of WebSocket scenarios: a process of its own, which `load.py` starts and speaks to.

    python websocket_load.py PORT CONNECTIONS KIND SIZE

opens the connections, says READY, and then for each line on its standard input, a number of seconds, loads the server
for so long and prints a line `RESULT {…}`. The connections stay open in between, so that neither the handshakes nor
the closing are in what is measured. It ends with its standard input.

In an echo every connection always has one message on the way; in a broadcast one connection sends, and sends again
when the message has come back on all of them.
"""

from __future__ import annotations

import json
import select
import sys
import time
from collections import Counter
from itertools import cycle
from typing import TYPE_CHECKING, Final

from websocket_client import ClientError, answer_frame, masked_frame, opened, payload_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

MASKS: Final = 16
"""Frames with the same payload and different masks: one mask alone would be a pattern that no client has."""

PATIENCE: Final = 5.0
"""Seconds for the last answers, when nothing more is sent."""


class Clients:
    """All connections, and what has been counted on them."""

    def __init__(self, connections: Sequence[socket.socket], payload: bytes, *, text: bool, broadcast: bool) -> None:
        self._connections = {connection.fileno(): connection for connection in connections}
        self._broadcast = broadcast
        self._frames = cycle([masked_frame(payload, text=text) for _ in range(MASKS)])
        self._answer = answer_frame(payload, text=text)
        self._partial = dict.fromkeys(self._connections, b"")
        self._sent_at = dict.fromkeys(self._connections, 0.0)
        self._awaited = 0
        self._poll = select.epoll()
        for number in self._connections:
            self._poll.register(number, select.EPOLLIN)
        self._count = 0
        self._delays: list[float] = []
        self._errors: Counter[str] = Counter()

    def run(self, seconds: float) -> dict[str, object]:
        """Load the server, wait for the last answers, and report."""
        self._count, self._delays, self._errors = 0, [], Counter()
        began = time.perf_counter()
        end = began + seconds
        for number in [next(iter(self._connections))] if self._broadcast else list(self._connections):
            self._send(number, began)
        while self._awaited and time.perf_counter() < end + PATIENCE:
            self._take(end)
        if self._awaited:
            self._errors["unanswered"] += self._awaited
        took = time.perf_counter() - began
        return {
            "requests": self._count,
            "seconds": took,
            "p50_ms": self._delay(50) * 1e3,
            "p99_ms": self._delay(99) * 1e3,
            "errors": dict(self._errors),
        }

    def _send(self, number: int, now: float) -> None:
        self._awaited += len(self._connections) if self._broadcast else 1
        self._sent_at[number] = now
        # The socket blocks: the server reads what is sent to it, or there is nothing to measure.
        self._connections[number].sendall(next(self._frames))

    def _take(self, end: float) -> None:
        """Read from every connection that has something, and send the next message while it is not the end."""
        answer, connections, partial = self._answer, self._connections, self._partial
        ready = self._poll.poll(PATIENCE)
        now = time.perf_counter()
        going_on = now < end
        for number, _ in ready:
            data = connections[number].recv(65536)
            if data != answer or partial[number]:
                data = self._joined(number, data)
                if data != answer:
                    continue
            self._awaited -= 1
            self._count += 1
            if not self._broadcast:
                self._delays.append(now - self._sent_at[number])
                if going_on:
                    self._send(number, now)
            elif not self._awaited:
                first = next(iter(connections))
                self._delays.append(now - self._sent_at[first])
                if going_on:
                    self._send(first, now)

    def _joined(self, number: int, data: bytes) -> bytes:
        """What has come so far of one answer; it stays there until it is whole."""
        whole = self._partial[number] + data
        if whole == self._answer:
            self._partial[number] = b""
        elif data and self._answer.startswith(whole):
            self._partial[number] = whole
        else:
            # A wrong answer, a ping or the end: the run says so, and goes on without this connection.
            self._errors["wrong" if data else "closed"] += 1
            self._awaited -= 1
            self._poll.unregister(number)
        return whole

    def _delay(self, percentile: int) -> float:
        ordered = sorted(self._delays)
        return ordered[len(ordered) * percentile // 100] if ordered else 0.0


def main() -> None:
    port, count, kind, size = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    try:
        connections = [opened(port) for _ in range(count)]
    except (OSError, ClientError) as error:
        print(f"no connection: {error}")
        sys.exit(1)
    for connection in connections:
        connection.settimeout(None)
    clients = Clients(connections, payload_of(size), text=kind != "binary", broadcast=kind == "broadcast")
    print("READY", flush=True)
    for line in sys.stdin:
        print(f"RESULT {json.dumps(clients.run(float(line)))}", flush=True)


if __name__ == "__main__":
    main()
