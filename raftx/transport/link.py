"""How the engine reaches a transport without the GIL: a frame out, a frame in.

``Link`` is the interface. ``QueueLink`` serves any transport written in Python: frames wait in two
queues that another thread, which may hold the GIL, empties and fills. Nothing here knows Raft.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from .._native.limits import Notes
from .._native.memory import Buffer, Spans
from .._native.threads import Event
from .protocol import ASK_PROVEN, ASK_REACH, ASK_RENEW
from .queues import FRAMES, IncomingQueue, OutgoingQueue

KNOWN = 64  # sources that are remembered as proven
FRAME_COST = 256  # bytes of memory that a waiting frame needs beside its own


class Link:
    """Frames to and from the other members. Used by the engine's thread alone."""

    if TYPE_CHECKING:
        data: Any
        size: int
        place: Any

    def __init__(self) -> None:
        self.notes = Notes()

    def prepare(self, to: int, size: int) -> bool:
        """Make ``place`` the memory for one frame to member ``to``; False when there is no way to it."""
        return False

    def refers(self) -> bool:
        """Whether a frame may be sent in part from where it lies: ``prepare_lean``, then ``refer``."""
        return False

    def prepare_lean(self, to: int, size: int, copied: int) -> bool:
        """Make ``place`` the memory for ``copied`` bytes of a frame of ``size``; ``refer`` brings the others."""
        return False

    def refer(self, at: int, spans: Spans) -> int:
        """These are part of the prepared frame, behind so many of its bytes in ``place``, in their order.

        They are emptied, and what they were is held until it has been sent.
        """
        return 0

    def send(self) -> int:
        """Send the prepared frame; 0, or a number when it was dropped."""
        return 1

    def waiting(self) -> bool:
        """Whether ``next`` would find a frame."""
        return False

    def next(self) -> bool:
        """Make the next received frame the present one (``data``, ``size``) until the next call."""
        return False

    def member(self) -> int:
        """The member that the connection of the present frame is known to belong to; 0 when nothing vouches for one."""
        return 0

    def refusal(self) -> int:
        """Why the present frame may not be looked at, as the codec's reasons are counted; 0 when it may."""
        return 0

    def proven(self) -> int:
        """The present frame is valid: where it came from is no stranger."""
        return 0

    def fresh(self) -> int:
        """A member to which a connection was established since the last call, 0 for none.

        Its first frame should be a small one, so that the member soon knows which one has connected.
        """
        return 0

    def note(self, kind: int, id: int, detail: int) -> int:
        """Something that people should hear of (``_native.limits.NOTE_...``)."""
        self.notes.put(kind, id, detail)
        return 0

    def renew(self, to: int) -> int:
        """The connection to this member is of no use any more: end it and dial again."""
        return 0

    def heard(self, id: int) -> int:
        """A frame has come from this member: if there is no connection to it, it is worth an attempt now."""
        return 0

    def reach(self, to: int) -> int:
        """This member has just connected: an attempt to reach it that began before is as good as lost."""
        return 0

    def wait(self, event: Event, timeout: int, hungry: bool) -> int:
        """Sleep until the event is woken, or for so many nanoseconds (below 0: no limit).

        A link with connections of its own also ends the sleep for what they need and, if ``hungry``, for a frame.
        """
        event.wait(timeout)
        return 0

    def look(self, hungry: bool) -> bool:
        """Whether ``wait`` would end at once for what a link's own connections need; False for a link without any."""
        return False

    def collect(self) -> int:
        """See to the connections, if they are this thread's to see to. Before ``next``; waits for nothing."""
        return 0

    def flush(self) -> int:
        """Nothing more is sent for now: what has been sent since the last call leaves."""
        return 0


class QueueLink(Link):
    """Frames through two queues. ``limit`` bytes may wait in each direction, FRAME_COST a frame included.

    So may ``frames`` frames. More is dropped. ``notes``: those of the transport, if it has some.
    """

    def __init__(
        self, event: Event, outgoing_event: Event, limit: int, notes: Notes | None = None, frames: int = FRAMES
    ) -> None:
        self.notes = Notes() if notes is None else notes
        self.incoming = IncomingQueue(event, frames)
        self.outgoing = OutgoingQueue(outgoing_event, frames)
        self.limit = limit
        self.buffer = Buffer()
        self.spans = Spans()
        self.cursor = 0
        self.to = 0
        self.dropped = 0
        self.refused = 0
        self.nothing = Spans()
        self.known = array("Q", bytes(8 * KNOWN))

    def prepare(self, to: int, size: int) -> bool:
        self.to = to
        self.buffer.clear()
        self.buffer.fill(size)
        self.place = self.buffer.data
        return True

    def send(self) -> int:
        if self.outgoing.backlog() + self.buffer.size + FRAME_COST * self.outgoing.pending > self.limit:
            self.dropped += 1
            return 1
        self.spans.push_copy(self.buffer.data, self.buffer.size, self.to, 1)
        if self.outgoing.put_frame(self.spans, self.to) != 0:
            self.spans.clear()
            self.dropped += 1
            return 1
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

    def member(self) -> int:
        return self.incoming.member(self.cursor - 1)

    def proven(self) -> int:
        source = self.incoming.source(self.cursor - 1)
        if source and self.known[source % KNOWN] != source:
            # Without room it is told with the next frame that comes from there.
            if self.outgoing.put_ask(self.nothing, ASK_PROVEN, source) == 0:
                self.known[source % KNOWN] = source
        return 0

    def renew(self, to: int) -> int:
        self.outgoing.put_ask(self.nothing, ASK_RENEW, to)
        return 0

    def reach(self, to: int) -> int:
        self.outgoing.put_ask(self.nothing, ASK_REACH, to)
        return 0

    # For the other side, with the GIL.

    def deliver(self, frame: bytes | bytearray | memoryview, source: int = 0, member: int = 0) -> bool:
        """Give a received frame to the engine; dropped when too many wait. Any thread. Raises TypeError.

        source: a number of the connection it came over, if the transport wants to know which are proven. member: whose
        connection that is, if the transport has seen to it; a frame of another sender is dropped.
        """
        if not isinstance(frame, (bytes, bytearray, memoryview)):
            raise TypeError(f"a frame must be bytes, not {type(frame).__name__}")
        size = frame.nbytes if isinstance(frame, memoryview) else len(frame)
        waiting = self.incoming.py_backlog() + FRAME_COST * (self.incoming.pending + self.incoming.taken.count)
        if waiting + size > self.limit:
            self.refused += 1
            return False
        spans = Spans()
        spans.py_push(frame, 0, 1)
        if not self.incoming.py_put_frame(spans, source, member):
            self.refused += 1
            return False
        return True
