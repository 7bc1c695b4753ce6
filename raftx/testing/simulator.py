"""A Raft cluster in one thread: everything that can happen to it, one call each, under a Checker.

Members are RawNodes; the network loses, repeats, delays and reorders, links are cut one way or both, disks and
state machines stall, and a crash loses every write that was not synced. Membership, snapshots, reads and
leadership change under way. After every step a Checker looks. No threads, clocks or files; nothing here draws
from anything but the seed. What happens when is schedule.py's; tests call the parts by hand.
"""

from __future__ import annotations

import random
import zlib
from collections import deque
from dataclasses import replace

from .._native.memory import Entry
from .._native.outbox import Message
from ..config import Config
from ..consensus.rawnode import RawNode, Ready, split
from ..errors import (
    ConfChangeError,
    ConfChangeRefused,
    ProposalDropped,
    ReadDropped,
    SnapshotRequestDropped,
    UnknownPeer,
)
from ..types import (
    FLAG_REJECT,
    FLAG_TRANSFER,
    LEADER,
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    MSG_PROP,
    MSG_SNAP,
    MSG_VOTE,
    MSG_VOTE_RESP,
    ConfChange,
    ConfState,
    Snapshot,
)
from .invariants import Beginning, Checker, Violation
from .limits import Limits
from .member import Member, Write, decode, encode
from .recovery import recover
from .seeds import check_seed
from .totals import Totals

IN_FLIGHT = 300  # messages; beyond, the oldest are lost


