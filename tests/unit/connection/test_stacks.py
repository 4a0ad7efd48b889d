"""The stack of a suspended application, for the log line about one that cannot be stopped."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import anyio
import pytest

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


async def sleeps() -> None:
    await anyio.sleep(10)


@pytest.mark.anyio
async def test_a_brief_stack_ends_with_what_the_application_has_called() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(sleeps)
        await anyio.sleep(1)
        (coroutine,) = (task.coro for task in anyio.get_running_tasks() if "sleeps" in str(task.name))
        brief, whole = names_in(stack_of(coroutine, brief=True)), names_in(stack_of(coroutine))
        group.cancel_scope.cancel()
    assert brief[-2:] == ["sleeps", "sleep"]
    assert whole[: len(brief)] == brief
    assert len(whole) > len(brief)


def test_a_brief_stack_without_an_application_is_whole() -> None:
    coroutine = anyio.sleep(10)
    stack = stack_of(coroutine, brief=True)
    coroutine.close()
    assert names_in(stack) == ["sleep"]
