"""The server: `serve()`, its tree of tasks, and everything that has one instance per server.

Called by the command line, by `asgiserve.testing` and by programs that embed the server. Knows nothing of
HTTP's wire or of ASGI's messages: a connection is a task that `connection/` fills.
"""

from asgiserve.server.serve import check_with, serve, serve_with
from asgiserve.server.server import Server

__all__ = ["Server", "check_with", "serve", "serve_with"]
