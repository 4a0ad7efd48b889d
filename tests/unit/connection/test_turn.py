"""Taking turns: first come, first served; nobody overtakes, and a cancelled wait leaves nothing behind."""

from __future__ import annotations

import anyio
import pytest

from asgiserve.connection.turn import Turn

pytestmark = pytest.mark.anyio


async def test_a_free_turn_is_taken_without_waiting() -> None:
    turn = Turn()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await turn.take()
    assert turn.taken
    assert not scope.cancelled_caught
    turn.free()
    assert not turn.taken


async def test_turns_are_given_in_the_order_of_asking() -> None:
    turn, order = Turn(), []

    async def ask(name: str) -> None:
        await turn.take()
        order.append(name)
        await anyio.sleep(1)
        turn.free()

    async with anyio.create_task_group() as group:
        for name in "abcde":
            group.start_soon(ask, name)
            await anyio.sleep(0.1)
    assert order == list("abcde")
    assert not turn.taken


async def test_a_newcomer_does_not_overtake_who_has_just_been_given_the_turn() -> None:
    turn, order = Turn(), []

    async def ask(name: str) -> None:
        await turn.take()
        order.append(name)
        turn.free()

    await turn.take()
    async with anyio.create_task_group() as group:
        group.start_soon(ask, "first")
        await anyio.sleep(1)
        turn.free()
        await ask("newcomer")
    assert order == ["first", "newcomer"]


async def test_a_wait_that_is_cancelled_takes_nothing() -> None:
    turn = Turn()
    await turn.take()
    with anyio.move_on_after(1) as scope:
        await turn.take()
    assert scope.cancelled_caught
    turn.free()
    assert not turn.taken


async def test_who_is_cancelled_in_the_moment_of_the_gift_passes_it_on() -> None:
    turn, order = Turn(), []
    scopes: dict[str, anyio.CancelScope] = {}

    async def ask(name: str) -> None:
        with anyio.CancelScope() as scopes[name]:
            await turn.take()
            order.append(name)

    await turn.take()
    async with anyio.create_task_group() as group:
        group.start_soon(ask, "cancelled")
        await anyio.sleep(1)
        group.start_soon(ask, "patient")
        await anyio.sleep(1)
        scopes["cancelled"].cancel()
        turn.free()
    assert order == ["patient"]
