"""The smallest application.

    asgiserve --app-dir examples hello:app
    asgiserve --app-dir examples --backend trio hello:app

Then `curl -i http://127.0.0.1:8000/` answers `Hello, World!`.
"""


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"13")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"Hello, World!"})
