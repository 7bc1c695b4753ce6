"""The objects of recipes for threads: each runs what its counterpart for asyncio does, and waits for it.

Methods may be called from any thread, but not in signal handlers, nor on a thread of the node (in ``apply``, in a
callback of a future): there they raise UsageError. What each of them promises and raises stands with its counterpart in
``held.py`` and ``kept.py``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Generic, TypeVar

from . import held, kept
from .held import Holder
from .kept import Allowance, Change, Contents, Versioned
from .waits import run

T = TypeVar("T")
OnLost = Callable[[], object]


class Lost:
    """Whether what was held is lost, or was given back: as a ``threading.Event`` that is set by the clock."""

    def __init__(self, inner: held.Lost) -> None:
        self._inner = inner

    def is_set(self) -> bool:
        """Whether nothing is held any more."""
        return self._inner.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until that is so; False after so many seconds."""
        return run(self._inner.wait(timeout))


class Held:
    """What is common to all that is held under the client's lease."""

    _inner: held.Held

    def __repr__(self) -> str:
        return repr(self._inner)

    @property
    def name(self) -> str:
        """Its name."""
        return self._inner.name

    @property
    def held(self) -> bool:
        """Whether it is held, by the clock: right also at once after this process, or its machine, has stood still."""
        return self._inner.held

    @property
    def token(self) -> int:
        """The fencing token: larger than every one that was given before. 0 while it is not held."""
        return self._inner.token

    @property
    def lost(self) -> Lost:
        """Tells when what is held now is held no more."""
        return Lost(self._inner.lost)

    def check(self) -> int:
        """The fencing token. Raises LockLost where it is not held (any more)."""
        return self._inner.check()


L = TypeVar("L", bound="Lock")


class Lock(Held):
    """A lock, a side of a ReadWriteLock, or a permit of a semaphore. Held in a ``with`` block, or by hand."""

    _inner: held.Placed

    def __init__(self, inner: held.Placed) -> None:
        self._inner = inner

    def acquire(self, timeout: float | None = None) -> bool:
        """Hold it; False if it is not to be had within ``timeout`` seconds (None: wait as long as it takes; 0: do not).

        First come, first served. A client that waits and dies loses its place with its lease. It raises NotDone or
        Unknown when the cluster has not answered by then, and what comes of that is given back; UsageError when this
        object holds it or waits for it already; SettingsDiffer, Full, Stopped.
        """
        return run(self._inner.acquire(timeout))

    def release(self) -> None:
        """Give it back. Raises LockLost if it was lost before, and NotDone or Unknown as ``acquire``."""
        run(self._inner.release())

    def holders(self, *, level: str = "linearizable", max_staleness: float | None = None) -> list[Holder]:
        """Who holds it, in the order of their tokens. A read (see ``Node.query``)."""
        return run(self._inner.holders(level=level, max_staleness=max_staleness))

    def contenders(self, *, level: str = "linearizable", max_staleness: float | None = None) -> list[Holder]:
        """Who holds it and then who waits for it, in the order of the line; the token of those who wait is 0."""
        return run(self._inner.contenders(level=level, max_staleness=max_staleness))

    def __enter__(self: L) -> L:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        # What was raised in the block is not hidden by a lock that was lost meanwhile.
        with contextlib.suppress(*((Exception,) if kind is not None else ())):
            self.release()


class ReadWriteLock:
    """Many readers or one writer. Nobody overtakes: a reader that comes after a writer waits behind it."""

    def __init__(self, inner: held.ReadWriteLock) -> None:
        self._inner = inner

    def reader(self, value: Any = None, *, on_lost: OnLost | None = None) -> Lock:
        """A lock that readers share. Each reader has an object of its own."""
        return Lock(self._inner.reader(value, on_lost=on_lost))

    def writer(self, value: Any = None, *, on_lost: OnLost | None = None) -> Lock:
        """A lock that excludes readers and other writers."""
        return Lock(self._inner.writer(value, on_lost=on_lost))


