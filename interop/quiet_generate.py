"""Quiet schedules for the parity judge: a seed chooses the members and, input by input, what happens to them.

The generator runs raftx while it chooses, so that it can look: who leads, who is behind, what the membership is.
Faults are cut links, in one direction or both, and lost power. What only raft-rs and raftx have (priority, group
commit, batched appends, no broadcast of the commit index, requested snapshots, ping) has themes of its own.

Nothing is drawn from anything but the seed.
"""

from __future__ import annotations

import random
from types import ModuleType
from typing import Any

import raftx

from .cluster_member import DEFAULTS, SCENARIO
from .draws import Draws
from .quiet import QuietCluster, QuietMember

_LEADER = 2
_TEXTS = ("", "a", "bc", "\u00e9", "0123456789", "x" * 30)

#: Inputs and their weights.
THEMES: dict[str, dict[str, int]] = {
    "mixed": {
        "tick": 10, "propose": 8, "campaign": 3, "change": 3, "read": 3, "transfer": 3, "crash": 2, "restart": 3,
        "compact": 3, "links": 5, "heal": 4
    },
    "elections": {
        "tick": 12, "propose": 5, "campaign": 7, "transfer": 5, "crash": 2, "restart": 3, "links": 7, "heal": 4,
    },
    "membership": {
        "tick": 6, "propose": 6, "campaign": 2, "change": 12, "transfer": 2, "crash": 1, "restart": 2, "compact": 3,
        "links": 3, "heal": 4, "read": 1,
    },
    "snapshots": {
        "tick": 7, "propose": 9, "campaign": 2, "change": 2, "crash": 2, "restart": 4, "compact": 9, "links": 5,
        "heal": 5, "transfer": 1,
    },
    "reads": {
        "tick": 6, "propose": 6, "campaign": 3, "read": 12, "transfer": 2, "links": 4, "heal": 4, "crash": 1,
        "restart": 2, "change": 1,
    },
    "flow": {
        "tick": 6, "propose": 14, "campaign": 1, "links": 6, "heal": 6, "compact": 1, "crash": 1,
        "restart": 2,
    },
    # What only raft-rs and raftx have
    "priority": {
        "tick": 10, "propose": 6, "campaign": 6, "priority": 4, "links": 5, "heal": 4, "crash": 1, "restart": 2,
        "transfer": 2,
    },
    "group_commit": {
        "tick": 8, "propose": 10, "campaign": 2, "groups": 6, "links": 6, "heal": 5, "change": 2, "transfer": 1,
    },
    "batch_append": {
        "tick": 7, "propose": 12, "campaign": 2, "links": 5, "heal": 5, "transfer": 1, "change": 2, "compact": 2,
        "crash": 1, "restart": 2,
    },
    "skip_bcast_commit": {
        "tick": 9, "propose": 10, "campaign": 2, "links": 4, "heal": 4, "change": 2, "transfer": 1, "read": 2,
    },
    "request_snapshot": {
        "tick": 8, "propose": 8, "campaign": 2, "request_snapshot": 8, "compact": 7, "links": 3, "heal": 4,
        "crash": 1, "restart": 2,
    },
    "ping": {
        "ping": 10, "propose": 8, "campaign": 3, "tick": 3, "links": 6, "heal": 5, "change": 2, "compact": 2,
        "read": 2,
    },
}  # fmt: skip
_THEME_OF = ["mixed"] * 4 + ["elections"] * 3 + ["membership"] * 4 + ["snapshots"] * 3 + ["reads"] * 2 + ["flow"] * 2
_THEME_OF += ["priority", "group_commit", "batch_append", "skip_bcast_commit", "request_snapshot", "ping"]

#: Options that a theme is about
_OPTIONS = ("group_commit", "batch_append", "skip_bcast_commit")


