"""Light futures: the outcome of a proposal at a tenth of the price of concurrent.futures.Future.

A Future has the methods of ``concurrent.futures.Future``, works with its ``wait`` and
``as_completed``, and can be awaited in asyncio. Nothing is allocated for waiting until somebody
waits; whoever completes a batch sets all results first and wakes afterwards. No threads here.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as ConcurrentTimeoutError
from typing import Any

from ..errors import UsageError

_PENDING = 0
_DONE = 1
_FAILED = 2
_CANCELLED = 3

logger = logging.getLogger("raftx")

# One class since Python 3.11; before, whoever waits may expect either.
FutureTimeout: Any = TimeoutError
if not issubclass(ConcurrentTimeoutError, TimeoutError):
    FutureTimeout = type("FutureTimeout", (ConcurrentTimeoutError, TimeoutError), {})


class Done:
    """A proposal that was applied: where it stands in the log, and what the state machine returned."""

    def __init__(self, index: int, term: int, result: Any) -> None:
        self.index = index
        self.term = term
        self.result = result

    def __repr__(self) -> str:
        return f"Done(index={self.index}, term={self.term}, result={self.result!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Done):
            return NotImplemented
        return (self.index, self.term, self.result) == (other.index, other.term, other.result)

    __hash__ = None  # type: ignore[assignment]


class Future:
    """The outcome of one request. Ends in exactly one of: a result, NotDone, Unknown, cancelled.

    Methods may be called from any thread. ``cancel`` only stops waiting: a proposal that has been
    handed over may still be applied.
    """

    def __init__(self) -> None:
        self._state_code = _PENDING
        self._is_proposal = False
        self._index = self._term = 0
        self._value: Any = None
        self._error: Any = None
        self._callbacks: Any = None
        self._waiter: Any = None
        self._cond: Any = None
        self._waiters_list: Any = None

    # --- waiting ---------------------------------------------------------------------------------

    def done(self) -> bool:
        """Whether it has ended."""
        return self._state_code != _PENDING

    def running(self) -> bool:
        """Always False: what happens to a request cannot be observed before it ends."""
        return False

    def cancelled(self) -> bool:
        """Whether ``cancel`` ended it."""
        return self._state_code == _CANCELLED

    def cancel(self) -> bool:
        """Stop waiting. False when it has ended already. Does not take a proposal back."""
        if self._state_code != _PENDING:
            return False
        self._state_code = _CANCELLED
        self.wake()
        return True

    def result(self, timeout: float | None = None) -> Any:
        """Wait up to ``timeout`` seconds; return the result or raise what it ended with.

        Raises TimeoutError when it has not ended by then (it goes on), CancelledError, NotDone, Unknown.
        """
        if self._state_code == _PENDING:
            self._wait(timeout)
        if self._state_code == _DONE:
            if self._is_proposal:
                return Done(self._index, self._term, self._value)
            return self._value
        if self._state_code == _CANCELLED:
            raise CancelledError()
        raise self._error

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait like ``result``; return the exception, or None."""
        if self._state_code == _PENDING:
            self._wait(timeout)
        if self._state_code == _CANCELLED:
            raise CancelledError()
        error: BaseException | None = self._error
        return error

    def _wait(self, timeout: float | None) -> None:
        # A lock per waiting thread, chained: the one who completes releases the first, each waiter
        # the next. It is published before the state is looked at again, so that no wake-up is lost.
        lock = threading.Lock()
        lock.acquire()
        waiters = self._waiter
        if waiters is None:
            waiters = self._waiter = []
        waiters.append(lock)
        if self._state_code != _PENDING:
            return
        if not lock.acquire(timeout=-1 if timeout is None else max(0.0, min(timeout, threading.TIMEOUT_MAX))):
            if self._state_code == _PENDING:
                raise FutureTimeout()

    def add_done_callback(self, fn: Callable[[Future], object]) -> None:
        """Call ``fn(future)`` when it ends, on the thread that ends it, or now."""
        if self._callbacks is None:
            self._callbacks = []
        self._callbacks.append(fn)
        if self._state_code != _PENDING:
            self._run_callbacks()

    def _run_callbacks(self) -> None:
        while self._callbacks:
            try:
                fn = self._callbacks.pop(0)
            except IndexError:
                return
            try:
                fn(self)
            except Exception:
                logger.exception("exception in a future's callback")

    def __await__(self) -> Generator[Any, None, Any]:
        loop = asyncio.get_running_loop()
        inner = loop.create_future()

        def tell(_: object) -> None:
            if not inner.done():
                inner.set_result(None)

        def ended(_: object) -> None:
            try:
                loop.call_soon_threadsafe(tell, None)
            except RuntimeError:  # the loop has been closed meanwhile: nobody waits any more
                logger.debug("a future ended after the event loop that awaited it")

        self.add_done_callback(ended)
        yield from inner.__await__()
        return self.result(0)

    # --- ending ----------------------------------------------------------------------------------

    def settle(self, index: int, term: int, value: Any) -> bool:
        """End as done, without waking anybody yet; False when it has ended already."""
        if self._state_code != _PENDING:
            return False
        self._index = index
        self._term = term
        self._value = value
        self._is_proposal = True
        self._state_code = _DONE
        return True

    def settle_plain(self, value: Any) -> bool:
        """End with a value that is not one proposal's, without waking anybody yet."""
        if self._state_code != _PENDING:
            return False
        self._value = value
        self._state_code = _DONE
        return True

    def settle_error(self, error: BaseException) -> bool:
        """End with an exception, without waking anybody yet; False when it has ended already."""
        if self._state_code != _PENDING:
            return False
        self._error = error
        self._state_code = _FAILED
        return True

    def needs_wake(self) -> bool:
        """Whether somebody waits for it."""
        return self._waiter is not None or self._callbacks is not None or self._cond is not None

    def wake(self) -> None:
        """Wake whoever waits and run the callbacks."""
        waiters = self._waiter
        while waiters:
            try:
                waiters.pop().release()
            except IndexError:
                break
        if self._cond is not None:
            with self._cond:
                for waiter in self._waiters_list:
                    if self._state_code == _CANCELLED:
                        waiter.add_cancelled(self)
                    elif self._state_code == _FAILED:
                        waiter.add_exception(self)
                    else:
                        waiter.add_result(self)
                self._cond.notify_all()
        if self._callbacks is not None:
            self._run_callbacks()

    def set_running_or_notify_cancel(self) -> bool:
        """For symmetry with concurrent.futures: whether it still waits for an end."""
        return self._state_code != _CANCELLED

    def set_result(self, value: Any) -> None:
        """End with a value. Raises UsageError when it has ended already."""
        if self._state_code != _PENDING:
            raise UsageError("the future has ended already")
        self._value = value
        self._state_code = _DONE
        self.wake()

    def set_exception(self, error: BaseException) -> None:
        """End with an exception. Raises UsageError when it has ended already."""
        if not self.settle_error(error):
            raise UsageError("the future has ended already")
        self.wake()

    # --- what concurrent.futures.wait and as_completed look at ------------------------------------

    @property
    def _condition(self) -> threading.Condition:
        if self._cond is None:
            self._waiters_list = []
            self._cond = threading.Condition()
        condition: threading.Condition = self._cond
        return condition

    @property
    def _waiters(self) -> list[Any]:
        if self._cond is None:
            self._waiters_list = []
            self._cond = threading.Condition()
        waiters: list[Any] = self._waiters_list
        return waiters

    @property
    def _state(self) -> str:
        if self._state_code == _PENDING:
            return "PENDING"
        return "CANCELLED_AND_NOTIFIED" if self._state_code == _CANCELLED else "FINISHED"

    def __repr__(self) -> str:
        names = {_PENDING: "pending", _DONE: "done", _FAILED: "failed", _CANCELLED: "cancelled"}
        return f"<raftx.Future {names[self._state_code]}>"
