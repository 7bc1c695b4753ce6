"""Snapshots on their way between members, from the engine's side: what is offered, asked for, given, and taken up.

The leader's core offers a snapshot with a message of its own. The engine keeps that message back and lets the courier
(courier.py) fetch the file, chunk by chunk, from whoever has it. The core learns of the snapshot only when the file is
whole and durable: so a broken transfer costs it nothing. By then another member may lead, which does not matter: what
is in a snapshot is committed. Nothing here waits, and no Python object is touched.
"""

from __future__ import annotations

from array import array

from .._native.memory import Spans
from .._native.outbox import Message, Outbox
from .._native.threads import Event, Handoff
from ..consensus import records
from ..consensus.raft import Raft
from ..types import (
    FLAG_REJECT,
    FOLLOWER,
    LEADER,
    MSG_CHUNK,
    MSG_CHUNKS,
    MSG_SNAP,
    MSG_SNAP_STATUS,
    SNAPSHOT,
)
from .channels import CommandQueue
from .peers import PeerTable
from .rows import PLACES, ROW_ARRIVED, ROW_ASK, ROW_CHUNK, ROW_GIVE, ROW_OFFER, ROW_WANTED

QUEUED = 64  # rows that may wait for the courier; what comes beyond is dropped, and asked for again
IDLE_TIMEOUTS = 4  # election timeouts without a request for chunks after which a leader offers a snapshot anew


class CourierQueue(Handoff):
    """From the engine to the courier."""

    def put_offer(self, record: Spans, sender: int, index: int, term: int) -> int:
        """``sender`` offers this snapshot; ``record`` is what its message holds."""
        return self.put(record, ROW_OFFER, sender, index, term, 0, 0, 0, 0)

    def put_wanted(self, no_spans: Spans, to: int, index: int, term: int, tag: int, first: int, count: int) -> int:
        """``to`` asks for chunks of the snapshot with that tag."""
        return self.put(no_spans, ROW_WANTED, to, index, term, tag, first, count, 0)

    def put_chunk(self, chunk: Spans, sender: int, index: int, term: int, tag: int, number: int, refused: bool) -> int:
        """A chunk, one record, has arrived; refused: the sender does not have that snapshot, there is no record."""
        return self.put(chunk, ROW_CHUNK, sender, index, term, tag, number, 1 if refused else 0, 0)

    # For the courier, with the GIL. Raise IndexError.

    def row(self, row: int) -> tuple[int, ...]:
        """kind, member, index, term, tag, first or number, count or refused"""
        return tuple([self.py_at(row, column) for column in range(7)])


