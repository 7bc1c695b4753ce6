"""The apply thread: committed entries to the state machine, outcomes to futures, news to streams.

The one thread of a node that works with the GIL held. Consensus never waits for it: what is
committed meanwhile stays in the log. The first 24 bytes of an
entry (origin, incarnation, sequence) tell whose proposal it is.
"""

from __future__ import annotations

import collections
import logging
import threading
from typing import Any

from .._memory import Cursor, Entry
from .._sys import Clock, Handoff
from ..errors import NotDone, ProposalError, Unknown
from ..types import ENTRY_NORMAL, MESSAGE_NAMES, Role, StateChange
from .futures import Done, Future
from .rows import DONE_APPLIED, REFUSALS, ROW_APPLY, ROW_END, ROW_HANDED, ROW_ODD, ROW_REFUSED, ROW_STATE
from .senders import REASONS

logger = logging.getLogger("raftx")

ENVELOPE = 24
SWEEP_NS = 250_000_000  # how often overdue proposals are looked for
KNOWN_REFUSALS = len(REFUSALS)
REPLACED = "its leader lost office before it was committed"


class Batch:
    """Several proposals behind one future; its result is a list of Done in their order."""

    def __init__(self, first: int, count: int, future: Future) -> None:
        self.first = first
        self.end = first + count
        self.missing = count
        self.outcomes: list[Any] = [None] * count
        self.future = future

    def settle(self, sequence: int, outcome: Done | ProposalError) -> bool:
        """One of them has ended; True when it was the last."""
        at = sequence - self.first
        if self.outcomes[at] is not None:
            return False
        self.outcomes[at] = outcome
        self.missing -= 1
        if self.missing:
            return False
        errors = [o for o in self.outcomes if isinstance(o, Exception)]
        if not errors:
            self.future.settle_plain(self.outcomes)
        elif len(errors) == len(self.outcomes) and all([isinstance(e, NotDone) for e in errors]):
            self.future.settle_error(errors[0])
        else:
            failure = Unknown(f"{len(errors)} of {len(self.outcomes)} proposals of the batch are not known to be done")
            failure.outcomes = self.outcomes
            self.future.settle_error(failure)
        return True


