"""The harness around raftx for quiet schedules (protocol.md): one input, then delivery until nothing moves.

Here two libraries need not send the same messages, only come to the same: what is compared is who leads, the terms,
what is committed and applied, and the configurations. What a member has on disk is cluster.py's ``Member``. No
randomness and no clock.
"""

from __future__ import annotations

import contextlib
import json
import sys
import zlib
from collections.abc import Iterable
from types import ModuleType
from typing import IO, Any

import raftx

from .cluster import DOWN, DROPPED, MASK64, NOTHING, OK, SCENARIO, Member, checksum, run, scenarios
from .implementation import CLUSTER, Implementation, conf_text, implementation

ROUNDS = 1000  # rounds of delivery after which a schedule counts as one that never comes to rest
RESTLESS = "restless"

_SNAP = 7


class QuietMember(Member):
    """A member whose state machine keeps a sum over everything that was applied."""

    def __init__(self, impl: Implementation, spec: dict[str, Any], seed: int) -> None:
        self.chain = 0
        #: the sum after each index that was applied in this life or an earlier one
        self.chains: dict[int, int] = {}
        #: what left and is not under way yet: (recipient, sender, kind, frame)
        self.out: list[tuple[int, int, int, bytes]] = []
        #: ``index:context`` of the reads that were answered since the last input
        self.answered: list[str] = []
        super().__init__(impl, spec, seed)
        if self.snapshot.index:
            snapshot = self.snapshot
            self.snapshot = impl.Snapshot(snapshot.index, snapshot.term, snapshot.conf_state, self.sum_text())
            self.start(snapshot.index)

    def sum_text(self) -> bytes:
        """What a snapshot of the present state machine holds."""
        return f"{self.applied}:{self.chain:08x}".encode()

    def start(self, applied: int) -> None:
        if applied == self.snapshot.index:
            data = self.snapshot.data
            self.chain = int(data.partition(b":")[2] or b"0", 16)
            self.chains[applied] = self.chain
        else:
            self.chain = self.chains[applied]
        super().start(applied)

    def take_snapshot(self, snapshot: Any) -> None:
        super().take_snapshot(snapshot)
        self.chain = self.chains[snapshot.index] = int(snapshot.data.partition(b":")[2], 16)

    def apply(self, entries: list[Any]) -> None:
        text = self.impl.entries_text
        for entry in entries:
            if entry.index <= self.applied:
                continue
            self.applied = entry.index
            self.chain = self.chains[entry.index] = zlib.crc32(text((entry,)).encode(), self.chain)
            if entry.kind:
                change = self.impl.ConfChange.decode(entry.data, entry.kind == 1)
                self.set_conf(entry.index, self.raw.apply_conf_change(change))

    def crash(self) -> None:
        super().crash()
        self.out.clear()

    def keep(self, count: int) -> bool:
        """A snapshot of what is applied, and ``count`` entries before it at most. False: nothing to do."""
        done = False
        index = min(self.applied, self.hard.commit)
        if index > self.snapshot.index:
            self.snapshot = self.impl.Snapshot(index, self.term_of(index), self.conf_at(index), self.sum_text())
            self.raw.set_snapshot(self.snapshot)
            done = True
        index = self.snapshot.index - count
        if index > self.base:
            self.compact(index)
            done = True
        return done

    def work_off(self) -> None:
        """Ready after Ready until there is none."""
        raw = self.raw
        core = self.core
        core.randomized_timeout = self.timeout()
        while raw.has_ready():
            ready = raw.ready()
            self.store(ready.snapshot, ready.entries, ready.hard_state)
            for m in ready.messages:
                self.out.append((m.to, self.id, m.kind, self.encoder.encode(m.to, [m])))
            if ready.read_states:
                self.answered += [f"{state.index}:{state.context.hex()}" for state in ready.read_states]
            if ready.snapshot is not None:
                self.take_snapshot(ready.snapshot)
            if ready.committed_entries:
                self.apply(ready.committed_entries)
            raw.advance()
            core.randomized_timeout = self.timeout()

    def text(self) -> str:
        """``id term vote lead role commit applied sum conf``."""
        core = self.core
        if core is None:
            return f"{self.id} down"
        tracker = core.tracker
        sets = (tracker.voters, tracker.outgoing, tracker.learners, tracker.learners_next, tracker.auto_leave)
        key = (sets, bytes(tracker.peers.column("ids")))
        if key != self._conf_key:
            self._conf_key = key
            self._conf_text = conf_text(tracker.conf_state())
        return (
            f"{self.id} {core.term} {core.vote} {core.lead} {core.role} {core.committed} {core.applied} "
            f"{self.chain:08x} {self._conf_text}"
        )


