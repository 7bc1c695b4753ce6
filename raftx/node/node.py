"""Node: one member of a cluster, with its threads, storage and transport. The public face.

Starts and ends the threads, hands out futures and streams, and reports what ended the node. Rules
of Raft, files and sockets stand elsewhere.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import logging
import os
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, NoReturn, Protocol, TypeAlias

from .. import _core, _sys
from ..config import Config
from ..consensus.raft import Raft
from ..errors import ConfigError, Stopped, StorageFailed, UsageError
from ..storage.protocol import CELL_ERROR, Storage
from ..storage.wal_format import describe
from ..transport.link import QueueLink
from ..transport.news import describe as describe_note
from ..transport.protocol import Transport
from ..types import LEADER, ConfState, Role, StateChange, check_id, is_id
from . import lifecycle, rows
from .adapter import StorageAdapter, TransportAdapter
from .apply import Applier
from .engine import Engine
from .events import Consumer, History, Stream
from .futures import Future
from .lifecycle import Life, Worker
from .outcomes import Outcomes
from .proposer import Proposer
from .report import report
from .stamps import Stamps
from .status import status_of
from .watch import Watch

Data: TypeAlias = "bytes | bytearray | memoryview"

STATE_CHANGES_KEPT = 1024
COMMITTED_KEPT = 10_000
FRAME_OVERHEAD = 64 + 64 + 32 + 24  # frame, message, record and envelope around one entry
FRAME_UNIT = 1 << 16  # what a frame header tells limits in
FRAME_MAX = 1 << 30  # bytes of a frame where the transport sets no limit
TRANSFER_SECONDS = 0.4  # a clean stop waits so long for somebody else to lead
JOIN_SECONDS = 5.0
STARTED = ("net", "reserve", "disk", "watch", "apply", "engine")  # in this order: each needs those before it
NET_SECONDS = 1.0  # so long a send may take before the transport is closed under it


class StateMachine(Protocol):
    """What an application replicates."""

    def apply(self, entry: _core.Entry, /) -> Any:
        """Take one committed entry (index, term, data) and return the proposal's result.

        Called on the apply thread, in the order of index, each entry once. Must depend on nothing but
        the entries. An exception ends the node: other members would fail alike.
        """


class Node:
    """One member of a Raft cluster.

    config, storage and transport belong to this node alone; ``state_machine`` may be left out when
    ``committed`` is consumed instead. ``clock`` may be a ``ManualClock`` in tests. Nothing runs before
    ``start()`` (or ``with``). All methods may be called from any thread and in signal handlers. In a forked child
    the node is the parent's: ``close`` does nothing there, everything else raises UsageError.

    A node that was closed or has failed does not lead and knows no leader: ``is_leader`` is False, ``role``
    FOLLOWER, ``leader_id`` 0. Term and indexes stay as they were.
    """

    def __init__(
        self,
        config: Config,
        storage: Storage,
        transport: Transport,
        state_machine: StateMachine | None = None,
        *,
        clock: _sys.Clock | None = None,
    ) -> None:
        if not isinstance(config, Config):
            raise ConfigError(f"config must be a raftx.Config, not {type(config).__name__}")
        if state_machine is not None and not callable(getattr(state_machine, "apply", None)):
            raise ConfigError("state_machine must have a method apply(entry)")
        if clock is not None and not isinstance(clock, _sys.Clock):
            raise ConfigError(f"clock must be a raftx.Clock or ManualClock, not {type(clock).__name__}")
        limit = getattr(transport, "max_frame_bytes", None)
        largest = max(config.max_entry_bytes, config.max_message_bytes) + FRAME_OVERHEAD
        if limit is not None and largest > limit:
            raise ConfigError(
                f"max_entry_bytes and max_message_bytes must be at most {limit - FRAME_OVERHEAD}, "
                f"what the transport's max_frame_bytes={limit} can carry"
            )
        self._config = config
        self._storage = storage
        self._transport = transport
        self._state_machine = state_machine
        self._clock = clock if clock is not None else _sys.Clock()
        self._life = Life(config.id)
        self._state_changes: History[StateChange] = History(STATE_CHANGES_KEPT)
        self._committed: Stream[_core.Entry] | None = None
        self._outcomes = Outcomes(config.proposal_timeout_ms * 1_000_000)
        self._handed_over = False
        # Made by start():
        self._watch: Watch | None = None
        self._engine: Engine
        self._applier: Applier
        self._proposer: Proposer
        self._wal_cells: _sys.Cells
        self._workers: dict[str, Worker] = {}
        self._transport_adapter: TransportAdapter | None = None
        self._storage_adapter: StorageAdapter | None = None

    # --- life ------------------------------------------------------------------------------------

    def start(self) -> Node:
        """Open storage and transport and start the threads.

        Raises WrongDirectory, WalDamaged, StorageError, TransportError; UsageError when started before; Stopped
        when it was closed before or meanwhile; RuntimeError when the system has no thread left. Everything that
        was taken is released then, and another node may be made of storage and transport where they allow it.
        """
        life = self._life
        life.check_process()
        # Who closes it is waited for; who starts it is not.
        right = life.take() if life.phase != lifecycle.STARTING else None
        if right is None:
            raise UsageError(f"the node cannot be started: it is {life.name()}")
        with right:
            if life.phase != lifecycle.NEW:
                if life.phase == lifecycle.CLOSED and not self._workers and life.failure is None:
                    raise life.stopped()
                raise UsageError(f"the node cannot be started: it is {life.name()}")
            life.phase = lifecycle.STARTING
            try:
                self._build()
                self._check_closing()
                # A process that ends without closing its nodes stops them before NNG and the interpreter go.
                atexit.register(self.close)
                life.phase = lifecycle.RUNNING
                for name in STARTED:
                    if name in self._workers:
                        life.start(self._workers[name])
                self._check_closing()
            except BaseException as error:
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
            life.fail(error)
        life.phase = lifecycle.CLOSING
        errors: list[BaseException] = []
        stuck = self._shut_down(time.monotonic() + JOIN_SECONDS, errors)
        for each in errors:
            report(logging.ERROR, "node %d could not be started; releasing it:", self.id, error=each)
        if stuck:
            report(logging.ERROR, "node %d could not be started; %s did not end: close it", self.id, stuck)
        else:
            life.phase = lifecycle.CLOSED if life.failure is None else lifecycle.FAILED

    def _build(self) -> None:
        config = self._config
        loaded = self._storage.open(config.id, config.cluster)
        log = _core.EntryLog()
        for piece in loaded.records:
            log.py_extend(piece)
        core_config = config
        if config.seed is None:
            core_config = _with_seed(config)
        core = Raft(core_config, log, loaded.hard_state, loaded.conf_state)
        self._check_closing()
        expect = getattr(self._transport, "expect", None)
        if expect is not None:
            expect(config.id, [int(id) for id in core.tracker.peers.column("ids")])
        event = _sys.Event()
        intake = _sys.Intake(event, config.id, loaded.incarnation, config.max_waiting_bytes)
        writes = _sys.Handoff(_sys.Event())
        applies = _sys.Handoff(_sys.Event())
        applier = Applier(config.id, intake, applies, self._state_machine, self._outcomes)
        self._wal_cells = _sys.Cells()
        link = self._open_link(event)
        codec = _core.Codec(config.cluster, config.id, loaded.incarnation)
        limit = getattr(self._transport, "max_frame_bytes", None) or FRAME_MAX
        if limit % FRAME_UNIT == 0:
            # Else it cannot be told exactly, and what would just fit must not be kept back.
            codec.announce(limit)
        engine = Engine(
            core,
            codec,
            link,
            self._clock,
            event,
            intake,
            writes,
            self._wal_cells,
            applies,
            config,
            Stamps(),
            limit,
        )
        if isinstance(link, QueueLink):
            self._transport_adapter = TransportAdapter(self._transport, link, engine.commands)
            self._add_worker("net", self._transport_adapter.run)
            self._transport.start(config.id, link.deliver)
        applier.cells = engine.apply_cells
        applier.engine_event = event
        applier.committed = self._committed
        applier.state_changes = self._state_changes
        watch = Watch(self._outcomes, self._life.lines, self._clock, config.proposal_timeout_ms * 1_000_000)
        watch.also = functools.partial(_report, config.id, self._transport, link)
        if isinstance(self._clock, _sys.ManualClock):
            self._clock.py_watch(event)
            self._clock.py_watch(watch.event)
        self._applier = applier
        self._proposer = Proposer(
            intake, self._outcomes, config.max_entry_bytes, config.max_waiting_bytes, config.max_open_proposals
        )
        wal = getattr(self._storage, "wal", None)
        if wal is not None:
            self._stop_reserve = wal.reserve.stop
            self._add_worker("reserve", wal.reserve.run, "wal-reserve")
            wal.attach(writes, self._wal_cells, event)
            self._add_worker("disk", wal.run, "wal")
        else:
            self._storage_adapter = StorageAdapter(self._storage, writes, self._wal_cells, event)
            self._add_worker("disk", self._storage_adapter.run)
        # Futures end, and callbacks run, on these two.
        self._add_worker("apply", self._applier.run, threads=self._outcomes.threads)
        self._add_worker("watch", watch.run, threads=self._outcomes.threads)
        self._add_worker("engine", self._run_engine)
        self._watch = watch
        self._engine = engine

    def _open_link(self, event: _sys.Event) -> Any:
        open_link = getattr(self._transport, "open_link", None)
        link = open_link(self._config.id, event) if open_link is not None else None
        if link is None:
            link = QueueLink(event, _sys.Event(), self._config.max_inflight_bytes * 2 + (8 << 20))
        return link

    def _add_worker(self, what: str, body: Any, name: str = "", threads: set[int] | None = None) -> None:
        def guarded() -> None:
            try:
                body()
            except BaseException as error:
                # Whatever it is, nobody else would notice that this thread is gone.
                self._fail(error)
                if what == "watch":
                    self._life.lines.write()

        self._workers[what] = self._life.add(name or what, guarded, threads)

    def _run_engine(self) -> None:
        try:
            self._engine.run()
            if self._engine.show[rows.SHOW_FAILED] == rows.FAILED_STORAGE:
                self._fail(self._storage_error())
        except BaseException as error:
            self._fail(error)
            # The others wait for a last row that the engine can no longer give them.
            self._engine.hand_over_end()
        finally:
            self._life.ended.open()

    def _storage_error(self) -> BaseException:
        adapter = self._storage_adapter
        if adapter is not None and adapter.error is not None:
            failed = StorageFailed(f"the storage failed: {adapter.error}")
            failed.__cause__ = adapter.error
            return failed
        return StorageFailed(describe(self._wal_cells[CELL_ERROR]))

    def _fail(self, error: BaseException) -> None:
        """Something ended the node: remember the first cause, tell everybody who waits, stop the rest. Any thread."""
        if not self._life.fail(error):
            return
        try:
            report(logging.ERROR, "node %d ends: %s: %s", self._config.id, type(error).__name__, error)
            self._tell_end()
        finally:
            self._proposer.intake.close()
            self._engine.commands.py_put(None, rows.CMD_STOP)
            if self._watch is not None:
                self._watch.event.py_wake()

    def _tell_end(self) -> None:
        """Futures and streams end, with the cause if there is one. Runs no foreign code, and may be called twice."""
        failure = self._life.failure
        self._outcomes.end(failure)
        self._state_changes.end(failure)
        if self._committed is not None:
            self._committed.end(failure)

    def close(self, timeout: float = JOIN_SECONDS) -> None:
        """Stop cleanly: hand leadership over, finish what is queued for the disk, release everything.

        Proposals that have not ended by then end as unknown, those not yet handed over as not done. When it
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
        deadline = time.monotonic() + timeout
        life.closing = True
        try:
            right = life.take(0 if life.is_mine() else timeout)
        except UsageError:
            if life.is_mine():
                return  # another thread is closing the node, and waits for this one
            raise
        if right is None:
            return
        with right:
            if life.phase == lifecycle.CLOSED:
                return
            if life.phase in (lifecycle.NEW, lifecycle.FAILED):
                life.phase = lifecycle.CLOSED
                self._tell_end()
                life.ended.open()
                return
            life.phase = lifecycle.CLOSING
            if not self._handed_over:
                self._handed_over = True
                self._hand_over()
            errors: list[BaseException] = []
            stuck = self._shut_down(deadline, errors)
            if stuck:
                raise UsageError(
                    f"{stuck} did not end within {timeout} s: does apply(), a callback, the storage or the transport "
                    "not return?"
                )
            life.phase = lifecycle.CLOSED
            if errors:
                raise errors[0]

    def _hand_over(self) -> None:
        """Let another voter lead before we go: it is elected at once instead of after a timeout."""
        show, life = self._engine.show, self._life
        if show[rows.SHOW_ROLE] != LEADER or not life.is_alive() or len(self._conf_state().voters) < 2:
            return
        self._engine.commands.py_put(None, rows.CMD_TRANSFER, 0)
        deadline = time.monotonic() + TRANSFER_SECONDS
        while show[rows.SHOW_ROLE] == LEADER and time.monotonic() < deadline and not life.ended.is_open():
            time.sleep(0.002)

    def _shut_down(self, deadline: float, errors: list[BaseException]) -> str:
        """End the threads and release everything, in time. With the right to it; what is released raises nothing.

        Returns the names of the threads that did not end, and adds to ``errors`` what went wrong otherwise.
        """
        stuck: list[str] = []

        def ends(what: str, until: float = deadline) -> bool:
            worker = self._workers.get(what)
            if worker is None or worker not in self._life.workers or worker.is_me():
                return True
            return worker.wait(max(0.0, until - time.monotonic()))

        def must_end(what: str) -> bool:
            if ends(what):
                return True
            stuck.append(self._workers[what].thread.name)
            return False

        if self._life.workers:
            self._proposer.intake.close()
            self._engine.commands.py_put(None, rows.CMD_STOP)
            if self._committed is not None:
                self._committed.let_go()
            if self._workers["engine"] not in self._life.workers:
                # It could not be started: nobody else tells the others that nothing follows.
                self._engine.hand_over_end()
        engine_ended = must_end("engine")
        self._life.ended.open()
        if self._transport_adapter is not None:
            self._transport_adapter.stop()
            # A send that does not return ends with its transport, perhaps.
            ends("net", min(deadline, time.monotonic() + NET_SECONDS))
        if engine_ended:
            lifecycle.quietly(errors, self._transport.close)
        must_end("net")
        disk_ended = must_end("disk")
        if disk_ended and "reserve" in self._workers:
            # The disk's thread has told it, unless there was none.
            self._stop_reserve()
            disk_ended = must_end("reserve")
        if disk_ended and engine_ended:
            lifecycle.quietly(errors, self._storage.close)
        must_end("apply")
        self._tell_end()
        if self._watch is not None:
            self._watch.stop()
            while not ends("watch", min(deadline, time.monotonic() + 0.1)):
                if self._watch.writing:
                    # It waits for the log, whose lock our own caller may hold: a signal handler. It ends by itself.
                    break
                if time.monotonic() >= deadline:
                    stuck.append(self._workers["watch"].thread.name)
                    break
        self._life.lines.write()
        if not stuck:
            atexit.unregister(self.close)
        return ", ".join(stuck)

    def __enter__(self) -> Node:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the node has ended; raise what ended it. False after ``timeout`` seconds.

        Raises UsageError on a thread of the node, which would wait for itself.
        """
        self._life.check_process()
        if not self._life.ended.is_open() and self._life.is_mine():
            raise UsageError("a thread of the node cannot wait for the end of the node")
        if not self._life.ended.wait(timeout):
            return False
        if self._life.failure is not None:
            raise self._life.failure
        return True

    # --- requests --------------------------------------------------------------------------------

    def propose(self, data: Data) -> Future:
        """Propose a command, on any member; returns a Future of Done(index, term, result).

        ``data`` has 0..max_entry_bytes bytes. The future ends as done when the entry was applied *here*,
        as NotDone (safe to repeat) or as Unknown; at once as NotDone when max_open_proposals are open or
        max_waiting_bytes wait. Raises EntryTooLarge, Stopped, TypeError.
        """
        if self._life.phase != lifecycle.RUNNING:
            self._refuse()
        try:
            return self._proposer.propose(data)
        except Stopped:
            self._refuse()

    def propose_many(self, datas: Iterable[Data]) -> Future:
        """Propose several commands in order behind one Future of a list of Done.

        There is room for all of them or none is taken. It ends as NotDone only when none of them was done; as
        Unknown, with ``outcomes`` (a list of Done or exceptions), when some were. Cheaper than single proposals.
        """
        self._check_running()
        try:
            return self._proposer.propose_many(datas)
        except Stopped:
            self._refuse()

    def campaign(self) -> None:
        """Campaign now instead of after the election timeout. Nothing happens on a leader. Raises Stopped."""
        self._check_running()
        self._engine.commands.py_put(None, rows.CMD_CAMPAIGN)

    def transfer_leadership(self, to: int = 0) -> None:
        """Ask the leader to hand over to ``to`` (0, on the leader only: to the voter that is most up to date).

        Whether it worked shows in ``state_changes``; an attempt ends after an election timeout. Raises Stopped,
        UsageError for who is no voter, TypeError for what is no id.
        """
        self._check_running()
        check_id(to)
        if to and (not is_id(to) or to not in self._conf_state().voters):
            raise UsageError(f"{to} is not a voter: {self._conf_state().voters}")
        self._engine.commands.py_put(None, rows.CMD_TRANSFER, to)

    # --- streams ---------------------------------------------------------------------------------

    @property
    def committed(self) -> Stream[_core.Entry]:
        """A stream of every committed entry; ask for it before ``start`` to get them all.

        Nothing is lost: when the consumer is 10,000 entries behind, applying waits (consensus does not). Consumers
        share it. It ends when the node is closed; when the node has failed, by raising what ended it.
        """
        self._life.check_process()
        if self._committed is None:
            if self._life.phase != lifecycle.NEW:
                raise UsageError("ask for node.committed before the node is started")
            self._committed = Stream(COMMITTED_KEPT)
        return self._committed

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
        return self._show(rows.SHOW_LEAD) if self._life.is_alive() else self._nothing()

    @property
    def term(self) -> int:
        """The present term."""
        return self._show(rows.SHOW_TERM)

    @property
    def role(self) -> Role:
        """FOLLOWER, CANDIDATE, PRE_CANDIDATE or LEADER; FOLLOWER while the node does not run."""
        return Role(self._show(rows.SHOW_ROLE) if self._life.is_alive() else self._nothing())

    @property
    def is_leader(self) -> bool:
        """Whether this member believes that it leads. Another may have been elected since."""
        return self.role == Role.LEADER

    @property
    def commit_index(self) -> int:
        """The last index known to be committed."""
        return self._show(rows.SHOW_COMMIT)

    @property
    def applied_index(self) -> int:
        """The last index that the state machine has."""
        self._life.check_process()
        return int(self._applier.applied) if hasattr(self, "_applier") else 0

    @property
    def configuration(self) -> ConfState:
        """The members."""
        self._life.check_process()
        return self._conf_state()

    @property
    def failure(self) -> BaseException | None:
        """What ended the node, if something did."""
        return self._life.failure

    def status(self) -> dict[str, Any]:
        """A picture for people and tests: indexes, traffic, disk. Counters begin at 0 with each start.

        ``state`` is new, starting, running, closing, closed or failed; failed stays after ``close``, with ``failure``
        in words.

        ``too_large_out`` counts messages that their recipient's max_frame_bytes kept from being sent, ``too_large_in``
        frames that told of such messages to this node. ``transport`` is the transport's own. Of NngTransport:
        connections from others now, strangers among them (no valid frame yet), refused (closed as strangers, or for
        want of room), dials and dial_failures, connected (how often one to a peer has come to stand), renewals (ended
        because nothing seemed to arrive), shortages (of descriptors or memory, waited out).
        """
        self._life.check_process()
        if not hasattr(self, "_engine"):
            return {"id": self.id, "state": self._life.name()}
        return {
            "id": self.id,
            "state": self._life.name(),
            "failure": _in_words(self.failure),
            **status_of(self._engine, self._wal_cells),
            "role": self.role.name.lower(),
            "leader": self.leader_id,
            "applied": self.applied_index,
            "pending": len(self._outcomes.pending),
            "configuration": self._conf_state(),
            "transport": self._transport.status() if hasattr(self._transport, "status") else {},
        }

    def stage_times(self) -> list[tuple[int, int, int, int, int, int]]:
        """While leading: (index, proposed, appended, durable here, committed, applied) of the newest rounds, in ns.

        One row for each round of proposals the engine took, with the time of its oldest proposal first. Empty before
        the node is started.
        """
        self._life.check_process()
        if not hasattr(self, "_engine"):
            return []
        rows_: list[tuple[int, int, int, int, int, int]] = self._engine.stamps.rows()
        return rows_

    def _conf_state(self) -> ConfState:
        if not hasattr(self, "_engine"):
            return ConfState()
        state: ConfState = self._engine.core.tracker.conf_state()
        return state

    def _show(self, cell: int) -> int:
        self._life.check_process()
        return int(self._engine.show[cell]) if hasattr(self, "_engine") else 0

    def _nothing(self) -> int:
        """No leader, or the number of FOLLOWER: what a node that does not run shows."""
        self._life.check_process()
        return 0

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
        return f"<raftx.Node {self.id} {life.name()}{why} term={self.term} leader={self.leader_id}>"


def _in_words(error: BaseException | None) -> str | None:
    return None if error is None else f"{type(error).__name__}: {error}"


def _with_seed(config: Config) -> Config:
    """The same settings with a seed from the system: two processes must not draw the same timeouts."""
    return dataclasses.replace(config, seed=int.from_bytes(os.urandom(8), "little"))


def _report(id: int, transport: Any, link: Any) -> None:
    """Log what people should hear of the connections. On the watch thread."""
    while (note := link.notes.py_take()) is not None:
        kind, about, detail = note
        level, text = describe_note(kind, about, detail, getattr(transport, "peers", {}))
        report(level, "node %d: %s", id, text)
    own = getattr(transport, "report", None)
    if own is not None:
        own(id)
