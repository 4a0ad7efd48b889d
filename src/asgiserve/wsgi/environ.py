"""The environ of PEP 3333, made of an ASGI scope. What `wsgi.input` is, is in body.py."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from asgiserve.wsgi.body import FileWrapper

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asgiserve.types import Header, Scope

__all__ = ["environ_of"]

_OWN_NAMES: Final = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}

_USUAL_PORTS: Final = {"http": "80", "https": "443"}


def environ_of(scope: Scope, body: IO[bytes], errors: IO[str]) -> dict[str, Any]:
    """The environ of one request. Texts are bytes decoded as latin-1, as PEP 3333 wants all of them."""
    script_name, path_info = _paths(scope)
    query = scope["query_string"].decode("latin-1")
    target = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
    server_name, server_port = _server(scope)
    client = scope["client"]
    return {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": script_name,
        "PATH_INFO": path_info,
        "QUERY_STRING": query,
        # gunicorn's and uWSGI's names for the target as received: PATH_INFO cannot tell "/" from "%2F".
        "RAW_URI": target,
        "REQUEST_URI": target,
        "SERVER_NAME": server_name,
        "SERVER_PORT": server_port,
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": "" if client is None else client[0],
        "REMOTE_PORT": "" if client is None else str(client[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": body,
        # The body ends where it ends, also without a Content-Length; Werkzeug reads chunked bodies only if told so.
        "wsgi.input_terminated": True,
        "wsgi.errors": errors,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,  # unless application.py knows better
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        **scope["state"],  # there is no lifespan to fill it: all that may be in it is "asgiserve.draining"
        **_fields(scope["headers"]),
    }


def _paths(scope: Scope) -> tuple[str, str]:
    """SCRIPT_NAME and PATH_INFO. From the raw path: octets that are no UTF-8 are lost in the scope's text.

    The text tells how much of the root path the raw path has in front: all of it, or nothing where a proxy strips it.
    """
    path, root, below = unquote_to_bytes(scope["raw_path"]), scope["root_path"], scope["path"]
    if root and (below == root or below.startswith(root + "/")):
        below = below[len(root) :]
        text = path.decode("utf-8", "replace")
        path = path[len(text[: len(text) - len(below)].encode()) :]
    return root.encode().decode("latin-1"), path.decode("latin-1")


def _server(scope: Scope) -> tuple[str, str]:
    """SERVER_NAME and SERVER_PORT, which must not be empty. A Unix socket has neither: then it is what Host says."""
    usual = _USUAL_PORTS[scope["scheme"]]
    server = scope["server"]
    if server is not None and server[1] is not None:
        return server[0], str(server[1])
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):  # the colon of an IPv6 address is not that of a port
        name, port = host, ""
    return name or "localhost", port or usual


def _fields(headers: Iterable[Header]) -> dict[str, str]:
    """Header fields as CGI variables, repeated ones joined.

    A name with an underscore would be another field's: "X-User" and "X_User" are one variable, and proxies check only
    the first. "Proxy" would be HTTP_PROXY, which many libraries take for a setting (CVE-2016-5385).
    """
    fields: dict[str, str] = {}
    for name, value in headers:
        if b"_" in name or name == b"proxy":
            continue
        key = _OWN_NAMES.get(name) or "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        text = value.decode("latin-1")
        if key in fields:
            text = fields[key] + ("; " if name == b"cookie" else ",") + text  # RFC 6265 5.4, RFC 9110 5.3
        fields[key] = text
    return fields
