"""Something that is opened once, at startup, and shared by all requests.

    asgiserve --app-dir examples lifespan_state:app

Then `curl http://127.0.0.1:8000/` says `counted: 1`, then `counted: 2`. What lifespan puts into its
`state` is in the `state` of every request; what it opened is closed after the last request has ended.
"""

import itertools


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    else:
        await respond(scope, send)


async def lifespan(scope, receive, send):
    await receive()  # lifespan.startup
    scope["state"]["counter"] = itertools.count(1)
    await send({"type": "lifespan.startup.complete"})
    await receive()  # lifespan.shutdown
    await send({"type": "lifespan.shutdown.complete"})


async def respond(scope, send):
    body = b"counted: %d\n" % next(scope["state"]["counter"])
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
