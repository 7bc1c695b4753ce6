"""The driver of a Raft: its next write, what may be sent, what is to be applied, and what completions do to it.

Every Raft is run through this class: by the engine of a node, by ``RawNode`` for programs that drive the core
themselves, and by the loops that measure it. It moves bytes and messages between the core and its caller; nothing
is written, sent or applied here, and nothing waits. One caller at a time.

There are two ways to use it. ``next_write``, ``write_done``, ``next_apply`` and ``apply_done`` keep account of what is
under way: messages wait in ``held`` for their write and come to ``out``. A caller that keeps account
itself (a ``Ready`` and the responses that go with it) takes the same steps one by one: ``plan_write``,
``accept_write``, ``plan_apply``, ``accept_apply``.
"""

from __future__ import annotations

from array import array

from .._native import checks
from .._native.memory import Spans
from .._native.outbox import Message, Outbox
from ..types import MSG_STORAGE_APPEND_RESP
from . import release
from .raft import Raft

APPLIES = 64  # batches that may be with the state machine at once; a power of two


class Driver:
    """``raft``: the core, in the state that its storage holds; everything that changes from now on is to be written.

    The members ``write_...`` describe the write that ``plan_write`` has found, ``apply_...`` likewise (``apply_bytes``
    is of ``plan_apply`` alone).
    """

    def __init__(self, raft: Raft) -> None:
        self.raft = raft
        #: what may be sent now
        self.out = Outbox()
        #: what waits for a write, in the order of writes
        self.held = Outbox()
        self.scratch = Message()
        #: Invariant: durable <= number; the last write that was handed over, and the last one that is durable
        self.number = self.durable = 0
        #: what the storage was handed last
        self.handed_term = raft.term
        self.handed_vote = raft.vote
        self.handed_commit = raft.committed
        self.handed_in_doubt = raft.in_doubt
        #: a commit index that is to be written although it alone needs no write, as that of a change of membership
        self.wanted_commit = 0
        #: entries low .. high are new; none when high is below low
        self.write_low, self.write_high = 1, 0
        self.write_term = self.write_vote = self.write_commit = 0
        self.write_in_doubt = False
        #: a restored snapshot is to be written before the entries
        self.write_snapshot = False
        #: entries, term, vote or doubt have changed: the commit index alone needs no sync
        self.write_sync = False
        #: where the log ends, when that is not known to be durable, and its term there; else 0, and the term is any
        self.write_stable, self.write_stable_term = 0, 0
        self.apply_low, self.apply_high = 1, 0
        self.apply_bytes = 0
        #: batches that are with the state machine, a ring: last index and bytes of each
        self.high_at = array("Q", bytes(8 * APPLIES))
        self.bytes_at = array("Q", bytes(8 * APPLIES))
        #: Invariant: first <= end <= first + APPLIES
        self.applies_first = self.applies_end = 0
        #: the index before the first of those batches
        self.applies_after = 0

    # --- step by step ------------------------------------------------------------------------------

    def must_write(self) -> bool:
        """Whether there is something to write: the commit index alone rides along with what else comes."""
        return (
            self.raft.log.last > self.raft.writing
            or self.raft.term != self.handed_term
            or self.raft.vote != self.handed_vote
            or self.raft.in_doubt != self.handed_in_doubt
            or self.wanted_commit > self.handed_commit
            or (self.raft.pending_snapshot != 0 and not self.raft.snapshot_writing)
        )

    def plan_write(self) -> bool:
        """Look at what is to be written. False: nothing must be, as ``must_write`` says it."""
        low, high = self.raft.writing + 1, self.raft.log.last
        self.write_low, self.write_high = low, high
        self.write_term = self.raft.term
        self.write_vote = self.raft.vote
        self.write_commit = self.raft.committed
        self.write_in_doubt = self.raft.in_doubt
        self.write_snapshot = self.raft.pending_snapshot != 0 and not self.raft.snapshot_writing
        self.write_sync = (
            high >= low
            or self.raft.term != self.handed_term
            or self.raft.vote != self.handed_vote
            or self.raft.in_doubt != self.handed_in_doubt
            or self.wanted_commit > self.handed_commit
        )
        self.write_stable = 0
        if self.raft.stable < high:
            self.write_stable = high
            self.write_stable_term = self.raft.log.last_term()
        return self.write_sync or self.write_snapshot

    def hard_state_changed(self) -> bool:
        """Whether term, vote, commit index or doubt are not what the storage was handed last."""
        return (
            self.raft.term != self.handed_term
            or self.raft.vote != self.handed_vote
            or self.raft.committed != self.handed_commit
            or self.raft.in_doubt != self.handed_in_doubt
        )

    def accept_write(self) -> int:
        """What ``plan_write`` found is handed over: it has a number now (etcd's acceptInProgress)."""
        if self.write_snapshot:
            self.raft.snapshot_writing = True
        return self.number_write()

    def number_write(self) -> int:
        """The same, where a snapshot was looked for before: under a small load this is done for each entry."""
        self.number += 1
        self.handed_term = self.write_term
        self.handed_vote = self.write_vote
        self.handed_commit = self.write_commit
        self.handed_in_doubt = self.write_in_doubt
        self.raft.writing = self.write_high
        checks.check(self.raft.stable <= self.raft.writing)
        checks.check(self.raft.writing <= self.raft.log.last)
        self.raft.rewrite = 0
        return 0

    def plan_apply(self, allow_unstable: bool) -> bool:
        """Look at what is to be applied, within max_apply_bytes; False for nothing.

        ``allow_unstable``: also what is not durable here, because it will be before it is applied.
        """
        self.apply_low = self.raft.applying + 1
        self.apply_high = self.raft.apply_limit(allow_unstable)
        self.apply_bytes = 0
        if self.apply_high < self.apply_low:
            return False
        self.apply_bytes = self.raft.log_bytes(self.apply_low, self.apply_high)
        return True

    def accept_apply(self, allow_unstable: bool) -> int:
        """What ``plan_apply`` found is handed over."""
        self.raft.accept_applying(self.apply_high)
        self.raft.count_applying(self.apply_bytes, allow_unstable)
        return 0

    def forget_written(self) -> int:
        """The storage holds nothing, whatever the core says: everything is to be written."""
        self.handed_term = self.handed_vote = self.handed_commit = 0
        self.handed_in_doubt = False
        return 0

    def __repr__(self) -> str:
        applying = self.applies_end - self.applies_first
        return f"<Driver {self.raft.id} writes={self.durable}/{self.number} durable, {applying} batches to apply>"

    # --- with account --------------------------------------------------------------------------------

    def next_write(self, spans: Spans, may_write: bool) -> bool:
        """Hand over what is to be written: its entries into ``spans``, its number is ``number``. False for nothing.

        The record of a restored snapshot comes first: with this write the log begins anew behind it (write_snapshot).
        What is to be sent comes to ``out``, or waits for this write, or for the last one, in ``held``. may_write: False
        while the disk has too much to do; what promises something waits for the next write then.
        """
        if self.raft.due:
            self.raft.send_due()
        if not self.plan_write():
            release.collect(self.raft, self.out, self.held, self.number)
            return False
        if not may_write:
            release.collect(self.raft, self.out, self.held, self.number + 1)
            return False
        write = self.number + 1
        release.collect(self.raft, self.out, self.held, write)
        if self.write_stable:
            # What the core is to be told then: how far its log is stable. The term goes with it: the answer to a write
            # of an earlier term says nothing about a log that was rewritten since (the append ABA race).
            id, term, index = self.raft.id, self.raft.term, self.write_stable
            self.held.put(MSG_STORAGE_APPEND_RESP, id, id, term, index, self.write_stable_term, 0, 0, 0, 0)
            self.held.tag_last(write)
        if self.write_snapshot:
            spans.push_copy(self.raft.restored.data_at(0), self.raft.restored.size_at(0), self.raft.pending_snapshot, 1)
            self.raft.snapshot_writing = True
        if self.write_high >= self.write_low:
            self.raft.log.spans(self.write_low, self.write_high, spans)
        self.number_write()
        return True

    def write_done(self, number: int) -> int:
        """Writes up to this number are durable: what waited for them may leave, the core takes its own answers."""
        self.durable = number
        if self.held.length():
            release.release(self.raft, self.held, number, self.out, self.scratch)
        return 0

    def settle(self) -> bool:
        """Release what waits for a write that is durable already. Whether the core has something to send since."""
        if self.held.length() and self.held.tag_at(0) <= self.durable:
            release.release(self.raft, self.held, self.durable, self.out, self.scratch)
        return self.raft.messages.length() != 0 or self.raft.after_append.length() != 0 or self.raft.due != 0

    def next_apply(self, spans: Spans) -> bool:
        """Hand over what is committed and durable here, apply_low .. apply_high, into ``spans``; False for nothing.

        ``spans`` is empty before. Not while APPLIES batches, or max_apply_bytes, are with the state machine.
        """
        if self.raft.committed == self.raft.applying or self.raft.apply_paused:
            return False
        end, low, applicable = self.applies_end, self.raft.applying + 1, min(self.raft.committed, self.raft.stable)
        if applicable < low or self.raft.pending_snapshot != 0 or end - self.applies_first == APPLIES:
            return False
        # What plan_apply and accept_apply do, in one: under a small load this is done for each entry.
        high = applicable
        self.raft.log.spans(low, high, spans)
        size = spans.size
        total = self.raft.applying_bytes + size
        if total > self.raft.max_apply_bytes:
            high = self.raft.apply_limit(False)
            spans.clear()
            self.raft.log.spans(low, high, spans)
            size = spans.size
            total = self.raft.applying_bytes + size
        self.raft.applying = high
        checks.check(self.raft.applying <= self.raft.committed)
        self.raft.applying_bytes = total
        self.raft.apply_paused = high < applicable or total >= self.raft.max_apply_bytes
        self.apply_low, self.apply_high = low, high
        if self.applies_first == end:
            self.applies_after = low - 1
        self.high_at[end & (APPLIES - 1)] = high
        self.bytes_at[end & (APPLIES - 1)] = size
        self.applies_end = end + 1
        return True

    def apply_done(self, index: int) -> int:
        """The state machine has everything up to ``index``, which ends one of the batches handed over."""
        size = 0
        first, end, after = self.applies_first, self.applies_end, self.applies_after
        while first < end and self.high_at[first & (APPLIES - 1)] <= index:
            size += self.bytes_at[first & (APPLIES - 1)]
            self.applies_after = self.high_at[first & (APPLIES - 1)]
            first += 1
        self.applies_first = first
        return self.raft.apply_done(index, size, self.applies_after - after)

    def has_work(self) -> bool:
        """Whether there is something to write, to send or to hand over to the state machine."""
        return (
            self.raft.messages.length() != 0
            or self.raft.after_append.length() != 0
            or self.raft.due != 0
            or self.must_write()
            or (self.raft.committed != self.raft.applying and self.raft.may_apply(False))
        )
