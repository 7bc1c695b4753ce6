"""What recipes keep without a lease, and queues: the replicated state of dicts, counters, queues and rate limiters.

Deterministic, and without clocks: times come from entries.
"""

from __future__ import annotations

import collections
import heapq
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .commands import NUMBER
from .lines import WAITERS_MAX, Give, Key

HISTORY_MAX = 1_000  # changes of a dict that are kept for watches
HISTORY_BYTES = 4 << 20  # and bytes of their values
UNKNOWN_NS = 50_000_000  # a rate limiter lets wait so long while the time is not known
KEPT_NS = 300_000_000_000  # what a request has taken is known for so long after it has fallen in


class Dict:
    """Values by key, each with the revision of the change that has made it, and the newest changes."""

    def __init__(self, give: Give, count: Callable[[], int]) -> None:
        #: how many changes there have been
        self.revision = 0
        #: by key: the value, encoded, and its version
        self.values: dict[str, tuple[bytes, int]] = {}
        #: (revision, key, value; None: it was deleted): all changes behind ``floor``
        self.history: collections.deque[tuple[int, str, bytes | None]] = collections.deque()
        self.floor = 0
        self.bytes = 0

    def unused(self) -> bool:
        """A dict that has ever had a key stays: its revisions must not begin anew."""
        return self.revision == 0

    def update(self, changes: tuple[tuple[str, bytes | None, int | None], ...]) -> tuple[Any, ...]:
        """Several keys at once, or none: each to a value, or to be deleted, if its version is the expected one."""
        for key, _, expected in changes:
            found = self.values[key][1] if key in self.values else 0
            if expected is not None and expected != found:
                return "version", key, found
        for key, value, _ in changes:
            self._change(key, value)
        return "ok", self.revision

    def clear(self) -> tuple[Any, ...]:
        """Delete every key, in so many changes."""
        for key in list(self.values):
            self._change(key, None)
        return "ok", self.revision

    def _change(self, key: str, value: bytes | None) -> None:
        if value is None:
            if self.values.pop(key, None) is None:
                return
        else:
            self.values[key] = (value, self.revision + 1)
        self.revision += 1
        self._remember(self.revision, key, value)
        while len(self.history) > HISTORY_MAX or self.bytes > HISTORY_BYTES:
            self.floor, _, gone = self.history.popleft()
            self.bytes -= len(gone or b"")

    def _remember(self, revision: int, key: str, value: bytes | None) -> None:
        self.history.append((revision, key, value))
        self.bytes += len(value or b"")

    def since(self, revision: int) -> list[tuple[int, str, bytes | None]] | None:
        """All changes behind that revision; None where some of them are not kept any more."""
        if revision < self.floor:
            return None
        first = max(0, len(self.history) - (self.revision - revision))
        return [self.history[at] for at in range(first, len(self.history))]

    def records(self) -> list[tuple[Any, ...]]:
        """What a snapshot keeps of it."""
        values = [("v", key, *value) for key, value in self.values.items()]
        return [("r", self.revision, self.floor), *values, *[("h", *each) for each in self.history]]

    def take(self, what: str, *rest: Any) -> None:
        """One of these records."""
        if what == "r":
            self.revision, self.floor = rest
        elif what == "v":
            self.values[rest[0]] = (rest[1], rest[2])
        else:
            self._remember(*rest)


class Counter:
    """A number."""

    def __init__(self, give: Give, count: Callable[[], int]) -> None:
        self.value = 0

    def unused(self) -> bool:
        """One that is 0 is as a new one."""
        return self.value == 0

    def add(self, delta: int) -> tuple[Any, ...]:
        """More, or less; its value."""
        value = self.value + delta
        if not -NUMBER <= value < NUMBER:
            return "range", self.value
        self.value = value
        return "ok", value

    def swap(self, expected: int | None, value: int) -> tuple[Any, ...]:
        """Another value, if it has the expected one; what it was."""
        if expected is not None and expected != self.value:
            return "version", "", self.value
        before, self.value = self.value, value
        return "ok", before

    def records(self) -> list[tuple[Any, ...]]:
        """What a snapshot keeps of it."""
        return [(self.value,)]

    def take(self, value: int) -> None:
        """This record."""
        self.value = value


class Item(NamedTuple):
    """Something in a queue."""

    value: bytes
    #: how often it was given to somebody
    attempts: int = 0


