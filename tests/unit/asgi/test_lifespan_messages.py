"""The order of the lifespan's messages: every state with every message."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from asgiserve.asgi.lifespan import LifespanMessages, LifespanState, lifespan_scope
from asgiserve.errors import LocalProtocolError

STARTUP_COMPLETE = "lifespan.startup.complete"
STARTUP_FAILED = "lifespan.startup.failed"
SHUTDOWN_COMPLETE = "lifespan.shutdown.complete"
SHUTDOWN_FAILED = "lifespan.shutdown.failed"
TYPES = [
    STARTUP_COMPLETE,
    STARTUP_FAILED,
    SHUTDOWN_COMPLETE,
    SHUTDOWN_FAILED,
    "lifespan.zebra",
    "http.response.start",
]

ACCEPTED = {
    (LifespanState.STARTING, STARTUP_COMPLETE): LifespanState.STARTED,
    (LifespanState.STARTING, STARTUP_FAILED): LifespanState.FAILED,
    (LifespanState.STOPPING, SHUTDOWN_COMPLETE): LifespanState.STOPPED,
    (LifespanState.STOPPING, SHUTDOWN_FAILED): LifespanState.FAILED,
}


def reached(state: LifespanState) -> LifespanMessages:
    messages = LifespanMessages()
    if state is LifespanState.FAILED:
        messages.advance({"type": STARTUP_FAILED})
    elif state is not LifespanState.STARTING:
        messages.advance({"type": STARTUP_COMPLETE})
        if state is not LifespanState.STARTED:
            messages.begin_shutdown()
            if state is LifespanState.STOPPED:
                messages.advance({"type": SHUTDOWN_COMPLETE})
    assert messages.state is state
    return messages


@pytest.mark.parametrize(("state", "kind"), list(product(LifespanState, TYPES)))
def test_every_message_in_every_state_is_accepted_or_refused(state: LifespanState, kind: str) -> None:
    messages = reached(state)
    after = ACCEPTED.get((state, kind))
    if after is not None:
        assert messages.advance({"type": kind}) is after
        assert messages.state is after
    else:
        with pytest.raises(LocalProtocolError) as refused:
            messages.advance({"type": kind})
        assert repr(kind) in str(refused.value)
        assert state.value in str(refused.value)
        assert messages.state is state


@pytest.mark.parametrize("state", LifespanState)
@pytest.mark.parametrize("message", [{}, {"type": None}, {"type": []}, None, 5])
def test_what_is_no_message_is_refused(state: LifespanState, message: Any) -> None:
    messages = reached(state)
    with pytest.raises(LocalProtocolError):
        messages.advance(message)
    assert messages.state is state


def test_a_refusal_names_what_was_expected() -> None:
    with pytest.raises(LocalProtocolError, match=f"expected '{STARTUP_COMPLETE}' or '{STARTUP_FAILED}'"):
        reached(LifespanState.STARTING).advance({"type": SHUTDOWN_COMPLETE})


@pytest.mark.parametrize(
    ("state", "kind"), [(LifespanState.STARTING, STARTUP_FAILED), (LifespanState.STOPPING, SHUTDOWN_FAILED)]
)
@pytest.mark.parametrize(("more", "text"), [({"message": "no database"}, "no database"), ({}, "")])
def test_a_failure_keeps_its_text(state: LifespanState, kind: str, more: dict[str, str], text: str) -> None:
    messages = reached(state)
    messages.advance({"type": kind, **more})
    assert messages.failure == text


def test_the_scope_announces_the_version_and_shares_the_state() -> None:
    state: dict[str, object] = {}
    scope = lifespan_scope(state)
    assert (scope["type"], scope["asgi"]) == ("lifespan", {"version": "3.0", "spec_version": "2.0"})
    scope["state"]["pool"] = 1
    assert state == {"pool": 1}
