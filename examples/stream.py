"""A response that is sent while it is made.

    asgiserve --app-dir examples stream:app

Then `curl -N http://127.0.0.1:8000/` shows five lines, one every tenth of a second. `send()` waits for a
client that reads slowly, so an endless response needs no more memory than a short one.
"""

import anyio


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for number in range(1, 6):
        await send({"type": "http.response.body", "body": b"line %d\n" % number, "more_body": True})
        await anyio.sleep(0.1)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
