"""Light futures: the outcome of a proposal at a tenth of the price of concurrent.futures.Future.

A Future has the methods of ``concurrent.futures.Future``, works with its ``wait`` and
``as_completed``, with ``asyncio.wrap_future`` and ``asyncio.wait``, and can be awaited in asyncio, which is imported
when it is used. Futures of raftx.aio are brought to their loop through a Post, many at a time. Nothing is allocated for
waiting until a thread waits; a batch is completed by setting all results first and waking afterwards. No threads here.
Compiled classes cannot be generic, so what they are generic in is told by futures.pyi, which has the same methods.

Ending and waiting need no lock: the thread that ends a future takes its cell first, and writes its state last; a
thread that waits is in the list before it looks at the state again.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import logging
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError
from concurrent.futures import Future as PlainFuture
from concurrent.futures import TimeoutError as ConcurrentTimeoutError
from types import GenericAlias
from typing import Any, NoReturn

from .._native import threads
from ..errors import UsageError
from ..report import report
from ..types import Timing, check_timeout
from .events import FORKED, NO_THREAD, no_stop

_PENDING = 0
_DONE = 1  # one proposal's: index, term and value
_PLAIN = 2  # another value
_FAILED = 3
_CANCELLED = 4

_NAMES = ("pending", "done", "done", "failed", "cancelled")

OPEN = "it has not ended within the time to wait, and goes on"
# Where the callbacks come from with which asyncio waits: asyncio.wait, and asyncio.wrap_future
WAIT = "asyncio.tasks"
WAITERS = (WAIT, "asyncio.futures")
# One class since Python 3.11; before, a caller may expect either.
FutureTimeout: Any = TimeoutError
if not issubclass(ConcurrentTimeoutError, TimeoutError):
    FutureTimeout = type("FutureTimeout", (ConcurrentTimeoutError, TimeoutError), {})

# The order of callbacks, and a name for each by which it can be taken out again.
_numbers = itertools.count()
# Two threads may be the first to wait at the same moment, but for the GIL.
_first: Any = None if getattr(sys, "_is_gil_enabled", lambda: True)() else threading.RLock()


class Done:
    """A proposal that was applied: where it stands in the log, and what the state machine returned."""

    def __init__(self, index: int, term: int, result: Any, source: Any = None) -> None:
        self.index = index
        self.term = term
        self.result = result
        #: who knows how long it took: the table of requests that it was in
        self._source = source

    @property
    def timing(self) -> Timing:
        """How long it took, stage by stage; all None where this node did not lead when it was appended, or long ago.

        Looked up when it is asked for: the newest 4,000 rounds of proposals are kept.
        """
        stamps = getattr(self._source, "stamps", None)
        return Timing() if stamps is None else stamps.timing(self.index, self.term)

    def __repr__(self) -> str:
        return f"Done(index={self.index}, term={self.term}, result={self.result!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Done):
            return NotImplemented
        return (self.index, self.term, self.result) == (other.index, other.term, other.result)

    def __reduce__(self) -> tuple[Any, ...]:
        return Done, (self.index, self.term, self.result)

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def __class_getitem__(cls, of: Any) -> GenericAlias:
        # For annotations that are evaluated: futures.pyi tells type checkers what it is generic in.
        return GenericAlias(cls, of)


class _Watched:
    """What ``wait`` and ``as_completed`` of concurrent.futures keep with a future."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.waiters: list[Any] = []


class _OnLoop:
    """A callback of asyncio's own, which waits in the loop that runs in this thread: it is called there."""

    def __init__(self, fn: Callable[[Future], object]) -> None:
        import asyncio

        self.fn = fn
        self.loop = asyncio.get_running_loop()

    def __call__(self, future: Future) -> None:
        with contextlib.suppress(RuntimeError):  # it has been closed: nobody waits any more
            self.loop.call_soon_threadsafe(self.fn, future)


