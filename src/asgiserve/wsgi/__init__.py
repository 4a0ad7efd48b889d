"""WSGI applications: PEP 3333 as an ASGI application, in threads.

The rules, without I/O or a thread: `environ.py`, `response.py` and `body.py`. What runs an application by them, in a
worker thread that calls back into the event loop, is `application.py`; what it calls back for in threads of its own,
`elsewhere.py`. Made by `server/serve.py`, and called by the drivers as any other application; whether something is a
WSGI application is `asgi/interface.py`'s question.
"""

from __future__ import annotations

from asgiserve.wsgi.application import WsgiApplication

__all__ = ["WsgiApplication"]
