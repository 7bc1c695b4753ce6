"""Schedules in which two histories meet: most disks lost what was acknowledged, and one member still has it.

    python -m raftx.testing.nodes.contradicting [--schedules N] [--seed S]

While that member is away the others are set back, all to the same earlier time, and live on from there, until none of
their lives is one that it could recognise (docs/guarantees.md: what remains). Then it comes back. What it has committed
is not what its leader has: it must say so and end with Corruption, whatever the network does meanwhile; the others must
go on as if nothing were, and bring it up to date once it is rebuilt.
"""

from __future__ import annotations

import argparse
import functools
import random
import sys
from collections import Counter
from typing import Any

from ...config import Config
from ...errors import Corruption
from ...storage.rebuild import rebuild
from ..invariants import Violation
from .checker import NodeChecker
from .disks import CLUSTER, WalDisk
from .forgetting import PATIENCE, Forgetting, run_each
from .machines import COMMAND_MAX, Application, Given
from .schedule import silenced
from .world import MS, World

LIVES = (2, 3, 4)  # of each of the others, once they are set back: from the second on nobody can recognise them


def tells_apart(ours: list[int], committed: int, theirs: list[int]) -> bool:
    """Whether Raft's own comparison can tell that the logs are of two histories; terms by index.

    It cannot when the first difference is behind what is known here to be committed, or when both have an entry of the
    same term behind that: a term that was forgotten, and used a second time.
    """
    same = [one == other for one, other in zip(ours, theirs)]
    first = same.index(False) if False in same else len(same)
    return first <= committed and not any(same[first:])


class NewHistory(NodeChecker):
    """Judges one history, and not the member that has the other one."""

    def __init__(self, members: int, outside: int) -> None:
        super().__init__(members)
        #: the member that is not looked at; 0: all are
        self.outside = outside

    def begins(self, id: int, engine: Any) -> None:
        """Not of that member."""
        if id != self.outside:
            super().begins(id, engine)

    def crashes(self, id: int, engine: Any) -> None:
        """Likewise."""
        if id != self.outside:
            super().crashes(id, engine)

    def after_round(self, id: int, engine: Any) -> None:
        """Likewise."""
        if id != self.outside:
            super().after_round(id, engine)

    def after_apply(self, id: int, engine: Any, given: Given) -> None:
        """Likewise."""
        if id != self.outside:
            super().after_apply(id, engine, given)


