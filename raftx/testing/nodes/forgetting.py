"""Schedules in which a member loses its memory: its directory is wiped or set back, and it is started all the same.

    python -m raftx.testing.nodes.forgetting [--schedules N] [--seed S]

Each kind of loss is met with each course of the others: with the leader staying, with another one, with everybody
restarted, and with a third member that was down. What must hold is that nothing acknowledged is lost, that no machine
is given anything else than the others, and that the member is told, ends with MemoryLost, and comes back by a rebuild.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from ...config import Config
from ...errors import MemoryLost
from ...storage.file import FileStorage
from ...storage.rebuild import rebuild
from ..invariants import Violation
from ..soak import at_least_one, seed_number
from .disks import CLUSTER, SEGMENT_BYTES, WalDisk
from .machines import COMMAND_MAX, Application
from .requests import Proposal
from .schedule import silenced
from .world import MS, World

KINDS = ("wiped", "set back", "set back by a life")
COURSES = ("leader stays", "leader changes", "all restart", "third was down")
PATIENCE = 4000  # slices until something has to have happened


class Forgetting:
    """One schedule."""

    def __init__(self, seed: int, kind: str, course: str) -> None:
        self.seed, self.kind, self.course = seed, kind, course
        self.rng = rng = random.Random(f"forgetting {seed} {kind} {course}")
        self.ids = tuple(range(1, rng.choice((3, 3, 5)) + 1))
        common: dict[str, Any] = {
            "cluster": CLUSTER,
            "tick_ms": 10,
            "election_ticks": rng.choice((5, 10)),
            "heartbeat_ticks": 1,
            "pre_vote": rng.random() < 0.7,
            "check_quorum": rng.random() < 0.7,
            "max_entry_bytes": COMMAND_MAX,
            "max_message_bytes": 4096,
            "proposal_timeout_ms": 2000,
            "snapshot_entries": rng.choice((0, 5, 20)),
            "keep_entries": rng.choice((0, 10, 100)),
        }
        configs = [Config(id=id, seed=rng.getrandbits(64), **common) for id in self.ids]
        self.world = World(seed, configs, lambda id, rng: WalDisk(id, self.ids, rng), Application())
        self.world.network.delay = rng.choice(((0, 2 * MS), (0, 20 * MS)))
        self.victim = self.third = 0
        #: what the victim's directory held at the end of each of its lives
        self.copies: list[dict[str, bytes]] = []

    def run(self) -> Counter[str]:
        """Raises Violation."""
        try:
            self.live()
            self.forget()
            self.return_()
            self.rebuild()
        except Violation as error:
            raise Violation(f"seed {self.seed}, {self.kind}, {self.course}: {error}") from error
        self.world.count()
        self.world.totals[f"{self.kind}, {self.course}"] += 1
        return self.world.totals

    # --- before --------------------------------------------------------------------------------------

    def live(self) -> None:
        """Everybody lives, the victim several times, and something is acknowledged in each of its lives."""
        world, rng = self.world, self.rng
        for id in self.ids:
            world.begin(id)
        self.until(lambda: bool(world.leader()), "there is no leader")
        self.victim = rng.choice([id for id in self.ids if id != world.leader()])
        lives = rng.randint(3, 4)
        for life in range(1, lives + 1):
            self.command(rng.randint(1, 4))
            if life == lives:
                break
            if rng.random() < 0.5:
                world.close(self.victim)
            else:
                world.crash(self.victim, power=rng.random() < 0.5)
            self.copies.append(self.disk().copy())
            if self.course == "third was down" and life == lives - 1 and rng.random() < 0.5:
                self.lose_third()  # it never hears of the victim's last life
            world.begin(self.victim)
            self.until(self.takes_part, "the victim does not take part")
        if self.course == "third was down" and not self.third:
            self.lose_third()
        # What only the leader and the victim are sure to have.
        self.command(rng.randint(1, 4))
        self.command(1)

    def lose_third(self) -> None:
        """One of the others is down from now on; of five members two are."""
        leader = self.world.leader()
        others = [id for id in self.ids if id not in (leader, self.victim)]
        self.rng.shuffle(others)
        self.third = others[0]
        for id in others[: (len(self.ids) - 1) // 2]:
            self.world.crash(id, power=self.rng.random() < 0.5)

    def takes_part(self) -> bool:
        """Whether the victim's life has begun."""
        life = self.world.members[self.victim].life
        return life is not None and not life.node.status().waits_for

    # --- the loss ------------------------------------------------------------------------------------

    def disk(self) -> WalDisk:
        """The victim's."""
        disk = self.world.members[self.victim].disk
        assert isinstance(disk, WalDisk)
        return disk

    def forget(self) -> None:
        """The victim is down, and its directory is not what it was."""
        world, rng = self.world, self.rng
        world.crash(self.victim, power=rng.random() < 0.5)
        if self.kind == "wiped":
            self.disk().put_back({})
            path, disk = self.disk().path, self.disk().disk
            FileStorage.create(
                path, id=self.victim, members=self.ids, cluster=CLUSTER, segment_bytes=SEGMENT_BYTES, disk=disk
            )
        else:
            self.disk().put_back(self.copies[-1 if self.kind == "set back by a life" else 0])
        world.checker.forgets(self.victim)

    def return_(self) -> None:
        """The victim is started with that, and the others take their course: it is recognised, and nothing is lost."""
        world, rng = self.world, self.rng
        others = [id for id in self.ids if id != self.victim]
        if self.course == "all restart":
            for id in others:
                world.crash(id, power=rng.random() < 0.5)
        elif self.course == "leader changes":
            leader = world.leader()
            if rng.random() < 0.5:
                world.transfer(leader, 0)
            else:
                world.crash(leader, power=rng.random() < 0.5)
        order = [id for id in self.ids if world.members[id].life is None]
        rng.shuffle(order)
        for id in order:
            self.pass_(rng.choice((0, 0, 1, 5)))
            self.start(id)
        self.until(lambda: self.failure() is not None, f"the victim is not recognised: {self.describe()}")
        world.totals["recognised"] += 1
        world.close(self.victim)
        self.until(lambda: bool(world.leader()), f"there is no leader: {self.describe()}")
        self.command(2)

    def start(self, id: int) -> None:
        """Start a member; the victim may end with MemoryLost."""
        self.world.begin(id)
        life = self.world.members[id].life
        if id == self.victim and life is not None:
            life.may_fail = (MemoryLost,)

    def failure(self) -> BaseException | None:
        """What the victim has ended with."""
        life = self.world.members[self.victim].life
        return life.node.failure if life is not None else None

    # --- after ---------------------------------------------------------------------------------------

    def rebuild(self) -> None:
        """The victim cannot be started again with what it has; rebuilt it can, and all agree in the end."""
        world = self.world
        storage = FileStorage(self.disk().path, disk=self.disk().disk)
        try:
            storage.open(self.victim, CLUSTER)
        except MemoryLost:
            pass
        else:
            raise Violation("the victim's directory can be opened again")
        rebuild(self.disk().path, disk=self.disk().disk)
        world.checker.forgets(self.victim)
        self.start(self.victim)
        self.end()

    def end(self) -> None:
        """Everybody takes part, all agree, and every promise was kept."""
        world = self.world
        self.command(2)
        self.until(self.agrees, f"not everybody agrees: {self.describe()}")
        world.checker.judge_ended()
        machines = {id: world.members[id].life.given for id in world.alive()}  # type: ignore[union-attr]
        world.checker.at_end(machines, {id: member.lives for id, member in world.members.items()})
        for id in world.alive():
            world.close(id)

    def agrees(self) -> bool:
        """Whether everybody has applied everything, and nobody is in doubt."""
        world = self.world
        if world.alive() != list(self.ids) or any(world.engine(id).core.in_doubt for id in self.ids):
            return False
        ends = {world.engine(id).core.log.last for id in self.ids}
        applied = {world.members[id].life.node.applied_index for id in self.ids}  # type: ignore[union-attr]
        return ends == applied and len(ends) == 1

    # --- time ----------------------------------------------------------------------------------------

    def pass_(self, slices: int) -> None:
        """Some time passes."""
        for _ in range(slices):
            self.world.slice(self.rng.choice((1, 2, 5)) * MS)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Time passes until it holds. Raises Violation."""
        limit = self.world.slices + PATIENCE
        while not condition():
            if self.world.slices > limit:
                raise Violation(what)
            self.pass_(5)

    def command(self, count: int) -> None:
        """So many commands are acknowledged, of whatever leader there is."""
        world = self.world
        done = 0
        limit = world.slices + 4 * PATIENCE
        while done < count:
            if world.slices > limit:
                raise Violation(f"nothing is acknowledged: {self.describe()}")
            if not (leader := world.leader()) or world.members[leader].life.node.failure:  # type: ignore[union-attr]
                self.pass_(5)
                continue
            world.propose(leader, 1, 20)
            request = world.checker.requests[-1]
            assert isinstance(request, Proposal)
            self.until(lambda future=request.future: future.done(), "a proposal does not end")  # type: ignore[misc]
            done += request.future.exception(timeout=0) is None
        world.totals["acknowledged"] += count

    def describe(self) -> str:
        """The members, for the text of a violation."""
        lives = {id: member.life.node for id, member in self.world.members.items() if member.life is not None}
        return "; ".join([f"{node!r} waits for {node.status().waits_for}" for node in lives.values()])


def run(seed: int, kind: str, course: str) -> Counter[str]:
    """One schedule. Raises Violation."""
    with silenced():
        return Forgetting(seed, kind, course).run()


def all_of(seed: int, schedules: int) -> Iterator[tuple[int, str, str]]:
    """So many schedules, of each kind and course in turn."""
    for number in range(schedules):
        yield seed + number, KINDS[number % len(KINDS)], COURSES[number // len(KINDS) % len(COURSES)]


def run_each(
    parser: argparse.ArgumentParser,
    arguments: list[str] | None,
    schedules: int,
    run: Callable[[int, int], Iterator[Counter[str]]],
) -> int:
    """The command of ``parser``: prints what its schedules come to. 0 when all held, 1 at a violation.

    schedules: how many, unless told otherwise. run: gives what each comes to, of a first seed and so many.
    """
    parser.add_argument("--schedules", type=at_least_one, default=schedules, help="how many")
    parser.add_argument("--seed", type=seed_number, default=0, help="the first one")
    options = parser.parse_args(arguments)
    totals: Counter[str] = Counter()
    try:
        for found in run(options.seed, options.schedules):
            totals.update(found)
    except Violation as violation:
        print(violation, flush=True)
        return 1
    except KeyboardInterrupt:
        pass
    print(", ".join(f"{name} {count:,}" for name, count in sorted(totals.items())))
    return 0


def main(arguments: list[str] | None = None) -> int:
    """0 when all held, 1 at a violation."""
    parser = argparse.ArgumentParser(
        prog="raftx.testing.nodes.forgetting",
        description="Schedules in which a member loses its memory, all kinds in turn.",
    )
    return run_each(parser, arguments, 120, lambda seed, count: (run(*schedule) for schedule in all_of(seed, count)))


if __name__ == "__main__":
    sys.exit(main())
