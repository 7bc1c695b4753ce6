"""Schedules for the parity judge: a seed chooses the members and, step by step, what happens to them.

The generator runs raftx while it chooses, so that it can look: who leads, what is under way, who is behind. It
offers legal steps only, but nasty ones. Calm phases make progress (messages in order, work done, a leader elected);
storms, cuts, crashes and messages that come back much later do the harm. Two scripts each for what chance would
rarely reach: a member that needs a snapshot, one that joins with an empty disk.

Nothing is drawn from anything but the seed: the same seed gives the same schedule on every implementation that
behaves the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

import raftx

from .cluster import Cluster
from .cluster_member import Member, Packet
from .driving import NOBODY, Driving, Full, Step

# Numbers of etcd, as in cluster.py
_LEADER = 2
_SNAPSHOT = 2
_SNAP = 7
_RARE = frozenset((2, 5, 6, 7, 13, 14, 15, 16, 17, 18))  # all but appends, heartbeats and their answers

# What a schedule is mostly about: weights of what happens between two messages, and of the phases.
THEMES: dict[str, dict[str, int]] = {
    "membership": {"propose": 3, "change": 9, "snapshot": 1, "compact": 1, "read": 2, "transfer": 1, "tick": 1},
    "snapshots": {"propose": 4, "change": 2, "snapshot": 5, "compact": 4, "report": 4, "unreachable": 1, "tick": 2},
    "reads": {"propose": 2, "read": 9, "transfer": 2, "forget": 2, "tick": 2, "change": 1, "campaign": 1},
    "elections": {"propose": 3, "campaign": 2, "transfer": 7, "forget": 2, "tick": 4, "read": 2, "unreachable": 1},
    "flow": {"propose": 10, "unreachable": 3, "report": 1, "tick": 3, "snapshot": 1, "compact": 1, "read": 1},
    "mixed": {
        "propose": 5, "change": 3, "snapshot": 2, "compact": 2, "read": 4, "transfer": 3, "forget": 1, "tick": 2,
        "campaign": 1, "unreachable": 1, "report": 1,
    },
}  # fmt: skip
_THEME_OF = ["membership"] * 8 + ["snapshots"] * 5 + ["reads"] * 3 + ["elections"] * 3 + ["flow"] * 3 + ["mixed"] * 3

_PHASES = {
    "membership": ["calm"] * 5 + ["storm"] * 2 + ["join", "join", "depose", "crashes", "stale"],
    "snapshots": ["calm"] * 2 + ["storm"] * 2 + ["behind"] * 4 + ["join", "join", "crashes", "stale"],
    "reads": ["calm"] * 5 + ["storm"] * 2 + ["depose", "duel", "crashes", "stale"],
    "elections": ["calm"] * 3 + ["storm"] * 3 + ["depose"] * 2 + ["duel"] * 2 + ["crashes", "stale", "stale"],
    "flow": ["calm"] * 5 + ["storm"] * 4 + ["behind", "depose", "crashes", "stale"],
    "mixed": ["calm"] * 4 + ["storm"] * 3 + ["join", "behind", "depose", "duel", "crashes", "stale"],
}

_TEXTS = ("", "a", "bc", "\u00e9", "0123456789", "x" * 30)


# How often a schedule is drawn anew that came to a chosen difference; about one in 500 does.
ATTEMPTS = 5


class Generator(Driving):
    """One schedule in the making."""

    def __init__(self, seed: int, steps: int, package: ModuleType, attempt: int = 0) -> None:
        self.draw = random.Random(f"{seed}/{attempt}" if attempt else seed)
        #: whether the schedule came to where raftx differs on purpose
        self.differs = False
        self.random = self.draw.random
        self.limit = steps
        self.steps: list[Step] = []
        self.answers: list[str] = []
        self.theme = self.choice(_THEME_OF)
        weights = dict(THEMES[self.theme])
        self.caps = self.theme == "flow" and self.chance(0.5)
        self.lease = self.theme in ("reads", "mixed") and self.chance(0.4)
        if self.lease:
            # The one chosen difference: raftx ends a lease when a transfer begins.
            weights.pop("transfer", None)
        if self.caps:
            weights.pop("change", None)
        self.ops = [name for name, weight in weights.items() for _ in range(weight)]
        self.operations: dict[str, Callable[[], None]] = {
            "propose": self.propose,
            "change": self.change,
            "snapshot": self.snapshot,
            "compact": self.compact,
            "read": self.read,
            "transfer": self.transfer,
            "forget": self.forget,
            "tick": self.ticks,
            "campaign": self.campaign,
            "unreachable": self.unreachable,
            "report": self.report,
        }
        self.head = self.make_head(seed)
        self.cluster = Cluster(self.head, package)
        self.members = list(self.cluster.members.values())
        self.network = self.cluster.network
        self.side = dict.fromkeys(self.cluster.members, 0)
        #: when not empty, only these members talk and work
        self.focus: tuple[int, ...] = ()
        self.number = 0
        self.contexts = 0

    # --- what is asked of them -------------------------------------------------------------------

    def op(self) -> None:
        """Something that somebody asks for."""
        self.operations[self.choice(self.ops)]()

    def propose(self) -> None:
        to = self.leader() if self.chance(0.75) else None
        if to is None:
            up = self.up()
            if not up:
                return
            to = self.choice(up)
        data = []
        for _ in range(self.choice((1, 1, 2, 3, 4, 5))):
            self.number += 1
            data.append(self.choice(_TEXTS) if self.chance(0.15) else str(self.number))
        self.do("propose", to.id, *data)

    def change(self) -> None:
        """A membership change that suits, now and then one that does not."""
        leader = self.leader()
        if leader is None:
            return
        core = leader.core
        conf = core.tracker.conf_state()
        if not self.validates and not self.settled(leader, conf) and self.chance(0.97):
            return
        by = leader
        if self.validates and self.chance(0.15):
            by = self.someone() or leader
        changes, transition, v1 = self.suggest(conf, leader.id)
        self.do("change", by.id, changes, transition, v1)
        if self.chance(0.12) and changes:
            # Who is to lead may be removed before it can.
            member = self.choice(changes.split())[1:]
            if "transfer" in self.ops and leader.raw is not None:
                self.do("transfer", leader.id, int(member))
        if self.chance(0.35):
            # The quorum changes under entries that are on their way, and some answers take long.
            self.propose()
            slow = self.choice(self.members).id
            for _ in range(self.below(25)):
                self.pump()
                for packet in self.network[-3:]:
                    if slow in (packet.to, packet.sender):
                        packet.held = True
        if self.chance(0.5):
            self.quiet(10 + self.below(30))

    def settled(self, leader: Member, conf: Any) -> bool:
        """Whether a change that is not validated can be applied: no other one may come before it."""
        core = leader.core
        if conf.voters_outgoing and conf.auto_leave:
            return False
        entries = core.log.entries(core.applied + 1, core.log.last) if core.applied < core.log.last else ()
        return not any([entry.kind for entry in entries])

    def suggest(self, conf: Any, leader: int) -> tuple[str, int, bool]:
        """(changes, transition, old kind) for a configuration. The anchor always stays a voter."""
        if conf.voters_outgoing and (not self.validates or self.chance(0.8)):
            return "", 0, False
        if self.validates and self.chance(0.04):
            return "", 0, False
        if self.chance(0.03) and not conf.voters_outgoing:
            return "", self.choice((1, 2)), False
        count = self.choice((1, 1, 1, 2, 2, 3, 4))
        words = []
        for _ in range(count):
            words.append(self.single(conf, leader))
        transition = 0
        v1 = False
        if count == 1:
            v1 = self.chance(0.4)
            if not v1 and self.chance(0.25):
                transition = self.choice((1, 2))
        elif self.chance(0.6):
            transition = self.choice((1, 2))
        return " ".join(words), transition, v1

    def single(self, conf: Any, leader: int) -> str:
        """One part of a change."""
        voters, learners = conf.voters, conf.learners
        outside = [id for id in self.pool if id not in voters and id not in learners]
        x = self.random()
        if learners and x < 0.3:
            return f"v{self.choice(learners)}"
        if outside and x < 0.7:
            return f"{self.choice('vvl')}{self.choice(outside)}"
        movable = [id for id in voters + learners if id != self.anchor]
        if movable and x < 0.95:
            id = leader if leader in movable and self.chance(0.35) else self.choice(movable)
            return f"{self.choice('rrl')}{id}"
        if self.chance(0.1):
            return "v0"
        return f"{self.choice('uv')}{self.choice(voters)}"

    def snapshot(self) -> None:
        member = self.someone()
        if member is not None and (min(member.applied, member.hard.commit) > member.snapshot.index or self.chance(0.1)):
            self.do("snapshot", member.id)
            if self.chance(0.6):
                self.compact_of(member)

    def compact(self) -> None:
        member = self.someone()
        if member is not None:
            self.compact_of(member)

    def compact_of(self, member: Member) -> None:
        """Drop what a member's snapshot covers, all of it or a part."""
        room = member.snapshot.index - member.base
        if room > 0:
            self.do(
                "compact", member.id, member.snapshot.index if self.chance(0.7) else member.base + 1 + self.below(room)
            )
        elif self.chance(0.05):
            self.do("compact", member.id, member.base + self.below(3))

    def read(self) -> None:
        member = self.someone()
        if member is None:
            return
        for _ in range(self.choice((1, 1, 2, 3))):
            if self.chance(0.6):
                self.contexts += 1
            self.do("read", member.id, f"c{self.contexts}" if self.chance(0.97) else "")
        if self.chance(0.3) and member.core.role == _LEADER:
            self.do("tick", member.id)

    def transfer(self) -> None:
        if self.lease:
            return
        member = self.someone()
        if member is None:
            return
        leader = self.leader()
        if leader is not None and self.chance(0.4):
            member = leader
        to = self.choice(self.members).id if self.chance(0.95) else NOBODY
        if to == member.id and self.chance(0.8):
            to = self.choice(self.members).id
        if self.chance(0.2):
            # It has to catch up before it can take over.
            self.propose()
        self.do("transfer", member.id, to)
        x = self.random()
        if x < 0.25:
            self.read()
        elif x < 0.35:
            self.propose()
        elif x < 0.75:
            self.quiet(8 + self.below(20))

    def forget(self) -> None:
        up = self.up()
        if up:
            self.do("forget", self.choice(up).id)

    def tick_of(self, member: Member) -> None:
        if member.raw is not None:
            self.do("tick", member.id)

    def ticks(self) -> None:
        """Time passes for one, or for all."""
        if self.chance(0.25):
            for member in self.members:
                self.tick_of(member)
            return
        member = self.someone()
        if member is not None:
            for _ in range(self.choice((1, 1, 2, 3, 5))):
                self.tick_of(member)

    def campaign(self) -> None:
        up = self.up()
        if up:
            self.do("campaign", self.choice(up).id)

    def unreachable(self) -> None:
        member = self.someone()
        if member is not None:
            self.do("unreachable", member.id, self.choice(self.members).id if self.chance(0.95) else NOBODY)

    def report(self) -> None:
        """How sending a snapshot ended: true, false, or about nothing."""
        leader = self.leader()
        if leader is None:
            return
        peers = leader.core.tracker.peers
        waiting = [id for id, state in zip(peers.column("ids"), peers.column("state")) if state == _SNAPSHOT]
        if waiting:
            self.do("report", leader.id, self.choice(waiting), self.chance(0.5))
        elif self.chance(0.2):
            self.do("report", leader.id, self.choice(self.members).id, self.chance(0.5))

    # --- harm ------------------------------------------------------------------------------------

    def crash(self) -> None:
        """Somebody loses power, most likely in the middle of work."""
        up = self.up()
        if not up:
            return
        busy = [member for member in up if member.work is not None or member.appends or member.applies]
        member = self.choice(busy) if busy and self.chance(0.7) else self.choice(up)
        self.do("crash", member.id)

    def restart(self) -> None:
        """Somebody who is down begins again."""
        down = [member for member in self.members if member.raw is None]
        if down:
            self.do("restart", self.choice(down).id, 0 if self.chance(0.4) else 1)
        elif self.chance(0.01):
            self.do("restart", self.choice(self.members).id, 1)

    def cut(self, *away: int) -> None:
        """Cut some members off from the others; without names, any."""
        if not away:
            away = tuple([member.id for member in self.members if self.chance(0.4)])
        for id in self.side:
            self.side[id] = 1 if id in away else 0

    def heal(self) -> None:
        """All reach each other, and what was held up comes through."""
        for id in self.side:
            self.side[id] = 0
        if self.chance(0.5):
            for packet in self.network:
                packet.held = False

    def tamper(self) -> None:
        """The network loses, repeats, reorders and delays."""
        network = self.network
        if not network:
            return
        k = self.below(len(network))
        if self.chance(0.3):
            # What elections and snapshots are made of is rare.
            rare = [place for place, packet in enumerate(network) if packet.kind in _RARE]
            if rare:
                k = self.choice(rare)
        x = self.random()
        if x < 0.2:
            self.do("drop", k)
        elif x < 0.45:
            self.do("duplicate", k)
            self.network[-1].held = self.chance(0.6)
        elif x < 0.6:
            self.do("move", k, self.below(len(network)))
        elif x < 0.8:
            network[k].held = True
        else:
            self.deliver(k)

    def stale(self) -> None:
        """Messages of earlier times arrive."""
        for _ in range(1 + self.below(4)):
            held = [k for k, packet in enumerate(self.network) if packet.held]
            if not held:
                return
            k = self.choice(held)
            if self.chance(0.3):
                self.do("duplicate", k)
                self.network[-1].held = True
            if self.cluster.members.get(self.network[k].to) is not None:
                self.deliver(k)
            if self.chance(0.3):
                self.work()

    def storm(self, steps: int) -> None:
        """Anything, in any order."""
        end = len(self.steps) + steps
        rounds = 4 * steps
        while len(self.steps) < end and rounds:
            rounds -= 1
            x = self.random()
            if x < 0.3:
                if self.network:
                    k = self.below(len(self.network))
                    if self.passes(self.network[k]):
                        self.do("deliver", k)
            elif x < 0.55:
                self.work()
            elif x < 0.72:
                self.op()
            elif x < 0.85:
                self.tamper()
            elif x < 0.93:
                self.tick_of(self.choice(self.members))
            elif x < 0.95:
                self.crash()
            elif x < 0.97:
                self.restart()
            elif x < 0.98:
                self.cut()
            else:
                self.heal()

    # --- phases ----------------------------------------------------------------------------------

    def behind(self) -> None:
        """One is cut off or down while the log is compacted beyond it: it needs a snapshot."""
        leader = self.leader()
        if leader is None:
            self.elect()
            leader = self.leader()
            if leader is None:
                return
        tracked = leader.core.tracker.peers.column("ids").tolist()
        others = [m for m in self.members if m is not leader and m.id in tracked]
        if not others:
            self.join()
            return
        victim = self.choice(others)
        if self.chance(0.3) and victim.raw is not None:
            self.do("crash", victim.id)
        self.cut(victim.id)
        for _ in range(self.choice((1, 1, 2))):
            if leader.raw is None:
                return
            committed = leader.core.committed
            self.propose()
            self.quiet(30, lambda before=committed: leader.raw is None or leader.applied > before)
        again = 0.2
        if self.chance(0.4):
            # It is probed anew; after some time without a word from it the leader counts it as inactive.
            self.do("unreachable", leader.id, victim.id)
            again = 0.6
            if leader.spec["check_quorum"] and leader.raw is not None and self.chance(0.8):
                for _ in range(leader.election - leader.core.election_elapsed):
                    self.tick_of(leader)
                    self.quiet(8)
        self.compacted(leader)
        if self.chance(again):
            self.propose()
        for packet in self.network:
            # What was on its way to the victim would help it.
            if packet.to == victim.id and self.chance(0.8):
                packet.held = True
        for id in self.side:
            self.side[id] = 0
        if victim.raw is None:
            self.do("restart", victim.id, 0 if self.chance(0.4) else 1)
        self.feed(leader, victim)

    def compacted(self, leader: Member) -> None:
        """The leader has a snapshot of all that is applied, and no more log than it needs."""
        if leader.raw is None:
            return
        self.do("snapshot", leader.id)
        if leader.raw is not None and leader.snapshot.index > leader.base:
            self.do("compact", leader.id, leader.snapshot.index)

    def feed(self, leader: Member, victim: Member) -> None:
        """A snapshot goes to a member; things happen meanwhile."""
        before = victim.snapshot.index
        for _ in range(self.choice((2, 3))):
            if leader.raw is None or victim.raw is None or leader.core.role != _LEADER:
                return
            # The two of them alone, so that it does not take all steps.
            self.focus = (leader.id, victim.id) if self.chance(0.85) else ()
            self.do("tick", leader.id)
            self.quiet(25, lambda: any([p.kind == _SNAP and p.to == victim.id for p in self.network]))
            for k, packet in enumerate(self.network):
                if packet.kind == _SNAP and packet.to == victim.id:
                    self.focus = ()
                    self.under_way(leader, packet, k)
                    self.focus = (leader.id, victim.id)
                    break
            done = self.quiet(16, lambda: victim.raw is None or victim.snapshot.index > before)
            self.focus = ()
            if done:
                break
        self.calm(10)

    def under_way(self, leader: Member, packet: Packet, k: int) -> None:
        """A snapshot is on its way: it may take long, be lost or come twice while the membership changes."""
        x = self.random()
        if x < 0.35:
            packet.held = True
            if self.chance(0.5) and "change" in self.ops:
                self.change()
            self.calm(5 + self.below(15))
            packet.held = False
        elif x < 0.5:
            self.do("drop", k)
            if leader.raw is not None and self.chance(0.7):
                self.do("report", leader.id, packet.to, False)
        elif x < 0.65:
            self.do("duplicate", k)
            self.network[-1].held = self.chance(0.5)
        elif x < 0.8 and leader.raw is not None:
            self.do("report", leader.id, packet.to, self.chance(0.6))
        elif x < 0.9:
            self.twice(leader, packet, k)
        else:
            self.overtaken(leader, packet, k)

    def overtaken(self, leader: Member, packet: Packet, k: int) -> None:
        """A new term comes while a snapshot is being written."""
        victim = self.cluster.members[packet.to]
        self.deliver(k)
        if victim.raw is not None and victim.todo() == "ready":
            self.do("ready", victim.id)
        others = [m for m in self.up() if m is not leader and m is not victim]
        if not others or victim.raw is None:
            return
        term = victim.core.term
        # Not to be refused for the sake of the leader that it has just heard from.
        self.do("forget", victim.id)
        self.do("campaign", self.choice(others).id)
        self.focus = tuple([m.id for m in others] + [victim.id])
        for _ in range(16):
            if victim.core.term > term:
                break
            member = next((m for m in others if m.raw is not None and m.todo()), None)
            if member is not None:
                self.do(member.todo(), member.id)
            elif not self.deliver_first():
                break
        self.focus = ()

    def twice(self, leader: Member, packet: Packet, k: int) -> None:
        """A newer snapshot comes while the first one is being written."""
        victim = self.cluster.members[packet.to]
        self.deliver(k)
        if victim.raw is not None and victim.todo() == "ready":
            self.do("ready", victim.id)
        if leader.raw is None or leader.core.role != _LEADER:
            return
        committed = leader.applied
        self.side[victim.id] = 1
        self.propose()
        self.quiet(20, lambda: leader.raw is None or leader.applied > committed)
        self.compacted(leader)
        self.side[victim.id] = 0
        if leader.raw is None:
            return
        self.do("report", leader.id, victim.id, False)
        for _ in range(2):
            self.tick_of(leader)
            for _ in range(12):
                place = next((k for k, p in enumerate(self.network) if p.to in (victim.id, leader.id)), None)
                if place is None or not self.passes(self.network[place]):
                    break
                self.do("deliver", place)
                if leader.raw is None or victim.raw is None:
                    return
                self.do("ready", leader.id)
                self.do(leader.todo() or "persist", leader.id)

    def join(self) -> None:
        """One that has nothing joins, and is caught up by a snapshot or by the log."""
        leader = self.leader()
        if leader is None:
            self.elect()
            leader = self.leader()
        if leader is None or self.caps:
            return
        conf = leader.core.tracker.conf_state()
        outside = [id for id in self.spares if id not in conf.voters and id not in conf.learners]
        if not outside or conf.voters_outgoing:
            if "change" in self.ops:
                self.change()
            self.calm(15)
            return
        if not self.validates and not self.settled(leader, conf):
            return
        id = self.choice(outside)
        newcomer = self.cluster.members[id]
        words = [f"{self.choice('vvl')}{id}"]
        removable = [other for other in conf.voters if other not in (self.anchor, id)]
        if removable and self.chance(0.35):
            words.append(f"{self.choice('rl')}{self.choice(removable)}")
        transition = self.choice((0, 0, 1, 2))
        self.heal()
        self.quiet(20, lambda: leader.raw is None or leader.core.pending_conf_index <= leader.core.applied)
        old = len(words) == 1 and transition == 0 and self.chance(0.5)
        self.do("change", leader.id, " ".join(words), transition, old)
        self.quiet(60, lambda: leader.raw is None or id in leader.core.tracker.peers.column("ids"))
        if leader.raw is None or leader.core.role != _LEADER:
            return
        if self.chance(0.85):
            self.quiet(10)
            self.compacted(leader)
        if newcomer.raw is None:
            self.do("restart", id, 1)
        self.feed(leader, newcomer)

    def depose(self) -> None:
        """The leader is cut off, alone or with others, another one is elected, and the first one comes back."""
        leader = self.leader()
        if leader is None:
            self.elect()
            return
        away = {leader.id}
        others = [member.id for member in self.members if member is not leader]
        if len(others) >= 4 and self.chance(0.5):
            away.add(self.choice(others))
        self.cut(*away)
        if self.chance(0.6):
            self.propose()
        if self.chance(0.5):
            self.read()
        for packet in self.network:
            if self.chance(0.4):
                packet.held = True
        for _ in range(2):
            self.elect()
            other = self.leader()
            if other is not None and other is not leader:
                break
        if self.chance(0.4) and leader.raw is not None and leader.core.role == _LEADER:
            for _ in range(leader.election):
                self.tick_of(leader)
        self.calm(10 + self.below(15))
        self.heal()
        if self.chance(0.4):
            self.stale()
        self.calm(15)

    def duel(self) -> None:
        """Several campaign at once."""
        up = self.up()
        if len(up) < 2:
            self.restart()
            return
        self.draw.shuffle(up)
        for member in up[: self.choice((2, 2, 3))]:
            if member.raw is None:
                continue
            if self.chance(0.5):
                for _ in range(min(12, member.core.randomized_timeout - member.core.election_elapsed)):
                    self.tick_of(member)
            else:
                self.do("campaign", member.id)
            if self.chance(0.3):
                self.pump()
        self.storm(self.below(12))
        self.calm(15)

    def crashes(self) -> None:
        """Some lose power, one after the other, and begin again."""
        for _ in range(self.choice((1, 1, 2, 3))):
            for _ in range(self.below(8)):
                self.pump()
            self.crash()
            if self.chance(0.6):
                self.calm(self.below(10))
                self.restart()
        self.restart()

    def run(self) -> None:
        """All steps."""
        phases = _PHASES[self.theme]
        try:
            if self.chance(0.9):
                self.elect()
                if self.leader() is None:
                    self.elect()
                if self.chance(0.3):
                    self.read()
            while True:
                phase = self.choice(phases)
                if phase == "calm":
                    self.heal()
                    self.calm(15 + self.below(50))
                elif phase == "storm":
                    self.storm(8 + self.below(30))
                else:
                    {
                        "behind": self.behind,
                        "join": self.join,
                        "depose": self.depose,
                        "duel": self.duel,
                        "crashes": self.crashes,
                        "stale": self.stale,
                    }[phase]()
                    if self.chance(0.2):
                        self.calm(2)
        except Full:
            pass


def schedule(seed: int, steps: int = 200, package: ModuleType = raftx) -> tuple[dict[str, Any], list[Step], list[str]]:
    """(head, steps, answers of raftx) of a seed. Fewer steps only when the library gave up."""
    for attempt in range(ATTEMPTS):
        generator = Generator(seed, steps, package, attempt)
        generator.run()
        if not generator.differs:
            break
    return generator.head, generator.steps, generator.answers
