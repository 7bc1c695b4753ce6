"""What passes between the threads of a node: queues whose rows have named fields, and the numbers that each publishes.

Where a row's columns stand, and which kinds of rows there are, is known here only. Values; nothing is decided here.
"""

from __future__ import annotations

from array import array

from .._native.memory import Spans
from .._native.threads import Cells, Handoff
from ..types import MEMBERS_MAX
from .rows import (
    REASONS_MAX,
    ROW_ADDRESS,
    ROW_ARRIVED,
    ROW_ASK,
    ROW_ASKED,
    ROW_BEGUN,
    ROW_CAMPAIGN,
    ROW_CHANGE,
    ROW_CHANGED,
    ROW_CONNECTED,
    ROW_DIVERGED,
    ROW_ENTRIES,
    ROW_GIVE,
    ROW_HANDED,
    ROW_JUDGE,
    ROW_JUDGED,
    ROW_LEASED_AT,
    ROW_LOOK,
    ROW_LOST,
    ROW_MET,
    ROW_ODD,
    ROW_READ_AT,
    ROW_REFUSED,
    ROW_RELEASE,
    ROW_RELEASED,
    ROW_RESTORE,
    ROW_SEEN,
    ROW_SNAPSHOT,
    ROW_STATE,
    ROW_STEP_DOWN,
    ROW_TRANSFER,
    ROW_TRANSFER_TO,
    ROW_UNLED,
    ROW_UNREACHABLE,
    ROW_UNTAKEN,
)

APPLY_ROWS = 4096  # that may wait for the apply thread
COMMAND_ROWS = 4096  # that may wait for the engine

CELL_APPLIED = 0
CELL_TIME = 1


