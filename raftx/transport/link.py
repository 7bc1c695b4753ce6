"""How the engine reaches a transport without the GIL: a frame out, a frame in.

``Link`` is the interface. ``QueueLink`` serves any transport written in Python: frames wait in two
queues that another thread, which may hold the GIL, empties and fills. Nothing here knows Raft.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._memory import Buffer, Spans
from .._sys import Event, Handoff


class Link:
    """Frames to and from the other members. Used by the engine's thread alone."""

    if TYPE_CHECKING:
        data: Any
        size: int
        place: Any

    def prepare(self, to: int, size: int) -> bool:
        """Make ``place`` the memory for one frame to member ``to``; False when there is no way to it."""
        return False

    def send(self) -> int:
        """Send the prepared frame; 0, or a number when it was dropped."""
        return 1

    def waiting(self) -> bool:
        """Whether ``next`` would find a frame."""
        return False

    def next(self) -> bool:
        """Make the next received frame the present one (``data``, ``size``) until the next call."""
        return False


class QueueLink(Link):
    """Frames through two queues. ``limit`` bytes may wait in each direction; more is dropped."""

    def __init__(self, event: Event, outgoing_event: Event, limit: int) -> None:
        self.incoming = Handoff(event)
        self.outgoing = Handoff(outgoing_event)
        self.limit = limit
        self.buffer = Buffer()
        self.spans = Spans()
        self.cursor = 0
        self.to = 0
        self.dropped = 0

    def prepare(self, to: int, size: int) -> bool:
        self.to = to
        self.buffer.clear()
        self.buffer.fill(size)
        self.place = self.buffer.data
        return True

    def send(self) -> int:
        if self.outgoing.backlog() + self.buffer.size > self.limit:
            self.dropped += 1
            return 1
        self.spans.push_copy(self.buffer.data, self.buffer.size, self.to, 1)
        self.outgoing.put(self.spans, self.to, 0, 0, 0, 0, 0, 0, 0)
        return 0

    def waiting(self) -> bool:
        return self.incoming.waiting() or self.cursor < self.incoming.taken.count

    def next(self) -> bool:
        if self.cursor >= self.incoming.taken.count:
            self.cursor = 0
            if self.incoming.take() == 0:
                return False
        self.data = self.incoming.taken.data_at(self.cursor)
        self.size = self.incoming.taken.size_at(self.cursor)
        self.cursor += 1
        return True

    # For the other side, with the GIL.

    def deliver(self, frame: bytes) -> bool:
        """Give a received frame to the engine; dropped when too many wait. Any thread. Raises TypeError."""
        if not isinstance(frame, (bytes, bytearray, memoryview)):
            raise TypeError(f"a frame must be bytes, not {type(frame).__name__}")
        size = frame.nbytes if isinstance(frame, memoryview) else len(frame)
        if self.incoming.py_backlog() + size > self.limit:
            return False
        spans = Spans()
        spans.py_push(frame, 0, 1)
        self.incoming.py_put(spans)
        return True
