"""An anyio program that opens a pool, serves with it, and closes it when the last request has ended.

    python examples/serve_with_pool.py trio

prints the answer to one request and "pool closed". The application needs no lifespan: the pool is the program's own.
"""

import sys
from contextlib import asynccontextmanager
from functools import partial

import anyio

from asgiserve import serve


@asynccontextmanager
async def open_pool():
    yield anyio.Semaphore(2)  # stands for two connections to a database
    print("pool closed")


async def app(pool, scope, receive, send):
    assert scope["type"] == "http"
    async with pool:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"from the pool"})


async def main():
    async with open_pool() as pool, anyio.create_task_group() as group:
        server = await group.start(partial(serve, partial(app, pool), port=0))
        async with await anyio.connect_tcp(*server.addresses[0]) as stream:
            await stream.send(b"GET / HTTP/1.0\r\n\r\n")
            print(b"".join([part async for part in stream]).decode().splitlines()[-1])
        server.stop()


anyio.run(main, backend=sys.argv[1])
