"""Schedules in which members see only some of the others: who leads, how soon, and what becomes of the term.

    python -m raftx.testing.nodes.partial [--seeds N] [--seed S] [--topology NAME] [--log]

Five members live in full view of each other, most of them under load; in some schedules two of them lag behind. Then
links are cut as a topology has it. What must hold, within three election timeouts and for as long as it lasts: the
cluster is settled. *Settled*: exactly one member leads, it has the highest term, has committed an entry of it, and
under load what came after the cut, and everybody to whom its frames come follows it in its term. A timeout is the
longest that a follower waits, twice ``election_ticks``. A leader that keeps a majority stays, in its term. Once it is
settled the term stays: while the links are cut, and when they come back, at once or one by one.

Raft cannot settle everything. Who is to be elected must see a majority of members whose logs are not newer than its
own, in both directions. Where nobody does, and nobody leads, the schedule counts as "nobody can be elected", and the
members have to say what is wrong. Links that flap are judged while they flap: three members that see each other all the
time never are without a leader for longer, and once one of them has led for a timeout, the term stays. (Whoever asked
for pre-votes just before it was elected may have got them, and campaign: that is the end of an election, no return.)
Once all links are back to members of which none led, five campaign at a time and may split their votes; then three
timeouts are mostly enough, and that is counted.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import random
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from ...config import Config
from ...types import FOLLOWER, LEADER
from ..invariants import Violation
from ..soak import at_least_one, seed_number
from .disks import CLUSTER, WalDisk
from .machines import COMMAND_MAX, Application
from .requests import Proposal
from .schedule import silenced
from .world import MS, World

IDS = (1, 2, 3, 4, 5)
QUORUM = 3
TIMEOUTS = 3  # within which a cluster has settled
SPLIT = 8  # or, where five members have campaigned alone, and may split their votes several times once they meet
WATCHED = 3  # timeouts for which it has to stay so, at least
LEAST = 4.5  # timeouts after which whoever misses its leader has said so
LEADER_GONE = 0.3  # how often the leader is cut off altogether, in topologies in which another one can be elected
TOPOLOGIES = ("two see one", "ring", "one way", "flaps", "flaps everywhere", "star", "chain")
PATIENCE = 4000  # slices until something has to have happened
#: which of five members see each other
SHAPES = {
    "ring": ((0, 1), (1, 2), (2, 3), (3, 4), (4, 0)),
    "star": ((0, 1), (0, 2), (0, 3), (0, 4)),
    "chain": ((0, 1), (1, 2), (2, 3), (3, 4)),
}
FLAP_MS = (100, 5000)  # how long a link that flaps is there, or not

Links = set[tuple[int, int]]


class Flap:
    """A link, or one direction of it, that comes and goes. Each phase is drawn anew."""

    def __init__(self, links: Links, rng: random.Random) -> None:
        self.links = links
        self.rng = rng
        self.until = 0
        self.there = True
        #: how long the phases of this one are, about
        self.most = rng.randint(*FLAP_MS)

    def pass_(self, now: int, cuts: Links) -> bool:
        """Time passes: whether the link has come back just now."""
        if now < self.until:
            return False
        self.there = not self.there
        self.until = now + self.rng.randint(FLAP_MS[0], self.most) * MS
        if self.there:
            cuts -= self.links
        else:
            cuts |= self.links
        return self.there


class Partial:
    """One schedule."""

    def __init__(self, seed: int, topology: str) -> None:
        self.seed, self.topology = seed, topology
        self.rng = rng = random.Random(f"partial {seed} {topology}")
        tick_ms = rng.choice((20, 50))
        common: dict[str, Any] = {
            "cluster": CLUSTER,
            "tick_ms": tick_ms,
            "election_ticks": rng.choice((10, 10, 20)),
            "heartbeat_ticks": rng.choice((1, 1, 2)),
            "max_entry_bytes": COMMAND_MAX,
            "proposal_timeout_ms": 2000,
            "max_message_bytes": 1 << 16,
            "snapshot_entries": rng.choice((0, 20)),
        }
        configs = [Config(id=id, seed=rng.getrandbits(64), **common) for id in IDS]
        self.world = World(seed, configs, lambda id, rng: WalDisk(id, IDS, rng), Application())
        self.world.checker.begins_with(IDS)
        self.world.network.delay = rng.choice(((0, 2 * MS), (0, 20 * MS)))
        self.cuts = self.world.network.cuts
        #: of time that passes at once; half of an election timeout, which the settings call so; the longest a member
        #: waits, by a clock that is a tenth slow
        self.step = tick_ms * MS // 2
        self.shortest = configs[0].election_ticks * tick_ms * MS
        self.timeout = 2 * self.shortest * 10 // 9
        #: members that see each other all the time, in topologies that have some
        self.core: tuple[int, ...] = ()
        self.flaps: list[Flap] = []
        #: how often a command comes; the last entry of anybody when the links were cut, where some come
        self.rate = rng.choice((0.3, 0.3, 0.0))
        self.cut_at = 0

    def run(self) -> Counter[str]:
        """Raises Violation."""
        try:
            self.live()
            self.draw()
            if self.flaps:
                self.flap()
            else:
                self.stay()
            self.end()
        except Violation as error:
            raise Violation(f"seed {self.seed}, {self.topology}: {error}") from error
        self.world.count()
        return self.world.totals

    # --- before --------------------------------------------------------------------------------------

    def live(self) -> None:
        """Everybody lives, somebody leads; some lag behind."""
        world, rng = self.world, self.rng
        for id in IDS:
            world.begin(id)
        self.until(lambda: bool(world.leader()), "there is no leader")
        wanted = rng.choice(IDS)
        if world.leader() != wanted:
            world.transfer(world.leader(), wanted)
        self.until(lambda: self.settled(0) and not self.hands_over(), "it does not settle with all links")
        self.pass_(rng.randint(0, 40))
        if rng.random() < 0.5:
            # Two do not hear the leader for less than it takes to miss it: their logs are shorter.
            leader = world.leader()
            for id in rng.sample([id for id in IDS if id != leader], rng.randint(1, 2)):
                self.cuts |= {(leader, id)}
            self.pass_(self.shortest // self.step // 2)
            self.cuts.clear()

    def draw(self) -> None:
        """Cut what the topology cuts."""
        rng = self.rng
        order = list(IDS)
        rng.shuffle(order)
        if self.topology == "two see one":
            # Each of the last two sees one other member, perhaps the same, perhaps each other.
            self.core = tuple(order[:3])
            seen = {frozenset(pair) for pair in pairs(self.core)}
            seen |= {frozenset((id, rng.choice([other for other in IDS if other != id]))) for id in order[3:]}
            self.cut(lambda a, b: frozenset((a, b)) in seen)
        elif self.topology in SHAPES:
            near = {frozenset((order[a], order[b])) for a, b in SHAPES[self.topology]}
            gone = self.world.leader() if rng.random() < LEADER_GONE else 0
            self.cut(lambda a, b: gone not in (a, b) and frozenset((a, b)) in near)
        elif self.topology == "one way":
            self.core = tuple(order[:3]) if rng.random() < 0.5 else ()
            chances = rng.choice((0.2, 0.5))
            lost = {(a, b) for a in IDS for b in IDS if rng.random() < chances}
            self.cut(lambda a, b: (a, b) not in lost or (a in self.core and b in self.core))
        else:
            self.core = tuple(order[:3]) if self.topology == "flaps" else ()
            loose = [pair for pair in pairs(IDS) if not {*pair} <= {*self.core}]
            for a, b in loose:
                way = rng.random()
                links = {(a, b), (b, a)} if way < 0.6 else {(a, b)} if way < 0.8 else {(b, a)}
                self.flaps.append(Flap(links, rng))
        if self.rate:
            self.cut_at = max(self.engine(id).core.log.last for id in IDS)

    def cut(self, sees: Callable[[int, int], bool]) -> None:
        """Cut all directions but those of which ``sees`` says that they are there."""
        self.cuts |= {(a, b) for a in IDS for b in IDS if a != b and not sees(a, b)}

    # --- links that stay cut -------------------------------------------------------------------------

    def stay(self) -> None:
        """The cluster settles, stays so, and stays so when the links come back."""
        world = self.world
        began = world.now
        leader = world.leader()
        term = self.engine(leader).core.term if leader else 0
        keeps = leader and sum(self.sees(leader, other) for other in IDS) >= QUORUM
        since = self.watch(WATCHED, LEAST)
        if not since:
            self.stuck()
            self.return_(0)
            return
        if keeps:
            self.stays(leader, term)
            world.totals["leaders that kept a majority, and stayed"] += 1
        took = (since - began) / self.timeout
        world.totals["settled"] += 1
        world.totals[f"settled within {tenths(took)} timeouts"] += 1
        if took > TIMEOUTS:
            raise Violation(f"it took {took:.2f} election timeouts to settle: {self.describe()}")
        self.told(world.leader())
        self.return_(world.leader())

    def watch(self, enough: float, least: float = 0, most: float = TIMEOUTS + WATCHED) -> int:
        """Let time pass: since when the cluster has been settled without a break; 0: it is not.

        Until it has been so for ``enough`` timeouts, and ``least`` have passed in all; or ``most`` have.
        """
        world = self.world
        since, began = 0, world.now
        term = 0
        while world.now < began + self.timeout * most:
            if since and world.now > max(since + enough * self.timeout, began + least * self.timeout):
                break
            self.pass_(1)
            if not self.settled(self.cut_at):
                since = 0
                continue
            now = self.engine(world.leader()).core.term
            if not since or now != term:
                since, term = world.now, now
        return since

    def stuck(self) -> None:
        """It has not settled: then nobody can be elected, and everybody says what is wrong."""
        world = self.world
        if world.leader():
            raise Violation(f"member {world.leader()} leads, and it is not settled: {self.describe()}")
        for id in IDS:
            if self.electable(id):
                raise Violation(f"member {id} could be elected and was not: {self.describe()}")
        world.totals["nobody can be elected"] += 1
        self.told(0)

    def told(self, leader: int) -> None:
        """Who knows no leader says why, and whom it hears of; the others say nothing."""
        for id in IDS:
            said = self.said(id)
            if leader and (id == leader or self.follows(id, leader)):
                if said:
                    raise Violation(f"member {id} knows its leader, and says: {said}")
                continue
            hears = [other for other in IDS if other not in (id, leader) and self.sees(id, other)]
            what = "this member has known no leader"
            if any(self.follows(other, leader) for other in hears if leader):
                what = f"member {leader} leads in term {self.engine(leader).core.term}"
                self.world.totals["told of a leader that it cannot reach"] += 1
            if what not in said:
                raise Violation(f"member {id} does not say {what!r}, but {said!r}: {self.describe()}")
            self.world.totals["told without a leader"] += 1

    def electable(self, id: int) -> bool:
        """Whether a member sees a majority, itself included, whose logs are not newer than its own."""
        own = self.log_of(id)
        return sum(self.sees(id, other) and self.log_of(other) <= own for other in IDS) >= QUORUM

    def log_of(self, id: int) -> tuple[int, int]:
        """The term and the index at which a member's log ends."""
        log = self.engine(id).core.log
        return log.py_term(log.last), log.last

    def sees(self, one: int, other: int) -> bool:
        """Whether frames pass between the two in both directions."""
        return (one, other) not in self.cuts and (other, one) not in self.cuts

    def return_(self, leader: int) -> None:
        """The links come back. ``leader``: it leads, and goes on in its term; 0: somebody is to."""
        world, rng = self.world, self.rng
        term = max(self.engine(id).core.term for id in IDS)
        if leader and term != self.engine(leader).core.term:
            raise Violation(f"somebody is in term {term}, and the leader in an earlier one: {self.describe()}")
        links = sorted(self.cuts)
        rng.shuffle(links)
        one_by_one = rng.random() < 0.5
        while links:
            self.cuts.discard(links.pop())
            if one_by_one:
                self.pass_(rng.choice((0, 1, 10)))
                self.stays(leader, term)
        began = world.now
        most = TIMEOUTS if leader else SPLIT
        since = self.watch(1, most=most + 1)
        took = (since - began) / self.timeout
        if not since or took > most:
            raise Violation(f"it does not settle once all links are there: {self.describe()}")
        self.stays(leader, term)
        for id in IDS:
            if said := self.said(id):
                raise Violation(f"member {id} knows its leader again, and says: {said}")
        world.totals["returns without a new term"] += bool(leader)
        world.totals["settled after the return"] += not leader
        world.totals["settled after split votes"] += took > TIMEOUTS

    def stays(self, leader: int, term: int) -> None:
        """Whether that one leads still, in that term, and nobody is in another one."""
        terms = {id: int(self.engine(id).core.term) for id in IDS}
        if leader and (self.world.leader() != leader or max(terms.values()) != term):
            raise Violation(f"leader {leader} had term {term}, and somebody raised it: {terms}; {self.describe()}")

    # --- links that flap -----------------------------------------------------------------------------

    def flap(self) -> None:
        """Links come and go; what must hold meanwhile holds for members that see each other all the time."""
        world, rng = self.world, self.rng
        end = world.now + rng.choice((10, 20)) * 1000 * MS
        good = held = world.now
        leader = term = 0
        longest = 0
        while world.now < end:
            for flap in self.flaps:
                world.totals["links that came back"] += flap.pass_(world.now, self.cuts)
            self.pass_(1)
            if leader:
                self.stays(leader, term)
                world.totals["slices with a leader in the core"] += 1
            if not self.core:
                continue
            if self.leads_most():
                good = world.now
            longest = max(longest, world.now - good)
            if longest > TIMEOUTS * self.timeout:
                raise Violation(f"no leader for {longest / self.timeout:.2f} election timeouts: {self.describe()}")
            if leader:
                continue
            held = held if self.holds() else world.now
            if world.now - held > self.timeout:
                leader = world.leader()
                term = self.engine(leader).core.term
        if self.core:
            world.totals[f"without a leader for {tenths(longest / self.timeout)} timeouts at most"] += 1
        world.totals["settled"] += bool(leader)
        self.return_(leader)

    def leads_most(self) -> bool:
        """Whether somebody leads with a majority that follows, and has committed in its term."""
        world = self.world
        leader = world.leader()
        if not leader or not in_term(self.engine(leader).core):
            return False
        return self.followers(leader) + 1 >= QUORUM

    def holds(self) -> bool:
        """Whether a member of the core leads, the others of it follow, and nobody has come to a later term."""
        world = self.world
        leader = world.leader()
        if leader not in self.core or not self.leads_most():
            return False
        core = self.engine(leader).core
        if max(self.engine(id).core.term for id in IDS) != core.term:
            return False
        return all(id == leader or self.follows(id, leader) for id in self.core)

    # --- looks ---------------------------------------------------------------------------------------

    def engine(self, id: int) -> Any:
        """A member's."""
        return self.world.engine(id)

    def said(self, id: int) -> str:
        """Why a member knows no leader, as its status has it."""
        node: Any = self.world.members[id].life.node  # type: ignore[union-attr]
        return str(node._parts.unled())

    def follows(self, id: int, leader: int) -> bool:
        """Whether a member follows another one, in its term."""
        core = self.engine(id).core
        return bool(core.role == FOLLOWER and core.lead == leader and core.term == self.engine(leader).core.term)

    def hands_over(self) -> bool:
        """Whether the leader is about to hand leadership over."""
        return bool(self.engine(self.world.leader()).core.transferee)

    def followers(self, leader: int) -> int:
        """How many do."""
        return sum(id != leader and self.follows(id, leader) for id in IDS)

    def settled(self, after: int) -> bool:
        """As above. ``after``: an entry behind which it has committed something."""
        leaders = [id for id in IDS if self.engine(id).core.role == LEADER]
        if len(leaders) != 1:
            return False
        leader = leaders[0]
        core = self.engine(leader).core
        if core.committed <= after or not in_term(core):
            return False
        if max(self.engine(id).core.term for id in IDS) != core.term:
            return False
        return all(id == leader or (leader, id) in self.cuts or self.follows(id, leader) for id in IDS)

    def describe(self) -> str:
        """The members and what is cut, for the text of a violation."""
        parts = [f"{self.engine(id).core!r} log {self.log_of(id)}" for id in IDS]
        return f"{'; '.join(parts)}; cut: {sorted(self.cuts)}"

    # --- time ----------------------------------------------------------------------------------------

    def pass_(self, slices: int) -> None:
        """Some time passes, and commands come, mostly to who leads."""
        for _ in range(slices):
            if self.rng.random() < self.rate:
                leader = self.world.leader() if self.rng.random() < 0.8 else 0
                self.world.propose(leader or self.rng.choice(IDS), 1, 20)
            self.world.slice(self.step)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Time passes until it holds. Raises Violation."""
        limit = self.world.slices + PATIENCE
        while not condition():
            if self.world.slices > limit:
                raise Violation(f"{what}: {self.describe()}")
            self.pass_(1)

    def end(self) -> None:
        """All agree, and every promise was kept."""
        world = self.world
        asked = len(world.checker.requests)
        self.rate = 0.3
        self.until(lambda: self.agrees(asked), "not everybody agrees")
        world.checker.judge_ended()
        machines = {id: world.members[id].life.given for id in IDS}  # type: ignore[union-attr]
        world.checker.at_end(machines, {id: member.lives for id, member in world.members.items()})
        for id in IDS:
            world.close(id)

    def agrees(self, asked: int) -> bool:
        """Whether everything that was proposed has ended, some of what came late is done, and all have it."""
        requests = self.world.checker.requests
        late = [request for request in requests[asked:] if isinstance(request, Proposal) and request.ended]
        if not any(request.future.exception(timeout=0) is None for request in late):
            return False
        for _ in range(PATIENCE):
            if all(request.ended for request in requests):
                break
            self.world.slice(self.step)
        self.world.slice(20 * self.step)
        ends = {self.engine(id).core.log.last for id in IDS}
        applied = {self.world.members[id].life.node.applied_index for id in IDS}  # type: ignore[union-attr]
        return ends == applied and len(ends) == 1


def pairs(ids: tuple[int, ...]) -> list[tuple[int, int]]:
    """Each two of them, once."""
    return [(a, b) for a in ids for b in ids if a < b]


def in_term(core: Any) -> bool:
    """Whether a member knows an entry of its term to be committed."""
    return bool(core.log.py_term(core.committed) == core.term)


def tenths(timeouts: float) -> str:
    """The next half of a timeout, as text that sorts."""
    return f"{-(-timeouts // 0.5) * 0.5:.1f}"


def run(seed: int, topology: str, *, log: bool = False) -> Counter[str]:
    """One schedule. Raises Violation. log: write what the nodes log."""
    with contextlib.nullcontext() if log else silenced():
        return Partial(seed, topology).run()


def main(arguments: list[str] | None = None) -> int:
    """0 when all held, 1 at a violation."""
    parser = argparse.ArgumentParser(
        prog="raftx.testing.nodes.partial", description="Schedules in which members see only some of the others."
    )
    parser.add_argument("--seeds", type=at_least_one, default=100, help="how many of each topology")
    parser.add_argument("--seed", type=seed_number, default=0, help="the first one")
    parser.add_argument("--topology", choices=TOPOLOGIES, help="only this one")
    parser.add_argument("--log", action="store_true", help="show what the nodes log")
    options = parser.parse_args(arguments)
    if options.log:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    for topology in [options.topology] if options.topology else TOPOLOGIES:
        totals: Counter[str] = Counter()
        for seed in range(options.seed, options.seed + options.seeds):
            try:
                totals.update(run(seed, topology, log=options.log))
            except Violation as violation:
                again = f"python -m raftx.testing.nodes.partial --seeds 1 --seed {seed} --topology '{topology}' --log"
                print(f"{violation}\n{again}")
                return 1
        told = [f"{name} {count:,}" for name, count in sorted(totals.items()) if count and name.split()[0] in TOLD]
        print(f"{topology}: {options.seeds} seeds; {', '.join(told)}", flush=True)
    return 0


#: first words of what is told of a topology, of all that is counted
TOLD = ("settled", "without", "nobody", "returns", "links", "told", "leaders")

if __name__ == "__main__":
    sys.exit(main())
