"""Who knows this life of a node, and which lives of others it knows itself: the messages Meet and Known.

A member whose storage was wiped or set back has forgotten what it promised, and cannot tell. So each life introduces
itself, and what a life sends counts nowhere before its introduction is durable there (memory.py). And a life takes part
only once more than half of the others know it, of each half of a joint configuration: whoever had met a later life is
among any such number, and says so. Where that many cannot be had, it begins after a while: in doubt
(consensus/doubt.py) where a leader does without it, and else as it is. docs/guarantees.md has the argument, and what it
leaves open.

The engine's, on its thread, without the GIL.
"""

from __future__ import annotations

from array import array

from .._native.memory import Spans
from .._native.outbox import Message, Outbox
from .._native.threads import Event, Handoff
from ..consensus.raft import Raft
from ..storage.wal_format import EARLIER, REMOVED, REMOVED_LIFE
from ..types import FLAG_REJECT, LEADER, MEMBERS_MAX, MSG_KNOWN, MSG_MEET
from .channels import ApplyQueue
from .peers import PeerTable
from .rows import ASK, JOINED_ANY, JOINED_UNKNOWN, MET_STORE, ORIGIN_UNIT, OWN, PLACES, REBUILT, STRANGER

QUEUED = 64  # introductions that may wait for the disk; what comes beyond is dropped, and comes again
WAIT_TIMEOUTS = 3  # election timeouts after which a life begins that too few others know,
WAIT_MS = 1000  # but not sooner than this: members that are there have been connected to by then
TELL_TIMEOUTS = 20  # and in which others may come late, before anybody is told
HELP_TIMEOUTS = 5  # and in which a leader has to help it out, if it was begun in doubt; in the first two it listens
# Bits of a store's name in each of the first two fields of a Meet; the third has the rest.
PART = 48
PART_MASK = 0xFFFFFFFFFFFF
LAST_MASK = 0xFFFFFFFF
PART_UNIT = 0x1000000000000
LAST_UNIT = 0x100000000
ADDRESSES_A_TICK = 4  # that strangers may tell
ALONE_TIMEOUTS = 5  # election timeouts without a leader after which a life introduces itself to all again


class MeetQueue(Handoff):
    """From the engine to the memory: what members say, and that this one has lost its own."""

    def put_meet(self, no_spans: Spans, sender: int, life: int, word0: int, word1: int, flags: int, joined: int) -> int:
        """``sender`` says that it lives this life, on that store. Of this node itself: others have met this life of it.

        joined: the entry that added it to the membership, 0 for one of the first members. 0, or 1 when it is full.
        """
        return self.put(no_spans, sender, life, word0, word1, flags, joined, 0, 0)

    # Of a row that was taken.

    def sender(self, row: int) -> int:
        return self.at(row, 0)

    def life(self, row: int) -> int:
        return self.at(row, 1)

    def word0(self, row: int) -> int:
        """The name of the store, in two words."""
        return self.at(row, 2)

    def word1(self, row: int) -> int:
        return self.at(row, 3)

    def flags(self, row: int) -> int:
        return self.at(row, 4)

    def joined(self, row: int) -> int:
        """The entry that added the member."""
        return self.at(row, 5)

    def store(self, row: int) -> bytes:
        """The name of the store. Raises IndexError."""
        return b"".join([self.py_at(row, column).to_bytes(8, "little") for column in (2, 3)])


