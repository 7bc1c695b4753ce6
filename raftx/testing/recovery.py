"""The end of a schedule: faults stop, and within LIVENESS_TICKS the cluster must come alive again.

Alive: one leads; every member of the final configuration has applied the whole of one log and has its
membership; a new proposal is applied by all of them; no joint configuration remains that is to be left by
itself; and a new read is served. A member that is not in the configuration is shut down once all the others know.
Raises Violation otherwise. Nothing is drawn here but what is asked of whom.

The duties of an operator are done here: snapshots that were sent are reported on, and a leader whose
snapshot is older than a member's joining takes a newer one. After RESCUE_TICKS without recovery, two deadlocks
are resolved by hand that members with other settings do not have; the totals count that as rescues.

- Members that know a membership change is committed may have been removed by it; if their logs are longer they
  vote for nobody else, so every disk is told what is committed. (None with commit_by_vote.)
- Without pre_vote and check_quorum nobody answers a leader of an earlier term. A campaign among the members of
  an old configuration that the leader is not in takes others away from it: pre_vote is switched on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..types import LEADER, SNAPSHOT, ConfState
from .invariants import Violation
from .member import Member, everybody

if TYPE_CHECKING:
    from .simulator import Simulation

# When the faults end, everything has recovered within so many ticks (an election timeout is 5 to 9 of them).
LIVENESS_TICKS = 300
RESCUE_TICKS = 120

ROUNDS_A_TICK = 6  # how often messages go all the way within a tick


def recover(simulation: Simulation) -> int:
    """Let a cluster come to rest; returns how many ticks it took. Raises Violation after LIVENESS_TICKS."""
    return _Recovery(simulation).run()


class _Recovery:
    """One cluster that comes to rest."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.data: bytes | None = None
        self.context = b""
        self.proposed_at = self.asked_at = 0

    def run(self) -> int:
        simulation = self.simulation
        simulation.cut.clear()
        simulation.loss = simulation.repeat = 0.0
        simulation.lockstep = False
        for id, member in simulation.members.items():
            member.stalled = member.lazy = member.asleep = False
            member.doomed = 0
            simulation.restart(id)
        for tick in range(LIVENESS_TICKS):
            for id in simulation.members:
                simulation.tick(id)
            self._quiet()
            if self._done(tick):
                return tick + 1
        raise Violation(f"liveness: not recovered within {LIVENESS_TICKS} ticks: {self._text()}")

    def _quiet(self) -> None:
        """Disks, state machines and the network do their work."""
        simulation = self.simulation
        for _ in range(ROUNDS_A_TICK):
            for id, member in simulation.members.items():
                if member.writes or member.deferred:
                    simulation.sync(id)
                if member.applies:
                    simulation.apply(id)
            while simulation.reports:
                simulation.report()
            if not simulation.network:
                return
            for _ in range(len(simulation.network)):
                simulation.deliver()

    def _done(self, tick: int) -> bool:
        """Whether everything is as it should be; asks for what is still missing."""
        simulation = self.simulation
        leaders = [m for m in simulation.members.values() if m.raw is not None and m.raw.core.role == LEADER]
        if tick == RESCUE_TICKS:
            self._rescue(bool(leaders))
        if not leaders:
            return False
        leader = max(leaders, key=lambda member: member.raw.core.term if member.raw is not None else 0)
        assert leader.raw is not None
        conf = leader.raw.core.tracker.conf_state()
        inside = everybody(conf)
        saved = leader.disk.snapshot
        if leader.raw.snapshot_wanted or (saved is not None and not inside <= everybody(saved.conf_state)):
            # A member does not take a snapshot whose membership lacks it: one newer than its joining has to be made.
            simulation.snapshot(leader.id)
        members = [simulation.members[id] for id in sorted(inside)]
        if not self._agree(leader, members, conf):
            return False
        for id in simulation.members:
            if id not in inside:
                # All that are left know of it, so that nobody needs its vote any more.
                simulation.crash(id)
        if leader.raw is None or len(leaders) > 1:
            return False
        if self.data not in simulation.checker.items:
            # A leader that was removed meanwhile may have taken it with it.
            if self.data is None or tick - self.proposed_at > simulation.limits.config.election_ticks:
                self.proposed_at = tick
                self.data = simulation.propose(leader.id)
            return False
        if conf.voters_outgoing and conf.auto_leave:
            return False
        return self._read(tick, members)

    def _rescue(self, led: bool) -> None:
        """Settings that would have kept the members from waiting for each other are made up for by hand."""
        simulation = self.simulation
        config = simulation.limits.config
        applied = simulation.checker.applied
        for id, member in simulation.members.items():
            core = member.raw.core if member.raw is not None else None
            if core is None:
                continue
            index = min(len(applied) - 1, core.log.last)
            knows = index <= core.committed or core.log.py_term(index) != applied[index][0]
            if not config.pre_vote and not config.check_quorum:
                member.settings["pre_vote"] = True
            elif led or knows or config.commit_by_vote or not member.disk.entries:
                continue
            simulation.totals.rescues += 1
            simulation.crash(id)
            if not led and not knows and member.disk.entries:
                member.disk.hard_state = replace(member.disk.hard_state, commit=index)
            simulation.restart(id)

    def _read(self, tick: int, members: list[Member]) -> bool:
        """Ask somebody for a read, and again after an election timeout. Whether one was served."""
        simulation = self.simulation
        if self.context in simulation.served:
            return True
        if not self.context or tick - self.asked_at > simulation.limits.config.election_ticks:
            self.asked_at = tick
            self.context = b"final%d" % tick
            simulation.read(simulation.random.choice(members).id, self.context)
        return False

    def _agree(self, leader: Member, members: list[Member], conf: ConfState) -> bool:
        """Whether all members of the configuration have applied the whole of the leader's log, and know it."""
        assert leader.raw is not None
        last = leader.raw.core.log.last
        term = leader.raw.core.term
        for member in members:
            if member.raw is None:
                self.simulation.restart(member.id)
                return False
            core = member.raw.core
            if core.in_doubt:
                return False
            if not core.log.last == core.committed == core.applied == member.applied == last or core.term != term:
                return False
            if core.tracker.conf_state() != conf or member.items != self.simulation.checker.items:
                return False
        return True

    def _text(self) -> str:
        """The members as they are."""
        states = []
        for member in self.simulation.members.values():
            if member.raw is None:
                states.append(f"{member.id} is down")
                continue
            core = member.raw.core
            peers = core.tracker.peers
            waits = [id for id, state in zip(peers.column("ids"), peers.column("state")) if state == SNAPSHOT]
            states.append(
                f"{member.id}{' in doubt' * core.in_doubt}: term {core.term} role {core.role} lead {core.lead} "
                f"commit {core.committed} "
                f"log {core.log.first}..{core.log.last} applied {core.applied} asks for {core.requested_snapshot} "
                f"wanted {member.raw.snapshot_wanted} snapshots to {waits if core.role == LEADER else []} "
                f"{core.tracker.conf_state()}"
            )
        return "; ".join(states)
