"""Streams that a node pushes into and an application iterates over."""

from __future__ import annotations

import collections
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Stream(Generic[T]):
    """An iterator that ends when the node ends; if the node failed, with the exception that ended it.

    ``newest_only``: a slow consumer loses the oldest elements and the producer never waits (state
    changes). Otherwise nothing is lost and the producer waits when ``limit`` elements do (committed
    entries). May be consumed from any thread; several consumers share the elements.
    """

    def __init__(self, limit: int, newest_only: bool) -> None:
        self._items: collections.deque[T] = collections.deque()
        self._limit = limit
        self._newest_only = newest_only
        self._lock = threading.Condition()
        self._ended = False
        self._error: BaseException | None = None

    def push(self, item: T) -> bool:
        """Add an element; False when the stream has ended."""
        with self._lock:
            if self._newest_only:
                while len(self._items) >= self._limit:
                    self._items.popleft()
            else:
                while len(self._items) >= self._limit and not self._ended:
                    self._lock.wait()
            if self._ended:
                return False
            self._items.append(item)
            self._lock.notify_all()
            return True

    def end(self, error: BaseException | None = None) -> None:
        """No further element; consumers get what is left first."""
        with self._lock:
            if not self._ended:
                self._ended = True
                self._error = error
            self._lock.notify_all()

    def next(self, timeout: float | None = None) -> T:
        """The next element. Raises TimeoutError, StopIteration at the end, or what ended the node."""
        with self._lock:
            if not self._lock.wait_for(lambda: self._items or self._ended, timeout):
                raise TimeoutError("no element within the time")
            if self._items:
                item = self._items.popleft()
                self._lock.notify_all()
                return item
            if self._error is not None:
                raise self._error
            raise StopIteration

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return self.next()

    def __len__(self) -> int:
        return len(self._items)
