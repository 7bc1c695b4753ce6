"""What passes between an engine and whoever writes for it: a queue of writes, and how far they have come."""

from __future__ import annotations

from .._native.memory import Spans
from .._native.threads import Cells, Handoff

WRITES = 256  # that may wait; an engine begins no further one then
BASES = 16  # of a log that may wait
IN_DOUBT = 1  # bit of the flags

# What sleepers look at before they sleep: these have cells, which order what is written before them.
CELL_DONE = 0
CELL_ERROR = 1
CELL_FULL = 2
CELL_ROOM = 3
CELL_LAST_ROOM = 4


class WriteQueue(Handoff):
    """Writes, each with its number (from 1 on), a hard state, and entry records in its spans.

    A span that is the record of a snapshot (ENTRY_SNAPSHOT) says that the log begins anew behind that snapshot: every
    entry in it or before it is void, and with the write it becomes durable in one step.

    One writer takes them all at once: the state of the last one holds for all, their spans stand in order in
    ``taken``. The end comes after the last write (``end``).
    """

    def put_write(self, spans: Spans, number: int, term: int, vote: int, commit: int, in_doubt: bool) -> int:
        """Hand over a write; 0, or 1 when the queue is full and nothing has moved."""
        return self.put(spans, number, term, vote, commit, IN_DOUBT if in_doubt else 0, 0, 0, 0)

    def number(self, row: int) -> int:
        """Which write it is."""
        return self.at(row, 0)

    def term(self, row: int) -> int:
        return self.at(row, 1)

    def vote(self, row: int) -> int:
        return self.at(row, 2)

    def commit(self, row: int) -> int:
        return self.at(row, 3)

    def in_doubt(self, row: int) -> bool:
        return self.at(row, 4) & IN_DOUBT != 0

    # For Python.

    def py_put_write(
        self, spans: Spans | None, number: int, term: int, vote: int, commit: int, in_doubt: bool = False
    ) -> bool:
        """Hand over a write; False when the queue is full and nothing has moved."""
        return self.py_put(spans, number, term, vote, commit, IN_DOUBT if in_doubt else 0)

    def py_write(self, row: int) -> tuple[int, int, int, int, bool]:
        """Number, term, vote, commit and doubt of a row that was taken. Raises IndexError."""
        number, term, vote, commit, flags = [self.py_at(row, column) for column in range(5)]
        return number, term, vote, commit, flags & IN_DOUBT != 0


class BaseQueue(Handoff):
    """Bases that moved on: each with the header of a segment that says so, one span."""

    def base(self, row: int) -> int:
        """Entries up to this index are not needed any more."""
        return self.at(row, 0)

    def py_put_base(self, head: bytes, base: int) -> bool:
        """Hand over a header; False when the queue is full."""
        spans = Spans()
        spans.py_push(head)
        return self.py_put(spans, base)


class DiskGauges:
    """What the writer publishes. It alone writes, everybody reads.

    ``done`` and ``error`` are looked at by an engine between announcing sleep and sleeping.
    """

    def __init__(self) -> None:
        self.woken = Cells()
        self.syncs = 0
        #: bytes that were written, padding included, and entries
        self.written = self.entries = 0
        #: spent in syncs, in all
        self.sync_ns = 0
        #: 0, or the errno of what the writer waits for or will need soon: descriptors, memory, room
        self.shortage = 0
        #: how often the thread was woken, and found nothing to do
        self.wakeups = self.wakeups_idle = 0

    def durable(self) -> int:
        """``done`` without the GIL."""
        return self.woken.get(CELL_DONE)

    def failure(self) -> int:
        """``error`` without the GIL."""
        return self.woken.get(CELL_ERROR)

    def set_durable(self, number: int) -> None:
        """Everything up to this write is durable."""
        self.woken.set(CELL_DONE, number)

    def set_failure(self, code: int) -> None:
        """Nothing is written any more."""
        self.woken.set(CELL_ERROR, code)

    def full(self) -> int:
        """0, or the errno for which there will be no room once the open segment has none; ROOM_UNKNOWN.

        Always 0 where there are no segments.
        """
        return self.woken.get(CELL_FULL)

    def room(self) -> int:
        """Bytes that writes with entries may still have in the open segment, each padded to whole blocks."""
        return self.woken.get(CELL_ROOM)

    def last_room(self) -> int:
        """The same for writes of one block, which may go on a little longer."""
        return self.woken.get(CELL_LAST_ROOM)

    def set_room(self, full: int, room: int, last_room: int) -> None:
        """What these three say. Before ``set_durable``: who knows of a write knows at least what room it has left."""
        self.woken.set(CELL_ROOM, room)
        self.woken.set(CELL_LAST_ROOM, last_room)
        self.woken.set(CELL_FULL, full)

    def py_room(self) -> tuple[int, int, int]:
        """``full``, ``room`` and ``last_room`` for Python."""
        return self.woken[CELL_FULL], self.woken[CELL_ROOM], self.woken[CELL_LAST_ROOM]

    @property
    def done(self) -> int:
        """Number of the last durable write."""
        return self.woken[CELL_DONE]

    @done.setter
    def done(self, number: int) -> None:
        self.woken[CELL_DONE] = number

    @property
    def error(self) -> int:
        """0, or errno | operation << 32: 1 write, 2 sync, 3 zero fill, 4 new segment, 5 mark, 6 directory."""
        return self.woken[CELL_ERROR]

    @error.setter
    def error(self, code: int) -> None:
        self.woken[CELL_ERROR] = code
