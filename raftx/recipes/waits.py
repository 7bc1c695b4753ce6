"""Waiting that threads and asyncio share: what recipes do is written once, as coroutines that await a ``Wait``.

``run`` lets a coroutine go on in the calling thread, which waits itself; an event loop does the same with its own
means.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

from ..node.futures import Future

T = TypeVar("T")

_driven = threading.local()


class Wait(Generic[T]):
    """The end of a future, to be awaited. Raises TimeoutError at ``deadline`` (of time.monotonic; None: never)."""

    def __init__(self, future: Future[T], deadline: float | None = None) -> None:
        self.future = future
        self.deadline = deadline

    def left(self) -> float | None:
        """Seconds until the deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def __await__(self) -> Generator[Any, Any, T]:
        if getattr(_driven, "by_run", False):
            value: T = yield self
            return value
        left = self.left()
        if self.future.done() or left == 0.0:
            return self.future.result(0)
        if left is None:
            return (yield from self.future.__await__())
        try:
            return (yield from asyncio.wait_for(_end_of(self.future), left).__await__())
        except asyncio.TimeoutError:
            raise TimeoutError from None


async def _end_of(future: Future[T]) -> T:
    return await future


def run(steps: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns, or raises; this thread waits for whatever it waits for."""
    value: Any = None
    error: BaseException | None = None
    while True:
        before = getattr(_driven, "by_run", False)
        _driven.by_run = True
        try:
            wait = steps.send(value) if error is None else steps.throw(error)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            _driven.by_run = before
        value = error = None
        try:
            value = wait.future.result(wait.left())
        except BaseException as raised:
            error = raised


def deadline_of(timeout: float | None) -> float | None:
    """When a time to wait is over."""
    return None if timeout is None else time.monotonic() + max(0.0, timeout)


async def pause(seconds: float) -> None:
    """Let so much time pass."""
    nothing: Future[None] = Future()
    with contextlib.suppress(TimeoutError):
        await Wait(nothing, deadline_of(seconds))
