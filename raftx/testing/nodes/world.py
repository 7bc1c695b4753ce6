"""A world of simulated nodes: their clocks, disks and network, and the order in which their rounds are run.

Everything is drawn from one random source, so that a seed is a schedule. What happens when is decided in
``schedule.py``; what must hold is looked at after every round by the checker.
"""

from __future__ import annotations

import bisect
import random
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..._core import Codec
from ..._native.memory import Entry
from ..._native.threads import ManualClock
from ...config import Config
from ...errors import Removed, Stopped, StorageError, WalDamaged
from ...node.events import Stream
from ...node.node import Node
from ...node.outside import Rows
from ...node.rows import REFUSALS, REFUSED_STOPPED
from ...storage.snapshot_format import CHUNK_BYTES_MIN
from ...types import LEADER
from ..invariants import Violation
from ..stepped import Stepped
from .checker import NodeChecker
from .disks import CLUSTER, Disk
from .machines import Application, Given
from .network import Network, Transport
from .requests import Barrier, Change, Leadership, Proposal, Read, Request
from .sessions import Opening, SessionProposal, Users
from .streams import Changes, Committed, ends_with
from .walls import Walls

MS = 1_000_000
GIVEN_BACK = REFUSALS[REFUSED_STOPPED]
SKIPPED = 0.15  # how often a worker that could have a round has none


@dataclass
class Life:
    """A node from its start to its end."""

    node: Node[Any]
    executor: Stepped
    given: Given
    changes: Changes
    #: of some lives
    committed: Committed | None
    #: what its failure may be: an exception's type
    may_fail: tuple[type[BaseException], ...] = ()
    #: it has failed, and was expected to
    failed: bool = False
    #: after its last round its disk had no room, and it led
    full: bool = False
    led: bool = False


class Member:
    """A member over its lives: its settings, its clock, its disk."""

    def __init__(self, config: Config, disk: Disk, rate: float) -> None:
        self.id = config.id
        self.config = config
        self.disk = disk
        #: how fast its clock runs
        self.rate = rate
        self.clock = ManualClock(1.0, wakes=False)
        self.lives = 0
        self.life: Life | None = None
        #: slices in which it gets no rounds: its process is stopped
        self.paused_until = 0
        #: its disk is damaged: it cannot come back. Or it was removed, and knows it: it must not
        self.refused = False
        self.removed = False
        #: what it was when the trace was last written, and the text of that
        self.state: tuple[Any, ...] = ()
        self.text = ""


