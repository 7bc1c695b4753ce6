"""What this process asks of its engine: the rows of the command queue, one by one.

On the engine's thread, without the GIL. What comes of a request goes to the apply thread; nothing here waits.
"""

from __future__ import annotations

from .._native.memory import Spans
from .._native.outbox import Message
from ..consensus.raft import Raft
from ..types import FOLLOWER, LEADER, MSG_HUP, MSG_TRANSFER_LEADER, MSG_UNREACHABLE
from . import elections
from .changes import Changes
from .channels import ApplyGauges, ApplyQueue, CommandQueue, Gauges
from .compaction import Compaction
from .dispatch import Dispatch
from .lag import Lag
from .leases import Leases
from .looks import Looks
from .meetings import Meetings
from .peers import PeerTable
from .room import Room
from .rows import (
    REFUSED_BOUND,
    REFUSED_CAMPAIGN,
    REFUSED_FULL_THERE,
    REFUSED_LEADS_NOT,
    ROW_CAMPAIGN,
    ROW_CHANGE,
    ROW_CONNECTED,
    ROW_JUDGED,
    ROW_LOOK,
    ROW_MET,
    ROW_RELEASE,
    ROW_SEEN,
    ROW_SNAPSHOT,
    ROW_STEP_DOWN,
    ROW_TRANSFER_TO,
    ROW_UNREACHABLE,
    ROWS_KEPT,
)
from .transfers import Transfers


class Orders:
    """Of one engine, whose parts it uses."""

    def __init__(
        self,
        core: Raft,
        queue: CommandQueue,
        applies: ApplyQueue,
        dispatch: Dispatch,
        peers: PeerTable,
        transfers: Transfers,
        compaction: Compaction,
        meetings: Meetings,
        room: Room,
        changes: Changes,
        lag: Lag,
        leases: Leases,
        looks: Looks,
        gauges: Gauges,
        apply_gauges: ApplyGauges,
    ) -> None:
        self.core = core
        self.queue = queue
        self.applies = applies
        self.dispatch = dispatch
        self.peers = peers
        self.transfers = transfers
        self.compaction = compaction
        self.meetings = meetings
        self.room = room
        self.changes = changes
        self.lag = lag
        self.leases = leases
        self.looks = looks
        self.gauges = gauges
        self.apply_gauges = apply_gauges
        self.message = Message()
        self.empty_spans = Spans()  # rows without bytes
        #: rows that were taken, how many of them are done, and spans of those
        self.taken = self.row = self.span = 0

    def waiting(self) -> bool:
        """Whether there is something to take."""
        return self.row < self.taken or self.queue.waiting()

    def take(self) -> int:
        """All that is there, as far as there is room for what comes of it."""
        if self.row == self.taken:
            self.row = self.span = 0
            self.taken = self.queue.take()
        while self.row < self.taken and not self.applies.lacks(ROWS_KEPT):
            self.take_row(self.row)
            self.row += 1
        return 0

    def take_row(self, row: int) -> int:
        """One of them."""
        kind = self.queue.kind(row)
        member = self.queue.member(row)
        if kind == ROW_CAMPAIGN:
            self.campaign(self.queue.request(row))
        elif kind == ROW_TRANSFER_TO:
            self.transfer(member, self.queue.request(row))
        elif kind == ROW_STEP_DOWN:
            self.step_down(self.queue.request(row))
        elif kind == ROW_UNREACHABLE:
            self.gauges.frames_dropped += 1
            self.unreachable(member)
        elif kind == ROW_CONNECTED:
            self.dispatch.hello(member, True)
        elif kind == ROW_SNAPSHOT:
            index, term = self.queue.index(row), self.queue.term_of(row)
            self.core.take_snapshot(self.queue.taken, self.span, index, term)
            self.span += 1
        elif kind == ROW_CHANGE:
            self.changes.want(self.queue, row, self.span)
            self.span += 1
        elif kind == ROW_JUDGED:
            self.changes.judged(self.queue, row, self.span)
            self.span += 1
        elif kind == ROW_LOOK:
            self.looks.ask(member, self.queue.request(row))
        elif kind == ROW_SEEN:
            self.looks.give(self.queue, row, self.span)
            self.span += 1
        elif kind == ROW_RELEASE:
            self.release(self.queue.index(row), self.queue.request(row))
        elif kind == ROW_MET:
            life, known, why = self.queue.number(row, 1), self.queue.number(row, 2), self.queue.number(row, 3)
            if self.meetings.met(member, life, known, why, self.queue.number(row, 4)):
                self.applies.put_lost(self.empty_spans, member, life, known, why)
        else:
            self.span += self.transfers.take_command(self.queue, row, self.span)
        return 0

    def release(self, index: int, request: int) -> int:
        """The owner needs nothing up to ``index``, and a member that does is not helped."""
        term = self.core.log.term(index) if self.compaction.release(index, self.apply_gauges.index) else 0
        return self.applies.put_released(self.empty_spans, request, index, term)

    def unreachable(self, id: int) -> int:
        """A frame to this member has been dropped."""
        place = self.peers.of_id(self.core.tracker.peers, id)
        if place >= 0:
            self.peers.contact.unsent(place)
        self.message.reset(MSG_UNREACHABLE)
        self.message.sender = id
        return self.core.step(self.message)

    def campaign(self, request: int) -> int:
        """Campaign now, if this member may. Who has just heard of a leader would break its lease."""
        term = self.core.term
        if self.leases.is_bound() and not self.core.tracker.is_singleton():
            return self.tell_asked(request, REFUSED_BOUND, self.core.id, term)
        if self.meetings.begun:
            self.core.step_local(MSG_HUP)
        return self.tell_asked(request, REFUSED_CAMPAIGN if self.core.role == FOLLOWER else 0, self.core.id, term)

    def transfer(self, to: int, request: int) -> int:
        """Hand leadership to ``to``; 0: to the live voter whose log is most complete."""
        term = self.core.term
        if to == 0 and self.core.role == LEADER:
            to = self.room.successor()
            if to == 0:
                to = elections.most_complete(self.core, self.peers)
        reason = elections.transfer_refusal(self.core, to)
        if reason == 0 and self.core.role == LEADER and self.room.is_full(to):
            reason = REFUSED_FULL_THERE
        if reason == 0:
            self.message.reset(MSG_TRANSFER_LEADER)
            self.message.sender = self.core.id
            self.message.hint = to
            self.core.step(self.message)
        return self.tell_asked(request, reason, to, term)

    def step_down(self, request: int) -> int:
        """Give leadership up, and let another member campaign first."""
        reason = 0 if self.core.role == LEADER else REFUSED_LEADS_NOT
        if reason == 0:
            self.core.step_down()
            self.lag.step_aside()
        return self.tell_asked(request, reason, 0, self.core.term)

    def tell_asked(self, request: int, reason: int, to: int, term: int) -> int:
        """The core was asked that ``to`` lead, in ``term``, or not, with a reason; and what it knows now."""
        if request:
            now, lead, role = self.core.term, self.core.lead, self.core.role
            return self.applies.put_asked(self.empty_spans, request, reason, to, term, now, lead, role)
        return 0
