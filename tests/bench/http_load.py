"""Bare GETs on connections that stay open: a process of its own, which `load.py` starts and speaks to.

    python http_load.py PORT CONNECTIONS ANSWER

opens the connections, sends one request on each, says READY, and then for each line on its standard input, a number of
seconds, loads the server for so long and prints a line `RESULT {…}`. Every connection always has one request on the
way. With 0 seconds it only looks whether the connections are still open. It ends with its standard input.

wrk opens its connections anew for each run: with ten thousand of them that is most of what would be measured.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections import Counter
from typing import Final

REQUEST: Final = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
PATIENCE: Final = 5.0
"""Seconds for the last answers, when nothing more is sent."""
BATCH: Final = 50
"""How many connections are opened at a time: less than any server's backlog, and no wait for each alone."""
STATUS: Final = b"HTTP/1.1 200 "


class Clients:
    """All connections, and what has been counted on them."""

    def __init__(self, port: int, count: int, answer: bytes) -> None:
        self._answer = answer
        self._connections: dict[int, socket.socket] = {}
        while len(self._connections) < count:
            self._open(port, min(BATCH, count - len(self._connections)))
        self._poll = select.epoll()
        for number in self._connections:
            self._poll.register(number, select.EPOLLIN)
        self._sent_at = dict.fromkeys(self._connections, 0.0)
        self._partial = dict.fromkeys(self._connections, b"")
        self._delays: list[float] = []
        self._errors: Counter[str] = Counter()
        self._awaited = 0

    def _open(self, port: int, count: int) -> None:
        """So many connections, on each of which one request has been answered."""
        batch = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in range(count)]
        for connection in batch:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(REQUEST)
        for connection in batch:
            answer = b""
            while not self._whole(answer):
                more = connection.recv(65536)
                if not more:
                    raise OSError(f"closed behind {answer[:64]!r}")
                answer += more
            self._connections[connection.fileno()] = connection

    def _whole(self, answer: bytes) -> bool:
        return answer.endswith(self._answer) and answer.startswith(STATUS)

    def run(self, seconds: float) -> dict[str, object]:
        """Load the server, wait for the last answers, and report."""
        self._delays, self._errors = [], Counter()
        began = time.perf_counter()
        if seconds:
            for number in list(self._connections):
                self._send(number, began)
            while self._awaited and time.perf_counter() < began + seconds + PATIENCE:
                self._take(began + seconds)
            self._errors["unanswered"] += self._awaited
        else:
            # Whatever can be read from an idle connection is its end.
            self._errors["closed"] += len(self._poll.poll(0, len(self._connections)))
        took = time.perf_counter() - began
        delays = sorted(self._delays) or [0.0]
        return {
            "requests": len(self._delays),
            "seconds": took,
            "p50_ms": delays[len(delays) // 2] * 1e3,
            "p99_ms": delays[len(delays) * 99 // 100] * 1e3,
            "errors": {kind: count for kind, count in self._errors.items() if count},
        }

    def _send(self, number: int, now: float) -> None:
        self._awaited += 1
        self._sent_at[number] = now
        self._connections[number].sendall(REQUEST)

    def _take(self, end: float) -> None:
        ready = self._poll.poll(PATIENCE)
        now = time.perf_counter()
        for number, _ in ready:
            answer = self._connections[number].recv(65536)
            if not self._whole(answer):
                answer = self._joined(number, answer)
                if not answer:
                    continue
            self._awaited -= 1
            self._delays.append(now - self._sent_at[number])
            if now < end:
                self._send(number, now)

    def _joined(self, number: int, data: bytes) -> bytes:
        """The answer, if it is whole by now; what has come of it is kept otherwise."""
        whole = self._partial[number] + data
        if self._whole(whole):
            self._partial[number] = b""
            return whole
        if data and (whole.startswith(STATUS) or STATUS.startswith(whole)):
            self._partial[number] = whole
        else:
            # A wrong answer or the end: the run says so, and goes on without this connection.
            self._errors["wrong" if data else "closed"] += 1
            self._awaited -= 1
            self._poll.unregister(number)
        return b""


def main() -> None:
    port, count, answer = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode()
    try:
        clients = Clients(port, count, answer)
    except OSError as error:
        print(f"no connection: {error}")
        sys.exit(1)
    print("READY", flush=True)
    for line in sys.stdin:
        print(f"RESULT {json.dumps(clients.run(float(line)))}", flush=True)


if __name__ == "__main__":
    main()
