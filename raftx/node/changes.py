"""Changes of membership, from the engine's side: which are taken, passed on, refused, and installed.

A change is asked for by any member, which says how far it has applied the log. The leader takes it only if every change
that it knows of was applied there: so a request that comes late, or twice, is refused once the membership is another
one, and a member may ask again and again until it sees what has come of it. One change is under way at a time. What
an applied change leads to is computed on the apply thread (members.py) and installed here. On the engine's thread,
without the GIL; nothing here waits.
"""

from __future__ import annotations

from .. import _core
from .._native.layout import ENTRY_HEADER
from .._native.memory import Spans
from .._native.outbox import Message, Outbox
from .._native.threads import Event, Handoff
from ..consensus import changes, configuration, leader, records
from ..consensus.configuration import Configuration
from ..consensus.driver import Driver
from ..consensus.raft import Raft
from ..errors import Corruption
from ..types import (
    ADD_VOTER,
    ENTRY_CONF_CHANGE_V2,
    FLAG_REJECT,
    LEADER,
    MEMBERS_MAX,
    MSG_CHANGE,
    MSG_CHANGED,
    MSG_PROP,
    REMOVE,
    REPLICATE,
    UPDATE,
)
from . import elections
from .channels import ApplyQueue, CommandQueue, MemberGauges
from .meetings import Meetings
from .peers import PeerTable
from .room import Room
from .rows import (
    JOINED_UNKNOWN,
    REFUSED_ADDRESS,
    REFUSED_BEHIND,
    REFUSED_CHANGE_EARLIER,
    REFUSED_CHANGE_PENDING,
    REFUSED_DISK_FULL,
    REFUSED_JOINT,
    REFUSED_NO_CHANGE,
    REFUSED_NO_LEADER,
    REFUSED_NO_LEARNER,
    REFUSED_NOT_JOINT,
    REFUSED_NOT_LEADER,
    REFUSED_QUORUM,
)

INSTALLS = 1 << 22  # that may wait: more than there can be changes among the entries that are handed over at once
INSTALL = 1
SELF = 2
JOINED = 3


class InstallQueue(Handoff):
    """From the apply thread to the engine: memberships that are to be used, in the order of their entries."""

    def install(self, encoded: bytes) -> bool:
        """What ``Configuration.encode`` gives. False when it is full."""
        spans = Spans()
        spans.py_push(encoded)
        return self.py_put(spans, INSTALL)

    def put_self(self, record: bytes, joined: int) -> bool:
        """Where this node is reached, a record; and 1 + the entry that added it, 0 when that is not known yet."""
        spans = Spans()
        spans.py_push(record)
        return self.py_put(spans, SELF, joined)

    def put_joined(self, id: int, joined: int) -> bool:
        """Which entry has added a member, as a snapshot says."""
        return self.py_put(None, JOINED, id, joined)


