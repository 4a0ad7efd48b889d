"""What the values of an application's messages must be, and how a wrong one is refused.

The texts name the message, the key and the kind of value, never the value: it may be a secret. Used by the tables of
messages in this folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asgiserve.errors import LocalProtocolError

if TYPE_CHECKING:
    from asgiserve.types import Header, Message

__all__ = ["check_headers", "given_headers", "optional_text", "read_headers", "refusal", "whole_number", "wrong"]


def refusal(message: object, state: str, expected: list[str]) -> LocalProtocolError:
    """The error for a message that does not fit the state."""
    if not isinstance(message, Mapping) or not isinstance(message.get("type"), str):
        return LocalProtocolError(f'A message is a dict with a "type"; got {_shape(message)}.')
    instead = f"; expected {' or '.join(map(repr, expected))}" if expected else ""
    return LocalProtocolError(f"Unexpected ASGI message {message['type']!r}: {state}{instead}.")


def wrong(message: Message, key: str, value: object, expected: str) -> LocalProtocolError:
    """The error for a value of the wrong kind."""
    return LocalProtocolError(
        f"ASGI message {message['type']!r}: {key!r} must be {expected}, but it is {_shape(value)}."
    )


def whole_number(message: Message, key: str, default: int | None = None) -> int:
    """The value of `key` as a plain int: an IntEnum is one, a bool is none."""
    value: Any = message.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong(message, key, value, "an int")
    return int(value)


def optional_text(message: Message, key: str) -> str | None:
    """The value of `key` as a plain str, or None."""
    value: Any = message.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise wrong(message, key, value, "a str")
    return str(value)


def read_headers(message: Message) -> tuple[Header, ...]:
    """The value of `headers`: pairs of bytes; none if it is missing."""
    return check_headers(message, given_headers(message))


def given_headers(message: Message) -> tuple[Any, ...]:
    """The value of `headers`, whatever it holds; nothing if it is missing."""
    headers = message.get("headers", ())
    try:
        return tuple(headers)
    except TypeError:
        raise _wrong_headers(message, headers) from None


def check_headers(message: Message, given: tuple[Any, ...]) -> tuple[Header, ...]:
    """What `given_headers` has found, as pairs of bytes."""
    try:
        for pair in given:
            name, value = pair
            if type(name) is not bytes or type(value) is not bytes or type(pair) is not tuple:
                return _check_headers_again(message, given)
    except (TypeError, ValueError):
        raise _wrong_headers(message, given) from None
    return given


def _check_headers_again(message: Message, given: tuple[Any, ...]) -> tuple[Header, ...]:
    """Pairs that are lists, bytes of a derived class, and what bodies may be, too."""
    return tuple((_bytes_of(message, name), _bytes_of(message, value)) for name, value in given)


def _bytes_of(message: Message, part: object) -> bytes:
    if isinstance(part, bytes):
        return part
    if not isinstance(part, (bytearray, memoryview)):
        raise wrong(message, "headers", part, "pairs of bytes")
    return bytes(part)


def _wrong_headers(message: Message, headers: object) -> LocalProtocolError:
    return wrong(message, "headers", headers, "an iterable of pairs (name, value)")


def _shape(value: object) -> str:
    return "missing" if value is None else f"of type {type(value).__name__}"
