"""The engine: one loop that owns the core, its timers and the sending side of the transport.

It runs on a thread of its own without the GIL and calls no Python object: proposals, frames, disk
completions and commands reach it through bounded hand-overs and one event; what it wants written,
applied or shown leaves it the same way. It never waits for a disk or for the state machine.

Order within one round: take what has arrived, tick if a tick is due, then hand over one write,
send what may leave, hand over what is committed. A message that promises something about this
node's disk is held until the write it depends on is durable: that is the driver's (consensus/driver.py).
"""

from __future__ import annotations

from array import array

from .._core import Codec
from .._native.limits import NOTE_LIMIT, NOTE_TOO_LARGE
from .._native.memory import Spans
from .._native.outbox import Message, Outbox
from .._native.threads import Cells, Clock, Event, Handoff, Intake, Runner
from ..config import Config
from ..consensus import admission
from ..consensus.driver import Driver
from ..consensus.raft import Raft
from ..storage.protocol import CELL_DONE, CELL_ERROR, ROW_IN_DOUBT, ROW_STOP, ROW_WRITE
from ..transport.link import Link
from ..types import (
    FLAG_NEW_CONNECTION,
    FLAG_REJECT,
    FOLLOWER,
    LEADER,
    MEMBERS_MAX,
    MSG_HELLO,
    MSG_HUP,
    MSG_PROP,
    MSG_READ_INDEX,
    MSG_READ_INDEX_RESP,
    MSG_REFUSED,
    MSG_SNAP,
    MSG_TRANSFER_LEADER,
    MSG_UNREACHABLE,
)
from . import elections
from .contact import Contact
from .hello import Hellos, hello_of
from .rows import (
    CMD_CAMPAIGN,
    CMD_CONNECTED,
    CMD_STOP,
    CMD_TRANSFER,
    CMD_UNREACHABLE,
    DONE_APPLIED,
    FAILED_STORAGE,
    ODD_ANSWER,
    REASONS_MAX,
    REFUSED_CAMPAIGN,
    REFUSED_FORWARDING,
    REFUSED_NO_LEADER,
    REFUSED_NOT_LEADER,
    REFUSED_REMOVED,
    REFUSED_STOPPED,
    REFUSED_TRANSFER,
    REFUSED_UNCOMMITTED,
    REFUSED_UNREACHABLE,
    ROW_APPLY,
    ROW_ASKED,
    ROW_END,
    ROW_HANDED,
    ROW_ODD,
    ROW_REFUSED,
    ROW_STATE,
    ROW_TRANSFER,
    SENDER_STALE,
    SHOW_APPLIED,
    SHOW_COMMIT,
    SHOW_FAILED,
    SHOW_FOREIGN,
    SHOW_FRAMES_DROPPED,
    SHOW_FRAMES_IN,
    SHOW_FRAMES_OUT,
    SHOW_IN_DOUBT,
    SHOW_LAST,
    SHOW_LEAD,
    SHOW_LEADERS,
    SHOW_ODD,
    SHOW_REJECTED,
    SHOW_ROLE,
    SHOW_STABLE,
    SHOW_STALE,
    SHOW_TERM,
    SHOW_TICKS,
    SHOW_TOO_LARGE_IN,
    SHOW_TOO_LARGE_OUT,
    SHOW_UNSERVED,
    SHOW_VOTE,
    SHOWN,
)
from .senders import Senders
from .stamps import Stamps

FRAME_HEADER = 64
MESSAGE_HEADER = 64
FRAME_CLOSE = 512 << 10  # a frame takes no further message above this; a larger message has one of its own
RECORD_HEADER = 32
NOTE_TICKS = 200  # between two notes about frames that are too large for a member
FRAMES_A_ROUND = 256  # so that ticks and disk completions are looked at under a flood
ODD_NS = 60_000_000_000  # how often the same reason is told


