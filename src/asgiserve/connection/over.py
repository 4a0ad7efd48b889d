"""Why an exchange is over for its application."""

from __future__ import annotations

import enum

__all__ = ["Over"]


class Over(enum.Enum):
    """Why `receive()` has nothing more to give but `http.disconnect`."""

    ENDED = "the exchange has ended"
    PEER_LEFT = "the peer has closed or lost the connection"
    TIMED_OUT = "the peer took too long"
    OVERRAN = "the request took too long as a whole"
    REFUSED = "the request's body broke a rule"
    GIVEN_UP = "the application has cancelled its own send()"
    NOTICE = "the server is stopping"
