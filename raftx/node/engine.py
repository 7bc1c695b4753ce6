"""The engine: one loop that owns the core, its timers and the sending side of the transport.

It runs on a thread of its own without the GIL and calls no Python object: proposals, frames, disk completions and
commands reach it through bounded queues and one event; writes, committed entries and news leave it the same way. It
never waits for a disk or for the state machine.

Order within one round: take what has arrived, tick if a tick is due, then hand over one write, send what may leave,
hand over what is committed. A message that promises something about this node's disk is held until the write it depends
on is durable: that is the driver's (consensus/driver.py).
"""

from __future__ import annotations

from array import array

from .._core import Codec
from .._native.layout import ENTRY_HEADER, FRAME_HEADER, MESSAGE_HEADER
from .._native.limits import NOTE_TOO_LARGE
from .._native.memory import Spans
from .._native.outbox import Message
from .._native.threads import Clock, Event, ProposalQueue, Runner
from ..config import Config
from ..consensus import admission, records
from ..consensus.driver import Driver
from ..consensus.raft import Raft
from ..storage.writes import DiskGauges, WriteQueue
from ..transport.link import Link
from ..types import (
    FLAG_NEW_CONNECTION,
    FLAG_REJECT,
    LEADER,
    MSG_APP,
    MSG_CHANGE,
    MSG_CHANGED,
    MSG_CHUNKS,
    MSG_HEARTBEAT,
    MSG_HELLO,
    MSG_KNOWN,
    MSG_LOOK,
    MSG_MEET,
    MSG_PROP,
    MSG_REFUSED,
    MSG_SEEN,
    MSG_SNAP,
)
from . import elections
from .changes import Changes
from .channels import ApplyGauges, ApplyQueue, CommandQueue, Gauges
from .clocks import Clocks
from .compaction import Compaction
from .dispatch import Dispatch
from .divergence import Divergence
from .hello import Hellos
from .lag import Lag
from .leases import Leases
from .looks import Looks
from .meetings import Meetings
from .orders import Orders
from .passing import Passing
from .peers import PeerTable
from .preference import Preference
from .reads import Reads
from .room import Room
from .rows import (
    FAILED_DIVERGED,
    FAILED_MEMORY,
    FAILED_STORAGE,
    ODD_CONTRADICTION,
    ODD_INCARNATION,
    REASONS_MAX,
    REFUSED_DISK_FULL,
    REFUSED_FORWARDING,
    REFUSED_LEADER_FULL,
    REFUSED_NO_LEADER,
    REFUSED_NOT_LEADER,
    REFUSED_STOPPED,
    REFUSED_UNCOMMITTED,
    ROWS_KEPT,
    SENDER_PRESENT,
    SENDER_STALE,
    SENDER_UNMET,
)
from .stall import Stall
from .stamps import StageTimes
from .transfers import Transfers
from .unled import Unled

HOLD_BYTES = 64 << 10  # of entries that wait while two appends to a member are unacknowledged
FRAMES_A_ROUND = 256  # so that ticks and disk completions are looked at under a flood
ODD_NS = 60_000_000_000  # how often the same reason is told
# Rows of the apply queue. Own proposals wait before what else arrives does (ROWS_KEPT), so that a program that proposes
# much holds up nothing else.
ROWS_A_CHUNK = 2  # that proposals were handed over, and that they could not be sent


