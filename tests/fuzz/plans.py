"""Plans of what happens to one connection: what its client sends and when, what the network does, what the application
does, and when the server stops. Plans are drawn here, played in `playing.py`, and plain JSON, so that they can be kept.

    {"settings": {…}, "capacity": 5000, "reads": "all", "to_server": {…}, "to_client": {…},
     "client": [["send", "GET / …"], ["pause", 30], ["eof"]],
     "http": [{"careful": true, "ops": [["receive"], ["send", ["start", 200, "none"]], …]}],
     "websocket": [{…}], "server": ["stop", 300]}

The n-th call of the application runs the n-th script of its kind, and begins again behind the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.fuzz.http1 import streams
from tests.fuzz.websocket import handshakes
from tests.support.frames import CLOSE, FIN, PING, TEXT, frame
from tests.support.wire import chunked, request
from tests.unit.protocols.test_http1_property import changed, split
from tests.unit.protocols.test_websocket_property import frames, good_frames

if TYPE_CHECKING:
    from tests.fuzz.corpus import Case

__all__ = ["plans"]

_ONE_IN_SIX = st.sampled_from([False] * 5 + [True])
MILLISECONDS = st.sampled_from([1, 1, 30, 100, 260, 600, 3000, 12_000, 40_000])

# --- what the application does ----------------------------------------------------------------

_STATUSES = st.sampled_from([200, 200, 200, 201, 203, 204, 206, 304, 404, 299])
_FIELDS = st.sampled_from(["none", "length", "length", "length", "close", "chunked", "odd", "trailers", "date"])
_SIZES = st.sampled_from([0, 1, 1, 10, 10, 10, 300, 300, 9_000, 9_000, 70_000])
_ODD = st.integers(0, 15)

_http_messages = st.one_of(
    st.tuples(st.just("start"), _STATUSES, _FIELDS, _SIZES),
    st.tuples(st.just("body"), _SIZES, st.booleans()),
    st.tuples(st.just("trailers"), st.booleans()),
    st.tuples(st.just("hint")),
    st.tuples(st.just("odd"), _ODD),
)
_websocket_messages = st.one_of(
    st.tuples(st.just("accept"), st.sampled_from([None, "chat"])),
    st.tuples(st.just("text"), _SIZES),
    st.tuples(st.just("bytes"), _SIZES),
    st.tuples(st.just("close"), st.sampled_from([1000, 4000, 999, 1005])),
    st.tuples(st.just("start"), _STATUSES, _FIELDS, _SIZES),
    st.tuples(st.just("body"), _SIZES, st.booleans()),
    st.tuples(st.just("odd"), _ODD),
)
_listening = st.one_of(
    st.just(("receive",)),
    st.just(("drain",)),
    st.just(("until gone",)),
    st.tuples(st.just("receive for"), MILLISECONDS),
    st.just(("poll",)),
)
_raising = st.tuples(st.just("raise"), st.sampled_from(["ValueError", "SystemExit", "GeneratorExit", "group"]))


def _sent(messages: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just("send"), messages)


def _ops(messages: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    plain = st.one_of(_sent(messages), _sent(messages), _listening, st.tuples(st.just("sleep"), MILLISECONDS))
    return st.one_of(plain, plain, plain, st.tuples(st.just("child"), st.lists(plain, max_size=3)), _raising)


@st.composite
def _answers(draw: st.DrawFn) -> list[Any]:
    """A whole response, as most applications send it."""
    sizes = draw(st.lists(_SIZES, min_size=1, max_size=3))
    kind = draw(st.sampled_from(["none", "length", "length"]))
    sends: list[Any] = [["send", ["start", draw(_STATUSES), kind, sum(sizes)]]]
    sends += [["send", ["body", size, place < len(sizes) - 1]] for place, size in enumerate(sizes)]
    return sends


@st.composite
def _greetings(draw: st.DrawFn) -> list[Any]:
    """An acceptance, and messages."""
    text = _sent(st.tuples(st.just("text"), _SIZES))
    said = draw(st.lists(st.one_of(text, st.just(("receive",)), _listening), max_size=6))
    return [["receive"], ["send", ["accept", None]], *said]


@st.composite
def _scripts(draw: st.DrawFn, usual: st.SearchStrategy[list[Any]], messages: st.SearchStrategy[Any]) -> Case:
    """Something usual, with anything before, behind and in the middle of it."""
    ops = [] if draw(_ONE_IN_SIX) else draw(usual)
    for extra in draw(st.lists(_ops(messages), max_size=4)):
        ops.insert(draw(st.integers(0, len(ops))), extra)
    return {"careful": draw(st.booleans()), "ops": ops}


# --- what the client does ---------------------------------------------------------------------


_REQUESTS = st.sampled_from(
    [
        request(),
        request(),
        request(b"User-Agent: x", b"Accept: */*"),
        request(line=b"HEAD / HTTP/1.1"),
        request(b"Connection: close"),
        request(line=b"GET /a?b HTTP/1.0"),
        request(b"Connection: keep-alive", line=b"GET / HTTP/1.0"),
        request(b"TE: trailers", line=b"GET http://h/p HTTP/1.1"),
        request(b"Content-Length: 5", line=b"POST / HTTP/1.1", body=b"hello"),
        request(b"Content-Length: 300", line=b"PUT / HTTP/1.1", body=b"x" * 300),
        request(b"Content-Length: 2", b"Expect: 100-continue", line=b"POST / HTTP/1.1", body=b"hi"),
        chunked(b"5\r\nhello\r\n0\r\n\r\n"),
        chunked(b"1;x\r\na\r\n0\r\nA: b\r\n\r\n", b"Expect: 100-continue"),
        chunked(b"5\r\nhelloX"),
        request(b"Content-Length: 9", line=b"POST / HTTP/1.1", body=b"half"),
    ]
)
_HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
)
_HANDSHAKE += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
_DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
_OFFERS = st.sampled_from([b"", b"", b"", b"Sec-WebSocket-Protocol: chat\r\n", _DEFLATE])


@st.composite
def _http_wires(draw: st.DrawFn) -> bytes:
    """Mostly requests that are served; sometimes changed, or anything that the codec's own fuzzing would send."""
    if draw(_ONE_IN_SIX):
        return draw(streams())
    wire = b"".join(draw(st.lists(_REQUESTS, min_size=1, max_size=4)))
    return draw(changed(wire)) if draw(_ONE_IN_SIX) else wire


