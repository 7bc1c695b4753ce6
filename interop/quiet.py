"""The harness around raftx for quiet schedules (protocol.md): one input, then delivery until nothing moves.

Here two libraries need not send the same messages, only come to the same: what is compared is who leads, the terms,
what is committed and applied, and the configurations. What a member has on disk is cluster.py's ``Member``. No
randomness and no clock.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import raftx

from .cluster import DOWN, DROPPED, NOTHING, OK, answers_of, main, run
from .cluster_member import MASK64, SCENARIO, Member
from .implementation import CLUSTER, Implementation, implementation

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

    def sum_of(self, snapshot: Any) -> int:
        """The sum that a snapshot holds; 0 where nothing was applied before it."""
        return int(snapshot.data.partition(b":")[2] or b"0", 16)

    def start(self, applied: int) -> None:
        if applied == self.snapshot.index:
            self.chains[applied] = self.sum_of(self.snapshot)
        self.chain = self.chains[applied]
        super().start(applied)

    def take_snapshot(self, snapshot: Any) -> None:
        super().take_snapshot(snapshot)
        self.chain = self.chains[snapshot.index] = self.sum_of(snapshot)

    def applying(self, entry: Any) -> None:
        self.chain = self.chains[entry.index] = zlib.crc32(self.impl.entries_text((entry,)).encode(), self.chain)

    def crash(self) -> None:
        super().crash()
        self.out.clear()

    def keep(self, count: int) -> bool:
        """A snapshot of what is applied, and ``count`` entries before it at most. False: nothing to do."""
        done = False
        index = min(self.applied, self.hard.commit)
        if index > self.snapshot.index:
            data = f"{index}:{self.chains[index]:08x}".encode()
            self.snapshot = self.impl.Snapshot(index, self.term_of(index), self.conf_at(index), data)
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
        return (
            f"{self.id} {core.term} {core.vote} {core.lead} {core.role} {core.committed} {core.applied} "
            f"{self.chain:08x} {self.conf_shown()}"
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
            member.restart(bool(step[2]))
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
    return answers_of(QuietCluster(head, package), steps)


def run_any(head: dict[str, Any], steps: Iterable[list[Any]], package: ModuleType = raftx) -> list[str]:
    """The same for both kinds of scenarios."""
    return (run_quiet if head.get("quiet") else run)(head, steps, package)


if __name__ == "__main__":
    main(run=run_any)
