"""What a client holds, for asyncio: locks, semaphores, elections, parties, items of queues, and barriers.

``raftx.recipes.aio`` has the names. The same objects for threads run what stands here (``blocking.py``).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, NamedTuple, TypeVar

from ..errors import ProposalError, UsageError
from ..node.session_format import decode_value
from ..types import check_timeout
from .commands import (
    BARRIER,
    DATA_MAX,
    ELECTION,
    EVERYBODY,
    LIMIT_MAX,
    LOCK,
    PARTY,
    QUEUE,
    RWLOCK,
    SEMAPHORE,
    check_int,
    check_text,
    to_bytes,
)
from .errors import LeaseExpired, LockLost
from .hub import EXPIRED, Holding, Hub
from .machine import Recipes
from .stores import Item as Stored
from .waits import Wait, deadline_of, pause

T = TypeVar("T")
#: a command for what is to be held, and whether it is to wait
Command = Callable[[Holding, bool], "tuple[Any, ...]"]
#: the token of what is held; 0: it is not
Found = Callable[[Recipes, Holding], int]
#: makes what is called when something is lost
Wrap = Callable[["Callable[[], object] | None"], "Callable[[], object] | None"]

LEAST = 1.0  # seconds that the cluster has for an answer, however little time there is
PAUSE = 0.05  # seconds before a claim that came to nothing is repeated


class Holder(NamedTuple):
    """A client that holds an object: what it says of itself, and its fencing token."""

    value: Any
    token: int


class Lost:
    """Whether what was held is lost, or was given back. It is set at once by the clock, whoever has been told."""

    def __init__(self, holding: Holding | None) -> None:
        self._holding = holding

    def is_set(self) -> bool:
        """Whether nothing is held any more."""
        return self._holding is None or not self._holding.token or self._holding.is_lost()

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until that is so; False after so many seconds."""
        check_timeout(timeout)
        if self._holding is None or self.is_set():
            return True
        try:
            await Wait(self._holding.lost, deadline_of(timeout))
        except TimeoutError:
            return False
        return True


class Held:
    """What is common to all that is held under the client's lease."""

    kind = ""
    #: whether it may begin again under another lease
    again = True

    def __init__(self, hub: Hub, name: str, on_lost: Callable[[], object] | None = None) -> None:
        if on_lost is not None and not callable(on_lost):
            raise UsageError(f"on_lost must be a function without arguments, or None, not {on_lost!r}")
        self.hub = hub
        self.name = check_text(name, "name")
        self.on_lost = on_lost
        self._holding: Holding | None = None

    def __repr__(self) -> str:
        return f"<raftx.recipes {self.kind} {self.name!r} {f'held, token {self.token}' if self.held else 'not held'}>"

    @property
    def held(self) -> bool:
        """Whether it is held, by the clock: right also at once after this process, or its machine, has stood still."""
        holding = self._holding
        return holding is not None and holding.token > 0 and not holding.is_lost()

    @property
    def token(self) -> int:
        """The fencing token: larger than every one that was given before. 0 while it is not held."""
        holding = self._holding
        return holding.token if holding is not None and self.held else 0

    def check(self) -> int:
        """The fencing token. Raises LockLost where it is not held (any more)."""
        token = self.token
        if not token:
            raise LockLost(f"{self.kind} {self.name!r} is not held: acquire it first, or again")
        return token

    @property
    def lost(self) -> Lost:
        """Tells when what is held now is held no more."""
        return Lost(self._holding)

    async def _acquire(self, timeout: float | None, command: Command, found: Found) -> bool:
        """Claim it and wait; ``found`` tells the token once it is held, and 0 before."""
        check_timeout(timeout)
        if self._holding is not None and not self._holding.is_lost():
            raise UsageError(
                f"{self.kind} {self.name!r} is held, or waited for, by this object: release it, or make another one"
            )
        deadline = deadline_of(timeout)
        while True:
            try:
                return await self._try(timeout, deadline, command, found)
            except (LeaseExpired, ProposalError):
                # Nothing is held, or it is being given back. Begin again, at the end of the line, under another lease.
                if not self.again or (deadline is not None and time.monotonic() >= deadline):
                    raise
            await pause(PAUSE)

    async def _try(self, timeout: float | None, deadline: float | None, command: Command, found: Found) -> bool:
        seconds = self.hub.timeout
        if timeout and deadline is not None:
            seconds = min(seconds, max(LEAST, deadline - time.monotonic()))
        holding = self._holding = await self.hub.hold(self.kind, self.name, seconds)
        holding.on_lost = self.on_lost
        try:
            result = await self.hub.ask(*command(holding, timeout is None or timeout > 0), timeout=seconds)
            token = result[1] if result[0] == "ok" else 0
            if result[0] == "waits":
                token = await self._wait(holding, deadline, found)
        except LeaseExpired:
            self._holding = None
            self.hub.lease_over(holding)
            raise
        except BaseException:
            self._holding = None
            self.hub.abandon(holding)
            raise
        if not token:
            self._holding = None
            self.hub.drop(holding)
            return False
        holding.token = token
        if holding.is_lost():
            self._holding = None
            self.hub.abandon(holding)
            raise LeaseExpired(EXPIRED)
        return True

    async def _wait(self, holding: Holding, deadline: float | None, found: Found) -> int:
        """Until it is held; its token, 0 at the deadline."""

        def probe(machine: Recipes) -> int | None:
            if holding.grip.id not in machine.leases.by_id:
                raise LeaseExpired(EXPIRED)
            return found(machine, holding) or None

        try:
            keys = [(self.kind, self.name), ("lease", holding.grip.id)]
            return await self.hub.until(keys, probe, deadline)
        except TimeoutError:
            result = await self.hub.ask("cancel", self.kind, self.name, *holding.key)
            return self._cancelled(holding, result)

    def _cancelled(self, holding: Holding, result: tuple[Any, ...]) -> int:
        """The token of what came just before it was given up; 0: nothing did."""
        return int(result[1]) if result[0] == "held" else 0

    async def _release(self) -> None:
        holding, self._holding = self._holding, None
        if holding is None:
            raise UsageError(f"{self.kind} {self.name!r} is not held by this object: acquire it first")
        token, holding.token = holding.token, 0
        if holding.is_lost() or not token:
            raise LockLost(
                f"{self.kind} {self.name!r} was lost before it was released: somebody else may hold it since"
            )
        try:
            result = await self.hub.ask("leave", self.kind, self.name, *holding.key)
        except BaseException:
            self.hub.abandon(holding)
            raise
        self.hub.drop(holding)
        if result[0] == "gone":
            raise LockLost(
                f"{self.kind} {self.name!r} was lost before it was released: somebody else may hold it since"
            )


