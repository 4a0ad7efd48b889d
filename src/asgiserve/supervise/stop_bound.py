"""How long the supervisor may take to end, whatever its event loop does; kept by `last_resort.py`.

Where nobody reads what it logs, in a pipe that is full or at a terminal behind Ctrl+S, the loop is blocked in a line of
the log, and hears of no signal. Told in the handler of signals, by supervisor.py; what a worker's stop takes is in
stop_limits.py, and what bounds the process that serves is in `signals.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asgiserve.last_resort import LastResort
from asgiserve.supervise.states import next_stop
from asgiserve.supervise.stop_limits import longest_stop

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

    from asgiserve.config import Timeouts
    from asgiserve.supervise.states import Stop

__all__ = ["SupervisorBound"]

_SLACK_SECONDS: Final = 3.0
"""Beyond the longest that its workers take, the last of which is killed then: what waits for them and logs their ends,
on a machine that has other things to do, is not to be cut."""

_ADVICE: Final = "It serves nothing; what blocks it is a log that takes no more lines, most likely."


class SupervisorBound:
    """From the first signal on. Made inside the running loop."""

    def __init__(self, timeouts: Timeouts, release: Callable[[], None]) -> None:
        self._timeouts = timeouts
        self._resort = LastResort(release, _ADVICE)
        self._resort.start()
        self._first: signal.Signals | None = None
        self.how: Stop | None = None
        """What the signals so far ask for."""

    def told(self, number: signal.Signals) -> None:
        """A signal that stops has come. Called in the handler."""
        if self._first is None:
            self._first = number
        self.how = next_stop(self.how, number)
        self._resort.end_within(longest_stop(self.how, self._timeouts) + _SLACK_SECONDS)

    def start_given_up(self) -> None:
        """No worker was ready before the end."""
        assert self._first is not None
        self._resort.code = 128 + self._first