class Contradicting(Forgetting):
    """One schedule. The victim is the member that has the other history."""

    def __init__(self, seed: int) -> None:
        self.seed, self.kind, self.course = seed, "contradiction", ""
        self.rng = rng = random.Random(f"contradicting {seed}")
        self.ids = tuple(range(1, rng.choice((3, 3, 5)) + 1))
        common: dict[str, Any] = {
            "cluster": CLUSTER,
            "tick_ms": 10,
            "election_ticks": rng.choice((5, 10, 20)),
            "heartbeat_ticks": rng.choice((1, 1, 3)),
            "pre_vote": rng.random() < 0.7,
            "check_quorum": rng.random() < 0.7,
            "max_entry_bytes": COMMAND_MAX,
            "max_message_bytes": rng.choice((0, 100, 4096)),
            "proposal_timeout_ms": 2000,
            # A snapshot of the other history would take the place of this one.
            "snapshot_entries": 0,
        }
        configs = [Config(id=id, seed=rng.getrandbits(64), **common) for id in self.ids]
        self.world = World(seed, configs, lambda id, rng: WalDisk(id, self.ids, rng), Application())
        self.world.network.delay = rng.choice(((0, 2 * MS), (0, 20 * MS)))
        self.victim = rng.choice(self.ids)
        self.found = False
        self.others = [id for id in self.ids if id != self.victim]

    def run(self) -> Counter[str]:
        """Raises Violation."""
        try:
            self.live()
            self.forget()
            self.return_()
            if not self.found:
                return self.world.totals
            self.rebuild()
        except Violation as error:
            raise Violation(f"seed {self.seed}, two histories: {error}") from error
        self.world.count()
        return self.world.totals

    def live(self) -> None:
        """Everybody lives; from some time on only the victim will know what was acknowledged."""
        world, rng = self.world, self.rng
        for early in (True, False):
            for id in self.ids:
                world.begin(id)
            self.command(rng.randint(0, 6) if early else rng.randint(1, 12))
            commit = max([world.engine(id).core.committed for id in self.ids])
            self.until(functools.partial(self.has_committed, commit), "the victim does not catch up")
            if not early:
                self.terms = self.terms_of(self.victim)[: commit + 1]
            for id in self.ids:
                world.crash(id, power=rng.random() < 0.5)
            if early:
                self.early = {id: self.disk_of(id).copy() for id in self.others}

    def next_term(self) -> None:
        """Another one of the others is to lead."""
        leader = self.world.leader()
        if leader:
            self.world.transfer(leader, self.rng.choice([id for id in self.others if id != leader]))
        self.pass_(20)

    def term(self) -> int:
        """The present one, of the others."""
        return max([int(self.world.engine(id).core.term) for id in self.others])

    def terms_of(self, id: int) -> list[int]:
        """The terms of a member's log from index 0 on."""
        log = self.world.engine(id).core.log
        return [0, *[entry.term for entry in (log.entries(1, log.last) if log.last else [])]]

    def has_committed(self, index: int) -> bool:
        """Whether the victim knows that entry to be committed."""
        return bool(self.core().committed >= index)

    def core(self) -> Any:
        """The victim's."""
        return self.world.engine(self.victim).core

    def disk_of(self, id: int) -> WalDisk:
        """A member's."""
        disk = self.world.members[id].disk
        assert isinstance(disk, WalDisk)
        return disk

    def forget(self) -> None:
        """The others are set back and live on: their log ends in a later term than the victim's."""
        world, rng = self.world, self.rng
        for id in self.others:
            self.disk_of(id).put_back(self.early[id])
        world.checker = NewHistory(len(self.ids), self.victim)
        for life in range(lives := rng.choice(LIVES)):
            for id in self.others:
                world.begin(id)
            # They have forgotten terms, too, and may use them a second time: that nobody can see. So most do not.
            while rng.random() < 0.9 and self.term() <= self.terms[-1]:
                self.next_term()
            self.command(rng.randint(0, 4) if life < lives - 1 else rng.randint(1, 12))
            if life < lives - 1:
                for id in self.others:
                    world.crash(id, power=rng.random() < 0.5)
        # Else the victim would lead.
        limit = world.slices + 10 * PATIENCE
        while self.term() <= self.terms[-1]:
            if world.slices > limit:
                raise Violation("the others come to no later term")
            self.next_term()
            self.command(1)

    def return_(self) -> None:
        """The victim comes back: it ends, and says why; the others go on."""
        world, rng = self.world, self.rng
        world.network.loss = rng.choice((0.0, 0.0, 0.1))
        theirs = self.terms_of(world.leader() or self.others[0])
        world.begin(self.victim)
        life = world.members[self.victim].life
        assert life is not None
        if not tells_apart(self.terms_of(self.victim), self.core().committed, theirs):
            world.totals["not to be told apart"] += 1
            return
        self.found = True
        life.may_fail = (Corruption,)
        while life.node.failure is None:
            self.until(lambda: life.node.failure is not None or rng.random() < 0.02, "")
            if rng.random() < 0.1:
                self.command(1)
            if world.slices > 20_000:
                raise Violation(f"the victim goes on: {self.describe()}: {life.node.status().diverged!r}")
        if not isinstance(life.node.failure, Corruption) or "as a new cluster" not in str(life.node.failure):
            raise Violation(f"the victim has ended with {life.node.failure!r}")
        world.network.loss = 0.0
        world.totals["contradictions found"] += 1
        world.close(self.victim)
        self.until(lambda: bool(world.leader()), f"there is no leader: {self.describe()}")
        self.command(2)

    def rebuild(self) -> None:
        """Rebuilt, the victim takes part again, and all agree."""
        world = self.world
        assert isinstance(world.checker, NewHistory)
        rebuild(self.disk().path, accept_loss=True, disk=self.disk().disk)
        world.checker.outside = 0
        world.begin(self.victim)
        self.end()


def run(seed: int) -> Counter[str]:
    """One schedule. Raises Violation."""
    with silenced():
        return Contradicting(seed).run()


def main(arguments: list[str] | None = None) -> int:
    """0 when all held, 1 at a violation."""
    parser = argparse.ArgumentParser(
        prog="raftx.testing.nodes.contradicting", description="Schedules in which two histories meet."
    )
    return run_each(parser, arguments, 100, lambda seed, count: map(run, range(seed, seed + count)))


if __name__ == "__main__":
    sys.exit(main())