class Placed(Held):
    """What stands in a line: held by as many as its limit allows."""

    def __init__(
        self,
        hub: Hub,
        name: str,
        weight: int = 1,
        limit: int = 1,
        value: Any = None,
        on_lost: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(hub, name, on_lost)
        self.weight, self.limit = weight, limit
        self._data = to_bytes(value, DATA_MAX)

    async def acquire(self, timeout: float | None = None) -> bool:
        """Hold it; False if it is not to be had within ``timeout`` seconds (None: wait as long as it takes; 0: do not).

        First come, first served. A client that waits and dies loses its place with its lease. It raises NotDone or
        Unknown when the cluster has not answered by then, and what comes of that is given back; UsageError when this
        object holds it or waits for it already; SettingsDiffer, Full, Stopped.
        """

        def command(holding: Holding, wait: bool) -> tuple[Any, ...]:
            return "claim", self.kind, self.name, *holding.key, self.weight, self.limit, wait, self._data

        def found(machine: Recipes, holding: Holding) -> int:
            return int(machine.find(self.kind, self.name).holds(holding.key))

        return await self._acquire(timeout, command, found)

    async def release(self) -> None:
        """Give it back. Raises LockLost if it was lost before, and NotDone or Unknown as ``acquire``."""
        await self._release()

    async def holders(self, *, level: str = "linearizable", max_staleness: float | None = None) -> list[Holder]:
        """Who holds it, in the order of their tokens. A read (see ``Node.query``)."""

        def look(machine: Recipes) -> list[Holder]:
            return holders_of(machine, self.kind, self.name)

        return await self.hub.query(look, level, max_staleness)

    async def contenders(self, *, level: str = "linearizable", max_staleness: float | None = None) -> list[Holder]:
        """Who holds it and then who waits for it, in the order of the line; the token of those who wait is 0."""

        def look(machine: Recipes) -> list[Holder]:
            waiters = machine.find(self.kind, self.name).waiters.values()
            waiting = [Holder(decode_value(place.data), 0) for place in waiters]
            return holders_of(machine, self.kind, self.name) + waiting

        return await self.hub.query(look, level, max_staleness)

    async def __aenter__(self: P) -> P:
        await self.acquire()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with contextlib.suppress(*((Exception,) if kind is not None else ())):
            await self.release()


P = TypeVar("P", bound=Placed)


def holders_of(machine: Recipes, kind: str, name: str) -> list[Holder]:
    """Who holds it."""
    places = machine.find(kind, name).holders.values()
    return [Holder(decode_value(place.data), place.token) for place in places]


class Lock(Placed):
    """A lock: one holder."""

    kind = LOCK


class Side(Placed):
    """A reader or a writer of a ReadWriteLock."""

    kind = RWLOCK


class Semaphore(Placed):
    """Permits: one for each object that has acquired one."""

    kind = SEMAPHORE


class ReadWriteLock:
    """Many readers or one writer. Nobody overtakes: a reader that comes after a writer waits behind it."""

    def __init__(self, hub: Hub, name: str, wrap: Wrap = lambda on_lost: on_lost) -> None:
        self._hub, self.name, self._wrap = hub, check_text(name, "name"), wrap

    def reader(self, value: Any = None, *, on_lost: Callable[[], object] | None = None) -> Side:
        """A lock that readers share. Each reader has an object of its own."""
        return Side(self._hub, self.name, 1, EVERYBODY, value, self._wrap(on_lost))

    def writer(self, value: Any = None, *, on_lost: Callable[[], object] | None = None) -> Side:
        """A lock that excludes readers and other writers."""
        return Side(self._hub, self.name, EVERYBODY, EVERYBODY, value, self._wrap(on_lost))


class Stream(Generic[T]):
    """What an object comes to, each time it is different from what was seen before; the newest alone counts."""

    def __init__(self, hub: Hub, kind: str, name: str, look: Callable[[Recipes], T]) -> None:
        self._hub, self._key, self._look = hub, (kind, name), look
        self._seen: Any = _NOTHING

    async def next(self, timeout: float | None = None) -> T:
        """The next one, at first the present one. Raises TimeoutError, Stopped."""
        check_timeout(timeout)

        def probe(machine: Recipes) -> tuple[T] | None:
            value = self._look(machine)
            return (value,) if value != self._seen else None

        (value,) = await self._hub.until([self._key], probe, deadline_of(timeout))
        self._seen = value
        return value

    def __aiter__(self) -> Stream[T]:
        return self

    async def __anext__(self) -> T:
        return await self.next()


_NOTHING = object()


class Election(Placed):
    """Who leads: one of those who campaign, in the order in which they came."""

    kind = ELECTION

    async def leader(self, *, level: str = "linearizable", max_staleness: float | None = None) -> Holder | None:
        """Who leads, if anybody does. A read (see ``Node.query``)."""
        found = await self.holders(level=level, max_staleness=max_staleness)
        return found[0] if found else None

    async def run(self, function: Callable[[Election], Awaitable[T]]) -> T:
        """Wait until this one leads, call the function with it, and resign; what the function returns.

        The function ends soon after ``held`` is false: another one may lead then. Raises LockLost when it was lost
        before the function returned, and what the function raises.
        """
        await self.acquire()
        try:
            result = await function(self)
        except BaseException:
            with contextlib.suppress(Exception):
                await self.release()
            raise
        await self.release()
        return result

    def observe(self) -> Stream[Holder | None]:
        """Who leads, now and after each change; None for nobody. Whoever looks away misses what came and went."""

        def look(machine: Recipes) -> Holder | None:
            found = holders_of(machine, self.kind, self.name)
            return found[0] if found else None

        return Stream(self.hub, self.kind, self.name, look)


class Party(Placed):
    """Who is there: members that have joined, and whose clients live."""

    kind = PARTY

    def __init__(self, hub: Hub, name: str, value: Any = None, on_lost: Callable[[], object] | None = None) -> None:
        super().__init__(hub, name, 1, EVERYBODY, value, on_lost)

    async def join(self, timeout: float | None = None) -> bool:
        """Be there. Ends as ``acquire`` of a lock does."""
        return await self.acquire(timeout)

    async def leave(self) -> None:
        """Be there no more. Raises LockLost if that was so before."""
        await self.release()

    async def members(self, *, level: str = "linearizable", max_staleness: float | None = None) -> list[Holder]:
        """Who is there, in the order in which they joined. A read (see ``Node.query``)."""
        return await self.holders(level=level, max_staleness=max_staleness)

    def watch(self) -> Stream[list[Holder]]:
        """Who is there, now and after each change."""
        return Stream(self.hub, self.kind, self.name, lambda machine: holders_of(machine, self.kind, self.name))


class Item(Held):
    """An item of a queue that this client works on.

    ``value`` is what was put, ``number`` tells it from others, ``attempts`` how often it was given to somebody, this
    time included. ``token`` is a fencing token, in force until it is acknowledged, given back, or lost.
    """

    kind = QUEUE

    def __init__(self, hub: Hub, name: str, on_lost: Callable[[], object] | None = None) -> None:
        super().__init__(hub, name, on_lost)
        self.value: Any = None
        self.number = self.attempts = 0

    async def ack(self) -> None:
        """It is done, and leaves the queue. Raises LockLost if another one may have it: then that one's ack counts."""
        holding = self._holding
        token = self.check()
        assert holding is not None
        try:
            await self.hub.ask("ack", self.name, *holding.key, token)
        except LockLost:
            self._holding = None
            self.hub.drop(holding)
            raise
        self._holding = None
        self.hub.drop(holding)

    async def release(self) -> None:
        """Give it back: it is the first for the next one who asks. Raises LockLost if it was lost before."""
        await self._release()

    async def get(self, timeout: float | None) -> bool:
        """Wait for an item of the queue: this is it then."""

        def command(holding: Holding, wait: bool) -> tuple[Any, ...]:
            return "pull", self.name, *holding.key, wait

        def found(machine: Recipes, holding: Holding) -> int:
            return int(machine.find(QUEUE, self.name).holds(holding.key))

        if not await self._acquire(timeout, command, found):
            return False
        holding = self._holding
        assert holding is not None
        machine = self.hub.machine
        with machine.lock:
            queue = machine.find(QUEUE, self.name)
            number, _ = queue.flying.get(holding.key, (0, 0))
            stored: Stored | None = queue.items.get(number)
        if stored is None:
            self._holding = None
            self.hub.abandon(holding)
            raise LockLost(f"an item of {self.name!r} was lost at once: the client's lease is over")
        self.number, self.attempts, self.value = number, stored.attempts, decode_value(stored.value)
        return True

    async def __aenter__(self) -> Item:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self.ack()
        else:
            with contextlib.suppress(Exception):
                await self.release()


class Barrier(Held):
    """Clients that wait for one another: each goes on when ``parties`` of them have come. Then it begins anew."""

    kind = BARRIER
    double = False
    again = False

    def __init__(self, hub: Hub, name: str, parties: int, on_lost: Callable[[], object] | None = None) -> None:
        super().__init__(hub, name, on_lost)
        check_int(parties, "parties", 1, LIMIT_MAX)
        self.parties = parties

    async def _arrive(self, timeout: float | None) -> bool:
        def command(holding: Holding, wait: bool) -> tuple[Any, ...]:
            return "arrive", self.name, *holding.key, self.parties, self.double

        def found(machine: Recipes, holding: Holding) -> int:
            return int(holding.key not in machine.find(BARRIER, self.name).arrived)

        return await self._acquire(timeout, command, found)

    def _cancelled(self, holding: Holding, result: tuple[Any, ...]) -> int:
        with self.hub.machine.lock:
            if holding.grip.id not in self.hub.machine.leases.by_id:
                raise LeaseExpired(EXPIRED)
        # Who is known no more has gone on.
        return int(result[0] in ("held", "gone"))

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until so many have come; False if they have not within so many seconds.

        Who waits and dies does not count any more, once its lease has expired. Raises LeaseExpired when this client's
        did meanwhile: then nobody knows whether the others went on. Raises SettingsDiffer where others wait for another
        number, NotDone, Unknown, Stopped, UsageError.
        """
        passed = await self._arrive(timeout)
        holding, self._holding = self._holding, None
        if holding is not None:
            self.hub.drop(holding)
        return passed


class DoubleBarrier(Barrier):
    """Clients that begin together and end together: ``enter`` waits for ``parties``, ``leave`` until all have left."""

    double = True

    async def enter(self, timeout: float | None = None) -> bool:
        """Wait until so many want to come in; False if they have not within so many seconds. Raises as ``wait``."""
        return await self._arrive(timeout)

    async def leave(self, timeout: float | None = None) -> bool:
        """Wait until all that came in want to leave, or are dead; False after so many seconds: then call it again.

        Raises LockLost when this client's lease expired meanwhile, and NotDone, Unknown, Stopped.
        """
        check_timeout(timeout)
        holding = self._holding
        self.check()
        assert holding is not None
        await self.hub.ask("depart", self.name, *holding.key)

        def probe(machine: Recipes) -> bool | None:
            if holding.grip.id not in machine.leases.by_id:
                raise LockLost(EXPIRED)
            return not machine.find(BARRIER, self.name).holds(holding.key) or None

        try:
            await self.hub.until([(BARRIER, self.name), ("lease", holding.grip.id)], probe, deadline_of(timeout))
        except TimeoutError:
            return False
        self._holding = None
        self.hub.drop(holding)
        return True
