"""Requests as bytes, and what a codec makes of them: used by the tests of the wire rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asgiserve.config import Limits
from asgiserve.errors import RemoteProtocolError
from asgiserve.events import BodyChunk, RequestHead
from asgiserve.protocols.http1 import Http1Codec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ENGINES = ("auto", "h11")


def request(
    *fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes | None = b"h", body: bytes = b""
) -> bytes:
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
