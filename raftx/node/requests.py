"""What may be asked of a node: each request is a future that ends in done, not done (why) or unknown.

The part of Node that hands requests over. What becomes of them is decided in the engine and on the apply thread.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from ..errors import Busy, NotDone, Stopped, UsageError
from ..types import StateChange, check_id, check_timeout, is_id
from . import lifecycle
from .events import Cause, Consumer
from .futures import Done, Future
from .lifecycle import Life
from .outcomes import (
    KIND_BACKUP,
    KIND_CAMPAIGN,
    KIND_COMPACTION,
    KIND_SNAPSHOT,
    KIND_STEP_DOWN,
    KIND_TRANSFER,
    Outcomes,
)
from .outside import Outside
from .proposer import Data, check_datas, size_of
from .readers import READS_MAX, check_function
from .session import TTL, Session
from .session_format import HEADER, OPENING
from .session_table import SESSIONS_LIVE
from .unled import WAITS

if TYPE_CHECKING:
    from ..storage.snapshot_format import Descriptor
    from .parts import Parts

R = TypeVar("R")
T = TypeVar("T")

SECONDS_MAX = 1e9  # what a clock in nanoseconds can count
PAUSE_SECONDS = 0.005  # before a read that was not done is asked for again
LEVELS = ("linearizable", "lease", "stale")


class Requests(Generic[R]):
    """The requests of a Node, which has the rest. R: what ``apply`` of its state machine returns."""

    _life: Life
    _outside: Outside
    _outcomes: Outcomes
    _parts: Parts | None
    _cause: Cause

    @property
    def state_changes(self) -> Consumer[StateChange]:
        """See Node."""
        raise NotImplementedError

    @property
    def leader_id(self) -> int:
        """See Node."""
        raise NotImplementedError

    @property
    def is_leader(self) -> bool:
        """See Node."""
        raise NotImplementedError

    @property
    def applied_index(self) -> int:
        """See Node."""
        raise NotImplementedError

    def _made(self) -> Parts:
        raise NotImplementedError

    def _check_running(self) -> None:
        raise NotImplementedError

    def _refuse(self) -> NoReturn:
        raise NotImplementedError

    def propose(self, data: Data, *, timeout: float | None = None) -> Future[Done[R]]:
        """Propose a command, on any member; returns a Future of Done(index, term, result).

        ``data`` has 0..max_entry_bytes bytes. The future ends as done when the entry was applied *here*, with the
        ApplyError that ``apply`` raised for it, as NotDone (safe to repeat) or as Unknown; at once as Busy, a NotDone,
        when max_open_proposals are open, max_waiting_bytes wait, or this node's state machine is behind by more than
        half of the proposal timeout, and as DiskFull, likewise, when this node's disk or its leader's has no room.

        timeout: seconds in which it ends, whatever happens, and in which it is proposed again and again while it is
        certainly not done: without a leader, say, or while leadership moves; where it is not above 0 it is not done at
        once. What is unknown is not repeated. max_open_proposals with timeouts may be open, with max_waiting_bytes and
        max_uncommitted_bytes together; Busy ends the next one at once. Without one there is one attempt, and
        proposal_timeout_ms. Raises
        EntryTooLarge, Stopped, TypeError, and UsageError for a memoryview that was released and for what is no time.
        """
        if self._life.phase != lifecycle.RUNNING:
            self._refuse()
        try:
            if timeout is None:
                return self._made().proposer.propose(data)
            return self._patient(data, timeout)
        except Stopped:
            self._refuse()

    def _patient(self, data: Data, timeout: float) -> Future[Done[R]]:
        check_timeout(timeout, none=False)
        patience = self._made().watch.patience
        assert patience is not None
        size_of(data)  # raises for what is no data, which bytes() may take for something else
        return patience.propose(data, int(min(max(timeout, 0.0), SECONDS_MAX) * 1e9))

    def propose_many(self, datas: Iterable[Data], *, timeout: float | None = None) -> Future[list[Done[R]]]:
        """Propose several commands in order behind one Future of a list of Done.

        There is room for all of them or none is taken. It ends as NotDone only when none of them was done; as
        ApplyError, with ``outcomes``, when all were applied and ``apply`` raised for some; as
        Unknown, with ``outcomes`` (a list of Done or exceptions), when some were. Cheaper than single proposals.

        timeout: as of ``propose``; all of them are proposed again while certainly none was done. Raises what
        ``propose`` raises, and takes none then; TypeError for what are not several.
        """
        self._check_running()
        try:
            if timeout is None:
                return self._made().proposer.propose_many(datas)
            check_timeout(timeout, none=False)
            patience = self._made().watch.patience
            assert patience is not None
            datas = check_datas(datas)
            return patience.propose_many(datas, int(min(max(timeout, 0.0), SECONDS_MAX) * 1e9))
        except Stopped:
            self._refuse()

    def session(self, name: str | bytes | None = None, *, ttl: float = TTL, keep_alive: bool = True) -> Session[R]:
        """Open a session: what is proposed through it is applied once and in order, however often it is repeated.

        See raftx.Session for what that means. name: of a session that may be opened again, here or elsewhere; None: one
        that nobody else can have. ttl: seconds without use after which the cluster forgets it. keep_alive: renew it
        while it proposes nothing, as long as it is not closed and this node and the Session live. Returns at once;
        ``open`` of the session tells when the cluster knows it. Raises Stopped, UsageError.
        """
        self._check_running()
        parts = self._made()
        assert parts.watch.patience is not None
        if not isinstance(keep_alive, bool):
            raise UsageError(f"keep_alive must be True or False, not {keep_alive!r}")
        renewals = parts.watch.renewals if keep_alive else None
        least = HEADER.size + OPENING.size
        if parts.proposer.max_entry_bytes < least:
            raise UsageError(
                f"sessions need Config.max_entry_bytes of at least {least}, for the entry that opens one, and it is "
                f"{parts.proposer.max_entry_bytes}: raise it on every member"
            )
        made: Session[R] = Session(parts.watch.patience, parts.proposer.max_entry_bytes, name, ttl, renewals)
        try:
            made.begin()
        except Stopped:
            self._refuse()
        return made

    def barrier(self) -> Future[Done[None]]:
        """Write an entry without a command, and wait for it; returns a Future of Done(index, term, None).

        When it is done, everything that was committed before this call, whoever proposed it, is applied here, and the
        leader of the entry's term has led since: it costs a write on a quorum, where ``read`` costs a round of
        heartbeats and promises as much of what was acknowledged. It is of use where the log itself must have come past
        a point: before a snapshot, say, or to see that the cluster can write. On any member. State machines and
        ``committed`` are not given the entry. Ends otherwise as a proposal does; repeating it is harmless. Raises
        Stopped.
        """
        self._check_running()
        try:
            return self._made().proposer.barrier()
        except Stopped:
            self._refuse()

    def read(self, *, level: str = "linearizable", max_staleness: float | None = None) -> Future[int]:
        """Wait until this member can be read; returns a Future of the index up to which everything is applied here.

        level "linearizable": when it is done, everything that was acknowledged before this call, by any member, is
        applied here: what the state machine then says is linearizable. On any member, a learner too. The leader is
        asked, and asks a quorum whether it still leads (ReadIndex); nothing is written. Any number of reads share a
        round of heartbeats.

        level "lease": the same promise, without a round of heartbeats, on a leader whose lease holds: a quorum has
        confirmed it within 0.8 * (election_ticks - 2 * heartbeat_ticks) ticks, by a clock that also runs while the
        system sleeps (CLOCK_BOOTTIME). It relies on clocks that run at rates which differ by less than a fifth, and
        that are not stopped with their machine: a hypervisor that pauses a guest must let its clock go on. On other
        members, and where no lease holds, it is a linearizable read; a transfer of leadership ends the lease.

        level "stale": everything that was acknowledged more than ``max_staleness`` seconds (above 0) before this call,
        by any member, is applied here; it may be older than what was read before. It is done at once when a question
        to the leader that was asked within that time was answered, and the answer is applied; a question is asked
        ahead of time while such reads come. Else the leader is asked, as above, and it ends as NotDone at once when
        none is known, or as soon as this member has lost its leader.

        While no leader is known the other levels wait for one. It ends as NotDone (safe to repeat) after
        proposal_timeout_ms, at once as Busy when too many wait, and when the node ends. Raises Stopped; UsageError for
        other levels, for what is no staleness, and for a lease without check_quorum, or with an election timeout of
        two heartbeat intervals or less.
        """
        life = self._life
        if level == "linearizable" and max_staleness is None and life.phase == lifecycle.RUNNING and not life.failure:
            return self._made().applier.readers.read(None, False)  # of many at once, at little cost
        return self._read(None, level, max_staleness)

    def query(
        self,
        function: Callable[[Any], T],
        *,
        level: str = "linearizable",
        max_staleness: float | None = None,
    ) -> Future[T]:
        """Call ``function(state_machine)`` behind a read; returns a Future of what it returned, or raised.

        It sees the state machine at rest, on the apply thread, between two entries, and at least as new as ``read`` of
        this level promises. It must be quick and change nothing: entries wait meanwhile. Ends otherwise as ``read``
        does. For type checkers the future is of what ``function`` says that it returns; of a lambda that is Any, since
        the type of a node tells of results, and not of its machine. A method does: ``node.query(Counter.total)``.

        Raises what ``read`` raises; UsageError without a state machine, for what cannot be called, and for an
        ``async def`` or a generator function, of which nothing would run there.
        """
        check_function(function)
        if self._outside.state_machine is None:
            self._check_running()
            raise UsageError("the node has no state_machine that could be asked: use read() and what you keep yourself")
        return self._read(function, level, max_staleness)

    def _read(self, function: Callable[[Any], Any] | None, level: str, max_staleness: float | None) -> Future[Any]:
        check_level(level, max_staleness)
        self._check_running()
        parts = self._made()
        by_lease = level == "lease"
        if by_lease and not (parts.engine.leases.promises and parts.engine.leases.own_ms):
            raise UsageError(
                'level="lease" needs check_quorum=True and election_ticks above 2 * heartbeat_ticks, on all members: '
                "without them voters may help another leader at any time"
            )
        if level == "stale":
            assert max_staleness is not None
            return parts.applier.readers.read_stale(function, int(min(max_staleness, SECONDS_MAX) * 1e9))
        return parts.applier.readers.read(function, by_lease)

    def wait_leader(self, timeout: float | None = None) -> int:
        """Wait until this member knows a leader; returns its id. Raises TimeoutError, Stopped or what ended the node.

        Raises UsageError for what is no time, and where it would wait on a thread of the node.
        """
        self._check_running()
        check_timeout(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        changes = self.state_changes
        while True:
            # Asked for after the stream: a change in between is in the stream.
            leader = self.leader_id
            if leader:
                return leader
            rest = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                changes.next(rest)
            except StopIteration:
                self._refuse()
            except TimeoutError:
                raise no_leader(timeout, self) from None

    def wait_ready(self, timeout: float | None = None) -> int:
        """Wait until a leader is known and what was acknowledged before this call is applied here; the leader's id.

        A read that is repeated: after the start of a member, say, before it serves anybody. A member whose state
        machine is behind, the leader too, is not ready before it has caught up: ``status().behind`` has how many
        entries are still to be applied. Raises as ``wait_leader``; TimeoutError says what it waits for.
        """
        check_timeout(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                leader = self.wait_leader(None if deadline is None else max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                raise no_leader(timeout, self) from None
            try:
                self.read().result(None if deadline is None else max(0.0, deadline - time.monotonic()))
                return leader
            except NotDone:
                time.sleep(PAUSE_SECONDS)
            except TimeoutError:
                raise self._not_ready(timeout) from None

    def _not_ready(self, timeout: float | None) -> TimeoutError:
        parts = self._made()
        why, _ = parts.stuck()
        why = why or parts.diverged() or f"leader {self.leader_id}, {parts.proposer.behind()} entries to apply"
        return TimeoutError(f"not ready after {timeout:g} s: {why}")

    def wait_applied(self, index: int, timeout: float | None = None) -> int:
        """Wait until everything up to ``index`` is applied here; returns the last index that is.

        Raises TimeoutError after ``timeout`` seconds, Stopped or what ended the node, UsageError for what is no index
        or no time, and where it would wait on a thread of the node.
        """
        check_timeout(timeout)
        asked = self._ask_applied(index)
        if asked is None:
            return self.applied_index
        future, request = asked
        try:
            if self._life.is_mine():
                raise UsageError("a thread of the node cannot wait for an entry to be applied")
            future.result(timeout)
        except TimeoutError:
            raise self._not_applied(index, timeout) from None
        except NotDone:
            self._cause.check()
            self._refuse()
        finally:
            self._outcomes.drop(request)
        return self.applied_index

    def _ask_applied(self, index: int) -> tuple[Future[None], int] | None:
        """Ends when that entry is applied here: a Future, and the request's number, to be dropped by who waits no more.

        None: it is applied.
        """
        self._check_running()
        if not is_id(index, 0):
            raise UsageError(f"index must be an integer in 0..2^63-1, not {index!r}")
        parts = self._made()
        if parts.engine.apply_gauges.index >= index:
            return None
        asked = parts.applier.readers.wait_applied(index)
        if asked is None:
            raise Busy(f"{READS_MAX} requests wait already")
        return asked

    def _not_applied(self, index: int, timeout: float | None) -> TimeoutError:
        return TimeoutError(f"entry {index} is not applied after {timeout} s: {self.applied_index} is the last one")

    def campaign(self) -> Future[StateChange]:
        """Campaign now instead of after the election timeout; returns a Future of the StateChange that it ends with.

        It ends as done when this node is seen to lead (at once on a leader), as NotDone when it may not campaign or
        another member was elected instead, as Unknown after proposal_timeout_ms. A member that has heard of a leader
        within an election timeout may not, with check_quorum: the leader may rely on its vote for reads by lease; ask
        for ``transfer_leadership`` then. Raises Stopped.
        """
        self._check_running()
        future, request = self._open(KIND_CAMPAIGN)
        parts = self._made()
        if not parts.takes_requests() or not parts.commands.campaign(request):
            self._no_room(request)
        return future

    def step_down(self) -> Future[StateChange]:
        """Give leadership up without a successor; returns a Future of the StateChange: this member follows nobody.

        Another member campaigns when it has heard of no leader for an election timeout, and this one not before two
        have passed: so there is no leader meanwhile, which ``transfer_leadership`` avoids. It may be elected again.
        Ends as NotDone when it does not lead. Raises Stopped.
        """
        self._check_running()
        future, request = self._open(KIND_STEP_DOWN)
        parts = self._made()
        if not parts.takes_requests() or not parts.commands.step_down(request):
            self._no_room(request)
        return future

    def transfer_leadership(self, to: int | None = None) -> Future[StateChange]:
        """Ask the leader to hand over to ``to`` (None or 0, on the leader only: to the voter that is most up to date).

        Returns a Future of the StateChange in which ``to`` was seen to lead. It ends as NotDone when no leader is
        known, when there is no such voter, when another transfer is under way or takes its place, when another member
        was elected, and, on the leader, when ``to`` has not taken over within an election timeout; as Unknown after
        proposal_timeout_ms. Raises Stopped, UsageError for an id that is not a voter's, TypeError for what is no id.
        """
        self._check_running()
        to = 0 if to is None else to
        check_id(to)
        if to and (not is_id(to) or to not in self._outside.configuration.value.voters):
            voters = self._outside.configuration.value.voters
            raise UsageError(f"to must be a voter, one of {voters}, or None, not {to}")
        future, request = self._open(KIND_TRANSFER)
        parts = self._made()
        if not parts.takes_requests() or not parts.commands.transfer(to, request):
            self._no_room(request)
        return future

    def snapshot(self) -> Future[Descriptor]:
        """Take a snapshot of what is applied now; returns a Future of its description: index, term, size, version.

        It ends as done when the snapshot is durable, however long that takes; as NotDone with the reason when it could
        not be made. Raises Stopped.
        """
        self._check_running()
        future, request = self._open(KIND_SNAPSHOT)
        self._made().keeper.ask(request)
        return future

    def backup(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Future[Descriptor]:
        """Write the state of what is applied now into a file anywhere; returns a Future of its description.

        The file is a snapshot's (mode 0600), for ``raftx restore``. It is whole and durable when the future is done,
        and appears under its name in one step. overwrite: in place of a file that is there. The node goes on
        meanwhile; backups and snapshots are written one after the other. It ends as NotDone, with the reason, when it
        could not be written: the state machine has no ``snapshot``, there is such a file, or something that is no file
        (a pipe, a device, a directory), no room. Raises Stopped, and UsageError for what is no path, or leads into the
        directory of a member.
        """
        self._check_running()
        from ..storage.paths import check_foreign  # here: see Node.__init__
        from ..storage.snapshot_copy import file_path
        from .keeper import Backup

        where = file_path(path, "path")
        check_foreign(where, "path", UsageError)
        if not isinstance(overwrite, bool):
            raise UsageError(f"overwrite must be True or False, not {overwrite!r}")
        future, request = self._open(KIND_BACKUP)
        self._made().keeper.back_up(Backup(request, where, overwrite))
        return future

    def compact(self, index: int) -> Future[int]:
        """Say that entries up to ``index`` are not needed here any more; returns a Future of that index.

        For an owner whose state machine keeps its state durably itself and has no ``snapshot``: a snapshot lets entries
        go without being asked. A member that lacks such an entry cannot be helped by this one. Ends as NotDone when the
        entry is not applied and durable here, or, where there are snapshots, is in none of them: a start needs them;
        where there are none, also while sessions are in use; as Unknown after proposal_timeout_ms. Raises Stopped,
        UsageError.
        """
        self._check_running()
        if not is_id(index):
            raise UsageError(f"index must be an integer in 1..2^63-1, not {index!r}")
        future, request = self._open(KIND_COMPACTION)
        parts = self._made()
        newest = parts.keeper.covered()
        if index < parts.engine.gauges.first:
            self._outcomes.settle(request, index)  # they are gone already
        elif newest is not None and index > newest:
            lacks = (
                f"with the newest snapshot, which is of entry {newest}, and lack what follows up to {index}"
                if newest
                else f"with an empty state, as there is no snapshot yet, and lack what is applied up to {index}"
            )
            self._outcomes.reject(
                request, f"a start would begin {lacks}: take a snapshot() first, which lets entries go by itself"
            )
        elif newest is None and parts.applier.sessions.live(parts.applier.time):
            self._outcomes.reject(request, SESSIONS_LIVE)
        elif not parts.takes_requests() or not parts.commands.release(index, request):
            self._no_room(request)
        return future

    def _open(self, kind: int) -> tuple[Future[Any], int]:
        """A request that is going to be handed to the engine: its future, and its number."""
        future: Future[Any] = Future()
        future._owner = self._outcomes
        return future, self._outcomes.open(kind, future)

    def _no_room(self, request: int) -> None:
        """A request is not handed to the engine, because too much waits: it was not done."""
        self._outcomes.reject(
            request, "too many requests wait: does apply() not return, or is node.committed not read?", Busy
        )


def no_leader(timeout: float | None, node: Requests[Any]) -> TimeoutError:
    """Nobody was known to lead in all that time."""
    waits = not node._made().members.now.ids()
    why = f": {WAITS.format(id=node._outside.config.id)}" if waits else ""
    return TimeoutError(f"no leader is known after {timeout:g} s{why}")


def check_level(level: object, max_staleness: object) -> None:
    """Raise UsageError for what is no level of reads, and for a staleness that does not belong to it."""
    if level not in LEVELS:
        raise UsageError(f"level must be one of {', '.join(LEVELS)}, not {level!r}")
    if level != "stale":
        if max_staleness is not None:
            raise UsageError(f'max_staleness is for level="stale", not for {level!r}')
        return
    number = isinstance(max_staleness, (int, float)) and not isinstance(max_staleness, bool)
    if not number or not max_staleness > 0:  # type: ignore[operator]  # a number by now; nan is not above 0
        raise UsageError(f"max_staleness must be a number of seconds above 0, not {max_staleness!r}")
