"""The command line in the test's own process: what it prints, and the code that it leaves with."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pytest

from asgiserve.cli import main
from asgiserve.process.taken_signals import put_back
from asgiserve.sources import PLAIN_VARIABLES, PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HELLO", "Outcome", "Run", "command_line"]

HELLO = """
    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"hi"})
"""
"""The source of an application."""


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


class Run(Protocol):
    def __call__(self, *arguments: object) -> Outcome: ...


@contextmanager
def command_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs it, at a terminal's width of 80, and puts back afterwards what it changes in the process.

    A module of applications is to be called `applications`: the next test imports its own.
    """
    monkeypatch.setenv("COLUMNS", "80")
    for name in [each for each in os.environ if each.startswith((PREFIX, "UVICORN_")) or each in PLAIN_VARIABLES]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loggers = [logging.getLogger(name) for name in ("asgiserve.error", "asgiserve.access")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    environ = dict(os.environ)
    modules = set(sys.modules)

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["asgiserve", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        code = left.value.code
        assert isinstance(code, int)
        return Outcome(code, out, err)

    with put_back():
        yield run
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate
    for name in os.environ.keys() - environ.keys():
        del os.environ[name]
    for name in {"applications"} & (set(sys.modules) - modules):
        del sys.modules[name]