@st.composite
def _websocket_wires(draw: st.DrawFn) -> bytes:
    """A handshake, perhaps behind a request, and frames."""
    wire = draw(_REQUESTS) if draw(_ONE_IN_SIX) else b""
    if draw(_ONE_IN_SIX):
        wire += request(*[f"{name}: {value}".encode("latin-1") for name, value in draw(handshakes())])
    else:
        wire += _HANDSHAKE + draw(_OFFERS) + b"\r\n"
    each = st.one_of(good_frames(), good_frames(), good_frames(), frames())
    wire += b"".join(draw(st.lists(each, max_size=8)))
    if draw(st.booleans()):
        wire += frame(draw(st.sampled_from([PING, TEXT, CLOSE])), b"\x03\xe8", flags=FIN)
    return wire


@st.composite
def _clients(draw: st.DrawFn) -> list[Any]:
    wire = draw(st.one_of(_http_wires(), _websocket_wires()))
    steps: list[Any] = []
    for piece in split(wire, draw(st.lists(st.integers(0, 1000), max_size=4))):
        steps.append(["send", piece.decode("latin-1")])
        if draw(st.booleans()):
            steps.append(["pause", draw(MILLISECONDS)])
    ending = draw(st.sampled_from(["stay", "stay", "eof", "eof", "abort", "close"]))
    if ending != "stay":
        steps += [["pause", draw(MILLISECONDS)], [ending]]
        if draw(_ONE_IN_SIX):
            place = draw(st.integers(0, len(steps) - 1))
            steps.insert(place, steps.pop())
    return steps


def _faults(pieces: list[int]) -> st.SearchStrategy[Any]:
    late = st.fixed_dictionaries({}, optional={"piece": st.sampled_from(pieces), "delay": st.just(0.012_347)})
    end, reset = ({name: st.integers(0, 200)} for name in ("end_after", "reset_after"))
    return st.one_of(st.none(), st.none(), st.none(), late, st.fixed_dictionaries(end), st.fixed_dictionaries(reset))


_SETTINGS: dict[str, list[Any]] = {
    "cancel_on_disconnect": [True],
    "task_per_request": [True],
    "timeout_request": [0.5, 2],
    "limit_request_body": [2, 50],
    "limit_request_head": [200],
    "limit_concurrency": [1],
    "limit_connections": [1],
    "ws_max_size": [10, 200],
    "ws_max_queue": [1],
    "ws_ping_interval": [0, 0.3, 1],
    "ws_ping_timeout": [0, 0.3],
    "ws_per_message_deflate": [True],
    "timeout_ws_close": [1],
    "timeout_ws_handshake": [1],
    "timeout_write": [2],
    "timeout_body": [2],
    "timeout_keep_alive": [1],
    "ws": ["none"],
}


@st.composite
def _settings(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(_SETTINGS)), max_size=4, unique=True))
    return {name: draw(st.sampled_from(_SETTINGS[name])) for name in names}


def plans() -> st.SearchStrategy[Case]:
    return st.fixed_dictionaries(
        {
            "settings": _settings(),
            "capacity": st.sampled_from([200, 5000, 65_536, 65_536]),
            "reads": st.sampled_from(["all", "all", "all", "late", "slow", "none"]),
            "to_server": _faults([1, 2, 7, 100]),
            "to_client": _faults([100, 1000]),
            "client": _clients(),
            "http": st.lists(_scripts(_answers(), _http_messages), min_size=1, max_size=3),
            "websocket": st.lists(_scripts(_greetings(), _websocket_messages), min_size=1, max_size=2),
            "server": st.one_of(
                st.none(),
                st.none(),
                st.none(),
                st.tuples(st.sampled_from(["stop", "abort", "cancel", "stop quickly"]), MILLISECONDS),
            ),
        }
    )
