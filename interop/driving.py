"""A schedule being driven: taking steps, carrying messages, letting work be done, finding a leader.

The part of the generator that makes progress and keeps to what is legal, and to what raftx does not do otherwise on
purpose; what happens to the members, and the harm, is generate.py's.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from .cluster import Cluster
from .cluster_member import DEFAULTS, SCENARIO, Member, Packet
from .draws import Draws

Step = list[Any]

# Numbers of etcd, as in cluster.py
_LEADER = 2
_PROBE = 0
_APP_RESP = 4
_SNAP = 7
_HEARTBEAT_RESP = 9
_READ_INDEX = 15

NOBODY = 99  # an id that no member of a schedule has


class Full(Exception):
    """The schedule has all its steps."""


class Driving(Draws):
    """One schedule; Generator makes the members and chooses what happens."""

    draw: random.Random
    #: whether the schedule came to where raftx differs on purpose
    differs: bool
    limit: int
    steps: list[Step]
    answers: list[str]
    theme: str
    caps: bool
    lease: bool
    cluster: Cluster
    members: list[Member]
    network: list[Packet]
    side: dict[int, int]
    focus: tuple[int, ...]

    # --- the members -----------------------------------------------------------------------------

    def make_head(self, seed: int) -> dict[str, Any]:
        """The members: how many, what they are, and how they are set."""
        size = (
            self.choice((1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 5, 7)) if self.theme != "reads" else self.choice((1, 3, 3, 3, 5))
        )
        extra = self.choice((0, 0, 1, 1, 2)) if self.theme != "membership" else self.choice((1, 1, 2, 2))
        learners = self.choice((0, 0, 1)) if size > 1 else self.choice((0, 1, 1))
        ids = list(range(1, size + extra + learners + 1))
        if self.chance(0.2):
            # Who comes first has nothing to do with who is who.
            self.draw.shuffle(ids)
        if self.chance(0.03):
            ids[-1] = 2**63 - 1
        voters, rest = sorted(ids[:size]), ids[size:]
        conf: dict[str, Any] = {"voters": voters}
        if learners:
            conf["learners"] = sorted(rest[:learners])
            rest = rest[learners:]
        joint = not self.caps and size > 1 and self.chance(0.12)
        self.anchor: int = voters[0] if self.chance(0.5) else self.choice(voters)
        if joint:
            outgoing = [id for id in voters if id != self.anchor]
            leaving = self.choice(outgoing)
            conf["outgoing"] = voters
            conf["voters"] = [id for id in voters if id != leaving]
            if self.chance(0.5):
                conf["learners_next"] = [leaving]
            conf["auto_leave"] = self.chance(0.5)
        start = 1 + self.below(9)
        common: dict[str, Any] = {
            "election": self.choice((2, 3, 3, 4, 5, 10)),
            "pre_vote": self.chance(0.4),
            "check_quorum": self.lease or self.chance(0.4),
            "lease_reads": self.lease,
            "async": self.chance(0.45),
            "forwarding": self.chance(0.85),
            "validate": self.chance(0.9),
            "step_down": self.chance(0.5),
            "one_entry_messages": self.chance(0.2),
            "one_entry_applies": self.chance(0.15),
            "max_inflight": self.choice((1, 2, 3)) if self.theme == "flow" or self.chance(0.2) else 256,
        }
        if common["election"] > 3 and self.chance(0.2):
            common["heartbeat"] = 2
        if self.caps:
            if self.chance(0.7):
                common["one_entry_messages"] = True
                common["max_inflight_bytes"] = self.choice((1, 10, 40))
            if self.chance(0.6):
                common["max_uncommitted"] = self.choice((1, 20, 60))
        mixed = self.chance(0.2)
        behind = self.choice(voters) if size >= 3 and not joint and start > 1 and self.chance(0.15) else 0
        nodes = []
        for id in ids:
            node = {"id": id, **conf, "start": start, **common}
            if mixed:
                for name in ("async", "pre_vote", "forwarding", "step_down", "one_entry_applies"):
                    if self.chance(0.3):
                        node[name] = not node[name]
            if id == behind:
                node["start"] = 1 + self.below(start - 1)
            elif id in rest and self.chance(0.75):
                node = {"id": id, **common}
            nodes.append({name: value for name, value in node.items() if value != DEFAULTS.get(name)})
        self.validates = common["validate"]
        self.spares = rest
        # Whom a change may add; the last one does not exist.
        self.pool = ids + [NOBODY] if self.chance(0.1) else ids
        return {"scenario": SCENARIO, "name": f"seed {seed}", "seed": seed, "nodes": nodes}

    # --- steps -----------------------------------------------------------------------------------

    def do(self, *step: Any) -> str:
        """Take a step."""
        if len(self.steps) >= self.limit:
            raise Full
        taken = list(step)
        if self.reads_of_one_voter(taken):
            if taken[0] == "read":
                return "nothing"
            taken[0] = "drop"
        touched = self.touched(taken)
        if touched is not None and self.refused_snapshot(taken, touched):
            # A chosen difference: etcd sends a snapshot again at once, and again, to a member that has refused it.
            self.differs = True
            raise Full
        before = pending = committed = 0
        if touched is not None and touched.core is not None:
            before, pending = touched.core.reads.confirmed, touched.core.pending_conf_index
            committed = touched.core.committed
        answered = taken[0] == "deliver" and self.network[taken[1]].kind == _HEARTBEAT_RESP
        answer = self.cluster.step(taken)
        if touched is not None and touched.core is not None and touched.core.reads.confirmed > before and not answered:
            # A chosen difference: reads that a smaller quorum has confirmed are answered at once; with etcd they
            # wait for another answer to a heartbeat. The schedule ends before this step.
            self.differs = True
            raise Full
        if taken[0] == "apply" and touched is not None and touched.core is not None:
            core = touched.core
            learner = core.self_slot >= 0 and (core.tracker.learners >> core.self_slot) & 1
            if core.role == _LEADER and (core.self_slot < 0 or learner) and core.committed > committed:
                # Likewise: a leader that stays although it was removed commits what the others have acknowledged.
                self.differs = True
                raise Full
        if taken[0] == "tick" and touched is not None and touched.core is not None:
            if touched.core.pending_conf_index > pending and touched.core.role == _LEADER:
                # Likewise: a joint configuration is left when the transfer that was in the way has failed.
                self.differs = True
                raise Full
        self.steps.append(taken)
        self.answers.append(answer)
        if self.cluster.over:
            raise Full
        return answer

    def touched(self, step: list[Any]) -> Member | None:
        """The member that a step is for."""
        if step[0] == "deliver":
            place = step[1]
            return self.cluster.members.get(self.network[place].to) if 0 <= place < len(self.network) else None
        return self.cluster.members.get(step[1]) if step[0] not in ("drop", "duplicate", "move") else None

    def refused_snapshot(self, step: list[Any], leader: Member) -> bool:
        """Whether a probed member acknowledges what is known of it already, and what follows is compacted."""
        core = leader.core
        if step[0] != "deliver" or core is None or core.role != _LEADER:
            return False
        packet = self.network[step[1]]
        if packet.kind != _APP_RESP or packet.term != core.term:
            return False
        peers = core.tracker.peers
        ids = list(peers.column("ids"))
        if packet.sender not in ids:
            return False
        slot = ids.index(packet.sender)
        if peers.column("state")[slot] != _PROBE:
            return False
        match = peers.column("match")[slot]
        m = self.cluster.decoders[leader.id].decode(packet.frame)[0]
        return bool(match + 1 < core.log.first and m.index == match and not m.reject)

    def reads_of_one_voter(self, step: list[Any]) -> bool:
        """Whether a read would come to a leader of one voter which etcd answers too soon.

        A chosen difference: raftx asks the voter when it is not the leader itself, for it may lead by now; and it waits
        for the first commit of the term, since the commit index may have been lost with the voter's last life.
        """
        if step[0] == "deliver" and (step[1] >= len(self.network) or self.network[step[1]].kind != _READ_INDEX):
            return False
        if step[0] not in ("read", "deliver"):
            return False
        member = self.touched(step)
        core = member.core if member is not None else None
        if core is None or core.role != _LEADER:
            return False
        tracker, slot = core.tracker, core.self_slot
        if tracker.outgoing or tracker.voters.bit_count() != 1:
            return False
        return bool(slot < 0 or not (tracker.voters >> slot) & 1 or core.log.py_term(core.committed) != core.term)

    def leader(self) -> Member | None:
        """Who leads in the highest term."""
        best = None
        term = -1
        for member in self.members:
            core = member.core
            if core is not None and core.role == _LEADER and core.term > term:
                best, term = member, core.term
        return best

    def up(self) -> list[Member]:
        """Those that are not down."""
        return [member for member in self.members if member.raw is not None]

    def someone(self) -> Member | None:
        """Anybody who is up, the leader above others."""
        if self.chance(0.45):
            leader = self.leader()
            if leader is not None:
                return leader
        up = self.up()
        return self.choice(up) if up else None

    # --- progress --------------------------------------------------------------------------------

    def passes(self, packet: Packet) -> bool:
        """Whether a message may be delivered now."""
        if packet.held or (self.focus and (packet.to not in self.focus or packet.sender not in self.focus)):
            return False
        member = self.cluster.members.get(packet.to)
        if member is None:
            return True
        if member.raw is None or self.side[packet.sender] != self.side[packet.to]:
            return False
        return packet.kind != _SNAP or self.takes_snapshot(member)

    def takes_snapshot(self, member: Member) -> bool:
        """Not while changes that the library gave out wait to be applied: they would be applied to the
        configuration of the snapshot, and neither library is to be blamed for what comes of it."""
        if member.work is not None:
            return not any([entry.kind for entry in member.work.committed_entries])
        return not any([entry.kind for m in member.applies for entry in m.entries])

    def deliver(self, k: int) -> None:
        """One message arrives."""
        packet = self.network[k]
        if packet.kind == _SNAP:
            member = self.cluster.members.get(packet.to)
            if member is not None and not self.takes_snapshot(member):
                return
        self.do("deliver", k)

    def deliver_first(self) -> bool:
        """The oldest message that gets through."""
        for k, packet in enumerate(self.network):
            if self.passes(packet):
                self.do("deliver", k)
                return True
        return False

    def work(self) -> bool:
        """Somebody's next piece of work."""
        members = self.members
        count = len(members)
        begin = self.below(count)
        for place in range(begin, begin + count):
            member = members[place % count]
            if member.raw is not None and (not self.focus or member.id in self.focus):
                todo = member.todo()
                if todo:
                    if member.asynchronous and member.has_ready and todo != "ready" and self.chance(0.35):
                        todo = "ready"
                    elif todo == "persist" and member.applies and self.chance(0.3):
                        todo = "apply"
                    self.do(todo, member.id)
                    return True
        return False

    def pump(self) -> bool:
        """One message or one piece of work."""
        # What arrives together is worked on together: more comes of the same number of steps.
        if self.chance(0.7):
            return self.deliver_first() or self.work()
        return self.work() or self.deliver_first()

    def calm(self, steps: int, until: Callable[[], bool] | None = None) -> bool:
        """Let things go on for some steps, or until something holds."""
        end = len(self.steps) + steps
        while len(self.steps) < end:
            if until is not None and until():
                return True
            x = self.random()
            if x < 0.10:
                self.op()
            elif not self.pump():
                self.idle()
            elif x > 0.99:
                self.restart()
        return until is not None and until()

    def quiet(self, steps: int, until: Callable[[], bool] | None = None) -> bool:
        """Nothing but messages and work."""
        end = len(self.steps) + steps
        while len(self.steps) < end:
            if until is not None and until():
                return True
            if not self.pump():
                return until is not None and until()
        return until is not None and until()

    def idle(self) -> None:
        """Nothing is under way: elect somebody, or give the leader something to do."""
        if self.chance(0.5):
            self.restart()
        leader = self.leader()
        if leader is None or (self.alone(leader) and self.chance(0.7)):
            self.elect()
        elif self.chance(0.25):
            for _ in range(1 + self.below(2)):
                self.do("tick", leader.id)
        elif self.chance(0.35):
            self.propose()
        else:
            self.op()

    def alone(self, leader: Member) -> bool:
        """Whether a leader is cut off from most of the others."""
        side = self.side[leader.id]
        return sum([self.side[member.id] == side for member in self.members]) * 2 <= len(self.members)

    def elect(self) -> None:
        """Somebody who can win campaigns, sooner or later."""
        best: list[Member] = []
        for side in (0, 1):
            there = [m for m in self.up() if self.side[m.id] == side and m.core.tracker.peers.count]
            if len(there) > len(best):
                best = there
        voters = [m for m in best if m.id in m.core.tracker.conf_state().voters and m.core.role != _LEADER]
        if not voters:
            self.restart()
            self.heal()
            self.tick_of(self.choice(self.members))
            return
        # Mostly one that has everything.
        member = max(voters, key=lambda m: m.core.log.last) if self.chance(0.7) else self.choice(voters)
        waits = member.spec["check_quorum"] or member.spec["pre_vote"]
        if waits and self.chance(0.7):
            for other in best:
                # Who has heard from a leader lately does not vote.
                if other.core.lead and other.core.role != _LEADER:
                    for _ in range(min(8, other.election - other.core.election_elapsed)):
                        if other.core.lead:
                            self.do("tick", other.id)
        if self.chance(0.6):
            self.do("campaign", member.id)
        else:
            for _ in range(min(12, member.core.randomized_timeout - member.core.election_elapsed)):
                self.do("tick", member.id)
        self.quiet(12 + 6 * len(best), lambda: member.raw is None or member.core.role == _LEADER)
