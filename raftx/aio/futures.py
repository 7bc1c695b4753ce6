"""Outcomes as asyncio's futures, brought to their loop many at a time. In the loop alone; no threads here."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from ..node.futures import Future as NodeFuture
from ..node.futures import Post

T = TypeVar("T")


class Future(asyncio.Future[T]):
    """The outcome of one request: an ``asyncio.Future``, for ``await``, ``gather``, ``wait``, ``shield`` and the rest.

    It ends with a result, NotDone, Unknown or whatever its method says. Cancelling it stops the waiting: what was
    proposed may still be applied, and its outcome is dropped without a word. Cancelling a change of membership ends
    the work at it.
    """

    def __init__(self, ended: NodeFuture[T], *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._of_node = ended

    @property
    def progress(self) -> Any:
        """Of a change of membership: how far it has come, a ChangeProgress; None for everything else."""
        return self._of_node.progress

    def cancel(self, msg: Any | None = None) -> bool:
        """Stop waiting. False when it has ended already. Does not take a proposal back."""
        if not super().cancel(msg):
            return False
        self._of_node.cancel()
        return True


class Mail:
    """What the threads of one node have for one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._post = Post(loop, self._fetch)

    def future(self, ended: NodeFuture[T]) -> Future[T]:
        """A future of the loop's that ends as this one does. In the loop."""
        made = Future(ended, loop=self.loop)
        if not ended.post_to(self._post, made):
            _end(ended)
        return made

    def _fetch(self) -> None:
        for ended in self._post.take():
            _end(ended)


def _end(ended: NodeFuture[Any]) -> None:
    """End the loop's future as the node's has ended, unless it has: it was cancelled, or came twice."""
    future, ended.waiter = ended.waiter, None
    if future is None or future.done():
        return
    if ended.cancelled():
        future.cancel()
        return
    error = ended.exception(0)
    if error is None:
        future.set_result(ended.result(0))
    else:
        future.set_exception(error)
