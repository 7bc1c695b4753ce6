"""What happens to a simulated cluster, and when: a seed decides, and the same seed makes it happen again.

A schedule has settings and a theme, and goes through phases: storms of anything in any order, calm times in
which work gets done, and short scripts for what chance would rarely reach. It offers legal steps only. A member
that was removed comes back with the disk it had; a member that begins with an empty disk has a new id.
Seeds from large.LARGE on make groups of 33 to 64 members.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from ..errors import Corruption
from ..types import LEADER, MEMBERS_MAX, NO_LIMIT, SNAPSHOT, ConfChange, ConfState
from . import large
from .invariants import Violation
from .member import Member, everybody
from .seeds import check_seed
from .simulator import Simulation

VOTERS_MAX = 7
LEARNERS_MAX = 2
IDS_MAX = 12

# What a schedule is mostly about: weights of what is asked for.
_THEMES = {
    "membership": "propose 4 change 9 snapshot 2 read 2 transfer 1 campaign 1",
    "snapshots": "propose 6 change 2 snapshot 6 report 4 request 2 read 1 unreachable 1",
    "reads": "propose 3 read 9 transfer 2 forget 1 step_down 1 change 1 campaign 1 ping 1",
    "elections": "propose 3 transfer 5 campaign 3 forget 2 step_down 2 read 2 change 1",
    "flow": "propose 12 unreachable 2 snapshot 1 report 1 read 1 change 1 ping 1",
    "mixed": "propose 6 change 4 snapshot 3 read 4 transfer 2 campaign 1 forget 1 step_down 1 request 1 report 1 "
    "unreachable 1 ping 1",
}
_PHASES = {
    "membership": "calm 5 storm 5 join 3 depose 2 crashes 2 behind 1 fork 4",
    "snapshots": "calm 3 storm 4 behind 5 join 2 crashes 2 depose 1",
    "reads": "calm 5 storm 5 depose 3 crashes 1 duel 2",
    "elections": "calm 3 storm 6 depose 3 duel 3 crashes 3 upset 3",
    "flow": "calm 5 storm 6 behind 2 crashes 1 depose 1",
    "mixed": "calm 4 storm 8 join 1 behind 1 depose 1 duel 1 crashes 2 upset 1 fork 1",
}


def _weighted(text: str) -> list[str]:
    words = text.split()
    return [name for name, weight in zip(words[::2], words[1::2]) for _ in range(int(weight))]


class Schedule:
    """One schedule in the making. ``errors`` go to the Simulation."""

    def __init__(self, seed: int, **errors: bool) -> None:
        draw = random.Random(check_seed(seed) ^ 0x5EED)
        self.theme = draw.choice(list(_THEMES))
        self.operations = _weighted(_THEMES[self.theme])
        self.phases = _weighted(_PHASES[self.theme])
        self.crowd = seed >= large.LARGE
        self.flow_scale, self.step_scale = (large.FLOW, large.STEPS) if self.crowd else (1, 1)
        self.voters_max, self.learners_max, self.ids_max = VOTERS_MAX, LEARNERS_MAX, IDS_MAX
        settings = _settings(draw, self.theme)
        lease = bool(settings["lease_reads"])
        size = draw.choice((1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5, 7))
        learners = draw.choice((0, 0, 0, 1, 2))
        founding = draw.choice(("snapshot", "bootstrap"))
        if self.crowd:
            size = large.size(draw, learners)
            self.phases = _weighted(large.PHASES)
            self.voters_max = size + 1
            self.ids_max = min(size + learners + large.SPARE, MEMBERS_MAX)
            founding = "snapshot"  # a change for each member, on each member, would take most of the steps
        self.simulation = Simulation(
            seed,
            size=size,
            learners=learners,
            founding=founding,
            asynchronous=draw.random() < 0.7,
            lockstep=lease,
            priorities={id: draw.randrange(3) for id in range(1, self.ids_max + 1)} if draw.random() < 0.2 else None,
            **settings,  # type: ignore[arg-type]
            **errors,
        )
        simulation = self.simulation
        simulation.loss = draw.choice((0.0, 0.0, 0.01, 0.05, 0.15))
        simulation.repeat = draw.choice((0.0, 0.02, 0.1))
        simulation.padding = draw.choice((0, 0, 40))
        if self.crowd:
            simulation.in_flight = large.IN_FLIGHT * size
        self.lazy = draw.random() < 0.4
        self.random = simulation.random.random
        self.last_id = max(simulation.members)
        self.do: dict[str, Callable[[], None]] = {
            "propose": self.propose,
            "change": self.change,
            "snapshot": self.snapshot,
            "read": self.read,
            "transfer": self.transfer,
            "request": self.request,
            "report": self.report,
            "unreachable": self.unreachable,
            "forget": lambda: simulation.forget(self.anybody().id),
            "step_down": lambda: simulation.step_down(self.somebody().id),
            "campaign": lambda: simulation.campaign(self.anybody().id),
            "ping": lambda: simulation.ping(self.somebody().id),
            "calm": self.calm,
            "storm": self.storm,
            "behind": self.behind,
            "join": self.join,
            "depose": self.depose,
            "duel": self.duel,
            "crashes": self.crashes,
            "upset": self.upset,
            "fork": self.fork,
            "ballot": lambda: large.ballot(self),
            "rump": lambda: large.rump(self),
        }

    # --- drawing -----------------------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        """Whether something that likely happens."""
        return self.random() < probability

    def below(self, end: int) -> int:
        """0 .. end - 1."""
        return int(self.random() * end)

    def anybody(self) -> Member:
        """Any member, running or not."""
        members = self.simulation.members
        return members[list(members)[self.below(len(members))]]

    def somebody(self) -> Member:
        """Any member, the leader above others."""
        if self.chance(0.5):
            leader = self.leader()
            if leader is not None:
                return leader
        return self.anybody()

    def leader(self) -> Member | None:
        """The leader of the highest term."""
        best = None
        term = -1
        for member in self.simulation.members.values():
            raw = member.raw
            if raw is not None and raw.core.role == LEADER and raw.core.term > term:
                best, term = member, raw.core.term
        return best

    # --- what is asked of members ------------------------------------------------------------------

    def operate(self) -> None:
        """Something that somebody asks for."""
        self.do[self.operations[self.below(len(self.operations))]]()

    def propose(self) -> None:
        member = self.somebody()
        for _ in range(1 + self.below(3)):
            self.simulation.propose(member.id)

    def read(self) -> None:
        simulation = self.simulation
        member = self.somebody()
        for _ in range(1 + self.below(3)):
            context = None
            if simulation.contexts and self.chance(0.2):
                context = list(simulation.contexts)[-1 - self.below(min(3, len(simulation.contexts)))]
            simulation.read(member.id, context)

    def transfer(self) -> None:
        if self.chance(0.3):
            # The transferee has to catch up before it can take over.
            self.propose()
        self.simulation.transfer(self.somebody().id, self.anybody().id)

    def snapshot(self) -> None:
        """A member takes a snapshot and, mostly, keeps no more of its log than a few entries."""
        member = self.somebody()
        if self.simulation.snapshot(member.id) and self.chance(0.3):
            return
        self.simulation.compact(member.id, 0 if self.chance(0.6) else self.below(4))

    def request(self) -> None:
        self.simulation.request_snapshot(self.anybody().id)
        leader = self.leader()
        if leader is not None and leader.raw is not None and leader.raw.snapshot_wanted:
            self.simulation.snapshot(leader.id)

    def report(self) -> None:
        self.simulation.report(wrong=self.chance(0.1))

    def unreachable(self) -> None:
        self.simulation.unreachable(self.somebody().id, self.anybody().id)

    def change(self) -> None:
        """Another membership, that suits the present one or, now and then, does not."""
        leader = self.leader()
        if leader is None or leader.raw is None:
            return
        conf = leader.raw.core.tracker.conf_state()
        if conf.voters_outgoing and self.chance(0.8):
            change = ConfChange()
        else:
            change = self.suggest(conf, leader.id)
        by = leader if self.chance(0.8) else self.anybody()
        self.simulation.change(by.id, change)
        if self.chance(0.4):
            self.flow(15 + self.below(30))

    def suggest(self, conf: ConfState, leader: int) -> ConfChange:
        """One to three parts; the number of members stays within bounds."""
        parts: list[str] = []
        voters, learners = set(conf.voters), set(conf.learners)
        for _ in range(1 if self.chance(0.55) else 2 + self.below(2)):
            part = self.part(sorted(voters), sorted(learners), leader)
            id = int(part[1:])
            voters.discard(id)
            learners.discard(id)
            if part[0] in "vu":
                voters.add(id)
            elif part[0] == "l":
                learners.add(id)
            parts.append(part)
        if len(parts) == 1:
            old = self.chance(0.4)
            return ConfChange.parse(parts[0], 0 if old or self.chance(0.5) else 1 + self.below(2), v1=old)
        return ConfChange.parse(" ".join(parts), self.below(3))

    def part(self, voters: list[int], learners: list[int], leader: int) -> str:
        """A part of a change: promote, add, remove or demote, or nothing; at times it removes the last voter."""
        x = self.random()
        if learners and x < 0.3 and len(voters) < self.voters_max:
            return f"v{learners[self.below(len(learners))]}"
        if x < 0.6:
            kinds = "v" * 2 * (len(voters) < self.voters_max) + "l" * (len(learners) < self.learners_max)
            id = self.outsider({*voters, *learners})
            if kinds and id:
                return f"{kinds[self.below(len(kinds))]}{id}"
        if x < 0.95 and len(voters) > 1:
            movable = voters + learners
            id = leader if leader in voters and self.chance(0.3) else movable[self.below(len(movable))]
            return f"{'l' if len(learners) < self.learners_max and self.chance(0.35) else 'r'}{id}"
        inside = voters or learners or [leader]
        return f"{'r' if self.chance(0.4) else 'u'}{inside[self.below(len(inside))]}"

    def outsider(self, inside: set[int]) -> int:
        """A member that may be added: a new id, or one that was a member before and has its disk. 0: nobody."""
        members = self.simulation.members
        outside = [id for id in members if id not in inside]
        if outside and (self.chance(0.5) or self.last_id >= self.ids_max):
            return outside[self.below(len(outside))]
        if self.last_id >= self.ids_max:
            return 0
        self.last_id += 1
        self.simulation.add(self.last_id)
        if self.chance(0.7):
            self.simulation.restart(self.last_id)
        return self.last_id

    # --- time passes -------------------------------------------------------------------------------

    def flow(self, events: int) -> None:
        """Messages arrive in order, disks and state machines work; until nothing is left to do."""
        network = self.simulation.network
        for _ in range(events * self.flow_scale):
            if network and self.chance(0.6):
                self.simulation.deliver()
            elif not self.work():
                if not network:
                    return
                self.simulation.deliver()

    def work(self) -> bool:
        """A member that has something to do does it."""
        simulation = self.simulation
        if simulation.reports and self.chance(0.3):
            simulation.report()
            return True
        members = list(simulation.members.values())
        begin = self.below(len(members))
        for member in members[begin:] + members[:begin]:
            if (member.writes or member.deferred) and not member.stalled:
                simulation.sync(member.id)
                return True
            if member.applies and not member.asleep:
                simulation.apply(member.id)
                return True
        return False

    def elect(self) -> None:
        """A member that does not lead campaigns, when the others have lost patience: mostly one who can win."""
        simulation = self.simulation
        best, last = self.anybody().id, -1
        if self.crowd:
            large.patience(self)
        for member in list(simulation.members.values()):
            raw = member.raw
            if raw is None or raw.core.role == LEADER:
                continue
            for _ in range(0 if self.crowd else 5 if self.chance(0.8) else 1):
                simulation.tick(member.id)
            if member.raw is None or raw.core.self_slot < 0 or not self.chance(0.7):
                continue
            votes = ((raw.core.tracker.voters | raw.core.tracker.outgoing) >> raw.core.self_slot) & 1
            if votes and raw.core.log.last > last:
                best, last = member.id, raw.core.log.last
        simulation.campaign(best)
        self.flow(20 + 5 * len(simulation.members))

    def calm(self) -> None:
        """Work gets done."""
        simulation = self.simulation
        simulation.cut.clear()
        for member in list(simulation.members.values()):
            member.stalled = False
            if self.chance(0.5):
                simulation.restart(member.id, keep_state=self.chance(0.5))
        if self.leader() is None:
            self.elect()
        for _ in range(3 + self.below(6)):
            self.operate()
            if self.chance(0.3):
                leader = self.leader()
                if leader is not None:
                    simulation.tick(leader.id)
            self.flow(10 + self.below(10))

    def storm(self) -> None:
        """Anything, in any order."""
        for _ in range(60 + self.below(120)):
            self.event()

    def event(self) -> None:
        """One event, drawn."""
        simulation = self.simulation
        chance = self.random()
        member = self.anybody()
        id = member.id
        if chance < 0.56:
            reach = len(simulation.network)
            if not reach:
                simulation.sync(id)
            elif self.chance(0.1):
                # Mostly in order, as TCP does; any order at times.
                simulation.deliver(self.below(reach))
            else:
                simulation.deliver(self.below(min(4, reach)))
        elif chance < 0.66:
            simulation.tick(id)
        elif chance < 0.84:
            simulation.sync(id)
            if member.applies and self.chance(0.5):
                simulation.apply(id)
        elif chance < 0.93:
            self.operate()
        elif chance < 0.96:
            simulation.restart(id, keep_state=self.chance(0.5))
        elif chance < 0.965:
            self.fail(member)
        elif chance < 0.975:
            member.stalled = True
        elif chance < 0.985:
            member.stalled = False
            member.lazy = self.lazy and self.chance(0.5)
        elif chance < 0.99:
            self.partition()
        else:
            simulation.cut.clear()

    def fail(self, member: Member) -> None:
        """Power fails, at once or in the middle of the next Ready."""
        if not member.asynchronous and self.chance(0.6):
            self.simulation.doom(member.id, 1 + self.below(3))
        else:
            self.simulation.crash(member.id)

    def partition(self) -> None:
        """Cut one link one way, or everything between two groups."""
        ids = list(self.simulation.members)
        if self.chance(0.4):
            self.simulation.cut.add((ids[self.below(len(ids))], ids[self.below(len(ids))]))
        else:
            self.split({id for id in ids if self.chance(0.5)})

    def split(self, side: set[int]) -> None:
        """Cut everything between some and the others."""
        ids = self.simulation.members
        self.simulation.cut = {(a, b) for a in ids for b in ids if (a in side) != (b in side)}

    # --- scripts -----------------------------------------------------------------------------------

    def working_leader(self) -> Member | None:
        """The leader, after elections if there was none."""
        simulation = self.simulation
        for _ in range(2):
            if self.leader() is not None:
                break
            simulation.cut.clear()
            for member in list(simulation.members.values()):
                member.stalled = False
                if self.chance(0.8):
                    simulation.restart(member.id, keep_state=self.chance(0.5))
            self.elect()
        return self.leader()

    def saved(self, leader: Member) -> None:
        """A leader has a snapshot of all that is applied, and no more log than it needs."""
        self.flow(10)
        self.simulation.sync(leader.id)
        if self.simulation.snapshot(leader.id):
            self.simulation.compact(leader.id)

    def behind(self) -> None:
        """One is cut off or down while the log is compacted beyond it: it needs a snapshot."""
        leader = self.working_leader()
        victim = self.anybody()
        if leader is None or victim is leader:
            return
        simulation = self.simulation
        if self.lazy and self.chance(0.5):
            # Its state machine has work left, a change of membership among it, when the snapshot comes.
            victim.lazy = victim.asleep = True
            for _ in range(2):
                self.change()
                self.flow(20)
        if self.chance(0.4):
            self.fail(victim)
        self.split({victim.id})
        for _ in range(2):
            simulation.propose(leader.id)
            self.flow(15)
        self.saved(leader)
        simulation.cut.clear()
        simulation.restart(victim.id, keep_state=self.chance(0.5))
        self.feed(leader, victim)
        victim.asleep = False

    def feed(self, leader: Member, victim: Member) -> None:
        """A snapshot goes to a member; it may be slow, and things happen meanwhile."""
        simulation = self.simulation
        for _ in range(3):
            simulation.tick(leader.id)
            self.flow(12)
            raw = leader.raw
            if raw is None or raw.core.role != LEADER:
                return
            slot = raw.core.tracker.peers.py_slot_of(victim.id)
            if slot < 0 or raw.core.tracker.peers.column("state")[slot] != SNAPSHOT:
                continue
            if self.chance(0.3):
                self.operate()
            if self.chance(0.3):
                self.fail(self.anybody())
            if self.chance(0.4):
                self.report()

    def join(self) -> None:
        """Somebody with an empty disk, or with an old one, joins, and is caught up by a snapshot or by the log."""
        leader = self.working_leader()
        if leader is None or leader.raw is None:
            return
        simulation = self.simulation
        simulation.cut.clear()
        conf = leader.raw.core.tracker.conf_state()
        id = self.outsider(everybody(conf))
        full = len(conf.voters) >= self.voters_max or (not id)
        if conf.voters_outgoing or full:
            self.change()
            return
        learns = len(conf.learners) < self.learners_max and self.chance(0.4)
        simulation.change(leader.id, ConfChange.parse(f"{'l' if learns else 'v'}{id}", v1=self.chance(0.5)))
        self.flow(15 + self.below(15))
        if self.chance(0.6):
            self.saved(leader)
        simulation.restart(id)
        self.feed(leader, simulation.members[id])
        if learns and self.chance(0.6):
            simulation.change(leader.id, ConfChange.parse(f"v{id}"))
            self.flow(15)

    def fork(self) -> None:
        """A change of many at once, or two at a time; then those of before and those of after lose each other."""
        leader = self.working_leader()
        if leader is None or leader.raw is None:
            return
        simulation = self.simulation
        simulation.cut.clear()
        self.flow(30)
        if leader.raw is not None and leader.raw.core.tracker.outgoing:
            simulation.change(leader.id, ConfChange())
            self.flow(10 * len(simulation.members))
        if leader.raw is None:
            return
        before = everybody(leader.raw.core.tracker.conf_state())
        if self.chance(0.5):
            simulation.change(leader.id, self.exchange(leader))
        else:
            for _ in range(2):
                simulation.change(leader.id, self.addition(leader))
        many = 10 * len(simulation.members)
        self.flow(many)
        if self.chance(0.7):
            # A new member may need a snapshot that knows of it.
            self.saved(leader)
            for _ in range(2):
                simulation.tick(leader.id)
                self.flow(many)
        if leader.raw is None:
            return
        side = (everybody(leader.raw.core.tracker.conf_state()) - before) | {leader.id}
        if self.chance(0.5):
            side ^= {id for id in before if self.chance(0.3)}
        self.split(side)
        if self.chance(0.4):
            self.fail(leader)
            simulation.restart(leader.id, keep_state=self.chance(0.5))
        for _ in range(2):
            for group in (side, set(simulation.members) - side):
                for id in sorted(group):
                    for _ in range(5):
                        simulation.tick(id)
                if group:
                    simulation.campaign(sorted(group)[self.below(len(group))])
                self.flow(30)
            for member in list(simulation.members.values()):
                if member.raw is not None and member.raw.core.role == LEADER:
                    simulation.propose(member.id)
            self.flow(30)
        simulation.cut.clear()
        self.flow(20)

    def exchange(self, leader: Member) -> ConfChange:
        """Some or all but the leader go, and up to three that run come."""
        assert leader.raw is not None
        conf = leader.raw.core.tracker.conf_state()
        inside = everybody(conf)
        parts = [f"r{id}" for id in conf.voters if id != leader.id]
        if self.chance(0.5):
            del parts[1 + self.below(2) :]
        for _ in range(1 + self.below(3)):
            id = self.outsider(inside) if len(conf.voters) + len(inside) < 2 * self.voters_max else 0
            if id:
                inside.add(id)
                parts.append(f"v{id}")
                self.simulation.restart(id)
        return ConfChange.parse(" ".join(parts), 1 + self.below(2)) if parts else ConfChange()

    def addition(self, leader: Member) -> ConfChange:
        """One that runs comes."""
        if leader.raw is None:
            return ConfChange()
        conf = leader.raw.core.tracker.conf_state()
        id = self.outsider(everybody(conf)) if len(conf.voters) < self.voters_max else 0
        if not id:
            return self.suggest(conf, leader.id)
        self.simulation.restart(id)
        return ConfChange.parse(f"v{id}", v1=True)

    def depose(self) -> None:
        """The leader is cut off with work in its hands, another one is elected, and the first comes back."""
        leader = self.working_leader()
        if leader is None:
            return
        simulation = self.simulation
        self.split({leader.id})
        if self.chance(0.6):
            simulation.propose(leader.id)
        if self.chance(0.6):
            simulation.read(leader.id)
        self.elect()
        if self.chance(0.5):
            other = self.leader()
            if other is not None:
                simulation.propose(other.id)
                self.flow(15)
        if self.chance(0.5):
            simulation.read(leader.id)
        simulation.cut.clear()
        self.flow(20)

    def duel(self) -> None:
        """Several campaign at once, some of them with a disk that stands still and fails."""
        simulation = self.simulation
        for _ in range(2):
            member = self.anybody()
            member.stalled = member.stalled or self.chance(0.3)
            simulation.campaign(member.id)
        self.flow(self.below(30))
        if self.chance(0.5):
            self.fail(self.somebody())
            simulation.restart(self.anybody().id)
        self.flow(10)

    def upset(self) -> None:
        """A candidate's disk stands still; then it loses power, begins again and campaigns again, among others."""
        simulation = self.simulation
        self.calm()
        member = self.anybody()
        others = [id for id in simulation.members if id != member.id]
        if member.raw is None or len(others) < 2:
            return
        for id in others:
            for _ in range(5):
                # A member that has heard from a leader lately does not vote.
                simulation.tick(id)
        simulation.lose_all()
        member.stalled = True
        simulation.campaign(member.id)
        self.flow(6 + 4 * len(others))
        near = others[self.below(len(others))]
        self.split({member.id, near})
        simulation.propose(member.id)
        self.flow(12)
        self.fail(member)
        self.split({member.id, *[id for id in others if id != near]})
        simulation.restart(member.id, keep_state=self.chance(0.5))
        for id in others:
            for _ in range(self.below(6)):
                simulation.tick(id)
        simulation.campaign(member.id)
        self.flow(6 + 4 * len(others))
        simulation.propose(member.id)
        self.flow(20)
        simulation.cut.clear()

    def crashes(self) -> None:
        """Some lose power, one after the other or all of them, and begin again."""
        simulation = self.simulation
        everybody = self.chance(0.2)
        for member in list(simulation.members.values()):
            if everybody or self.chance(0.4):
                self.flow(self.below(6))
                self.fail(member)
        for member in list(simulation.members.values()):
            if self.chance(0.8):
                simulation.restart(member.id, keep_state=self.chance(0.5))
        self.flow(10)

    def run(self, steps: int) -> None:
        """About so many steps, then rest."""
        totals = self.simulation.totals
        if self.chance(0.9):
            self.elect()
        while totals.steps < steps * self.step_scale:
            self.do[self.phases[self.below(len(self.phases))]]()
        self.simulation.settle()