class Transfers:
    """Of one node. ``enabled``: there is a courier; if not, nothing is to be offered to it that it lacks."""

    def __init__(self, core: Raft, out: Outbox, peers: PeerTable, enabled: bool) -> None:
        self.core = core
        self.out = out
        self.peers = peers
        self.enabled = enabled
        self.queue = CourierQueue(Event(), QUEUED)
        self.message = Message()
        self.spans = Spans()
        #: of the newest snapshot whose file is here, what tells the core of it, until it was told; index 0: none
        self.file = Spans()
        self.file_index = 0
        #: the write that begins the log anew, and the snapshot it is of; 0: none is under way
        self.write = self.index = self.term = 0
        #: ticks since a member that this leader has offered a snapshot last asked for a chunk, by place (peers.py)
        self.idle = array("q", bytes(8 * PLACES))

    # --- what arrives ----------------------------------------------------------------------------------

    def take_offer(self, m: Message) -> int:
        """The leader's snapshot. Where it is of no use the core is told at once, and answers."""
        if not self.lacks(m):
            return self.core.step(m)
        index, term = records.u64(m.body, records.RECORD_INDEX), records.u64(m.body, records.RECORD_TERM)
        if self.file_index != 0 or self.core.pending_snapshot != 0:
            return 0  # one after the other: what this one is needed for, the one that is here may do
        self.spans.clear()
        self.spans.push_copy(m.body, m.body_size, index, 1)
        return self.queue.put_offer(self.spans, m.sender, index, term)

    def lacks(self, m: Message) -> bool:
        """Whether the leader offers what this member does not have; a leader of before offers nothing."""
        index, term = records.u64(m.body, records.RECORD_INDEX), records.u64(m.body, records.RECORD_TERM)
        return m.term >= self.core.term and index > self.core.committed and not self.core.log.match(index, term)

    def take_chunks(self, m: Message) -> int:
        """A member asks for chunks: of the leader's offer, or of another's whose file this member may have, too."""
        slot = self.core.tracker.peers.slot_of(m.sender)
        if slot < 0 or not self.enabled:
            return 0
        self.idle[self.peers.of_slot(self.core.tracker.peers, slot)] = 0
        self.spans.clear()
        return self.queue.put_wanted(self.spans, m.sender, m.index, m.log_term, m.context, m.commit, m.hint)

    def take_chunk(self, m: Message) -> int:
        """A chunk that was asked for, perhaps in an earlier life."""
        refused = m.flags & FLAG_REJECT != 0
        if not self.enabled or (self.core.tracker.peers.slot_of(m.sender) < 0 and m.sender != self.core.lead):
            return 0  # a member that joins knows its leader before it knows the members
        if (m.count != 0) == refused:
            # A chunk, or the news that there is none: what is both, or neither, no honest member has sent. The courier
            # takes a record of every row that refuses nothing, and of no other.
            return 0
        self.spans.clear()
        if m.count:
            self.spans.push_copy(m.body, m.body_size, m.commit, 1)
        return self.queue.put_chunk(self.spans, m.sender, m.index, m.log_term, m.context, m.commit, refused)

    # --- what the courier says -------------------------------------------------------------------------

    def take_command(self, commands: CommandQueue, row: int, span: int) -> int:
        """A row of the engine's commands, whose spans begin with that one; how many of them it has taken."""
        kind = commands.kind(row)
        to, index, term = commands.number(row, 0), commands.number(row, 1), commands.number(row, 2)
        tag, number, last = commands.number(row, 3), commands.number(row, 4), commands.number(row, 5)
        if kind == ROW_ASK:
            self.ask(to, index, term, tag, number, last)
            return 0
        if kind == ROW_GIVE:
            self.give(commands.taken, span, to, index, term, tag, number, last != 0)
            return 0 if last else 1
        if kind == ROW_ARRIVED:
            self.take_file(commands.taken, span, index)
            return 1
        return 0

    def ask(self, to: int, index: int, term: int, tag: int, first: int, count: int) -> int:
        """It wants chunks."""
        self.out.push(MSG_CHUNKS, to, self.core.id, 0)
        self.out.set_log(index, term, first)
        self.out.set_answer(0, count, tag)
        return 0

    def give(
        self, spans: Spans, span: int, to: int, index: int, term: int, tag: int, number: int, refused: bool
    ) -> int:
        """It has read one, or does not have that snapshot (any more)."""
        self.out.push(MSG_CHUNK, to, self.core.id, 0)
        self.out.set_log(index, term, number)
        self.out.set_answer(FLAG_REJECT if refused else 0, 0, tag)
        if not refused:
            self.spans.clear()
            self.spans.push_shared(spans, span)
            self.out.set_spans(self.spans, 1)
            return 0
        slot = self.core.tracker.peers.slot_of(to)
        if slot >= 0 and self.core.tracker.peers.pending_snapshot[slot] == index:
            # It cannot come to an end: offer what is newest now.
            return self.lost(to)
        return 0

    def take_file(self, spans: Spans, span: int, index: int) -> int:
        """A file is whole, durable, and has its name; ``spans`` has what tells the core of it."""
        if index <= self.core.committed or index <= self.file_index:
            return 0  # what it holds has come by entries, say
        self.file.clear()
        self.file.push_copy(spans.data_at(span), spans.size_at(span), index, 1)
        self.file_index = index
        return self.install()

    def install(self) -> int:
        """Tell the core, if it can be told now: a follower takes a snapshot, from the leader that it knows."""
        if self.file_index == 0 or self.core.pending_snapshot != 0:
            return 0
        if self.file_index > self.core.committed:
            if self.core.role != FOLLOWER or self.core.lead == 0:
                return 0
            self.message.reset(MSG_SNAP)
            self.message.sender = self.core.lead
            self.message.term = self.core.term
            self.message.set_body(self.file.data_at(0), self.file.size_at(0), 1)
            self.core.step(self.message)
        self.file.clear()
        self.file_index = 0
        return 0

    # --- time, and the disk ----------------------------------------------------------------------------

    def tick(self) -> int:
        """What could not be told before; and members of whose transfer nothing is heard."""
        self.install()
        if self.core.role != LEADER:
            return 0
        for slot in range(self.core.tracker.peers.count):
            place = self.peers.of_slot(self.core.tracker.peers, slot)
            if slot == self.core.self_slot or self.core.tracker.peers.state[slot] != SNAPSHOT:
                self.idle[place] = 0
                continue
            self.idle[place] += 1
            if self.idle[place] > IDLE_TIMEOUTS * self.core.election_timeout:
                # Lost on its way, or the member is gone: probe it, and offer what is newest then.
                self.idle[place] = 0
                self.lost(self.core.tracker.peers.ids[slot])
        return 0

    def lost(self, to: int) -> int:
        """An offer was not sent, or comes to nothing: the core probes the member, and offers again."""
        if self.core.role != LEADER:
            return 0
        self.message.reset(MSG_SNAP_STATUS)
        self.message.sender = to
        self.message.flags = FLAG_REJECT
        return self.core.step(self.message)

    def writing(self, number: int) -> None:
        """This write begins the log anew behind the core's pending snapshot."""
        self.write = number
        self.index, self.term = self.core.pending_snapshot, self.core.pending_snapshot_term

    def written(self, number: int) -> bool:
        """Whether that write is durable now, for the first time: ``index`` and ``term`` tell of what."""
        if self.write == 0 or number < self.write:
            return False
        self.write = 0
        return True
