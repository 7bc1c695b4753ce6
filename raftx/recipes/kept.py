"""What is kept without a lease, for asyncio: dicts with watches, counters, queues and rate limiters.

``raftx.recipes.aio`` has the names. The same objects for threads run what stands here (``blocking.py``).
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ..errors import UsageError
from ..node.session_format import decode_value
from ..types import check_timeout
from .commands import (
    CHANGES_MAX,
    COUNTER,
    DICT,
    KEY_MAX,
    LIMIT_MAX,
    LIMITER,
    NUMBER,
    QUEUE,
    check_int,
    check_text,
    to_bytes,
)
from .errors import FellBehind, Full
from .held import Item, Wrap
from .hub import Hub
from .machine import Recipes
from .waits import deadline_of, pause

MAXSIZE = 10_000  # items of a queue, unless told otherwise
SECOND = 1_000_000_000


class Versioned(NamedTuple):
    """A value of a dict, and its version: the revision of the change that has made it. 0: the key is not there."""

    value: Any
    version: int


class Contents(NamedTuple):
    """All of a dict at one moment, and its revision then: a watch behind it misses nothing."""

    items: dict[str, Any]
    revision: int


class Change(NamedTuple):
    """One change of a dict. A key that was deleted has the value None, and ``deleted``."""

    revision: int
    key: str
    value: Any
    deleted: bool


class Dict:
    """Values by key. A key is a str; a value what a session's result may be: None, numbers, bytes, str and so on.

    Each change has a revision, one above that of the change before. ``fence`` of a change is a fencing token: the
    cluster refuses it, with TokenRefused, unless it is in force.
    """

    def __init__(self, hub: Hub, name: str) -> None:
        self.hub, self.name = hub, check_text(name, "name")

    def __repr__(self) -> str:
        return f"<raftx.recipes dict {self.name!r}>"

    async def get(
        self, key: str, default: Any = None, *, level: str = "linearizable", max_staleness: float | None = None
    ) -> Any:
        """The value of a key. A read (see ``Node.query``)."""
        found = await self.get_versioned(key, level=level, max_staleness=max_staleness)
        return found.value if found.version else default

    async def get_versioned(
        self, key: str, *, level: str = "linearizable", max_staleness: float | None = None
    ) -> Versioned:
        """The value of a key and its version; version 0 where there is no such key."""
        check_text(key, "key", KEY_MAX)

        def look(machine: Recipes) -> Versioned:
            found = machine.find(DICT, self.name).values.get(key)
            return Versioned(None, 0) if found is None else Versioned(decode_value(found[0]), found[1])

        return await self.hub.query(look, level, max_staleness)

    async def items(self, *, level: str = "linearizable", max_staleness: float | None = None) -> Contents:
        """All keys and values, and the revision."""

        def look(machine: Recipes) -> tuple[dict[str, tuple[bytes, int]], int]:
            there = machine.find(DICT, self.name)
            return dict(there.values), there.revision

        values, revision = await self.hub.query(look, level, max_staleness)
        return Contents({key: decode_value(value) for key, (value, _) in values.items()}, revision)

    async def set(self, key: str, value: Any, *, version: int | None = None, fence: int | None = None) -> int:
        """Give a key a value; returns its version. version: the one it must have before, 0 for none at all.

        Raises VersionDiffers, TokenRefused, UsageError, and NotDone, Unknown, Stopped, as every change.
        """
        return await self._update([(key, to_bytes(value), version)], fence)

    async def compare_and_set(self, key: str, value: Any, version: int, *, fence: int | None = None) -> int:
        """``set``, if the key has this version; returns the new one. Raises VersionDiffers, whose ``found`` it is."""
        check_int(version, "version", 0, NUMBER - 1)
        return await self.set(key, value, version=version, fence=fence)

    async def delete(self, key: str, *, version: int | None = None, fence: int | None = None) -> int:
        """Delete a key, if it is there; returns the revision. Raises as ``set``."""
        return await self._update([(key, None, version)], fence)

    async def update(
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
        versions = dict(versions or {})
        changes: list[tuple[str, bytes | None, int | None]] = [
            (key, to_bytes(value), versions.pop(key, None)) for key, value in values.items()
        ]
        changes += [(key, None, versions.pop(key, None)) for key in delete]
        if versions:
            raise UsageError(f"versions has keys that are not changed: {sorted(versions)}: leave them out")
        return await self._update(changes, fence)

    async def clear(self, *, fence: int | None = None) -> int:
        """Delete every key; returns the revision of the last change."""
        check_int(fence, "fence", 1, NUMBER - 1, none=True)
        result = await self.hub.ask("clear", self.name, fence)
        return int(result[1])

    async def _update(self, changes: list[tuple[str, bytes | None, int | None]], fence: int | None) -> int:
        if not 0 < len(changes) <= CHANGES_MAX:
            raise UsageError(f"an update has 1..{CHANGES_MAX} changes, not {len(changes)}")
        for key, _, version in changes:
            check_text(key, "key", KEY_MAX)
            check_int(version, "version", 0, NUMBER - 1, none=True)
        if len({key for key, _, _ in changes}) < len(changes):
            raise UsageError("an update changes a key twice: decide what it is to be")
        check_int(fence, "fence", 1, NUMBER - 1, none=True)
        result = await self.hub.ask("update", self.name, tuple(changes), fence)
        return int(result[1])

    def watch(self, revision: int) -> Watch:
        """Every change behind that revision, in order, each once: of ``items``, say, or of the last change seen.

        It asks nobody: the member tells it as it applies them. The newest 1,000 changes are kept, 4 MiB of values at
        most, also in snapshots; a watch that is further behind raises FellBehind.
        """
        check_int(revision, "revision", 0, NUMBER - 1)
        return Watch(self.hub, self.name, revision)


class Watch:
    """The changes of a dict from a revision on. ``revision`` is that of the last one that was given out."""

    def __init__(self, hub: Hub, name: str, revision: int) -> None:
        self._hub, self._name = hub, name
        self.revision = revision
        self._ahead: collections.deque[tuple[int, str, bytes | None]] = collections.deque()

    async def next(self, timeout: float | None = None) -> Change:
        """The next change. Raises TimeoutError after so many seconds, FellBehind, Stopped."""
        check_timeout(timeout)

        def probe(machine: Recipes) -> list[tuple[int, str, bytes | None]] | None:
            there = machine.find(DICT, self._name)
            found: list[tuple[int, str, bytes | None]] | None = there.since(self.revision)
            if found is None:
                raise FellBehind(
                    f"changes of dict {self._name!r} up to {there.floor} are not kept any more, and revision "
                    f"{self.revision} is before: read items(), and watch from their revision",
                    there.floor,
                )
            return found or None

        if not self._ahead:
            self._ahead.extend(await self._hub.until([(DICT, self._name)], probe, deadline_of(timeout)))
        self.revision, key, value = self._ahead.popleft()
        return Change(self.revision, key, None if value is None else decode_value(value), value is None)

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Change:
        return await self.next()


class Counter:
    """A number, 0 at first, from -2^63 to 2^63-1."""

    def __init__(self, hub: Hub, name: str) -> None:
        self.hub, self.name = hub, check_text(name, "name")

    def __repr__(self) -> str:
        return f"<raftx.recipes counter {self.name!r}>"

    async def get(self, *, level: str = "linearizable", max_staleness: float | None = None) -> int:
        """Its value. A read (see ``Node.query``)."""

        def look(machine: Recipes) -> int:
            return int(machine.find(COUNTER, self.name).value)

        return await self.hub.query(look, level, max_staleness)

    async def add(self, delta: int = 1, *, fence: int | None = None) -> int:
        """Add to it, once; returns what it is then. Raises OutOfRange, TokenRefused, NotDone, Unknown, Stopped."""
        check_int(delta, "delta", -NUMBER, NUMBER - 1)
        check_int(fence, "fence", 1, NUMBER - 1, none=True)
        result = await self.hub.ask("add", self.name, delta, fence)
        return int(result[1])

    async def set(self, value: int, *, fence: int | None = None) -> int:
        """Another value; returns what it was. Raises as ``add``."""
        return await self._swap(None, value, fence)

    async def compare_and_set(self, expected: int, value: int, *, fence: int | None = None) -> int:
        """Another value, if it is the expected one. Raises VersionDiffers, whose ``found`` it is, and as ``add``."""
        check_int(expected, "expected", -NUMBER, NUMBER - 1)
        return await self._swap(expected, value, fence)

    async def _swap(self, expected: int | None, value: int, fence: int | None) -> int:
        check_int(value, "value", -NUMBER, NUMBER - 1)
        check_int(fence, "fence", 1, NUMBER - 1, none=True)
        result = await self.hub.ask("swap", self.name, expected, value, fence)
        return int(result[1])


class Queue:
    """Items in the order in which they were put. Who gets one works on it, and acknowledges it when it is done.

    An item whose worker's lease expires, or who gives it back, is the first for the next worker: so an item is worked
    on at least once, and acknowledged once. It has at most ``maxsize`` items, those that are worked on included.
    """

    def __init__(self, hub: Hub, name: str, maxsize: int = MAXSIZE, wrap: Wrap = lambda on_lost: on_lost) -> None:
        self.hub, self.name, self._wrap = hub, check_text(name, "name"), wrap
        check_int(maxsize, "maxsize", 1, LIMIT_MAX)
        self.maxsize = maxsize

    def __repr__(self) -> str:
        return f"<raftx.recipes queue {self.name!r}>"

    async def put(self, value: Any, timeout: float | None = None, *, fence: int | None = None) -> int:
        """Put an item behind the others; returns its number. Where there is no room, wait for some.

        Raises Full when there is none within ``timeout`` seconds (None: wait as long as it takes), TokenRefused,
        NotDone, Unknown, Stopped. Who waits for room has no place in a line.
        """
        check_timeout(timeout)
        check_int(fence, "fence", 1, NUMBER - 1, none=True)
        data, deadline = to_bytes(value), deadline_of(timeout)

        def has_room(machine: Recipes) -> bool | None:
            return len(machine.find(QUEUE, self.name).items) < self.maxsize or None

        while True:
            try:
                result = await self.hub.ask("push", self.name, data, self.maxsize, fence)
                return int(result[1])
            except Full:
                if deadline is not None and time.monotonic() >= deadline:
                    raise
            try:
                await self.hub.until([(QUEUE, self.name)], has_room, deadline)
            except TimeoutError:
                raise Full(f"queue {self.name!r} has {self.maxsize} items: wait longer, or work faster") from None

    async def get(self, timeout: float | None = None, *, on_lost: Callable[[], object] | None = None) -> Item | None:
        """The first item, to be worked on; None if there is none within ``timeout`` seconds (None: wait).

        First come, first served. Raises as ``acquire`` of a lock.
        """
        item = Item(self.hub, self.name, self._wrap(on_lost))
        return item if await item.get(timeout) else None

    async def size(self, *, level: str = "linearizable", max_staleness: float | None = None) -> int:
        """How many items it has, those that are worked on included. A read (see ``Node.query``)."""

        def look(machine: Recipes) -> int:
            return len(machine.find(QUEUE, self.name).items)

        return await self.hub.query(look, level, max_staleness)


class Allowance(NamedTuple):
    """What a rate limiter has said. True in a condition when it has allowed it, and false when it has not.

    ``left``: whole tokens that are there for others right after that, 0..burst. ``retry_after``: seconds until what was
    refused can be had, if nobody takes tokens meanwhile; 0.0 where it was allowed.
    """

    allowed: bool
    left: int
    retry_after: float

    def __bool__(self) -> bool:
        return self.allowed


class RateLimiter:
    """A bucket of ``burst`` tokens, full at first, into which ``rate`` tokens fall in a second of replicated time.

    rate: tokens a second, 0.000001..1000000; a token falls in after so many whole nanoseconds, rounded up. burst: an
    integer, 1..1000000. All clients give the same for a name. An object is cheap, holds nothing and has nothing to
    close: make one for each request, if that is convenient, with the name of a user or an address, say.
    """

    def __init__(self, hub: Hub, name: str, rate: float, burst: int = 1) -> None:
        self.hub, self.name = hub, check_text(name, "name")
        number = isinstance(rate, (int, float)) and not isinstance(rate, bool)
        if not number or not 1e-6 <= rate <= 1e6:
            raise UsageError(f"rate must be a number of tokens a second in 0.000001..1000000, not {rate!r}")
        check_int(burst, "burst", 1, LIMIT_MAX)
        #: rounded up, so that it is never above the rate
        self.period = -int(-SECOND // rate)
        self.rate, self.burst = rate, burst

    def __repr__(self) -> str:
        return f"<raftx.recipes rate limiter {self.name!r} {self.rate} a second, burst {self.burst}>"

    async def acquire(self, count: int = 1, timeout: float | None = None, *, request: str | None = None) -> Allowance:
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
        check_timeout(timeout)
        check_int(count, "count", 1, self.burst)
        what: tuple[Any, ...] = (self.name, self.period, self.burst, count)
        last: tuple[str, ...] = () if request is None else (check_text(request, "request"),)
        do = "once" if last else "take"
        deadline = deadline_of(timeout)
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            patience = NUMBER - 1 if left is None else min(NUMBER - 1, int(left * SECOND))
            code, delay, there = await self.hub.ask(do, *what, patience, *last)
            if code == "ok":
                if delay:
                    await pause(delay / SECOND)
                return Allowance(True, there, 0.0)
            # Too long; or the time is not known yet.
            if left is not None and left * SECOND <= delay:
                return Allowance(False, there, delay / SECOND)
            await pause(delay / SECOND)

    async def peek(
        self, count: int = 1, *, level: str = "linearizable", max_staleness: float | None = None
    ) -> Allowance:
        """Whether so many tokens are there, how many are left, and how long it takes. Takes nothing, writes nothing.

        A read (see ``Node.query``): it has everything that was taken before. What has fallen in since the newest entry
        is reckoned by this member's own clock. Others may take tokens meanwhile, so this promises none.
        """
        check_int(count, "count", 1, self.burst)

        def look(machine: Recipes) -> Allowance:
            # While no time is known nothing can have been taken, and any time will do.
            limiter, now = machine.find(LIMITER, self.name), machine.estimate() or 1
            delay = limiter.delay(now, self.period, self.burst, count)
            return Allowance(delay == 0, limiter.left(now, self.period, self.burst), delay / SECOND)

        return await self.hub.query(look, level, max_staleness)
