"""Five processes of which some see only some of the others: how soon they settle, and that no return raises a term.

    python -m tests.tools.partial_links [--runs 20] [--topologies "ring,one way"] [--seed 1] [--transport direct]

The members live in network namespaces; links are cut with iptables. The same as raftx.testing.nodes.partial, with real
sockets and disks. *Settled*: one member leads, in the highest term, everybody that it sees in both directions follows
it in that term, and a proposal on it is acknowledged. That must be so within three election timeouts (each twice
``election_ticks``), and stay so; while links flap nobody waits longer for that, once the links are back all are back
within the same time, and no return raises the term. Where nobody can be elected, because whoever sees a majority lacks
entries, that is counted. Needs root, ip and iptables. Exits with 1 when something did not hold.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import pathlib
import random
import statistics
import sys
import tempfile
import time

from tests.helpers import networks
from tests.helpers.transports import WAYS

IDS = (1, 2, 3, 4, 5)
QUORUM = 3
TICKS = {"tick_ms": 50, "election_ticks": 10}
TIMEOUT_S = 2 * TICKS["tick_ms"] * TICKS["election_ticks"] / 1000
TIMEOUTS = 3  # within which a cluster has settled
WATCHED = 3  # for which it stays so
FLAPPING_S = 12.0
FLAP_S = (0.1, 5.0)  # how long a link that flaps is there, or not
TOPOLOGIES = ("two see one", "ring", "one way", "flaps")


class Wrong(Exception):
    """Something did not hold."""


def drawn(topology, rng):
    """The directions that are cut, or, of links that flap, those that come and go together."""
    order = rng.sample(IDS, 5)
    core = order[:3]
    everything = {(a, b) for a in IDS for b in IDS if a != b}
    both = {frozenset((a, b)) for a in core for b in core if a != b}
    if topology == "two see one":
        both |= {frozenset((id, rng.choice([other for other in IDS if other != id]))) for id in order[3:]}
    elif topology == "ring":
        both = {frozenset((order[at], order[at - 1])) for at in range(5)}
    elif topology == "one way":
        return {link for link in everything if frozenset(link) not in both and rng.random() < 0.5}, core
    else:
        return [{(a, b), (b, a)} if rng.random() < 0.7 else {(a, b)} for a, b in everything
                if a < b and frozenset((a, b)) not in both], core  # fmt: skip
    return {link for link in everything if frozenset(link) not in both}, core


class Run:
    """One run on a cluster that lives on. It has all links at the beginning, and at the end."""

    def __init__(self, cluster, topology, seed):
        self.cluster = cluster
        self.members = cluster.members
        self.network = cluster.network
        self.rng = random.Random(f"{topology} {seed}")
        self.topology = topology
        self.cuts = set()

    # --- looks ---------------------------------------------------------------------------------------

    def look(self):
        """The status of each, at about the same time."""
        for member in self.members.values():
            member.pipe.send(("status",))
        return {id: member.receive("status") for id, member in self.members.items()}

    def sees(self, one, other):
        return (one, other) not in self.cuts and (other, one) not in self.cuts

    def led(self, seen):
        """The leader and its term, if there is one, who it sees follow it, and nobody is in a later term; else 0, 0."""
        leaders = [id for id, status in seen.items() if status["role"] == "leader"]
        if len(leaders) != 1:
            return 0, 0
        leader = leaders[0]
        term = seen[leader]["term"]
        if max(status["term"] for status in seen.values()) != term:
            return 0, 0
        for id, status in seen.items():
            if self.sees(id, leader) and (status["leader"], status["term"]) != (leader, term):
                return 0, 0
        return leader, term

    def commits(self, leader):
        """Whether a proposal on it is acknowledged."""
        return isinstance(self.members[leader].ask("propose", b"tried", answer="outcome"), int)

    def until_settled(self, limit):
        """Seconds that it took, leader and term; raises Wrong after ``limit``."""
        begun = time.monotonic()
        while True:
            seen = self.look()
            leader, term = self.led(seen)
            if leader and self.commits(leader) and self.led(self.look()) == (leader, term):
                return time.monotonic() - begun, leader, term
            if time.monotonic() - begun > limit:
                raise Wrong(f"not settled after {limit:.1f} s: {self.told(self.look())}")

    def told(self, seen):
        parts = [
            f"{id}: " + " ".join([f"{name} {status[name]}" for name in ("role", "term", "leader", "last", "unled")])
            for id, status in seen.items()
        ]
        return "; ".join(parts) + f"; cut {sorted(self.cuts)}"

    def electable(self, seen):
        """Members that see a majority whose logs are, as far as indexes tell, not newer than their own."""
        return [
            id for id in IDS
            if sum(self.sees(id, other) and seen[other]["last"] <= seen[id]["last"] for other in IDS) >= QUORUM
        ]  # fmt: skip

    def stays(self, leader, term, seconds):
        """For so long that one leads, in that term, and commits. Raises Wrong."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            seen = self.look()
            terms = {status["term"] for status in seen.values()}
            if seen[leader]["role"] != "leader" or max(terms) != term:
                raise Wrong(f"member {leader} does not lead term {term} any more: {self.told(seen)}")
            if not self.commits(leader):
                raise Wrong(f"member {leader} commits nothing: {self.told(seen)}")
            time.sleep(0.02)

    # --- what is done --------------------------------------------------------------------------------

    def set(self, cuts):
        self.cuts = set(cuts)
        self.network.set_links(self.cuts)

    def run(self):
        """(seconds to settle or without a leader, seconds until all were back). Raises Wrong."""
        self.until_settled(20 * TIMEOUT_S)
        what, core = drawn(self.topology, self.rng)
        if self.topology == "flaps":
            took, leader, term = self.flap(what, core)
        else:
            self.set(what)
            took, leader, term = self.until_settled((TIMEOUTS + WATCHED) * TIMEOUT_S)
            if took > TIMEOUTS * TIMEOUT_S:
                raise Wrong(f"it took {took:.2f} s to settle: {self.told(self.look())}")
            self.stays(leader, term, WATCHED * TIMEOUT_S)
            self.says(leader, term)
        self.set(())
        back, new_leader, new_term = self.until_settled((TIMEOUTS + WATCHED) * TIMEOUT_S)
        if (new_leader, new_term) != (leader, term):
            raise Wrong(f"{leader} led term {term} before the return, {new_leader} term {new_term} after it")
        if back > TIMEOUTS * TIMEOUT_S:
            raise Wrong(f"it took {back:.2f} s until all were back")
        self.stays(leader, term, TIMEOUT_S)
        return took, back

    def says(self, leader, term):
        """Who sees a member that follows, and not the leader, comes to know who leads. Raises Wrong."""
        end = time.monotonic() + TIMEOUTS * TIMEOUT_S
        while True:
            seen = self.look()
            silent = [
                id
                for id, status in seen.items()
                if id != leader
                and not status["leader"]
                and f"member {leader} leads in term {term}" not in status["unled"]
                if any(self.sees(id, other) and seen[other]["leader"] == leader for other in IDS if other != id)
            ]
            if not silent:
                return
            if time.monotonic() > end:
                raise Wrong(f"members {silent} do not say who leads: {self.told(seen)}")
            time.sleep(0.05)

    def flap(self, links, core):
        """The longest time without a leader that commits, the leader, and its term. Raises Wrong."""
        rng, now = self.rng, time.monotonic()
        phases = [[rng.uniform(*FLAP_S), now + rng.uniform(0, 1), False] for _ in links]
        end, good, longest, since = now + FLAPPING_S, now, 0.0, None
        leader = term = 0
        while True:
            now = time.monotonic()
            for phase in phases:
                if now >= phase[1]:
                    phase[1], phase[2] = now + rng.uniform(FLAP_S[0], phase[0]), not phase[2]
            cuts = set().union(*(link for link, phase in zip(links, phases, strict=True) if phase[2]))
            if cuts != self.cuts:
                self.set(cuts)
            seen = self.look()
            leaders = [id for id in IDS if seen[id]["role"] == "leader"]
            found = max(leaders, key=lambda id: seen[id]["term"], default=0)
            follow = (
                sum(seen[id]["leader"] == found and seen[id]["term"] == seen[found]["term"] for id in IDS)
                if found
                else 0
            )
            if follow >= QUORUM and self.commits(found):
                good = time.monotonic()
            longest = max(longest, time.monotonic() - good)
            if longest > TIMEOUTS * TIMEOUT_S:
                raise Wrong(f"no leader that commits for {longest:.2f} s: {self.told(seen)}")
            if leader:
                if (found, max(seen[id]["term"] for id in IDS)) != (leader, term):
                    raise Wrong(f"{leader} led term {term}, a link came back, and it does not: {self.told(seen)}")
            elif found in core and max(seen[id]["term"] for id in IDS) == seen[found]["term"]:
                since = since or now
                if now - since > TIMEOUT_S:
                    leader, term = found, seen[found]["term"]
            else:
                since = None
            if now > end and leader:
                return longest, leader, term
            if now > end + 20 * TIMEOUT_S:
                raise Wrong(f"none of the members that see each other has come to lead: {self.told(seen)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=20, help="of each topology")
    parser.add_argument("--topologies", default=",".join(TOPOLOGIES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--transport", default="direct", choices=WAYS)
    options = parser.parse_args()
    if why := networks.missing():
        print(why, file=sys.stderr)
        return 2
    wrong = 0
    with (
        tempfile.TemporaryDirectory() as directory,
        networks.Network(5) as network,
        networks.Cluster(
            network, pathlib.Path(directory), {"way": options.transport}, proposal_timeout_ms=1000, **TICKS
        ) as cluster,
    ):
        cluster.start()
        cluster.leader()
        for topology in options.topologies.split(","):
            times, backs, impossible = [], [], 0
            for seed in range(options.seed, options.seed + options.runs):
                run = Run(cluster, topology, seed)
                try:
                    took, back = run.run()
                    times.append(took)
                    backs.append(back)
                except Wrong as error:
                    seen = run.look()
                    if not any(status["leader"] for status in seen.values()) and not run.electable(seen):
                        impossible += 1
                    else:
                        wrong += 1
                        print(f"{topology}, seed {seed}: {error}", flush=True)
                finally:
                    run.set(())
            what = "longest without a leader that commits" if topology == "flaps" else "settled after"
            print(
                f"{topology}: {options.runs} runs; {what} {figures(times)}; all were back after {figures(backs)}; "
                f"nobody could be elected in {impossible}",
                flush=True,
            )
    print(f"{wrong} wrong")
    return 1 if wrong else 0


def figures(seconds):
    """Median and worst."""
    return f"{statistics.median(seconds):.2f} s, at most {max(seconds):.2f}" if seconds else "-"


if __name__ == "__main__":
    raise SystemExit(main())
