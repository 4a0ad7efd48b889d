"""A worker with a health endpoint beside it: 200 while it has worked within the last ten seconds, 503 otherwise.

    python examples/sidecar_health.py trio 9090

Then ask with `curl -i http://127.0.0.1:9090/`. Ctrl+C ends both.
"""

import sys
from functools import partial

import anyio

from asgiserve import serve


class Worker:
    last = 0.0

    async def run(self):
        while True:
            self.last = anyio.current_time()
            await anyio.sleep(1)  # stands for a job

    async def health(self, scope, receive, send):
        assert scope["type"] == "http"
        healthy = anyio.current_time() - self.last < 10
        await send({"type": "http.response.start", "status": 200 if healthy else 503, "headers": []})
        await send({"type": "http.response.body"})


async def main(backend, port):
    worker = Worker()
    async with anyio.create_task_group() as group:
        server = await group.start(partial(serve, worker.health, port=int(port)))
        print("health on", server.urls[0], flush=True)
        await worker.run()


anyio.run(main, *sys.argv[1:], backend=sys.argv[1])
