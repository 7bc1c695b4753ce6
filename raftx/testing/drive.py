"""Compiled loops that drive the core as an engine does, for measurements: no threads, disk or network.

Each is a Case: so many rounds of something that is prepared, done and finished, with the clock read around what is
measured. Every member has a disk that is done at once and a state machine that looks at each entry, and everything is
counted, so that what was measured can be checked.
"""

from __future__ import annotations

from .._core import Codec, EntryLog
from .._native.layout import ENTRY_HEADER, FRAME_HEADER
from .._native.memory import Buffer, Cursor, Spans
from .._native.outbox import Message, Outbox
from .._native.threads import Clock, Runner
from ..config import Config, cluster_id
from ..consensus import quorum
from ..consensus.driver import Driver
from ..consensus.raft import Raft
from ..consensus.tracker import Tracker
from ..errors import Corruption
from ..types import (
    LEADER,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HUP,
    MSG_PROP,
    MSG_VOTE_RESP,
    NO_LIMIT,
    ConfState,
    HardState,
)

KEEP = 4096  # entries kept behind the applied index where a case is not told, so that memory does not grow
WINDOW = 1024  # appends to one follower that may be unacknowledged
GROUP = 256  # messages that are stepped, or campaigns that are held, between two readings of the clock


class Member:
    """One member with a disk that is done at once, and a state machine that counts entries and bytes.

    ``keep`` entries stay behind the applied index. Whatever does not add up raises Corruption.
    """

    def __init__(self, id: int, voters: int, size: int, keep: int) -> None:
        config = Config(
            id=id,
            seed=1,
            pre_vote=False,
            check_quorum=False,
            max_inflight_messages=WINDOW,
            max_inflight_bytes=NO_LIMIT,
            max_uncommitted_bytes=NO_LIMIT,
        )
        conf = ConfState(voters=tuple(range(1, voters + 1)))
        self.core = Raft(config, EntryLog(), HardState(), conf)
        self.codec = Codec(cluster_id(config.cluster), id)
        self.driver = Driver(self.core)
        self.out = self.driver.out
        self.message = Message()
        self.spans = Spans()
        self.cursor = Cursor()
        self.payload = Buffer()
        self.payload.py_put(b"Z" * size)
        self.body = Buffer()
        self.frame = Buffer()
        self.size = size
        self.keep = keep
        self.commit = 0
        self.applied = self.bytes = self.written = self.sent = 0

    def propose(self, batch: int) -> int:
        """A proposal of so many entries, from a payload that stays the caller's."""
        self.body.clear()
        for _ in range(batch):
            start = self.body.size
            self.body.fill(ENTRY_HEADER)
            self.body.set_u32(start + 4, self.size)
            self.body.put(self.payload.data, self.size)
        self.message.reset(MSG_PROP)
        self.message.sender = self.core.id
        self.message.body_from(self.body, 0, self.body.size, batch)
        return self.core.step(self.message)

    def receive(self, kind: int, sender: int, index: int) -> int:
        """A message of the present term without entries."""
        self.message.reset(kind)
        self.message.sender = sender
        self.message.to = self.core.id
        self.message.term = self.core.term
        self.message.index = index
        return self.core.step(self.message)

    def busy(self) -> bool:
        """Whether there is something to write, to send or to apply."""
        return self.driver.has_work()

    def work(self) -> int:
        """Write, send and apply what is there; ``out`` has what is to be sent."""
        if self.driver.next_write(self.spans, True):
            self.written += self.spans.size
            self.spans.clear()
        self.driver.write_done(self.driver.number)
        self.commit = self.core.committed
        return self.apply()

    def apply(self) -> int:
        while self.driver.next_apply(self.spans):
            for span in range(self.spans.count):
                self.cursor.open(self.spans, span)
                while self.cursor.next():
                    if self.cursor.index != self.applied + 1:
                        raise Corruption(f"entry {self.cursor.index} was handed over behind entry {self.applied}")
                    self.applied = self.cursor.index
                    self.bytes += self.cursor.size
            self.spans.clear()
            self.driver.apply_done(self.applied)
            if self.core.log.first + self.keep * 2 < self.applied:
                self.core.log.compact(self.applied - self.keep)
        return 0

    def drain(self) -> int:
        """Work until nothing is left; what is to be sent is counted and dropped."""
        while self.busy():
            self.work()
            self.sent += self.out.length()
            self.out.clear()
        return 0

    def deliver(self, other: Member) -> int:
        """Step what is to be sent to ``other``."""
        for row in range(self.out.length()):
            if self.out.to_at(row) == other.core.id:
                self.load(self.out, row, other)
                other.core.step(self.message)
        return 0

    def load(self, box: Outbox, row: int, other: Member) -> int:
        """Make a row for ``other`` the message; one whose entries lie in two blocks by way of a frame."""
        box.load(row, self.message)
        if self.message.body_size != box.size_at(row):
            return self.pack(box, row, other)
        return 0

    def pack(self, box: Outbox, row: int, other: Member) -> int:
        """Make a row for ``other`` the message by way of a frame."""
        size = FRAME_HEADER + self.codec.measure(box, row)
        self.frame.clear()
        self.frame.fill(size)
        self.codec.begin(self.frame.data, size, other.core.id)
        self.codec.add(box, row)
        self.codec.finish()
        if other.codec.open(self.frame.data, size) != 0 or not other.codec.next(self.message):
            raise Corruption("a frame was not taken")
        return 0

    def lead(self, voters: int) -> int:
        """Be elected by all others, and have their acknowledgement."""
        self.core.step_local(MSG_HUP)
        self.drain()
        for id in range(2, voters + 1):
            self.receive(MSG_VOTE_RESP, id, 0)
            self.drain()
        for id in range(2, voters + 1):
            self.receive(MSG_APP_RESP, id, self.core.log.last)
            self.drain()
        if self.core.role != LEADER or self.core.committed != self.core.log.last:
            raise Corruption("not the leader, or its first entry is not committed")
        return 0