class Queue:
    """Items in the order in which they were put, those that somebody works on, and those who wait for one."""

    def __init__(self, give: Give, count: Callable[[], int]) -> None:
        self.give = give
        self.count = count
        self.items: dict[int, Item] = {}
        #: numbers of those that nobody works on: a heap
        self.ready: list[int] = []
        #: who works on which, and with which token
        self.flying: dict[Key, tuple[int, int]] = {}
        self.waiters: dict[Key, None] = {}

    def unused(self) -> bool:
        """Whether it is empty, and nobody waits."""
        return not self.items and not self.waiters

    def push(self, value: bytes, limit: int) -> tuple[Any, ...]:
        """Put an item behind the others; its number."""
        if len(self.items) >= limit:
            return "full", limit
        number = self.count()
        self.items[number] = Item(value)
        heapq.heappush(self.ready, number)
        return "ok", number

    def pull(self, key: Key, wait: bool) -> tuple[Any, ...]:
        """Somebody wants an item. A claim that comes again is the same one."""
        if key in self.flying:
            return "ok", self.flying[key][1]
        if key in self.waiters:
            return ("waits",)
        if len(self.waiters) >= WAITERS_MAX:
            return "full", WAITERS_MAX
        self.waiters[key] = None
        self.settle()
        if key in self.flying:
            return "ok", self.flying[key][1]
        if wait:
            return ("waits",)
        del self.waiters[key]
        return ("busy",)

    def ack(self, key: Key, token: int) -> tuple[Any, ...]:
        """It is done, and goes."""
        flying = self.flying.get(key)
        if flying is None or flying[1] != token:
            return ("lost",)
        del self.flying[key]
        del self.items[flying[0]]
        return ("ok",)

    def drop(self, key: Key) -> int:
        """It is gone: what it worked on is for the next one. Its token, 0 if it waited, -1 if it was not here."""
        flying = self.flying.pop(key, None)
        if flying is not None:
            heapq.heappush(self.ready, flying[0])
            return flying[1]
        if key in self.waiters:
            del self.waiters[key]
            return 0
        return -1

    def holds(self, key: Key) -> int:
        """The token of somebody who works on an item; 0: it does not."""
        return self.flying.get(key, (0, 0))[1]

    def settle(self) -> None:
        """Whoever waits first gets the first item."""
        while self.waiters and self.ready:
            key = next(iter(self.waiters))
            del self.waiters[key]
            number = heapq.heappop(self.ready)
            item = self.items[number]
            self.items[number] = Item(item.value, item.attempts + 1)
            self.flying[key] = (number, self.give(key))

    def tokens(self) -> Iterator[tuple[Key, int]]:
        """Of all that work on one."""
        for key, (_, token) in self.flying.items():
            yield key, token

    def keys(self) -> Iterator[Key]:
        """All that a lease keeps in it."""
        yield from self.flying
        yield from self.waiters

    def records(self) -> list[tuple[Any, ...]]:
        """What a snapshot keeps of it."""
        flying = {number for number, _ in self.flying.values()}
        found: list[tuple[Any, ...]] = [("i", number, *each, number in flying) for number, each in self.items.items()]
        found += [("f", *key, *each) for key, each in self.flying.items()]
        return found + [("w", *key) for key in self.waiters]

    def take(self, what: str, *rest: Any) -> None:
        """One of these records."""
        if what == "i":
            number, value, attempts, flying = rest
            self.items[number] = Item(value, attempts)
            if not flying:
                heapq.heappush(self.ready, number)
        elif what == "f":
            self.flying[rest[0], rest[1]] = (rest[2], rest[3])
        else:
            self.waiters[rest[0], rest[1]] = None


class Limiter:
    """A bucket of tokens that fills by the time of entries; what it has lent it gets back first.

    ``full_at`` is when it is full again: all that there is to know of it.
    """

    def __init__(self) -> None:
        self.full_at = 0

    def take_tokens(self, now: int, period: int, burst: int, count: int, patience: int) -> tuple[Any, ...]:
        """So many tokens: after how many nanoseconds, and how many are left then.

        ``later`` where that is too long, and then none is taken.
        """
        if count > burst:
            return "malformed", "more than the bucket holds can never be taken at once"
        delay = self.delay(now, period, burst, count)
        if now == 0 or delay > patience:
            return "later", delay, self.left(now, period, burst)
        self.full_at = max(self.full_at, now) + count * period
        return "ok", delay, self.left(now, period, burst)

    def delay(self, now: int, period: int, burst: int, count: int) -> int:
        """Nanoseconds until so many tokens are there."""
        return max(0, max(self.full_at, now) + (count - burst) * period - now) if now else UNKNOWN_NS

    def left(self, now: int, period: int, burst: int) -> int:
        """How many whole tokens are there now; 0 also while more are lent, and while the time is not known."""
        return max(0, (burst * period - max(0, self.full_at - now)) // period) if now else 0


class Answer(NamedTuple):
    """What a request has taken from a limiter."""

    taken: int
    #: how many were left
    left: int
    #: when they have fallen in
    begins: int


class Answers:
    """What requests have taken that may come again: by the name of the limiter and the id of the request.

    Each is known until ``KEPT_NS`` after it has fallen in. Which of them are forgotten, and when, follows from what is
    known alone: it is the same on a member that was restored.
    """

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], Answer] = {}
        #: (when it has fallen in, which). Invariant: each that is known is here
        self.due: list[tuple[int, tuple[str, str]]] = []

    def get(self, key: tuple[str, str], now: int) -> Answer | None:
        """What that request has taken, as long as it must be known."""
        answer = self.known.get(key)
        return answer if answer is not None and answer.begins + KEPT_NS >= now else None

    def keep(self, key: tuple[str, str], answer: Answer) -> None:
        """A request has taken that."""
        self.known.pop(key, None)  # it comes behind the others, as it does in a snapshot
        self.known[key] = answer
        heapq.heappush(self.due, (answer.begins, key))

    def forget(self, now: int, most: int) -> None:
        """Those whose time is over go, so many at once."""
        while most and self.due and self.due[0][0] + KEPT_NS < now:
            begins, key = heapq.heappop(self.due)
            # One that was followed by another of the same request is none: a restored member does not have it here.
            if key in self.known and self.known[key].begins == begins:
                del self.known[key]
                most -= 1

    def records(self) -> list[tuple[Any, ...]]:
        """What a snapshot keeps."""
        return [(*key, *answer) for key, answer in self.known.items()]