class World:
    """Members in one thread. ``slice`` lets some time pass in which everybody has about one round of each worker."""

    def __init__(
        self,
        seed: int,
        configs: list[Config],
        make_disk: Callable[[int, random.Random], Disk],
        application: Application,
    ) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.application = application
        #: for what does not decide about the course of a schedule: the commands, and who asks for which stream
        self.users = random.Random(f"users {seed}")
        #: and how they ask, drawn apart
        self.levels = random.Random(f"levels {seed}")
        #: (time, the last entry that anybody was told of by then), where that has grown
        self.told: list[tuple[int, int]] = [(0, 0)]
        self.totals: Counter[str] = Counter()
        self.checker = NodeChecker(len(configs))
        pieces = random.Random(f"pieces {seed}")
        self.network = Network(self.rng, self.totals, self._seen, pieces if pieces.random() < 0.3 else None)
        self.ids = self.founders = tuple(config.id for config in configs)
        self.codecs = {id: Codec(CLUSTER, id, 1) for id in self.ids}
        self.members = {
            config.id: Member(config, make_disk(config.id, self.rng), self.rng.uniform(0.9, 1.1)) for config in configs
        }
        self.now = 0
        self.walls = Walls(seed, self.ids)
        self.of_sessions = Users(seed)
        self.tell_time()
        #: how many rows may wait in the queues of each node
        self.rows = Rows()
        self.slices = 0
        #: of all workers
        self.rounds = 0
        #: a checksum of everything that has happened: the same in both modes
        self.trace = 0
        self.proposals = 0

    # --- lives ---------------------------------------------------------------------------------------

    def add(self, config: Config, disk: Disk, rate: float) -> None:
        """Another member, which waits to be added."""
        self.members[config.id] = Member(config, disk, rate)
        self.ids = (*self.ids, config.id)
        self.codecs[config.id] = Codec(CLUSTER, config.id, 1)
        self.walls.add(config.id)

    def begin(self, id: int) -> bool:
        """Start a member's next life; False when its disk does not let it."""
        member = self.members[id]
        member.lives += 1
        # Drawn apart, so that it decides about nothing else.
        batches = random.Random(f"batches {self.seed} {id} {member.lives}").random() < 0.3
        given = Given(self.application.new_machine(), batches=batches)
        self.totals["lives with batches"] += batches
        executor = Stepped(member.clock, self._drive)
        transport = Transport(self.network, self.founders)
        storage = member.disk.storage()
        node = Node(member.config, storage, transport, given, clock=member.clock, executor=executor)
        node._outside.rows = self.rows
        node._outside.chunk_bytes = CHUNK_BYTES_MIN
        committed = None
        if self.users.random() < 0.5:
            # One that is full when its consumer is slow.
            limit = self.users.choice((1, 4, 100))
            stream: Stream[Entry] = Stream(limit)
            node._outside.committed = stream
            committed = Committed(id, stream, limit, given)
        member.life = Life(node, executor, given, Changes(id, node.state_changes), committed)
        try:
            node.start()
        except (StorageError, WalDamaged) as error:
            member.life = None
            node.close()
            return self._refused(member, error)
        member.life.changes.begun_in = node.term
        self.totals["lives"] += 1
        self.totals["repaired"] += bool(getattr(storage, "repaired", None))
        self.totals["begun in doubt"] += bool(getattr(storage, "doubt", ""))
        self.totals["still in doubt"] += id in self.checker.doubts
        parts: Any = node._parts
        self.totals["begun with a snapshot"] += parts.keeper.newest is not None
        self.checker.begins(id, self.engine(id))
        self._note("begin", id)
        return True

    def _refused(self, member: Member, error: Exception) -> bool:
        if isinstance(error, Removed) and self._was_removed(member):
            return False
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

    def rebuild(self, id: int, hands: random.Random) -> bool:
        """A member whose disk is damaged begins again without what it held; False when that has not ended."""
        member = self.members[id]
        if not member.refused or not member.disk.rebuild(hands, self.totals):
            return False
        member.refused = False
        self.totals["rebuilt"] += 1
        self._note("rebuilt", id)
        return True

    def crash(self, id: int, power: bool) -> None:
        """The process is killed; ``power``: and what its disk has not synced may be lost."""
        member = self.members[id]
        life, member.life = member.life, None
        if life is None:
            return
        self._ends(id, life)
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
        life.node.close(timeout=60.0)
        if member.life is not life:
            return  # the power went meanwhile
        self._ends(id, life)
        member.life = None
        member.disk.closed()
        self.checker.judge_ended()
        for request in self.checker.requests:
            if (request.member, request.life) == (id, member.lives) and request.ended != 1:
                raise Violation(f"node {id} was closed, and the future of {request} has not ended")
        for stream in (life.changes.stream, life.committed.stream if life.committed else None):
            if stream is not None and not ends_with(stream, life.node.failure):
                raise Violation(f"node {id} was closed, and {stream!r} does not end with {life.node.failure!r}")
        self.totals["closed"] += 1
        self._note("closed", id)

    def _ends(self, id: int, life: Life) -> None:
        """A life is over: what must hold at its end."""
        engine = self._engine_of(life)
        self.checker.after_apply(id, engine, life.given)
        parts: Any = life.node._parts
        self.totals["snapshots restored"] += life.given.restores
        self.totals["served under a lease"] += engine.reads.served
        if parts.snapshotter is not None:
            self.totals["snapshots made"] += parts.snapshotter.made
            self.totals["snapshots failed"] += parts.snapshotter.failed
        if parts.courier is not None:
            self.totals["snapshots fetched"] += parts.courier.fetched
            self.totals["fetches given up"] += parts.courier.given_up
            self.totals["fetches overtaken"] += parts.courier.overtaken
            self.totals["chunks fetched"] += parts.courier.received
            self.totals["chunks served"] += parts.courier.served
        self.checker.judge_once(id, life.node._outcomes)
        self._consume(life)
        if life.committed is not None:
            life.committed.take(len(life.committed.stream))
        if life.node.failure is None:
            self.checker.crashes(id, engine)

    def _consume(self, life: Life) -> None:
        """The consumers of the streams take what is there; that of the entries may be slow."""
        committed, running = life.committed, life.node.failure is None
        life.changes.take(self.checker)
        applier = life.node._parts.applier  # type: ignore[union-attr]  # as in _engine_of
        # What waits for the apply thread, or is in the middle of the batch at which the stream was full.
        if running and not applier.applies.py_waiting() and not applier.is_within():
            life.changes.all_told()
        if committed is not None:
            self.totals["full streams"] += committed.is_full()
            committed.all_told()
            if committed.stream.lost and running and not life.node._life.closing:
                raise Violation(f"the stream of node {committed.id} has lost {committed.stream.lost}, and it runs")
            committed.take(self.users.choice((0, 0, 1, 2, 1000)))

    def alive(self) -> list[int]:
        """Members that run."""
        return [id for id, member in self.members.items() if member.life is not None]

    def down(self) -> list[int]:
        """Members that do not, and could."""
        gone = [id for id, member in self.members.items() if member.refused or member.removed]
        return [id for id, member in self.members.items() if member.life is None and id not in gone]

    def present(self) -> list[int]:
        """Members that run, and are members as far as anybody has applied the log."""
        ids = self.checker.membership.ids()
        return [id for id in self.alive() if id in ids]

    # --- time ----------------------------------------------------------------------------------------

    def slice(self, nanoseconds: int) -> None:
        """Let time pass: frames arrive, and workers have their rounds, in an order that is drawn."""
        rng = self.rng
        self.slices += 1
        self.now += nanoseconds
        if self.checker.told > self.told[-1][1]:
            self.told.append((self.now, self.checker.told))
        for member in self.members.values():
            member.clock.advance(nanoseconds * member.rate / 1e9)
        self.tell_time()
        self.network.deliver(self.now)
        ids = list(self.ids)
        _shuffle(ids, rng.getrandbits)
        for id in ids:
            member = self.members[id]
            if member.paused_until > self.slices:
                continue
            member.disk.slice()
            life = member.life
            if life is None:
                continue
            self._rounds_of(member, life)
            if life.committed is not None and member.life is life:
                self._consume(life)  # which may be what its apply thread waits for

    def _rounds_of(self, member: Member, life: Life) -> None:
        """A round of each worker that is awake, in an order that is drawn, and then of those whom these have woken.

        Nobody steps who sleeps: a wake-up that was forgotten is to be missed here, too.
        """
        rng, executor = self.rng, life.executor
        before: list[str] = []
        for _ in range(2):
            names = [name for name in executor.awake() if name not in before]
            before = list(names)
            _shuffle(names, rng.getrandbits)
            for name in names:
                if rng.random() < SKIPPED:
                    continue
                if name in ("snapshot", "courier", "memory") and member.disk.stands():
                    continue  # it would wait in a sync
                self.round(member, name)
                if member.life is not life:
                    return

    def tell_time(self) -> None:
        """Wall clocks and checker learn how late it is."""
        self.walls.pass_on(self.now, {id: member.clock for id, member in self.members.items()})
        self.checker.now = self.walls.true(self.now)

    def _drive(self) -> None:
        """A node waits for something while it is being closed."""
        self.slice(5 * MS)

    def round(self, member: Member, name: str) -> None:
        """One round of one worker, and a look at what it has done. Of millions in a run, most find nothing to do."""
        life, id = member.life, member.id
        if life is None:
            return
        self.rounds += 1
        goes_on = life.executor.step(name)
        if member.disk.broken():
            # The power went in the middle of that round.
            if name in ("snapshot", "courier", "apply"):
                self.totals["power cuts with a snapshot"] += 1
            self.crash(id, power=True)
            return
        checker = self.checker
        if name == "engine":
            engine = self._engine_of(life)
            self._look_at_room(life, engine)
            checker.after_round(id, engine)
            life.changes.after_round(engine)
        elif name == "apply":
            checker.after_apply(id, self._engine_of(life), life.given)
            self._consume(life)
        if life.node._outcomes.ended_again:
            checker.judge_once(id, life.node._outcomes)
        if checker.ending:
            checker.judge_ended()
        if not goes_on and life.node.failure is not None and not life.failed:
            self._failed(member, life)
        if name == "engine":
            self._note(name, id)
        else:  # nothing else changes what the core is
            self.trace = zlib.crc32((name + member.text if member.life is not None else name).encode(), self.trace)

    def _look_at_room(self, life: Life, engine: Any) -> None:
        """Count what a full disk led to: leaders that had no room, and members that had none and have some again."""
        full, leads = bool(engine.gauges.full), engine.core.role == LEADER
        self.totals["leaders without room"] += full and leads and not (life.full and life.led)
        self.totals["led by others for want of room"] += life.full and life.led and full and not leads
        self.totals["disks with room again"] += life.full and not full
        life.full, life.led = full, leads

    def _failed(self, member: Member, life: Life) -> None:
        failure = life.node.failure
        if isinstance(failure, Removed) and self._was_removed(member):
            life.failed = True
            self.totals["removed members that ended"] += 1
            return
        if isinstance(failure, life.may_fail) or member.disk.may_fail(failure):
            life.failed = True
            self.totals["failed nodes"] += 1
            return
        if isinstance(failure, Violation):
            raise failure
        raise Violation(f"node {member.id} has failed: {failure!r}") from failure

    def _was_removed(self, member: Member) -> bool:
        """Whether a member that says so was removed, and is none."""
        member.removed = self.checker.was_removed(member.id)
        return member.removed

    # --- requests ------------------------------------------------------------------------------------

    def change(self, id: int, what: str, call: Callable[[Any, float], Any], timeout: float) -> None:
        """Ask a member for a change of membership."""
        member = self.members[id]
        if member.life is None or member.life.node.failure is not None:
            return
        request = Change(call(member.life.node, timeout), id, member.lives, what=what)
        self._asked(member, request)
        request.timeout_ns = int(timeout * 1e9)
        self.totals["changes"] += 1

    def propose(self, id: int, count: int, size: int) -> None:
        """Propose on a member; several go as one batch."""
        member = self.members[id]
        if member.life is None:
            return
        datas = []
        for _ in range(count):
            self.proposals += 1
            tag = f"{self.proposals}.{id}".encode()
            datas.append(self.application.new_command(self.users, tag, size))
        node = member.life.node
        try:
            timeout = self.users.choice((None, None, 0.05, 0.5, 3.0))
            if count > 1:
                timeout = self.levels.choice((None, None, 0.05, 0.5, 3.0))
            many = node.propose_many
            future = node.propose(datas[0], timeout=timeout) if count == 1 else many(datas, timeout=timeout)
        except Stopped:
            if node.failure is None:
                raise
            return
        self.totals["proposals"] += count
        given = member.life.given
        self._asked(member, Proposal(future, id, member.lives, datas=tuple(datas), given=given))
        if timeout is not None:
            request = self.checker.requests[-1]
            request.timeout_ns = min(request.timeout_ns, int(timeout * 1e9))
            self.totals["proposals with a timeout"] += 1

    def read(self, id: int) -> None:
        """Read a member that runs, or is paused; half of the reads look at the state machine itself.

        By a lease where that is possible, or stale: then what anybody was told before the bound must be there, by the
        member's clock.
        """
        member = self.members[id]
        life = member.life
        if life is None or life.node.failure is not None:
            return
        floor = self.checker.told
        looks = self.users.random() < 0.5
        level, bound, config = self.levels.choice(("linearizable", "lease", "lease", "stale")), None, member.config
        if level == "lease" and not (config.check_quorum and config.election_ticks > 2 * config.heartbeat_ticks):
            level = "linearizable"
        if level == "stale":
            bound = self.levels.choice((0.01, 0.03, 0.1, 0.5))
            # What was told in the slice of that moment may have come behind the question.
            since = max(self.now - int(bound * 1e9 / member.rate) - MS, 1)
            floor = self.told[bisect.bisect_left(self.told, (since,)) - 1][1]
        ask: dict[str, Any] = {"level": level, "max_staleness": bound}
        future = life.node.query(lambda given: given.last(), **ask) if looks else life.node.read(**ask)
        self.totals["reads"] += 1
        self.totals[f"{level} reads at once"] += future.done()
        self._asked(member, Read(future, id, member.lives, floor=floor, level=level, looks=looks))

    def barrier(self, id: int) -> None:
        """An entry without a command."""
        member = self.members[id]
        if member.life is None or member.life.node.failure is not None:
            return
        self.totals["barriers"] += 1
        self._asked(member, Barrier(member.life.node.barrier(), id, member.lives, floor=self.checker.told))

    def step_down(self, id: int) -> None:
        """Let a member that runs give leadership up."""
        node, term = self._node_of(id), self._node_of(id).term
        lives = self.members[id].lives
        self._asked(self.members[id], Leadership(node.step_down(), id, lives, what="step-down", term=term))
        self.totals["step-downs"] += 1

    def campaign(self, id: int) -> None:
        """Let a member that runs campaign."""
        node, term = self._node_of(id), self._node_of(id).term
        self._asked(self.members[id], Leadership(node.campaign(), id, self.members[id].lives, to=id, term=term))
        self.totals["campaigns"] += 1

    def transfer(self, id: int, to: int) -> None:
        """Ask a member that runs to let another one lead; 0: anyone."""
        node, term = self._node_of(id), self._node_of(id).term
        future = node.transfer_leadership(to)
        self._asked(self.members[id], Leadership(future, id, self.members[id].lives, what="transfer", to=to, term=term))
        self.totals["transfers"] += 1

    def asked(self, id: int, request: Request) -> None:
        """A request was made of a member."""
        self._asked(self.members[id], request)

    def _asked(self, member: Member, request: Request) -> None:
        request.clock = member.clock
        request.timeout_ns = member.config.proposal_timeout_ms * MS
        self.checker.asked_for(request)

    # --- looks ---------------------------------------------------------------------------------------

    def engine(self, id: int) -> Any:
        """The engine of a member that runs."""
        life = self.members[id].life
        assert life is not None
        return self._engine_of(life)

    def _node_of(self, id: int) -> Node[Any]:
        life = self.members[id].life
        assert life is not None
        return life.node

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
            if state != member.state:
                member.state, member.text = state, f" {id} {state}"  # most rounds change none of it
            text = what + member.text
        self.trace = zlib.crc32(text.encode(), self.trace)

    def count(self) -> None:
        """Add to the totals the rounds, what has happened to the disks, and how the requests have ended."""
        self.totals["rounds"] += self.rounds
        for member in self.members.values():
            member.disk.count(self.totals)
        for request in self.checker.requests:
            if request.ended:
                for outcome in request.outcomes():
                    name = type(outcome).__name__.lower() if isinstance(outcome, BaseException) else "done"
                    if isinstance(request, (Opening, SessionProposal)):
                        name = f"sessions {name}"
                    if isinstance(request, Read):
                        name = f"reads {name}"
                    if isinstance(request, (Leadership, Change)):
                        name = f"{request.what}s {name}"
                    self.totals[name] += 1
                    self.totals["given back"] += str(outcome) == GIVEN_BACK


def _shuffle(items: list[Any], getrandbits: Callable[[int], int]) -> None:
    """What ``random.Random.shuffle`` does, without its calls: each slice shuffles the members, and workers of each."""
    for at in range(len(items) - 1, 0, -1):
        width = (at + 1).bit_length()
        other = getrandbits(width)
        while other > at:
            other = getrandbits(width)
        items[at], items[other] = items[other], items[at]