class Stream(Generic[T]):
    """What an object comes to, each time it is different from what was seen before; the newest alone counts."""

    def __init__(self, inner: held.Stream[T]) -> None:
        self._inner = inner

    def next(self, timeout: float | None = None) -> T:
        """The next one, at first the present one. Raises TimeoutError, Stopped."""
        return run(self._inner.next(timeout))

    def __iter__(self) -> Stream[T]:
        return self

    def __next__(self) -> T:
        return self.next()


class Election(Lock):
    """Who leads: one of those who campaign (``acquire``), in the order in which they came."""

    _inner: held.Election

    def leader(self, *, level: str = "linearizable", max_staleness: float | None = None) -> Holder | None:
        """Who leads, if anybody does. A read (see ``Node.query``)."""
        return run(self._inner.leader(level=level, max_staleness=max_staleness))

    def run(self, function: Callable[[Election], T]) -> T:
        """Wait until this one leads, call the function with it, and resign; what the function returns.

        The function ends soon after ``held`` is false: another one may lead then. Raises LockLost when it was lost
        before the function returned, and what the function raises.
        """
        with self:
            return function(self)

    def observe(self) -> Stream[Holder | None]:
        """Who leads, now and after each change; None for nobody. Whoever looks away misses what came and went."""
        return Stream(self._inner.observe())


class Party(Lock):
    """Who is there: members that have joined, and whose clients live. In a ``with`` block this one is."""

    _inner: held.Party

    def join(self, timeout: float | None = None) -> bool:
        """Be there. Ends as ``acquire`` of a lock does."""
        return self.acquire(timeout)

    def leave(self) -> None:
        """Be there no more. Raises LockLost if that was so before."""
        self.release()

    def members(self, *, level: str = "linearizable", max_staleness: float | None = None) -> list[Holder]:
        """Who is there, in the order in which they joined. A read (see ``Node.query``)."""
        return self.holders(level=level, max_staleness=max_staleness)

    def watch(self) -> Stream[list[Holder]]:
        """Who is there, now and after each change."""
        return Stream(self._inner.watch())


class Item(Held):
    """An item of a queue that this client works on. A ``with`` block acknowledges it, or gives it back if it raises.

    ``value`` is what was put, ``number`` tells it from others, ``attempts`` how often it was given to somebody, this
    time included. ``token`` is a fencing token, in force until it is acknowledged, given back, or lost.
    """

    _inner: held.Item

    def __init__(self, inner: held.Item) -> None:
        self._inner = inner
        self.value, self.number, self.attempts = inner.value, inner.number, inner.attempts

    def ack(self) -> None:
        """It is done, and leaves the queue. Raises LockLost if another one may have it: then that one's ack counts."""
        run(self._inner.ack())

    def release(self) -> None:
        """Give it back: it is the first for the next one who asks. Raises LockLost if it was lost before."""
        run(self._inner.release())

    def __enter__(self) -> Item:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        run(self._inner.__aexit__(kind))


