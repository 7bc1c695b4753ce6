"""How threads wait for each other, and the streams that an application iterates over.

Nothing here holds a lock while it waits or wakes: a signal handler may interrupt any line of it, call the
same methods, and close the node. What many threads change is changed in one step of a built-in container.
"""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from ..errors import UsageError
from ..types import check_timeout

T = TypeVar("T")

#: in place of a thread's ident: the threads of the node are in the process that this one was forked from
NO_THREAD = 0
FORKED = "a node does not survive fork: make it in the process that uses it"


class Sleeper(Protocol):
    """Who is woken by a Bell: a thread's lock, or something else that lets somebody go on."""

    def release(self) -> None:
        """Wake it. On any thread, also in a signal handler; must neither wait nor raise."""


class Bell:
    """Threads sleep until something has become true; the thread that made it true rings. Any thread."""

    def __init__(self) -> None:
        #: one locked lock for each thread that sleeps, and who sleeps in another way
        self._sleepers: list[Sleeper] = []

    def add(self, sleeper: Sleeper) -> None:
        """Release it at the next ring, once. What it waits for may have become true before: look after this."""
        self._sleepers.append(sleeper)

    def remove(self, sleeper: Sleeper) -> None:
        """It need not be released any more; nothing when it has been."""
        with contextlib.suppress(ValueError):
            self._sleepers.remove(sleeper)

    def wait_for(self, ready: Callable[[], object], timeout: float | None = None) -> bool:
        """Sleep until ``ready()``; False after ``timeout`` seconds. ``ready`` is asked again after each ring."""
        if ready():
            return True
        deadline = None if timeout is None else time.monotonic() + timeout
        while not ready():
            lock = threading.Lock()
            lock.acquire()
            # A thread makes it true before it rings. Being in the list first and asking then, we miss nothing.
            self.add(lock)
            try:
                if ready():
                    return True
                rest = threading.TIMEOUT_MAX if deadline is None else deadline - time.monotonic()
                if rest <= 0 or not lock.acquire(timeout=min(rest, threading.TIMEOUT_MAX)):
                    return bool(ready())
            finally:
                self.remove(lock)
        return True

    def ring(self) -> None:
        """Wake all that sleep."""
        for _ in range(len(self._sleepers)):
            try:
                self._sleepers.pop(0).release()
            except IndexError:
                return


