"""The ASGI side's rules without I/O: the scope, the order of messages, the shape of an application.

Called by `connection/` and `server/`. No stream, clock or event loop here, and nothing of the wire: HTTP/1, and
later other versions, share every rule in this folder. Nothing here assumes that an exchange owns a stream.
"""