class Meetings:
    """Of one engine, whose parts it uses. ``out``: rows that may leave. store: b"" where the storage does not say."""

    def __init__(
        self,
        core: Raft,
        out: Outbox,
        peers: PeerTable,
        applies: ApplyQueue,
        life: int,
        store: bytes,
        rebuilt: bool,
        tick_ms: int,
    ) -> None:
        self.core = core
        #: ticks after which it begins although too few others know it
        self.patience = max(WAIT_TIMEOUTS * core.election_timeout, WAIT_MS // tick_ms)
        #: ticks until it is told that it began so; 0: it did not, or it was told, or enough know it by now
        self.untold = 0
        self.telling = TELL_TIMEOUTS * core.election_timeout
        self.out = out
        self.peers = peers
        self.applies = applies
        self.life = life
        number = int.from_bytes(store, "little")
        self.part1, self.part2, self.part3 = number & PART_MASK, number >> PART & PART_MASK, number >> 2 * PART
        self.flags = REBUILT if rebuilt else 0
        #: as in ``Loaded``; the flags have the first one, too
        self.origin = self.origin_index = 0
        #: a member that was founded otherwise, which ended this life; 0: none
        self.apart = 0
        self.queue = MeetQueue(Event(), QUEUED)
        self.empty_spans = Spans()
        #: it takes part. Invariant: before that the core hears nothing, and no time passes for it
        self.begun = False
        #: ticks since the start; and since a leader was heard, while it has not begun
        self.waited = 0
        self.led = self.patience
        #: who leads without being a member, as far as we know: it has to know us as well. 0: nobody was heard since
        self.stranger = 0
        #: it was begun in doubt, though its storage had none, and keeps none: the next life finds out for itself. And
        #: ticks in which no leader has helped it out
        self.doubted = False
        self.unhelped = 0
        #: ticks until a member is told that another life of it was met, and 1 from then on; 0: there was no reason yet
        self.told_stale = array("q", bytes(8 * PLACES))
        #: the tick in which one that was removed may be told so again
        self.told_left = array("q", bytes(8 * PLACES))
        self.ticks = 0
        #: what a member says that knows better: who, the life that it has met, and why it is none of ours; 0: nobody.
        #: And whether the storage knows that now
        self.lost_to = self.lost_life = self.lost_why = 0
        self.lost = False
        #: the last change of the membership is known to be committed on this disk, too
        self.settled = True
        #: where this node is reached, a record, if that is known; and 1 + the entry that added it, 0: not known yet
        self.address = Spans()
        self.joined = 0
        #: addresses of strangers that may be told in this tick still; and ticks without a leader
        self.addresses = ADDRESSES_A_TICK
        self.alone = 0
        self.spans = Spans()

    # --- this life ---------------------------------------------------------------------------------------

    def introduce(self, place: int, to: int) -> int:
        """Tell a member who we are; again in twice as many ticks, unless it answers."""
        self.peers.pauses[place] = min(max(2 * self.peers.pauses[place], 1), self.core.election_timeout)
        self.peers.pausing[place] = self.peers.pauses[place]
        return self.meet(to)

    def meet(self, to: int) -> int:
        """Say who we are, once."""
        self.out.push(MSG_MEET, to, self.core.id, 0)
        self.out.set_log(self.part1, self.part2, self.part3)
        self.out.set_answer(0, self.flags, self.joined)
        return self.out.set_spans(self.address, 1) if self.address.count else 0

    def introduce_again(self, place: int, to: int) -> int:
        """There is reason to believe that it hears us now: at once, unless it knows us."""
        if self.peers.knows[place] == 0:
            self.peers.pauses[place] = 0
            return self.introduce(place, to)
        return 0

    def unanswered(self, slot: int) -> None:
        """A member has not answered for a while: what hears us there may be another life of it, which does not know us.

        One that has forgotten the members cannot ask who we are: it has not even an address of ours. Before this life
        has begun, what others know of it is counted, and stays as it is.
        """
        place = self.peers.of_slot(self.core.tracker.peers, slot)
        if self.begun:
            self.peers.knows[place] = self.peers.pausing[place] = self.peers.pauses[place] = 0

    def tick(self) -> bool:
        """Time passes. Whether it is to be told that this life has begun without being known by enough.

        At once if it is in doubt. Otherwise only when it stays so: members that are started one after the other do not
        know each other for a while.
        """
        self.ticks += 1
        self.addresses = ADDRESSES_A_TICK
        self.introduce_if_alone()
        for slot in range(self.core.tracker.peers.count):
            if slot != self.core.self_slot:
                place = self.peers.of_slot(self.core.tracker.peers, slot)
                if self.told_stale[place] > 1:
                    self.told_stale[place] -= 1
                if self.peers.knows[place] == 0:
                    self.peers.pausing[place] -= 1
                    if self.peers.pausing[place] <= 0:
                        self.introduce(place, self.core.tracker.peers.ids[slot])
        if self.stranger != 0:
            self.meet(self.stranger)
            self.stranger = 0
        if self.lost_to != 0:
            if not self.queue.waiting():
                # Until the storage knows: what was said may have found no room.
                self.queue.put_meet(self.empty_spans, self.core.id, self.lost_life, 0, 0, 0, 0)
            return False
        if self.begun or self.look():
            self.end_doubt()
            return self.is_due()
        if self.apart != 0:
            return False
        self.waited += 1
        self.led += 1
        if self.waited < self.patience:
            return False
        self.begun = True
        if self.core.check_quorum and 2 * self.led <= self.core.election_timeout and not self.core.in_doubt:
            # It still leads, so there is a majority without us: with its help nothing that we may have forgotten
            # matters. One that does not look for its quorum may have none.
            self.core.in_doubt = self.doubted = True
            return True
        self.untold = self.telling
        return False

    def is_due(self) -> bool:
        """Whether it has stayed unknown for so long that somebody should look."""
        if self.untold == 0:
            return False
        if self.is_known(self.core.tracker.voters) and self.is_known(self.core.tracker.outgoing):
            self.untold = 0
            return False
        self.untold -= 1
        return self.untold == 0

    def introduce_if_alone(self) -> None:
        """Nobody has led for long: others may have removed this member, and say so to whoever introduces itself.

        A member that does not campaign never forgets its last leader; what counts is whether it still hears of it.
        """
        self.alone = self.alone + 1 if self.begun and not self.core.is_led() else 0
        if self.alone <= ALONE_TIMEOUTS * self.core.election_timeout:
            return
        self.alone = 0
        for slot in range(self.core.tracker.peers.count):
            place = self.peers.of_slot(self.core.tracker.peers, slot)
            self.peers.knows[place] = self.peers.pausing[place] = 0

    def end_doubt(self) -> None:
        """The doubt that a life was begun in ends without help when no leader can be confirmed without this member."""
        if not self.doubted or not self.core.in_doubt:
            self.doubted = False
            return
        self.unhelped = self.unhelped + 1 if self.core.doubt_term != self.core.term else 0
        if self.unhelped > HELP_TIMEOUTS * self.core.election_timeout:
            # There may be no majority without us any more. What we may have forgotten is as it was before.
            self.core.in_doubt = self.doubted = False
            self.core.lived_term = self.core.term

    def heard_leader(self, sender: int, is_member: bool, term: int) -> None:
        """A leader's message came from a stranger, or before this life has begun."""
        if not is_member:
            self.stranger = sender
        if term >= self.core.term:
            self.led = 0

    def look(self) -> bool:
        """Whether this life has begun: enough others know it."""
        if not self.begun and self.lost_to == 0 and self.apart == 0:
            self.begun = self.is_known(self.core.tracker.voters) and self.is_known(self.core.tracker.outgoing)
        return self.begun

    def is_known(self, voters: int) -> bool:
        """Whether more than half of these voters, without this member, know this life; or there are none."""
        others = known = 0
        for slot in range(MEMBERS_MAX):
            if (voters >> slot) & 1 and slot != self.core.self_slot:
                others += 1
                if self.peers.knows[self.peers.of_slot(self.core.tracker.peers, slot)]:
                    known += 1
        return others == 0 or known > others // 2

    def take_known(self, m: Message, place: int) -> int:
        """A member answers: it knows this life now, or has met another one, which we should know."""
        if m.index != self.life or (m.flags & FLAG_REJECT and m.commit == 0):
            return 0  # an answer to an earlier life, or one that nobody gives
        if place < 0 and m.flags & FLAG_REJECT == 0:
            return 0
        if m.flags & FLAG_REJECT:
            self.lost_to, self.lost_life, self.lost_why = m.sender, m.commit, m.hint
            # Nothing more of this life counts; it ends once the next one knows why.
            self.begun = False
            return self.queue.put_meet(self.empty_spans, self.core.id, m.commit, 0, 0, 0, 0)
        self.peers.knows[place] = 1
        if self.core.joins and m.context > self.joined:
            # Another member may have had this id before: what was said of that one in the log is not about us.
            self.joined = m.context
            self.queue.put_meet(self.empty_spans, self.core.id, self.life, 0, 0, OWN, m.context - 1)
        self.look()
        return 0

    def is_apart(self, m: Message) -> bool:
        """Whether a Meet is of a member that was founded with other members than this one, or with another state."""
        origin = m.hint // ORIGIN_UNIT
        return origin != 0 and self.origin != 0 and origin != self.origin

    def part(self, m: Message, is_member: bool) -> int:
        """A member was founded otherwise than this one: they cannot be one cluster, though it has the same name.

        Which of them is wrong nobody can tell. Where something was committed since, the group is what it was founded
        as, and the other one ends once it hears of it. A life that has done nothing yet ends; its storage stays as it
        is.
        """
        if self.core.committed <= self.origin_index:
            self.apart = m.sender
            self.begun = False
            self.lost = True
            return 0
        # One that is no member here would not be told otherwise.
        return 0 if is_member else self.meet(m.sender)

    def receive(self, m: Message, life: int) -> int:
        """A Meet or a Known, from a frame of that life of its sender."""
        slot = self.core.tracker.peers.slot_of(m.sender)
        if slot < 0:
            if m.kind == MSG_MEET:
                return self.receive_stranger(m, life)
            # Who joins knows its leader before it knows the members.
            return self.take_known(m, -1) if self.core.tracker.voters == 0 or m.sender == self.core.lead else 0
        place = self.peers.of_slot(self.core.tracker.peers, slot)
        if m.kind == MSG_KNOWN:
            return self.take_known(m, place)
        if self.is_apart(m):
            return self.part(m, True)
        if m.hint & ASK != 0:
            self.peers.knows[place] = self.peers.pausing[place] = self.peers.pauses[place] = 0
        if self.peers.joined[place] == JOINED_UNKNOWN:
            return 0  # it comes again
        if self.peers.joined[place] == JOINED_ANY:
            # The storage has not kept it: the member's word has to do.
            self.peers.joined[place] = m.context - 1 if m.context else 0
        if m.context == 0 and not self.knows_members():
            # It does not know which entry has added it, and this member may be behind: on another store it may be one
            # that was added since. On a store that was met as that of this very member it is still the same one, and
            # has to count: there may be no leader without its vote.
            return self.put_meet(m, life, MET_STORE, self.peers.joined[place])
        if m.context != 0 and m.context - 1 != self.peers.joined[place]:
            # Of a member that had this id before, and was removed; or this one was added again, and we do not know yet.
            return self.answer(m.sender, life, REMOVED_LIFE, REMOVED) if m.context <= self.peers.joined[place] else 0
        return self.take_meet(m, place, life)

    def knows_members(self) -> bool:
        """Whether no change of before is unknown here: this member leads, and has applied an entry of its term."""
        return self.core.role == LEADER and self.core.log.term(self.core.applied) == self.core.term

    def receive_stranger(self, m: Message, life: int) -> int:
        """A Meet of who is no member here: it was removed, it joins, or its addition has not arrived here.

        Where it is reached is told, so that it can be answered.
        """
        if m.count and self.addresses > 0:
            self.addresses -= 1
            self.spans.clear()
            self.spans.push_copy(m.body, m.body_size, m.sender, 1)
            self.applies.put_address(self.spans, m.sender)
        if self.is_apart(m):
            return self.part(m, False)
        if self.core.self_slot < 0 or not self.settled:
            return 0
        if m.context != 0 and m.context - 1 <= self.core.applied:
            # It was added before the entry up to which the membership is known here, and is not in it.
            return self.tell_removed(m.sender, life)
        if m.context == 0:
            # It does not know when it was added: the memory may know its storage.
            return self.put_meet(m, life, STRANGER, self.core.applied)
        return 0

    def left(self, to: int, life: int) -> int:
        """A frame of who is no member any more, in the life in which it was one: it should hear of it, now and then."""
        place = self.peers.find(to)
        if place < 0 or not self.settled or self.core.self_slot < 0 or self.ticks < self.told_left[place]:
            return 0
        if life != self.peers.senders.incarnations[place]:
            return 0
        self.told_left[place] = self.ticks + self.core.election_timeout
        return self.tell_removed(to, life)

    def ask(self, place: int, to: int) -> int:
        """A member sends frames of a life that was not met, and may believe that it was: it is to introduce itself."""
        if self.ticks < self.told_left[place]:
            return 0
        self.told_left[place] = self.ticks + self.core.election_timeout
        self.out.push(MSG_MEET, to, self.core.id, 0)
        self.out.set_log(self.part1, self.part2, self.part3)
        self.out.set_answer(0, self.flags | ASK, self.joined)
        return 0

    def tell_removed(self, to: int, life: int) -> int:
        """It was removed. It may not have met the present life of this member, and believes nobody before."""
        self.meet(to)
        return self.answer(to, life, REMOVED_LIFE, REMOVED)

    def leave(self) -> None:
        """This member is no member any more, as it has applied itself: it ends when another one says so, too.

        Until then it votes as before: those who stay may not know that the change is committed, and need its vote.
        """
        for slot in range(self.core.tracker.peers.count):
            place = self.peers.of_slot(self.core.tracker.peers, slot)
            self.peers.knows[place] = self.peers.pausing[place] = self.peers.pauses[place] = 0

    # --- lives of others ---------------------------------------------------------------------------------

    def take_meet(self, m: Message, place: int, life: int) -> int:
        """A member says which life it lives. It is answered at once when it is known, else once that is durable."""
        if self.peers.senders.incarnations[place] == life:
            return self.answer(m.sender, life, 0, 0)
        return self.put_meet(m, life, m.hint & REBUILT, self.peers.joined[place])

    def put_meet(self, m: Message, life: int, flags: int, joined: int) -> int:
        """Ask the memory about who has introduced itself."""
        word0 = (m.index & PART_MASK) + (m.log_term & 0xFFFF) * PART_UNIT
        word1 = (m.log_term & PART_MASK) // 0x10000 + (m.commit & LAST_MASK) * LAST_UNIT
        return self.queue.put_meet(self.empty_spans, m.sender, life, word0, word1, flags, joined)

    def answer(self, to: int, life: int, known: int, why: int) -> int:
        """This life of a member is known here; or it cannot be its present one, because ``known`` was met."""
        place = self.peers.of_id(self.core.tracker.peers, to)
        self.out.push(MSG_KNOWN, to, self.core.id, 0)
        self.out.set_log(life, 0, known)
        joined = 0
        if why == 0 and place >= 0 and self.peers.joined[place] != JOINED_UNKNOWN:
            joined = self.peers.joined[place] + 1
        self.out.set_answer(FLAG_REJECT if why else 0, why, joined)
        return 0

    def superseded(self, place: int, to: int, life: int) -> int:
        """A frame of a member's life before the one that was met.

        It may have waited since its sender was restarted; then nobody is left to whom the answer matters. Or it goes
        on, and does not know that its storage was copied.
        """
        due = self.told_stale[place] == 1
        if self.told_stale[place] <= 1:
            self.told_stale[place] = self.core.election_timeout + 1
        if not due:
            return 0  # it introduces itself, perhaps, and is answered then
        return self.answer(to, life, self.peers.senders.incarnations[place], EARLIER)

    def met(self, id: int, life: int, known: int, why: int, joined: int) -> bool:
        """The memory says: this life of a member is remembered, durably; or why it cannot be.

        joined: the entry that had added the member when the memory was asked. True when that is to be told to people,
        once for each such life.
        """
        if id == self.core.id:
            self.lost = True
            return False
        slot = self.core.tracker.peers.slot_of(id)
        if slot < 0:
            if why == REMOVED:
                self.tell_removed(id, life)
            return False
        place = self.peers.of_slot(self.core.tracker.peers, slot)
        if joined != self.peers.joined[place]:
            return False  # of a former member with this id: the present one introduces itself again
        self.answer(id, life, known, why)
        if why == 0:
            if self.peers.senders.begin(place, life):
                # Another life of it: perhaps it does not know us.
                self.peers.knows[place] = 0
                self.introduce_again(place, id)
            return False
        # Whoever has forgotten us, too, does not believe us before we are met.
        self.introduce(place, id)
        told = self.peers.told_lost[place] == life
        self.peers.told_lost[place] = life
        return not told

    # For Python.

    def py_founded(self, origin: int, index: int) -> None:
        """What this member was founded with, as ``Loaded.origin`` and ``origin_index``. Before the first round."""
        self.origin, self.origin_index = origin, index
        self.flags |= origin * ORIGIN_UNIT

    def py_met(self, id: int, life: int, joined: int) -> None:
        """What the storage remembers of a member, which that entry has added. Before the first round."""
        slot = self.core.tracker.peers.slot_of(id)
        if slot >= 0 and joined == self.peers.joined[self.peers.of_slot(self.core.tracker.peers, slot)]:
            self.peers.senders.begin(self.peers.of_slot(self.core.tracker.peers, slot), life)

    def py_knows(self, id: int) -> bool:
        """Whether a member has said that it knows this life. Any thread; a look."""
        place = self.peers.find(id)
        return place >= 0 and self.peers.knows[place] != 0
