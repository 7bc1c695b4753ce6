"""A Raft cluster in one thread: a seed decides what happens, and the same seed makes it happen again.

Members are RawNodes; the network loses, repeats, delays and reorders, links are cut one way or both, disks
stall, and a crash loses every write that was not synced. After every step a Checker looks. No threads,
clocks or files; nothing here draws from anything but the seed.
"""

from __future__ import annotations

import random
import zlib
from collections import deque
from dataclasses import dataclass, field, fields

from .._core import Entry, EntryLog, Message
from ..config import Config
from ..consensus.rawnode import RawNode, Ready, split
from ..errors import Corruption, ProposalDropped
from ..types import (
    FLAG_REJECT,
    LEADER,
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    MSG_VOTE_RESP,
    ConfState,
    HardState,
)
from .invariants import Checker, Violation

IN_FLIGHT = 300  # messages; beyond, the oldest are lost
QUIET_ROUNDS = 600


@dataclass
class Totals:
    """What happened, summed over schedules."""

    schedules: int = 0
    steps: int = 0
    elections: int = 0
    crashes: int = 0
    crashes_with_lost_writes: int = 0
    truncations: int = 0
    acknowledged: int = 0
    messages_lost: int = 0
    messages_repeated: int = 0

    def add(self, other: Totals) -> None:
        """Sum up."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def __str__(self) -> str:
        return ", ".join([f"{getattr(self, f.name):,} {f.name.replace('_', ' ')}" for f in fields(self)])


@dataclass
class Write:
    """What goes to a disk together, and what may leave or be stepped once it is durable."""

    hard_state: HardState | None
    entries: list[Entry]
    responses: list[Message] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)


class Member:
    """A RawNode over its lives, with a disk."""

    def __init__(self, id: int, settings: dict[str, object], voters: tuple[int, ...], asynchronous: bool) -> None:
        self.id = id
        self.settings = settings
        self.voters = voters
        self.asynchronous = asynchronous
        self.hard_state = HardState()
        self.durable: list[Entry] = []
        self.writes: deque[Write] = deque()
        self.stalled = False
        self.lives = 0
        self.waiting: dict[bytes, int] = {}  # proposals of this life that are not applied yet
        self.raw: RawNode | None = None

    def begin(self) -> RawNode:
        """A new life from what is durable."""
        self.lives += 1
        log = EntryLog()
        if self.durable:
            log.py_extend(self.durable)
        seed = self.id * 1000 + self.lives
        config = Config(id=self.id, seed=seed, **self.settings)  # type: ignore[arg-type]
        self.raw = RawNode(
            config,
            log=log,
            hard_state=self.hard_state,
            conf_state=ConfState(voters=self.voters),
            async_storage_writes=self.asynchronous,
        )
        return self.raw

    def keep(self, write: Write) -> None:
        """A write is on disk."""
        if write.hard_state is not None:
            self.hard_state = write.hard_state
        if write.entries:
            del self.durable[write.entries[0].index - 1 :]
            self.durable += write.entries


class Simulation:
    """A cluster and everything that can happen to it. ``run`` lets the seed decide; tests call the parts by hand.

    release_rule: off, requests for votes leave before term and vote are on disk. early_answers: disks answer before
    they have synced. Both are errors on purpose, for showing that the Checker sees them.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        size: int = 3,
        asynchronous: bool = True,
        release_rule: bool = True,
        early_answers: bool = False,
        **settings: object,
    ) -> None:
        self.random = random.Random(seed)
        self.release_rule = release_rule
        self.early_answers = early_answers
        self.checker = Checker()
        self.totals = Totals(schedules=1)
        self.network: deque[Message] = deque()
        self.cut: set[tuple[int, int]] = set()
        self.loss = self.repeat = 0.0
        self.trace = 0
        self.proposed = 0
        voters = tuple(range(1, size + 1))
        settings = {"election_ticks": 5, "heartbeat_ticks": 1, **settings}
        self.members = {id: Member(id, settings, voters, asynchronous) for id in voters}
        for id in voters:
            self.restart(id)

    # --- what can happen -------------------------------------------------------------------------

    def tick(self, id: int) -> None:
        """Time passes for one member."""
        raw = self.members[id].raw
        if raw is not None:
            raw.tick()
            self.pump(id)

    def campaign(self, id: int) -> None:
        """A member campaigns now."""
        raw = self.members[id].raw
        assert raw is not None
        raw.campaign()
        self.pump(id)

    def propose(self, id: int) -> bytes | None:
        """A client proposes something new to a member; None when it was refused."""
        member = self.members[id]
        self.proposed += 1
        data = b"%d" % self.proposed
        if member.raw is None:
            return None
        try:
            member.raw.propose(data)
        except ProposalDropped:
            return None
        member.waiting[data] = 1
        self.pump(id)
        return data

    def transfer(self, id: int, to: int) -> None:
        """A member is asked to see to it that another leads."""
        raw = self.members[id].raw
        if raw is not None:
            raw.transfer_leader(to)
            self.pump(id)

    def deliver(self, place: int = 0) -> None:
        """One message of those under way arrives, or is lost on the way."""
        network = self.network
        network.rotate(-place)
        message = network.popleft()
        network.rotate(place)
        member = self.members[message.to]
        if member.raw is None or (message.sender, message.to) in self.cut:
            self.totals.messages_lost += 1
            return
        if self.loss and self.random.random() < self.loss:
            self.totals.messages_lost += 1
            return
        if self.repeat and self.random.random() < self.repeat:
            self.totals.messages_repeated += 1
            network.append(message.copy())
        try:
            member.raw.step(message)
        except ProposalDropped:
            return
        self.pump(message.to)

    def sync(self, id: int) -> None:
        """The disk of a member has written everything it was given."""
        member = self.members[id]
        if member.raw is None or member.stalled:
            return
        writes, member.writes = member.writes, deque()
        for write in writes:
            member.keep(write)
        for write in writes:
            self._durable(member, write)
        self.pump(id)

    def _durable(self, member: Member, write: Write) -> None:
        """What waited for a write happens."""
        assert member.raw is not None
        for message in write.responses:
            if message.to == member.id:
                member.raw.step(message)
            else:
                self.send(message)
        write.responses = []
        for message in write.messages:
            self.send(message)
        write.messages = []

    def crash(self, id: int, kept: int | None = None) -> None:
        """Power cut. Of the writes that were not synced the oldest ``kept`` have reached the disk all the same."""
        member = self.members[id]
        if member.raw is None:
            return
        self.totals.crashes += 1
        if kept is None:
            kept = self.random.randrange(len(member.writes) + 1)
        for _ in range(kept):
            member.keep(member.writes.popleft())
        self.totals.crashes_with_lost_writes += bool(member.writes)
        member.writes.clear()
        member.waiting.clear()
        member.raw = None
        member.stalled = False

    def restart(self, id: int) -> None:
        """A member begins again from its disk."""
        member = self.members[id]
        if member.raw is None:
            member.begin()
            self.checker.began(id, member.durable)
            self.pump(id)

    # --- what follows from it --------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """A message leaves its sender."""
        if message.kind == MSG_VOTE_RESP and not message.flags & FLAG_REJECT:
            self.checker.voted(message.sender, message.term, message.to)
        self.network.append(message)
        if len(self.network) > IN_FLIGHT:
            self.network.popleft()
            self.totals.messages_lost += 1

    def pump(self, id: int) -> None:
        """Do what a member's Readys ask for, then let the Checker look."""
        member = self.members[id]
        raw = member.raw
        assert raw is not None
        while raw.has_ready():
            ready = raw.ready()
            if ready.entries:
                self.checker.appended(id, ready.entries)
            if member.asynchronous:
                self._asynchronous(member, ready)
            else:
                member.keep(Write(ready.hard_state, ready.entries))
                for message in ready.messages:
                    self.send(message)
                self._apply(member, ready.committed_entries)
                raw.advance()
        self.checker.stepped(id, raw)
        core = raw.core
        step = b"%d %d %d %d %d" % (id, core.term, core.role, core.committed, core.log.last)
        self.trace = zlib.crc32(step, self.trace)

    def _asynchronous(self, member: Member, ready: Ready) -> None:
        """Hand the writes to the disk; the release rule says what may leave before they are durable."""
        assert member.raw is not None
        outgoing = []
        for message in ready.messages:
            if message.to == LOCAL_APPEND_THREAD:
                write = Write(ready.hard_state, ready.entries, message.responses or [])
                if self.early_answers:
                    self._durable(member, write)
                member.writes.append(write)
            elif message.to == LOCAL_APPLY_THREAD:
                self._apply(member, message.entries)
                for response in message.responses or []:
                    member.raw.step(response)
            else:
                outgoing.append(message)
        now, later = split(outgoing) if self.release_rule else (outgoing, [])
        for message in now:
            self.send(message)
        if member.writes:
            member.writes[-1].messages += later
        else:
            for message in later:
                self.send(message)

    def _apply(self, member: Member, entries: list[Entry]) -> None:
        self.checker.apply(member.id, entries)
        for entry in entries:
            if entry.data in member.waiting:
                del member.waiting[entry.data]
                self.checker.acknowledged(entry.index, entry.data)
                self.totals.acknowledged += 1

    # --- by the seed -----------------------------------------------------------------------------

    def step(self) -> None:
        """One event, drawn."""
        draw = self.random
        chance = draw.random()
        id = draw.choice(list(self.members))
        member = self.members[id]
        if chance < 0.56:
            if not self.network:
                self.sync(id)
                return
            # Mostly in order, as TCP does; any order at times.
            reach = len(self.network) if draw.random() < 0.1 else min(4, len(self.network))
            self.deliver(draw.randrange(reach))
        elif chance < 0.66:
            self.tick(id)
        elif chance < 0.88:
            self.sync(id)
        elif chance < 0.96:
            self.propose(id)
        elif chance < 0.98:
            if member.raw is None:
                self.restart(id)
        elif chance < 0.984:
            self.crash(id)
        elif chance < 0.987:
            member.stalled = True
        elif chance < 0.991:
            member.stalled = False
        elif chance < 0.994:
            self._partition()
        elif chance < 0.998:
            self.cut.clear()
        else:
            self.transfer(id, draw.choice(list(self.members)))

    def _partition(self) -> None:
        """Cut one link one way, or everything between two groups."""
        draw = self.random
        ids = list(self.members)
        if draw.random() < 0.4:
            self.cut.add((draw.choice(ids), draw.choice(ids)))
            return
        side = set(draw.sample(ids, draw.randrange(len(ids) + 1)))
        self.cut = {(a, b) for a in ids for b in ids if (a in side) != (b in side)}

    def run(self, steps: int) -> Totals:
        """So many events, then quiet, in which the cluster must come to agree. Raises Violation."""
        for _ in range(steps):
            self.step()
        self.totals.steps = steps
        self.settle()
        self.totals.elections = self.checker.elections
        self.totals.truncations = self.checker.truncations
        return self.totals

    def settle(self) -> None:
        """Without faults: everybody runs, one leads, all have the same log, and something new is committed."""
        self.cut.clear()
        self.loss = self.repeat = 0.0
        for id, member in self.members.items():
            member.stalled = False
            self.restart(id)
        data: bytes | None = None
        for _ in range(QUIET_ROUNDS):
            for id in self.members:
                self.tick(id)
            for _ in range(6):
                for id in self.members:
                    self.sync(id)
                for _ in range(len(self.network)):
                    self.deliver()
            if data is None:
                leader = next(
                    (m for m in self.members.values() if m.raw is not None and m.raw.core.role == LEADER), None
                )
                if leader is not None and self._agree():
                    data = self.propose(leader.id)
            elif self._agree() and self.checker.applied[-1][1] == data:
                return
        states = [
            (m.id, m.raw.core.term, m.raw.core.role, m.raw.core.committed, m.raw.core.log.last)
            for m in self.members.values()
            if m.raw is not None
        ]
        raise Violation(
            f"liveness: no agreement within {QUIET_ROUNDS} quiet rounds: (id, term, role, commit, last) {states}"
        )

    def _agree(self) -> bool:
        """Whether every member has applied the whole of one log."""
        cores = [member.raw.core for member in self.members.values() if member.raw is not None]
        last = cores[0].log.last
        return all([core.log.last == core.committed == core.applied == last for core in cores])


def schedule(seed: int, steps: int = 2000, **errors: bool) -> Simulation:
    """The simulation of a seed, run to its end: size, settings and faults are drawn too. Raises Violation."""
    draw = random.Random(seed ^ 0x5EED)
    message_bytes = draw.choice((0, 60, 1 << 20))
    simulation = Simulation(
        seed,
        size=draw.choice((1, 3, 3, 3, 3, 5, 5, 5)),
        asynchronous=draw.random() < 0.8,
        pre_vote=draw.random() < 0.7,
        check_quorum=draw.random() < 0.7,
        max_message_bytes=message_bytes,
        max_inflight_messages=draw.choice((1, 2, 256)),
        max_inflight_bytes=max(message_bytes, draw.choice((100, 1 << 20))),
        **errors,
    )
    simulation.loss = draw.choice((0.0, 0.01, 0.05, 0.15))
    simulation.repeat = draw.choice((0.0, 0.02, 0.1))
    try:
        simulation.run(steps)
    except (Violation, Corruption) as violation:
        # Corruption is what a member says of itself when it is asked for the impossible.
        raise Violation(f"seed {seed}: {violation}  (RAFTX_SEED={seed} replays it)") from violation
    return simulation
