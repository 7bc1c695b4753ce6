"""Node: one member of a cluster, with its threads, storage and transport. The public face.

Starts and ends the threads, hands out futures and streams, and reports what ended the node. Rules
of Raft, files and sockets stand elsewhere.
"""

from __future__ import annotations

import atexit
import dataclasses
import errno
import functools
import logging
import os
import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Protocol

from .. import _core, _sys
from ..config import Config
from ..consensus.raft import Raft
from ..errors import ConfigError, Stopped, StorageFailed, UsageError
from ..storage.format import describe
from ..storage.protocol import (
    CELL_BATCH_ENTRIES,
    CELL_BYTES,
    CELL_ERROR,
    CELL_SHORTAGE,
    CELL_SYNC_NS,
    CELL_SYNCS,
    Storage,
)
from ..storage.wal import Wal
from ..transport.link import QueueLink
from ..transport.news import describe as describe_note
from ..transport.protocol import Transport
from ..types import LEADER, ConfState, Role, StateChange
from . import rows
from .adapter import StorageAdapter, TransportAdapter
from .apply import Applier
from .engine import Engine
from .events import Stream
from .futures import Future
from .proposer import Proposer
from .stamps import Stamps

logger = logging.getLogger("raftx")

STATE_CHANGES_KEPT = 1024
COMMITTED_KEPT = 10_000
FRAME_OVERHEAD = 64 + 64 + 32 + 24  # frame, message, record and envelope around one entry
FRAME_UNIT = 1 << 16  # what a frame header tells limits in
FRAME_MAX = 1 << 30  # bytes of a frame where the transport sets no limit
TRANSFER_SECONDS = 0.4  # a clean stop waits so long for somebody else to lead
JOIN_SECONDS = 5.0


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
    ``start()`` (or ``with``). All methods may be called from any thread; in a forked child every
    call raises UsageError.
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
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._state = "new"
        self._failure: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self._state_changes: Stream[StateChange] = Stream(STATE_CHANGES_KEPT, newest_only=True)
        self._committed: Stream[_core.Entry] | None = None
        self._ended = threading.Event()
        self._engine: Engine
        self._applier: Applier
        self._proposer: Proposer
        self._wal_cells: _sys.Cells
        self._transport_adapter: TransportAdapter | None = None
        self._storage_adapter: StorageAdapter | None = None

    # --- life ------------------------------------------------------------------------------------

    def start(self) -> Node:
        """Open storage and transport and start the threads.

        Raises WrongDirectory, WalDamaged, StorageError, TransportError, UsageError when started before.
        """
        self._check_process()
        with self._lock:
            if self._state != "new":
                raise UsageError(f"the node cannot be started: it is {self._state}")
            self._state = "starting"
        try:
            self._build()
        except BaseException as error:
            self._state = "failed"
            self._failure = error
            self._threads.clear()
            self._storage.close()
            self._transport.close()
            self._state_changes.end(error)
            if self._committed is not None:
                self._committed.end(error)
            self._ended.set()
            raise
        self._state = "running"
        # A process that ends without closing its nodes stops them before NNG and the interpreter go.
        atexit.register(self.close)
        for thread in self._threads:
            thread.start()
        return self

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
        expect = getattr(self._transport, "expect", None)
        if expect is not None:
            expect(config.id, [int(id) for id in core.tracker.peers.column("ids")])
        event = _sys.Event()
        intake = _sys.Intake(event, config.id, loaded.incarnation, config.max_waiting_bytes)
        writes = _sys.Handoff(_sys.Event())
        applies = _sys.Handoff(_sys.Event())
        applier = Applier(
            config.id,
            loaded.incarnation,
            applies,
            self._clock,
            self._state_machine,
            config.proposal_timeout_ms * 1_000_000,
        )
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
            self._add_thread("net", self._transport_adapter.run)
            self._transport.start(config.id, link.deliver)
        applier.cells = engine.apply_cells
        applier.engine_event = event
        applier.committed = self._committed
        applier.state_changes = self._state_changes
        applier.report = functools.partial(_report, config.id, self._transport, link)
        if isinstance(self._clock, _sys.ManualClock):
            self._clock.py_watch(event)
        self._engine = engine
        self._applier = applier
        self._proposer = Proposer(intake, applier, config.max_entry_bytes)
        wal = getattr(self._storage, "wal", None)
        if wal is not None:
            self._add_thread("wal", lambda: self._run_wal(wal, writes, event))
        else:
            self._storage_adapter = StorageAdapter(self._storage, writes, self._wal_cells, event)
            self._add_thread("disk", self._storage_adapter.run)
        self._add_thread("apply", self._run_apply)
        self._add_thread("engine", self._run_engine)

    def _open_link(self, event: _sys.Event) -> Any:
        open_link = getattr(self._transport, "open_link", None)
        link = open_link(self._config.id, event) if open_link is not None else None
        if link is None:
            link = QueueLink(event, _sys.Event(), self._config.max_inflight_bytes * 2 + (8 << 20))
        return link

    def _add_thread(self, what: str, body: Any) -> None:
        name = f"raftx-{what}-{self._config.id}"
        self._threads.append(threading.Thread(target=body, name=name, daemon=True))

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
            self._ended.set()

    def _run_wal(self, wal: Wal, writes: _sys.Handoff, event: _sys.Event) -> None:
        try:
            wal.serve(writes, self._wal_cells, event)
        except BaseException as error:
            # Out of memory, say: nothing is acknowledged any more, and the engine must not wait for it.
            self._fail(error)

    def _run_apply(self) -> None:
        error: BaseException | None = None
        try:
            self._applier.run()
        except BaseException as raised:
            error = raised
            self._fail(raised)
        self._proposer.failure = self._failure
        self._proposer.intake.close()
        self._applier.end(self._failure or error)

    def _storage_error(self) -> BaseException:
        adapter = self._storage_adapter
        if adapter is not None and adapter.error is not None:
            failed = StorageFailed(f"the storage failed: {adapter.error}")
            failed.__cause__ = adapter.error
            return failed
        return StorageFailed(describe(self._wal_cells[CELL_ERROR]))

    def _fail(self, error: BaseException) -> None:
        """Something ended the node: remember the first cause, say it, stop the rest."""
        with self._lock:
            if self._failure is not None:
                return
            self._failure = error
        logger.error("node %d ends: %s: %s", self._config.id, type(error).__name__, error)
        self._proposer.failure = error
        self._proposer.intake.close()
        self._engine.commands.py_put(None, rows.CMD_STOP)

    def close(self, timeout: float = JOIN_SECONDS) -> None:
        """Stop cleanly: hand leadership over, finish what is queued for the disk, release everything.

        Proposals that have not ended by then end as unknown, those not yet handed over as not done.
        Takes well under a second unless a disk or the state machine holds it up; gives up waiting for
        a thread after ``timeout`` seconds and raises UsageError then. May be called twice.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self._state in ("new", "failed", "closed"):
                self._state = "closed"
                self._ended.set()
                self._state_changes.end()
                if self._committed is not None:
                    self._committed.end()
                return
            running = self._state == "running"
            self._state = "closing"
        if running:
            self._hand_over()
        if self._threads:
            self._proposer.failure = self._failure
            self._proposer.intake.close()
            self._engine.commands.py_put(None, rows.CMD_STOP)
            if self._committed is not None:
                self._committed.end(self._failure)
            self._join(timeout)
        self._transport.close()
        self._storage.close()
        self._state = "closed"
        atexit.unregister(self.close)

    def _hand_over(self) -> None:
        """Let another voter lead before we go: it is elected at once instead of after a timeout."""
        show = self._engine.show
        if show[rows.SHOW_ROLE] != LEADER or len(self.configuration.voters) < 2 or self._failure is not None:
            return
        self._engine.commands.py_put(None, rows.CMD_TRANSFER, 0)
        deadline = time.monotonic() + TRANSFER_SECONDS
        while show[rows.SHOW_ROLE] == LEADER and time.monotonic() < deadline and not self._ended.is_set():
            time.sleep(0.002)

    def _join(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        for thread in reversed(self._threads):
            if thread is threading.current_thread() or thread.ident is None:
                continue
            if self._transport_adapter is not None and thread.name.startswith("raftx-net-"):
                self._transport_adapter.stopping = True
                self._transport_adapter.link.outgoing.event.py_wake()
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                raise UsageError(f"thread {thread.name} did not end within {timeout} s: is apply() stuck?")

    def __enter__(self) -> Node:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the node has ended; raise what ended it. False after ``timeout`` seconds."""
        if not self._ended.wait(timeout):
            return False
        if self._failure is not None:
            raise self._failure
        return True

    # --- requests --------------------------------------------------------------------------------

    def propose(self, data: bytes) -> Future:
        """Propose a command, on any member; returns a Future of Done(index, term, result).

        ``data`` has 0..max_entry_bytes bytes. The future ends as done when the entry was applied *here*,
        as NotDone (safe to repeat) or as Unknown. Raises EntryTooLarge, Stopped, TypeError.
        """
        self._check_running()
        return self._proposer.propose(data)

    def propose_many(self, datas: Iterable[bytes]) -> Future:
        """Propose several commands in order behind one Future of a list of Done.

        It ends as NotDone only when none of them was done; as Unknown, with ``outcomes`` (a list of Done
        or exceptions), when some were. Cheaper than single proposals.
        """
        self._check_running()
        return self._proposer.propose_many(datas)

    def campaign(self) -> None:
        """Campaign now instead of after the election timeout. Nothing happens on a leader."""
        self._check_running()
        self._engine.commands.py_put(None, rows.CMD_CAMPAIGN)

    def transfer_leadership(self, to: int = 0) -> None:
        """Ask the leader to hand over to ``to`` (0, on the leader only: to the voter that is most up to date).

        Whether it worked shows in ``state_changes``; an attempt ends after an election timeout.
        """
        self._check_running()
        if to and to not in self.configuration.voters:
            raise UsageError(f"{to} is not a voter: {self.configuration.voters}")
        self._engine.commands.py_put(None, rows.CMD_TRANSFER, to)

    # --- streams ---------------------------------------------------------------------------------

    @property
    def committed(self) -> Stream[_core.Entry]:
        """A stream of every committed entry; ask for it before ``start`` to get them all.

        Nothing is lost: when the consumer is 10,000 entries behind, applying waits (consensus does not).
        """
        if self._committed is None:
            if self._state != "new":
                raise UsageError("ask for node.committed before the node is started")
            self._committed = Stream(COMMITTED_KEPT, newest_only=False)
        return self._committed

    @property
    def state_changes(self) -> Stream[StateChange]:
        """A stream of (term, leader, role), beginning with the present one; the newest 1,024 are kept."""
        return self._state_changes

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
        """The leader this member knows of, 0 for none."""
        return self._show(rows.SHOW_LEAD)

    @property
    def term(self) -> int:
        """The present term."""
        return self._show(rows.SHOW_TERM)

    @property
    def role(self) -> Role:
        """FOLLOWER, CANDIDATE, PRE_CANDIDATE or LEADER."""
        return Role(self._show(rows.SHOW_ROLE))

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
        return int(self._applier.applied) if hasattr(self, "_applier") else 0

    @property
    def configuration(self) -> ConfState:
        """The members."""
        if not hasattr(self, "_engine"):
            return ConfState()
        state: ConfState = self._engine.core.tracker.conf_state()
        return state

    @property
    def failure(self) -> BaseException | None:
        """What ended the node, if something did."""
        return self._failure

    def status(self) -> dict[str, Any]:
        """A picture for people and tests: indexes, traffic, disk. Counters begin at 0 with each start.

        ``too_large_out`` counts messages that their recipient's max_frame_bytes kept from being sent, ``too_large_in``
        frames that told of such messages to this node. ``transport`` is the transport's own. Of NngTransport:
        connections from others now, strangers among them (no valid frame yet), refused (closed as strangers, or for
        want of room), dials and dial_failures, connected (how often one to a peer has come to stand), renewals (ended
        because nothing seemed to arrive), shortages (of descriptors or memory, waited out).
        """
        if not hasattr(self, "_engine"):
            return {"id": self.id, "state": self._state}
        show, cells, codec = self._engine.show, self._wal_cells, self._engine.codec
        return {
            "id": self.id,
            "state": "failed" if self._failure is not None else self._state,
            "incarnation": codec.incarnation,
            "term": show[rows.SHOW_TERM],
            "vote": show[rows.SHOW_VOTE],
            "in_doubt": bool(self._engine.core.in_doubt),
            "leader": show[rows.SHOW_LEAD],
            "role": Role(show[rows.SHOW_ROLE]).name.lower(),
            "commit": show[rows.SHOW_COMMIT],
            "applied": self.applied_index,
            "last": show[rows.SHOW_LAST],
            "stable": show[rows.SHOW_STABLE],
            "ticks": show[rows.SHOW_TICKS],
            "leader_changes": show[rows.SHOW_LEADERS],
            "frames_in": show[rows.SHOW_FRAMES_IN],
            "frames_out": show[rows.SHOW_FRAMES_OUT],
            "frames_dropped": show[rows.SHOW_FRAMES_DROPPED],
            "too_large_out": self._engine.too_large_out,
            "too_large_in": self._engine.too_large_in,
            "frames_stale": show[rows.SHOW_STALE],
            "messages_unserved": show[rows.SHOW_UNSERVED],
            "messages_refused": self._engine.refused_by_reason(),
            "frames_rejected": codec.rejected_by_reason(),
            "pending": len(self._applier.pending),
            "syncs": cells[CELL_SYNCS],
            "wal_bytes": cells[CELL_BYTES],
            "wal_entries": cells[CELL_BATCH_ENTRIES],
            "sync_ns": cells[CELL_SYNC_NS],
            "disk_shortage": errno.errorcode.get(cells[CELL_SHORTAGE], ""),
            "configuration": self.configuration,
            "transport": self._transport.status() if hasattr(self._transport, "status") else {},
        }

    def stage_times(self) -> list[tuple[int, int, int, int, int, int]]:
        """While leading: (index, proposed, appended, durable here, committed, applied) of the newest rounds, in ns.

        One row for each round of proposals the engine took, with the time of its oldest proposal first.
        """
        rows_: list[tuple[int, int, int, int, int, int]] = self._engine.stamps.rows()
        return rows_

    def _show(self, cell: int) -> int:
        return int(self._engine.show[cell]) if hasattr(self, "_engine") else 0

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise UsageError("a node does not survive fork: make it in the process that uses it")

    def _check_running(self) -> None:
        if self._state != "running" or self._failure is not None:
            self._check_process()
            raise Stopped(f"the node does not run: it is {self._state}") from self._failure
        if os.getpid() != self._pid:
            self._check_process()

    def __repr__(self) -> str:
        return f"<raftx.Node {self.id} {self._state} term={self.term} leader={self.leader_id}>"


def _with_seed(config: Config) -> Config:
    """The same settings with a seed from the system: two processes must not draw the same timeouts."""
    return dataclasses.replace(config, seed=int.from_bytes(os.urandom(8), "little"))


def _report(id: int, transport: Any, link: Any) -> None:
    """Log what people should hear of the connections. On the apply thread."""
    while (note := link.notes.py_take()) is not None:
        kind, about, detail = note
        level, text = describe_note(kind, about, detail, getattr(transport, "peers", {}))
        logger.log(level, "node %d: %s", id, text)
    report = getattr(transport, "report", None)
    if report is not None:
        report(id)