class Engine(Runner):
    """The loop. Gauges and queues are the only things of it that others may touch.

    A queue that is full holds back what would fill it: proposals and frames wait where they are while the apply thread
    is behind (a frame in the middle, if need be), and no write is begun while too many wait for the disk.
    """

    def __init__(
        self,
        core: Raft,
        codec: Codec,
        link: Link,
        clock: Clock,
        event: Event,
        proposals: ProposalQueue,
        writes: WriteQueue,
        disk: DiskGauges,
        applies: ApplyQueue,
        commands: CommandQueue,
        settings: Config,
        stamps: StageTimes,
        max_frame_bytes: int,
        takes_snapshots: bool,
        store: bytes = b"",
        rebuilt: bool = False,
    ) -> None:
        self.core = core
        self.codec = codec
        self.link = link
        self.clock = clock
        self.event = event
        self.proposals = proposals
        self.writes = writes
        self.disk = disk
        self.applies = applies
        self.commands = commands
        self.gauges = Gauges()
        # Before the first round, too, a node says what it found: that it is in doubt, above all.
        self.gauges.in_doubt = core.in_doubt
        self.gauges.term, self.gauges.vote = core.term, core.vote
        self.gauges.last = self.gauges.stable = core.log.last
        self.apply_gauges = ApplyGauges()
        self.stamps = stamps
        self.driver = Driver(core)
        self.out = self.driver.out
        self.message = Message()
        self.spans = Spans()
        self.empty_spans = Spans()  # rows without bytes
        self.peers = PeerTable(settings.election_ticks, settings.tick_ms)
        self.senders = self.peers.senders
        self.room = Room(core, disk, self.peers)
        self.stall = Stall(core, self.driver, self.peers)
        self.passing = Passing(core.tracker.inflights.capacity, core.tracker.inflights.max_bytes)
        core.hold_bytes = HOLD_BYTES
        self.tick_ns = settings.tick_ms * 1_000_000
        self.next_tick = clock.py_now() + self.tick_ns
        self.max_chunk = max(1, settings.max_message_bytes)
        #: when each reason to refuse a message was told last, 0 for never
        self.odd_told = array("q", bytes(8 * REASONS_MAX))
        self.untaken_told = 0  # and when a snapshot was told last that cannot be taken
        self.passed = 0  # the last of this node's own proposals that was passed on
        self.max_frame_bytes = max_frame_bytes
        self.hellos = Hellos()
        self.transfers = Transfers(core, self.out, self.peers, takes_snapshots)
        self.dispatch = Dispatch(
            core, codec, link, self.out, self.peers, self.gauges, applies, self.transfers, self.passing, settings,
            max_frame_bytes, clock,
        )  # fmt: skip
        self.meetings = Meetings(
            core, self.out, self.peers, applies, codec.incarnation, store, rebuilt, settings.tick_ms
        )
        self.gauges.waiting = not self.meetings.look()
        self.divergence = Divergence(core, applies, settings.tick_ms)
        self.clocks = Clocks(core, self.peers, clock, settings.tick_ms)
        self.compaction = Compaction(core, self.peers, settings.keep_entries, settings.max_log_bytes)
        self.lag = Lag(core, self.gauges, self.apply_gauges, settings)
        self.leases = Leases(core, clock, self.hellos, settings)
        self.preference = Preference(core, self.hellos, self.peers, self.room, self.lag, settings)
        self.reads = Reads(core, applies, codec.incarnation, self.leases)
        self.changes = Changes(
            core, self.out, self.peers, self.room, self.meetings, self.driver, applies, codec.incarnation, event
        )
        self.looks = Looks(core, self.peers, self.dispatch, codec.incarnation, settings.tick_ms)
        self.unled = Unled(core, self.peers, applies, self.gauges, settings.tick_ms)
        self.orders = Orders(
            core, commands, applies, self.dispatch, self.peers, self.transfers, self.compaction, self.meetings,
            self.room, self.changes, self.lag, self.leases, self.looks, self.gauges, self.apply_gauges,
        )  # fmt: skip
        self.shown_term = self.shown_lead = self.shown_transferee = 0
        self.shown_role = -1
        self.begun = self.stopping = self.slept = False
        self.blocked = False  # proposals wait until something commits
        #: the messages of the present frame are not all taken; its sender is a member; what was thought of its life
        self.in_frame = self.of_member = False
        self.verdict = 0
        self.unsent = 0  # chunks of proposals that were passed on in this round, which may turn out not to be sent
        self.doubted_to = 0  # the first write that may have told the disk that this node is not in doubt any more
        self.spin_ns, self.spins_to, self.stopwatch = settings.spin_us * 1000, 0, Clock()

    # --- the loop --------------------------------------------------------------------------------

    def round(self) -> int:
        """Take what has arrived, tick if a tick is due, and hand over what comes of it. 0 after the last round."""
        if not self.begun:
            self.begun = True
            self.update_gauges()
            self.dispatch.greet_all()
        if self.disk.failure() != 0:
            self.gauges.failed = FAILED_STORAGE
            return self.finish()
        if self.meetings.lost:
            self.gauges.failed = FAILED_MEMORY
            return self.finish()
        if self.divergence.ended:
            self.gauges.failed = FAILED_DIVERGED
            return self.finish()
        self.link.collect()
        if self.slept:
            self.slept = False
            self.gauges.woke(self.something_waits() or self.clock.now() >= self.next_tick)
        self.take_disk()
        self.core.log.time = max(self.clocks.time(), self.apply_gauges.time())
        self.take_frames()
        self.take_commands()
        self.take_applied()
        self.take_proposals()
        self.tick_if_due()
        self.dispatch.greet()
        self.flush()
        return self.finish() if self.stopping else 1

    def rest(self) -> int:
        """Sleep until something has arrived or a tick is due; before that, look for ``spin_ns``, by the real clock."""
        self.spins_to = self.stopwatch.now() + self.spin_ns if self.spin_ns != 0 else 0
        while self.spin_ns != 0 and self.stopwatch.now() < self.spins_to and self.clock.now() < self.next_tick:
            if self.link.look(not self.applies.lacks(ROWS_KEPT)) or self.something_waits():
                return 0
        timeout = self.idle_for()
        if timeout != 0:
            self.link.wait(self.event, timeout, not self.applies.lacks(ROWS_KEPT))
            self.slept = True
        return 0

    def idle_for(self) -> int:
        """How long it may sleep unless something arrives: nanoseconds, once the sleep is announced; 0: not at all."""
        self.event.prepare()
        timeout = 0 if self.something_waits() else self.clock.until(self.next_tick)
        if timeout == 0:
            self.event.cancel()
        return timeout

    def finish(self) -> int:
        """The last round: what was proposed and not looked at is given back, and the other threads are told."""
        # Where there is no room to give a proposal back, the end of the node ends its future, as unknown.
        while self.proposals.take():
            size = self.proposals.chunk(self.proposals.taken.size)
            count = self.proposals.chunk_count()
            self.refuse_own(self.proposals.taken_sequence, count, REFUSED_STOPPED)
            self.proposals.consume(size, count)
        self.writes.end()
        self.applies.end()
        return 0

    def something_waits(self) -> bool:
        """Whether a round would find work: looked at between announcing sleep and sleeping."""
        if self.commands.is_ended() or self.disk.durable() != self.driver.durable or self.disk.failure() != 0:
            return True
        if self.apply_gauges.applied() > self.core.applied or self.reads.waiting() or self.changes.waiting():
            return True
        if (self.in_frame or self.orders.waiting() or self.link.waiting()) and not self.applies.lacks(ROWS_KEPT):
            return True
        return not self.blocked and self.proposals.waiting() and not self.lacks_room()

    def lacks_room(self) -> bool:
        """Whether own proposals have to wait for the apply thread."""
        return self.applies.lacks(ROWS_KEPT + ROWS_A_CHUNK * (self.unsent + 1) + self.applies.capacity // 2)

    def tick_if_due(self) -> int:
        """At most one tick a round: a process that was paused does not fire a storm of elections."""
        now = self.clock.now()
        if now < self.next_tick:
            return 0
        self.next_tick += self.tick_ns
        if self.next_tick <= now:
            self.next_tick = now + self.tick_ns
        self.gauges.ticks += 1
        self.stall.tick()
        self.blocked = not self.passing.tick() and self.blocked
        self.peers.tick()
        for slot in range(self.core.tracker.peers.count):
            if self.dispatch.tick(slot):
                self.meetings.unanswered(slot)
        self.compaction.tick()
        self.transfers.tick()
        self.room.tick()
        self.reads.tick()
        self.changes.tick()
        self.divergence.tick()
        self.dispatch.tell_clock(self.clocks)
        self.lag.tick()
        self.leases.tick()
        self.preference.tick()
        self.looks.tick()
        self.unled.tick(self.meetings.begun)
        if self.meetings.tick():
            self.applies.put_begun(self.empty_spans, self.core.in_doubt)
        return self.core.tick() if self.meetings.begun else 0

    # --- what arrives ----------------------------------------------------------------------------

    def take_disk(self) -> int:
        """Writes that are durable now: what waited for them may leave."""
        done = self.disk.durable()
        self.room.look(done)
        self.codec.no_room = self.room.full and self.room.known
        if self.core.in_doubt:
            self.codec.in_doubt = True
            self.doubted_to = self.driver.number + 1  # what is written next may say that it is not, at the earliest
        elif self.codec.in_doubt and done >= self.doubted_to and not self.driver.handed_in_doubt:
            self.codec.in_doubt = False
        self.codec.behind = self.lag.says_far()
        if done == self.driver.durable:
            return 0
        self.stall.finished()
        self.driver.write_done(done)
        if self.transfers.written(done):
            self.applies.put_restore(self.empty_spans, self.transfers.index, self.transfers.term)
        self.stamps.stable(self.core.stable, self.clock.now())
        return 0

    def take_frames(self) -> int:
        """What has come, as far as there is room for what comes of it; the rest of a frame is taken next time."""
        frames = 0
        while frames < FRAMES_A_ROUND and not self.applies.lacks(ROWS_KEPT):
            if self.in_frame:
                self.take_messages()
            elif not self.link.next():
                break
            else:
                frames += 1
                self.open_frame()
        self.gauges.frames_in += frames
        return 0

    def open_frame(self) -> int:
        """The next frame: whether it is whole, and of its sender's present life."""
        self.codec.connection = self.link.member()
        rejected = self.link.refusal() or self.codec.open(self.link.data, self.link.size)
        if rejected != 0:
            self.gauges.rejected[rejected] += 1
            self.gauges.foreign = self.codec.foreign
            return 0
        self.link.proven()
        place = self.peers.of_id(self.core.tracker.peers, self.codec.sender)
        self.of_member = self.core.tracker.peers.slot_of(self.codec.sender) >= 0
        self.verdict = self.senders.judge(place, self.codec.sender_incarnation, self.of_member)
        if self.verdict == SENDER_STALE:
            self.gauges.frames_stale += 1
            if not self.of_member:
                return 0
            self.meetings.superseded(place, self.codec.sender, self.codec.sender_incarnation)
        elif self.verdict != ODD_INCARNATION:
            self.heard(place)
            if not self.of_member and place >= 0:
                self.meetings.left(self.codec.sender, self.codec.sender_incarnation)
        self.in_frame = True
        return 0

    def take_messages(self) -> int:
        """Those of the present frame, while there is room for what comes of them."""
        while not self.applies.lacks(ROWS_KEPT):
            if not self.codec.next(self.message):
                self.in_frame = False
                return 0
            if self.verdict == SENDER_PRESENT:
                self.receive()
            elif self.verdict == ODD_INCARNATION:
                self.refuse(self.verdict)
            else:
                self.receive_unmet()
        return 0

    def heard(self, place: int) -> int:
        """A frame of a member's present life."""
        slot = self.core.tracker.peers.slot_of(self.codec.sender)
        if slot < 0:
            return 0
        self.dispatch.heard(place, self.codec.sender)
        self.peers.silence[place] = 0
        if self.peers.met[place] != self.codec.sender_incarnation:
            # A member that has just begun does not know what its earlier life was told, or what was sent before it
            # listened.
            self.peers.met[place] = self.codec.sender_incarnation
            self.peers.introduced[place] = 0
        self.peers.frame_limits[place] = self.codec.sender_limit
        self.room.heard(place, self.codec.sender_no_room)
        if self.verdict == SENDER_PRESENT:
            self.peers.in_doubt[place] = 1 if self.codec.sender_in_doubt else 0
        self.lag.heard(place, self.codec.sender_behind)
        if self.codec.sender_limit:
            # An append and the headers around it fit what its recipient takes, unless it is a single entry.
            self.core.tracker.append_limits[slot] = self.codec.sender_limit - FRAME_HEADER - MESSAGE_HEADER
        if self.codec.sender_too_large:
            self.gauges.too_large_in += 1
            self.dispatch.say_too_large(NOTE_TOO_LARGE, place, self.max_frame_bytes)
        return 0

    def receive_hello(self) -> int:
        """A member's settings; perhaps on a connection that it has just made."""
        if self.core.tracker.peers.slot_of(self.message.sender) < 0:
            return 0
        place = self.peers.of_id(self.core.tracker.peers, self.message.sender)
        self.hellos.take(self.message, self.core.tracker.peers)
        self.clocks.heard(place, self.message.term)
        if self.peers.introduced[place] == 0:
            self.dispatch.hello(self.message.sender, False)
        self.meetings.introduce_again(place, self.message.sender)
        if self.message.flags & FLAG_NEW_CONNECTION:
            self.dispatch.has_connected(place, self.message.sender)
        return 0

    def receive(self) -> int:
        """One message from a peer, if an honest one can have sent it."""
        if self.message.kind >= MSG_HELLO:
            return self.receive_other()
        if (not self.of_member or not self.meetings.begun) and self.message.kind in (MSG_APP, MSG_HEARTBEAT, MSG_SNAP):
            self.meetings.heard_leader(self.message.sender, self.of_member, self.message.term)
        if not self.meetings.begun:
            self.gauges.unmet += 1
            return 0
        reason = admission.refusal(self.core, self.message)
        if reason == admission.STRANGER and self.peers.find(self.message.sender) >= 0:
            self.gauges.unserved += 1  # it was a member when it sent this
            return 0
        if reason != 0:
            self.divergence.refused(self.message, reason)
            return self.refuse(reason)
        if not elections.serves(self.core, self.message):
            self.gauges.unserved += 1
            return 0
        if self.message.kind == MSG_PROP:
            return self.receive_proposals()
        if self.message.kind == MSG_REFUSED:
            return self.receive_refused()
        if self.message.kind in (MSG_APP, MSG_SNAP) and self.divergence.contradicts(self.message):
            return self.refuse(ODD_CONTRADICTION)
        if self.message.kind == MSG_SNAP:
            if not self.transfers.enabled and self.transfers.lacks(self.message):
                return self.leave_offer()
            return self.transfers.take_offer(self.message)
        if not self.unled.takes(self.message):
            return 0
        if not self.leases.takes(self.message) or not self.lag.takes(self.message.kind, self.message.count):
            return 0
        if not self.room.takes(self.message.kind, self.message.count, self.message.body_size):
            return 0
        if self.message.kind == MSG_APP:
            if self.passing.waits() and self.message.count:
                self.passing.answered(self.message.newest_of(self.core.id, self.codec.incarnation))
            return self.divergence.step(self.message)
        if self.message.kind == MSG_HEARTBEAT:
            self.divergence.beat(self.message)
        return self.core.step(self.message)

    def receive_unmet(self) -> int:
        """A message of a member's life that was not met, or is over: only who it is matters, and its settings."""
        if self.message.kind == MSG_MEET:
            return self.meetings.receive(self.message, self.codec.sender_incarnation)
        if self.verdict == SENDER_UNMET:
            if self.message.kind == MSG_HELLO:
                return self.receive_hello()
            self.gauges.unmet += 1
            self.meetings.ask(self.peers.find(self.message.sender), self.message.sender)
        return 0

    def leave_offer(self) -> int:
        """A snapshot that this member needs and its storage cannot take: counted, and told once a minute."""
        self.gauges.untaken += 1
        now = self.clock.now()
        if self.untaken_told == 0 or now - self.untaken_told >= ODD_NS:
            self.untaken_told = max(now, 1)
            index = records.u64(self.message.body, records.RECORD_INDEX)
            self.applies.put_untaken(self.empty_spans, self.message.sender, index, self.gauges.untaken)
        return 0

    def receive_other(self) -> int:
        """What does not reach the core."""
        if self.message.kind == MSG_HELLO:
            return self.receive_hello()
        if self.message.kind == MSG_MEET or self.message.kind == MSG_KNOWN:
            return self.meetings.receive(self.message, self.codec.sender_incarnation)
        if self.message.kind == MSG_CHANGE:
            return self.changes.receive(self.message, self.codec.sender_incarnation)
        if self.message.kind == MSG_CHANGED:
            return self.changes.answered(self.message)
        if self.message.kind == MSG_LOOK or self.message.kind == MSG_SEEN:
            return self.looks.receive(self.message, self.codec.sender_incarnation)
        if self.message.kind == MSG_CHUNKS:
            slot = self.core.tracker.peers.slot_of(self.message.sender)
            if slot >= 0:
                self.compaction.asks(slot, self.message.index)
            return self.transfers.take_chunks(self.message)
        return self.transfers.take_chunk(self.message)

    def refuse(self, reason: int) -> int:
        """Count a message that is dropped; the first of each reason, and then one a minute, is told."""
        self.gauges.refused[reason] += 1
        now = self.clock.now()
        if self.odd_told[reason] == 0 or now - self.odd_told[reason] >= ODD_NS:
            self.odd_told[reason] = max(now, 1)
            count = self.gauges.refused[reason]
            self.applies.put_odd(
                self.empty_spans, reason, self.message.sender, self.message.kind, self.message.term, count
            )
        return 0

    def receive_refused(self) -> int:
        """The leader did not take proposals that were passed on to it."""
        if self.message.log_term != self.codec.incarnation:
            # An answer to an earlier life of this node is about sequence numbers that are not ours.
            return 0
        first = self.message.context
        odd = self.senders.answer_refusal(self.message, self.passed)
        if odd != 0:
            return self.refuse(odd)
        self.passing.answered(first + self.message.hint - 1)
        return self.refuse_own(first, self.message.hint, self.message.index)

    def receive_proposals(self) -> int:
        """Proposals that a follower passed on: append them, or say why not.

        Only in the term they were passed on in: what an entry of a later term has followed can then be told
        not to be done.
        """
        count = self.message.count
        sequence = self.message.context
        sender = self.message.sender
        if self.core.tracker.peers.slot_of(sender) < 0:
            return 0
        place = self.peers.of_id(self.core.tracker.peers, sender)
        odd = self.senders.proposals_refusal(place, self.message, self.codec.sender_incarnation)
        if odd != 0:
            return self.refuse(odd)
        if not self.senders.claim_sequence(place, sequence):
            return 0
        reason = REFUSED_NOT_LEADER
        if self.core.role == LEADER and self.message.log_term == self.core.term:
            reason = elections.proposal_refusal(self.core, self.message.body_size - count * ENTRY_HEADER)
            if self.room.refuses(self.message.body_size):
                reason = REFUSED_LEADER_FULL
        if reason:
            if not self.core.is_of_this_life(self.message.log_term):
                # A copy may have come before this node was restarted, and been appended: the log will tell.
                return 0
            self.out.push(MSG_REFUSED, sender, self.core.id, 0)
            self.out.set_log(reason, self.codec.sender_incarnation, 0)
            self.out.set_answer(FLAG_REJECT, count, sequence)
            return 0
        self.message.term = 0
        return self.core.step(self.message)

    def take_proposals(self) -> int:
        """This node's own proposals: append them here, pass them on, or refuse them."""
        self.blocked = False
        while self.proposals.waiting() and not self.lacks_room():
            most = min(self.proposals.unhandled(), self.max_chunk)
            if self.core.role != LEADER and self.core.lead != 0 and not self.passing.opens(self.core.term, most):
                # They go to the leader together, when it has answered.
                self.blocked = True
                return 0
            self.proposals.take()
            size = self.proposals.chunk(self.max_chunk)
            count = self.proposals.chunk_count()
            sequence = self.proposals.taken_sequence
            reason = 0
            if self.room.refuses(size):
                reason = REFUSED_DISK_FULL
            elif self.core.role == LEADER:
                reason = elections.proposal_refusal(self.core, size - count * ENTRY_HEADER)
                # They wait where they are until something commits.
                self.blocked = reason == REFUSED_UNCOMMITTED
            elif self.core.lead == 0:
                reason = REFUSED_NO_LEADER
            elif not self.core.forward_proposals:
                reason = REFUSED_FORWARDING
            else:
                self.blocked = not self.passing.fits(size)
            if self.blocked:
                return 0
            if reason:
                self.refuse_own(sequence, count, reason)
            else:
                self.message.reset(MSG_PROP)
                self.message.sender = self.core.id
                self.message.body_from(self.proposals.taken, self.proposals.offset, size, count)
                self.core.step(self.message)
                if self.core.role == LEADER:
                    self.stamps.accepted(
                        self.core.log.last, count, self.core.term, self.proposals.taken_since, self.clock.now()
                    )
                else:
                    # The term for the leader; count and sequence for the case that it cannot be sent.
                    self.core.messages.set_log(0, self.core.term, 0)
                    self.core.messages.set_answer(0, count, sequence)
                    self.passed = sequence + count - 1
                    self.passing.passed(self.passed, size)
                    self.unsent += 1
                self.applies.put_handed(self.empty_spans, sequence + count - 1, self.core.term)
            self.proposals.consume(size, count)
        return 0

    def refuse_own(self, sequence: int, count: int, reason: int) -> int:
        return self.applies.put_refused(self.empty_spans, sequence, count, reason)

    def take_commands(self) -> int:
        """What this process asks for; the end of it ends the engine."""
        if self.commands.is_ended():
            self.stopping = True
        self.orders.take()
        return self.reads.ask()

    def take_applied(self) -> int:
        applied = self.apply_gauges.applied()
        # What the entries up to there have changed was put before: it is in use before they count as applied.
        self.changes.take()
        if applied > self.core.applied:
            self.stamps.applied(applied, self.clock.now())
            if self.core.pending_snapshot != 0 and applied >= self.core.pending_snapshot:
                self.core.applied_snapshot(self.core.pending_snapshot)
            self.driver.apply_done(applied)
        return 0

    # --- what leaves -----------------------------------------------------------------------------

    def flush(self) -> int:
        """Write, send, apply, until the core wants nothing more."""
        self.hand_over_write()
        while self.driver.settle():
            self.hand_over_write()
        self.reads.tell()
        self.unsent = 0
        self.dispatch.send()
        if self.stamps.awaits_reply():
            self.stamps.replied(elections.best_match(self.core), self.clock)
        self.stamps.committed(self.core.committed, self.clock)
        # In this order: a thread that learns that an entry was applied finds commit_index beyond it.
        self.update_gauges()
        self.hand_over_entries()
        return 0

    def hand_over_write(self) -> int:
        """One write for everything that is new, if the disk is not too far behind."""
        if not self.driver.next_write(self.spans, self.writes.room() > 0):
            return 0
        if self.driver.write_snapshot:
            self.transfers.writing(self.driver.number)
        self.room.handed_over(self.driver.number, self.spans.size)
        return self.writes.put_write(
            self.spans,
            self.driver.number,
            self.driver.write_term,
            self.driver.write_vote,
            self.driver.write_commit,
            self.driver.write_in_doubt and not self.meetings.doubted,
        )

    def hand_over_entries(self) -> int:
        """Committed entries that are stable here, as far as the apply thread keeps up."""
        while not self.applies.lacks(1) and self.driver.next_apply(self.spans):
            self.applies.put_entries(self.spans, self.driver.apply_low, self.driver.apply_high)
        return 0

    def update_gauges(self) -> int:
        """What properties and status() show; a change of term, leader or role is also an event.

        Without room for the event it is told later, and what was in between is left out.
        """
        self.gauges.commit = self.core.committed
        self.gauges.first, self.gauges.last = self.core.log.first, self.core.log.last
        self.gauges.stable = self.core.stable
        self.gauges.in_doubt = self.core.in_doubt
        self.divergence.publish(self.gauges)
        self.gauges.waiting = not self.meetings.begun
        self.gauges.full, self.gauges.not_taken = self.codec.no_room, self.room.not_taken + self.lag.not_taken
        self.gauges.vote = self.core.vote  # given without any of the changes that are an event
        if self.core.transferee != self.shown_transferee:
            was, to = self.shown_transferee, self.core.transferee
            if self.applies.put_transfer(self.empty_spans, was, to, self.core.role) == 0:
                self.shown_transferee = to
        if (
            self.core.term == self.shown_term
            and self.core.lead == self.shown_lead
            and self.core.role == self.shown_role
        ):
            return 0
        if self.core.lead != self.gauges.leader and self.core.lead != 0:
            self.gauges.leader_changes += 1
        self.gauges.term = self.core.term
        self.gauges.leader = self.core.lead
        self.gauges.role = self.core.role
        if self.applies.put_state(self.empty_spans, self.core.term, self.core.lead, self.core.role) == 0:
            self.shown_term = self.core.term
            self.shown_lead = self.core.lead
            self.shown_role = self.core.role
        return 0