class Changes:
    """Of one engine, whose parts it uses. ``out``: rows that may leave; event: the engine's."""

    def __init__(
        self,
        core: Raft,
        out: Outbox,
        peers: PeerTable,
        room: Room,
        meetings: Meetings,
        driver: Driver,
        applies: ApplyQueue,
        life: int,
        event: Event,
    ) -> None:
        self.core = core
        self.out = out
        self.peers = peers
        self.room = room
        self.meetings = meetings
        self.driver = driver
        #: the last change that was installed, while its commit is not known to be durable here; 0: it is. And whether
        #: it was handed over, with which write
        self.unsure = 0
        self.handed = False
        self.unsure_write = 0
        self.applies = applies
        self.life = life
        self.installs = InstallQueue(event, INSTALLS)
        self.arriving = Configuration()
        #: no change of membership stands behind this entry that is installed here
        self.index = core.applied
        #: what anybody may see of the members
        self.gauges = MemberGauges()
        self.message = Message()
        self.spans = Spans()
        self.empty_spans = Spans()
        #: what was committed one to two election timeouts ago, and is to be that next; ticks since then
        self.mark = self.next_mark = core.committed
        self.ticks = 0
        #: whether the transport tells what can be an address: changes of other members that may have some are judged by
        #: it first, on the apply thread
        self.judges = False
        #: of the last refusal for a learner that is behind: what it has acknowledged
        self.behind = 0

    # --- what was applied ----------------------------------------------------------------------------

    def waiting(self) -> bool:
        """Whether there is something to install."""
        return self.installs.waiting()

    def take(self) -> int:
        """Install what the apply thread has computed. Raises Corruption where that does not follow from the present."""
        if not self.installs.waiting():
            return 0
        count = self.installs.take()
        span = 0
        for row in range(count):
            kind = self.installs.at(row, 0)
            if kind == INSTALL:
                self.install(span)
                span += 1
            elif kind == SELF:
                if not self.core.joins:
                    self.meetings.joined = self.installs.at(row, 1)
                self.meetings.address.clear()
                if self.installs.taken.size_at(span):
                    self.meetings.address.push_copy(
                        self.installs.taken.data_at(span), self.installs.taken.size_at(span), self.core.id, 1
                    )
                span += 1
            else:
                place = self.peers.of_id(self.core.tracker.peers, self.installs.at(row, 1))
                if place >= 0 and self.peers.joined[place] != self.installs.at(row, 2):
                    self.peers.begin(place, self.installs.at(row, 2))
        return 0

    def install(self, span: int) -> int:
        """One membership. Members that it adds are met anew; a node that it does not have any more ends."""
        if (
            self.arriving.load(self.installs.taken.data_at(span), self.installs.taken.size_at(span))
            != configuration.FITS
        ):
            raise Corruption("a membership that was computed here cannot be read")
        was_member = self.core.self_slot >= 0
        # The first members of all were not added by this entry, which only names them: who was is said next.
        joined = self.arriving.index if self.core.tracker.peers.count else JOINED_UNKNOWN
        if self.arriving.index > self.index:
            self.index = self.arriving.index
        if self.arriving.index != 0 and self.arriving.index <= self.core.conf_index:
            return 0  # a snapshot had it
        self.core.install(self.arriving)
        if self.arriving.index != 0:
            # A member that was removed may be gone for good: this one must never need its vote again.
            self.driver.wanted_commit = self.unsure = self.arriving.index
            self.handed = False
            self.meetings.settled = False
        for slot in range(self.arriving.count):
            if (self.arriving.anew >> slot) & 1:
                self.peers.begin(self.peers.of_slot(self.core.tracker.peers, slot), joined)
        if was_member and self.core.self_slot < 0 and self.arriving.index >= self.meetings.joined > 0:
            self.meetings.leave()
        return 0

    def look_at_disk(self) -> int:
        """Whether the commit of the last change is durable here: only then others are told that they were removed."""
        if self.unsure == 0:
            return 0
        if not self.handed and self.driver.handed_commit >= self.unsure:
            self.handed, self.unsure_write = True, self.driver.number
        if self.handed and self.driver.durable >= self.unsure_write:
            self.unsure = 0
            self.meetings.settled = True
        return 0

    def tick(self) -> int:
        """Time passes."""
        self.look_at_disk()
        self.ticks += 1
        if self.ticks >= self.core.election_timeout:
            self.ticks = 0
            self.mark, self.next_mark = self.next_mark, self.core.committed
        for slot in range(self.core.tracker.peers.count):
            self.gauges.ids[slot] = self.core.tracker.peers.ids[slot]
            self.gauges.match[slot] = self.core.tracker.peers.match[slot]
            place = self.peers.of_slot(self.core.tracker.peers, slot)
            self.gauges.quiet[slot] = self.peers.contact.quiet(place)
        self.gauges.count = self.core.tracker.peers.count
        return 0

    # --- what is asked for ---------------------------------------------------------------------------

    def want(self, commands: CommandQueue, row: int, span: int) -> int:
        """This node asks for a change: take it, pass it on, or tell why not."""
        number, applied = commands.number(row, 0), commands.number(row, 1)
        self.spans.clear()
        self.spans.push_copy(commands.taken.data_at(span), commands.taken.size_at(span), number, 1)
        if self.core.role == LEADER:
            self.message.reset(MSG_CHANGE)
            self.message.sender = self.core.id
            self.message.index = applied
            self.message.set_body(self.spans.data_at(0), self.spans.size_at(0), 1)
            reason = self.propose(self.message)
            if reason != 0:
                self.applies.put_changed(self.empty_spans, number, reason, self.behind, self.core.log.last)
        elif self.core.lead == 0:
            self.applies.put_changed(self.empty_spans, number, REFUSED_NO_LEADER, 0, 0)
        else:
            self.out.push(MSG_CHANGE, self.core.lead, self.core.id, 0)
            self.out.set_log(applied, 0, 0)
            self.out.set_answer(0, 0, number)
            self.out.set_spans(self.spans, 1)
        return 0

    def receive(self, m: Message, sender_life: int) -> int:
        """A member asks for a change: take it, or tell it why not."""
        if self.core.tracker.peers.slot_of(m.sender) < 0:
            return 0
        number, sender = m.context, m.sender
        reason = REFUSED_NOT_LEADER
        if self.core.role == LEADER:
            reason = self.refusal(m)
            if reason == 0 and self.judges and self.may_have_addresses(m):
                self.spans.clear()
                self.spans.push_copy(m.body, m.body_size, 0, 1)
                return self.applies.put_judge(self.spans, sender, number, m.index, sender_life)
            if reason == 0:
                reason = self.propose(m)
        return self.answer(sender, sender_life, number, reason)

    def judged(self, commands: CommandQueue, row: int, span: int) -> int:
        """The transport has judged a change of another member's: take it, or tell why not."""
        sender, number = commands.number(row, 0), commands.number(row, 1)
        if self.core.tracker.peers.slot_of(sender) < 0:
            return 0
        reason = REFUSED_ADDRESS
        if self.core.role != LEADER:
            reason = REFUSED_NOT_LEADER
        elif commands.number(row, 4) != 0:
            self.spans.clear()
            self.spans.push_copy(commands.taken.data_at(span), commands.taken.size_at(span), 0, 1)
            self.message.reset(MSG_CHANGE)
            self.message.sender = sender
            self.message.index = commands.number(row, 2)
            self.message.set_body(self.spans.data_at(0), self.spans.size_at(0), 1)
            reason = self.propose(self.message)
        return self.answer(sender, commands.number(row, 3), number, reason)

    def answer(self, to: int, life: int, number: int, reason: int) -> int:
        """Tell a member, in that life of it, why its change was not taken, if it was not."""
        if reason != 0:
            self.out.push(MSG_CHANGED, to, self.core.id, 0)
            self.out.set_log(reason, life, self.behind)
            self.out.set_answer(FLAG_REJECT, self.core.log.last, number)
        return 0

    def may_have_addresses(self, m: Message) -> bool:
        """Whether it does more than remove members."""
        at = ENTRY_HEADER + changes.CHANGE_HEADER
        for _ in range(changes.part_count(m.body, ENTRY_HEADER, m.body_size)):
            if m.body[at] != REMOVE:
                return True
            at += changes.PART_BYTES
        return False

    def answered(self, m: Message) -> int:
        """The leader did not take a change that was passed on. An answer to an earlier life is about another one."""
        if m.log_term != self.life or m.flags & FLAG_REJECT == 0:
            return 0
        return self.applies.put_changed(self.empty_spans, m.context, m.index, m.commit, m.hint)

    def propose(self, m: Message) -> int:
        """Append the change of a message, unless there is a reason not to, which is returned. On the leader."""
        reason = self.refusal(m)
        if reason == 0:
            m.kind = MSG_PROP
            m.term = 0
            self.core.step(m)
        return reason

    def refusal(self, m: Message) -> int:
        """Why the leader does not take it; 0 when it does."""
        self.behind = 0
        if m.count != 1 or records.record_size(m.body, 0, m.body_size) != m.body_size:
            return REFUSED_NO_CHANGE
        if m.body[records.RECORD_KIND] != ENTRY_CONF_CHANGE_V2 or changes.unfit_kind(m) != 0:
            return REFUSED_NO_CHANGE
        reason = elections.proposal_refusal(self.core, m.body_size - ENTRY_HEADER)
        if reason != 0:
            return reason
        if self.room.refuses(m.body_size):
            return REFUSED_DISK_FULL
        judged = leader.change_refusal(self.core, m)
        if judged == changes.CHANGE_PENDING:
            return REFUSED_CHANGE_PENDING
        if judged == changes.CHANGE_IN_JOINT:
            return REFUSED_JOINT
        if judged == changes.CHANGE_NOT_JOINT:
            return REFUSED_NOT_JOINT
        if m.index < max(self.index, self.core.conf_index):
            return REFUSED_CHANGE_EARLIER
        return self.parts_refusal(m)

    def parts_refusal(self, m: Message) -> int:
        """Whether each new voter has caught up, and a majority of the voters after the change is there."""
        voters = self.core.tracker.voters
        at = ENTRY_HEADER + changes.CHANGE_HEADER
        for _ in range(changes.part_count(m.body, ENTRY_HEADER, m.body_size)):
            kind, slot = m.body[at], self.core.tracker.peers.slot_of(records.u64(m.body, at + 1))
            at += changes.PART_BYTES
            if kind == ADD_VOTER:
                if slot < 0:
                    return REFUSED_NO_LEARNER
                if (voters >> slot) & 1 == 0 and not self.has_caught_up(slot):
                    return REFUSED_BEHIND
                voters |= _core.bit(slot)
            elif slot >= 0 and kind != UPDATE:
                voters &= ~_core.bit(slot)
        return REFUSED_QUORUM if voters != self.core.tracker.voters and not self.is_there(voters) else 0

    def has_caught_up(self, slot: int) -> bool:
        """Whether a learner would hold up nothing as a voter. What it has acknowledged is in ``behind``.

        It has what was committed an election timeout or two ago, its own addition above all. And it is not in doubt,
        nor would be after a restart: a voter that does not vote can leave a group without a leader for good.
        """
        self.behind = self.core.tracker.peers.match[slot]
        place = self.peers.of_slot(self.core.tracker.peers, slot)
        if not self.is_heard(slot) or self.peers.in_doubt[place] != 0 or self.behind < self.peers.joined[place]:
            return False
        return self.core.tracker.peers.state[slot] == REPLICATE and self.behind >= self.mark

    def is_there(self, voters: int) -> bool:
        """Whether more than half of these voters are heard of, this one included."""
        total = there = 0
        for slot in range(MEMBERS_MAX):
            if (voters >> slot) & 1:
                total += 1
                if slot == self.core.self_slot or self.is_heard(slot):
                    there += 1
        return 2 * there > total

    def is_heard(self, slot: int) -> bool:
        """Whether a frame of that member has come within an election timeout."""
        quiet = self.peers.contact.quiet(self.peers.of_slot(self.core.tracker.peers, slot))
        return 0 <= quiet <= self.core.election_timeout

    # For Python.

    def py_take(self) -> None:
        """``take``, before the first round: what is said of this node from the beginning."""
        self.take()