def _settings(draw: random.Random, theme: str) -> dict[str, object]:
    """How the members are set."""
    tight = theme == "flow" or draw.random() < 0.3
    message_bytes = draw.choice((0, 40, 100)) if tight else draw.choice((0, 100, 1 << 20, NO_LIMIT))
    lease = theme in ("reads", "mixed") and draw.random() < 0.2
    return {
        "pre_vote": draw.random() < 0.6,
        "check_quorum": lease or draw.random() < 0.6,
        "lease_reads": lease,
        "max_message_bytes": message_bytes,
        "max_inflight_messages": draw.choice((1, 2, 3, 4)) if tight else draw.choice((1, 4, 256)),
        "max_inflight_bytes": max(message_bytes, draw.choice((1, 40, 100)) if tight else 1 << 20),
        "max_uncommitted_bytes": draw.choice((0, 10, 60)) if tight else draw.choice((100, 1 << 20)),
        "max_apply_bytes": draw.choice((1, 40, 100, 4 << 20)),
        "forward_proposals": draw.random() < 0.8,
        "batch_append": draw.random() < 0.3,
        "skip_bcast_commit": draw.random() < 0.3,
        "commit_by_vote": draw.random() < 0.5,
        "step_down_on_removal": draw.random() < 0.7,
    }


def schedule(seed: int, steps: int = 800, **errors: bool) -> Simulation:
    """The simulation of a seed, run to its end: size, settings and faults are drawn too. Raises Violation."""
    made = Schedule(seed, **errors)
    simulation = made.simulation
    try:
        made.run(steps)
    except (Violation, Corruption) as violation:
        # Corruption is what a member says of itself when it is asked for the impossible.
        mode = "asynchronous" if simulation.asynchronous else "synchronous"
        raise Violation(
            f"seed {seed}, {steps} steps, {mode} writes: {violation}  (RAFTX_SEED={seed} replays it)"
        ) from violation
    return simulation