class ApplyQueue(Handoff):
    """From the engine to the apply thread. Each ``put_`` gives 0, or 1 when it is full.

    The engine is the only one that puts, so that what it has found room for (``lacks``) stays there.
    """

    def put_entries(self, spans: Spans, low: int, high: int) -> int:
        """Committed entries low .. high, in ``spans``."""
        return self.put(spans, ROW_ENTRIES, low, high, spans.count, 0, 0, 0, 0)

    def put_handed(self, no_spans: Spans, sequence: int, term: int) -> int:
        """Own proposals up to ``sequence`` were appended or passed on, in this or an earlier term.

        Only rows that follow make something of that, so it does not wake the apply thread for itself.
        """
        return self.lay(no_spans, ROW_HANDED, sequence, term, 0, 0, 0, 0, 0)

    def put_refused(self, no_spans: Spans, sequence: int, count: int, reason: int) -> int:
        """So many own proposals from ``sequence`` on were not appended and will not be."""
        return self.put(no_spans, ROW_REFUSED, sequence, count, reason, 0, 0, 0, 0)

    def put_state(self, no_spans: Spans, term: int, leader: int, role: int) -> int:
        """One of these has changed."""
        return self.put(no_spans, ROW_STATE, term, leader, role, 0, 0, 0, 0)

    def put_odd(self, no_spans: Spans, reason: int, sender: int, kind: int, term: int, count: int) -> int:
        """A message that no honest member can have sent; ``count``: so many of this reason so far."""
        return self.put(no_spans, ROW_ODD, reason, sender, kind, term, count, 0, 0)

    def put_untaken(self, no_spans: Spans, sender: int, index: int, count: int) -> int:
        """A snapshot that is needed and cannot be taken; ``count``: so many offers of one so far."""
        return self.put(no_spans, ROW_UNTAKEN, sender, index, count, 0, 0, 0, 0)

    def put_asked(
        self, no_spans: Spans, request: int, reason: int, to: int, before: int, term: int, leader: int, role: int
    ) -> int:
        """The core was asked in term ``before`` that ``to`` lead, or was not, with a reason; and what it knows now."""
        return self.put(no_spans, ROW_ASKED, request, reason, to, before, term, leader, role)

    def put_transfer(self, no_spans: Spans, was: int, to: int, role: int) -> int:
        """To whom leadership was being transferred, and is now (0: to nobody)."""
        return self.put(no_spans, ROW_TRANSFER, was, to, role, 0, 0, 0, 0)

    def put_released(self, no_spans: Spans, request: int, index: int, term: int) -> int:
        """Entries up to ``index`` are not needed in memory any more; ``term`` is the last one's, 0: they still are."""
        return self.put(no_spans, ROW_RELEASED, request, index, term, 0, 0, 0, 0)

    def put_restore(self, no_spans: Spans, index: int, term: int) -> int:
        """The log begins behind another member's snapshot, which the state machine is to have before what follows."""
        return self.put(no_spans, ROW_RESTORE, index, term, 0, 0, 0, 0, 0)

    def put_read_at(self, no_spans: Spans, ticket: int, index: int, since: int) -> int:
        """Reads up to this ticket may be done, each once what is at ``index`` is applied; it was asked at ``since``."""
        return self.put(no_spans, ROW_READ_AT, ticket, index, since, 0, 0, 0, 0)

    def put_leased_at(self, no_spans: Spans, ticket: int, index: int) -> int:
        """The same of reads by lease alone."""
        return self.put(no_spans, ROW_LEASED_AT, ticket, index, 0, 0, 0, 0, 0)

    def put_changed(self, no_spans: Spans, number: int, reason: int, match: int, last: int) -> int:
        """A change that this node asked for was not taken, for a reason; with REFUSED_BEHIND: what the learner has."""
        return self.put(no_spans, ROW_CHANGED, number, reason, match, last, 0, 0, 0)

    def put_address(self, record: Spans, sender: int) -> int:
        """``sender``, which is no member here, says where it is reached; the row's one span is a record of that."""
        return self.put(record, ROW_ADDRESS, sender, 0, 0, 0, 0, 0, 0)

    def put_judge(self, change: Spans, sender: int, number: int, applied: int, life: int) -> int:
        """A member, in that life of it, asks for a change that may have addresses, which is the row's one span."""
        return self.put(change, ROW_JUDGE, sender, number, applied, life, 0, 0, 0)

    def put_begun(self, no_spans: Spans, in_doubt: bool) -> int:
        """This life has begun, though too few others know it; ``in_doubt``: and because there is a leader, in doubt."""
        return self.put(no_spans, ROW_BEGUN, 1 if in_doubt else 0, 0, 0, 0, 0, 0, 0)

    def put_lost(self, no_spans: Spans, member: int, life: int, known: int, why: int) -> int:
        """A member says that it lives a life which cannot be its present one, because ``known`` was met."""
        return self.put(no_spans, ROW_LOST, member, life, known, why, 0, 0, 0)

    def put_unled(self, no_spans: Spans, gauges: Gauges) -> int:
        """No leader is known for long, and why, as the gauges have it."""
        heard = gauges.unled_heard
        return self.put(
            no_spans, ROW_UNLED, gauges.unled_lead, gauges.unled_term, gauges.unled_by, heard, gauges.unled_needed,
            gauges.unled_refused, gauges.unled_ms,
        )  # fmt: skip

    def put_diverged(self, no_spans: Spans, index: int, ours: int, theirs: int, leader: int, lacks: bool) -> int:
        """What is committed here contradicts that leader's log: the entry, its term here and there; see Divergence."""
        return self.put(no_spans, ROW_DIVERGED, index, ours, theirs, leader, 1 if lacks else 0, 0, 0)

    # For the taker, with the GIL: of a row that was taken. Each belongs to the kind it is named for. Raise IndexError.

    def kind(self, row: int) -> int:
        """ROW_..."""
        return self.py_at(row, 0)

    def entries(self, row: int) -> tuple[int, int, int]:
        """low, high, number of spans."""
        return self.py_at(row, 1), self.py_at(row, 2), self.py_at(row, 3)

    def handed(self, row: int) -> tuple[int, int]:
        """sequence, term"""
        return self.py_at(row, 1), self.py_at(row, 2)

    def refusal(self, row: int) -> tuple[int, int, int]:
        """sequence, count, reason"""
        return self.py_at(row, 1), self.py_at(row, 2), self.py_at(row, 3)

    def state(self, row: int) -> tuple[int, int, int]:
        """term, leader, role"""
        return self.py_at(row, 1), self.py_at(row, 2), self.py_at(row, 3)

    def odd(self, row: int) -> tuple[int, int, int, int, int]:
        """reason, sender, kind, term, count"""
        reason, sender, kind, term, count = [self.py_at(row, column) for column in range(1, 6)]
        return reason, sender, kind, term, count

    def untaken(self, row: int) -> tuple[int, int, int]:
        """sender, index, count"""
        return self.py_at(row, 1), self.py_at(row, 2), self.py_at(row, 3)

    def asked(self, row: int) -> tuple[int, int, int, int, int, int, int]:
        """request, reason, to, term before; term, leader, role now"""
        request, reason, to, before, term, leader, role = [self.py_at(row, column) for column in range(1, 8)]
        return request, reason, to, before, term, leader, role

    def transfer(self, row: int) -> tuple[int, int, int]:
        """was, to, role"""
        return self.py_at(row, 1), self.py_at(row, 2), self.py_at(row, 3)

    def released(self, row: int) -> tuple[int, int, int]:
        """request, index, term"""
        return self.py_at(row, 1), self.py_at(row, 2), self.py_at(row, 3)

    def restore(self, row: int) -> tuple[int, int]:
        """index, term"""
        return self.py_at(row, 1), self.py_at(row, 2)

    def read_at(self, row: int) -> tuple[int, int, int]:
        """ticket, index, since"""
        return self.py_at(row, 1), self.py_at(row, 2), self.py_at(row, 3)

    def leased_at(self, row: int) -> tuple[int, int]:
        """ticket, index"""
        return self.py_at(row, 1), self.py_at(row, 2)

    def changed(self, row: int) -> tuple[int, int, int, int]:
        """number, reason, match, last"""
        return self.py_at(row, 1), self.py_at(row, 2), self.py_at(row, 3), self.py_at(row, 4)

    def address(self, row: int) -> int:
        """sender"""
        return self.py_at(row, 1)

    def judge(self, row: int) -> tuple[int, int, int, int]:
        """sender, number, applied, life"""
        return self.py_at(row, 1), self.py_at(row, 2), self.py_at(row, 3), self.py_at(row, 4)

    def begun(self, row: int) -> bool:
        """in doubt"""
        return self.py_at(row, 1) != 0

    def lost(self, row: int) -> tuple[int, int, int, int]:
        """member, life, known, why"""
        return self.py_at(row, 1), self.py_at(row, 2), self.py_at(row, 3), self.py_at(row, 4)

    def unled(self, row: int) -> tuple[int, ...]:
        """lead, term, by, heard, needed, refused, ms"""
        return tuple([self.py_at(row, column) for column in range(1, 8)])

    def diverged(self, row: int) -> tuple[int, int, int, int, int]:
        """index, term here, term there, leader, lacks"""
        index, ours, theirs, leader, lacks = [self.py_at(row, column) for column in range(1, 6)]
        return index, ours, theirs, leader, lacks

    def py_put_entries(self, spans: Spans, low: int, high: int) -> bool:
        """For tests."""
        return self.py_put(spans, ROW_ENTRIES, low, high, len(spans))