class Engine(Runner):
    """The loop. Attributes named ``show`` and the hand-overs are the only things others may touch."""

    def __init__(
        self,
        core: Raft,
        codec: Codec,
        link: Link,
        clock: Clock,
        event: Event,
        intake: Intake,
        writes: Handoff,
        write_cells: Cells,
        applies: Handoff,
        settings: Config,
        stamps: Stamps,
        max_frame_bytes: int,
    ) -> None:
        self.core = core
        self.codec = codec
        self.link = link
        self.clock = clock
        self.event = event
        self.intake = intake
        self.writes = writes
        self.write_cells = write_cells
        self.applies = applies
        self.apply_cells = Cells()
        self.commands = Handoff(event)
        self.show = Cells(SHOWN)
        self.show.set(SHOW_IN_DOUBT, core.in_doubt)
        self.stamps = stamps
        self.driver = Driver(core)
        self.out = self.driver.out
        self.message = Message()
        self.scratch = Message()
        self.spans = Spans()
        self.no_spans = Spans()  # rows without bytes
        self.contact = Contact(settings.election_ticks, settings.tick_ms)
        self.tick_ns = settings.tick_ms * 1_000_000
        self.next_tick = clock.py_now() + self.tick_ns
        self.max_chunk = max(1, settings.max_message_bytes)
        #: a frame takes no further message above this; one message always fits what the transport takes
        self.frame_close = min(FRAME_CLOSE, max_frame_bytes)
        self.senders = Senders()
        #: when each reason to refuse a message was told last, 0 for never
        self.odd_told = array("q", bytes(8 * REASONS_MAX))
        #: the last of this node's own proposals that was passed on
        self.passed = 0
        self.max_frame_bytes = max_frame_bytes
        #: the largest frame that each slot's member takes, as it has said; 0: it has not
        self.frame_limits = array("Q", bytes(8 * MEMBERS_MAX))
        #: ticks for which frames to each slot's member tell it that something did not fit
        self.marks = array("q", bytes(8 * MEMBERS_MAX))
        #: the incarnation of each slot's member that was heard last, and whether it has been told our settings since
        self.met = array("Q", bytes(8 * MEMBERS_MAX))
        self.introduced = array("q", bytes(8 * MEMBERS_MAX))
        #: what they are told: in row 1 as the first message on a new connection
        self.greeting = Outbox()
        for new_connection in (False, True):
            self.greeting.py_push(hello_of(settings, max_frame_bytes, new_connection))
        self.hellos = Hellos()
        #: ticks for which nothing is said about it
        self.said_too_large = array("q", bytes(8 * MEMBERS_MAX))
        self.shown_term = self.shown_lead = self.shown_transferee = 0
        self.shown_role = -1
        self.begun = self.stopping = False
        self.blocked = False
        #: ticks since the disk last finished a write, while one is under way
        self.stalled = 0

    # --- the loop --------------------------------------------------------------------------------

    def round(self) -> int:
        """Take what has arrived, tick if a tick is due, and hand over what comes of it. 0 after the last round."""
        if not self.begun:
            self.begun = True
            self.publish()
            for slot in range(self.core.tracker.peers.count):
                if slot != self.core.self_slot:
                    self.hello(self.core.tracker.peers.ids[slot], False)
        if self.write_cells.get(CELL_ERROR) != 0:
            self.show.set(SHOW_FAILED, FAILED_STORAGE)
            return self.finish()
        self.take_disk()
        self.take_frames()
        self.take_commands()
        self.take_applied()
        self.take_proposals()
        self.take_time()
        self.greet()
        self.flush()
        return self.finish() if self.stopping else 1

    def rest(self) -> int:
        """Sleep until something has arrived or a tick is due."""
        self.event.prepare()
        if self.something_waits():
            self.event.cancel()
        else:
            self.event.wait(self.clock.until(self.next_tick))
        return 0

    def finish(self) -> int:
        """The last round: what was proposed and not looked at is given back, and the other threads are told."""
        while self.intake.take():
            size = self.intake.chunk(self.max_chunk)
            count = self.intake.chunk_count()
            self.tell_refused(self.intake.taken_sequence, count, REFUSED_STOPPED)
            self.intake.consume(size, count)
        return self.end_the_others()

    def end_the_others(self) -> int:
        """The last rows: nothing follows for disk and apply thread."""
        self.writes.put(self.no_spans, ROW_STOP, 0, 0, 0, 0, 0, 0, 0)
        self.applies.put(self.no_spans, ROW_END, 0, 0, 0, 0, 0, 0, 0)
        return 0

    def hand_over_end(self) -> None:
        """The same for Python, when the loop ended with an exception."""
        self.end_the_others()

    def something_waits(self) -> bool:
        """Whether a round would find work: looked at between announcing sleep and sleeping."""
        done = self.write_cells.get(CELL_DONE)
        if self.stopping or done != self.driver.durable or self.write_cells.get(CELL_ERROR) != 0:
            return True
        if self.link.waiting() or self.commands.waiting():
            return True
        applied = self.apply_cells.get(DONE_APPLIED)
        if applied > self.core.applied:
            return True
        return not self.blocked and self.intake.waiting()

    def take_time(self) -> int:
        """At most one tick a round: a process that was paused does not fire a storm of elections."""
        now = self.clock.now()
        if now < self.next_tick:
            return 0
        self.next_tick += self.tick_ns
        if self.next_tick <= now:
            self.next_tick = now + self.tick_ns
        self.count(SHOW_TICKS)
        self.watch_disk()
        for slot in range(self.core.tracker.peers.count):
            if self.contact.tick(slot):
                self.link.renew(self.core.tracker.peers.ids[slot])
            if self.marks[slot] > 0:
                self.marks[slot] -= 1
            if self.said_too_large[slot] > 0:
                self.said_too_large[slot] -= 1
        return self.core.tick()

    def watch_disk(self) -> int:
        """A leader whose disk has not finished a write within an election timeout lets another one lead."""
        if self.driver.number == self.driver.durable:
            self.stalled = 0
            return 0
        self.stalled += 1
        if self.stalled > self.core.election_timeout and self.core.role == LEADER:
            self.core.become_follower(self.core.term, 0)
        return 0

    # --- what arrives ----------------------------------------------------------------------------

    def take_disk(self) -> int:
        """Writes that are durable now: what waited for them may leave."""
        done = self.write_cells.get(CELL_DONE)
        if done == self.driver.durable:
            return 0
        self.stalled = 0
        self.driver.write_done(done)
        self.stamps.stable(self.core.stable, self.clock.now())
        return 0

    def take_frames(self) -> int:
        frames = 0
        while frames < FRAMES_A_ROUND and self.link.next():
            frames += 1
            rejected = self.codec.open(self.link.data, self.link.size)
            if rejected != 0:
                self.count(SHOW_REJECTED + rejected)
                self.show.set(SHOW_FOREIGN, self.codec.foreign)
                continue
            self.link.proven()
            slot = self.core.tracker.peers.slot_of(self.codec.sender)
            verdict = self.senders.judge(slot, self.codec.sender_incarnation)
            if verdict == SENDER_STALE:
                self.count(SHOW_STALE)
                continue
            if verdict == 0:
                self.heard(slot)
            while self.codec.next(self.message):
                if verdict != 0:
                    self.refuse(verdict)
                else:
                    self.receive()
        if frames:
            self.show.set(SHOW_FRAMES_IN, self.show.get(SHOW_FRAMES_IN) + frames)
        return 0

    def heard(self, slot: int) -> int:
        """A frame of a member's present life."""
        if slot < 0:
            return 0
        self.contact.heard(slot)
        if self.met[slot] != self.codec.sender_incarnation:
            # Who has just begun does not know what we told its earlier life, or what was sent before it listened.
            self.met[slot] = self.codec.sender_incarnation
            self.introduced[slot] = 0
        self.frame_limits[slot] = self.codec.sender_limit
        if self.codec.sender_limit:
            # An append and the headers around it fit what its recipient takes, unless it is a single entry.
            self.core.tracker.append_limits[slot] = self.codec.sender_limit - FRAME_HEADER - MESSAGE_HEADER
        if self.codec.sender_too_large:
            self.count(SHOW_TOO_LARGE_IN)
            self.say_too_large(NOTE_TOO_LARGE, slot, self.max_frame_bytes)
        return 0

    def receive_hello(self) -> int:
        """A member's settings; perhaps on a connection that it has just made."""
        slot = self.core.tracker.peers.slot_of(self.message.sender)
        if slot < 0:
            return 0
        self.hellos.take(self.message, self.core.tracker.peers)
        if self.introduced[slot] == 0:
            self.hello(self.message.sender, False)
        if self.message.flags & FLAG_NEW_CONNECTION and self.contact.greeted(slot):
            self.link.renew(self.message.sender)
        return 0

    def say_too_large(self, kind: int, slot: int, limit: int) -> int:
        if self.said_too_large[slot] == 0:
            self.said_too_large[slot] = NOTE_TICKS
            self.link.note(kind, self.core.tracker.peers.ids[slot], limit)
        return 0

    def receive(self) -> int:
        """One message from a peer, if an honest one can have sent it."""
        if self.message.kind == MSG_HELLO:
            return self.receive_hello()
        reason = admission.refusal(self.core, self.message)
        if reason != 0:
            return self.refuse(reason)
        if not self.serves():
            self.count(SHOW_UNSERVED)
            return 0
        slot = self.core.tracker.peers.slot_of(self.message.sender)
        if self.message.kind == MSG_PROP:
            return self.receive_proposals(slot)
        if self.message.kind == MSG_REFUSED:
            return self.receive_refused()
        self.senders.heard(slot, self.codec.sender_incarnation)
        return self.core.step(self.message)

    def refuse(self, reason: int) -> int:
        """Count a message that is dropped; the first of each reason, and then one a minute, is told."""
        self.count(SHOW_ODD + reason)
        now = self.clock.now()
        if self.odd_told[reason] == 0 or now - self.odd_told[reason] >= ODD_NS:
            self.odd_told[reason] = max(now, 1)
            count = self.show.get(SHOW_ODD + reason)
            kind = self.message.kind
            self.applies.put(self.no_spans, ROW_ODD, reason, self.message.sender, kind, self.message.term, count, 0, 0)
        return 0

    def count(self, cell: int) -> int:
        """One more of what is shown there."""
        self.show.set(cell, self.show.get(cell) + 1)
        return 0

    def receive_refused(self) -> int:
        """The leader did not take proposals that were passed on to it."""
        if self.message.log_term != self.codec.incarnation:
            # An answer to an earlier life of this node is about sequence numbers that are not ours.
            return 0
        first = self.message.context
        if first == 0 or first > self.passed or self.message.hint == 0 or self.message.hint > self.passed + 1 - first:
            return self.refuse(ODD_ANSWER)
        return self.tell_refused(first, self.message.hint, self.message.index)

    def serves(self) -> bool:
        """Whether a node does what the message asks for: the core knows more than the engine persists and applies."""
        if self.message.kind in (MSG_SNAP, MSG_READ_INDEX, MSG_READ_INDEX_RESP):
            return False
        return not self.message.has_changes()

    def receive_proposals(self, slot: int) -> int:
        """Proposals that a follower passed on: append them, or say why not.

        Only in the term they were passed on in: what an entry of a later term has followed can then be told
        not to be done.
        """
        count = self.message.count
        sequence = self.message.context
        sender = self.message.sender
        if slot < 0:
            return 0
        odd = self.senders.proposals_refusal(slot, self.message, self.codec.sender_incarnation)
        if odd != 0:
            return self.refuse(odd)
        self.senders.heard(slot, self.codec.sender_incarnation)
        if self.senders.is_repeated(slot, sequence):
            return 0
        reason = REFUSED_NOT_LEADER
        if self.core.role == LEADER and self.message.log_term == self.core.term:
            reason = self.refusal(self.message.body_size - count * RECORD_HEADER)
        if reason:
            self.out.push(MSG_REFUSED, sender, self.core.id, 0)
            self.out.set_log(reason, self.codec.sender_incarnation, 0)
            self.out.set_answer(FLAG_REJECT, count, sequence)
            return 0
        self.message.term = 0
        return self.core.step(self.message)

    def refusal(self, size: int) -> int:
        """Why a leader would refuse a proposal of ``size`` payload bytes; 0 when it would not.

        Looked at before the core is asked: an exception would need the GIL, which may be away.
        """
        if self.core.self_slot < 0:
            return REFUSED_REMOVED
        if self.core.transferee:
            return REFUSED_TRANSFER
        if self.core.uncommitted_bytes > 0 and self.core.uncommitted_bytes + size > self.core.max_uncommitted_bytes:
            return REFUSED_UNCOMMITTED
        return 0

    def take_proposals(self) -> int:
        """This node's own proposals: append them here, pass them on, or refuse them."""
        self.blocked = False
        while self.intake.take():
            size = self.intake.chunk(self.max_chunk)
            count = self.intake.chunk_count()
            sequence = self.intake.taken_sequence
            reason = 0
            if self.core.role == LEADER:
                reason = self.refusal(size - count * RECORD_HEADER)
                if reason == REFUSED_UNCOMMITTED:
                    # They wait where they are until something commits.
                    self.blocked = True
                    return 0
            elif self.core.lead == 0:
                reason = REFUSED_NO_LEADER
            elif not self.core.forward_proposals:
                reason = REFUSED_FORWARDING
            if reason:
                self.tell_refused(sequence, count, reason)
            else:
                self.message.reset(MSG_PROP)
                self.message.sender = self.core.id
                self.message.body_from(self.intake.taken, self.intake.offset, size, count)
                self.core.step(self.message)
                if self.core.role == LEADER:
                    self.stamps.accepted(self.core.log.last, self.intake.taken_since, self.clock.now())
                else:
                    # The term for the leader; count and sequence for the case that it cannot be sent.
                    self.core.messages.set_log(0, self.core.term, 0)
                    self.core.messages.set_answer(0, count, sequence)
                    self.passed = sequence + count - 1
                self.applies.put(self.no_spans, ROW_HANDED, sequence + count - 1, self.core.term, 0, 0, 0, 0, 0)
            self.intake.consume(size, count)
        return 0

    def tell_refused(self, sequence: int, count: int, reason: int) -> int:
        self.applies.put(self.no_spans, ROW_REFUSED, sequence, count, reason, 0, 0, 0, 0)
        return 0

    def take_commands(self) -> int:
        if not self.commands.waiting():
            return 0
        rows = self.commands.take()
        for row in range(rows):
            kind = self.commands.at(row, 0)
            if kind == CMD_STOP:
                self.stopping = True
            elif kind == CMD_CAMPAIGN:
                self.campaign(self.commands.at(row, 1))
            elif kind == CMD_TRANSFER:
                self.transfer(self.commands.at(row, 1), self.commands.at(row, 2))
            elif kind == CMD_UNREACHABLE:
                self.count(SHOW_FRAMES_DROPPED)
                slot = self.core.tracker.peers.slot_of(self.commands.at(row, 1))
                if slot >= 0:
                    self.contact.unsent(slot)
                self.scratch.reset(MSG_UNREACHABLE)
                self.scratch.sender = self.commands.at(row, 1)
                self.core.step(self.scratch)
            elif kind == CMD_CONNECTED:
                self.hello(self.commands.at(row, 1), True)
        return 0

    def campaign(self, request: int) -> int:
        """Campaign now, if this member may."""
        term = self.core.term
        self.core.step_local(MSG_HUP)
        return self.tell_asked(request, REFUSED_CAMPAIGN if self.core.role == FOLLOWER else 0, self.core.id, term)

    def transfer(self, to: int, request: int) -> int:
        """Hand leadership to ``to``; 0: to the live voter whose log is most complete."""
        term = self.core.term
        if to == 0 and self.core.role == LEADER:
            to = elections.most_complete(self.core)
        reason = elections.transfer_refusal(self.core, to)
        if reason == 0:
            self.message.reset(MSG_TRANSFER_LEADER)
            self.message.sender = self.core.id
            self.message.hint = to
            self.core.step(self.message)
        return self.tell_asked(request, reason, to, term)

    def tell_asked(self, request: int, reason: int, to: int, term: int) -> int:
        """The core was asked that ``to`` lead, in ``term``, or not, with a reason; and what it knows now."""
        if request:
            now, lead, role = self.core.term, self.core.lead, self.core.role
            self.applies.put(self.no_spans, ROW_ASKED, request, reason, to, term, now, lead, role)
        return 0

    def take_applied(self) -> int:
        applied = self.apply_cells.get(DONE_APPLIED)
        if applied > self.core.applied:
            self.stamps.applied(applied, self.clock.now())
            self.driver.apply_done(applied)
        return 0

    # --- what leaves -----------------------------------------------------------------------------

    def flush(self) -> int:
        """Write, send, apply, until the core wants nothing more."""
        self.hand_over_write()
        while self.driver.settle():
            self.hand_over_write()
        self.send_frames()
        self.stamps.committed(self.core.committed, self.clock)
        # In this order: whoever learns that an entry was applied finds commit_index beyond it.
        self.publish()
        self.hand_over_entries()
        return 0

    def hand_over_write(self) -> int:
        """One write for everything that is new."""
        if not self.driver.next_write(self.spans):
            return 0
        spans = self.spans.count
        flags = ROW_IN_DOUBT if self.driver.write_in_doubt else 0
        return self.writes.put(
            self.spans,
            ROW_WRITE,
            self.driver.number,
            self.driver.write_term,
            self.driver.write_vote,
            self.driver.write_commit,
            spans,
            flags,
            0,
        )

    def send_frames(self) -> int:
        """Frames to each member in turn; a frame closes at ``frame_close``."""
        if self.out.length() == 0:
            return 0
        for slot in range(self.core.tracker.peers.count):
            if slot != self.core.self_slot:
                self.send_to(slot, self.core.tracker.peers.ids[slot])
        self.out.clear()
        return 0

    def send_to(self, slot: int, to: int) -> int:
        rows = self.out.length()
        limit = self.frame_limits[slot]
        close = self.frame_close
        if limit and limit < close:
            close = limit
        start = 0
        while start < rows:
            size = FRAME_HEADER
            count = 0
            end = start
            while end < rows:
                if self.out.to_at(end) == to:
                    step = self.codec.measure(self.out, end)
                    if count and size + step > close:
                        break
                    size += step
                    count += 1
                end += 1
            if count == 0:
                return 0
            if limit and size > limit:
                # It would end the connection. What can be told is that there is something.
                self.count(SHOW_TOO_LARGE_OUT)
                self.marks[slot] = self.contact.limit
                self.say_too_large(NOTE_LIMIT, slot, limit)
                self.not_sent(slot, to, start, end)
            elif self.send_frame(slot, to, size, start, end) != 0:
                self.count(SHOW_FRAMES_DROPPED)
                self.not_sent(slot, to, start, end)
            else:
                self.contact.sent(slot)
                self.count(SHOW_FRAMES_OUT)
            start = end
        return 0

    def send_frame(self, slot: int, to: int, size: int, start: int, end: int) -> int:
        if self.introduced[slot] == 0:
            self.hello(to, False)
        if not self.link.prepare(to, size):
            return 1
        self.codec.begin(self.link.place, size, to)
        if self.marks[slot]:
            self.codec.mark()
        for row in range(start, end):
            if self.out.to_at(row) == to:
                self.codec.add(self.out, row)
        self.codec.finish()
        return self.link.send()

    def not_sent(self, slot: int, to: int, start: int, end: int) -> int:
        """A frame was dropped: the peer is probed again, and proposals that were in it were never sent."""
        for row in range(start, end):
            if self.out.to_at(row) == to and self.out.kind_at(row) == MSG_PROP:
                self.out.load(row, self.scratch)
                self.tell_refused(self.scratch.context, self.scratch.hint, REFUSED_UNREACHABLE)
        self.scratch.reset(MSG_UNREACHABLE)
        self.scratch.sender = to
        return self.core.step(self.scratch)

    def greet(self) -> int:
        """A new connection begins with a Hello alone: a small frame, so that the member soon knows whose it is."""
        to = self.link.fresh()
        while to != 0:
            self.hello(to, True)
            to = self.link.fresh()
        return 0

    def hello(self, to: int, new_connection: bool) -> int:
        """Tell a member our settings, in a frame of their own."""
        slot = self.core.tracker.peers.slot_of(to)
        if slot >= 0 and new_connection:
            self.contact.connected(slot)
        row = 1 if new_connection else 0
        size = FRAME_HEADER + self.codec.measure(self.greeting, row)
        if self.link.prepare(to, size):
            self.codec.begin(self.link.place, size, to)
            self.codec.add(self.greeting, row)
            self.codec.finish()
            if self.link.send() == 0:
                self.count(SHOW_FRAMES_OUT)
                if slot >= 0:
                    self.introduced[slot] = 1
        return 0

    def hand_over_entries(self) -> int:
        """Committed entries that are stable here, as far as the apply thread keeps up."""
        while self.driver.next_apply(self.spans):
            low, high = self.driver.apply_low, self.driver.apply_high
            self.applies.put(self.spans, ROW_APPLY, low, high, self.spans.count, 0, 0, 0, 0)
        return 0

    def publish(self) -> int:
        """What properties and status() show; a change of term, leader or role is also an event."""
        self.show.set(SHOW_COMMIT, self.core.committed)
        self.show.set(SHOW_APPLIED, self.core.applied)
        self.show.set(SHOW_LAST, self.core.log.last)
        self.show.set(SHOW_STABLE, self.core.stable)
        self.show.set(SHOW_IN_DOUBT, self.core.in_doubt)
        if self.core.transferee != self.shown_transferee:
            was, to = self.shown_transferee, self.core.transferee
            self.shown_transferee = to
            self.applies.put(self.no_spans, ROW_TRANSFER, was, to, self.core.role, 0, 0, 0, 0)
        if (
            self.core.term == self.shown_term
            and self.core.lead == self.shown_lead
            and self.core.role == self.shown_role
        ):
            return 0
        if self.core.lead != self.shown_lead and self.core.lead != 0:
            self.count(SHOW_LEADERS)
        self.shown_term = self.core.term
        self.shown_lead = self.core.lead
        self.shown_role = self.core.role
        self.show.set(SHOW_TERM, self.core.term)
        self.show.set(SHOW_LEAD, self.core.lead)
        self.show.set(SHOW_ROLE, self.core.role)
        self.show.set(SHOW_VOTE, self.core.vote)
        self.applies.put(self.no_spans, ROW_STATE, self.core.term, self.core.lead, self.core.role, 0, 0, 0, 0)
        return 0
