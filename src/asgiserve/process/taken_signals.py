"""The signals that a process takes, from the first on until it ends.

A signal means one thing before the event loop turns, another one while it does, and a third behind it. Were handlers
put in place and taken away for that, there would be moments between them in which Python's own make a traceback of
Ctrl+C, and the system's a crash of SIGTERM. So ours is put in place once, and what changes is one name: whom it tells.
A process that the application forks gives them back before any signal reaches it.

What a signal means is not said here, but by `signals.py` and by the supervisor, which take theirs here.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from asgiserve.backend import reached_by_signals
from asgiserve.errors import Terminated
from asgiserve.process.terminal import writes_let_through
from asgiserve.process.waiting import Waiting, keep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType
    from typing import NoReturn

__all__ = ["STOPS", "TakenSignals", "put_back", "unblock"]

STOPS: Final = (signal.SIGINT, signal.SIGTERM)
"""What ends a process."""

_END_SECONDS: Final = 2.0
"""How long an end is left alone, so that its files go; behind that, one more signal kills."""


_HOOK_SECONDS: Final = 0.01
"""What is left of a fork takes less, as a rule; what came in the middle of it comes again then."""


def _not_yet() -> bool:
    """Nothing serves."""
    return False


class TakenSignals:
    """Some signals of this process. Made in the main thread."""

    def __init__(self, *numbers: signal.Signals) -> None:
        self._numbers = numbers
        self._kept: deque[signal.Signals] = deque()
        self._tell: Callable[[signal.Signals], None] = self._keep
        self._ended = 0.0
        """When nothing was left but the process's end, on Python's monotonic clock."""
        self._given_up_by: signal.Signals | None = None
        """What has ended the block that is interruptible, whatever has become of the exception."""
        self._again: signal.Signals | None = None
        """What came where an exception would have been lost."""
        self.stopping: Callable[[], bool] = _not_yet
        """Whether what serves here has begun to stop; set by who knows."""
        self._take()
        unblock(*numbers)
        # Behind the last thread Python puts the system's own back, but where a signal is ignored.
        atexit.register(self._ignore)
        self._forking = _Forking()
        if sys.platform != "win32":
            os.register_at_fork(before=self._hold, after_in_parent=self._release, after_in_child=self._leave)

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """For what may take long before the event loop turns: the first that stops ends it by an exception, so that
        files go. The others are kept.

        An application's import may swallow that exception, or make another one of it: then it ends behind that.
        """
        try:
            self._give_to(self._interrupt)
            yield
            if self._given_up_by is not None:
                _raise_for(self._given_up_by)
            self._tell = self._keep
        except BaseException:
            self._only_the_end_is_left()
            if self._given_up_by is not None:
                _raise_for(self._given_up_by)
            raise

    @contextmanager
    def received(
        self,
        noticed: Callable[[signal.Signals], None] | None = None,
        behind: Callable[[signal.Signals], None] | None = None,
    ) -> Iterator[Waiting[signal.Signals]]:
        """Those that a task of the event loop is to have, also what has been kept until now.

        `noticed` is told of each in the handler itself, however blocked the loop is; `behind` of those that come when
        the block is over. Without it they mean nothing for two seconds, and then what they mean to the system.
        """
        with reached_by_signals() as soon:
            waiting: Waiting[signal.Signals] = Waiting(soon)

            def receive(number: signal.Signals) -> None:
                if noticed is not None:
                    noticed(number)
                waiting.put(number)

            self._give_to(receive)
            try:
                yield waiting
            finally:
                self._only_the_end_is_left()
                if behind is not None:
                    self._tell = behind
                self._take()  # the application may have put its own there

    @property
    def should_exit(self) -> bool:
        """For sse-starlette, which on asyncio ends its streams when this is true. The only server that it knows is
        uvicorn's, which it finds as the object whose bound method handles SIGTERM, by this name. Nobody else reads it.
        """
        return self.stopping()

    def _take(self) -> None:
        for number in self._numbers:
            signal.signal(number, self._signalled)

    def _give_to(self, taker: Callable[[signal.Signals], None]) -> None:
        self._tell = taker
        for _ in range(len(self._kept)):  # it may keep one again
            taker(self._kept.popleft())

    # --- called by Python, in the main thread, between any two of its instructions ---

    def _signalled(self, number: int, _: object) -> None:
        if sys.platform != "win32" and number == signal.SIGTTOU and writes_let_through():
            return  # the terminal's, and nobody's wish
        self._tell(signal.Signals(number))

    def _keep(self, number: signal.Signals) -> None:
        keep(self._kept, number)

    def _interrupt(self, number: signal.Signals) -> None:
        if number not in STOPS:
            self._keep(number)
            return
        self._given_up_by = number
        if _inside(_HOOKS):  # whose exceptions Python prints and drops
            self._again = number
            return
        self._only_the_end_is_left()
        _raise_for(number)

    def _only_the_end_is_left(self) -> None:
        self._ended = time.monotonic()
        self._tell = self._insist

    def _insist(self, number: signal.Signals) -> None:
        # What keeps the process is threads of an application that has not come to serve, or logs that are blocked.
        if number in STOPS and time.monotonic() - self._ended > _END_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
            # The first process of a container goes on: what it has no handler for does nothing to it.
            os._exit(128 + number)

    # --- called by Python around each fork, in the thread that forks ---

    def _hold(self) -> None:
        """Until the child has other handlers: what came for ours in the moment of the fork, Python forgets there."""
        # Asked for by a call of its own: either may raise, by a handler of the application's.
        self._forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)

    def _release(self) -> None:
        mask, self._forking.mask = self._forking.mask, None
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        # Behind this no handler is called before the hook has returned.
        number, self._again = self._again, None
        if number is not None:
            threading.Thread(target=self._send_again, args=(number,), name="asgiserve's signal", daemon=True).start()

    def _leave(self) -> None:
        """A process that the application has forked has no server that could stop: the signal is to end it, as
        multiprocessing's terminate() expects."""
        for number in self._numbers:
            if signal.getsignal(number) == self._signalled:
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        self._again = None  # it was for whoever has forked
        self._release()

    def _send_again(self, number: signal.Signals) -> None:
        """Until it has been heard outside of a hook: on a busy machine what is left of one may take long."""
        main = threading.main_thread().ident
        assert main is not None
        while not self._ended:
            time.sleep(_HOOK_SECONDS)
            signal.pthread_kill(main, number)

    # --- at the end ---

    def _ignore(self) -> None:
        for number in self._numbers:
            if signal.getsignal(number) == self._signalled:
                signal.signal(number, signal.SIG_IGN)


class _Forking(threading.local):
    """What a thread that forks has to put back."""

    mask: set[int | signal.Signals] | None = None


_HOOKS: Final = frozenset(hook.__code__ for hook in (TakenSignals._hold, TakenSignals._release))


def _inside(hooks: frozenset[CodeType]) -> bool:
    """Whether the main thread, which handlers are called in, is in one of these functions."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code in hooks:
            return True
        frame = frame.f_back
    return False


def _raise_for(number: signal.Signals) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt from None
    raise Terminated(128 + number) from None


def unblock(*numbers: signal.Signals) -> None:
    """A mask survives exec, as what is ignored does: of a parent that reads its signals from a descriptor."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


@contextmanager
def put_back() -> Iterator[None]:
    """Behind the block signals are again whose they were before: of a program that has called us, and goes on."""
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    mask = None if sys.platform == "win32" else signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)  # which we change, as terminal.py does
        for number, one in before.items():
            if one is not None and signal.getsignal(number) != one:
                signal.signal(number, one)
