"""`wsgi.input` and `wsgi.file_wrapper` as files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from asgiserve.wsgi.body import FileWrapper, body_file

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = [b"one\ntw", b"", b"o\n\nfour", b"\nfive" + b"x" * 70_000]
WHOLE = b"".join(PARTS)


class Source:
    """Parts that come when asked for."""

    def __init__(self, parts: list[bytes]) -> None:
        self.parts = list(parts)
        self.pulled = 0

    def pull(self) -> tuple[bytes, bool]:
        self.pulled += 1
        part = self.parts.pop(0)
        return part, bool(self.parts)


@pytest.mark.parametrize("begun", [0, 1, 3, 4])
@pytest.mark.parametrize(
    "read",
    [
        lambda file: file.read(),
        lambda file: b"".join(iter(lambda: file.read(1000), b"")),
        lambda file: b"".join(iter(lambda: file.read(100_000), b"")),
        lambda file: b"".join(iter(lambda: file.readline(), b"")),
        lambda file: b"".join(iter(lambda: file.readline(3), b"")),
        lambda file: b"".join(file.readlines()),
        lambda file: b"".join(file),
    ],
    ids=["read", "read(1000)", "read(100000)", "readline", "readline(3)", "readlines", "iteration"],
)
def test_every_way_to_read_gives_the_whole_body(begun: int, read: Callable[[io.BufferedIOBase], bytes]) -> None:
    source = Source(PARTS[begun:])
    file = body_file(b"".join(PARTS[:begun]), begun < len(PARTS), source.pull)

    assert read(file) == WHOLE  # type: ignore[arg-type]
    assert file.read() == file.read(10) == file.readline() == b""
    assert source.pulled == len(PARTS) - begun


def test_lines_end_where_they_end() -> None:
    file = body_file(b"", True, Source(PARTS).pull)

    assert [file.readline() for _ in range(4)] == [
        b"one\n",
        b"two\n",
        b"\n",
        b"four\n",
    ]


def test_readlines_stops_after_its_hint() -> None:
    assert body_file(b"", True, Source(PARTS).pull).readlines(5) == [b"one\n", b"two\n"]


def test_nothing_is_asked_for_before_it_is_read() -> None:
    source = Source([b"x" * 65_536] * 10)
    file = body_file(b"y" * 65_536, True, source.pull)

    file.read(1)
    assert source.pulled == 0
    file.read(65_536)
    assert source.pulled == 1


def test_an_error_of_the_source_reaches_the_reader() -> None:
    def pull() -> tuple[bytes, bool]:
        raise OSError("gone")

    file = body_file(b"begun", True, pull)

    with pytest.raises(OSError, match="gone"):
        file.read()


def test_a_file_is_given_in_blocks_and_closed() -> None:
    file = io.BytesIO(b"abcdefg")
    wrapped = FileWrapper(file, 3)

    assert list(wrapped) == [b"abc", b"def", b"g"]
    wrapped.close()
    assert file.closed


def test_a_file_without_close_makes_a_wrapper_without_one() -> None:
    class Bare:
        def read(self, size: int) -> bytes:
            return b""

    assert not hasattr(FileWrapper(Bare()), "close")
