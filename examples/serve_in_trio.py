"""The server as one task of a trio program, beside others.

    python examples/serve_in_trio.py

prints the server's address and the answer to one request, stops the server and ends. `nursery.start`
returns when the server listens; port 0 takes a free port, so two runs never meet.
"""

from functools import partial

import trio
from hello import app

from asgiserve import serve


async def main():
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, app, port=0))
        print("serving on", server.urls[0])
        await ask(server)
        server.stop()


async def ask(server):
    host, _, port = server.urls[0].removeprefix("http://").rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: example\r\nConnection: close\r\n\r\n")
        answer = b"".join([part async for part in stream])
        print(answer.decode().splitlines()[0])


if __name__ == "__main__":
    trio.run(main)
