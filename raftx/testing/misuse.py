"""Mistakes that compiled code trusts its callers not to make: each function passes its arguments on, unlooked at.

For the test of what a debug build and the interpreted package make of them (``_native/check.h``). In any other compiled
build an index out of range is as undefined as in C: do not call them there.
"""

from __future__ import annotations

from .. import _core
from .._core import EntryLog, Inflights
from .._native.memory import Buffer, Spans
from .._native.outbox import Outbox
from .._native.threads import Cells, Handoff, ProposalQueue
from ..consensus.raft import Raft
from ..consensus.tracker import Tracker


def word(buffer: Buffer, offset: int) -> int:
    """Eight bytes of a buffer."""
    return buffer.get_u64(offset)


def checksum(buffer: Buffer, offset: int, size: int) -> int:
    """Of a part of a buffer."""
    return buffer.crc(offset, size)


def span_size(spans: Spans, span: int) -> int:
    """Bytes of one span."""
    return spans.size_at(span)


def row_kind(box: Outbox, row: int) -> int:
    """Kind of a row."""
    return box.kind_at(row)


def share_row(box: Outbox, other: Outbox, row: int) -> None:
    """The newest row of a box gets the body of another's."""
    box.share_body(other, row)


def cell(cells: Cells, number: int) -> int:
    """One cell."""
    return cells.get(number)


def handed_over(handoff: Handoff, row: int, column: int) -> int:
    """One number of a row that was taken."""
    return handoff.at(row, column)


def consume(queue: ProposalQueue, size: int) -> None:
    """So many bytes of those that were taken are used."""
    queue.consume(size, 1)


def limit(log: EntryLog, low: int, high: int) -> int:
    """How many records fit from ``low`` on."""
    return log.limit(low, high, 1)


def window(inflights: Inflights, slot: int) -> bool:
    """Whether the window of a slot is full."""
    return inflights.full(slot)


def add_to_window(inflights: Inflights, slot: int) -> None:
    """Something is under way to the member in a slot."""
    inflights.add(slot, 1, 1)


def mask(slot: int) -> int:
    """A slot's bit."""
    return _core.bit(slot)


def progress(tracker: Tracker, slot: int) -> bool:
    """Whether the member in a slot is worth to be told of a commit index."""
    return tracker.can_bump_commit(slot, 1)


def match_beyond_next(tracker: Tracker, slot: int) -> None:
    """A member has acknowledged what was not sent to it."""
    tracker.peers.match[slot] = tracker.peers.next[slot]
    tracker.look_at(slot)


def applied_beyond_committed(raft: Raft) -> None:
    """The state machine has what is not committed."""
    raft.applied = raft.applying = raft.committed + 1
    raft.look_at_marks()