class QuietGenerator(Draws):
    """One schedule in the making."""

    def __init__(self, seed: int, inputs: int, package: ModuleType) -> None:
        self.random = random.Random(f"quiet {seed}").random
        self.limit = inputs
        self.theme = self.choice(_THEME_OF)
        weights = dict(THEMES[self.theme])
        self.capped = self.theme == "flow" and self.chance(0.5)
        self.ops = [name for name, weight in weights.items() for _ in range(weight)]
        self.head = self.make_head(seed)
        self.cluster = QuietCluster(self.head, package)
        self.members = list(self.cluster.members.values())
        self.ids = list(self.cluster.members)
        self.steps: list[list[Any]] = []
        self.answers: list[str] = []
        self.number = 0
        self.contexts = 0

    # --- the members -----------------------------------------------------------------------------

    def make_head(self, seed: int) -> dict[str, Any]:
        """Who there is and how they are set."""
        size = self.choice((1, 2, 3, 3, 3, 3, 4, 5, 5))
        spare = self.choice((0, 0, 1, 1, 2)) if "change" in self.ops else 0
        ids = list(range(1, size + spare + 1))
        learners = []
        voters = ids[:size]
        if size > 2 and self.chance(0.25):
            learners = [voters.pop()]
        #: always stays a voter, so that no change is impossible
        self.anchor = 1
        start = self.choice((1, 2, 5, 9))
        common: dict[str, Any] = {
            "election": self.choice((5, 8, 10)),
            "heartbeat": self.choice((1, 1, 1, 2)),
            "pre_vote": self.chance(0.5),
            "check_quorum": self.chance(0.5),
            "one_entry_messages": self.chance(0.2),
            "one_entry_applies": self.chance(0.1),
            "max_inflight": self.choice((1, 2, 4)) if self.theme == "flow" or self.chance(0.1) else 256,
            "commit_by_vote": True,
        }
        if self.theme == "reads" and common["check_quorum"] and self.chance(0.4):
            common["lease_reads"] = True
            self.ops = [name for name in self.ops if name != "transfer"]  # raftx ends a lease when one begins
        if self.capped:
            common["max_uncommitted"] = self.choice((20, 60, 200))
            common["one_entry_messages"] = True  # raft-rs wants room for a whole message
        if self.theme in _OPTIONS:
            common[self.theme] = True
        if self.theme == "batch_append":
            common["one_entry_messages"] = False  # raft-rs batches whatever the size
        self.heartbeat = common["heartbeat"]
        nodes = []
        for id in ids:
            node: dict[str, Any] = {"id": id, "voters": voters, "learners": learners, "start": start, **common}
            if id > size and self.chance(0.75):
                node = {"id": id, **common}
            if self.theme == "priority":
                node["priority"] = self.below(3)
            nodes.append({name: value for name, value in node.items() if value != DEFAULTS.get(name)})
        return {"scenario": SCENARIO, "quiet": True, "name": f"quiet seed {seed}", "seed": seed, "nodes": nodes}

    # --- looking ---------------------------------------------------------------------------------

    def leader(self) -> QuietMember | None:
        """Who leads in the highest term."""
        best = None
        for member in self.members:
            core = member.core
            if core is not None and core.role == _LEADER and (best is None or core.term > best.core.term):
                best = member
        return best

    def up(self) -> list[QuietMember]:
        return [member for member in self.members if member.raw is not None]

    def someone(self, leader: float = 0.75) -> int:
        """Somebody, mostly the leader."""
        if self.chance(leader):
            first = self.leader()
            if first is not None:
                return int(first.id)
        return int(self.choice(self.up() or self.members).id)

    @staticmethod
    def may_lead(member: QuietMember) -> bool:
        """Whether it knows itself as a voter."""
        conf = member.core.tracker.conf_state()
        return member.id in conf.voters or member.id in conf.voters_outgoing

    # --- inputs ----------------------------------------------------------------------------------

    def do(self, *step: Any) -> bool:
        """Take a step; False when the schedule is over."""
        if len(self.steps) >= self.limit or self.cluster.over:
            return False
        self.answers.append(self.cluster.step(list(step)))
        self.steps.append(list(step))
        return not self.cluster.over

    def op(self, name: str) -> None:
        """One input of a kind."""
        if name == "tick":
            self.do("tick", self.choice((1, 1, 1, 1, 2, 3, 5, 10)))
        elif name == "propose":
            self.propose()
        elif name == "campaign":
            # raft-rs campaigns wherever it is told to: one of the chosen differences.
            able = [member.id for member in self.up() if self.may_lead(member)]
            if able and self.chance(0.998):
                self.do("campaign", self.choice(able))
            elif self.chance(0.02):
                self.do("campaign", self.choice(self.ids))
        elif name == "change":
            self.change()
        elif name == "read":
            leader = self.leader()
            if leader is not None and not self.may_lead(leader):
                return  # raftx asks the voters that are left whether they lead by now, raft-rs does not
            self.contexts += 1
            self.do("read", self.someone(0.6), f"c{self.contexts}")
        elif name == "transfer":
            self.do("transfer", self.someone(0.8), self.choice(self.ids))
        elif name == "crash":
            if len(self.up()) > 1 or self.chance(0.3):
                self.do("crash", self.someone(0.3))
        elif name == "restart":
            down = [member.id for member in self.members if member.raw is None]
            if down:
                self.do("restart", self.choice(down), self.below(2))
        elif name == "compact":
            self.do("compact", self.someone(0.7), self.choice((0, 0, 1, 3)))
        elif name == "links":
            self.links()
        elif name == "heal":
            if self.cluster.cut:
                self.do("links", [])
        elif name == "ping":
            self.do("ping", self.someone(0.9))
        elif name == "request_snapshot":
            self.request_snapshot()
        elif name == "priority":
            self.do("priority", self.choice(self.up() or self.members).id, self.below(4))
        elif name == "groups":
            self.groups()

    def propose(self) -> None:
        data = []
        for _ in range(self.choice((1, 1, 1, 2, 3, 6))):
            self.number += 1
            data.append(self.choice(_TEXTS) if self.chance(0.15) else str(self.number))
        self.do("propose", self.someone(), *data)

    def request_snapshot(self) -> None:
        """A follower wants a snapshot, mostly where it can be served: one that waits takes nothing else in raft-rs."""
        leader = self.leader()
        if leader is not None and self.chance(0.97):
            self.do("compact", leader.id, 3)
        member = self.choice(self.up() or self.members)
        cut = self.cluster.cut
        if leader is None or not {(member.id, leader.id), (leader.id, member.id)} & cut or self.chance(0.05):
            self.do("request_snapshot", member.id)
            if self.chance(0.95):
                self.do("tick", self.heartbeat)

    def groups(self) -> None:
        """Sort the members into commit groups, as the leader sees them."""
        count = self.choice((1, 2, 2, 3))
        pairs = [[id, 1 + self.below(count)] for id in self.ids if self.chance(0.9)]
        if pairs:
            self.do("groups", self.someone(0.9), pairs)

    def links(self) -> None:
        """Cut some links: one in one direction, one member, or a side."""
        pairs: set[tuple[int, int]] = set()
        x = self.random()
        if x < 0.25:
            pairs = set(self.cluster.cut)
            for _ in range(1 + self.below(3)):
                pairs.add((self.choice(self.ids), self.choice(self.ids)))
        else:
            away = {self.someone(0.6)} if x < 0.65 else {id for id in self.ids if self.chance(0.4)}
            pairs = {(a, b) for a in self.ids for b in self.ids if (a in away) != (b in away)}
            if self.chance(0.15):
                pairs = {(a, b) for a, b in pairs if a in away}
        pairs = {(a, b) for a, b in pairs if a != b}
        self.do("links", [list(pair) for pair in sorted(pairs)])

    def change(self) -> None:
        """A membership change that suits, now and then one that does not."""
        leader = self.leader()
        if leader is None:
            return
        conf = leader.core.tracker.conf_state()
        by = leader.id if self.chance(0.85) else self.someone(0)
        if conf.voters_outgoing:
            if self.chance(0.8):
                self.do("change", by, "", 0, False)
                return
        elif self.chance(0.03):
            self.do("change", by, "", 0, False)
            return
        words = [self.single(conf, leader.id) for _ in range(self.choice((1, 1, 1, 2, 2, 3)))]
        transition = self.choice((0, 0, 1, 2)) if len(words) > 1 or self.chance(0.2) else 0
        v1 = len(words) == 1 and transition == 0 and self.chance(0.5)
        self.do("change", by, " ".join(words), transition, v1)

    def single(self, conf: Any, leader: int) -> str:
        """One part of a change."""
        outside = [id for id in self.ids if id not in conf.voters and id not in conf.learners]
        x = self.random()
        if conf.learners and x < 0.3:
            return f"v{self.choice(conf.learners)}"
        if outside and x < 0.7:
            return f"{self.choice('vvl')}{self.choice(outside)}"
        movable = [id for id in conf.voters + conf.learners if id != self.anchor]
        if movable and x < 0.95:
            id = leader if leader in movable and self.chance(0.2) else self.choice(movable)
            return f"{self.choice('rrl')}{id}"
        return f"v{self.choice(conf.voters)}"

    def elect(self) -> None:
        """Somebody comes to lead, if the links let them."""
        if self.chance(0.35):
            self.do("links", [])
        for member in self.members:
            if member.raw is None and self.chance(0.5):
                self.do("restart", member.id, self.below(2))
        up = [member for member in self.up() if self.may_lead(member)]
        if up and self.chance(0.6):
            best = max(up, key=lambda member: (member.core.log.last, self.random()))
            self.do("campaign", best.id)
        for _ in range(self.choice((1, 4, 12))):
            if self.leader() is not None or not self.do("tick", 1):
                return

    def run(self) -> None:
        """All inputs."""
        if self.chance(0.9):
            self.do("campaign", self.anchor)
        while len(self.steps) < self.limit and not self.cluster.over:
            if self.leader() is None and self.chance(0.6):
                self.elect()
            else:
                self.op(self.choice(self.ops))


def quiet_schedule(
    seed: int, inputs: int = 40, package: ModuleType = raftx
) -> tuple[dict[str, Any], list[list[Any]], list[str]]:
    """(head, inputs, answers of raftx) of a seed. Fewer inputs only when the library gave up."""
    generator = QuietGenerator(seed, inputs, package)
    generator.run()
    return generator.head, generator.steps, generator.answers
