"""How coroutines wait for what threads do: for a Bell of the node's, and for a call that takes long."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from ..node.events import Bell

T = TypeVar("T")


class _Sleeper:
    """A coroutine that a Bell wakes."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.woken: asyncio.Future[None] = self._loop.create_future()

    def release(self) -> None:
        """Wake it. Any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody sleeps in it
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self.woken.done():
            self.woken.set_result(None)


def deadline_of(timeout: float | None) -> float | None:
    """When a time to wait is over, by the loop's clock."""
    return None if timeout is None else asyncio.get_running_loop().time() + timeout


def rest_of(deadline: float | None) -> float | None:
    """How much of it is left."""
    return None if deadline is None else max(0.0, deadline - asyncio.get_running_loop().time())


async def wait_for(bell: Bell, ready: Callable[[], object], timeout: float | None = None) -> bool:
    """Wait until ``ready()``; False after ``timeout`` seconds. ``ready`` is asked again after each ring."""
    deadline = deadline_of(timeout)
    while not ready():
        sleeper = _Sleeper()
        # A thread makes it true before it rings. Being there first and asking then, we miss nothing.
        bell.add(sleeper)
        try:
            if ready():
                return True
            rest = rest_of(deadline)
            if rest is not None and rest <= 0:
                return False
            await asyncio.wait([sleeper.woken], timeout=rest)
        finally:
            bell.remove(sleeper)
    return True


def in_thread(call: Callable[[], T], name: str) -> asyncio.Future[T]:
    """Make a call on a thread of its own; a future of what it returns, or raises. Cancelling it ends the waiting.

    Not in the loop's executor: that may be full, and ``asyncio.run`` would wait for it. Raises RuntimeError when the
    system has no thread left.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(end: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(lambda: future.done() or end())

    def run() -> None:
        try:
            result = call()
        except BaseException as error:
            raised = error
            tell(lambda: future.set_exception(raised))
        else:
            tell(lambda: future.set_result(result))

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


async def finished(future: asyncio.Future[T]) -> T:
    """Wait for something that must not be left half done: a cancellation meanwhile is raised when it has ended."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled from future.exception()
    return future.result()