def groups(batch: int, least: int) -> int:
    """How many batches make a group of entries, at least so many."""
    return max(GROUP // batch, least)


class Case(Runner):
    """``rounds`` times: ``prepare``, ``body``, ``finish``. ``spent`` is what the bodies took, in nanoseconds.

    ``count`` is how many operations that were, ``sent`` how many messages came of them.
    """

    def __init__(self, rounds: int) -> None:
        self.clock = Clock()
        self.rounds = rounds
        self.count = self.sent = self.spent = 0

    def loop(self) -> int:
        for _ in range(self.rounds):
            self.prepare()
            started = self.clock.now()
            self.body()
            self.spent += self.clock.now() - started
            self.finish()
        return 0

    def prepare(self) -> int:
        """What is not measured, before."""
        return 0

    def body(self) -> int:
        """What is measured."""
        return 0

    def finish(self) -> int:
        """What is not measured, after."""
        return 0


class Alone(Case):
    """One voter: so many entries are proposed, written, committed and applied. An operation is one entry."""

    def __init__(self, rounds: int, size: int, batch: int, keep: int) -> None:
        Case.__init__(self, rounds)
        self.batch = batch
        self.one = Member(1, 1, size, keep)
        self.one.lead(1)
        self.one.bytes = 0

    def body(self) -> int:
        for _ in range(groups(self.batch, 1)):
            self.one.propose(self.batch)
            self.one.drain()
            self.count += self.batch
        return 0

    def members(self) -> list[Member]:
        """For what they have committed and applied."""
        return [self.one]


class Trio(Case):
    """Three voters: entries are proposed at the leader, until all three have committed and applied them."""

    def __init__(self, rounds: int, size: int, batch: int, keep: int) -> None:
        Case.__init__(self, rounds)
        self.batch = batch
        self.one = Member(1, 3, size, keep)
        self.two = Member(2, 3, size, keep)
        self.three = Member(3, 3, size, keep)
        self.one.core.step_local(MSG_HUP)
        self.settle()
        if self.one.core.role != LEADER:
            raise Corruption("not the leader")
        self.one.bytes = self.two.bytes = self.three.bytes = 0
        self.sent = 0

    def settle(self) -> int:
        """Let all members work and step what each has sent, until nothing is left."""
        idle = False
        while not idle:
            idle = True
            if self.one.busy():
                idle = False
                self.one.work()
                self.one.deliver(self.two)
                self.one.deliver(self.three)
                self.sent += self.one.out.length()
                self.one.out.clear()
            if self.two.busy():
                idle = False
                self.two.work()
                self.two.deliver(self.one)
                self.two.deliver(self.three)
                self.sent += self.two.out.length()
                self.two.out.clear()
            if self.three.busy():
                idle = False
                self.three.work()
                self.three.deliver(self.one)
                self.three.deliver(self.two)
                self.sent += self.three.out.length()
                self.three.out.clear()
        return 0

    def body(self) -> int:
        for _ in range(groups(self.batch, 1)):
            self.one.propose(self.batch)
            self.settle()
            self.count += self.batch
        return 0

    def members(self) -> list[Member]:
        """For what they have committed and applied."""
        return [self.one, self.two, self.three]


class Appends(Case):
    """A follower steps appends, one behind the other, each with the commit index of what stands before it."""

    def __init__(self, rounds: int, size: int, batch: int, keep: int) -> None:
        Case.__init__(self, rounds)
        self.batch = batch
        self.one = Member(1, 3, size, keep)
        self.two = Member(2, 3, size, keep)
        self.box = Outbox()
        self.one.core.step_local(MSG_HUP)
        self.one.drain()
        self.one.receive(MSG_VOTE_RESP, 2, 0)
        self.one.work()
        self.one.deliver(self.two)
        self.finish()
        if self.two.core.log.last != 1 or self.one.core.committed != 1:
            raise Corruption("the first entry of the term did not arrive")
        self.two.sent = 0

    def prepare(self) -> int:
        for _ in range(groups(self.batch, 16)):
            self.one.propose(self.batch)
        self.one.work()
        self.box.clear()
        for row in range(self.one.out.length()):
            if self.one.out.to_at(row) == 2:
                self.box.take(self.one.out, row, 0)
        self.one.out.clear()
        return 0

    def body(self) -> int:
        for row in range(self.box.length()):
            self.one.load(self.box, row, self.two)
            self.one.message.commit = self.one.message.index
            self.two.core.step(self.one.message)
            self.count += 1
        return 0

    def finish(self) -> int:
        self.box.clear()
        self.one.out.clear()
        self.two.drain()
        self.sent = self.two.sent
        self.one.receive(MSG_APP_RESP, 2, self.one.core.log.last)
        self.one.receive(MSG_APP_RESP, 3, self.one.core.log.last)
        return self.one.drain()

    def members(self) -> list[Member]:
        """The follower, for what it has committed and applied."""
        return [self.two]


class Frames(Appends):
    """The same by way of a frame, written here and read there."""

    def body(self) -> int:
        for row in range(self.box.length()):
            self.one.pack(self.box, row, self.two)
            self.one.message.commit = self.one.message.index
            self.two.core.step(self.one.message)
            self.count += 1
        return 0


class Acknowledgements(Case):
    """A leader steps acknowledgements of one follower, each of one entry more, which commits."""

    def __init__(self, rounds: int, size: int, voters: int, keep: int) -> None:
        Case.__init__(self, rounds)
        self.voters = voters
        self.before = 0
        self.one = Member(1, voters, size, keep)
        self.one.lead(voters)

    def prepare(self) -> int:
        for _ in range(GROUP):
            self.one.propose(1)
        self.one.drain()
        self.before = self.one.core.committed
        self.one.sent = 0
        return 0

    def body(self) -> int:
        for at in range(GROUP):
            self.one.receive(MSG_APP_RESP, 2, self.before + 1 + at)
            self.count += 1
        return 0

    def finish(self) -> int:
        if self.one.core.committed != self.before + GROUP:
            raise Corruption("an acknowledgement did not commit")
        self.one.drain()
        self.sent += self.one.sent
        for id in range(3, self.voters + 1):
            self.one.receive(MSG_APP_RESP, id, self.one.core.log.last)
        return self.one.drain()

    def members(self) -> list[Member]:
        """The leader, for what it has committed and applied."""
        return [self.one]


class Heartbeats(Case):
    """A follower steps heartbeats; with ``ready``, the answer to each is taken as work before the next one comes."""

    def __init__(self, rounds: int, ready: bool) -> None:
        Case.__init__(self, rounds)
        self.ready = ready
        self.two = Member(2, 3, 0, KEEP)
        self.two.core.become_follower(1, 1)
        self.two.drain()

    def body(self) -> int:
        for _ in range(GROUP):
            self.two.receive(MSG_HEARTBEAT, 1, 0)
            if self.ready:
                self.two.drain()
            self.count += 1
        return 0

    def finish(self) -> int:
        self.two.drain()
        self.sent = self.two.sent
        return 0


class Campaigns(Case):
    """A candidate campaigns again, until its requests for votes are made."""

    def __init__(self, rounds: int, voters: int) -> None:
        Case.__init__(self, rounds)
        self.one = Member(1, voters, 0, KEEP)

    def body(self) -> int:
        for _ in range(GROUP):
            self.one.core.step_local(MSG_HUP)
            self.count += 1
        return 0

    def finish(self) -> int:
        self.one.drain()
        self.sent = self.one.sent
        return 0


class Commits(Case):
    """The committed index of so many voters, counted."""

    def __init__(self, rounds: int, voters: int) -> None:
        Case.__init__(self, rounds)
        self.tracker = Tracker(ConfState(voters=tuple(range(1, voters + 1))), 1, 0)
        for slot in range(voters):
            self.tracker.peers.set_match(slot, 1000 + 7 * (slot * 2 % voters))
        self.sum = 0

    def body(self) -> int:
        for _ in range(4 * GROUP):
            self.sum += self.tracker.committed()
            self.count += 1
        return 0


class Votes(Case):
    """A new vote of so many voters, granted by a majority, and its result."""

    def __init__(self, rounds: int, voters: int) -> None:
        Case.__init__(self, rounds)
        self.need = voters // 2 + 1
        self.tracker = Tracker(ConfState(voters=tuple(range(1, voters + 1))), 1, 0)
        self.won = 0

    def body(self) -> int:
        for _ in range(GROUP):
            self.tracker.reset_votes()
            for slot in range(self.need):
                self.tracker.record_vote(slot, True)
            if self.tracker.tally() == quorum.VOTE_WON:
                self.won += 1
            self.count += 1
        return 0