class CommandQueue(Handoff):
    """From Python to the engine. Its end is what stops the engine. Each method gives False when it is full."""

    def put_met(self, no_spans: Spans, id: int, life: int, known: int, why: int, joined: int) -> int:
        """The memory knows this life of a member, durably; or it has met ``known``, and why this one cannot be.

        joined: the entry that had added the member when the memory was asked. 0, or 1 when it is full.
        """
        return self.put(no_spans, ROW_MET, id, life, known, why, joined, 0, 0)

    # The engine's, of a row that was taken.

    def kind(self, row: int) -> int:
        """ROW_..."""
        return self.at(row, 0)

    def member(self, row: int) -> int:
        """The member it is about; of a transfer 0 for the voter with the most complete log."""
        return self.at(row, 1)

    def request(self, row: int) -> int:
        """The number of the request; 0 when nobody waits for its outcome."""
        return self.at(row, 2)

    def index(self, row: int) -> int:
        """The entry it is about."""
        return self.at(row, 1)

    def term_of(self, row: int) -> int:
        """The term of that entry."""
        return self.at(row, 2)

    def number(self, row: int, column: int) -> int:
        """A column of a row about a transfer: member, index, term, tag, number, and how many or whether refused."""
        return self.at(row, 1 + column)

    # Any thread.

    def campaign(self, request: int = 0) -> bool:
        """Campaign now."""
        return self.py_put(None, ROW_CAMPAIGN, 0, request)

    def transfer(self, to: int, request: int = 0) -> bool:
        """Let ``to`` lead."""
        return self.py_put(None, ROW_TRANSFER_TO, to, request)

    def step_down(self, request: int) -> bool:
        """Give leadership up."""
        return self.py_put(None, ROW_STEP_DOWN, 0, request)

    def snapshot(self, record: bytes, index: int, term: int) -> bool:
        """The storage has this snapshot; ``record`` is what the core tells other members of it: the row's one span."""
        spans = Spans()
        spans.py_push(record)
        return self.py_put(spans, ROW_SNAPSHOT, index, term)

    def ask(self, to: int, index: int, term: int, tag: int, first: int, count: int) -> bool:
        """The courier wants chunks of a snapshot from ``to``."""
        return self.py_put(None, ROW_ASK, to, index, term, tag, first, count)

    def give(self, to: int, index: int, term: int, tag: int, number: int, chunk: Spans | None) -> bool:
        """The courier has read a chunk for ``to``, one record, which moves; None: it does not have that snapshot."""
        return self.py_put(chunk, ROW_GIVE, to, index, term, tag, number, 1 if chunk is None else 0)

    def arrived(self, record: bytes, index: int, term: int) -> bool:
        """The file of a snapshot that was offered is here; ``record`` is what tells the core of it: the row's span."""
        spans = Spans()
        spans.py_push(record)
        return self.py_put(spans, ROW_ARRIVED, 0, index, term)

    def change(self, record: bytes, number: int, applied: int) -> bool:
        """This change of membership is wanted, by a node that has applied everything up to ``applied``: one span."""
        spans = Spans()
        spans.py_push(record)
        return self.py_put(spans, ROW_CHANGE, number, applied)

    def judged(self, record: bytes, sender: int, number: int, applied: int, life: int, fits: bool) -> bool:
        """A change that a member has asked for may be taken, as far as its addresses go, or may not: one span."""
        spans = Spans()
        spans.py_push(record)
        return self.py_put(spans, ROW_JUDGED, sender, number, applied, life, fits)

    def look(self, to: int, number: int) -> bool:
        """The lookout wants to know how a member is."""
        return self.py_put(None, ROW_LOOK, to, number)

    def seen(self, to: int, number: int, life: int, record: bytes) -> bool:
        """How this node is, for a member that asked in that life of it: the row's one span."""
        spans = Spans()
        spans.py_push(record)
        return self.py_put(spans, ROW_SEEN, to, number, life)

    def release(self, index: int, request: int) -> bool:
        """The owner needs nothing up to ``index``."""
        return self.py_put(None, ROW_RELEASE, index, request)

    def unreachable(self, id: int) -> bool:
        """The transport dropped a frame for this member. A hint: without room it is dropped, and counted."""
        return self.py_put(None, ROW_UNREACHABLE, id)

    def connected(self, id: int) -> bool:
        """A connection to this member has come to stand. A hint, as above."""
        return self.py_put(None, ROW_CONNECTED, id)


