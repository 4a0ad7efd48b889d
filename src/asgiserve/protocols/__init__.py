"""The rules of the wire, without I/O: bytes become events, and events become bytes.

One package per version of HTTP. Nothing here reads a socket, waits, knows the time or writes a log; a
driver in `connection/` carries the bytes.
"""
