"""Locks, queues, elections and the like, replicated: what services build on a cluster, ready to use::

    import raftx.recipes

    node = raftx.Node(config, storage, transport, raftx.recipes.Recipes()).start()
    recipes = raftx.recipes.Client(node)
    with recipes.lock("printer") as lock:
        recipes.dict("jobs").set("current", 7, fence=lock.token)

``Recipes`` is the state machine, ``Client`` is for threads, ``aio.Client`` for asyncio. docs/recipes.md says what each
object guarantees. This file holds the public names and the client for threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import aio
from .blocking import (
    Barrier,
    Counter,
    Dict,
    DoubleBarrier,
    Election,
    Item,
    Lock,
    Lost,
    Party,
    Queue,
    RateLimiter,
    ReadWriteLock,
    Stream,
    Watch,
)
from .errors import (
    FellBehind,
    Full,
    LeaseExpired,
    LockLost,
    Malformed,
    OutOfRange,
    RecipeError,
    SettingsDiffer,
    TokenRefused,
    VersionDiffers,
)
from .held import Holder
from .hub import TIMEOUT, TTL, Hub
from .kept import MAXSIZE, Allowance, Change, Contents, Versioned
from .machine import Recipes
from .waits import run

__all__ = [
    "Allowance",
    "Barrier",
    "Change",
    "Client",
    "Contents",
    "Counter",
    "Dict",
    "DoubleBarrier",
    "Election",
    "FellBehind",
    "Full",
    "Holder",
    "Item",
    "LeaseExpired",
    "Lock",
    "LockLost",
    "Lost",
    "Malformed",
    "OutOfRange",
    "Party",
    "Queue",
    "RateLimiter",
    "ReadWriteLock",
    "RecipeError",
    "Recipes",
    "SettingsDiffer",
    "Stream",
    "TokenRefused",
    "VersionDiffers",
    "Versioned",
    "Watch",
    "aio",
]

OnLost = Callable[[], object]


class Client:
    """Makes objects by name, for threads. All that it holds stands under one lease.

    node: a started ``raftx.Node`` whose state machine is a ``Recipes``. ttl: seconds, 0.1..86400, after which others
    get what this client holds when it is not heard of any more; it counts it as lost after two thirds of that. timeout:
    seconds that the cluster has for an answer. machine: the ``Recipes``, where the node's state machine is something
    around it. ``on_lost`` of an object is called, on the client's thread, when what it holds is lost. Any thread may
    use a client and its objects, but no signal handler; an object stands for one holder. Raises UsageError,
    ConfigError.
    """

    def __init__(
        self, node: Any, *, ttl: float = TTL, timeout: float = TIMEOUT, machine: Recipes | None = None
    ) -> None:
        self._aio = aio.Client(node, ttl=ttl, timeout=timeout, machine=machine)
        self.hub: Hub = self._aio.hub

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give everything back. What is held is lost; the client cannot be used any more."""
        run(self._aio.close())

    def dict(self, name: str) -> Dict:
        """Values by key."""
        return Dict(self._aio.dict(name))

    def counter(self, name: str) -> Counter:
        """A number."""
        return Counter(self._aio.counter(name))

    def lock(self, name: str, value: Any = None, *, on_lost: OnLost | None = None) -> Lock:
        """A lock. value: what its holder says of itself."""
        return Lock(aio.Lock(self.hub, name, 1, 1, value, on_lost))

    def rwlock(self, name: str) -> ReadWriteLock:
        """Many readers or one writer."""
        return ReadWriteLock(aio.ReadWriteLock(self.hub, name))

    def semaphore(self, name: str, limit: int, value: Any = None, *, on_lost: OnLost | None = None) -> Lock:
        """One of ``limit`` permits."""
        made = self._aio.semaphore(name, limit, value)
        made.on_lost = on_lost
        return Lock(made)

    def election(self, name: str, value: Any = None, *, on_lost: OnLost | None = None) -> Election:
        """Who leads. value: what this candidate says of itself, its address, say."""
        return Election(aio.Election(self.hub, name, 1, 1, value, on_lost))

    def queue(self, name: str, maxsize: int = MAXSIZE) -> Queue:
        """Work, to be done at least once."""
        return Queue(aio.Queue(self.hub, name, maxsize))

    def barrier(self, name: str, parties: int) -> Barrier:
        """Clients that wait for one another."""
        return Barrier(self._aio.barrier(name, parties))

    def double_barrier(self, name: str, parties: int, *, on_lost: OnLost | None = None) -> DoubleBarrier:
        """Clients that begin together and end together."""
        return DoubleBarrier(aio.DoubleBarrier(self.hub, name, parties, on_lost))

    def party(self, name: str, value: Any = None, *, on_lost: OnLost | None = None) -> Party:
        """Who is there. value: what this member says of itself."""
        return Party(aio.Party(self.hub, name, value, on_lost))

    def rate_limiter(self, name: str, rate: float, burst: int = 1) -> RateLimiter:
        """So many a second, for all clients together. rate: 0.000001..1000000; burst: 1..1000000, at once."""
        return RateLimiter(self._aio.rate_limiter(name, rate, burst))