class QuietCluster:
    """Members and the links between them. ``step`` takes one input to its quiet point and answers it."""

    def __init__(self, head: dict[str, Any], package: ModuleType = raftx) -> None:
        if head.get("scenario") != SCENARIO or head.get("quiet") is not True:
            raise ValueError(f"not the head of a quiet schedule of version {SCENARIO}")
        self.impl = implementation(package)
        seed = head.get("seed", 0) & MASK64
        nodes = sorted(head["nodes"], key=lambda spec: int(spec["id"]))
        self.members = {spec["id"]: QuietMember(self.impl, spec, seed) for spec in nodes}
        self.decoders = {id: self.impl.Codec(CLUSTER, id) for id in self.members}
        #: links, from and to, over which nothing gets through
        self.cut: set[tuple[int, int]] = set()
        self.over = False
        #: what ended the schedule, for those who look into a difference
        self.error: BaseException | None = None
        impl = self.impl
        self._ignored = (impl.ProposalDropped, impl.ReadDropped, impl.UnknownPeer)

    def step(self, step: list[Any]) -> str:
        """One input, then delivery until nothing moves. After a panic there are no more."""
        impl = self.impl
        try:
            result = self._input(step)
            if not self._deliver():
                result = RESTLESS
        except impl.gives_up as error:
            self.over = True
            self.error = error
            return "panic||"
        except Exception as error:
            # Not what the library promises: an answer that nobody else gives.
            self.over = True
            self.error = error
            return f"raised {type(error).__name__}: {error}||"
        reads = []
        for member in self.members.values():
            if member.answered:
                reads += [f"{member.id}:{read}" for read in member.answered]
                member.answered.clear()
        states = ";".join([member.text() for member in self.members.values()])
        return f"{result}|{' '.join(sorted(reads))}|{states}"

    def _input(self, step: list[Any]) -> str:
        name = step[0]
        if name == "tick":
            for _ in range(step[1]):
                for member in self.members.values():
                    if member.raw is not None:
                        member.raw.tick()
                        member.work_off()
            return OK
        if name == "links":
            self.cut = {(one, other) for one, other in step[1]}
            return OK
        member = self.members.get(step[1])
        if name == "restart":
            if member is None or member.raw is not None:
                return NOTHING
            applied = member.snapshot.index
            if step[2]:
                applied = max(applied, min(member.applied, member.hard.commit))
            member.start(applied)
            member.work_off()
            return OK
        if member is None or member.raw is None:
            return DOWN
        if name == "crash":
            member.crash()
            return OK
        if name == "compact":
            if not member.keep(step[2]):
                return NOTHING
            member.work_off()
            return OK
        result = OK
        try:
            self._call(member, step)
        except self.impl.ConfChangeRefused:
            pass  # an empty entry stands in its place; the other libraries say nothing
        except (self.impl.ProposalDropped, self.impl.SnapshotRequestDropped):
            result = DROPPED
        except self.impl.ReadDropped:
            pass
        member.work_off()
        return result

    def _call(self, member: QuietMember, step: list[Any]) -> None:
        name = step[0]
        raw = member.raw
        if name == "propose":
            raw.propose(*[data.encode() for data in step[2:]])
        elif name == "campaign":
            raw.campaign()
        elif name == "change":
            raw.propose_conf_change(self.impl.ConfChange.parse(step[2], step[3], step[4]))
        elif name == "read":
            raw.read_index(step[2].encode())
        elif name == "transfer":
            raw.transfer_leader(step[2])
        elif name == "unreachable":
            raw.report_unreachable(step[2])
        elif name == "ping":
            raw.ping()
        elif name == "request_snapshot":
            raw.request_snapshot()
        elif name == "priority":
            raw.set_priority(step[2])
        elif name == "groups":
            # Who is no member has no group; raft-rs passes over it.
            known = set(member.core.tracker.peers.column("ids"))
            raw.assign_commit_groups({id: group for id, group in step[2] if id in known})
        else:
            raise ValueError(f"an unknown step: {name}")

    def _deliver(self) -> bool:
        """Rounds of delivery: everything under way arrives, ordered by recipient and sender, before anything that it
        causes does. False: it never ends."""
        members = self.members
        for _ in range(ROUNDS):
            under_way = []
            for member in members.values():
                if member.out:
                    under_way += member.out
                    member.out.clear()
            if not under_way:
                return True
            under_way.sort(key=_recipient_and_sender)
            for to, sender, kind, frame in under_way:
                recipient = members.get(to)
                arrives = recipient is not None and recipient.raw is not None and (sender, to) not in self.cut
                if recipient is not None and arrives:
                    with contextlib.suppress(self._ignored):
                        recipient.raw.step(self.decoders[to].decode(frame)[0])
                    recipient.work_off()
                # Who sends a snapshot hears what became of it; nobody else hears of anything.
                if kind == _SNAP and members[sender].raw is not None:
                    members[sender].raw.report_snapshot(to, arrives)
                    members[sender].work_off()
        return False


def _recipient_and_sender(item: tuple[int, int, int, bytes]) -> tuple[int, int]:
    return item[0], item[1]


def run_quiet(head: dict[str, Any], steps: Iterable[list[Any]], package: ModuleType = raftx) -> list[str]:
    """All answers of a quiet schedule, up to a panic."""
    cluster = QuietCluster(head, package)
    answers = []
    for step in steps:
        answers.append(cluster.step(step))
        if cluster.over:
            break
    return answers


def main(source: IO[str] = sys.stdin, target: IO[str] = sys.stdout, package: ModuleType = raftx) -> None:
    """The session on standard input and output (protocol.md), for both kinds of scenarios."""
    for head, steps, full in scenarios(source):
        answers = (run_quiet if head.get("quiet") else run)(head, steps, package)
        target.write(json.dumps(answers) if full else "".join([checksum(answer) for answer in answers]))
        target.write("\n")
        target.flush()


if __name__ == "__main__":
    main()
