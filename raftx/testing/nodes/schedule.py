"""Random schedules of simulated nodes: what is done to them, until a phase without faults in which all come back.

``run(seed)`` is one schedule. It raises Violation, whose text begins with the seed. The same seed takes the same steps
in both modes.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ...config import Config
from ...errors import UsageError
from ...node.outside import Rows
from ..invariants import Violation
from ..seeds import check_seed
from .churn import Churn
from .disks import CLUSTER, Disk, PlainDisk, WalDisk
from .machines import COMMAND_MAX, Application, ToldToFail, WrongApplication
from .requests import Proposal
from .world import MS, World

SLICES = (60, 260)  # of the part with faults
LIVES_AGAIN = 6000  # slices until everybody has come back and agrees
SLOW = 10_000  # bytes a second: where a snapshot comes more slowly, the next one may be due before it is there


@dataclass
class Result:
    """What a schedule came to."""

    seed: int
    trace: int
    totals: Counter[str]


class Schedule:
    """One schedule: draws settings and faults, and does them to a world."""

    def __init__(
        self,
        seed: int,
        make_disk: Callable[[int, random.Random], Disk] | None = None,
        application: Application | None = None,
    ) -> None:
        if make_disk is not None and not callable(make_disk):
            raise UsageError(f"make_disk must be None or a function of an id and a random source, not {make_disk!r}")
        if application is not None and not isinstance(application, Application):
            raise WrongApplication(f"application must be an Application, not {application!r}")
        self.seed = check_seed(seed)
        self.rng = rng = random.Random(f"nodes {seed}")
        #: of what people do with damaged directories; drawn apart, so that the rest of a seed is what it was
        self.hands = random.Random(f"hands {seed}")
        self.count = rng.choice((1, 2, 3, 3, 3, 3, 3, 4, 5, 5))
        self.ids = tuple(range(1, self.count + 1))
        plain = rng.random() < 0.1
        #: disks fill up and become empty again all the time, and there is much to write
        self.tight = random.Random(f"full {seed}").random() < 0.1

        #: the leader that was isolated last
        self.isolated = 0
        #: in some schedules members are preferred to others
        prefers = random.Random(f"priorities {seed}")
        one_sided = prefers.random() < 0.3
        self.priorities = {id: prefers.randint(0, 2) if one_sided else 0 for id in self.ids}

        def disk(id: int, rng: random.Random) -> Disk:
            return PlainDisk(self.ids, rng) if plain else WalDisk(id, self.ids, rng)

        self.world = World(seed, self.draw_settings(), make_disk or disk, application or Application())
        self.world.checker.begins_with(self.ids)
        #: members that come and go
        self.churn = Churn(seed, self.world, not plain and make_disk is None)
        few = random.Random(f"rows {seed}")
        if few.random() < 0.5:
            # Queues that are often full.
            self.world.rows = Rows(few.choice((32, 48)), few.choice((1, 2)), few.choice((1, 4)))

    def draw_settings(self) -> list[Config]:
        """Settings that make what is seldom frequent: small windows, budgets and caps."""
        rng = self.rng
        common: dict[str, Any] = {
            "cluster": CLUSTER,
            "tick_ms": 10,
            "election_ticks": rng.choice((5, 10, 10)),
            "heartbeat_ticks": rng.choice((1, 2)),
            "pre_vote": rng.random() < 0.7,
            "check_quorum": rng.random() < 0.7,
            "max_message_bytes": rng.choice((0, 200, 4096, 1 << 16)),
            "max_inflight_messages": rng.choice((1, 2, 8, 256)),
            "max_entry_bytes": COMMAND_MAX,
            "max_inflight_bytes": 1 << 16,
            "max_uncommitted_bytes": rng.choice((300, 4096, 1 << 20)),
            "max_waiting_bytes": rng.choice((4096, 1 << 20)),
            "max_open_proposals": rng.choice((8, 100, 10_000)),
            "max_apply_bytes": rng.choice((100, 2000, 1 << 20)),
            "proposal_timeout_ms": rng.choice((300, 1000, 4000)),
            "forward_proposals": rng.random() < 0.9,
            "batch_append": rng.random() < 0.2,
        }
        # Drawn apart, so that what a seed does without snapshots it does with them.
        keeps = random.Random(f"snapshots {self.seed}")
        common["snapshot_entries"] = keeps.choice((0, 2, 5, 10, 20, 40))
        common["keep_entries"] = keeps.choice((0, 0, 2, 10, 100))
        common["max_log_bytes"] = keeps.choice((500, 20_000, 1 << 20))
        if keeps.random() < 0.2:
            # Nothing stays: whoever is behind by an entry needs a snapshot.
            common["keep_entries"] = common["max_log_bytes"] = 0
        if self.tight and keeps.random() < 0.7:
            # Segments that are used again need no room.
            common["snapshot_entries"] = 0
        # A chunk that takes a second is one during which much may happen to its source.
        common["snapshot_bytes_per_second"] = keeps.choice((0, 2_000, 4_000, 100_000))
        return [Config(id=id, seed=rng.getrandbits(64), priority=self.priorities[id], **common) for id in self.ids]

    def run(self) -> Result:
        """Begin, be disturbed, and come back. Raises Violation."""
        try:
            for id in self.ids:
                if not self.world.begin(id):
                    raise Violation(f"node {id} does not begin")
            for _ in range(self.rng.randint(*SLICES)):
                self.disturb()
                self.world.slice(self.rng.choice((1, 2, 5, 10)) * MS)
            self.come_back()
        except Violation as error:
            raise Violation(f"seed {self.seed}: {error}") from error
        except WrongApplication as error:
            raise WrongApplication(f"seed {self.seed}: {error}") from error
        except Exception as error:
            # Nothing that a schedule does may raise this.
            raise Violation(f"seed {self.seed}: {type(error).__name__}: {error}") from error
        self.world.count()
        self.world.totals["elections"] += self.world.checker.elections
        self.world.totals["entries with a time"] += sum(time > 0 for time in self.world.checker.times.values())
        model = self.world.checker.model
        self.world.totals["commands of sessions"] += model.applied
        self.world.totals["entries of sessions refused"] += model.refused
        self.world.totals["sessions expired"] += model.expired
        self.world.totals["truncated logs"] += self.world.checker.truncations
        return Result(self.seed, self.world.trace, self.world.totals)

    # --- what is done --------------------------------------------------------------------------------

    def disturb(self) -> None:
        """Perhaps something happens."""
        rng, world = self.rng, self.world
        alive = world.alive()
        leader = world.leader()
        if alive and rng.random() < (0.5 if leader else 0.05):
            id = leader if rng.random() < 0.6 else 0
            world.propose(id or rng.choice(alive), rng.choice((1, 1, 1, 2, 7)), rng.choice((10, 10, 100, 1500)))
        if alive and world.users.random() < 0.3:
            reader = world.users.choice(alive)
            if self.isolated in alive and world.levels.random() < 0.7:
                reader = self.isolated
            world.read(reader)
        if leader and self.count > 2 and world.levels.random() < 0.015:
            self.isolate(leader)
        if alive and world.levels.random() < 0.04:
            world.barrier(world.levels.choice(alive))
        world.of_sessions.act(world)
        self.churn.disturb()
        if self.tight:
            self.fill_disks()
        if rng.random() < 0.06:
            self.disturb_network()
        if rng.random() < 0.06:
            self.disturb_nodes()
        for id in world.down():
            if rng.random() < 0.08:
                world.begin(id)
        for id, member in world.members.items():
            if member.refused and self.hands.random() < 0.05:
                world.rebuild(id, self.hands)

    def isolate(self, id: int) -> None:
        """A leader stands still while another one may be elected, and hears of nothing when it goes on: it is read."""
        world = self.world
        self.isolated = id
        world.members[id].paused_until = world.slices + world.levels.randint(10, 60)
        for other in world.members:
            if other != id:
                world.network.cuts |= {(id, other), (other, id)}
        world.totals["isolated leaders"] += 1

    def fill_disks(self) -> None:
        """Large proposals, and a disk that is full for a while: of the leader, if possible."""
        rng, world = self.rng, self.world
        leader = world.leader()
        if leader and rng.random() < 0.6:
            world.propose(leader if rng.random() < 0.7 else rng.choice(world.alive()), 7, 1500)
        disk = world.members[leader if leader and rng.random() < 0.5 else rng.choice(self.ids)].disk
        if isinstance(disk, WalDisk) and rng.random() < 0.06:
            disk.fill(rng.choice((20, 60, 200)))
            world.totals["disks filled"] += 1

    def disturb_network(self) -> None:
        rng, network = self.rng, self.world.network
        what = rng.random()
        if what < 0.35:
            network.heal()
        elif what < 0.6:
            # One way or both, one pair or one member from all.
            one = rng.choice(self.ids)
            others = [rng.choice(self.ids)] if rng.random() < 0.5 else list(self.ids)
            for other in others:
                if other != one:
                    network.cuts.add((one, other))
                    if rng.random() < 0.6:
                        network.cuts.add((other, one))
            self.world.totals["cuts"] += 1
        elif what < 0.8:
            network.delay = rng.choice(((0, 5 * MS), (0, 40 * MS), (20 * MS, 200 * MS)))
        else:
            network.loss = rng.choice((0.0, 0.05, 0.4))
            network.repeat = rng.choice((0.0, 0.1, 0.4))

    def disturb_nodes(self) -> None:
        rng, world = self.rng, self.world
        alive = world.alive()
        if not alive:
            return
        id = world.leader() if rng.random() < 0.4 else 0
        id = id or rng.choice(alive)
        member = world.members[id]
        node = member.life.node if member.life is not None else None
        what = rng.random()
        if node is None:
            return
        if what < 0.3:
            world.crash(id, power=rng.random() < 0.6)
            damaged = sum(each.disk.damaged for each in world.members.values())
            if (
                rng.random() < 0.15
                and not self.churn.active
                and not member.disk.damaged
                and damaged < (self.count - 1) // 2
            ):
                member.disk.damage(rng, world.totals)
        elif what < 0.36:
            # What was proposed just before may not be looked at any more.
            for _ in range(rng.choice((0, 2, 10))):
                world.propose(id, rng.choice((1, 2, 7)), rng.choice((10, 100, 1500)))
            world.close(id)
        elif what < 0.46:
            member.paused_until = world.slices + rng.randint(2, 60)
            world.totals["pauses"] += 1
        elif what < 0.7:
            member.disk.fault(rng, world.totals)
        elif node.failure is not None:
            world.close(id)
        elif what < 0.8:
            world.campaign(id)
        elif what < 0.95:
            to = rng.choice((0, *self.ids))
            if world.levels.random() < 0.2:
                world.step_down(id)
            else:
                world.transfer(id, to if to in node.configuration.voters else 0)
        else:
            assert member.life is not None
            member.life.given.fails_at = self.world.engine(id).core.log.last + 1
            member.life.may_fail = (ToldToFail,)
            world.totals["failing state machines"] += 1

    # --- the end -------------------------------------------------------------------------------------

    def come_back(self) -> None:
        """No more faults: everybody comes back, every request ends, and all agree."""
        world = self.world
        world.network.heal()
        for id, member in world.members.items():
            if member.refused and self.hands.random() < 0.5:
                world.rebuild(id, self.hands)
        if self.churn.active and self.churn.rng.random() < 0.5:
            # Who was removed does not come back, and nobody is to need it.
            for id in world.alive():
                world.crash(id, power=True)
        for member in world.members.values():
            member.disk.heal()
            member.paused_until = 0
        slow = any(0 < each.config.snapshot_bytes_per_second < SLOW for each in world.members.values())
        limit = world.slices + LIVES_AGAIN * (4 if slow else 1)
        asked = len(world.checker.requests)
        while world.slices < limit:
            for id in world.alive():
                life = world.members[id].life
                assert life is not None
                life.given.fails_at = 0
                if life.node.failure is not None:
                    world.close(id)
            for id in world.down():
                world.begin(id)
            for _ in range(10):
                world.slice(5 * MS)
            if not world.leader() or not self.settled():
                continue
            # Of proposals in a cluster without faults some are done, unless a leader has just been elected.
            if any(
                not request.future.exception(timeout=0)
                for request in world.checker.requests[asked:]
                if isinstance(request, Proposal)
            ):
                break
            asked = len(world.checker.requests)
            for id in world.present():
                world.propose(id, 1, 20)
        else:
            raise Violation(f"not everybody has come back: {self.describe()}")
        self.prefer()
        machines = {id: world.members[id].life.given for id in world.present()}  # type: ignore[union-attr]
        world.checker.judge_ended()
        lives = {id: world.members[id].lives for id in world.present()}
        world.checker.at_end(machines, lives)
        if self.churn.active:
            self.judge_members()
        for id in world.alive():
            world.close(id)

    def judge_members(self) -> None:
        """Everybody agrees on who the members are, and where; who was removed is not a member by its own account."""
        world = self.world
        world.totals["schedules with churn"] += 1
        now = world.checker.membership
        world.totals["memberships"] += len(world.checker.memberships)
        world.totals[f"ended with {len(now.conf_state.voters)} voters"] += 1
        for id in world.present():
            node: Any = world.members[id].life.node  # type: ignore[union-attr]
            seen = node._parts.members.now
            if (seen.conf_state, seen.addresses, seen.joined) != (now.conf_state, now.addresses, now.joined):
                raise Violation(f"node {id} ends with {seen}, and the log has led to {now}")
            if world.engine(id).core.tracker.conf_state() != now.conf_state:
                raise Violation(f"the core of node {id} ends with another membership than {now}")

    def prefer(self) -> None:
        """Where members are preferred to others: leadership comes to one of them, and stays there."""
        world = self.world
        now = world.checker.membership.conf_state
        preferred = {id: world.members[id].config.priority for id in world.present() if id in now.voters}
        ticks = max(each.config.election_ticks * each.config.tick_ms for each in world.members.values())
        best = max(preferred.values(), default=0)
        if best == min(preferred.values(), default=0):
            return
        stays, limit = 0, world.slices + LIVES_AGAIN
        last: tuple[int, int] = (0, 0)
        while stays < 20 * ticks // 5:
            world.slice(5 * MS)
            leader = world.leader()
            seen = (leader, world.engine(leader).core.term if leader else 0)
            stays = stays + 1 if preferred.get(leader) == best and seen == last else 0
            last = seen
            if world.slices >= limit:
                raise Violation(f"none of the preferred members leads, or not for long: {self.describe()}")
        world.totals["led by who is preferred"] += 1

    def settled(self) -> bool:
        """Whether all have applied everything, no snapshot waits, and every request of the present lives has ended."""
        world = self.world
        ends = set()
        for id in world.present():
            life = world.members[id].life
            assert life is not None
            ends.add((world.engine(id).core.log.last, life.node.applied_index))
            writer = life.node._parts.snapshotter  # type: ignore[union-attr]  # it runs
            if writer is not None and writer.is_busy():
                return False
        if len(ends) != 1 or len(set(*ends)) != 1:
            return False
        # Who was down when it was removed is to learn of it from those who are there.
        told = [world.members[id].removed for id in world.alive() if world.checker.was_removed(id) and self.is_told(id)]
        if not all(told):
            return False
        lives = {id: world.members[id].lives for id in world.present()}
        return all(request.ended for request in world.checker.requests if lives.get(request.member) == request.life)

    def is_told(self, id: int) -> bool:
        """Whether a member that was removed knows one that is there."""
        node: Any = self.world.members[id].life.node  # type: ignore[union-attr]
        known = node._parts.members.now.ids() if node._parts is not None else ()
        return any(other in known for other in self.world.present())

    def describe(self) -> str:
        """The members, for the text of a violation."""
        parts = []
        for id, member in self.world.members.items():
            if member.life is None:
                parts.append(f"{id} is down")
            else:
                core, node = self.world.engine(id).core, member.life.node
                ends = f"log to {core.log.last}, committed {core.committed}, applied {node.applied_index}"
                parts.append(f"{node!r} {ends}")
        return "; ".join(parts)


def run(
    seed: int,
    make_disk: Callable[[int, random.Random], Disk] | None = None,
    application: Application | None = None,
    *,
    log: bool = False,
) -> Result:
    """One schedule, of nodes that replicate ``application``. Raises Violation.

    seed: an integer; the same one takes the same steps. make_disk: called with an id and a random source: what the
    member keeps its log on. log: write what the nodes log; else this thread logs nothing meanwhile, since nodes that
    fail and disks that are full are what a schedule is for. Raises UsageError for what is no seed, and for an
    application that cannot be run: ``machine`` makes no state machine, or ``command`` no command with its tag.
    """
    schedule = Schedule(seed, make_disk, application)
    if log:
        return schedule.run()
    with silenced():
        return schedule.run()


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Nothing that this thread logs for raftx is written."""
    logger, thread = logging.getLogger("raftx"), threading.get_ident()

    def passes(record: logging.LogRecord) -> bool:
        return record.thread != thread

    logger.addFilter(passes)
    try:
        yield
    finally:
        logger.removeFilter(passes)
