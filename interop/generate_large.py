"""Schedules of 33 to 64 members for the parity judge: several campaign in one term, and a leader is heard by some only.

A Generator with other members and other phases. An election of so many takes hundreds of messages, so the phases are
about little else than who votes for whom, which part of a group confirms a read, and who moves when somebody leaves.
Seeds from LARGE on are theirs; ``schedule`` makes one of either kind.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import raftx
from raftx.testing.large import LARGE, SMALLEST

from . import generate
from .cluster_member import DEFAULTS, SCENARIO, Member
from .driving import Full, Step

SHARE = 10  # for so many small groups the judge runs a large one besides
LONGER = 5  # times the steps of a small group

MEMBERS_MAX = 64
_LEADER = 2
_PHASES = ["ballot"] * 5 + ["reads"] * 3 + ["leave", "storm", "calm"]


class LargeGenerator(generate.Generator):
    """One schedule of a large group in the making."""

    def make_head(self, seed: int) -> dict[str, Any]:
        """Members whose logs are not all of one length, some of them learners."""
        learners = self.choice((0, 0, 1, 2))
        size = SMALLEST + self.below(MEMBERS_MAX - learners - SMALLEST + 1)
        ids = list(range(1, size + learners + 1))
        if self.chance(0.3):
            self.draw.shuffle(ids)
        voters, rest = sorted(ids[:size]), sorted(ids[size:])
        self.anchor: int = self.choice(voters)
        conf: dict[str, Any] = {"voters": voters, "learners": rest}
        if self.chance(0.2):
            leaving = self.draw.sample([id for id in voters if id != self.anchor], 1 + self.below(size // 3))
            conf["outgoing"] = voters
            conf["voters"] = [id for id in voters if id not in leaving]
        start = 2 + self.below(5)
        behind = self.choice((0.0, 0.1, 0.4))
        common: dict[str, Any] = {
            "election": self.choice((3, 5, 10)),
            "pre_vote": self.chance(0.15),
            "check_quorum": self.lease or self.chance(0.3),
            "lease_reads": self.lease,
            "async": self.chance(0.85),  # a vote takes two steps, otherwise three
            "step_down": self.chance(0.5),
            "max_inflight": self.choice((2, 256)),
        }
        nodes = []
        for id in ids:
            node = {"id": id, **conf, "start": start - (self.chance(behind) and id != self.anchor), **common}
            nodes.append({name: value for name, value in node.items() if value != DEFAULTS.get(name)})
        self.validates = True
        self.spares: list[int] = []
        self.pool = ids
        return {"scenario": SCENARIO, "name": f"seed {seed}", "seed": seed, "nodes": nodes}

    def finish(self, member: Member) -> None:
        """A member does all that it has to do."""
        while member.raw is not None and (todo := member.todo()):
            self.do(todo, member.id)

    def mill(self, messages: int) -> None:
        """Messages in any order; who gets one mostly deals with it at once."""
        network = self.network
        for _ in range(messages):
            places = [k for k in [self.below(len(network)) for _ in range(4) if network] if self.passes(network[k])]
            if not places:
                if not self.work():
                    return
                continue
            packet = network[places[0]]
            self.deliver(places[0])
            member = self.cluster.members.get(packet.to)
            if member is not None and self.chance(0.85):
                self.finish(member)

    def ballot(self, most: int = 3) -> None:
        """Several campaign in one term; the others hear of them in any order, and some of nobody."""
        up = self.up()
        self.draw.shuffle(up)
        count = min(self.choice((1, 2, 2, 3)), most)
        self.cut(*[member.id for member in up[count:] if self.chance(self.choice((0.0, 0.3)))])
        for member in up:
            # Who counts on a leader votes for nobody else.
            if member.core.lead and member.core.role != _LEADER and self.chance(0.8):
                self.do("forget", member.id)
        for member in up[:count]:
            if member.raw is not None:
                self.do("campaign", member.id)
        for member in up[:count]:
            self.finish(member)
            if self.chance(0.6):
                # It may be ahead of the others.
                self.mill(self.below(len(up)))
        self.mill(self.choice((1, 2, 2)) * len(up))
        self.heal()

    def reads(self) -> None:
        """A leader asks for confirmation; some of the others answer, and of some answers the order is another one."""
        if self.leader() is None:
            self.ballot(1)
        leader = self.leader()
        if leader is None:
            return
        self.heal()
        self.finish(leader)
        for _ in range(4):
            if leader.raw is None or leader.core.log.py_term(leader.core.committed) == leader.core.term:
                break
            # Before it has committed something in its term it does not ask.
            self.mill(len(self.members))
        if self.chance(0.3):
            self.propose()
        if leader.raw is not None:
            self.contexts += 1
            self.do("read", leader.id, f"c{self.contexts}")
        self.finish(leader)
        self.cut(*[member.id for member in self.members if member is not leader and self.chance(0.45)])
        self.mill(2 * len(self.members))
        self.heal()
        if self.chance(0.5):
            self.mill(len(self.members))

    def leave(self) -> None:
        """Somebody leaves or is made a learner, and all behind it move."""
        leader = self.leader()
        if leader is None:
            return
        self.change()
        self.finish(leader)
        self.mill(2 * len(self.members))

    def run(self) -> None:
        """All steps."""
        try:
            self.choice((self.ballot, self.ballot, self.reads))()
            while True:
                phase = self.choice(_PHASES)
                if phase == "storm":
                    self.storm(10 + self.below(40))
                elif phase == "calm":
                    self.heal()
                    self.calm(20 + self.below(60))
                else:
                    {"ballot": self.ballot, "reads": self.reads, "leave": self.leave}[phase]()
        except Full:
            pass


def schedule(seed: int, steps: int = 200, package: ModuleType = raftx) -> tuple[dict[str, Any], list[Step], list[str]]:
    """(head, steps, answers of raftx) of a seed; that of a large group has LONGER times the steps."""
    if seed < LARGE:
        return generate.schedule(seed, steps, package)
    for attempt in range(generate.ATTEMPTS):
        generator = LargeGenerator(seed, LONGER * steps, package, attempt)
        generator.run()
        if not generator.differs:
            break
    return generator.head, generator.steps, generator.answers


def with_large(seeds: range) -> list[int]:
    """The seeds, and for every SHARE-th of them one of a large group."""
    return [*seeds, *[LARGE + seed for seed in seeds if seed < LARGE and seed % SHARE == 0]]