class Barrier(Held):
    """Clients that wait for one another: each goes on when ``parties`` of them have come. Then it begins anew."""

    _inner: held.Barrier

    def __init__(self, inner: held.Barrier) -> None:
        self._inner = inner

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until so many have come; False if they have not within so many seconds.

        Who waits and dies does not count any more, once its lease has expired. Raises LeaseExpired when this client's
        did meanwhile: then nobody knows whether the others went on. Raises SettingsDiffer where others wait for another
        number, NotDone, Unknown, Stopped, UsageError.
        """
        return run(self._inner.wait(timeout))


class DoubleBarrier(Held):
    """Clients that begin together and end together: ``enter`` waits for ``parties``, ``leave`` until all have left."""

    _inner: held.DoubleBarrier

    def __init__(self, inner: held.DoubleBarrier) -> None:
        self._inner = inner

    def enter(self, timeout: float | None = None) -> bool:
        """Wait until so many want to come in; False if they have not within so many seconds. Raises as a Barrier."""
        return run(self._inner.enter(timeout))

    def leave(self, timeout: float | None = None) -> bool:
        """Wait until all that came in want to leave, or are dead; False after so many seconds: then call it again.

        Raises LockLost when this client's lease expired meanwhile, and NotDone, Unknown, Stopped.
        """
        return run(self._inner.leave(timeout))


class Dict:
    """Values by key. A key is a str; a value what a session's result may be: None, numbers, bytes, str and so on.

    Each change has a revision, one above that of the change before. ``fence`` of a change is a fencing token: the
    cluster refuses it, with TokenRefused, unless it is in force.
    """

    def __init__(self, inner: kept.Dict) -> None:
        self._inner = inner
        self.name = inner.name

    def __repr__(self) -> str:
        return repr(self._inner)

    def get(
        self, key: str, default: Any = None, *, level: str = "linearizable", max_staleness: float | None = None
    ) -> Any:
        """The value of a key. A read (see ``Node.query``)."""
        return run(self._inner.get(key, default, level=level, max_staleness=max_staleness))

    def get_versioned(self, key: str, *, level: str = "linearizable", max_staleness: float | None = None) -> Versioned:
        """The value of a key and its version; version 0 where there is no such key."""
        return run(self._inner.get_versioned(key, level=level, max_staleness=max_staleness))

    def items(self, *, level: str = "linearizable", max_staleness: float | None = None) -> Contents:
        """All keys and values, and the revision."""
        return run(self._inner.items(level=level, max_staleness=max_staleness))

    def set(self, key: str, value: Any, *, version: int | None = None, fence: int | None = None) -> int:
        """Give a key a value; returns its version. version: the one it must have before, 0 for none at all.

        Raises VersionDiffers, TokenRefused, UsageError, and NotDone, Unknown, Stopped, as every change.
        """
        return run(self._inner.set(key, value, version=version, fence=fence))

    def compare_and_set(self, key: str, value: Any, version: int, *, fence: int | None = None) -> int:
        """``set``, if the key has this version; returns the new one. Raises VersionDiffers, whose ``found`` it is."""
        return run(self._inner.compare_and_set(key, value, version, fence=fence))

    def delete(self, key: str, *, version: int | None = None, fence: int | None = None) -> int:
        """Delete a key, if it is there; returns the revision. Raises as ``set``."""
        return run(self._inner.delete(key, version=version, fence=fence))

    def update(
        self,
        values: Mapping[str, Any],
        *,
        delete: Iterable[str] = (),
        versions: Mapping[str, int] | None = None,
        fence: int | None = None,
    ) -> int:
        """Change several keys at once, or none of them; returns the revision of the last change.

        versions: of keys that must have these before. Raises as ``set``; 10,000 changes and 768 KiB are the most.
        """
        return run(self._inner.update(values, delete=delete, versions=versions, fence=fence))

    def clear(self, *, fence: int | None = None) -> int:
        """Delete every key; returns the revision of the last change."""
        return run(self._inner.clear(fence=fence))

    def watch(self, revision: int) -> Watch:
        """Every change behind that revision, in order, each once: of ``items``, say, or of the last change seen.

        It asks nobody: the member tells it as it applies them. The newest 1,000 changes are kept, 4 MiB of values at
        most, also in snapshots; a watch that is further behind raises FellBehind.
        """
        return Watch(self._inner.watch(revision))


class Watch:
    """The changes of a dict from a revision on. ``revision`` is that of the last one that was given out."""

    def __init__(self, inner: kept.Watch) -> None:
        self._inner = inner

    @property
    def revision(self) -> int:
        """Where another watch would go on."""
        return self._inner.revision

    def next(self, timeout: float | None = None) -> Change:
        """The next change. Raises TimeoutError after so many seconds, FellBehind, Stopped."""
        return run(self._inner.next(timeout))

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> Change:
        return self.next()


class Counter:
    """A number, 0 at first, from -2^63 to 2^63-1."""

    def __init__(self, inner: kept.Counter) -> None:
        self._inner = inner
        self.name = inner.name

    def __repr__(self) -> str:
        return repr(self._inner)

    def get(self, *, level: str = "linearizable", max_staleness: float | None = None) -> int:
        """Its value. A read (see ``Node.query``)."""
        return run(self._inner.get(level=level, max_staleness=max_staleness))

    def add(self, delta: int = 1, *, fence: int | None = None) -> int:
        """Add to it, once; returns what it is then. Raises OutOfRange, TokenRefused, NotDone, Unknown, Stopped."""
        return run(self._inner.add(delta, fence=fence))

    def set(self, value: int, *, fence: int | None = None) -> int:
        """Another value; returns what it was. Raises as ``add``."""
        return run(self._inner.set(value, fence=fence))

    def compare_and_set(self, expected: int, value: int, *, fence: int | None = None) -> int:
        """Another value, if it is the expected one. Raises VersionDiffers, whose ``found`` it is, and as ``add``."""
        return run(self._inner.compare_and_set(expected, value, fence=fence))


class Queue:
    """Items in the order in which they were put. Who gets one works on it, and acknowledges it when it is done.

    An item whose worker's lease expires, or who gives it back, is the first for the next worker: so an item is worked
    on at least once, and acknowledged once. It has at most ``maxsize`` items, those that are worked on included.
    """

    def __init__(self, inner: kept.Queue) -> None:
        self._inner = inner
        self.name, self.maxsize = inner.name, inner.maxsize

    def __repr__(self) -> str:
        return repr(self._inner)

    def put(self, value: Any, timeout: float | None = None, *, fence: int | None = None) -> int:
        """Put an item behind the others; returns its number. Where there is no room, wait for some.

        Raises Full when there is none within ``timeout`` seconds (None: wait as long as it takes), TokenRefused,
        NotDone, Unknown, Stopped. Who waits for room has no place in a line.
        """
        return run(self._inner.put(value, timeout, fence=fence))

    def get(self, timeout: float | None = None, *, on_lost: OnLost | None = None) -> Item | None:
        """The first item, to be worked on; None if there is none within ``timeout`` seconds (None: wait).

        First come, first served. Raises as ``acquire`` of a lock.
        """
        item = run(self._inner.get(timeout, on_lost=on_lost))
        return None if item is None else Item(item)

    def size(self, *, level: str = "linearizable", max_staleness: float | None = None) -> int:
        """How many items it has, those that are worked on included. A read (see ``Node.query``)."""
        return run(self._inner.size(level=level, max_staleness=max_staleness))


class RateLimiter:
    """A bucket of ``burst`` tokens, full at first, into which ``rate`` tokens fall in a second of replicated time.

    rate: tokens a second, 0.000001..1000000; a token falls in after so many whole nanoseconds, rounded up. burst: an
    integer, 1..1000000. All clients give the same for a name. An object is cheap, holds nothing and has nothing to
    close: make one for each request, if that is convenient, with the name of a user or an address, say.
    """

    def __init__(self, inner: kept.RateLimiter) -> None:
        self._inner = inner
        self.name, self.rate, self.burst = inner.name, inner.rate, inner.burst

    def __repr__(self) -> str:
        return repr(self._inner)

    def acquire(self, count: int = 1, timeout: float | None = None, *, request: str | None = None) -> Allowance:
        """Take so many tokens, 1..burst; what comes of it is true if they were taken.

        It is false if they cannot be had within ``timeout`` seconds (None: wait; 0: do not wait); then none was taken.
        Tokens that are not there yet are lent, first come, first served: the call returns when they have fallen in.

        request: an id of the caller's, a str of 1..255 bytes in UTF-8, for what may be asked again, on this member or
        on another one: by an HTTP client that had no answer, say. What it has taken is not taken again: for at least
        300 seconds of replicated time after it has fallen in, the same request is allowed without taking anything,
        and ``left`` is what it was at first. A request that was refused is decided anew. If it comes again with less
        patience, before what was lent has fallen in, it is false, and true when it comes again after ``retry_after``.

        Raises NotDone, Unknown, Stopped; Full when there are too many limiters, or too many requests to be remembered;
        SettingsDiffer when the request has taken another number of tokens before; UsageError.
        """
        return run(self._inner.acquire(count, timeout, request=request))

    def peek(self, count: int = 1, *, level: str = "linearizable", max_staleness: float | None = None) -> Allowance:
        """Whether so many tokens are there, how many are left, and how long it takes. Takes nothing, writes nothing.

        A read (see ``Node.query``): it has everything that was taken before. What has fallen in since the newest entry
        is reckoned by this member's own clock. Others may take tokens meanwhile, so this promises none.
        """
        return run(self._inner.peek(count, level=level, max_staleness=max_staleness))
