"""What a live server costs a test suite: the time of a start and a stop, and what is left behind afterwards.

    python -m tests.bench.starts [--count 1000] [--backend trio]

Starts and stops servers in this process, one after the other, each with a lifespan and one request; prints the median
and the slowest, and how many threads and descriptors there are more than before. Exit code 1 if there are any.
"""

from __future__ import annotations

import argparse
import gc
import os
import socket
import statistics
import threading
import time
from typing import Any

from asgiserve.testing import live_server


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for _ in range(2):
            event = (await receive())["type"]
            await send({"type": f"{event}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def once(backend: str) -> float:
    """Seconds for a start and a stop, without the request between them."""
    began = time.perf_counter()
    with live_server(app, backend=backend) as server:
        up = time.perf_counter() - began
        with socket.create_connection((server.host, server.port)) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while client.recv(65536):
                pass
        began = time.perf_counter()
    return up + time.perf_counter() - began


def left() -> tuple[int, int]:
    gc.collect()
    return threading.active_count(), len(os.listdir("/dev/fd"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--backend", choices=["asyncio", "trio"], action="append")
    options = parser.parse_args()
    clean = True
    for backend in options.backend or ["asyncio", "trio"]:
        once(backend)
        threads, descriptors = left()
        took = [once(backend) * 1000 for _ in range(options.count)]
        more_threads, more_descriptors = left()[0] - threads, left()[1] - descriptors
        print(f"{backend}: median {statistics.median(took):.2f} ms, slowest {max(took):.1f} ms,", end=" ")
        print(f"{more_threads} threads and {more_descriptors} descriptors left behind")
        clean = clean and more_threads <= 0 and more_descriptors <= 0
    raise SystemExit(0 if clean else 1)


if __name__ == "__main__":
    main()
