"""The stack of a suspended application, for the log line about one that cannot be stopped."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from asgiserve.connection.stacks import stack_of

if TYPE_CHECKING:
    from collections.abc import Generator


@types.coroutine
def innermost() -> Generator[None, None, None]:
    yield


async def inner() -> None:
    await innermost()


async def outer() -> None:
    await inner()


def names_in(stack: str) -> list[str]:
    return [line.rpartition(" in ")[2] for line in stack.splitlines() if line.startswith("  File ")]


def test_a_stack_goes_from_the_outermost_coroutine_to_where_it_waits() -> None:
    coroutine = outer()
    coroutine.send(None)
    stack = stack_of(coroutine)
    coroutine.close()
    assert names_in(stack) == ["outer", "inner", "innermost"]
    assert "await innermost()" in stack


def test_a_coroutine_that_has_ended_has_no_stack() -> None:
    coroutine = outer()
    coroutine.close()
    assert stack_of(coroutine) == ""


def test_what_is_no_coroutine_has_no_stack() -> None:
    anything: Any = object()
    assert stack_of(anything) == ""
