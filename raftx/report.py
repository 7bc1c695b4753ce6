"""Log lines that neither hurt nor hold up the thread that writes them. The only module that logs.

Logging is foreign code: a handler may raise, may not return, and its lock may be held by a thread that waits for a
node to close. So the threads of a node leave their lines to its watch thread; everybody else writes them at once.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any, TypeAlias

logger = logging.getLogger("raftx")

Line: TypeAlias = "tuple[int, str, tuple[Any, ...], BaseException | None]"

_local = threading.local()


class Lines:
    """The lines that a node's threads have left."""

    def __init__(self) -> None:
        self._waiting: collections.deque[Line] = collections.deque()

    @contextlib.contextmanager
    def taken_over(self) -> Iterator[None]:
        """What the calling thread reports waits here, as long as this lasts."""
        before = getattr(_local, "lines", None)
        _local.lines = self
        try:
            yield
        finally:
            _local.lines = before

    def add(self, line: Line) -> None:
        """Leave a line. Any thread."""
        self._waiting.append(line)

    def write(self) -> None:
        """Write what waits."""
        while self._waiting:
            _write(*self._waiting.popleft())


def report(level: int, text: str, *values: Any, error: BaseException | None = None) -> None:
    """A line for the log, with the traceback of ``error``. Any thread; never raises."""
    lines: Lines | None = getattr(_local, "lines", None)
    if lines is not None:
        lines.add((level, text, values, error))
    else:
        _write(level, text, values, error)


def _write(level: int, text: str, values: tuple[Any, ...], error: BaseException | None) -> None:
    with contextlib.suppress(BaseException):  # a handler's own trouble, which has nowhere to go
        logger.log(level, text, *values, exc_info=error)
