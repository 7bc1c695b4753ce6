"""Event loops of both kinds, and a node for asyncio over memory. Not a test."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable
from types import ModuleType
from typing import Any

import uvloop

from tests.helpers.cluster import Machine
from tests.helpers.implementations import module
from tests.helpers.waiting import WAIT

KINDS = ("asyncio", "uvloop")


class Loops:
    """Runs coroutines, each in a loop of its own, as ``asyncio.run`` does; what loops complain of is in ``told``."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.told: list[dict[str, Any]] = []

    def made(self) -> asyncio.AbstractEventLoop:
        loop = uvloop.new_event_loop() if self.kind == "uvloop" else asyncio.new_event_loop()
        loop.set_exception_handler(lambda _, context: self.told.append(context))
        return loop

    def run(self, main: Awaitable[Any]) -> Any:
        """The result, within a time; tasks that are left are cancelled, and the loop is closed."""
        loop = self.made()
        try:
            return loop.run_until_complete(asyncio.wait_for(main, 2 * WAIT))
        finally:
            try:
                loop.run_until_complete(_end(asyncio.all_tasks(loop)))
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.run_until_complete(loop.shutdown_default_executor())
            finally:
                loop.close()
                gc.collect()


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def alone(impl: ModuleType, machine: Any = None, storage: Any = None, **settings: Any) -> Any:
    """A node for asyncio that is a cluster by itself, not started."""
    return impl.aio.Node(
        impl.Config(id=1, **{"seed": 1, **settings}),
        storage if storage is not None else module(impl, "storage.memory").MemoryStorage(voters=[1]),
        module(impl, "transport.memory").MemoryNetwork(seed=1).transport(),
        machine if machine is not None else Machine(),
    )


async def leads(node: Any) -> None:
    """Let it lead now: it may be held up for as long as its election timeout is, and leads on."""
    await node.campaign()
    assert await node.wait_ready(WAIT) == node.id
