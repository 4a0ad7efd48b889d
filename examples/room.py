"""A WebSocket room: what one says, everybody in it hears.

    asgiserve --app-dir examples room:app

Then open `ws://127.0.0.1:8000/` with two clients, for example `python -m websockets ws://127.0.0.1:8000/`
twice, and type. `send()` waits for a client that reads slowly, so a crowd needs a queue for each of its members.
"""

members = set()


async def app(scope, receive, send):
    if scope["type"] != "websocket":
        raise NotImplementedError(scope["type"])
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    members.add(send)
    try:
        while (message := await receive())["type"] == "websocket.receive":
            await tell_everybody(message.get("text") or "(no text)")
    finally:
        members.discard(send)


async def tell_everybody(text):
    for member in list(members):
        try:
            await member({"type": "websocket.send", "text": text})
        except OSError:
            pass  # that one has left; its own task hears it too, and removes it