class Gauges:
    """What the engine publishes. It alone writes; any thread reads."""

    def __init__(self) -> None:
        self.term = self.vote = self.leader = self.role = 0
        self.in_doubt = False
        #: this life does not take part yet: too few others know it
        self.waiting = False
        #: there is no room for the next segment of the log; messages of others that were not taken because of that
        self.full = False
        self.not_taken = 0
        #: last index committed, in the log, and durable here; the first one that is in memory
        self.commit = self.last = self.stable = self.first = 0
        self.ticks = 0
        #: how often the thread was woken, and found nothing to do
        self.wakeups = self.wakeups_idle = 0
        #: bytes of the log that is in memory
        self.log_bytes = 0
        #: milliseconds that the state machine would need to apply what is committed, as far as can be told (lag.py)
        self.lag_ms = 0
        self.leader_changes = 0
        #: FAILED_..., 0 while nothing has ended the engine
        self.failed = 0
        self.frames_in = self.frames_out = 0
        #: not accepted by the transport
        self.frames_dropped = 0
        #: of an earlier life of their sender
        self.frames_stale = 0
        #: messages that did not count: their sender's life, or this node's, was not known yet
        self.unmet = 0
        #: messages that a node does not serve: changes of membership as proposals, reads asked of it while it does not
        #: lead, and what only a member sends of one that was removed
        self.unserved = 0
        #: an entry that is committed here and contradicts the leader's log, 0: none is known; its terms here and there,
        #: the leader, and whether it is beyond this log
        self.diverged = self.diverged_ours = self.diverged_theirs = self.diverged_lead = 0
        self.diverged_lacks = False
        #: milliseconds for which no leader was known, once they are many; then the leader that others follow, its term,
        #: and how many say so; how many other voters answer, how many would have to, and how many refuse their votes
        self.unled_ms = self.unled_lead = self.unled_term = self.unled_by = 0
        self.unled_heard = self.unled_needed = self.unled_refused = 0
        #: offers of snapshots that this member needs, and its storage cannot take
        self.untaken = 0
        #: messages that were not sent because their recipient does not take such frames; frames that told us the same
        self.too_large_out = self.too_large_in = 0
        #: the sender of the last frame of another cluster, as the frame says; 0: not known
        self.foreign = 0
        #: messages that no honest member can have sent, by reason
        self.refused = array("q", bytes(8 * REASONS_MAX))
        #: frames that the codec did not accept, by reason
        self.rejected = array("q", bytes(8 * REASONS_MAX))

    def woke(self, found: bool) -> None:
        """The thread has slept; whether there is something to do."""
        self.wakeups += 1
        if not found:
            self.wakeups_idle += 1

    def by_reason(self, rejected: bool, reasons: tuple[str, ...]) -> dict[str, int]:
        """``rejected`` or ``refused`` with their names; the reason 0 is none."""
        counts = list(self.rejected if rejected else self.refused)
        return dict(list(zip(reasons, counts, strict=False))[1:])


