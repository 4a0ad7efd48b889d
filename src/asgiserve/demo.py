"""A small application that shows the server at work: `asgiserve asgiserve.demo:app`.

No framework and no template engine: it is also the shortest complete example of the ASGI messages. `/`
shows what the application was told about the request, `/echo` sends a body back while it still arrives,
`/clock` sends an event every second until its client leaves, `/ws` is a WebSocket that sends each message back.
It runs on either backend.
"""

from __future__ import annotations

import html
import platform
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import anyio

from asgiserve import __version__
from asgiserve.backend import current_backend

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from asgiserve.types import Headers, Receive, Scope, Send

__all__ = ["app"]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(scope, receive, send)
    elif scope["type"] == "http":
        await _respond(scope, receive, send)
    elif scope["type"] == "websocket":
        await _converse(scope, receive, send)
    else:
        raise NotImplementedError(f"the demo does not speak {scope['type']}")


async def _lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    if "state" in scope:
        scope["state"]["started"] = time.time()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _respond(scope: Scope, receive: Receive, send: Send) -> None:
    methods = _ROUTES.get(scope["path"])
    if methods is None:
        await _send_text(send, 404, f"There is nothing at {scope['path']}\n")
    elif scope["method"] not in methods:
        allowed = ", ".join(methods).encode()
        await _send_text(send, 405, f"{scope['method']} is not for here\n", [(b"allow", allowed)])
    else:
        await methods[scope["method"]](scope, receive, send)


async def _send_text(send: Send, status: int, text: str, headers: Headers | None = None) -> None:
    await _send_whole(send, status, b"text/plain; charset=utf-8", text, headers or [])


async def _send_whole(send: Send, status: int, content_type: bytes, text: str, headers: Headers) -> None:
    body = text.encode("utf-8", "replace")
    length = str(len(body)).encode()
    headers = [(b"content-type", content_type), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


# --- /echo ------------------------------------------------------------------------------------


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Send each part of the body back as soon as it is here; nothing is collected."""
    content_type = dict(scope["headers"]).get(b"content-type", b"application/octet-stream")
    # What a client sent must not run as a page of this site, whatever type it claims.
    headers = [
        (b"content-type", content_type),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"sandbox"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})


# --- /clock -----------------------------------------------------------------------------------


async def _clock(scope: Scope, receive: Receive, send: Send) -> None:
    """Server-sent events until the client leaves, which a second task waits for."""
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async with anyio.create_task_group() as group:
        group.start_soon(_cancel_at_disconnect, receive, group.cancel_scope)
        while True:
            now = time.strftime("%H:%M:%S").encode()
            await send({"type": "http.response.body", "body": b"data: %b\n\n" % now, "more_body": True})
            await anyio.sleep(1)


async def _cancel_at_disconnect(receive: Receive, running: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass  # what is left of the request's body is of no interest
    running.cancel()


# --- /ws --------------------------------------------------------------------------------------


async def _converse(scope: Scope, receive: Receive, send: Send) -> None:
    """Send each message back until the client leaves; text comes back as text, bytes as bytes."""
    await receive()  # websocket.connect
    if scope["path"] != "/ws":
        await send({"type": "websocket.close"})  # before an accept this is a refusal: the client sees a 403
        return
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


# --- / ----------------------------------------------------------------------------------------


async def _page(scope: Scope, receive: Receive, send: Send) -> None:
    text = _PAGE.replace("{facts}", _table(_facts(scope))).replace("{scope}", _table(_told(scope)))
    await _send_whole(send, 200, b"text/html; charset=utf-8", text, [])


def _facts(scope: Scope) -> Mapping[str, object]:
    started = scope.get("state", {}).get("started")
    when = "lifespan is off" if started is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started))
    return {
        "asgiserve": __version__,
        "backend": current_backend(),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "anyio": version("anyio"),
        "trio": version("trio"),
        "started": when,
    }


def _told(scope: Scope) -> Mapping[str, object]:
    """The scope, with the header fields one by one."""
    rows = {key: value for key, value in scope.items() if key != "headers"}
    for name, value in scope["headers"]:
        rows[f"header {name.decode('latin-1')}"] = value.decode("latin-1")
    return rows


def _table(rows: Mapping[str, object]) -> str:
    return "\n".join(f"<tr><th>{_cell(name)}</th><td>{_cell(value)}</td></tr>" for name, value in rows.items())


def _cell(value: object) -> str:
    return html.escape(value if isinstance(value, str) else repr(value))


_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>asgiserve</title>
<style>
  :root { color-scheme: light dark; --line: #8884; --accent: #0a7d6c }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }
  h1 span, h2 { color: var(--accent) }
  h2 { font-size: 1.1rem; margin-top: 2rem }
  table { border-collapse: collapse; width: 100%; font-size: .9rem }
  th, td { text-align: left; vertical-align: top; padding: .25rem .6rem }
  tr { border-bottom: 1px solid var(--line) }
  th { white-space: nowrap; font-weight: 600; width: 12rem }
  td { font-family: ui-monospace, monospace; overflow-wrap: anywhere }
  textarea, input { width: 100%; box-sizing: border-box; font: inherit; padding: .5rem }
  button { font: inherit; padding: .3rem 1rem; margin-top: .4rem }
  output { font-family: ui-monospace, monospace; white-space: pre-wrap }
  #clock { font-size: 2rem }
</style>
<h1><span>asgiserve</span> is running</h1>
<table>{facts}</table>
<h2>Clock</h2>
<p>Server-sent events from <a href="/clock">/clock</a>; the application hears it when you leave.</p>
<output id="clock">--:--:--</output>
<h2>Echo</h2>
<form id="echo" action="/echo" method="post" enctype="text/plain">
  <textarea name="text" rows="3">What is sent comes back while it still arrives.</textarea>
  <button>Send to /echo</button>
</form>
<output id="echoed"></output>
<h2>WebSocket</h2>
<p>Messages that go to <code>/ws</code> and back on one connection: <output id="socket">connecting</output>.</p>
<form id="say">
  <input name="text" value="Every message comes back.">
  <button>Send</button>
</form>
<output id="said"></output>
<h2>What the application was told</h2>
<table>{scope}</table>
<script>
  new EventSource("/clock").onmessage = event => { document.getElementById("clock").value = event.data }
  document.getElementById("echo").onsubmit = async event => {
    event.preventDefault()
    const body = event.target.elements.text.value
    const response = await fetch("/echo", { method: "POST", body })
    document.getElementById("echoed").value = await response.text()
  }
  const show = text => { document.getElementById("socket").value = text }
  const socket = new WebSocket(new URL("/ws", location).href.replace(/^http/, "ws"))
  socket.onopen = () => show("open")
  socket.onclose = event => show(`closed, ${event.code} ${event.reason}`)
  socket.onmessage = event => { document.getElementById("said").value += event.data + "\\n" }
  document.getElementById("say").onsubmit = event => {
    event.preventDefault()
    socket.send(event.target.elements.text.value)
  }
</script>
</html>
"""

_ROUTES: Final[Mapping[str, Mapping[str, Callable[[Scope, Receive, Send], Awaitable[Any]]]]] = {
    "/": {"GET": _page, "HEAD": _page},
    "/echo": {"POST": _echo},
    "/clock": {"GET": _clock},
}
