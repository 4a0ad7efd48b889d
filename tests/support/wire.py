"""Requests as bytes, and what a codec makes of them: used by the tests of the wire rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, TypeAlias

from asgiserve.config import Limits
from asgiserve.errors import RemoteProtocolError
from asgiserve.events import NEED_DATA, BodyChunk, NeedData, RequestHead
from asgiserve.protocols.http1 import Http1Codec
from asgiserve.protocols.http1.fields import FieldLines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ENGINES = ("auto", "h11")

Event: TypeAlias = RequestHead | BodyChunk | NeedData
HeadVerb: TypeAlias = Callable[[Http1Codec, bytes], Event]


def request(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes | None = b"h", body: bytes = b"") -> bytes:
    """A request as bytes; `host=None` leaves the Host field out."""
    lines = [line, *([b"Host: " + host] if host is not None else []), *fields, b"", b""]
    return b"\r\n".join(lines) + body


def chunked(wire: bytes, *fields: bytes) -> bytes:
    """A request whose body is chunked, with the body's wire bytes."""
    return request(b"Transfer-Encoding: chunked", *fields, line=b"POST / HTTP/1.1", body=wire)


@dataclass
class Reading:
    """One request as a codec read it."""

    head: RequestHead
    body: bytes = b""
    complete: bool = False


@dataclass
class Outcome:
    """All that a codec says about some bytes."""

    readings: list[Reading] = field(default_factory=list)
    refusal: tuple[int, str] | None = None
    unread: bytes = b""

    @property
    def status(self) -> int | None:
        return self.refusal[0] if self.refusal else None


def read_wire(pieces: Iterable[bytes], *, engine: str = "auto", limits: Limits | None = None) -> Outcome:
    """Give the pieces to a codec, one by one, and take every event as soon as it is there."""
    codec = Http1Codec(limits or Limits(), engine=engine)
    outcome = Outcome()
    try:
        for piece in pieces:
            codec.receive_data(piece)
            _pull(codec, outcome.readings)
    except RemoteProtocolError as error:
        outcome.refusal = error.status, str(error)
    outcome.unread = codec.unread()
    return outcome


def _pull(codec: Http1Codec, readings: list[Reading]) -> None:
    while True:
        if readings and not readings[-1].complete:
            reading = readings[-1]
        else:
            head = codec.next_head()
            if not isinstance(head, RequestHead):
                return
            reading = Reading(head)
            readings.append(reading)
        while not codec.body_complete:
            chunk = codec.next_body()
            if not isinstance(chunk, BodyChunk):
                return
            reading.body += chunk.data
        reading.complete = True
        codec.next_request()


def bytewise(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def every_split(data: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, and in two pieces at every place."""
    yield [data]
    yield bytewise(data)
    for index in range(1, len(data)):
        yield [data[:index], data[index:]]


def the_outcome(data: bytes, *, limits: Limits | None = None) -> Outcome:
    """What both engines say of these bytes at every split; fails if that is not one thing."""
    expected = read_wire([data], limits=limits)
    for engine in ENGINES:
        for pieces in every_split(data):
            assert read_wire(pieces, engine=engine, limits=limits) == expected, (engine, pieces)
    return expected


def in_two_calls(codec: Http1Codec, data: bytes) -> Event:
    """The long way to a head."""
    codec.receive_data(data)
    return codec.next_head()


def in_one_call(codec: Http1Codec, data: bytes) -> Event:
    """The way to a head that may be short."""
    return codec.receive_head(data)


@dataclass
class Step:
    """What a codec gave when it was asked, and what it says of itself after that."""

    gave: Event | tuple[int, str]
    body_complete: bool
    body_arrived: bool
    head_begun: bool
    buffered: int
    unread: bytes


def steps(codec: Http1Codec, pieces: Iterable[bytes], *verbs: HeadVerb) -> list[Step]:
    """Give the pieces to a codec as a driver does, and note every step.

    A piece that comes while a head is awaited is given by one of these verbs, in turn. After a refusal the
    codec is asked again for each piece."""
    walk: list[Step] = []
    verb = cycle(verbs)
    in_body = False
    for piece in pieces:
        if in_body:
            codec.receive_data(piece)
            ask: Callable[[], Event] = codec.next_body
        else:
            ask = partial(next(verb), codec, piece)
        while True:
            walk.append(_step(codec, ask))
            if not isinstance(walk[-1].gave, RequestHead | BodyChunk):
                break
            in_body = not codec.body_complete
            if not in_body:
                codec.next_request()
            ask = codec.next_body if in_body else codec.next_head
        in_body = in_body and walk[-1].gave is NEED_DATA
    return walk


def _step(codec: Http1Codec, ask: Callable[[], Event]) -> Step:
    gave: Event | tuple[int, str]
    try:
        gave = ask()
    except RemoteProtocolError as error:
        gave = error.status, str(error)
    return Step(gave, codec.body_complete, codec.body_arrived(), codec.head_begun, codec.buffered, codec.unread())


def lines_known_from(*wires: bytes) -> FieldLines:
    """A cache of lines that has seen these requests."""
    lines = FieldLines()
    for wire in wires:
        steps(Http1Codec(Limits(), field_lines=lines), [wire], in_two_calls)
    return lines


def the_steps(pieces: Sequence[bytes], *, limits: Limits | None = None, known: FieldLines | None = None) -> list[Step]:
    """The steps of the long way when no line is known; fails if any other way, cold or warm, walks otherwise.

    `known` is a cache that knows lines from elsewhere."""
    limits = limits or Limits()
    expected = steps(Http1Codec(limits, field_lines=FieldLines()), pieces, in_two_calls)
    warmed = FieldLines()  # cold on the first walk, and warmed by it for the second
    walks: list[tuple[str, FieldLines, tuple[HeadVerb, ...]]] = [
        ("auto", warmed, (in_one_call,)),
        ("auto", warmed, (in_one_call,)),
        ("auto", known or warmed, (in_one_call, in_two_calls)),
        ("h11", known or warmed, (in_one_call,)),
    ]
    for engine, lines, verbs in walks:
        codec = Http1Codec(limits, engine=engine, field_lines=lines)
        assert steps(codec, pieces, *verbs) == expected, (engine, verbs, pieces)
    return expected