class Post:
    """Where futures go when they have ended, if who waits for them lives in an event loop. Any thread.

    The loop is told once, by ``loop.call_soon_threadsafe(fetch)``, and again only after ``take``: so it fetches in one
    callback what has ended meanwhile. A loop that is closed gets nothing, and nothing is kept for it.
    """

    def __init__(self, loop: Any, fetch: Callable[[], object]) -> None:
        self._loop = loop
        self._fetch = fetch
        self._ended: Any = collections.deque()
        self._rung = False

    def put(self, future: Future) -> None:
        """A future has ended. ``ring`` follows."""
        self._ended.append(future)

    def ring(self) -> None:
        """Tell the loop that there is something, unless it has been told. Never raises."""
        if not self._rung:
            self._rung = True
            try:
                self._loop.call_soon_threadsafe(self._fetch)
            except RuntimeError:  # it was closed at this moment
                pass
            except Exception as error:
                # A loop of somebody's own; the thread that ends futures goes on.
                report(logging.ERROR, "a loop could not be told of outcomes", error=error)
        if self._loop.is_closed():
            self._ended.clear()

    def take(self) -> list[Future]:
        """What has ended since the last time. In the loop."""
        # Before the look: what comes from now on rings again.
        self._rung = False
        ended = []
        while self._ended:
            ended.append(self._ended.popleft())
        return ended


