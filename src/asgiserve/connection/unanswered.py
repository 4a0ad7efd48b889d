"""An application that has ended before its response was complete: what its peer is told, and what the operator.

Called by the driver of HTTP/1, when it settles an exchange. An application that has raised is logged where it was
called (`running.py`); here its peer is answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asgiserve import logs
from asgiserve.connection.access import log_access
from asgiserve.connection.over import Over

if TYPE_CHECKING:
    from asgiserve.connection.exchange import Exchange

__all__ = ["answer_for"]

_STATUS_OF_SILENCE: Final[dict[Over | None, int]] = {Over.OVERRAN: 504, Over.NOTICE: 503}
"""What is answered for an application that ended without a response after it had been told to end."""


async def answer_for(exchange: Exchange) -> bool:
    """Say in the application's place what can still be said. False: its response is cut, and nothing can."""
    # Whoever was told that the peer has left, and returned, owes it nothing.
    owed = exchange.failed or exchange.over is not Over.PEER_LEFT
    if owed and not exchange.head_sent and not exchange.connection.outlet.broken:
        if not exchange.failed and exchange.over is Over.ENDED:
            _log_fault(exchange, "without starting a response")
        await exchange.answer(_STATUS_OF_SILENCE.get(exchange.over, 500))
        return True
    if (
        not exchange.failed
        and exchange.over in (Over.ENDED, Over.GIVEN_UP)
        and not exchange.connection.service.draining
    ):
        # During a stop it has done what the notice would ask for: sse-starlette ends its streams before that.
        _log_fault(exchange, "without completing its response")
    log_access(exchange)
    return False


def _log_fault(exchange: Exchange, fault: str) -> None:
    exchange.context.run(logs.log_app_fault, exchange.head.method, exchange.path, fault)
