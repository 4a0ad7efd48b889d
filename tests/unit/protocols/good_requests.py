"""Good requests, and what a codec makes of them. Each is read by every test that has a table to read."""

from __future__ import annotations

from dataclasses import replace

from asgiserve.events import RequestHead
from tests.support.wire import chunked, request

PLAIN = RequestHead(
    method="GET",
    raw_path=b"/",
    query=b"",
    http_version="1.1",
    headers=[(b"host", b"h")],
    content_length=0,
    keep_alive=True,
    expects_continue=False,
    upgrade=b"",
)


def with_fields(*fields: tuple[bytes, bytes], **changes: object) -> RequestHead:
    return replace(PLAIN, headers=[(b"host", b"h"), *fields], **changes)  # type: ignore[arg-type]


HEADS = {
    request(): PLAIN,
    request(line=b"get / HTTP/1.1"): PLAIN,
    request(line=b"M-SEARCH /a%20b?x=1?y HTTP/1.1"): replace(
        PLAIN, method="M-SEARCH", raw_path=b"/a%20b", query=b"x=1?y"
    ),
    request(line=b'GET //a/../b;c|{}"<>? HTTP/1.1'): replace(PLAIN, raw_path=b'//a/../b;c|{}"<>'),
    request(line=b"OPTIONS * HTTP/1.1"): replace(PLAIN, method="OPTIONS", raw_path=b"*"),
    request(host=b""): replace(PLAIN, headers=[(b"host", b"")]),
    # absolute-form: its authority replaces the host
    request(line=b"GET HTTP://Other:81/p?q HTTP/1.1"): replace(
        PLAIN, raw_path=b"/p", query=b"q", headers=[(b"host", b"Other:81")]
    ),
    request(line=b"GET https://other HTTP/1.1"): replace(PLAIN, headers=[(b"host", b"other")]),
    request(line=b"OPTIONS http://other HTTP/1.1"): replace(
        PLAIN, method="OPTIONS", raw_path=b"*", headers=[(b"host", b"other")]
    ),
    request(line=b"OPTIONS http://other?q HTTP/1.1"): replace(
        PLAIN, method="OPTIONS", query=b"q", headers=[(b"host", b"other")]
    ),
    request(line=b"GET http://other HTTP/1.0", host=None): replace(
        PLAIN, http_version="1.0", headers=[(b"host", b"other")], keep_alive=False
    ),
    request(b"Upgrade: x", b"Connection: upgrade", line=b"GET http://other HTTP/1.0", host=None): replace(
        PLAIN,
        http_version="1.0",
        headers=[(b"host", b"other"), (b"upgrade", b"x"), (b"connection", b"upgrade")],
        keep_alive=False,
        upgrade=b"x",
    ),
    # fields: names in lower case, values without white space around them, order and duplicates kept
    request(b"X-A:\t one \t", b"x_a: two", b"X-A:one", b"Empty:"): with_fields(
        (b"x-a", b"one"), (b"x_a", b"two"), (b"x-a", b"one"), (b"empty", b"")
    ),
    request(b"X: caf\xc3\xa9\x85\xa0", b"User-Agent: \xff"): with_fields(
        (b"x", b"caf\xc3\xa9\x85\xa0"), (b"user-agent", b"\xff")
    ),
    request(b"Sec-WebSocket-Key: abc=", b"X" * 70 + b": long name"): with_fields(
        (b"sec-websocket-key", b"abc="), (b"x" * 70, b"long name")
    ),
    request(b"X: a\tb: c"): with_fields((b"x", b"a\tb: c")),
    # Connection
    request(b"Connection: Close"): with_fields((b"connection", b"Close"), keep_alive=False),
    request(b"Connection: keep-alive"): with_fields((b"connection", b"keep-alive")),
    request(b"Connection: keep-alive", b"Connection: x , cLose,"): with_fields(
        (b"connection", b"keep-alive"), (b"connection", b"x , cLose,"), keep_alive=False
    ),
    request(b"Connection: closed"): with_fields((b"connection", b"closed")),
    request(line=b"GET / HTTP/1.0"): replace(PLAIN, http_version="1.0", keep_alive=False),
    request(line=b"GET / HTTP/1.0", host=None): replace(PLAIN, http_version="1.0", keep_alive=False, headers=[]),
    request(b"Connection: x, Keep-Alive", line=b"GET / HTTP/1.0"): with_fields(
        (b"connection", b"x, Keep-Alive"), http_version="1.0"
    ),
    request(b"Connection: keep-alive, close", line=b"GET / HTTP/1.0"): with_fields(
        (b"connection", b"keep-alive, close"), http_version="1.0", keep_alive=False
    ),
    # Expect
    request(b"Expect: 100-Continue"): with_fields((b"expect", b"100-Continue")),
    request(b"Expect: whatever", line=b"GET / HTTP/1.0"): with_fields(
        (b"expect", b"whatever"), http_version="1.0", keep_alive=False
    ),
    # Upgrade
    request(b"Connection: keep-alive, Upgrade", b"Upgrade: WebSocket"): with_fields(
        (b"connection", b"keep-alive, Upgrade"), (b"upgrade", b"WebSocket"), upgrade=b"websocket"
    ),
    request(b"Upgrade: websocket"): with_fields((b"upgrade", b"websocket")),
    request(b"Connection: upgrade"): with_fields((b"connection", b"upgrade")),
    request(b"Connection: upgrade", b"Upgrade: h2c", line=b"GET / HTTP/1.0"): with_fields(
        (b"connection", b"upgrade"), (b"upgrade", b"h2c"), http_version="1.0", keep_alive=False, upgrade=b"h2c"
    ),
}


BODIES = {
    request(b"Content-Length: 5", line=b"POST / HTTP/1.1", body=b"hello"): (5, b"hello"),
    request(b"Content-Length: 0005", line=b"POST / HTTP/1.1", body=b"\r\n\r\n\n"): (5, b"\r\n\r\n\n"),
    request(b"Content-Length: 2", line=b"POST / HTTP/1.0", body=b"hi"): (2, b"hi"),
    request(b"Content-Length: 2", b"Expect: 100-continue", line=b"POST / HTTP/1.1", body=b"hi"): (2, b"hi"),
    chunked(b"0\r\n\r\n"): (None, b""),
    chunked(b"000\r\n\r\n"): (None, b""),
    chunked(b"5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n"): (None, b"hello0123456789"),
    chunked(b'5;ext="v\xff";b\thallo\r\n'.replace(b"hallo", b"") + b"hello\r\n0;last\r\n\r\n"): (
        None,
        b"hello",
    ),
    chunked(b"1\r\na\r\n0\r\nX-Trailer: v\r\nUser-Agent: again\r\nEmpty:\r\n\r\n"): (None, b"a"),
    request(b"Transfer-Encoding: CHUNKED", line=b"PUT / HTTP/1.1", body=b"1\r\na\r\n0\r\n\r\n"): (None, b"a"),
}
