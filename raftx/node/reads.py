"""Reads, from the engine's side: what index they may be done at, asked of the leader by ReadIndex, or under its lease.

One question is under way at a time. Whatever is wanted meanwhile shares the next one, and an answer serves every read
that was wanted before its question was asked: so any number of them costs one round of heartbeats, and a question may
be asked again at any time. Reads by lease (leases.py) are done at once while the lease holds, and share the question
with the others where it does not. The question carries when it was asked, by the clock of this life: an answer tells
how new what is here is, and begins a lease. On the engine's thread, without the GIL; nothing here waits.
"""

from __future__ import annotations

from .._native.layout import ENTRY_HEADER, RECORD_LENGTH
from .._native.memory import Buffer, Spans
from .._native.outbox import Message
from .._native.threads import Cells
from ..consensus import records
from ..consensus.raft import Raft
from ..types import LEADER, MSG_READ_INDEX
from .channels import ApplyQueue
from .leases import Leases
from .rows import MS

# Bytes that go with a question, and come back: the number of the newest read, this node's life, when it was asked, and
# in which term.
QUESTION = 32
CRC_BYTES = 4  # at the beginning of a record


class Reads:
    """Those of this node. ``life``: this life of it, so that no answer to an earlier one counts."""

    def __init__(self, core: Raft, applies: ApplyQueue, life: int, leases: Leases) -> None:
        self.core = core
        self.applies = applies
        self.life = life
        self.leases = leases
        #: the number of the newest read that anybody wants, and of the newest by lease: numbers are given in order,
        #: before these are raised to them
        self.newest = Cells(2)
        #: the same as they were looked at last, and the newest one by lease that is served
        self.looked = self.looked_leased = self.leased = 0
        #: how often some were served under a lease
        self.served = 0
        #: numbers of the newest read that is wanted, that the present question is about (0: there is none), and that
        #: was answered. Invariant: answered <= wanted, asked <= wanted
        self.wanted = self.asked = self.answered = 0
        #: of the present question: whom it was asked, in which term, and how many ticks ago
        self.leader = self.term = self.ticks = 0
        #: up to which read, and at which index, reads may be done that the apply thread was not told of; 0: none
        self.untold = self.index = 0
        #: the same of reads by lease; and when the newest question was asked that has an answer
        self.untold_leased = self.index_leased = self.asked_at = 0
        self.message = Message()
        self.question = Buffer()
        self.question.fill(ENTRY_HEADER + QUESTION)
        self.empty_spans = Spans()

    def waiting(self) -> bool:
        """Whether one is wanted that was not looked at, or the last question is answered and another one is due."""
        newest = self.newest.get(0)
        leased = self.newest.get(1)
        if newest > self.looked or leased > self.looked_leased:
            return True
        return self.asked == 0 and self.wanted > self.answered and (self.core.role == LEADER or self.core.lead != 0)

    def want(self, number: int, by_lease: bool) -> int:
        """A read; the engine is to be woken. Any thread."""
        cell = 1 if by_lease else 0
        newest = self.newest.get(cell)
        while newest < number and not self.newest.replace(cell, newest, number):
            newest = self.newest.get(cell)
        return 0

    def py_want(self, number: int) -> None:
        """``want`` one that is not by lease, from Python."""
        self.want(number, False)

    def tick(self) -> int:
        """One tick of time has passed."""
        self.ticks += 1
        return 0

    def ask(self) -> int:
        """Ask for the index of what is wanted, unless a question is under way, or nobody can answer.

        A question is lost with its message, and with the leadership of whom it was asked.
        """
        self.looked = self.newest.get(0)
        self.wanted = max(self.wanted, self.looked)
        self.serve_leased()
        if self.wanted <= self.answered or (self.core.role != LEADER and self.core.lead == 0):
            return 0
        if self.asked != 0 and not self.is_lost():
            return 0
        self.asked, self.leader, self.term, self.ticks = self.wanted, self.core.lead, self.core.term, 0
        self.question.set_u32(RECORD_LENGTH, QUESTION)
        self.question.set_u64(ENTRY_HEADER, self.asked)
        self.question.set_u64(ENTRY_HEADER + 8, self.life)
        self.question.set_u64(ENTRY_HEADER + 16, self.leases.clock.boot())
        self.question.set_u64(ENTRY_HEADER + 24, self.core.term)
        self.question.set_u32(0, self.question.crc(CRC_BYTES, ENTRY_HEADER + QUESTION - CRC_BYTES))
        self.message.reset(MSG_READ_INDEX)
        self.message.sender = self.core.id
        self.message.body_from(self.question, 0, ENTRY_HEADER + QUESTION, 1)
        return self.core.step(self.message)

    def serve_leased(self) -> int:
        """Let reads by lease be done at once, if it holds; else they are as any other.

        First the index, then the clock: had this process been stopped in between, the lease would be over.
        """
        self.looked_leased = self.newest.get(1)
        if self.looked_leased <= self.leased:
            return 0
        index = self.core.committed
        rest = self.leases.rest()
        if rest <= 0:
            self.wanted = max(self.wanted, self.looked_leased)
            return 0
        self.served += 1
        self.leased = self.untold_leased = self.looked_leased
        self.index_leased = max(self.index_leased, index)
        if rest < self.leases.own_ms * MS // 2:
            # Begun anew in time, so that nobody has to wait for it.
            self.wanted = max(self.wanted, self.leased)
        return 0

    def is_lost(self) -> bool:
        """Whether the present question will not be answered any more, as far as can be told."""
        if self.leader != self.core.lead or self.term != self.core.term:
            return True
        # What a leader asks of itself waits in it. Another one answers within two rounds of heartbeats.
        return self.core.role != LEADER and self.ticks > 2 * self.core.heartbeat_timeout + 2

    def tell(self) -> int:
        """Take the answers, and tell the apply thread of the newest."""
        for row in range(self.core.read_states.length()):
            self.core.read_states.load(row, self.message)
            self.answer()
        self.core.read_states.clear()
        if self.untold != 0 and self.applies.put_read_at(self.empty_spans, self.untold, self.index, self.asked_at) == 0:
            self.untold = 0
        if self.untold_leased != 0:
            if self.applies.put_leased_at(self.empty_spans, self.untold_leased, self.index_leased) == 0:
                self.untold_leased = 0
        return 0

    def answer(self) -> int:
        """An index, for the reads that were wanted before it was asked for."""
        if self.message.body_size != ENTRY_HEADER + QUESTION:
            return 0
        number = records.u64(self.message.body, ENTRY_HEADER)
        since = records.u64(self.message.body, ENTRY_HEADER + 16)
        if records.u64(self.message.body, ENTRY_HEADER + 8) != self.life or number > self.wanted:
            return 0
        if since > self.leases.clock.boot():
            return 0  # nobody has asked that yet
        if self.message.kind == MSG_READ_INDEX:
            # Of this node's own core, as the leader of the term in which it was asked.
            self.leases.confirmed(since, records.u64(self.message.body, ENTRY_HEADER + 24))
        if number > self.answered:
            self.answered = self.untold = number
            self.leased = max(self.leased, min(number, self.looked_leased))
            self.index = max(self.index, self.message.index)
            self.asked_at = max(self.asked_at, since)
        if number >= self.asked:
            self.asked = 0
        return 0