class Future:
    """The outcome of one request. Ends in exactly one of: a result, NotDone, Unknown, cancelled.

    Methods may be called from any thread, and in a signal handler. ``cancel`` only stops waiting: a proposal that
    has been handed over may still be applied. A future cannot be pickled or copied: TypeError.
    """

    def __init__(self) -> None:
        self._cell = [_PENDING, 0]
        self._index = self._term = 0
        self._value: Any = None
        self._waiting: Any = None
        self._callbacks: Any = None
        self._watched: Any = None
        self._owner: Any = None
        self._traceback: Any = None
        self._post: Any = None
        #: who waits for it in the loop of its Post
        self.waiter: Any = None
        #: of a change of membership: how far it has come (ChangeProgress); None for everything else
        self.progress: Any = None

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        # What asyncio.wrap_future asks for; type() tells the truth.
        return PlainFuture

    @classmethod
    def __class_getitem__(cls, of: Any) -> GenericAlias:
        return GenericAlias(cls, of)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a raftx.Future cannot be pickled or copied: it belongs to a running node")

    # --- waiting ---------------------------------------------------------------------------------

    def done(self) -> bool:
        """Whether it has ended."""
        return threads.peek(self._cell) != _PENDING

    def running(self) -> bool:
        """Always False: what happens to a request cannot be observed before it ends."""
        return False

    def cancelled(self) -> bool:
        """Whether ``cancel`` ended it."""
        return threads.peek(self._cell) == _CANCELLED

    def cancel(self) -> bool:
        """Stop waiting. False when it has ended already. Does not take a proposal back."""
        if not threads.claim(self._cell):
            return False
        threads.publish(self._cell, _CANCELLED)
        self.wake()
        return True

    def result(self, timeout: float | None = None) -> Any:
        """Wait up to ``timeout`` seconds; return the result or raise what it ended with.

        Raises TimeoutError when it has not ended by then (it goes on), CancelledError, NotDone, Unknown. Raises
        UsageError when it would wait on the thread of its own node that ends it: in ``apply`` or in a callback.
        """
        if threads.peek(self._cell) == _PENDING:
            self._wait(timeout)
        state = threads.peek(self._cell)
        if state == _DONE:
            return Done(self._index, self._term, self._value, self._owner)
        if state == _PLAIN:
            return self._value
        if state == _CANCELLED:
            raise CancelledError()
        # Each time with the traceback that it came with: else it would grow, and keep alive who has asked before.
        raise self._value.with_traceback(self._traceback)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait like ``result``; return the exception, or None."""
        if threads.peek(self._cell) == _PENDING:
            self._wait(timeout)
        state = threads.peek(self._cell)
        if state == _CANCELLED:
            raise CancelledError()
        if state == _FAILED:
            error: BaseException = self._value
            return error
        return None

    def _wait(self, timeout: float | None) -> None:
        """Until it has ended; raises TimeoutError. Leaves nothing behind."""
        check_timeout(timeout)
        if timeout is not None and timeout <= 0:
            raise FutureTimeout(OPEN)
        self._check_thread()
        if self._waiting is None:
            self._make_waiting()
        # A lock for each waiting thread. It is published before the state is looked at again, so that no
        # wake-up is lost.
        lock = threading.Lock()
        lock.acquire()
        waiting: list[Any] = self._waiting
        waiting.append(lock)
        try:
            if threads.peek(self._cell) == _PENDING:
                lock.acquire(timeout=-1 if timeout is None else min(timeout, threading.TIMEOUT_MAX))
        finally:
            if lock in waiting:
                self._forget(waiting, lock)
        if threads.peek(self._cell) == _PENDING:
            raise FutureTimeout(OPEN)

    def _forget(self, waiting: list[Any], lock: Any) -> None:
        with contextlib.suppress(ValueError):  # it is being woken
            waiting.remove(lock)

    def _check_thread(self) -> None:
        if self._owner is None:
            return
        if NO_THREAD in self._owner.threads:
            raise UsageError(FORKED)
        if threading.get_ident() in self._owner.threads:
            raise UsageError(
                "this thread ends the futures of its node: in apply() and in callbacks, propose without waiting"
            )

    def _check_loop(self) -> None:
        """Raise UsageError where a loop that runs in this thread would wait for what only this thread can end."""
        import asyncio

        if threads.peek(self._cell) == _PENDING:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                return  # it is brought to a loop elsewhere
            self._check_thread()

    def _make_waiting(self) -> None:
        if _first is None:
            if self._waiting is None:
                self._waiting = []
            return
        with _first:
            if self._waiting is None:
                self._waiting = []

    def _make_callbacks(self) -> None:
        if _first is None:
            if self._callbacks is None:
                self._callbacks = {}
            return
        with _first:
            if self._callbacks is None:
                self._callbacks = {}

    def add_done_callback(self, fn: Callable[[Future], object]) -> None:
        """Call ``fn(future)`` when it ends, on the thread that ends it, or now.

        That is a thread of the node: what takes long there holds up other outcomes, and waiting for an open future
        of the node raises UsageError. What ``fn`` raises is logged; but SystemExit and its like come out of a call
        that is made now. Raises TypeError for what cannot be called. A callback of ``asyncio.wait`` is called in the
        loop that it waits in. What asyncio adds in a loop that runs on the thread which ends futures raises UsageError:
        it would wait for ever.
        """
        module = getattr(fn, "__module__", None)
        if module in WAITERS:
            self._check_loop()
        self._add(_OnLoop(fn) if module == WAIT else fn)
        if threads.peek(self._cell) != _PENDING:
            raised = self.run_callbacks()
            if raised is not None:
                raise raised

    def _add(self, fn: Callable[[Future], object]) -> int:
        if not callable(fn):
            raise TypeError(f"fn must be something to call with the future, not {fn!r}")
        if self._callbacks is None:
            self._make_callbacks()
        number = next(_numbers)
        self._callbacks[number] = fn
        return number

    def remove_done_callback(self, fn: Callable[[Future], object]) -> int:
        """Call ``fn`` no more, as often as it was added; how often that was. It may be under way."""
        callbacks: dict[int, Any] = self._callbacks or {}
        removed = 0
        for number, each in callbacks.copy().items():
            if each == fn or (type(each) is _OnLoop and each.fn == fn):
                removed += callbacks.pop(number, None) is not None
        return removed

    def post_to(self, post: Post, waiter: object) -> bool:
        """Go to ``post`` when it ends, with ``waiter``; False when it has ended already, and may be there or not."""
        self.waiter = waiter
        self._post = post
        return threads.peek(self._cell) == _PENDING

    def run_callbacks(self) -> BaseException | None:
        """Call what waits for the end, each once. Never raises; returns the last SystemExit or its like."""
        callbacks: dict[int, Any] | None = self._callbacks
        last: BaseException | None = None
        while callbacks:
            for number in list(callbacks):
                fn = callbacks.pop(number, None)
                if fn is None:
                    continue
                try:
                    fn(self)
                except BaseException as error:
                    # Whatever it is, it is not about the other callbacks, nor about the thread that ends futures.
                    report(logging.ERROR, "exception in a future's callback", error=error)
                    if not isinstance(error, Exception):
                        last = error
        return last

    def __await__(self) -> Generator[Any, None, Any]:
        import asyncio

        if threads.peek(self._cell) == _PENDING:
            loop = asyncio.get_running_loop()
            self._check_thread()
            inner = loop.create_future()

            def tell() -> None:
                if not inner.done():
                    inner.set_result(None)

            def ended(_: object) -> None:
                # A loop that has been closed meanwhile: nobody waits any more.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(tell)

            number = self._add(ended)
            if threads.peek(self._cell) != _PENDING:
                self.run_callbacks()
            try:
                yield from inner.__await__()
            finally:
                self._callbacks.pop(number, None)
        if threads.peek(self._cell) == _CANCELLED:
            raise asyncio.CancelledError()
        return self.result(0)

    # --- ending ----------------------------------------------------------------------------------

    def settle(self, index: int, term: int, value: Any) -> bool:
        """End as done, without waking anybody yet; False when it has ended already."""
        if not threads.claim(self._cell):
            return False
        self._index = index
        self._term = term
        self._value = value
        threads.publish(self._cell, _DONE)
        return True

    def settle_plain(self, value: Any) -> bool:
        """End with a value that is not one proposal's, without waking anybody yet."""
        if not threads.claim(self._cell):
            return False
        self._value = value
        threads.publish(self._cell, _PLAIN)
        return True

    def settle_error(self, error: BaseException) -> bool:
        """End with an exception, without waking anybody yet; False when it has ended already.

        StopIteration is told by another one: a loop that takes results, and a coroutine, would end as if all were well.
        """
        if isinstance(error, (StopIteration, StopAsyncIteration)):
            error = no_stop(error)
        traceback = error.__traceback__
        if not threads.claim(self._cell):
            return False
        self._value = error
        self._traceback = traceback
        threads.publish(self._cell, _FAILED)
        return True

    def needs_wake(self) -> bool:
        """Whether somebody waits for it."""
        return self._waiting is not None or self.needs_calls()

    def needs_calls(self) -> bool:
        """Whether ``call`` would have something to do."""
        return self._callbacks is not None or self._watched is not None or self._post is not None

    def wake(self) -> None:
        """Wake the threads that wait and run the callbacks. Never raises."""
        self.wake_waiting()
        self.call()

    def wake_waiting(self) -> None:
        """Wake the threads in ``result`` and ``exception``: the part that runs no foreign code."""
        waiting: list[Any] | None = self._waiting
        while waiting:
            try:
                waiting.pop().release()
            except IndexError:
                return

    def call(self) -> None:
        """Tell ``concurrent.futures.wait`` and the Post, and run the callbacks. Never raises."""
        watched = self._watched
        if watched is not None:
            self._tell(watched)
        if self._callbacks is not None:
            self.run_callbacks()
        post = self._post
        if post is not None:
            self._post = None
            post.put(self)
            # Who ends many at once tells the loop when all of them are there.
            if self._owner is None or not self._owner.holds(post):
                post.ring()

    def _tell(self, watched: Any) -> None:
        state = threads.peek(self._cell)
        with watched.condition:
            for waiter in watched.waiters:
                if state == _CANCELLED:
                    waiter.add_cancelled(self)
                elif state == _FAILED:
                    waiter.add_exception(self)
                else:
                    waiter.add_result(self)
            watched.condition.notify_all()

    def set_running_or_notify_cancel(self) -> bool:
        """For symmetry with concurrent.futures: whether it still waits for an end."""
        return threads.peek(self._cell) != _CANCELLED

    def set_result(self, value: Any) -> None:
        """End with a value. Raises UsageError when it has ended already."""
        if not self.settle_plain(value):
            raise UsageError("the future has ended already")
        self.wake()

    def set_exception(self, error: BaseException) -> None:
        """End with an exception. Raises UsageError when it has ended already, TypeError for what is none."""
        if not isinstance(error, BaseException):
            raise TypeError(f"error must be an exception, not {error!r}")
        if not self.settle_error(error):
            raise UsageError("the future has ended already")
        self.wake()

    # --- what concurrent.futures.wait and as_completed look at ------------------------------------

    def _watch(self) -> Any:
        # Whoever asks is about to wait, also where another thread does already.
        if threads.peek(self._cell) == _PENDING:
            self._check_thread()
        if self._watched is None:
            if _first is None:
                watched = _Watched()
                if self._watched is None:
                    self._watched = watched
            else:
                with _first:
                    if self._watched is None:
                        self._watched = _Watched()
        return self._watched

    @property
    def _condition(self) -> threading.Condition:
        condition: threading.Condition = self._watch().condition
        return condition

    @property
    def _waiters(self) -> list[Any]:
        waiters: list[Any] = self._watch().waiters
        return waiters

    @property
    def _state(self) -> str:
        state = threads.peek(self._cell)
        if state == _PENDING:
            return "PENDING"
        return "CANCELLED_AND_NOTIFIED" if state == _CANCELLED else "FINISHED"

    def __repr__(self) -> str:
        return f"<raftx.Future {_NAMES[threads.peek(self._cell)]}>"
