"""Drivers: the only code that moves bytes between a stream and a codec.

The walk of a byte, from the socket to the application and back, goes through five files in one direction:

1. `server/listeners.py` accepts a connection and has a task started for it; `opening.py` makes a stream of it.
2. `http1.py`, the driver, reads from the stream, and hands the bytes to the codec.
3. `protocols/http1/codec.py` turns bytes into a request head and body chunks.
4. `exchange.py` is what the application is given as `receive()` and `send()`; `asgi/` says what a message may be.
5. `protocols/http1/response.py` turns the response into bytes, and `outlet.py` hands them to the stream.

A WebSocket leaves this way behind the head of its handshake: `websocket_running.py` calls its application,
`websocket_receiving.py` and `websocket_sending.py` are its two sides over `protocols/websocket/`, and `websocket.py`
holds them together and knows every way in which it can end.
"""
