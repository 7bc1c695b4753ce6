"""What may be asked of a node: each request is a future that ends in done, not done (why) or unknown.

The part of Node that hands requests over. What becomes of them is decided in the engine and on the apply thread.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from ..errors import NotDone, Stopped, UsageError
from ..storage.snapshot_copy import file_path
from ..types import StateChange, check_id, check_timeout, is_id
from . import lifecycle
from .assembly import Outside, Parts
from .events import Consumer
from .futures import Future
from .keeper import Backup
from .lifecycle import Life
from .outcomes import KIND_BACKUP, KIND_CAMPAIGN, KIND_COMPACTION, KIND_READ, KIND_SNAPSHOT, KIND_TRANSFER, Outcomes
from .proposer import Data, size_of
from .readers import READS_MAX
from .session import TTL, Session
from .session_table import SESSIONS_LIVE

SECONDS_MAX = 1e9  # what a clock in nanoseconds can count
PAUSE_SECONDS = 0.005  # before a read that was not done is asked for again


class Requests:
    """The requests of a Node, which has the rest."""

    _life: Life
    _outside: Outside
    _outcomes: Outcomes
    _parts: Parts | None

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

    def _made(self) -> Parts:
        raise NotImplementedError

    def _check_running(self) -> None:
        raise NotImplementedError

    def _refuse(self) -> NoReturn:
        raise NotImplementedError

    def propose(self, data: Data, *, timeout: float | None = None) -> Future:
        """Propose a command, on any member; returns a Future of Done(index, term, result).

        ``data`` has 0..max_entry_bytes bytes. The future ends as done when the entry was applied *here*, with the
        ApplyError that ``apply`` raised for it, as NotDone (safe to repeat) or as Unknown; at once as NotDone when
        max_open_proposals are open or max_waiting_bytes wait, and as DiskFull, a NotDone, when this node's disk or its
        leader's has no room.

        timeout: seconds in which it ends, whatever happens, and in which it is proposed again and again while it is
        certainly not done: without a leader, say, or while leadership moves. What is unknown is not repeated. Without
        one there is one attempt, and proposal_timeout_ms. Raises EntryTooLarge, Stopped, TypeError, and UsageError for
        a memoryview that was released and for what is no time.
        """
        if self._life.phase != lifecycle.RUNNING:
            self._refuse()
        try:
            if timeout is None:
                return self._made().proposer.propose(data)
            return self._patient(data, timeout)
        except Stopped:
            self._refuse()

    def _patient(self, data: Data, timeout: float) -> Future:
        check_timeout(timeout, none=False)
        patience = self._made().watch.patience
        assert patience is not None
        size_of(data)  # raises for what is no data, which bytes() may take for something else
        return patience.propose(data, int(min(max(timeout, 0.0), SECONDS_MAX) * 1e9))

    def propose_many(self, datas: Iterable[Data]) -> Future:
        """Propose several commands in order behind one Future of a list of Done.

        There is room for all of them or none is taken. It ends as NotDone only when none of them was done; as
        ApplyError, with ``outcomes``, when all were applied and ``apply`` raised for some; as
        Unknown, with ``outcomes`` (a list of Done or exceptions), when some were. Cheaper than single proposals.
        Raises what ``propose`` raises, and takes none then.
        """
        self._check_running()
        try:
            return self._made().proposer.propose_many(datas)
        except Stopped:
            self._refuse()

    def session(self, name: str | bytes | None = None, *, ttl: float = TTL) -> Session:
        """Open a session: what is proposed through it is applied once and in order, however often it is repeated.

        See raftx.Session for what that means. name: of a session that may be opened again, here or elsewhere; None: one
        that nobody else can have. ttl: seconds without a proposal after which the cluster forgets it. Returns at once;
        ``open`` of the session tells when the cluster knows it. Raises Stopped, UsageError.
        """
        self._check_running()
        parts = self._made()
        assert parts.watch.patience is not None
        made = Session(parts.watch.patience, parts.proposer.max_entry_bytes, name, ttl)
        try:
            made.begin()
        except Stopped:
            self._refuse()
        return made

    def read(self) -> Future:
        """Wait until this member can be read; returns a Future of the index up to which everything is applied here.

        When it is done, everything that was acknowledged before this call, by any member, is applied here: what the
        state machine then says is linearizable. On any member, a learner too. The leader is asked, and asks a quorum
        whether it still leads (ReadIndex); nothing is written. Any number of reads share a round of heartbeats.

        While no leader is known it waits for one. It ends as NotDone (safe to repeat) after proposal_timeout_ms,
        at once when too many wait, and when the node ends. Raises Stopped.
        """
        return self._read(None)

    def query(self, function: Callable[[Any], Any]) -> Future:
        """Call ``function(state_machine)`` behind a read; returns a Future of what it returned, or raised.

        It sees the state machine at rest, on the apply thread, between two entries, and at least as new as ``read``
        promises. It must be quick and change nothing: entries wait meanwhile. Ends otherwise as ``read`` does. Raises
        Stopped; UsageError without a state machine, and for what cannot be called.
        """
        if not callable(function):
            raise UsageError(f"function must be callable with the state machine, not {function!r}")
        if self._outside.state_machine is None:
            self._check_running()
            raise UsageError("the node has no state_machine that could be asked: use read() and what you keep yourself")
        return self._read(function)

    def _read(self, function: Callable[[Any], Any] | None) -> Future:
        self._check_running()
        parts = self._made()
        future, request = self._open(KIND_READ)
        if parts.engine.gauges.diverged:
            self._outcomes.reject(request, "what is committed here contradicts the leader's log: status() has more")
            return future
        ticket = parts.applier.readers.add(request, function)
        if ticket:
            parts.engine.reads.want(ticket)
            parts.engine.event.py_wake()
        else:
            self._outcomes.reject(request, f"{READS_MAX} reads wait already")
        return future

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
                raise TimeoutError(f"no leader is known after {timeout} s") from None

    def wait_ready(self, timeout: float | None = None) -> int:
        """Wait until a leader is known and what was acknowledged before this call is applied here; the leader's id.

        A read that is repeated: after the start of a member, say, before it serves anybody. Raises as ``wait_leader``.
        """
        check_timeout(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            leader = self.wait_leader(None if deadline is None else max(0.0, deadline - time.monotonic()))
            try:
                self.read().result(None if deadline is None else max(0.0, deadline - time.monotonic()))
                return leader
            except NotDone:
                time.sleep(PAUSE_SECONDS)
            except TimeoutError:
                raise TimeoutError(f"not ready after {timeout} s: leader {self.leader_id}") from None

    def campaign(self) -> Future:
        """Campaign now instead of after the election timeout; returns a Future of the StateChange that it ends with.

        It ends as done when this node is seen to lead (at once on a leader), as NotDone when it may not campaign or
        another member was elected instead, as Unknown after proposal_timeout_ms. Raises Stopped.
        """
        self._check_running()
        future, request = self._open(KIND_CAMPAIGN)
        parts = self._made()
        if not parts.takes_requests() or not parts.commands.campaign(request):
            self._no_room(request)
        return future

    def transfer_leadership(self, to: int = 0) -> Future:
        """Ask the leader to hand over to ``to`` (0, on the leader only: to the voter that is most up to date).

        Returns a Future of the StateChange in which ``to`` was seen to lead. It ends as NotDone when no leader is
        known, when there is no such voter, when another transfer is under way or takes its place, when another member
        was elected, and, on the leader, when ``to`` has not taken over within an election timeout; as Unknown after
        proposal_timeout_ms. Raises Stopped, UsageError for an id that is not a voter's, TypeError for what is no id.
        """
        self._check_running()
        check_id(to)
        if to and (not is_id(to) or to not in self._outside.configuration.value.voters):
            raise UsageError(f"to must be a voter, one of {self._outside.configuration.value.voters}, or 0, not {to}")
        future, request = self._open(KIND_TRANSFER)
        parts = self._made()
        if not parts.takes_requests() or not parts.commands.transfer(to, request):
            self._no_room(request)
        return future

    def snapshot(self) -> Future:
        """Take a snapshot of what is applied now; returns a Future of its description: index, term, size, version.

        It ends as done when the snapshot is durable, however long that takes; as NotDone with the reason when it could
        not be made. Raises Stopped.
        """
        self._check_running()
        future, request = self._open(KIND_SNAPSHOT)
        self._made().keeper.ask(request)
        return future

    def backup(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Future:
        """Write the state of what is applied now into a file anywhere; returns a Future of its description.

        The file is a snapshot's (mode 0600), for ``raftx restore``. It is whole and durable when the future is done,
        and appears under its name in one step. overwrite: in place of a file that is there. The node goes on
        meanwhile; backups and snapshots are written one after the other. It ends as NotDone, with the reason, when it
        could not be written: the state machine has no ``snapshot``, there is such a file, or something that is no file
        (a pipe, a device, a directory), no room. Raises Stopped, UsageError for what is no path.
        """
        self._check_running()
        where = file_path(path, "path")
        if not isinstance(overwrite, bool):
            raise UsageError(f"overwrite must be True or False, not {overwrite!r}")
        future, request = self._open(KIND_BACKUP)
        self._made().keeper.back_up(Backup(request, where, overwrite))
        return future

    def compact(self, index: int) -> Future:
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
        if newest is not None and index > newest:
            self._outcomes.reject(
                request,
                f"a start would begin with the newest snapshot, which is of entry {newest}, and lack what follows up "
                f"to {index}: take a snapshot() first, which lets entries go by itself",
            )
        elif newest is None and parts.applier.sessions.live(parts.applier.time):
            self._outcomes.reject(request, SESSIONS_LIVE)
        elif not parts.takes_requests() or not parts.commands.release(index, request):
            self._no_room(request)
        return future

    def _open(self, kind: int) -> tuple[Future, int]:
        """A request that is going to be handed to the engine: its future, and its number."""
        future = Future()
        future._owner = self._outcomes
        return future, self._outcomes.open(kind, future)

    def _no_room(self, request: int) -> None:
        """A request is not handed to the engine, because too much waits: it was not done."""
        self._outcomes.reject(
            request, "too many requests wait: does apply() not return, or is node.committed not read?"
        )
