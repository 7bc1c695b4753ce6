"""A world of simulated nodes: their clocks, disks and network, and the order in which their rounds are run.

Everything is drawn from one random source, so that a seed is a schedule. What happens when is decided in
``schedule.py``; what must hold is looked at after every round by the checker.
"""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..._core import Codec
from ..._native.threads import ManualClock
from ...config import Config
from ...errors import Stopped, StorageError, WalDamaged
from ...node.assembly import Rows
from ...node.node import Node
from ...types import LEADER
from ..invariants import Violation
from ..stepped import Stepped
from .checker import Machine, NodeChecker, Request, outcomes_of
from .disks import Disk
from .network import Network, Transport

CLUSTER = b"simulated nodes!"
MS = 1_000_000
SKIPPED = 0.15  # how often a worker that could have a round has none
SELDOM = {"watch": 8, "reserve": 4}  # workers that are looked at once in so many slices


@dataclass
class Life:
    """A node from its start to its end."""

    node: Node
    executor: Stepped
    machine: Machine
    changes: Any
    #: what its failure may be: an exception's type
    may_fail: tuple[type[BaseException], ...] = ()
    #: it has failed, and was expected to
    failed: bool = False


class Member:
    """A member over its lives: its settings, its clock, its disk."""

    def __init__(self, config: Config, disk: Disk, rate: float) -> None:
        self.id = config.id
        self.config = config
        self.disk = disk
        #: how fast its clock runs
        self.rate = rate
        self.clock = ManualClock(1.0)
        self.lives = 0
        self.life: Life | None = None
        #: slices in which it gets no rounds: its process is stopped
        self.paused_until = 0
        #: its disk is damaged: it cannot come back
        self.refused = False


