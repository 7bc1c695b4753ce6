"""Recipes for asyncio: ``Client(node)`` makes the same objects as that for threads, with coroutines as methods.

    async with raftx.recipes.aio.Client(node) as recipes:
        async with recipes.lock("printer") as lock:
            ...

A task that is cancelled while it waits gives back what it was given meanwhile. All objects of a client belong to one
event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .commands import LIMIT_MAX, check_int
from .held import (
    Barrier,
    DoubleBarrier,
    Election,
    Holder,
    Item,
    Lock,
    Lost,
    Party,
    ReadWriteLock,
    Semaphore,
    Side,
    Stream,
)
from .hub import TIMEOUT, TTL, Hub
from .kept import MAXSIZE, Allowance, Change, Contents, Counter, Dict, Queue, RateLimiter, Versioned, Watch
from .machine import Recipes

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
    "Holder",
    "Item",
    "Lock",
    "Lost",
    "Party",
    "Queue",
    "RateLimiter",
    "ReadWriteLock",
    "Semaphore",
    "Side",
    "Stream",
    "Versioned",
    "Watch",
]

OnLost = Callable[[], object]


class Client:
    """Makes objects by name. See ``raftx.recipes.Client``; ``on_lost`` is called in the event loop."""

    def __init__(
        self, node: Any, *, ttl: float = TTL, timeout: float = TIMEOUT, machine: Recipes | None = None
    ) -> None:
        self.hub = Hub(node, machine, ttl, timeout)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give everything back. What is held is lost; the client cannot be used any more."""
        await self.hub.close()

    def dict(self, name: str) -> Dict:
        """Values by key."""
        return Dict(self.hub, name)

    def counter(self, name: str) -> Counter:
        """A number."""
        return Counter(self.hub, name)

    def lock(self, name: str, value: Any = None, *, on_lost: OnLost | None = None) -> Lock:
        """A lock. value: what its holder says of itself."""
        return Lock(self.hub, name, 1, 1, value, in_loop(on_lost))

    def rwlock(self, name: str) -> ReadWriteLock:
        """Many readers or one writer."""
        return ReadWriteLock(self.hub, name, in_loop)

    def semaphore(self, name: str, limit: int, value: Any = None, *, on_lost: OnLost | None = None) -> Semaphore:
        """One of ``limit`` permits."""
        check_int(limit, "limit", 1, LIMIT_MAX)
        return Semaphore(self.hub, name, 1, limit, value, in_loop(on_lost))

    def election(self, name: str, value: Any = None, *, on_lost: OnLost | None = None) -> Election:
        """Who leads. value: what this candidate says of itself, its address, say."""
        return Election(self.hub, name, 1, 1, value, in_loop(on_lost))

    def queue(self, name: str, maxsize: int = MAXSIZE) -> Queue:
        """Work, to be done at least once."""
        return Queue(self.hub, name, maxsize, in_loop)

    def barrier(self, name: str, parties: int) -> Barrier:
        """Clients that wait for one another."""
        return Barrier(self.hub, name, parties)

    def double_barrier(self, name: str, parties: int, *, on_lost: OnLost | None = None) -> DoubleBarrier:
        """Clients that begin together and end together."""
        return DoubleBarrier(self.hub, name, parties, in_loop(on_lost))

    def party(self, name: str, value: Any = None, *, on_lost: OnLost | None = None) -> Party:
        """Who is there. value: what this member says of itself."""
        return Party(self.hub, name, value, in_loop(on_lost))

    def rate_limiter(self, name: str, rate: float, burst: int = 1) -> RateLimiter:
        """So many a second, for all clients together. rate: 0.000001..1000000; burst: 1..1000000, at once."""
        return RateLimiter(self.hub, name, rate, burst)


def in_loop(on_lost: OnLost | None) -> OnLost | None:
    """The same function, called in the event loop that runs now."""
    if on_lost is None or not callable(on_lost):
        return on_lost
    function = on_lost
    loop = asyncio.get_running_loop()
    return lambda: loop.call_soon_threadsafe(function)
