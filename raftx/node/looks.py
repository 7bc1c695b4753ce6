"""Members ask one another how they are: the engine's side of it. Questions and answers pass; nothing is known of them.

What is asked and answered is made in Python, by the lookout (lookout.py), which waits for user code or a disk if need
be; the engine does not. A question or an answer travels in a frame of its own, so that a member which does not know the
kind drops it alone. A member answers each other one only so often, whatever that one asks. On the engine's thread.
"""

from __future__ import annotations

from array import array

from .._native.memory import Spans
from .._native.outbox import Message, Outbox
from .._native.threads import Event, Handoff
from ..consensus.raft import Raft
from ..types import MSG_LOOK, MSG_SEEN
from .channels import CommandQueue
from .dispatch import Dispatch
from .peers import PeerTable
from .rows import PLACES, ROW_LOOK, ROW_SEEN

QUEUED = 128  # rows that may wait for the lookout: what comes beyond is dropped, and asked for again
MEASURE_TICKS = 32  # how often the log in memory is measured: that looks at each entry
PAUSE_MS = 100  # a question of a member counts when so much time has passed since its last one


class LookQueue(Handoff):
    """From the engine to the lookout."""

    def put_question(self, no_spans: Spans, sender: int, number: int, life: int) -> int:
        """``sender``, in that life, asks how this node is."""
        return self.put(no_spans, ROW_LOOK, sender, number, life, 0, 0, 0, 0)

    def put_answer(self, record: Spans, sender: int, number: int) -> int:
        """How ``sender`` is: one record."""
        return self.put(record, ROW_SEEN, sender, number, 0, 0, 0, 0, 0)

    # For the lookout, with the GIL. Raise IndexError.

    def row(self, row: int) -> tuple[int, ...]:
        """kind, member, number, life"""
        return tuple([self.py_at(row, column) for column in range(4)])


class Looks:
    """Of one engine, whose parts it uses. life: of this node."""

    def __init__(self, core: Raft, peers: PeerTable, dispatch: Dispatch, life: int, tick_ms: int) -> None:
        self.core = core
        self.peers = peers
        self.dispatch = dispatch
        self.gauges = dispatch.gauges
        self.life = life
        self.queue = LookQueue(Event(), QUEUED)
        self.pause = max(1, PAUSE_MS // tick_ms)
        self.ticks = self.pause
        #: the tick in which the last question of each member counted, by place
        self.asked = array("q", bytes(8 * PLACES))
        self.out = Outbox()
        self.spans = Spans()
        self.empty_spans = Spans()
        #: questions of others that came too soon, or found the lookout busy
        self.dropped = 0

    def tick(self) -> int:
        """Time passes."""
        self.ticks += 1
        if self.ticks % MEASURE_TICKS == 0:
            first, last = self.core.log.first, self.core.log.last
            self.gauges.log_bytes = self.core.log_bytes(first, last) if first <= last else 0
        return 0

    # --- what arrives ----------------------------------------------------------------------------------

    def receive(self, m: Message, sender_life: int) -> int:
        """A member asks, or answers what was asked in this life."""
        if self.core.tracker.peers.slot_of(m.sender) < 0:
            return 0
        if m.kind == MSG_LOOK:
            return self.take_question(m, sender_life)
        if m.log_term != self.life or m.count != 1:
            return 0
        self.spans.clear()
        self.spans.push_copy(m.body, m.body_size, m.sender, 1)
        return self.queue.put_answer(self.spans, m.sender, m.context)

    def take_question(self, m: Message, sender_life: int) -> int:
        """One from a member, if its last one was long enough ago."""
        place = self.peers.of_id(self.core.tracker.peers, m.sender)
        if place < 0 or self.ticks - self.asked[place] < self.pause:
            self.dropped += 1
            return 0
        self.asked[place] = self.ticks
        if self.queue.put_question(self.empty_spans, m.sender, m.context, sender_life) != 0:
            self.dropped += 1
        return 0

    # --- what the lookout says -------------------------------------------------------------------------

    def ask(self, to: int, number: int) -> int:
        """It wants to know how a member is."""
        self.out.clear()
        self.out.push(MSG_LOOK, to, self.core.id, 0)
        self.out.set_answer(0, 0, number)
        return self.dispatch.send_alone(self.out, to)

    def give(self, commands: CommandQueue, row: int, span: int) -> int:
        """It has an answer for a member that asked."""
        to, number, life = commands.number(row, 0), commands.number(row, 1), commands.number(row, 2)
        self.spans.clear()
        self.spans.push_copy(commands.taken.data_at(span), commands.taken.size_at(span), number, 1)
        self.out.clear()
        self.out.push(MSG_SEEN, to, self.core.id, 0)
        self.out.set_log(0, life, 0)
        self.out.set_answer(0, 0, number)
        self.out.set_spans(self.spans, 1)
        return self.dispatch.send_alone(self.out, to)