class ApplyGauges:
    """What the apply thread publishes. It alone writes; any thread reads."""

    def __init__(self) -> None:
        self.woken = Cells()
        #: the last entry that is applied, which ``done`` is not told before its batch is
        self.index = 0
        #: entries that were not applied, because they have no envelope
        self.bare = 0
        #: how often the thread was woken, and found nothing to do
        self.wakeups = self.wakeups_idle = 0

    def applied(self) -> int:
        """``done`` without the GIL: the engine looks at it between announcing sleep and sleeping."""
        return self.woken.get(CELL_APPLIED)

    def set_applied(self, index: int) -> None:
        """The last entry of a batch is applied."""
        self.woken.set(CELL_APPLIED, index)

    def time(self) -> int:
        """The time of the last entry of a batch that is applied, without the GIL."""
        return self.woken.get(CELL_TIME)

    def set_time(self, time: int) -> None:
        """Everything up to this time is applied."""
        self.woken.set(CELL_TIME, time)

    @property
    def done(self) -> int:
        """The last entry of the last batch that is applied."""
        return self.woken[CELL_APPLIED]


class MemberGauges:
    """What the engine publishes of the members, by slot. It alone writes; any thread reads."""

    def __init__(self) -> None:
        self.ids = array("Q", bytes(8 * MEMBERS_MAX))
        #: the last entry that each is known to have, where this node leads
        self.match = array("Q", bytes(8 * MEMBERS_MAX))
        #: ticks since a frame of it came; -1: none has come
        self.quiet = array("q", bytes(8 * MEMBERS_MAX))
        self.count = 0

    def rows(self) -> dict[int, tuple[int, int]]:
        """id to match and quiet. A look: what is being written meanwhile may be of two moments."""
        found = [(self.ids[slot], self.match[slot], self.quiet[slot]) for slot in range(min(self.count, MEMBERS_MAX))]
        return {int(id): (int(match), int(quiet)) for id, match, quiet in found}
