"""Node: one member of a cluster, with its threads, storage and transport. The public face.

Starts and ends the threads, hands out futures and streams, and reports what ended the node. Rules
of Raft, files and sockets are elsewhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, overload

from .._native.memory import Entry
from .._native.threads import Clock
from ..config import Config
from ..errors import ConfigError, Removed, Stopped, UsageError
from ..report import report
from ..storage.in_use import as_node
from ..storage.protocol import Storage
from ..transport.protocol import Transport
from ..types import LEADER, ConfState, Role, StateChange, check_timeout
from . import lifecycle, rows
from .events import Cause, Consumer, History, Published, Stream, no_stop
from .executor import Executor, Threads
from .lifecycle import Life, Worker
from .looking import Looking
from .machines import BatchStateMachine, StateMachine
from .outcomes import Outcomes
from .outside import Outside
from .requests import SECONDS_MAX, R
from .serving import make_server

if TYPE_CHECKING:
    from .members import Membership
    from .parts import Parts
    from .status import Status

R_new = TypeVar("R_new")

STATE_CHANGES_KEPT = 1024
COMMITTED_KEPT = 10_000
TRANSFER_SECONDS = 0.4  # a clean stop waits so long for somebody else to lead
JOIN_SECONDS = 5.0
LAST_SECONDS = 0.1  # so long a close waits for last callbacks, and for the last lines of the log, in any case
NET_SECONDS = 1.0  # so long a send may take before the transport is closed under it


class Node(Looking[R]):
    """One member of a Raft cluster. Generic in what ``apply`` of its state machine returns.

    config, storage and transport belong to this node alone; ``state_machine`` may be left out when
    ``committed`` is consumed instead. ``clock`` may be a ``ManualClock`` in tests, and ``executor`` something else
    than threads (raftx.testing.stepped). ``admin`` is an address, "127.0.0.1:8080" say, at which the node shows itself
    and its cluster while it runs, and ``admin_token`` lets members be changed there; see docs/admin.md (extra
    ``service``). Nothing runs before ``start()`` (or ``with``). All methods may be called
    from any thread and in signal handlers. In a forked child the node is the parent's: ``close`` does nothing there, so
    that a ``with`` block may be left, and everything else raises UsageError, the node's futures, streams and sessions
    included: waiting for what ends in another process would never end.

    The end of a ``with`` block closes the node, and raises nothing of a failure before, which was logged: a program
    that ends there exits with 0. Whoever has to know asks ``wait()``, which raises what ended the node, or ``failure``,
    in the block or after it.

    A node that does not run, was closed or has failed neither leads nor follows: ``is_leader`` is False, ``role``
    NONE, ``leader_id`` 0. Term and indexes stay as they were.
    """

    @overload
    def __init__(
        self: Node[None],
        config: Config,
        storage: Storage,
        transport: Transport,
        state_machine: None = None,
        *,
        clock: Clock | None = None,
        executor: Executor | None = None,
        admin: str | None = None,
        admin_token: str | None = None,
        admin_insecure: bool = False,
    ) -> None: ...

    @overload
    def __init__(
        self,
        config: Config,
        storage: Storage,
        transport: Transport,
        state_machine: StateMachine[R] | BatchStateMachine[R],
        *,
        clock: Clock | None = None,
        executor: Executor | None = None,
        admin: str | None = None,
        admin_token: str | None = None,
        admin_insecure: bool = False,
    ) -> None: ...

    def __init__(
        self,
        config: Config,
        storage: Storage,
        transport: Transport,
        state_machine: StateMachine[R] | BatchStateMachine[R] | None = None,
        *,
        clock: Clock | None = None,
        executor: Executor | None = None,
        admin: str | None = None,
        admin_token: str | None = None,
        admin_insecure: bool = False,
    ) -> None:
        # Here: whoever imports Node, and makes none, needs no engine. Once a node is made, nothing of raftx is left to
        # be imported while it runs, for one in a signal handler.
        from . import cluster_view  # noqa: F401
        from .assembly import assemble

        self._assemble = assemble
        self._state_changes: History[StateChange] = History(STATE_CHANGES_KEPT)
        configurations: History[Membership] = History(STATE_CHANGES_KEPT)
        self._outside = Outside(
            config,
            storage,
            transport,
            state_machine,
            clock if clock is not None else Clock(),
            self._state_changes,
            Published(ConfState()),
            configurations,
        )
        self._outside.check()
        self._config = config
        self._life = Life(config.id)
        self._state_changes.is_mine = configurations.is_mine = self._life.is_mine
        self._state_changes.check_process = configurations.check_process = self._life.check_process
        self._cause = Cause()
        self._outcomes = Outcomes(config.proposal_timeout_ms * 1_000_000, self._life.enders)
        if executor is not None and (isinstance(executor, type) or not callable(getattr(executor, "worker", None))):
            raise ConfigError(f"executor must have the methods of raftx.node.executor.Executor, not {executor!r}")
        self._executor: Executor = executor if executor is not None else Threads()
        self._admin = make_server(self, admin, admin_token, admin_insecure)
        self._executor.adopt(self._life)
        self._handed_over = False
        #: made by ``start``
        self._parts: Parts | None = None
        self._workers: dict[str, Worker] = {}

    @overload
    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, id: int, state_machine: None = None, create: bool = False,
        admin_token: str | None = None, admin_insecure: bool = False,
    ) -> Node[None]: ...  # fmt: skip

    @overload
    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, id: int, state_machine: StateMachine[R_new] | BatchStateMachine[R_new],
        create: bool = False, admin_token: str | None = None, admin_insecure: bool = False,
    ) -> Node[R_new]: ...  # fmt: skip

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, id: int, state_machine: Any = None, create: bool = False,
        admin_token: str | None = None, admin_insecure: bool = False,
    ) -> Node[Any]:  # fmt: skip
        """Make a member of the cluster in a file (ClusterFile; docs/cluster-file.md has its fields). It is not started.

        Its directory has to have been founded, once (``raftx create``). create: found it if it does not exist, which is
        not the default because a directory may be missing for want of its disk, and a member that was there before
        must not begin anew. Where the file says ``admin``, the node shows itself there; admin_token and admin_insecure
        are those of the constructor. The urls in the file are those that the cluster begins with; changes of membership
        that were made since come first, and a warning names each url that is another one by now.

        Raises ConfigError, which names file, line and field, and NotFounded with the remedy; when it founds, also what
        FileStorage.create raises; UsageError where this Python does not read TOML.
        """
        from ..cluster_file import ClusterFile

        file = ClusterFile.load(path)
        made: Node[Any] = cls(
            file.config(id), file.storage(id, create=create), file.transport(id), state_machine,
            admin=file.members[id].admin, admin_token=admin_token, admin_insecure=admin_insecure,
        )  # fmt: skip
        made._outside.planned = file.path.name, {each.id: each.url for each in file.members.values()}
        return made

    # --- life ------------------------------------------------------------------------------------

    def start(self) -> Node[R]:
        """Open storage and transport and start the threads.

        Raises WrongDirectory, WalDamaged, StorageError, TransportError; UsageError when started before; Stopped
        when it was closed before or meanwhile; RuntimeError when the system has no thread left. Everything that
        was taken is released then, and another node may be made of storage and transport where they allow it. What
        another node uses (WrongDirectory; a transport that was started before) is left alone.
        """
        life = self._life
        life.check_process()
        # A thread that closes it is waited for; one that starts it is not.
        right = life.take() if life.phase != lifecycle.STARTING else None
        if right is None:
            raise UsageError(f"the node cannot be started: it is {life.state}")
        with right:
            if life.phase != lifecycle.NEW:
                if life.phase == lifecycle.ENDED and not self._workers and life.failure is None:
                    raise life.stopped()
                raise UsageError(f"the node cannot be started: it is {life.state}")
            life.move(lifecycle.STARTING)
            try:
                self._parts = parts = self._assemble(
                    self._outside, self._outcomes, life.lines, self._check_closing, self.status
                )
                tasks = parts.tasks(self._engine_ended, self._report_ended, self._ended)
                self._workers = {what: self._executor.worker(what, life, task) for what, task in tasks.items()}
                self._check_closing()
                self._executor.at_exit(self.close)
                life.move(lifecycle.RUNNING)
                for worker in self._workers.values():
                    life.start(worker)
                if self._admin is not None:
                    self._admin.start()
                self._check_closing()
                self._outside.timeline.add("started", "has started")
            except BaseException as error:
                if not life.is_forked():
                    self._give_up(error)
                raise
        return self

    def _check_closing(self) -> None:
        if self._life.closing:
            raise Stopped(f"node {self._config.id} was closed while it was being started")

    def _give_up(self, error: BaseException) -> None:
        """It could not be started, or was closed meanwhile: release what there is."""
        life = self._life
        if not life.closing:
            life.fail(no_stop(error))
        life.move(lifecycle.STOPPING)
        errors: list[BaseException] = []
        stuck = self._shut_down(self._executor.now() + JOIN_SECONDS, errors)
        for each in errors:
            report(logging.ERROR, "node %d could not be started; releasing it:", self.id, error=each)
        if stuck:
            report(logging.ERROR, "node %d could not be started; %s did not end: close it", self.id, stuck)
        else:
            life.move(lifecycle.ENDED)

    def _ended(self, error: BaseException | None) -> None:
        """A worker has done its last round. On this worker."""
        if error is not None:
            self._fail(error)

    def _report_ended(self, error: BaseException | None) -> None:
        self._ended(error)
        if error is not None:
            self._life.lines.write()

    def _engine_ended(self, error: BaseException | None) -> None:
        parts = self._made()
        try:
            if error is not None:
                self._fail(error)
                # The others wait for an end that the engine can no longer tell them.
                parts.end_the_others()
            elif parts.engine.gauges.failed == rows.FAILED_STORAGE:
                self._fail(parts.storage_error())
            elif parts.engine.gauges.failed == rows.FAILED_MEMORY:
                self._fail(parts.memory_lost())
            elif parts.engine.gauges.failed == rows.FAILED_DIVERGED:
                self._fail(parts.contradiction())
        finally:
            self._life.ended.open()

    def _made(self) -> Parts:
        """The parts of a node that was assembled."""
        if self._parts is None:
            self._refuse()
        return self._parts

    def _fail(self, error: BaseException) -> None:
        """Something ended the node: remember the first cause, tell all that wait, stop the rest. Any thread."""
        error = no_stop(error)
        if not self._life.fail(error):
            return
        self._outside.timeline.add("failed", f"has ended: {type(error).__name__}")
        try:
            if isinstance(error, Removed):  # as somebody wanted it
                report(logging.WARNING, "node %d ends: %s", self._config.id, error)
            else:
                report(logging.ERROR, "node %d ends: %s: %s", self._config.id, type(error).__name__, error, error=error)
            self._tell_end()
        finally:
            if self._parts is not None:
                self._parts.stop_engine()
                self._parts.watch.wake()

    def _tell_end(self) -> None:
        """Futures and streams end, with the cause if there is one. Runs no foreign code, and may be called twice."""
        failure = self._life.failure
        self._cause.set(failure)
        if isinstance(failure, Removed) and self._parts is not None:
            self._parts.changer.end()
        self._outcomes.end(failure)
        if self._parts is not None and self._parts.watch.patience is not None:
            self._parts.watch.patience.end(failure)
        self._state_changes.end(failure)
        self._outside.configurations.end(failure)
        if self._outside.committed is not None:
            self._outside.committed.end(failure)

    def close(self, timeout: float = JOIN_SECONDS) -> None:
        """Stop cleanly: hand leadership over, finish what is queued for the disk, release everything.

        Proposals that have not ended by then end as unknown, those not yet handed over as not done. What a slow state
        machine has not applied a second later, it applies after the next start. When it
        returns nothing of the node runs, and a ``start`` that was under way has raised Stopped or will. Takes well
        under a second unless a disk or user code holds it up; gives up waiting for a thread after ``timeout``
        seconds in all and raises UsageError then: what could be released is, and close() may be called again.
        Raises what closing the storage or the transport raised, after everything is released.

        May be called twice, also in a signal handler that interrupts ``start`` or ``close``, and on a thread of the
        node (in ``apply``, in a callback): it returns before the interrupted call, or that thread, has ended then.
        """
        life = self._life
        if life.is_forked():
            return
        check_timeout(timeout, none=False)
        timeout = min(timeout, SECONDS_MAX)
        deadline = self._executor.now() + timeout
        life.closing = True
        try:
            right = life.take(0 if life.is_mine() else timeout)
        except UsageError:
            if life.is_mine():
                return  # another thread is closing the node, and waits for this one
            raise
        if right is not None:
            with right, contextlib.suppress(lifecycle.Abandoned):
                self._close(timeout, deadline)

    def _close(self, timeout: float, deadline: float) -> None:
        """Close it, with the right to."""
        life = self._life
        if life.phase == lifecycle.ENDED:
            return
        if life.phase == lifecycle.NEW:
            life.move(lifecycle.ENDED)
            self._tell_end()
            life.ended.open()
            return
        life.move(lifecycle.STOPPING)
        self._outcomes.stopping = True
        if not life.failure:
            self._outside.timeline.add("closing", "is being closed")
        if not self._handed_over:
            self._handed_over = True
            self._hand_over()
        errors: list[BaseException] = []
        stuck = self._shut_down(deadline, errors)
        if stuck:
            raise UsageError(
                f"{stuck} did not end within {timeout} s: does apply(), snapshot() or what it has returned, restore(), "
                "a callback, the storage or the transport not return?"
            )
        life.move(lifecycle.ENDED)
        if errors:
            raise no_stop(errors[0])

    def _hand_over(self) -> None:
        """Let another voter lead before we go: it is elected at once instead of after a timeout."""
        parts, life = self._made(), self._life
        gauges = parts.engine.gauges
        if gauges.role != LEADER or not life.is_alive() or len(self._outside.configuration.value.voters) < 2:
            return
        parts.engine.commands.transfer(0)
        self._executor.wait_for(
            lambda: bool(gauges.role != LEADER or life.ended.is_open()),
            self._executor.now() + TRANSFER_SECONDS,
        )

    def _shut_down(self, deadline: float, errors: list[BaseException]) -> str:
        """End the workers and release everything, in time. With the right to it; what is released raises nothing.

        Returns the names of the workers that did not end, and adds to ``errors`` what went wrong otherwise.
        """
        parts, outside, now = self._parts, self._outside, self._executor.now
        stuck: list[str] = []
        writes = True

        def release(close: Callable[[], None]) -> None:
            with self._life.lines.taken_over():
                lifecycle.quietly(errors, close)

        def ends(what: str, until: float = deadline) -> bool:
            worker = self._workers.get(what)
            return worker is None or worker not in self._life.workers or worker.is_me() or worker.wait(until)

        def must_end(what: str, until: float = deadline) -> bool:
            if ends(what, until):
                return True
            stuck.append(self._workers[what].name)
            return False

        if self._admin is not None and not self._admin.close(max(LAST_SECONDS, deadline - now())):
            stuck.append("the admin server")
        if parts is not None and self._life.workers:
            parts.stop_engine()
            if outside.committed is not None:
                outside.committed.let_go()
            if self._workers["engine"] not in self._life.workers:
                # It could not be started: nobody else tells the others that nothing follows.
                parts.end_the_others()
        engine_ended = must_end("engine")
        self._life.ended.open()
        if parts is not None and parts.transport_adapter is not None:
            parts.transport_adapter.stop()
            # A send that does not return ends with its transport, perhaps.
            ends("net", min(deadline, now() + NET_SECONDS))
        if engine_ended and outside.owns_transport:
            release(outside.transport.close)
        snapshots_ended = True
        if parts is not None:
            for what, worker in (("snapshot", parts.snapshotter), ("courier", parts.courier)):
                if worker is not None:
                    worker.stop()
                snapshots_ended &= must_end(what)
            parts.memory.stop()
            snapshots_ended &= must_end("memory")
        must_end("net")
        disk_ended = must_end("disk")
        if disk_ended and parts is not None and parts.wal is not None:
            # The disk's worker has told it, unless there was none.
            parts.wal.reserve.stop()
            disk_ended = must_end("reserve")
        if engine_ended:
            # It may be forgetting entries, or giving the state machine a snapshot.
            ends("apply", min(deadline, now() + NET_SECONDS))
            if parts is not None:
                parts.applier.given_up = True  # a state machine that is slow has much left, perhaps
        if disk_ended and engine_ended and snapshots_ended and outside.owns_storage:
            release(as_node(outside.storage.close))
        must_end("apply")
        self._tell_end()
        if parts is not None:
            parts.lookout.stop()
            must_end("look", max(deadline, now() + LAST_SECONDS))
            parts.watch.stop()
            must_end("watch", max(deadline, now() + LAST_SECONDS))
            parts.reporter.stop()
            # What it waits for is the log, whose lock our own caller may hold: a signal handler. It ends by itself, and
            # writes what is left.
            writes = ends("report", now() + LAST_SECONDS)
        if writes:
            self._life.lines.write()
        if not stuck:
            self._executor.not_at_exit(self.close)
        return ", ".join(stuck)

    def __enter__(self) -> Node[R]:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it. What ended it before is not raised here: ``wait()`` does that, and ``failure`` has it."""
        self.close()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the node has ended; raise what ended it. False after ``timeout`` seconds.

        Raises UsageError on a thread of the node, which would wait for itself, and for what is no time.
        """
        check_timeout(timeout)
        self._check_wait()
        if not self._life.ended.wait(timeout):
            return False
        self._cause.set(self._life.failure)
        self._cause.check()
        return True

    def _check_wait(self) -> None:
        self._life.check_process()
        if not self._life.ended.is_open() and self._life.is_mine():
            raise UsageError("a thread of the node cannot wait for the end of the node")

    # --- streams ---------------------------------------------------------------------------------

    @property
    def committed(self) -> Stream[Entry]:
        """A stream of every committed entry; ask for it before ``start`` to get them all.

        While the node runs nothing is lost: when the consumer is 10,000 entries behind, applying waits (consensus does
        not). ``close`` waits for no consumer: what has no room then is applied, and does not come out; ``lost`` of the
        stream counts it. Consumers share the stream. It ends when the node is closed; when the node has failed, by
        raising what ended it. A thread of the node never waits here: where it would, UsageError is raised.
        """
        self._life.check_process()
        outside = self._outside
        if outside.committed is None:
            if self._life.phase != lifecycle.NEW:
                raise UsageError("ask for node.committed before the node is started")
            outside.committed = Stream(COMMITTED_KEPT)
            outside.committed.is_mine = self._life.is_mine
            outside.committed.check_process = self._life.check_process
        return outside.committed

    @property
    def state_changes(self) -> Consumer[StateChange]:
        """A new stream of (term, leader, role): from the oldest change that is kept, the newest 1,024 are.

        Each stream, that is each time this is asked for, gets every change; one that reads too slowly loses the
        oldest, and counts them in ``lost``. What the node is at present is in ``leader_id``, ``role`` and ``term``.
        It ends when the node is closed; when the node has failed, by raising what ended it.
        """
        self._life.check_process()
        return self._state_changes.consumer()

    # --- what it is ------------------------------------------------------------------------------

    @property
    def id(self) -> int:
        """This member's id."""
        return self._config.id

    @property
    def config(self) -> Config:
        """The settings it was made with."""
        return self._config

    @property
    def leader_id(self) -> int:
        """The leader this member knows of; 0 for none, and while the node does not run."""
        self._life.check_process()
        return self._gauge("leader") if self._life.is_alive() else 0

    @property
    def term(self) -> int:
        """The present term."""
        return self._gauge("term")

    @property
    def role(self) -> Role:
        """FOLLOWER, CANDIDATE, PRE_CANDIDATE or LEADER; NONE while the node does not run."""
        self._life.check_process()
        return Role(self._gauge("role")) if self._life.is_alive() else Role.NONE

    @property
    def is_leader(self) -> bool:
        """Whether this member believes that it leads. Another may have been elected since."""
        return self.role == Role.LEADER

    @property
    def commit_index(self) -> int:
        """The last index known to be committed."""
        return self._gauge("commit")

    @property
    def applied_index(self) -> int:
        """The last index that the state machine has."""
        self._life.check_process()
        return 0 if self._parts is None else int(self._parts.engine.apply_gauges.index)

    @property
    def configuration(self) -> ConfState:
        """The members."""
        self._life.check_process()
        return self._outside.configuration.value

    @property
    def failure(self) -> BaseException | None:
        """What ended the node, if something did."""
        return self._life.failure

    def status(self) -> Status:
        """A picture for people, tests and monitoring. Any thread. docs/reference.md has every field, with its unit.

        It asks the system how much room the member's directory takes; a disk that hangs may hold that up.
        """
        from .. import __version__  # here: each module can be imported without the top of the package
        from .status import QueueStatus, Status, disk_status, latency_status, published, woken

        self._life.check_process()
        parts = self._parts
        state = Status(self.id, self._life.state, _in_words(self.failure), version=__version__)
        if parts is None:
            return state
        outside = self._outside
        transport: Any = outside.transport
        space = getattr(outside.storage, "space", None)
        members = outside.configuration.value
        engine, commands, shortage = parts.engine.gauges, parts.commands, parts.shortage()
        (stuck, needed), courier = parts.stuck(), parts.courier
        seen = published(engine, parts.engine.apply_gauges)
        seen |= woken(engine, parts.disk, parts.engine.apply_gauges)
        seen["behind"] = max(seen["behind"], needed - self.applied_index if stuck else 0)
        seen["snapshots_not_taken"] += courier.not_taken if courier is not None else 0
        return dataclasses.replace(
            state,
            stuck=stuck,
            life=parts.life,
            incarnation=parts.incarnation,
            uptime=int(engine.ticks) * self._config.tick_ms / 1000,
            diverged=parts.diverged(),
            unled=parts.unled(),
            waits_for=tuple(parts.waits_for(members.voters + members.voters_outgoing)),
            role=self.role.name.lower(),
            leader=self.leader_id,
            applied=self.applied_index,
            apply_lag=int(parts.proposer.lag_ms()) / 1000,
            pending=self._outcomes.count(),
            configuration=members,
            disagreements={id: tuple(said) for id, said in parts.disagreements.of_all().items()},
            skipped=tuple(parts.skips),
            peers=tuple([each for each in self.members if each.id != self.id]),
            snapshot=parts.keeper.status(),
            transfers=courier.status() if courier is not None else None,
            disk=disk_status(parts.disk, bool(engine.full), shortage, space() if space is not None else None),
            queues=QueueStatus(
                proposal_bytes=int(parts.proposer.proposals.py_backlog()),
                log_bytes=int(engine.log_bytes),
                writes=int(parts.writes.pending),
                applies=int(parts.applies.pending),
                commands=int(commands.pending),
                commands_dropped=commands.refused,
            ),
            latency=latency_status(parts.engine.stamps),
            transport=transport.status() if hasattr(transport, "status") else {},
            **seen,
        )

    def stage_times(self) -> list[tuple[int, int, int, int, int, int]]:
        """While leading: (index, proposed, appended, durable here, committed, applied) of the newest rounds, in ns.

        One row for each round of proposals the engine took, with the time of its oldest proposal first. Empty before
        the node is started.
        """
        self._life.check_process()
        if self._parts is None:
            return []
        rounds: list[tuple[int, int, int, int, int, int]] = self._parts.engine.stamps.rows()
        return rounds

    def _gauge(self, name: str) -> int:
        self._life.check_process()
        return 0 if self._parts is None else int(getattr(self._parts.engine.gauges, name))

    def _check_running(self) -> None:
        if self._life.phase != lifecycle.RUNNING or self._life.failure is not None:
            self._refuse()

    def _refuse(self) -> NoReturn:
        self._life.check_process()
        raise self._life.stopped()

    def __repr__(self) -> str:
        life = self._life
        if life.is_forked():
            return f"<raftx.Node {self.id} of the process that this one was forked from>"
        why = f" ({_in_words(life.failure)})" if life.failure is not None else ""
        if not life.is_alive():
            return f"<raftx.Node {self.id} {life.state}{why} term={self.term}>"
        behind = self._made().proposer.behind()
        lag = f" behind={behind}" if behind else ""
        role = self.role.name.lower()
        return f"<raftx.Node {self.id} {life.state} {role} term={self.term} leader={self.leader_id}{lag}>"


def _in_words(error: BaseException | None) -> str | None:
    return None if error is None else f"{type(error).__name__}: {error}"
