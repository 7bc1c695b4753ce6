"""Log lines that neither hurt nor hold up the thread that writes them. The only module that logs.

Logging is foreign code: a handler may raise, may not return, and its lock may be held by a thread that waits for a
node to close. So the threads of a node leave their lines to one that does nothing else; everybody else writes them at
once.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

logger = logging.getLogger("raftx")

#: level, text, values, error, and what programs get: event and fields
Line: TypeAlias = "tuple[int, str, tuple[Any, ...], BaseException | None, str, dict[str, Any]]"

LINES_KEPT = 1024  # that wait for a handler which does not return

_local = threading.local()


class _TakenOver:
    """Lines that take what a thread reports, from enter to exit. A worker enters one a round, so it is plain."""

    __slots__ = ("_before", "_lines")

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def __enter__(self) -> None:
        self._before: Lines | None = getattr(_local, "lines", None)
        _local.lines = self._lines

    def __exit__(self, *_: object) -> None:
        _local.lines = self._before


class Lines:
    """The lines that a node's threads have left: the oldest LINES_KEPT of those that have not been written."""

    def __init__(self) -> None:
        self._waiting: collections.deque[Line] = collections.deque()
        #: lines that came when too many waited, since the last one was written
        self.left_out = 0
        #: called after a line was left. Any thread, so it must not wait
        self.on_line: Callable[[], object] | None = None

    def taken_over(self) -> _TakenOver:
        """What the calling thread reports waits here, as long as this lasts."""
        return _TakenOver(self)

    def add(self, line: Line) -> None:
        """Leave a line. Any thread."""
        if len(self._waiting) >= LINES_KEPT:
            self.left_out += 1
        else:
            self._waiting.append(line)
        on_line = self.on_line
        if on_line is not None:
            on_line()

    def waiting(self) -> bool:
        """Whether there are some."""
        return bool(self._waiting)

    def write(self) -> None:
        """Write what waits."""
        while self._waiting:
            _write(*self._waiting.popleft())
        left_out, self.left_out = self.left_out, 0
        if left_out:
            text = "%d lines were left out here: a logging handler was too slow"
            _write(logging.WARNING, text, (left_out,), None, "", {})


def report(
    level: int, text: str, *values: Any, error: BaseException | None = None, event: str = "", **fields: Any
) -> None:
    """A line for the log, with the traceback of ``error``. Any thread; never raises.

    event, fields: for programs: ``raftx_event`` of the record, and ``raftx_fields``, a dict. Every record has both.
    """
    lines: Lines | None = getattr(_local, "lines", None)
    if lines is not None:
        lines.add((level, text, values, error, event, fields))
    else:
        _write(level, text, values, error, event, fields)


def _write(
    level: int, text: str, values: tuple[Any, ...], error: BaseException | None, event: str, fields: dict[str, Any]
) -> None:
    with contextlib.suppress(BaseException):  # a handler's own trouble, which has nowhere to go
        logger.log(level, text, *values, exc_info=error, extra={"raftx_event": event, "raftx_fields": fields})