class World:
    """Members in one thread. ``slice`` lets some time pass in which everybody has about one round of each worker."""

    def __init__(self, seed: int, configs: list[Config], make_disk: Callable[[int, random.Random], Disk]) -> None:
        self.rng = random.Random(seed)
        self.totals: Counter[str] = Counter()
        self.checker = NodeChecker()
        self.network = Network(self.rng, self.totals, self._seen)
        self.ids = tuple(config.id for config in configs)
        self.codecs = {id: Codec(CLUSTER, id, 1) for id in self.ids}
        self.members = {
            config.id: Member(config, make_disk(config.id, self.rng), self.rng.uniform(0.9, 1.1)) for config in configs
        }
        #: how many rows may wait in the queues of each node
        self.rows = Rows()
        self.now = 0
        self.slices = 0
        #: a checksum of everything that has happened: the same in both modes
        self.trace = 0
        self.proposals = 0

    # --- lives ---------------------------------------------------------------------------------------

    def begin(self, id: int) -> bool:
        """Start a member's next life; False when its disk does not let it."""
        member = self.members[id]
        member.lives += 1
        machine = Machine()
        executor = Stepped(member.clock, self._drive)
        transport = Transport(self.network, self.ids)
        storage = member.disk.storage()
        node = Node(member.config, storage, transport, machine, clock=member.clock, executor=executor)
        node._outside.rows = self.rows
        member.life = Life(node, executor, machine, node.state_changes)
        try:
            node.start()
        except (StorageError, WalDamaged) as error:
            member.life = None
            node.close()
            return self._refused(member, error)
        self.totals["lives"] += 1
        self.totals["repaired"] += bool(getattr(storage, "repaired", None))
        self.totals["begun in doubt"] += bool(getattr(storage, "doubt", ""))
        self.checker.begins(id, self.engine(id))
        self._note("begin", id)
        return True

    def _refused(self, member: Member, error: Exception) -> bool:
        if not member.disk.may_refuse(error):
            raise Violation(f"node {member.id} cannot be started: {error}") from error
        if isinstance(error, WalDamaged):
            self.totals["refused"] += 1
            member.refused = True
        else:
            self.totals["failed starts"] += 1
            member.disk.power_cut(self.totals)
        self._note("refused", member.id)
        return False

    def crash(self, id: int, power: bool) -> None:
        """The process is killed; ``power``: and what its disk has not synced may be lost."""
        member = self.members[id]
        life, member.life = member.life, None
        if life is None:
            return
        self.checker.crashes(id, self._engine_of(life))
        life.executor.kill()
        self.network.nodes.pop(id, None)
        if power:
            self.totals["power cuts"] += 1
            member.disk.power_cut(self.totals)
        else:
            self.totals["kills"] += 1
            member.disk.kill()
        self._note("crash", id)

    def close(self, id: int) -> None:
        """Stop a node cleanly. The world goes on meanwhile."""
        member = self.members[id]
        life = member.life
        if life is None:
            return
        failed = life.node.failure is not None
        engine = self._engine_of(life)
        life.node.close(timeout=60.0)
        if member.life is not life:
            return  # the power went meanwhile
        if not failed:
            self.checker.crashes(id, engine)
        member.life = None
        member.disk.closed()
        self.checker.judge_ended()
        for request in self.checker.requests:
            if (request.member, request.life) == (id, member.lives) and request.ended != 1:
                raise Violation(f"node {id} was closed, and the future of {request.datas} has not ended")
        self.totals["closed"] += 1
        self._note("closed", id)

    def alive(self) -> list[int]:
        """Members that run."""
        return [id for id, member in self.members.items() if member.life is not None]

    def down(self) -> list[int]:
        """Members that do not, and could."""
        return [id for id, member in self.members.items() if member.life is None and not member.refused]

    # --- time ----------------------------------------------------------------------------------------

    def slice(self, nanoseconds: int) -> None:
        """Let time pass: frames arrive, and workers have their rounds, in an order that is drawn."""
        rng = self.rng
        self.slices += 1
        self.now += nanoseconds
        for member in self.members.values():
            member.clock.advance(nanoseconds * member.rate / 1e9)
        self.network.deliver(self.now)
        ids = list(self.ids)
        rng.shuffle(ids)
        for id in ids:
            member = self.members[id]
            if member.paused_until > self.slices:
                continue
            member.disk.slice()
            life = member.life
            if life is None:
                continue
            names = list(life.executor.names())
            rng.shuffle(names)
            for name in names:
                if rng.random() < SKIPPED or (name in SELDOM and self.slices % SELDOM[name]):
                    continue
                self.round(member, name)
                if member.life is not life:
                    break

    def _drive(self) -> None:
        """A node waits for something while it is being closed."""
        self.slice(5 * MS)

    def round(self, member: Member, name: str) -> None:
        """One round of one worker, and a look at what it has done."""
        life, id = member.life, member.id
        if life is None:
            return
        self.totals["rounds"] += 1
        goes_on = life.executor.step(name)
        if member.disk.broken():
            # The power went in the middle of that round.
            self.crash(id, power=True)
            return
        engine = self._engine_of(life)
        if name == "engine":
            self.checker.after_round(id, engine)
        elif name == "apply":
            self.checker.after_apply(id, engine, life.node.applied_index)
        if self.checker.ending:
            self.checker.judge_ended()
        if not goes_on and life.node.failure is not None and not life.failed:
            self._failed(member, life)
        self._note(name, id)

    def _failed(self, member: Member, life: Life) -> None:
        failure = life.node.failure
        if isinstance(failure, life.may_fail) or member.disk.may_fail(failure):
            life.failed = True
            self.totals["failed nodes"] += 1
            return
        if isinstance(failure, Violation):
            raise failure
        raise Violation(f"node {member.id} has failed: {failure!r}") from failure

    # --- requests ------------------------------------------------------------------------------------

    def propose(self, id: int, count: int, size: int) -> None:
        """Propose on a member; several go as one batch."""
        member = self.members[id]
        if member.life is None:
            return
        datas = []
        for _ in range(count):
            self.proposals += 1
            datas.append(f"{self.proposals}.{id}".encode().ljust(size, b"-"))
        node = member.life.node
        try:
            future = node.propose(datas[0]) if count == 1 else node.propose_many(datas)
        except Stopped:
            if node.failure is None:
                raise
            return
        self.totals["proposals"] += count
        self.checker.proposed(Request(datas, future, id, member.lives))

    # --- looks ---------------------------------------------------------------------------------------

    def engine(self, id: int) -> Any:
        """The engine of a member that runs."""
        life = self.members[id].life
        assert life is not None
        return self._engine_of(life)

    def _engine_of(self, life: Life) -> Any:
        return life.node._parts.engine  # type: ignore[union-attr]  # what is judged is inside

    def leader(self) -> int:
        """A member that leads; of several, that of the highest term. 0 for none."""
        leaders = [(self.engine(id).core.term, id) for id in self.alive() if self.engine(id).core.role == LEADER]
        return max(leaders)[1] if leaders else 0

    def _seen(self, sender: int, to: int, frame: bytes) -> None:
        self.totals["frames"] += 1
        self.checker.sends(sender, self.codecs[to].decode(frame) if to in self.codecs else [])

    def _note(self, what: str, id: int) -> None:
        """Add to the trace what a member is now."""
        member = self.members[id]
        text = what
        if member.life is not None:
            core = self._engine_of(member.life).core
            state = (core.term, core.vote, core.role, core.lead, core.committed, core.applied, core.log.last)
            text = f"{what} {id} {state}"
        self.trace = zlib.crc32(text.encode(), self.trace)

    def count(self) -> None:
        """Add to the totals what has happened to the disks, and how the requests have ended."""
        for member in self.members.values():
            member.disk.count(self.totals)
        for request in self.checker.requests:
            if request.ended:
                for outcome in outcomes_of(request):
                    self.totals[type(outcome).__name__.lower()] += 1