class Gate:
    """Opens once, for good."""

    def __init__(self) -> None:
        self._open = False
        #: rung when it is opened
        self.bell = Bell()

    def open(self) -> None:
        """Let all pass. May be called twice."""
        self._open = True
        self.bell.ring()

    def is_open(self) -> bool:
        """Whether it has been opened."""
        return self._open

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is open; False after ``timeout`` seconds."""
        return self.bell.wait_for(self.is_open, timeout)


def nobody() -> bool:
    """Whether the caller is called by the node, where there is none."""
    return False


def anywhere() -> None:
    """What a stream that belongs to no node asks of the process: nothing."""


def no_stop(error: BaseException) -> BaseException:
    """The error; instead of StopIteration, which would end a loop of a reader as if nothing had failed, another one."""
    if not isinstance(error, (StopIteration, StopAsyncIteration)):
        return error
    other = RuntimeError(
        f"{type(error).__name__} came out of the state machine, the storage, the transport or a query's function: "
        "catch it there, or raise another exception"
    )
    other.__cause__ = error
    return other


def _refuse_own_thread(is_mine: Callable[[], bool]) -> None:
    """Raise UsageError on a thread of the node, before it waits for itself."""
    if is_mine():
        raise UsageError(
            "a thread of the node cannot wait for the next element, which may depend on it: in apply() and in "
            "callbacks take what is there, with next(timeout=0), or read the stream on a thread of your own"
        )


class Cause:
    """What ended something, raised to everybody who asks: each time with the traceback that it had when it was set.

    Otherwise each raise would add its frames to those of all before, and keep alive what these hold.
    """

    def __init__(self) -> None:
        self._first: tuple[BaseException, TracebackType | None] | None = None

    def set(self, error: BaseException | None) -> None:
        """The first one counts. Any thread."""
        if self._first is None and error is not None:
            self._first = (error, error.__traceback__)

    def check(self) -> None:
        """Raise it, if there is one. Any thread."""
        if self._first is not None:
            error, traceback = self._first
            raise error.with_traceback(traceback)


class Published(Generic[T]):
    """A value that one thread at a time replaces and any thread reads. Never changed in place."""

    def __init__(self, value: T) -> None:
        self.value = value


class Stream(Generic[T]):
    """Entries that are pushed by one thread; an iterator that ends with the node, with what ended it if it failed.

    While the node runs nothing is lost: while ``limit`` elements wait, it takes no further one. When the node is closed
    or fails, it waits for no consumer: what has no room then does not come out, and ``lost`` counts it. The producer
    does not wait in here; it is told when it may go on. May be consumed from any thread; several consumers share the
    elements.
    """

    def __init__(self, limit: int) -> None:
        self._items: collections.deque[T] = collections.deque()
        self._limit = limit
        #: whether the caller is a thread of the node, which does not wait here; the node sets it
        self.is_mine: Callable[[], bool] = nobody
        #: raises UsageError in a forked child; the node sets it
        self.check_process: Callable[[], object] = anywhere
        #: rung when ``is_ready`` may have become true
        self.bell = Bell()
        #: elements that do not come out, because there was no room and nobody was waited for; the last ones
        self.lost = 0
        #: wakes the producer, once it was told that there was no room
        self.on_room: Callable[[], object] | None = None
        self._short = False
        self._let_go = False
        self._ended = False
        self._cause = Cause()

    def has_room(self, behind: int = 0) -> bool:
        """Whether an element can be pushed, behind so many that will be; the producer's.

        If not, ``on_room`` is called when there may be room.
        """
        if len(self._items) + behind < self._limit or self._let_go:
            return True
        # Said first, looked at again after it: a consumer that takes an element in between finds it said.
        self._short = True
        return len(self._items) + behind < self._limit or self._let_go

    def push(self, item: T) -> bool:
        """Add an element; False, and it was not added, without room. One thread.

        When nobody is waited for, the first one without room is dropped, and all behind it: no gap is left.
        """
        if not self.has_room():
            return False
        if self._let_go and (self._ended or self.lost or len(self._items) >= self._limit):
            self.lost += 1
        else:
            self._items.append(item)
            self.bell.ring()
        return True

    def _tell_room(self) -> None:
        if self._short:
            self._short = False
            if self.on_room is not None:
                self.on_room()

    def let_go(self) -> None:
        """There is always room: the producer waits for no consumer any more. Any thread."""
        self._let_go = True
        self._tell_room()

    def end(self, error: BaseException | None = None) -> None:
        """No further element; consumers get what is left first. The first call counts."""
        self.let_go()
        if not self._ended:
            self._cause.set(error)
            self._ended = True
        self.bell.ring()

    def next(self, timeout: float | None = None) -> T:
        """The next element, within ``timeout`` seconds. Raises TimeoutError, StopIteration at the end, or what ended
        the node; UsageError for what is no time, in a forked child, and where it would wait on a thread of the node.
        """
        check_timeout(timeout)
        self.check_process()
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                item = self._items.popleft()
            except IndexError:
                pass
            else:
                self._tell_room()
                return item
            if self._ended and not self._items:
                self._cause.check()
                raise StopIteration
            rest = None if deadline is None else deadline - time.monotonic()
            if rest is None or rest > 0:
                _refuse_own_thread(self.is_mine)
            if not self.bell.wait_for(self.is_ready, rest):
                raise TimeoutError("no element within the time")

    def check_wait(self) -> None:
        """Raise UsageError where nobody may wait for an element: on a thread of the node, and in a forked child."""
        self.check_process()
        _refuse_own_thread(self.is_mine)

    def is_ready(self) -> bool:
        """Whether ``next`` need not wait: there is an element, or there will be none."""
        return bool(self._items) or self._ended

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return self.next()

    def __len__(self) -> int:
        return len(self._items)


class History(Generic[T]):
    """The newest ``limit`` elements that one thread has pushed, for any number of consumers."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        #: whether the caller is a thread of the node, which does not wait here; the node sets it
        self.is_mine: Callable[[], bool] = nobody
        #: raises UsageError in a forked child; the node sets it
        self.check_process: Callable[[], object] = anywhere
        #: (number of the first, elements); never changed, only replaced
        self._kept: tuple[int, tuple[T, ...]] = (0, ())
        #: rung with each element, and at the end
        self.bell = Bell()
        self._ended = False
        self._cause = Cause()

    def push(self, item: T) -> None:
        """Add an element; nothing after the end. One thread; never waits."""
        if self._ended:
            return
        first, items = self._kept
        surplus = max(0, len(items) + 1 - self._limit)
        self._kept = (first + surplus, (*items[surplus:], item))
        self.bell.ring()

    def end(self, error: BaseException | None = None) -> None:
        """No further element. The first call counts."""
        if not self._ended:
            self._cause.set(error)
            self._ended = True
        self.bell.ring()

    def consumer(self) -> Consumer[T]:
        """An iterator of its own position, which begins with the oldest element that is kept."""
        return Consumer(self)


class Consumer(Generic[T]):
    """One reader of a node's news: an iterator that ends with the node, with what ended it if it failed.

    Each consumer gets every element. One that is more than the kept ones behind loses the oldest; ``lost``
    counts them. Any thread; threads that share one consumer share its elements.
    """

    def __init__(self, history: History[T]) -> None:
        self._history = history
        #: rung when ``is_ready`` may have become true
        self.bell = history.bell
        #: number of the next element
        self._next = history._kept[0]
        #: elements that were gone before this consumer came to them
        self.lost = 0
        self._taking = threading.RLock()

    def _take(self) -> list[T]:
        """The next element in a list, or an empty one."""
        with self._taking:
            first, items = self._history._kept
            if self._next < first:
                self.lost += first - self._next
                self._next = first
            at = self._next - first
            if at >= len(items):
                return []
            self._next += 1
            return [items[at]]

    def next(self, timeout: float | None = None) -> T:
        """The next element, within ``timeout`` seconds. Raises TimeoutError, StopIteration at the end, or what ended
        the node; UsageError for what is no time, in a forked child, and where it would wait on a thread of the node.
        """
        check_timeout(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        history = self._history
        history.check_process()
        while True:
            ended = history._ended
            taken = self._take()
            if taken:
                return taken[0]
            if ended:
                history._cause.check()
                raise StopIteration
            rest = None if deadline is None else deadline - time.monotonic()
            if rest is None or rest > 0:
                _refuse_own_thread(history.is_mine)
            if not self.bell.wait_for(self.is_ready, rest):
                raise TimeoutError("no element within the time")

    def check_wait(self) -> None:
        """Raise UsageError where nobody may wait for an element: on a thread of the node, and in a forked child."""
        self._history.check_process()
        _refuse_own_thread(self._history.is_mine)

    def is_ready(self) -> bool:
        """Whether ``next`` need not wait: there is an element, or there will be none."""
        return bool(len(self)) or self._history._ended

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return self.next()

    def __len__(self) -> int:
        first, items = self._history._kept
        return max(0, first + len(items) - max(self._next, first))
