"""Coverage-guided fuzzing of the codecs, where atheris is installed: it looks for bytes that reach new lines of ours.

    python -m tests.fuzz.guided http1 -max_total_time=600

What stands behind the target goes to libFuzzer. The cases and checks are those of `http1.py` and `websocket.py`; the
first four bytes of what libFuzzer makes say where to cut and which limits hold.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import atheris

with atheris.instrument_imports(include=["asgiserve.protocols"]):
    from tests.fuzz import http1, websocket

from tests.support.frames import BINARY, CLOSE, PING, TEXT, fragments, frame
from tests.unit.protocols import bad_requests, good_requests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.fuzz.corpus import Case

_HEADER = 4
_SIZES = (0, 5, 125, 126, 1000, 1 << 20)


def _http1_case(data: bytes) -> Case:
    limits = sorted(http1.LIMITS)[data[0] % 2]
    return {"wire": data[_HEADER:].decode("latin-1"), "cuts": list(data[1:_HEADER]), "limits": limits}


def _websocket_case(data: bytes) -> Case:
    return {
        "kind": "compressed" if data[0] & 1 else "plain",
        "wire": data[_HEADER:].decode("latin-1"),
        "cuts": list(data[1:_HEADER]),
        "max_size": _SIZES[(data[0] >> 2) % len(_SIZES)],
        "takeover": bool(data[0] & 2),
    }


_REQUESTS = (
    *good_requests.HEADS,
    *good_requests.BODIES,
    *(line + b"\r\nHost: h\r\n\r\n" for line in bad_requests.REQUEST_LINES),
)
_FRAMES = (
    frame(TEXT, b"hello"),
    frame(BINARY, b"x" * 200),
    frame(PING) + frame(CLOSE, b"\x03\xe8bye"),
    b"".join(fragments(TEXT, b"a", b"\xc3", b"\xa9")),
)
_TARGETS = {"http1": (http1, _http1_case, _REQUESTS), "websocket": (websocket, _websocket_case, _FRAMES)}


def main() -> None:
    module, case_of, seeds = _TARGETS[sys.argv[1]]

    def one(data: bytes) -> None:
        if len(data) >= _HEADER:
            module.check(case_of(data))

    with TemporaryDirectory() as directory:
        _write(Path(directory), seeds)
        atheris.Setup([sys.argv[0], directory, *sys.argv[2:]], one)
        atheris.Fuzz()


def _write(directory: Path, seeds: Iterable[bytes]) -> None:
    for number, seed in enumerate(seeds):
        (directory / str(number)).write_bytes(bytes(_HEADER) + seed)


if __name__ == "__main__":
    main()
