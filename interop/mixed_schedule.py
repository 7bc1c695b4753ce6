"""One schedule of a mixed cluster: a seed chooses the members, and step by step what happens to them.

Phases do what a cluster is for (elect, replicate, change the membership, read, hand over) and what happens to it
(members that lag behind a compacted log, crash, are cut off; messages that are lost, doubled, late). Then everything
heals, and the members have to agree. Nothing is drawn from anything but the seed, and no library's state is looked at
but through the answers of protocol.md.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from .cluster import OK
from .cluster_member import DEFAULTS, SCENARIO
from .draws import Draws
from .mixed_hosts import Flight, Host
from .mixed_watch import LEADER, SNAPSHOT, Conf, Disagreement, Seat, Watch
from .outside import Json

#: who runs the three members
NAMES = ("compiled", "interpreted", "etcd")

_APP, _SNAP = 3, 7
KINDS = {
    2: "Prop", 3: "App", 4: "AppResp", 5: "Vote", 6: "VoteResp", 7: "Snap", 8: "Heartbeat", 9: "HeartbeatResp",
    13: "TransferLeader", 14: "TimeoutNow", 15: "ReadIndex", 16: "ReadIndexResp", 17: "PreVote", 18: "PreVoteResp",
}  # fmt: skip

PHASES = (
    ["propose"] * 2 + ["change"] * 4 + ["lag"] * 4 + ["rejoin"] * 2 + ["demote"] * 2 + ["transfer"] * 2 + ["reads"] * 3
    + ["crash"] * 2 + ["storm"] * 3 + ["partition"] * 2 + ["lead"] * 2
)  # fmt: skip
ROUNDS = 200  # of the end, until the members agree; about ten are needed

Home = Callable[[Json], Host]


class Stalemate(Exception):
    """Nobody can be elected any more, and it is the algorithm's fault.

    A leader that was removed, or made a learner, may have appended more than it got through. When it crashes before the
    others know that it is none of them, they need its vote, which it refuses them for their shorter logs; and it does
    not campaign. Neither library prevents that (raftx does with ``commit_by_vote``, which etcd has not).
    """


class Schedule(Draws):
    """One schedule. ``run`` raises Disagreement and Stalemate; ``steps`` says what was done so far."""

    def __init__(self, seed: int, homes: dict[str, Home], counts: Counter[str], attempt: int = 0) -> None:
        draw = random.Random(f"mixed/{seed}/{attempt}")
        self.draw = draw
        self.random = draw.random
        self.counts = counts
        self.steps: list[str] = []
        names = list(NAMES)
        draw.shuffle(names)
        self.head = self.make_head(seed)
        self.seats: dict[int, Seat] = {}
        try:
            for spec, name in zip(self.head["nodes"], names):
                head = {**self.head, "hosted": [spec["id"]], "interactive": True}
                self.seats[spec["id"]] = Seat(spec["id"], name, homes[name](head), {**DEFAULTS, **spec})
        except BaseException:
            self.end()
            raise
        self.watch = Watch(self.seats, counts)
        self.network: list[Flight] = []
        self.side = dict.fromkeys(self.seats, 0)
        #: how likely something happens to a message, instead of its delivery
        self.trouble = 0.0
        self.numbers = 0
        self.contexts = 0

    # --- the members -----------------------------------------------------------------------------

    def make_head(self, seed: int) -> Json:
        """The members: three, and how they are set."""
        ids = [1, 2, 3]
        start = 1 + self.below(5)
        conf: Json = {"voters": ids}
        odd = self.choice(ids)
        new = self.chance(0.25)
        behind = not new and start > 1 and self.chance(0.3)
        if new or self.chance(0.1):
            conf = {"voters": [id for id in ids if id != odd]}
            if not new:
                conf["learners"] = [odd]
        common = {
            "election": self.choice((3, 4, 5, 10)),
            "pre_vote": self.chance(0.4),
            # All or none: who does not answer a leader of an older term is never heard by those who have a lease.
            "check_quorum": self.chance(0.4),
        }
        nodes = []
        for id in ids:
            node = {**common, "id": id, "async": self.chance(0.5), "step_down": self.chance(0.5)}
            if self.chance(0.15):
                node["pre_vote"] = not node["pre_vote"]
            node["forwarding"] = self.chance(0.9)
            node["one_entry_messages"] = self.chance(0.15)
            node["one_entry_applies"] = self.chance(0.15)
            node["max_inflight"] = self.choice((256, 256, 256, 3, 1))
            if not (new and id == odd):
                node.update(conf, start=1 + self.below(start - 1) if behind and id == odd else start)
            nodes.append(node)
        return {"scenario": SCENARIO, "name": f"mixed {seed}", "seed": seed, "nodes": nodes}

    # --- steps -----------------------------------------------------------------------------------

    def do(self, seat: Seat, name: str, *arguments: Any) -> str:
        """Take a step of a member; returns its result."""
        step = [name, seat.id, *arguments]
        self.steps.append(f"{seat}: {name} {' '.join([str(each) for each in arguments])}".rstrip())
        return self._took(seat, step, seat.host.step(step))

    def _took(self, seat: Seat, step: list[Any], answer: str) -> str:
        result = self.watch.saw(seat, step, answer)
        self.steps[-1] += f" -> {result}"
        stale = False
        for flight in seat.host.left:
            self.steps[-1] += f" [{describe(flight)}]"
            if flight.to in self.seats:
                self.network.append(flight)
            if flight.kind == _SNAP:
                snapshot = flight.json()["snapshot"]
                index = snapshot["index"]
                data = bytes.fromhex(snapshot.get("data", ""))
                if data != str(index).encode() and (data or index > self.watch.base):
                    raise Disagreement(f"{seat} sends a snapshot of {index} with data {data!r}")
                stale = stale or flight.to not in Conf.of(snapshot).members
        if stale:
            # A member that is not in it does not take it: one that has the member is wanted.
            self.do(seat, "snapshot")
        return result

    def deliver(self, k: int) -> None:
        """One message arrives."""
        flight = self.network.pop(k)
        seat = self.seats[flight.to]
        self.steps.append(f"{seat}: takes {describe(flight)}")
        if not seat.up:
            self.steps[-1] += " -> down"
            return
        if flight.kind == _SNAP:
            seat.snapshot_from = flight.sender
        result = self._took(seat, ["give"], seat.host.give(flight))
        sender = self.seats[flight.sender]
        if result == OK and sender.library != seat.library:
            self.counts[f"{KINDS[flight.kind]} from {sender.library} to {seat.library}"] += 1

    def up(self) -> list[Seat]:
        """Those that are not down."""
        return [seat for seat in self.seats.values() if seat.up]

    def leader(self) -> Seat | None:
        """Who leads in the highest term."""
        return max([seat for seat in self.up() if seat.leads], key=lambda seat: seat.term, default=None)

    # --- progress --------------------------------------------------------------------------------

    def passes(self, flight: Flight) -> bool:
        """Whether a message may be delivered now."""
        seat = self.seats[flight.to]
        if flight.held or not seat.up or self.side[flight.sender] != self.side[flight.to]:
            return False
        return flight.kind != _SNAP or seat.takes_snapshot()

    def deliver_one(self) -> bool:
        """The oldest message that gets through, or in trouble any."""
        places = [k for k, flight in enumerate(self.network) if self.passes(flight)]
        if not places:
            return False
        self.deliver(self.choice(places) if self.trouble and self.chance(0.3) else places[0])
        return True

    def work(self) -> bool:
        """Somebody's next piece of work."""
        busy = [(seat, todo) for seat in self.seats.values() if (todo := seat.todo())]
        if not busy:
            return False
        seat, todo = self.choice(busy)
        self.do(seat, todo[0] if self.chance(0.6) else self.choice(todo))
        return True

    def pump(self) -> bool:
        """One message or one piece of work; in trouble also something else."""
        if self.trouble and self.network and self.chance(self.trouble):
            self.tamper()
            return True
        if self.chance(0.6):
            return self.deliver_one() or self.work()
        return self.work() or self.deliver_one()

    def settle(self, steps: int, until: Callable[[], bool] | None = None) -> bool:
        """Messages and work until nothing is under way, for some steps at most; or until something holds."""
        for _ in range(steps):
            if until is not None and until():
                return True
            if not self.pump():
                break
        return until is not None and until()

    def ticks(self, seat: Seat, count: int) -> None:
        """Time passes for one member."""
        for _ in range(count):
            if seat.up:
                self.do(seat, "tick")

    def beat(self) -> None:
        """The leader's heartbeats, and what comes of them."""
        leader = self.leader()
        if leader is not None:
            self.ticks(leader, 1)
            self.settle(60)

    # --- leadership ------------------------------------------------------------------------------

    def lead(self, target: Seat) -> bool:
        """Let a member become the leader, by an election or by a transfer, if it can."""
        self.restart(target)
        for _ in range(3):
            if target.leads and self.leader() is target:
                return True
            leader = self.leader()
            if leader is not None and leader is not target and self.chance(0.4):
                self.do(leader, "transfer", target.id)
                self.settle(60, lambda: target.leads)
                continue
            if leader is not None and self.chance(0.4):
                self.cut(leader)
            self.campaign(target)
            self.settle(60, lambda: target.leads)
            if self.chance(0.7):
                self.heal()
            self.settle(20)
        return target.leads

    def campaign(self, target: Seat) -> None:
        """A member campaigns, when the others may listen to it."""
        for seat in self.up():
            if seat is not target and not seat.leads:
                # Who has heard from a leader lately does not vote; who waits longer may campaign himself.
                calm = seat.id in seat.conf.voters and self.chance(0.7)
                self.ticks(seat, max(0, min(seat.lease, seat.patience - 1) if calm else seat.lease))
        if self.chance(0.5):
            self.do(target, "campaign")
        else:
            self.ticks(target, max(1, target.patience))

    def someone_leads(self) -> Seat | None:
        """A leader that others can follow; one is elected if there is none."""
        leader = self.leader()
        if leader is not None and len([seat for seat in self.up() if self.side[seat.id] == self.side[leader.id]]) > 1:
            return leader
        self.heal()
        for seat in self.seats.values():
            self.restart(seat)
        self.lead(self.choice(list(self.seats.values())))
        return self.leader()

    # --- harm ------------------------------------------------------------------------------------

    def tamper(self) -> None:
        """The network loses, repeats, reorders and delays."""
        k = self.below(len(self.network))
        flight = self.network[k]
        x = self.random()
        if x < 0.3:
            self.lose(k)
        elif x < 0.55:
            # A change that is proposed twice may be applied when nobody expects it any more.
            if not flight.changes():
                self.network.append(flight.copy())
                self.counts["messages doubled"] += 1
        elif x < 0.8:
            self.network.insert(self.below(len(self.network)), self.network.pop(k))
            self.counts["messages reordered"] += 1
        else:
            flight.held = True
            self.counts["messages delayed"] += 1

    def lose(self, k: int) -> None:
        """A message is lost; its sender may hear of it."""
        flight = self.network.pop(k)
        self.counts["messages lost"] += 1
        self.steps.append(f"lost: {describe(flight)}")
        sender = self.seats[flight.sender]
        if sender.up and self.chance(0.5):
            if flight.kind == _SNAP:
                self.do(sender, "report", flight.to, False)
            elif flight.kind == _APP:
                self.do(sender, "unreachable", flight.to)

    def crash(self, seat: Seat) -> None:
        """A member loses power, and most of what is on its way to it gets lost."""
        if not seat.up:
            return
        self.do(seat, "crash")
        self.counts["crashes"] += 1
        if self.chance(0.7):
            self.network = [flight for flight in self.network if flight.to != seat.id]

    def restart(self, seat: Seat) -> None:
        """A member that is down begins again."""
        if not seat.up:
            self.do(seat, "restart", 0 if self.chance(0.4) else 1)
            self.counts[f"restarts of {seat.name}"] += 1

    def cut(self, *away: Seat) -> None:
        """Cut some members off from the others."""
        self.steps.append(f"cut off: {', '.join([str(seat) for seat in away])}")
        for seat in away:
            self.side[seat.id] = 1

    def heal(self) -> None:
        """All reach each other."""
        self.steps.append("healed")
        self.side = dict.fromkeys(self.side, 0)

    # --- phases ----------------------------------------------------------------------------------

    def propose(self, by: Seat | None = None, count: int = 0) -> None:
        """Some entries in one proposal, at the leader or at somebody who passes them on."""
        seat = by or self.leader()
        if not self.up():
            return
        if seat is None or (by is None and self.chance(0.25)):
            seat = self.choice(self.up())
        data = []
        for _ in range(count or 1 + self.below(3)):
            self.numbers += 1
            data.append(f"p{self.numbers}" if self.chance(0.95) else "")
        self.watch.proposed.update([each.encode().hex() for each in data if each])
        self.do(seat, "propose", *data)

    def phase_propose(self) -> None:
        for _ in range(1 + self.below(4)):
            self.propose()
            self.settle(self.below(30))

    def change(self, leader: Seat, changes: str, transition: int = 0, v1: bool = False) -> None:
        """A membership change, proposed by the leader or by somebody who passes it on."""
        others = [seat for seat in self.up() if seat is not leader and seat.lead == leader.id and seat.forwarding]
        by = self.choice(others) if others and self.chance(0.2) else leader
        self.do(by, "change", changes, transition, v1)

    def phase_change(self) -> None:
        leader = self.someone_leads()
        for _ in range(1 + self.below(3)):
            leader = self.leader()
            if leader is None:
                return
            self.change(leader, *self.suggest(leader.conf))
            if self.chance(0.4):
                self.propose()
            self.settle(30 + self.below(40))

    def suggest(self, conf: Conf) -> tuple[str, int, bool]:
        """(changes, transition, old kind) for a configuration. Two voters are always left: a single one, when it is
        etcd, answers reads too soon."""
        if conf.outgoing:
            return "", 0, False
        outside = [id for id in self.seats if id not in conf.members]
        single = [f"{self.choice('vvl')}{id}" for id in outside]
        single += [f"{self.choice('vvvr')}{id}" for id in conf.learners]
        if len(conf.voters) > 2:
            single += [f"{self.choice('rl')}{id}" for id in conf.voters]
        joins = [*outside, *conf.learners]
        if len(conf.voters) == 2 and joins and self.chance(0.35):
            changes = f"v{self.choice(joins)} {self.choice('rl')}{self.choice(conf.voters)}"
            return changes, self.below(3), False
        changes = self.choice(single)
        if self.chance(0.35):
            return changes, 0, True
        return changes, self.choice((0, 0, 1, 2)), False

    def phase_demote(self) -> None:
        """A voter becomes a learner, and a voter again."""
        leader = self.someone_leads()
        if leader is None or leader.conf.outgoing:
            return
        if len(leader.conf.voters) == 3:
            id = self.choice(leader.conf.voters)
            self.change(leader, f"l{id}", 0, self.chance(0.5))
            self.settle(50)
            self.propose()
            self.settle(40)
        self.add(self.choice("vv"))

    def add(self, kind: str) -> None:
        """Whoever is not a voter becomes one, or a learner."""
        leader = self.someone_leads()
        if leader is None or leader.conf.outgoing:
            return
        for id in self.seats:
            if id not in leader.conf.voters:
                self.change(leader, f"{kind}{id}", 0, self.chance(0.4))
                self.settle(60)
        self.beat()

    def phase_rejoin(self) -> None:
        """A member is removed, and comes back when the log that it would need is gone."""
        leader = self.someone_leads()
        if leader is None or leader.conf.outgoing:
            return
        others = [id for id in leader.conf.voters if id != leader.id]
        if len(leader.conf.voters) == 3 and others:
            self.change(leader, f"r{self.choice(others)}", 0, self.chance(0.5))
            self.settle(50)
        self.propose()
        self.settle(40)
        self.compact_all()
        self.add(self.choice("vvl"))
        self.settle(60)
        self.beat()

    def compact_all(self) -> None:
        """Those who are up make a snapshot and forget the entries before it."""
        for seat in self.up():
            if self.chance(0.85):
                self.do(seat, "snapshot")
                self.do(seat, "compact", seat.snapshot_index)

    def phase_lag(self) -> None:
        """A member misses so much that it needs a snapshot."""
        leader = self.someone_leads()
        if leader is None:
            return
        others = [seat for seat in self.up() if seat is not leader]
        if not others:
            return
        victim = self.choice(others)
        if self.chance(0.5):
            self.cut(victim)
        else:
            self.crash(victim)
        for _ in range(1 + self.below(3)):
            self.propose(leader)
            self.settle(40)
        if self.chance(0.3):
            # The one that catches it up need not be the one that compacted.
            self.beat()
            rest = [seat for seat in others if seat is not victim]
            if rest:
                self.compact_all()
                self.lead(rest[0])
        self.compact_all()
        self.heal()
        self.restart(victim)
        for _ in range(3):
            self.beat()

    def phase_transfer(self) -> None:
        leader = self.someone_leads()
        if leader is None:
            return
        to = self.choice(list(self.seats.values()))
        if self.chance(0.4):
            self.propose()
        followers = [seat for seat in self.up() if seat is not leader and seat.lead == leader.id]
        by = self.choice(followers) if followers and self.chance(0.5) else leader
        self.do(by, "transfer", to.id)
        self.settle(60)
        if to.leads and to is not leader:
            self.counts["transfers that succeeded"] += 1

    def phase_reads(self) -> None:
        self.someone_leads()
        for _ in range(1 + self.below(4)):
            if self.chance(0.3):
                self.propose()
                self.settle(self.below(20))
            seat = self.choice(self.up())
            self.contexts += 1
            context = f"c{self.contexts}"
            self.watch.reads[context.encode().hex()] = (seat.id, self.watch.committed)
            self.do(seat, "read", context)
            self.settle(self.below(20))
        self.settle(40)

    def phase_crash(self) -> None:
        up = self.up()
        if not up:
            return
        busy = [seat for seat in up if seat.appends or seat.applies]
        self.crash(self.choice(busy or up))
        if self.chance(0.4):
            self.propose()
        self.settle(self.below(30))
        if self.chance(0.3) and self.up():
            self.crash(self.choice(self.up()))
        for seat in self.seats.values():
            if self.chance(0.8):
                self.restart(seat)
        if self.chance(0.5):
            self.beat()

    def phase_storm(self) -> None:
        """Anything may happen to a message, time passes, and the cluster is asked for things meanwhile."""
        self.someone_leads()
        self.trouble = self.choice((0.05, 0.15, 0.3))
        for _ in range(15):
            seat = self.choice(list(self.seats.values()))
            x = self.random()
            if x < 0.3:
                self.propose()
            elif x < 0.6:
                self.ticks(seat, 1 + self.below(4))
            elif x < 0.65 and seat.up:
                self.do(seat, "campaign")
            elif x < 0.7 and seat.up:
                self.do(seat, "snapshot")
            elif x < 0.73 and seat.up:
                self.do(seat, "forget")
            elif x < 0.78:
                self.crash(seat)
            elif x < 0.88:
                self.restart(seat)
            elif x < 0.95:
                leader = self.leader()
                if leader is not None:
                    self.change(leader, *self.suggest(leader.conf))
            if not self.up():
                self.restart(seat)
            self.settle(self.below(12))
        self.trouble = 0.0
        for flight in self.network:
            flight.held = flight.held and self.chance(0.5)

    def phase_partition(self) -> None:
        """The leader, or somebody else, is cut off, and time passes on both sides."""
        leader = self.someone_leads()
        if leader is None:
            return
        away = leader if self.chance(0.6) else self.choice(list(self.seats.values()))
        self.cut(away)
        self.propose(leader)
        rest = [seat for seat in self.up() if seat is not away]
        if rest and self.chance(0.8):
            self.campaign(self.choice(rest))
            self.settle(50)
            self.propose()
            self.settle(30)
        for seat in self.up():
            self.ticks(seat, self.below(seat.election))
            self.settle(10)
        self.heal()
        self.settle(self.below(60))

    def phase_lead(self) -> None:
        self.lead(self.choice(list(self.seats.values())))

    # --- the whole -------------------------------------------------------------------------------

    def run(self) -> None:
        """All of it. Raises Disagreement and Stalemate."""
        for seat in self.seats.values():
            self.do(seat, "tick")
        for seat in self.seats.values():
            self.counts[f"schedules with {'a' if seat.asynchronous else ''}synchronous writes of {seat.name}"] += 1
        first = self.choice([seat for seat in self.seats.values() if seat.id in seat.conf.voters])
        if self.lead(first):
            self.counts[f"first led by {first.name}"] += 1
        for _ in range(12 + self.below(15)):
            name = self.choice(PHASES)
            self.steps.append(f"--- {name}")
            if not self.up():
                self.restart(self.choice(list(self.seats.values())))
            getattr(self, f"phase_{name}")()
        self.steps.append("--- the end")
        self.agree()
        self.counts["schedules"] += 1

    def agree(self) -> None:
        """Everything heals; the members have to come to the same."""
        self.heal()
        self.trouble = 0.0
        for flight in self.network:
            flight.held = False
        for seat in self.seats.values():
            self.restart(seat)
        everybody = self.chance(0.7)
        final = ""
        for number in range(ROUNDS):
            self.settle(2000)
            if self.pump():
                raise Disagreement("the cluster does not come to rest")
            leader = self.leader()
            ahead = [seat for seat in self.able() if leader is not None and seat.term > leader.term]
            if leader is None:
                self.elect()
            elif ahead:
                # A term later than the leader's has to become known, or nobody will ever lead there.
                self.campaign(self.choice(ahead))
            elif leader.id not in leader.conf.voters:
                # Removed or demoted, it only keeps the seat warm.
                self.do(leader, "transfer", self.choice(leader.conf.voters))
                self.settle(100)
                self.ticks(leader, leader.election)
            elif leader.conf.outgoing:
                self.do(leader, "change", "", 0, False)
            elif everybody and len(leader.conf.voters) < len(self.seats):
                self.add("v")
            elif not final:
                final = f"final {number}"
                self.watch.proposed.add(final.encode().hex())
                if self.do(leader, "propose", final) != OK:
                    final = ""
            elif self.agreed(leader):
                if final.encode().hex() in self.watch.acknowledged:
                    for id in leader.conf.members:
                        self.watch.complete(self.seats[id])
                    self.counts["rounds until all agreed"] += number
                    return
                final = ""  # it was lost with an earlier leader
            self.settle(2000)
            self.encourage()
        raise Disagreement("the members do not come to agree")

    def elect(self) -> None:
        """Somebody becomes the leader: one of those who can win campaigns, and nobody else, who would only drive the
        terms ahead."""
        able = [seat for seat in self.able() if self.electable(seat)]
        if not able:
            raise Stalemate
        self.campaign(self.choice(able))

    def able(self) -> list[Seat]:
        """Those who may campaign."""
        return [seat for seat in self.up() if seat.id in {*seat.conf.voters, *seat.conf.outgoing}]

    def electable(self, seat: Seat) -> bool:
        """Whether those whose votes it needs would have no reason to refuse."""
        grants = {other.id for other in self.seats.values() if other.end <= seat.end}
        needed = [set(ids) for ids in (seat.conf.voters, seat.conf.outgoing) if ids]
        return all([len(ids & grants) * 2 > len(ids) for ids in needed])

    def encourage(self) -> None:
        """What time and the application do for those that lag behind."""
        leader = self.leader()
        if leader is None:
            return
        for id, match, state in leader.progress():
            if id == leader.id:
                continue
            if match + 1 < leader.first:
                self.do(leader, "snapshot")
            if state == SNAPSHOT:
                # Nothing is on its way any more: it was lost, or refused.
                self.do(leader, "report", id, False)
        self.ticks(leader, 1)

    def agreed(self, leader: Seat) -> bool:
        """Whether all members have come to the same, and it is all."""
        last = leader.end[1]
        for id in leader.conf.members:
            seat = self.seats[id]
            same = (seat.term, seat.lead, seat.conf.text) == (leader.term, leader.id, leader.conf.text)
            if not same or not seat.machine == seat.applied == seat.committed == seat.end[1] == last:
                return False
            if seat.role == LEADER and seat is not leader:
                raise Disagreement(f"{seat} leads beside {leader}")
        return True

    def end(self) -> None:
        """The scenarios of all members are over."""
        for seat in self.seats.values():
            seat.host.end()


def describe(flight: Flight) -> str:
    """A message in a few words."""
    text = f"{KINDS.get(flight.kind, flight.kind)} {flight.sender}->{flight.to} term {flight.term}"
    return text + (" held" if flight.held else "")
