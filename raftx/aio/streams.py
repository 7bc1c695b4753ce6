"""Streams of a node as ``async for``. No thread waits for an element; what is read is the node's own stream."""

from __future__ import annotations

from typing import Generic, TypeVar

from ..node.events import Consumer
from ..node.events import Stream as NodeStream
from ..types import check_timeout
from .waiting import wait_for

T = TypeVar("T")


class Stream(Generic[T]):
    """Elements as they come: ``async for element in stream``. It ends with the node, with what ended it if it failed.

    How many are kept for a slow reader, and who shares them, its method of Node says.
    """

    def __init__(self, of_node: Consumer[T] | NodeStream[T]) -> None:
        self._of_node = of_node

    @property
    def lost(self) -> int:
        """Elements that were gone before this reader came to them."""
        return self._of_node.lost

    def __len__(self) -> int:
        return len(self._of_node)

    def __aiter__(self) -> Stream[T]:
        return self

    async def __anext__(self) -> T:
        return await self.next()

    async def next(self, timeout: float | None = None) -> T:
        """The next element, within ``timeout`` seconds.

        Raises TimeoutError, StopAsyncIteration at the end, or what ended the node; UsageError for what is no time, and
        in a loop that runs on a thread of the node, or in a forked child, where it would wait for ever. Cancelling
        takes no element.
        """
        check_timeout(timeout)
        if (timeout is None or timeout > 0) and not self._of_node.is_ready():
            self._of_node.check_wait()
        if not await wait_for(self._of_node.bell, self._of_node.is_ready, timeout):
            raise TimeoutError("no element within the time")
        # Nobody else has run between that and this: unless the node's stream is read elsewhere, too, there is one.
        try:
            return self._of_node.next(0)
        except StopIteration:
            raise StopAsyncIteration from None