class Simulation:
    """A cluster and everything that can happen to it.

    ``founding`` says how the group begins: "given", every member with the membership before its first entry;
    "bootstrap", with entries that add the first voters; "snapshot", with a snapshot that they share. Only the last
    two may take in new members: a member that has neither log nor snapshot of the first membership cannot come to it.

    damages: disks remember what they held some writes ago, so that they may be damaged.

    release_rule: off, requests for votes leave before term and vote are on disk. early_answers: disks answer before
    they have synced. Both are errors on purpose, for showing that the Checker sees them.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        size: int = 3,
        learners: int = 0,
        founding: str = "given",
        asynchronous: bool = True,
        release_rule: bool = True,
        early_answers: bool = False,
        lockstep: bool = False,
        damages: bool = False,
        priorities: dict[int, int] | None = None,
        **settings: object,
    ) -> None:
        self.seed = check_seed(seed)
        self.random = random.Random(seed)
        self.asynchronous = asynchronous
        self.release_rule = release_rule
        self.early_answers = early_answers
        self.lockstep = lockstep
        self.damages = damages
        self.settings: dict[str, object] = {"election_ticks": 5, "heartbeat_ticks": 1, **settings}
        self.priorities = priorities or {}
        self.checker = Checker()
        self.limits = Limits(Config(id=1, **self.settings))  # type: ignore[arg-type]
        self.lease_reads = self.limits.config.lease_reads
        self.totals = Totals(schedules=1)
        self.network: deque[Message] = deque()
        #: (sender, recipient, arrived): what became of snapshots, to be reported
        self.reports: deque[tuple[int, int, bool]] = deque()
        self.cut: set[tuple[int, int]] = set()
        self.loss = self.repeat = 0.0
        self.in_flight = IN_FLIGHT
        self.trace = 0
        self.proposed = 0
        self.padding = 0
        self.reads = 0
        self.contexts: dict[bytes, int] = {}  # how often each was asked for
        self.served: set[bytes] = set()
        self.insiders: set[int] = set()  # every id that has been a member so far
        self.handovers: set[tuple[int, int]] = set()  # (term, member) of elections that a transfer asked for
        self.members: dict[int, Member] = {}
        self._found(size, learners, founding)

    def _found(self, size: int, learners: int, founding: str) -> None:
        voters = tuple(range(1, size + 1))
        conf = ConfState(voters, tuple(range(size + 1, size + learners + 1)))
        self.insiders = {*conf.voters, *conf.learners}
        founders = list(voters) if founding == "bootstrap" else None
        self.checker.founded = size if founders else 0
        start = 1 + self.seed % 5
        items = [b""] * start
        if founding == "snapshot":
            self.checker.starts_with(start, 1, items, conf)
        for id in [*conf.voters, *conf.learners]:
            given = conf if founding == "given" else None
            member = self.add(id, given, founders if id in voters else None)
            if founding == "snapshot":
                member.found(Snapshot(start, 1, conf, encode(items)))
        for id in self.members:
            self.restart(id)

    def add(self, id: int, conf_state: ConfState | None = None, founders: list[int] | None = None) -> Member:
        """A new member, not running, with an empty disk. It may be added to the membership now or later."""
        settings = dict(self.settings)
        settings["priority"] = self.priorities.get(id, 0)
        member = Member(id, settings, self.asynchronous, conf_state, founders, self.seed % (1 << 40) * 100_003)
        self.members[id] = member
        return member

    # --- what can happen -------------------------------------------------------------------------

    def tick(self, id: int) -> None:
        """Time passes for one member; in lockstep, for all."""
        for each in self.members if self.lockstep else (id,):
            raw = self.members[each].raw
            if raw is not None:
                self.totals.steps += 1
                raw.tick()
                self.pump(each)

    def campaign(self, id: int) -> None:
        """A member campaigns now."""
        raw = self.members[id].raw
        if raw is not None:
            self.totals.steps += 1
            raw.campaign()
            self.pump(id)

    def propose(self, id: int) -> bytes | None:
        """A client proposes something new to a member; None when it was refused."""
        member = self.members[id]
        raw = member.raw
        self.totals.steps += 1
        self.proposed += 1
        data = b"%d" % self.proposed
        if self.padding:
            data = data.ljust(self.proposed * 7 % self.padding, b"x")
        if raw is None:
            return None
        before = self._room(raw)
        try:
            raw.propose(data)
        except ProposalDropped:
            self._dropped(raw, before, len(data))
            return None
        self._taken(raw, before)
        member.waiting.add(data)
        self.pump(id)
        return data

    def change(self, id: int, change: ConfChange) -> bool:
        """A member is asked for another membership; False when it was refused there."""
        raw = self.members[id].raw
        if raw is None:
            return False
        self.totals.steps += 1
        before = self._room(raw)
        taken = True
        try:
            raw.propose_conf_change(change)
            self._taken(raw, before)
        except ConfChangeRefused:
            self.totals.changes_refused += 1
            taken = False
        except ProposalDropped:
            self._dropped(raw, before, len(change.encode()))
            return False
        self.pump(id)
        return taken

    def _room(self, raw: RawNode) -> int:
        return int(raw.core.uncommitted_bytes) if raw.core.role == LEADER else -1

    def _taken(self, raw: RawNode, before: int) -> None:
        if before >= 0:
            self.limits.accepted(raw.core.id, before, raw.core.uncommitted_bytes)

    def _dropped(self, raw: RawNode, before: int, size: int) -> None:
        self.totals.proposals_refused += 1
        if before >= 0 and not raw.core.transferee and raw.core.self_slot >= 0:
            self.limits.refused(raw.core.id, before, size)

    def transfer(self, id: int, to: int) -> None:
        """A member is asked to see to it that another leads."""
        raw = self.members[id].raw
        if raw is not None:
            self.totals.steps += 1
            self.totals.transfers_asked += 1
            raw.transfer_leader(to)
            self.pump(id)

    def forget(self, id: int) -> None:
        """A follower forgets its leader."""
        raw = self.members[id].raw
        if raw is not None:
            self.totals.steps += 1
            known = raw.core.lead
            raw.forget_leader()
            self.totals.leaders_forgotten += bool(known and not raw.core.lead)
            self.pump(id)

    def step_down(self, id: int) -> None:
        """A leader gives up leading."""
        raw = self.members[id].raw
        if raw is not None:
            self.totals.steps += 1
            self.totals.leaders_stepped_down += raw.core.role == LEADER
            raw.step_down()
            self.pump(id)

    def ping(self, id: int) -> None:
        """A leader sends heartbeats out of turn."""
        raw = self.members[id].raw
        if raw is not None:
            self.totals.steps += 1
            raw.ping()
            self.pump(id)

    def read(self, id: int, context: bytes | None = None) -> None:
        """A client asks a member for a linearizable read; with a context of an earlier one, answers are alike."""
        raw = self.members[id].raw
        if raw is None:
            return
        self.totals.steps += 1
        self.reads += 1
        if context is None:
            context = b"r%d" % self.reads
        core = raw.core
        early = core.role == LEADER and core.log.py_term(core.committed) != core.term
        try:
            self.checker.asked(id, context)
            raw.read_index(context)
        except ReadDropped:
            return
        self.contexts[context] = self.contexts.get(context, 0) + 1
        self.totals.reads_asked += 1
        self.totals.reads_asked_before_a_commit += early
        self.pump(id)

    def request_snapshot(self, id: int) -> None:
        """A follower asks its leader for a snapshot."""
        raw = self.members[id].raw
        if raw is not None:
            self.totals.steps += 1
            try:
                raw.request_snapshot()
            except SnapshotRequestDropped:
                return
            self.totals.snapshots_requested += 1
            self.pump(id)

    def snapshot(self, id: int) -> bool:
        """A member saves its state machine, and has a snapshot for others from then on."""
        member = self.members[id]
        snapshot = member.snapshot()
        if snapshot is None or member.raw is None:
            return False
        self.totals.steps += 1
        self.totals.snapshots_taken += 1
        member.disk.snapshot = snapshot
        member.raw.set_snapshot(snapshot)
        self.pump(id)
        return True

    def compact(self, id: int, keep: int = 0) -> None:
        """A member drops what its snapshot covers, but for the last ``keep`` entries of it."""
        member = self.members[id]
        raw = member.raw
        if raw is None or member.disk.snapshot is None or raw.core.pending_snapshot:
            return
        index = min(member.disk.snapshot.index, raw.core.applied, raw.core.stable) - keep
        if index > member.disk.base:
            self.totals.steps += 1
            self.totals.compactions += 1
            raw.compact(index)
            member.disk.compact(index)
            self.pump(id)

    def unreachable(self, id: int, peer: int) -> None:
        """The transport of a member says that a peer cannot be reached; it may be wrong."""
        raw = self.members[id].raw
        if raw is not None:
            self.totals.steps += 1
            self.limits.heard(id, peer)
            raw.report_unreachable(peer)
            self.pump(id)

    def report(self, wrong: bool = False) -> None:
        """The oldest report about a snapshot that was sent reaches its sender."""
        if self.reports:
            sender, to, arrived = self.reports.popleft()
            raw = self.members[sender].raw
            if raw is not None:
                self.totals.steps += 1
                self.totals.snapshot_reports += 1
                self.limits.heard(sender, to)
                raw.report_snapshot(to, arrived != wrong)
                self.pump(sender)

    def deliver(self, place: int = 0) -> None:
        """One message of those under way arrives, or is lost on the way."""
        self.totals.steps += 1
        network = self.network
        message = network[place]
        del network[place]
        to = message.to
        member = self.members[to]
        raw = member.raw
        if raw is None or (message.sender, to) in self.cut or (self.loss and self.random.random() < self.loss):
            self._lost(message)
            return
        if self.repeat and self.random.random() < self.repeat:
            self.totals.messages_repeated += 1
            network.append(message.copy())
        kind = message.kind
        now = b"%d %d %d %d %d" % (kind, message.sender, to, message.term, message.index)
        self.trace = zlib.crc32(now, self.trace)
        before = -1
        if kind == MSG_PROP:
            before = self._room(raw)
        elif kind == MSG_SNAP:
            self.reports.append((message.sender, to, True))
            if self.checker.founded > member.applied:
                # The first members add each other: what they come to on the way is not known to the Checker.
                self._apply_handed(member)
        reason = raw.refusal(message)
        if reason == "stranger" or (reason and member.damaged):
            # From one that was removed or is not known here yet; or an answer to what a damaged disk has forgotten.
            self.totals.strangers_refused += 1
            return
        if reason:
            raise Violation(f"node {to} refuses what node {message.sender} sent it ({reason}): {message!r}")
        self.limits.heard(to, message.sender)
        try:
            raw.step(message)
        except ProposalDropped:
            self._dropped(raw, before, message.body_size - message.count * 32)
            return
        except UnknownPeer:
            return
        if kind == MSG_PROP:
            self._taken(raw, before)
        self.pump(to)

    def lose_all(self) -> None:
        """Everything under way is lost."""
        while self.network:
            self._lost(self.network.popleft())

    def _lost(self, message: Message) -> None:
        self.totals.messages_lost += 1
        if message.kind == MSG_SNAP:
            self.totals.snapshots_lost += 1
            self.reports.append((message.sender, message.to, False))

    def sync(self, id: int) -> None:
        """The disk of a member has written everything it was given; with synchronous writes, it works again."""
        member = self.members[id]
        if member.raw is None or member.stalled:
            return
        self.totals.steps += 1
        if member.writes:
            writes, member.writes = member.writes, deque()
            for write in writes:
                self._keep(member, write)
            for write in writes:
                self._durable(member, write)
            self.pump(id)
        elif member.deferred:
            self.pump(id)

    def _keep(self, member: Member, write: Write) -> None:
        if self.damages:
            member.past.append(member.disk.copy())
        member.disk.keep(write)
        if write.hard_state is not None:
            self.checker.kept(member.id, write.hard_state)
            self.totals.doubts_ended += member.in_doubt and not write.hard_state.in_doubt
            member.in_doubt = write.hard_state.in_doubt

    def _durable(self, member: Member, write: Write) -> None:
        """What waited for a write happens."""
        assert member.raw is not None
        if write.snapshot is not None and not write.restored:
            write.restored = True
            self._apply_handed(member)
            self._restore(member, write.snapshot)
        for message in write.responses:
            if message.to == member.id:
                member.raw.step(message)
            else:
                self.send(message)
        write.responses = []
        for message in write.messages:
            self.send(message)
        write.messages = []

    def apply(self, id: int) -> None:
        """The state machine of a member has done everything it was handed."""
        member = self.members[id]
        if member.raw is not None and member.applies and not member.asleep:
            self.totals.steps += 1
            self._apply_handed(member)
            self.pump(id)

    def crash(self, id: int, kept: int | None = None) -> None:
        """Power cut. Of the writes that were not synced the oldest ``kept`` have reached the disk all the same."""
        member = self.members[id]
        if member.raw is None:
            return
        self.totals.steps += 1
        self.totals.crashes += 1
        if kept is None:
            kept = self.random.randrange(len(member.writes) + 1)
        for _ in range(kept):
            self._keep(member, member.writes.popleft())
        self.totals.crashes_with_lost_writes += bool(member.writes or member.deferred)
        self.limits.renewed(id)
        member.end()

    def damage(self, id: int, lost: int) -> bool:
        """Power cut, and the disk has lost its last ``lost`` writes, durable as they were; it knows that it may have.

        One member at a time, which must not be one that is needed for every majority. False where that cannot be.
        """
        member = self.members[id]
        waiting = [each for each in self.members.values() if each.disk.hard_state.in_doubt and each.id != id]
        voters = member.raw.core.tracker.conf_state().voters if member.raw is not None else ()
        if waiting or len(voters) < 3 or len(member.past) < lost or member.past[-lost].empty:
            return False
        self.crash(id)
        disk = member.past[-lost]
        member.past.clear()
        disk.hard_state = replace(disk.hard_state, in_doubt=True)
        member.disk = disk
        member.damaged = True
        member.items = []
        self.checker.durable[id] = disk.hard_state
        self.totals.damages += 1
        return True

    def doom(self, id: int, place: int) -> None:
        """Power fails within a member's next Ready: after it is written (1), sent (2) or applied (3)."""
        self.members[id].doomed = place

    def restart(self, id: int, keep_state: bool = False) -> None:
        """A member begins again from its disk."""
        member = self.members[id]
        if member.raw is not None:
            return
        self.totals.steps += 1
        member.begin(keep_state)
        disk = member.disk
        covered = disk.snapshot.index if disk.snapshot else 0
        if member.lives > 1:
            self.totals.restarts_from_snapshot += 0 < covered == member.applied
            self.totals.restarts_of_kept_state += member.applied > covered
        commit = max(disk.hard_state.commit, disk.base)
        self.checker.began(id, Beginning(disk.base, disk.base_term, disk.entries, commit, member.applied))
        self.pump(id)

    def settle(self) -> int:
        """The faults end: everything must come alive again. Returns how many ticks that took. Raises Violation."""
        ticks = recover(self)
        totals = self.totals
        totals.longest_recovery = max(totals.longest_recovery, ticks)
        totals.elections = self.checker.elections
        totals.truncations = self.checker.truncations
        totals.full_windows = self.limits.full_windows
        leaders = self.checker.leaders
        totals.transfers_completed = len([1 for term, id in self.handovers if leaders.get(term) == id])
        return ticks

    # --- what follows from it --------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """A message leaves its sender."""
        kind = message.kind
        if kind == MSG_VOTE_RESP:
            if not message.flags & FLAG_REJECT:
                self.checker.voted(message.sender, message.term, message.to)
        elif kind == MSG_VOTE:
            if message.flags & FLAG_TRANSFER:
                self.handovers.add((message.term, message.sender))
        elif kind == MSG_SNAP:
            self.totals.snapshots_sent += 1
        self.network.append(message)
        if len(self.network) > self.in_flight:
            self._lost(self.network.popleft())

    def pump(self, id: int) -> None:
        """Do what a member's Readys ask for, then let the Checker look."""
        member = self.members[id]
        raw = member.raw
        assert raw is not None
        if member.asynchronous:
            while raw.has_ready():
                self._asynchronous(member, raw, self._ready(member, raw))
        elif not member.stalled:
            while raw.has_ready():
                if not self._synchronous(member, raw, self._ready(member, raw)):
                    self.totals.crashes_within_a_ready += 1
                    self.crash(id)
                    return
        elif raw.has_ready():
            # Nobody has seen anything of it yet, the Checker neither.
            member.deferred = True
            return
        self.checker.stepped(id, raw)
        core = raw.core
        tracker = core.tracker
        now = (id, core.term, core.role, core.committed, core.log.last, core.applied)
        sets = (tracker.voters, tracker.outgoing, tracker.learners)
        self.trace = zlib.crc32(b"%d %d %d %d %d %d" % now + b" %d %d %d" % sets, self.trace)

    def _ready(self, member: Member, raw: RawNode) -> Ready:
        """Take a Ready and look at it."""
        ready = raw.ready()
        if ready.soft_state is not None and raw.core.role == LEADER:
            self.checker.elected(member.id, raw)
        if ready.snapshot is not None:
            self.checker.replaced(member.id, ready.snapshot.index, ready.snapshot.term)
        if ready.entries:
            self.checker.appended(member.id, ready.entries)
        for state in ready.read_states:
            if not self.lease_reads:
                # A lease may outlast the others' patience when messages are late: no promise to hold it to.
                self.checker.answered(member.id, state.context, state.index)
            member.reads.append((state.index, state.context))
        if member.reads:
            self._serve(member)
        self.totals.changes_refused += len(ready.refused)
        if ready.committed_entries:
            size = self.limits.handed(member.id, member.apply_bytes, ready.committed_entries)
            self.totals.split_applies += ready.committed_entries[-1].index < raw.core.committed
            if member.asynchronous:
                member.apply_bytes += size
        return ready

    def _synchronous(self, member: Member, raw: RawNode, ready: Ready) -> bool:
        """Write, send, apply. False when power fails at one of these places."""
        self._keep(member, Write(ready.hard_state, ready.entries, ready.snapshot))
        if member.doomed == 1:
            return False
        if ready.snapshot is not None:
            self._restore(member, ready.snapshot)
        for message in ready.messages:
            self.limits.sends(raw, message, not member.deferred)
            self.send(message)
        if member.doomed == 2:
            return False
        member.deferred = False
        self._apply(member, ready.committed_entries)
        if member.doomed == 3:
            return False
        raw.advance()
        return True

    def _asynchronous(self, member: Member, raw: RawNode, ready: Ready) -> None:
        """Hand the writes to the disk; the release rule says what may leave before they are durable."""
        outgoing = []
        for message in ready.messages:
            if message.to == LOCAL_APPEND_THREAD:
                write = Write(ready.hard_state, ready.entries, ready.snapshot, message.responses or [])
                if self.early_answers:
                    self._durable(member, write)
                member.writes.append(write)
            elif message.to == LOCAL_APPLY_THREAD:
                member.applies.append(message)
                if not member.lazy:
                    self._apply_handed(member)
            else:
                self.limits.sends(raw, message, True)
                outgoing.append(message)
        now, later = split(outgoing) if self.release_rule else (outgoing, [])
        for message in now:
            self.send(message)
        if member.writes:
            member.writes[-1].messages += later
        else:
            for message in later:
                self.send(message)

    def _apply_handed(self, member: Member) -> None:
        while member.applies and member.raw is not None:
            message = member.applies.popleft()
            member.apply_bytes -= message.body_size
            self._apply(member, message.entries)
            for response in message.responses or []:
                member.raw.step(response)

    def _apply(self, member: Member, entries: list[Entry]) -> None:
        self.checker.apply(member.id, entries)
        member.apply(entries)
        for entry in entries:
            if entry.kind:
                self._configure(member, entry)
            elif entry.data in member.waiting:
                member.waiting.remove(entry.data)
                self.checker.acknowledged(entry.index, entry.data)
                self.totals.acknowledged += 1
        if member.reads:
            self._serve(member)

    def _restore(self, member: Member, snapshot: Snapshot) -> None:
        self.checker.restored(member.id, snapshot.index, snapshot.term, decode(snapshot.data), snapshot.conf_state)
        member.restore(snapshot)
        self.totals.snapshots_restored += 1
        if member.reads:
            self._serve(member)

    def _serve(self, member: Member) -> None:
        """Reads that were answered are served as soon as the state machine is that far."""
        assert member.raw is not None
        core = member.raw.core
        waiting = []
        for index, context in member.reads:
            if index > member.applied:
                waiting.append((index, context))
                continue
            self.checker.served(member.id, context, index)
            self.served.add(context)
            self.totals.repeated_contexts_served += self.contexts[context] > 1
            self.totals.reads_by_lease += self.lease_reads
            slot = core.self_slot
            if core.role == LEADER:
                self.totals.reads_served_by_leader += 1
            elif slot >= 0 and (core.tracker.learners >> slot) & 1:
                self.totals.reads_served_by_learner += 1
            else:
                self.totals.reads_served_by_follower += 1
        member.reads = waiting

    def _configure(self, member: Member, entry: Entry) -> None:
        """The state machine has come to a change of membership."""
        raw = member.raw
        assert raw is not None
        if entry.index <= raw.core.conf_index:
            self._overtaken(member, entry, raw)
            return
        before = member.confs[-1][1]
        led = raw.core.role == LEADER
        fits = True
        try:
            conf = raw.apply_conf_change(entry)
        except ConfChangeError:
            conf = raw.core.tracker.conf_state()
            fits = False
        self.limits.renewed(member.id)
        member.confs.append((entry.index, conf))
        if led and member.id in before.voters and member.id not in (*conf.voters, *conf.voters_outgoing):
            self.totals.leaders_removed += 1
        if self.checker.configured(member.id, entry.index, conf):
            self.insiders |= self.totals.configured(before, conf, fits, not entry.data, self.insiders)

    def _overtaken(self, member: Member, entry: Entry, raw: RawNode) -> None:
        """A snapshot that has the change was taken after the entry had been handed out: nothing must change."""
        self.totals.changes_overtaken += 1
        before = raw.core.tracker.conf_state()
        if raw.apply_conf_change(entry) != before or raw.core.tracker.conf_state() != before:
            raise Violation(f"node {member.id} changes the membership of a snapshot by the earlier entry {entry.index}")
        conf = self.checker.configuration_at(entry.index)
        assert conf is not None
        member.confs.append((entry.index, conf))
