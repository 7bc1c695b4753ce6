"""The apply thread: committed entries to the state machine, outcomes to futures, news to streams.

The one thread of a node that works with the GIL held. Consensus never waits for it: what is committed meanwhile stays
in the log. The first 24 bytes of an entry (origin, incarnation, sequence) tell whose proposal it is. It runs the
user's code, which may never return: nothing else of the node may depend on this thread. A round waits for nothing else:
where the stream ``committed`` is full it ends in the middle of what it took, and the next one goes on from there.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from .._native.layout import BARRIER_BIT, ENVELOPE
from .._native.memory import Cursor, Entry
from .._native.threads import ProposalQueue
from ..errors import ApplyError, Busy, DiskFull, NotDone, ProposalError
from ..report import report
from ..storage.lives import WHY, named
from ..storage.snapshot_format import URL_MAX
from ..types import (
    ENTRY_CONF_CHANGE,
    ENTRY_CONF_CHANGE_V2,
    ENTRY_NORMAL,
    ENTRY_SESSION,
    MESSAGE_NAMES,
    NUMBER_MAX,
    Role,
    StateChange,
)
from .batches import ApplyBatch
from .channels import ApplyGauges, ApplyQueue
from .divergence import contradiction
from .leadership import Leadership
from .outcomes import Outcomes, Raised
from .readers import Readers
from .rows import (
    REFUSALS,
    REFUSED_DISK_FULL,
    REFUSED_LEADER_FULL,
    REFUSED_STOPPED,
    REFUSED_UNCOMMITTED,
    ROW_ADDRESS,
    ROW_ASKED,
    ROW_BEGUN,
    ROW_CHANGED,
    ROW_DIVERGED,
    ROW_ENTRIES,
    ROW_HANDED,
    ROW_JUDGE,
    ROW_LEASED_AT,
    ROW_LOST,
    ROW_ODD,
    ROW_READ_AT,
    ROW_REFUSED,
    ROW_RELEASED,
    ROW_RESTORE,
    ROW_STATE,
    ROW_TRANSFER,
    ROW_UNLED,
    ROW_UNTAKEN,
)
from .senders import REASONS
from .session_format import CLOSE, COMMAND, HEADER, OPEN, OPENING
from .session_table import LOST, REFUSED, SESSIONS_LIVE, VALUE, Kept, SessionTable, decode, text_of
from .unfinished import UNFINISHED, refuse_result

KNOWN_REFUSALS = len(REFUSALS)
SESSION_HEADER = HEADER.size


class Applier:
    """Owns the state machine; feeds the futures that are open, and the streams."""

    def __init__(
        self,
        id: int,
        proposals: ProposalQueue,
        applies: ApplyQueue,
        gauges: ApplyGauges,
        state_machine: Any,
        outcomes: Outcomes,
    ) -> None:
        self.id = id
        self.proposals = proposals
        self.incarnation = proposals.incarnation
        self.applies = applies
        self.gauges = gauges
        self.state_machine = state_machine
        self.outcomes = outcomes
        self.leadership = Leadership(outcomes)
        self.readers = Readers(outcomes, state_machine, gauges, applies.event)
        self.engine_event: Any = None
        #: the directory of the log, for a user who has to make room there
        self.where = ""
        #: who the members are, and the changes of them that this node asks for
        self.members: Any = None
        self.changer: Any = None
        #: what people hear of all this
        self.chronicle: Any = None
        self.committed: Any = None
        self.state_changes: Any = None
        #: exceptions of the state machine go to the proposers
        self.returns_errors = False
        #: why a snapshot that is needed cannot be stored at all, and the entry of that one
        self.untaken: tuple[str, int] = ("", 0)
        #: entries for a machine that takes many at once; None: it takes one
        self.batch: ApplyBatch | None = None
        #: how many are gathered for it; 0 between rounds
        self.gathered = 0
        #: entries that the machine is not given: terms by index
        self.skips: Any = None
        #: snapshots of the state machine (keeper.py), and what opens the newest one; None: there are none
        self.keeper: Any = None
        self.open_snapshot: Any = None
        #: forgets entries on disk: storage.compact with a membership
        self.compact: Any = None
        #: entries up to this one are in the state machine's own durable state, and not applied again
        self.held = self.held_term = 0
        #: the last entry that came by, applied or held
        self.place = 0
        #: bytes of the entries that were applied in this life, and when the next snapshot is due: entry, or bytes
        self.bytes = 0
        self.due_index = self.due_bytes = NUMBER_MAX
        self.applied_term = 0
        #: the latest time of the entries that came by. Invariant: it does not fall, and is the same on every member
        self.time = 0
        #: what is applied of the proposals of sessions
        self.sessions = SessionTable()
        #: entries that the state machine has, and that come by again: those of sessions, and the last one; and which of
        #: them were applied
        self.ahead: list[Entry] = []
        self.counted: set[int] = set()
        #: rows that were taken, and the one to be looked at next. Invariant: row <= rows
        self.rows = self.row = 0
        #: of the rows that were taken: the span to be looked at next, and whether ``cursor`` stands within it
        self.span = 0
        self.in_span = False
        #: spans of the present row that are not done; 0 between two rows
        self.spans_left = 0
        self.cursor = Cursor()
        #: the node is closed, and what is left is applied after the next start. Set by any thread
        self.given_up = False

    def run(self) -> None:
        """Rounds, until the engine says that nothing follows. An exception of the state machine comes out here."""
        while self.round():
            self.rest()

    def begin(self) -> None:
        """Before the first round: the state machine gets the newest snapshot, if it needs one."""
        if self.keeper is not None:
            self.held, self.held_term = self.keeper.restore(self.open_snapshot)
            self.applied_term = self.held_term
            self.gauges.index = max(self.gauges.index, self.held)
            self.set_bounds(self.gauges.index)
            self.load(self.keeper.own)
            self.look_ahead()
            self.keeper.own_state = lambda: self.sessions.encode(self.time)

    def load(self, own: bytes) -> None:
        """What a snapshot has of the node's own state: where the entries that follow go on from."""
        newest = self.keeper.newest
        if newest is not None and newest.index > self.place:
            self.time, self.sessions = decode(own, newest.index)
            self.gauges.set_time(min(self.time, NUMBER_MAX))

    def look_ahead(self) -> None:
        """The state machine has more than the newest snapshot: so has the table of the sessions, from the log."""
        for entry in self.ahead:
            if entry.index > self.sessions.index:
                self.sessions.index = entry.index
                self.time = max(self.time, entry.time)
                if entry.kind == ENTRY_SESSION:
                    with contextlib.suppress(ProposalError):
                        self.session_outcome(entry.data[ENVELOPE:], entry.index, entry.term)
        self.ahead = []

    def take_batches(self) -> None:
        """Before the first round: give the state machine many entries at once, as it has ``apply_batch``."""
        self.batch = ApplyBatch(self.id, self.state_machine)

    def set_bounds(self, index: int) -> None:
        """A snapshot is begun, or is not to be had now: when it is time for the next one."""
        self.due_index, self.due_bytes = self.keeper.bounds(index, self.bytes)

    def round(self) -> bool:
        """Take what the engine has handed over, or go on with it; False when nothing follows."""
        # Asked first: what is taken then are the last rows.
        ended = self.applies.py_is_ended()
        if self.keeper is not None and self.keeper.has_work():
            # Behind what the state machine holds, the term is that of an entry which came by again.
            # Nor is the table of the sessions there before that, so that a snapshot would have an older one.
            index = self.gauges.index if max(self.place, self.sessions.index) >= self.gauges.index else 0
            if self.keeper.round(index, self.held_term if self.place < self.held else self.applied_term):
                self.set_bounds(self.gauges.index)
            elif self.held <= self.place:
                self.snapshot_if_due(self.place)
        if self.keeper is not None and self.keeper.is_spoiled(self.place):
            self.snapshot_if_due(self.place)
        if self.readers.added:
            self.readers.applied(self.gauges.index)
            self.outcomes.wake_all()
        goes_on = self.row < self.rows
        if not goes_on:
            self.row = self.span = 0
            self.rows = self.applies.py_take()
        while self.row < self.rows:
            if not self.take_row(self.row):
                # Whose entries have been applied need not wait for the rest.
                self.outcomes.wake_all()
                return not self.given_up
            self.row += 1
        return goes_on or not ended

    def is_within(self) -> bool:
        """Whether the last round ended in the middle of what it took, because the stream was full."""
        return self.row < self.rows

    def take_row(self, row: int) -> bool:
        """One row of what the engine has handed over; False when it is not done, because the stream is full."""
        kind = self.applies.kind(row)
        if kind == ROW_ENTRIES:
            _low, high, count = self.applies.entries(row)
            if self.spans_left == 0:
                self.spans_left = count
            if not self.apply_spans():
                return False
            self.after_apply(high)
        elif kind == ROW_HANDED:
            self.outcomes.hand_over(*self.applies.handed(row))
        elif kind == ROW_REFUSED:
            self.take_refused(row)
        elif kind == ROW_STATE:
            self.take_state(row)
        elif kind == ROW_ASKED:
            self.take_asked(row)
        elif kind == ROW_TRANSFER:
            self.leadership.transfer_ended(*self.applies.transfer(row))
            self.chronicle.transfer(*self.applies.transfer(row))
            self.outcomes.wake_all()
        elif kind == ROW_READ_AT:
            newest, index, since = self.applies.read_at(row)
            self.readers.answered(newest, index, since)
            self.readers.applied(self.gauges.index)
            self.outcomes.wake_all()
        elif kind == ROW_LEASED_AT:
            newest, index = self.applies.leased_at(row)
            self.readers.lease_answered(newest, index)
            self.readers.applied(self.gauges.index)
            self.outcomes.wake_all()
        elif kind == ROW_RESTORE:
            self.take_restore(row)
        elif kind == ROW_RELEASED:
            self.take_released(row)
        elif kind == ROW_CHANGED:
            self.changer.refused(*self.applies.changed(row))
        elif kind == ROW_ADDRESS:
            self.take_address(row)
        elif kind == ROW_JUDGE:
            self.changer.judge(bytes(self.applies.taken.pieces()[self.span]), *self.applies.judge(row))
            self.span += 1
        elif kind == ROW_ODD:
            self.tell_odd(row)
        elif kind == ROW_BEGUN:
            self.tell_begun(row)
        elif kind == ROW_LOST:
            self.tell_lost(row)
        elif kind == ROW_UNTAKEN:
            self.tell_untaken(row)
        elif kind == ROW_UNLED:
            self.chronicle.unled(*self.applies.unled(row))
        elif kind == ROW_DIVERGED:
            report(logging.ERROR, "node %d: %s", self.id, contradiction(*self.applies.diverged(row)))
        return True

    def rest(self) -> None:
        """Sleep until the engine has handed something over, or the stream has room again."""
        if self.idle_for():
            self.applies.event.py_wait(-1)
            self.gauges.wakeups += 1
            if not self.may_go_on():
                self.gauges.wakeups_idle += 1

    def idle_for(self) -> int:
        """-1 when there is nothing to do, once the sleep is announced; else 0."""
        self.applies.event.py_prepare()
        if self.may_go_on():
            self.applies.event.py_cancel()
            return 0
        return -1

    def may_go_on(self) -> bool:
        """Whether a round would find work, or the end."""
        if self.readers.added:
            return True
        if self.row < self.rows:
            return bool(self.committed.has_room())
        if self.keeper is not None and self.keeper.has_work():
            return True
        return self.applies.py_waiting() or self.applies.py_is_ended()

    def apply_spans(self) -> bool:
        """The entries of the present row; False when the last one is not applied, as the stream is full, say."""
        committed = self.committed
        while self.spans_left > 0:
            if not self.in_span:
                self.cursor.open(self.applies.taken, self.span)
                self.in_span = True
            while not self.given_up and (committed is None or committed.has_room(self.gathered)):
                if not self.cursor.next():
                    self.in_span = False
                    break
                self.apply_one()
            if self.in_span and not self.gathered:
                return False
            # The stream has room for each of these.
            self.give_batch()
            if not self.in_span:
                self.span += 1
                self.spans_left -= 1
        return True

    def apply_one(self) -> int:
        c = self.cursor
        result = None
        self.bytes += c.size
        # Leaders see to it that time does not go back; a log of other making may not have.
        if c.time > self.time:
            self.time = c.time
        if c.term != self.applied_term:
            self.give_batch()
            self.applied_term = c.term
            self.outcomes.replace(c.term)
        if self.batch is not None and c.kind == ENTRY_NORMAL and c.size >= ENVELOPE and c.index > self.held:
            if c.origin >> BARRIER_BIT == 0 and not self.is_skipped(c.index, c.term):
                own = c.origin == self.id and c.incarnation == self.incarnation
                self.gathered += 1
                entry = Entry(c.index, c.term, c.payload(ENVELOPE), ENTRY_NORMAL, self.time)
                if self.batch.add(entry, c.sequence if own else 0, c.size):
                    self.give_batch()
                return 0
        self.give_batch()
        self.place = c.index
        if c.kind == ENTRY_NORMAL and c.size >= ENVELOPE:
            if c.origin >> BARRIER_BIT == 0 and (self.state_machine is not None or self.committed is not None):
                result = self.give(Entry(c.index, c.term, c.payload(ENVELOPE), ENTRY_NORMAL, self.time))
            # Before its future ends: a thread that sees the end finds the index, too.
            if c.index > self.held:
                self.gauges.index = c.index
            if c.origin & NUMBER_MAX == self.id and c.incarnation == self.incarnation:
                self.outcomes.finish(c.sequence, c.index, c.term, result)
        elif c.kind == ENTRY_SESSION and c.size >= ENVELOPE + SESSION_HEADER:
            self.take_session(c.payload(ENVELOPE))
        elif (c.kind == ENTRY_NORMAL or c.kind == ENTRY_SESSION) and c.size > 0:
            self.tell_bare(c.index, c.size)
        elif self.members is not None and (c.kind == ENTRY_CONF_CHANGE_V2 or c.kind == ENTRY_CONF_CHANGE):
            self.members.apply(c.index, c.kind, c.payload(0), c.term)
        return 0

    def give_batch(self) -> int:
        """Give the state machine the entries that were gathered for it, and their proposers the results."""
        if self.gathered == 0:
            return 0
        self.gathered = 0
        assert self.batch is not None
        entries, sequences, results = self.batch.give()
        count = len(entries)
        # As with a single one: a thread that sees the end of any of them finds the index, too.
        self.place = self.gauges.index = entries[count - 1].index
        for at in range(count):
            entry, result = entries[at], results[at]
            if isinstance(result, ApplyError):
                result = Raised(result)
            self.pushed(entry, result)
            if sequences[at]:
                self.outcomes.finish(sequences[at], entry.index, entry.term, result)
        return 0

    def is_skipped(self, index: int, term: int) -> bool:
        """Whether the owner has agreed that the state machine is not given this entry."""
        return bool(self.skips) and self.skips.get(index) == term

    def take_session(self, data: bytes) -> int:
        """An entry of a session: what the table says of it is its outcome."""
        c = self.cursor
        index, term, result = c.index, c.term, None
        if c.index > self.sessions.index:
            self.sessions.index = c.index
            try:
                kept = self.session_outcome(data, c.index, c.term)
            except ProposalError as error:
                result = Raised(error)
            else:
                index, term, result = kept.index, kept.term, kept.value
                if kept.how == REFUSED:
                    result = Raised(result)
        elif c.index in self.counted:
            self.counted.discard(c.index)
            self.pushed(session_entry(data, c.index, c.term, self.time), None)
        if c.index > self.held:
            self.gauges.index = c.index
        if c.origin == self.id and c.incarnation == self.incarnation:
            self.outcomes.finish(c.sequence, index, term, result)
        return 0

    def session_outcome(self, data: bytes, index: int, term: int) -> Kept:
        """What comes of it, now or before. Raises NotDone, Unknown."""
        table = self.sessions
        id, opening, sequence, acknowledged, what = HEADER.unpack_from(data)
        if what == OPEN and len(data) == SESSION_HEADER + OPENING.size:
            token, ttl = OPENING.unpack_from(data, SESSION_HEADER)
            return Kept(index, term, VALUE, table.open(id, opening, token, ttl, index, self.time))
        if what == CLOSE:
            return Kept(index, term, VALUE, table.close(id, opening, self.time))
        if what != COMMAND:
            raise NotDone("this member does not know such an entry of a session")
        kept: Kept | None = table.begin(id, opening, sequence, acknowledged, self.time)
        if kept is not None:
            return kept
        how, result = VALUE, None
        if index <= self.held and self.state_machine is not None:
            how = LOST
            if self.ahead:
                self.counted.add(index)
            else:
                self.pushed(session_entry(data, index, term, self.time), None)
        elif self.state_machine is not None or self.committed is not None:
            result = self.give(session_entry(data, index, term, self.time))
            if type(result) is Raised:
                how, result = REFUSED, result.error
        return table.keep(id, sequence, Kept(index, term, how, result))

    def give(self, entry: Entry) -> Any:
        """Give an entry to the state machine and the stream; returns the state machine's result."""
        result = None
        if self.state_machine is not None and self.cursor.index > self.held:
            if self.is_skipped(entry.index, entry.term):
                skipped = NotDone(f"entry {entry.index} is skipped: its owner has agreed that nobody applies it")
                return self.pushed(entry, Raised(skipped))
            if self.batch is not None:
                result = self.batch.give_one(entry)
                return self.pushed(entry, Raised(result) if isinstance(result, ApplyError) else result)
            try:
                result = self.state_machine.apply(entry)
                if type(result) in UNFINISHED:
                    refuse_result("apply(entry)", result)
            except BaseException as error:
                if self.is_for_the_proposer(error):
                    return self.pushed(entry, Raised(refusal(error)))
                text = "node %d: the state machine raised %s at entry %d of term %d; if it can never take it: %s"
                way = f"raftx wal skip {self.where or 'DIRECTORY'} {entry.index}, on every member, all stopped"
                report(logging.ERROR, text, self.id, type(error).__name__, entry.index, entry.term, way)
                raise
        return self.pushed(entry, result)

    def is_for_the_proposer(self, error: BaseException) -> bool:
        """Whether an exception of the state machine is the outcome of its proposal, and no end of the node.

        A lack of memory is this member's, and not the command's: the others have applied it.
        """
        if isinstance(error, ApplyError):
            return True
        return self.returns_errors and isinstance(error, Exception) and not isinstance(error, MemoryError)

    def pushed(self, entry: Entry, result: Any) -> Any:
        """The result, once the stream has the entry."""
        if self.committed is not None:
            self.committed.push(entry)
        return result

    def tell_bare(self, index: int, size: int) -> None:
        """An entry that no node proposed: what it means is not known here, so it is not applied."""
        self.gauges.bare += 1
        if self.gauges.bare == 1:
            report(
                logging.WARNING,
                "node %d: entry %d of %d bytes was not proposed by a Node and is not applied: do all members, and the "
                "program that made this log, use raftx.Node? (entries_bare in status() counts such entries)",
                *(self.id, index, size),
            )

    def after_apply(self, index: int) -> None:
        """A batch is applied: tell the engine, then wake the threads that wait."""
        self.place = index
        self.gauges.index = max(self.held, index)
        self.gauges.set_time(min(self.time, NUMBER_MAX))
        self.gauges.set_applied(index)
        self.engine_event.py_wake()
        self.readers.applied(index)
        self.outcomes.wake_all()
        if index >= self.held:
            self.snapshot_if_due(index)

    def snapshot_if_due(self, index: int) -> None:
        """One that is due while another one, or a backup, is written is due still when that has ended."""
        if self.members is not None and not self.members.now.conf_state.voters:
            return  # who joins, and was not told yet who the members are, has nothing that others could begin with
        due = index >= self.due_index or self.bytes >= self.due_bytes
        if due or (self.keeper is not None and self.keeper.is_spoiled(index)):
            if self.keeper.due(index, self.applied_term):
                self.set_bounds(index)

    def take_refused(self, row: int) -> None:
        sequence, count, reason = self.applies.refusal(row)
        text = REFUSALS[reason] if reason < KNOWN_REFUSALS else REFUSALS[0]
        if reason == REFUSED_STOPPED:
            self.outcomes.give_back(sequence, count, text)
        elif reason in (REFUSED_DISK_FULL, REFUSED_LEADER_FULL):
            if reason == REFUSED_DISK_FULL and self.where:
                text = f"{self.where}: {text}: make room on its disk, and the node goes on by itself"
            self.outcomes.refuse(sequence, count, self.proposals.last_sequence, text, DiskFull)
        elif reason == REFUSED_UNCOMMITTED:
            self.outcomes.refuse(sequence, count, self.proposals.last_sequence, text, Busy)
        else:
            self.outcomes.refuse(sequence, count, self.proposals.last_sequence, text)

    def take_restore(self, row: int) -> None:
        """Another member's snapshot takes the place of the log: the state machine gets it, unless it has as much."""
        index, _ = self.applies.restore(row)
        self.held, self.held_term = self.keeper.take_over(self.open_snapshot, index)
        self.applied_term = self.held_term
        if self.members is not None:
            self.members.restore(self.keeper.newest)
        # Whether entries of this node are in it cannot be told.
        self.outcomes.lose_handed()
        self.load(self.keeper.own)
        self.set_bounds(index)
        self.after_apply(index)

    def take_address(self, row: int) -> None:
        """Who is no member here says where it is reached."""
        url = bytes(Entry.data_of(self.applies.taken.pieces()[self.span])).decode(errors="replace")
        self.span += 1
        if 0 < len(url) <= URL_MAX:
            self.members.directory.stranger(self.applies.address(row), url)

    def take_released(self, row: int) -> None:
        """Entries are out of memory, and may leave the disk."""
        request, index, term = self.applies.released(row)
        if term and self.keeper.covered() is None and self.sessions.live(self.time):
            self.outcomes.reject(request, SESSIONS_LIVE)
        elif term:
            if self.compact is not None:
                self.compact(index, term)
            self.outcomes.settle(request, index)
        else:
            self.outcomes.reject(request, f"entry {index} is not applied and durable here yet, or is gone already")
        self.outcomes.wake_all()

    def tell_odd(self, row: int) -> None:
        """A message was refused: say so, a reason once a minute."""
        reason, sender, kind, term, count = self.applies.odd(row)
        report(
            logging.WARNING,
            "node %d: refused %s from %d in term %d (%s), which no honest member can have sent; %d such so far",
            *(self.id, MESSAGE_NAMES.get(kind, kind), sender, term, REASONS[reason], count),
        )

    def tell_begun(self, row: int) -> None:
        """This life takes part without being known by enough of the others."""
        what = (
            "start the others, or look why they cannot be reached. It takes part meanwhile: should its storage have "
            "been set back, only a member that is not there would know"
        )
        if self.applies.begun(row):
            what = "it begins in doubt: it does not vote before a leader has brought it up to date"
        report(
            logging.WARNING,
            "node %d: too few of the other voters have answered since it was started to be sure that its storage has "
            "lost nothing: %s",
            *(self.id, what),
        )

    def tell_lost(self, row: int) -> None:
        """A member is not who it says: its storage was wiped, set back or copied."""
        member, life, known, why = self.applies.lost(row)
        report(
            logging.WARNING,
            "node %d: member %d says that it lives life %s, and this node has met life %s of it, %s. "
            "It is told so, and what it sends does not count",
            *(self.id, member, named(life), named(known), WHY.get(why, "")),
        )

    def tell_untaken(self, row: int) -> None:
        """A snapshot is needed and cannot be taken: say so, once a minute."""
        sender, index, count = self.applies.untaken(row)
        why = (
            f"it lacks entries that its leader has dropped, and its storage cannot take the snapshot of entry {index} "
            f"that member {sender} offers instead: it stays behind until it has a storage with begin_snapshot, "
            "open_snapshot, receive_snapshot and begin_behind, such as FileStorage"
        )
        self.untaken = (why, index)
        report(logging.WARNING, "node %d: %s; %d such offers so far", self.id, why, count)

    def take_asked(self, row: int) -> None:
        request, reason, to, before, term, leader, role = self.applies.asked(row)
        self.leadership.asked(request, reason, to, before, StateChange(term, leader, Role(role)))
        self.outcomes.wake_all()

    def take_state(self, row: int) -> None:
        term, leader, role = self.applies.state(row)
        change = StateChange(term, leader, Role(role))
        self.leadership.seen(change)
        if leader == 0:
            self.readers.leaderless()
        self.outcomes.wake_all()
        self.chronicle.state(change)
        self.state_changes.push(change)


def refusal(error: BaseException) -> BaseException:
    """What a proposer is told of an exception of ``apply``.

    A NotDone or Unknown, of a proposal to another cluster say, would say of this one that it was not applied, and
    it would be proposed again.
    """
    if not isinstance(error, ProposalError):
        return error
    told = ApplyError(text_of(error))
    told.__cause__ = error
    return told


def session_entry(data: bytes, index: int, term: int, time: int) -> Entry:
    """What a state machine gets of an entry of a session."""
    id, _, sequence, _, _ = HEADER.unpack_from(data)
    return Entry(index, term, data[SESSION_HEADER:], ENTRY_NORMAL, time, id, sequence)
