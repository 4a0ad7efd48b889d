"""A worker's thread that tells what goes on in it."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from asgiserve.supervise.channel import MAX_LINE
from asgiserve.supervise.inspection import answering_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def asking(about: Callable[[], dict[str, Any]]) -> Iterator[Callable[[int], dict[str, Any]]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    with ours, answering_thread(theirs, about), ours.makefile("r") as answers:

        def ask(number: int) -> dict[str, Any]:
            ours.sendall(json.dumps({"word": "tell", "number": number}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(answers.readline())
            return answer

        yield ask


def test_it_tells_what_it_is_given_and_where_the_other_threads_are() -> None:
    with asking(lambda: {"text": "serving", "requests": 3}) as ask:
        told = ask(7)

    assert (told["number"], told["text"], told["requests"]) == (7, "serving", 3)
    assert "Thread MainThread:" in told["stacks"]
    assert "in test_it_tells_what_it_is_given_and_where_the_other_threads_are" in told["stacks"]
    assert "asgiserve inspection" not in told["stacks"]


def test_what_changes_while_it_is_read_is_read_again() -> None:
    answers = iter([RuntimeError("Set changed size during iteration"), {"text": "serving"}])

    def about() -> dict[str, Any]:
        answer = next(answers)
        if isinstance(answer, RuntimeError):
            raise answer
        return answer

    with asking(about) as ask:
        assert ask(1)["text"] == "serving"


def test_what_never_stands_still_is_told_as_that() -> None:
    def about() -> dict[str, Any]:
        raise RuntimeError("Set changed size during iteration")

    with asking(about) as ask:
        assert ask(1)["text"] == "too much goes on to be read"


def test_a_long_text_is_cut_to_a_line_that_the_other_end_takes() -> None:
    with asking(lambda: {"text": "ü" * MAX_LINE}) as ask:
        told = ask(1)

    assert set(told["text"]) == {"ü"}
    assert len(json.dumps(told)) <= MAX_LINE


def test_the_thread_ends_with_the_block() -> None:
    before = threading.active_count()

    with asking(lambda: {"text": ""}) as ask:
        ask(1)
        assert threading.active_count() == before + 1

    assert threading.active_count() == before