class Applier:
    """Owns the state machine, the futures that are open, and the streams."""

    def __init__(
        self, id: int, incarnation: int, applies: Handoff, clock: Clock, state_machine: Any, timeout_ns: int
    ) -> None:
        self.id = id
        self.incarnation = incarnation
        self.applies = applies
        self.clock = clock
        self.state_machine = state_machine
        self.timeout_ns = timeout_ns
        self.lock = threading.Lock()
        self.cells: Any = None
        self.engine_event: Any = None
        self.committed: Any = None
        self.state_changes: Any = None
        #: called some times a second, to say what is to be said
        self.report: Any = None
        #: sequence to future of each proposal that has not ended
        self.pending: dict[int, Future] = {}
        self.batches: list[Batch] = []
        #: (sequence, deadline) of everything proposed up to that sequence
        self.deadlines: collections.deque[tuple[int, int]] = collections.deque()
        #: term to the last sequence that was handed to a leader in it
        self.handed: dict[int, int] = {}
        self.applied_term = 0
        self.wake: list[Future] = []
        self.applied = 0
        self.next_sweep = 0
        #: largest sequence that has a deadline
        self.noted = self.newest = 0
        self.cursor = Cursor()

    # --- registration, on the proposer's thread ---------------------------------------------------

    # The proposer holds ``lock`` from before it gets a sequence number until its future is registered.
    # So whoever misses a future here looks again under the lock, and then knows that it has ended.

    def register(self, sequence: int, future: Future) -> None:
        """A proposal has been handed over; its future will end. Under the lock."""
        self.pending[sequence] = future
        self.newest = sequence

    def register_many(self, first: int, count: int, future: Future) -> None:
        """Several proposals behind one future. Under the lock."""
        self.batches.append(Batch(first, count, future))
        self.newest = first + count - 1

    # --- the thread ------------------------------------------------------------------------------

    def run(self) -> None:
        """Until the engine says that nothing follows. An exception of the state machine comes out here."""
        while True:
            rows = self.applies.py_take()
            if rows == 0:
                self.sweep()
                self.applies.event.py_prepare()
                if self.applies.py_waiting():
                    self.applies.event.py_cancel()
                else:
                    self.applies.event.py_wait(SWEEP_NS)
                continue
            self.sweep()
            span = 0
            for row in range(rows):
                kind = self.applies.at(row, 0)
                if kind == ROW_APPLY:
                    count = self.applies.at(row, 3)
                    self.apply_spans(span, count)
                    span += count
                    self.after_apply(self.applies.at(row, 2))
                elif kind == ROW_HANDED:
                    self.take_handed(row)
                elif kind == ROW_REFUSED:
                    self.take_refused(row)
                elif kind == ROW_STATE:
                    self.take_state(row)
                elif kind == ROW_ODD:
                    self.tell_odd(row)
                elif kind == ROW_END:
                    return

    def apply_spans(self, span: int, count: int) -> int:
        while count > 0:
            self.cursor.open(self.applies.taken, span)
            while self.cursor.next():
                self.apply_one()
            span += 1
            count -= 1
        return 0

    def apply_one(self) -> int:
        c = self.cursor
        result = None
        if c.term != self.applied_term:
            self.find_replaced(c.term)
        if c.kind == ENTRY_NORMAL and c.size >= ENVELOPE:
            if self.state_machine is not None:
                result = self.state_machine.apply(Entry(c.index, c.term, c.payload(ENVELOPE), ENTRY_NORMAL))
            if self.committed is not None:
                self.committed.push(Entry(c.index, c.term, c.payload(ENVELOPE), ENTRY_NORMAL))
            if c.origin == self.id and c.incarnation == self.incarnation:
                self.finish(c.sequence, c.index, c.term, result)
        self.applied = c.index
        return 0

    def finish(self, sequence: int, index: int, term: int, result: Any) -> int:
        """A proposal of ours has been applied."""
        future = self.pending.pop(sequence, None)
        if future is None:
            if not self.batches or not self.end_in_batch(sequence, Done(index, term, result)):
                with self.lock:
                    future = self.pending.pop(sequence, None)
                if future is None:
                    self.end_in_batch(sequence, Done(index, term, result))
                    return 0
        if future is not None:
            self.settle_future(future, index, term, result)
        return 0

    def settle_future(self, future: Future, index: int, term: int, result: Any) -> int:
        future.settle(index, term, result)
        if future.needs_wake():
            self.wake.append(future)

        return 0

    def fail_future(self, future: Future, error: ProposalError) -> int:
        future.settle_error(error)
        if future.needs_wake():
            self.wake.append(future)
        return 0

    def end_in_batch(self, sequence: int, outcome: Done | ProposalError) -> bool:
        """Give an outcome to the batch that has this sequence; False when there is none."""
        for batch in self.batches:
            if batch.first <= sequence < batch.end:
                if batch.settle(sequence, outcome):
                    self.batches.remove(batch)
                    self.wake.append(batch.future)
                return True
        return False

    def fail(self, sequence: int, error: ProposalError) -> None:
        """A proposal of ours has ended otherwise."""
        with self.lock:
            future = self.pending.pop(sequence, None)
        if future is None:
            self.end_in_batch(sequence, error)
            return
        self.fail_future(future, error)

    def after_apply(self, index: int) -> None:
        """A batch is applied: tell the engine, then wake who waits."""
        self.cells[DONE_APPLIED] = index
        self.engine_event.py_wake()
        self.wake_all()

    def find_replaced(self, term: int) -> int:
        """The log has come to a term: what was handed over in earlier ones and is still open is not done.

        A leader appends a proposal only in the term in which it was handed to it, and terms never fall along
        a log. So behind an applied entry of a later term it can no longer follow.
        """
        self.applied_term = term
        last = 0
        for earlier in [t for t in self.handed if t < term]:
            last = max(last, self.handed.pop(earlier))
        if last == 0:
            return 0
        for sequence in [s for s in list(self.pending) if s <= last]:
            self.fail(sequence, NotDone(REPLACED))
        for batch in [b for b in self.batches if b.first <= last]:
            for sequence in range(batch.first, min(batch.end, last + 1)):
                if batch.outcomes[sequence - batch.first] is None:
                    self.fail(sequence, NotDone(REPLACED))
        return 0

    def wake_all(self) -> None:
        if not self.wake:
            return
        waiting, self.wake = self.wake, []
        for future in waiting:
            future.wake()

    def take_handed(self, row: int) -> None:
        sequence, term = self.applies.at(row, 1), self.applies.at(row, 2)
        self.handed[term] = sequence

    def take_refused(self, row: int) -> None:
        sequence, count, reason = self.applies.at(row, 1), self.applies.at(row, 2), self.applies.at(row, 3)
        text = REFUSALS[reason] if reason < KNOWN_REFUSALS else REFUSALS[0]
        with self.lock:
            newest = self.newest
        # What a peer says may be anything: it cannot refuse more than was proposed.
        for each in range(sequence, min(sequence + count, newest + 1)):
            self.fail(each, NotDone(text))
        self.wake_all()

    def tell_odd(self, row: int) -> None:
        """A message was refused: say so, a reason once a minute."""
        reason, sender, kind, term, count = [self.applies.at(row, column) for column in range(1, 6)]
        logger.warning(
            "node %d: refused %s from %d in term %d (%s), which no honest member can have sent; %d such so far",
            *(self.id, MESSAGE_NAMES.get(kind, kind), sender, term, REASONS[reason], count),
        )

    def take_state(self, row: int) -> None:
        change = StateChange(self.applies.at(row, 1), self.applies.at(row, 2), Role(self.applies.at(row, 3)))
        logger.info("node %d: term %d, leader %d, %s", self.id, change.term, change.leader, change.role.name.lower())
        self.state_changes.push(change)

    # --- time and end ----------------------------------------------------------------------------

    def sweep(self) -> None:
        """End proposals that have waited too long."""
        now = self.clock.py_now()
        if now < self.next_sweep:
            return
        self.next_sweep = now + SWEEP_NS
        if self.report is not None:
            self.report()
        if self.newest > self.noted:
            self.noted = self.newest
            self.deadlines.append((self.noted, now + self.timeout_ns))
        while self.deadlines and self.deadlines[0][1] <= now:
            end = self.deadlines.popleft()[0]
            for sequence in [s for s in list(self.pending) if s <= end]:
                self.fail(sequence, Unknown("no outcome within the proposal timeout"))
            for batch in [b for b in list(self.batches) if b.end <= end + 1]:
                for sequence in range(batch.first, batch.end):
                    if batch.outcomes[sequence - batch.first] is None:
                        self.fail(sequence, Unknown("no outcome within the proposal timeout"))
        self.wake_all()

    def end(self, error: BaseException | None) -> None:
        """Nothing more will be decided here: what is open is unknown."""
        # The intake is closed. Under the lock, because who got a number before that may be about to register.
        with self.lock:
            pending, batches = list(self.pending), list(self.batches)
        for sequence in pending:
            unknown = Unknown("the node was stopped")
            unknown.__cause__ = error
            self.fail(sequence, unknown)
        for batch in batches:
            for sequence in range(batch.first, batch.end):
                if batch.outcomes[sequence - batch.first] is None:
                    self.fail(sequence, Unknown("the node was stopped"))
        self.wake_all()
        self.state_changes.end(error)
        if self.committed is not None:
            self.committed.end(error)
