"""What a node consists of, and how its parts are put together from settings, storage, transport and clock.

Opens the storage and the transport; starts nothing. Which part runs where is told in ``tasks``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .._core import Codec, EntryLog
from .._native.layout import FRAME_OVERHEAD
from .._native.memory import Entry
from .._native.outbox import snapshot_record
from .._native.seal import Seal
from .._native.threads import Clock, Event, ManualClock, ProposalQueue
from ..config import Config, cluster_id
from ..consensus.raft import Raft
from ..errors import (
    ConfigError,
    Corruption,
    MemoryLost,
    NotFounded,
    Removed,
    StorageError,
    StorageFailed,
    UsageError,
    WrongDirectory,
)
from ..report import Lines, report
from ..storage.in_use import as_node, by_node
from ..storage.lives import OWN_WHY, Lives, named, removed
from ..storage.protocol import Loaded, Storage, keeps_snapshots
from ..storage.snapshot_format import Descriptor
from ..storage.wal_format import COUNT_SHIFT, REMOVED, failed_as
from ..storage.wal_writer import Wal
from ..storage.writes import WRITES, DiskGauges, WriteQueue
from ..transport.link import Link, QueueLink
from ..transport.news import report_notes
from ..transport.protocol import FRAME_UNIT, Transport
from ..transport.sealed import SealedLink
from ..types import ENTRY_SESSION, ConfState, StateChange
from . import contracts
from .adapter import StorageAdapter, TransportAdapter
from .apply import Applier
from .changer import Changer
from .channels import APPLY_ROWS, COMMAND_ROWS, ApplyQueue, CommandQueue, MemberGauges
from .chronicle import Chronicle
from .courier import Courier, chunk_bytes_for
from .disagreements import Disagreements
from .divergence import contradiction
from .engine import Engine
from .events import History, Published, Stream
from .keeper import Keeper, applied_by, check_machine, check_methods, check_restore
from .lifecycle import Task
from .lookout import Lookout
from .members import Directory, Members, Membership, membership_at, of_kept, of_snapshot
from .memory import Memory
from .outcomes import Outcomes
from .patience import Patience
from .planned import Planned
from .proposer import Proposer
from .renewals import Renewals
from .reporter import Reporter
from .rows import JOINED_ANY, REBUILT
from .snapshots import Snapshotter
from .stamps import StageTimes
from .status import Status
from .timeline import Timeline
from .watch import Watch

FRAME_MAX = 1 << 30  # bytes of a frame where the transport sets no limit
# One in so many rows of the apply queue may be about requests. As many again may be on their way, and own proposals
# take half of the rows.
REQUESTS_PART = 8
AHEAD_STEP = 1000  # entries that are looked at together

End = Callable[[BaseException | None], None]


@dataclass
class Rows:
    """How many rows may wait in each queue."""

    applies: int = APPLY_ROWS  # from the engine for the apply thread, 32 at least
    writes: int = WRITES  # for the disk
    commands: int = COMMAND_ROWS  # from Python for the engine


@dataclass
class Outside:
    """What a node is given, and what of it users hold before it starts."""

    config: Config
    storage: Storage
    transport: Transport
    state_machine: Any
    clock: Clock
    state_changes: History[StateChange]
    #: the membership that the node works with
    configuration: Published[ConfState]
    configurations: History[Membership]
    committed: Stream[Entry] | None = None
    rows: Rows = field(default_factory=Rows)
    #: the name of a file, and where it has each member; the membership counts
    planned: tuple[str, Mapping[int, str]] = ("", MappingProxyType({}))
    #: bytes in a chunk of the snapshots that are made; 0: as many as are of use
    chunk_bytes: int = 0
    #: whether they are this node's to close: not when they said that they are in use
    owns_storage: bool = True
    owns_transport: bool = True
    timeline: Timeline = field(init=False)

    def __post_init__(self) -> None:
        self.timeline = Timeline(self.clock)

    def check(self) -> None:
        """Raises ConfigError, which names the field; UsageError where Python runs without the GIL."""
        contracts.check_gil()
        contracts.check_settings(self.config, self.transport)
        if isinstance(self.state_machine, type):
            raise ConfigError(f"state_machine must be an object, not the class {self.state_machine.__name__}")
        applies = [callable(getattr(self.state_machine, name, None)) for name in ("apply", "apply_batch")]
        if self.state_machine is not None and not any(applies):
            what = type(self.state_machine).__name__
            raise ConfigError(f"state_machine must be an object with a method apply(entry), not {what}")
        check_methods(self.state_machine)
        if not isinstance(self.clock, Clock):
            raise ConfigError(f"clock must be a raftx.Clock or ManualClock, not {type(self.clock).__name__}")
        contracts.check_methods_of(self.storage, self.transport)
        contracts.check_founders(self.config.id, self.storage, self.transport)


@dataclass
class Parts:
    """The parts of a node that has been assembled. Nothing of it runs before its tasks do."""

    incarnation: int
    #: the number of this life that others are told
    life: int
    engine: Engine
    applier: Applier
    proposer: Proposer
    watch: Watch
    reporter: Reporter
    disagreements: Disagreements
    disk: DiskGauges
    commands: CommandQueue
    wal: Wal | None
    storage_adapter: StorageAdapter | None
    transport_adapter: TransportAdapter | None
    writes: WriteQueue
    clock: Clock
    keeper: Keeper
    #: writes snapshots, fetches and serves them; None where storage, or state machine, cannot
    snapshotter: Snapshotter | None
    courier: Courier | None
    memory: Memory
    members: Members
    changer: Changer
    #: entries that the state machine is not given
    skips: list[int]
    applies: ApplyQueue
    #: what the engine publishes of the members
    peers: MemberGauges
    lookout: Lookout

    def storage_error(self) -> BaseException:
        """What the storage failed with."""
        adapter = self.storage_adapter
        if adapter is not None and adapter.error is not None:
            failed = StorageFailed(f"the storage failed: {adapter.error}")
            failed.__cause__ = adapter.error
            return failed
        return StorageFailed(f"{self.applier.where}: {failed_as(self.disk.error)}")

    def memory_lost(self) -> StorageError:
        """The storage of this node has forgotten something, as another member knows; or its member was removed."""
        meetings = self.engine.meetings
        if meetings.lost_why == REMOVED:
            return Removed(removed(self.engine.core.id))
        if meetings.apart:
            return WrongDirectory(
                f"node {self.engine.core.id} was founded with other first members, or with another state, than member "
                f"{int(meetings.apart)}, and under the same name of a cluster. Compare the two directories (raftx "
                "wal info), and found the wrong one anew, in an empty directory. Both stay as they are"
            )
        by, life, why = int(meetings.lost_to), int(meetings.lost_life), OWN_WHY.get(meetings.lost_why, "")
        if meetings.flags & REBUILT and self.engine.core.in_doubt and not meetings.doubted:
            return MemoryLost(
                f"node {self.engine.core.id} was rebuilt and lives life {named(self.life)}, and member {by} has met "
                f"life {named(life)} of it: so nobody believes this one. Start it again: it goes on above that life, "
                "in doubt as now. If it happens again, the member runs somewhere else, too"
            )
        return MemoryLost(
            f"node {self.engine.core.id} lives life {named(self.life)}, and member {by} has met life {named(life)} of "
            f"it, {why}. So it has forgotten what it promised, and must not take part. Put back the directory that it "
            "used last, or rebuild it (raftx wal rebuild)"
        )

    def diverged(self) -> str:
        """What of this member's committed entries contradicts its leader's, in words; "" for nothing. Any thread."""
        found = self.engine.gauges
        if not found.diverged:
            return ""
        return contradiction(
            found.diverged, found.diverged_ours, found.diverged_theirs, found.diverged_lead, found.diverged_lacks
        )

    def contradiction(self) -> Corruption:
        """What the node ends with when that does not go away."""
        return Corruption(f"node {self.engine.core.id}: {self.diverged()}")

    def waits_for(self, voters: tuple[int, ...]) -> list[int]:
        """Of these, who has not said that it knows this life, while that keeps it from taking part. Any thread."""
        if not self.engine.gauges.waiting:
            return []
        return [id for id in voters if id != self.engine.core.id and not self.engine.meetings.py_knows(id)]

    def shortage(self) -> str:
        """What a snapshot from another member could not be stored for; "" for nothing. Any thread."""
        return self.courier.shortage() if self.courier is not None else ""

    def stuck(self) -> tuple[str, int]:
        """Why this member cannot take the snapshot that it needs, and which entry it would have then; "" and 0.

        Any thread.
        """
        why, index = self.courier.stuck() if self.courier is not None else self.applier.untaken
        return (why, index) if index > self.engine.gauges.commit else ("", 0)

    def takes_requests(self) -> bool:
        """Whether another request fits: what is told of them must leave room for what comes of frames. Any thread."""
        applies = self.applier.applies
        return applies.pending + self.commands.pending < applies.capacity // REQUESTS_PART

    def stop_engine(self) -> None:
        """No further proposal, and a last round. Any thread."""
        self.proposer.proposals.close()
        self.engine.commands.py_end()

    def end_the_others(self) -> None:
        """Nothing follows for disk and apply thread. Any thread, once the engine does not run."""
        self.writes.py_end()
        self.applier.applies.py_end()

    def tasks(self, engine_ended: End, report_ended: End, ended: End) -> dict[str, Task]:
        """The work of each worker, by name, in the order they have to be started: each needs those before it.

        engine_ended, report_ended, ended: what is to be done at the end of the engine, of the reporter, of another one.
        """
        tasks: dict[str, Task] = {}
        net, store, wal = self.transport_adapter, self.storage_adapter, self.wal
        watch, applier, reporter, memory = self.watch, self.applier, self.reporter, self.memory
        tasks["report"] = Task(reporter.run, reporter.round, report_ended)
        if net is not None:
            tasks["net"] = Task(net.run, net.round, ended)
        if wal is not None:
            serve = functools.partial(wal.begin_serving, self.writes, self.disk, self.engine.event, self.clock)
            tasks["reserve"] = Task(wal.reserve.run, wal.reserve.py_round, ended)
            tasks["disk"] = Task(wal.run, wal.py_round, functools.partial(_wal_ended, wal, ended), begin=serve)
        elif store is not None:
            tasks["disk"] = Task(store.run, store.round, ended)
        if self.snapshotter is not None:
            tasks["snapshot"] = Task(self.snapshotter.run, self.snapshotter.round, ended)
        if self.courier is not None:
            tasks["courier"] = Task(self.courier.run, self.courier.round, ended)
        tasks["memory"] = Task(memory.run, memory.py_round, functools.partial(_memory_ended, memory, ended))
        tasks["look"] = Task(self.lookout.run, self.lookout.round, ended)
        tasks["watch"] = Task(watch.run, watch.round, ended, ends_futures=True)
        tasks["apply"] = Task(applier.run, applier.round, ended, applier.begin, ends_futures=True)
        tasks["engine"] = Task(self.engine.run, self.engine.py_round, engine_ended)
        return tasks


def _wal_ended(wal: Wal, ended: End, error: BaseException | None) -> None:
    try:
        ended(error)
    finally:
        wal.end_serving()


def _memory_ended(memory: Memory, ended: End, error: BaseException | None) -> None:
    if error is None and memory.failed:
        error = StorageFailed(f"cannot remember another member's life: {os.strerror(-memory.failed)}")
    ended(error)


def assemble(
    outside: Outside, outcomes: Outcomes, lines: Lines, check_closing: Callable[[], None], status: Callable[[], Status]
) -> Parts:
    """Open storage and transport, and make the parts. Raises what they raise, and what ``check_closing`` does.

    status: how the node is, for members that ask. What was opened is the caller's to close, also after a failure.
    """
    config, storage, transport, clock = outside.config, outside.storage, outside.transport, outside.clock
    cluster = cluster_id(config.cluster)
    try:
        loaded = by_node(storage.open, config.id, cluster)
    except NotFounded:
        raise
    except WrongDirectory:
        # Another node may be using the storage, and the transport with it, which was not looked at yet.
        outside.owns_storage = outside.owns_transport = False
        raise
    loaded.records = list(loaded.records)
    log = load_log(config.id, loaded)
    newest = check_machine(outside.state_machine, loaded.snapshot, loaded.base_index, log.last, loaded.rebuilt)
    applied = max(loaded.base_index, newest.index if newest is not None else 0)
    # What a snapshot holds was committed, whether or not the storage had heard of it.
    hard_state = dataclasses.replace(loaded.hard_state, commit=max(loaded.hard_state.commit, applied))
    first = (
        of_snapshot(newest)
        if newest is not None
        else of_kept(loaded.base_index, loaded.conf_state, loaded.addresses, loaded.joined)
    )
    # A lease in ticks is none in a process that may be paused: a node has one by the clock (leases.py).
    core = Raft(fitted(with_seed(config), transport), log, hard_state, first.conf_state, applied)
    core.joins = loaded.joining
    if newest is not None:
        core.set_snapshot(snapshot_record(newest.snapshot()), newest.index, newest.term)
    outside.configuration.value = core.tracker.conf_state()
    outside.configurations.push(first)
    warn_of_no_member(config.id, list(first.ids()), loaded.joining)
    check_closing()
    founding = loaded.founded
    if founding is None:
        # Of a storage that does not say: as long as the log begins with the founding, nothing has changed before it.
        founding = first.addresses if applied == 0 else {}
    directory = Directory(config.id, transport, founding)
    directory.follow(first)
    expect = getattr(transport, "expect", None)
    if expect is not None:
        expect(config.id, list(first.ids()))
    event = Event()
    # Of a storage that draws nothing: as far as it counts.
    life = loaded.life or loaded.incarnation << COUNT_SHIFT
    proposals = ProposalQueue(event, config.id, life, config.max_waiting_bytes, clock)
    rows = outside.rows
    writes = WriteQueue(Event(), rows.writes)
    applies = ApplyQueue(Event(), rows.applies)
    applies.py_set_giver(event)
    commands = CommandQueue(event, rows.commands)
    disk = DiskGauges()
    with owned_unless_started(outside):
        if (secure := getattr(transport, "secure", None)) is not None:
            secure(cluster, config.id)
        inner = open_link(transport, config, event)
    keys = getattr(transport, "cluster_keys", ())
    link: Link = SealedLink(inner, Seal(list(keys), cluster, config.id)) if keys else inner
    limit = getattr(transport, "max_frame_bytes", None) or FRAME_MAX
    codec = Codec(cluster, config.id, life)
    if limit % FRAME_UNIT == 0:
        # Else it cannot be told exactly, and what would just fit must not be kept back.
        codec.announce(limit)
    takes_snapshots = keeps_snapshots(storage)
    engine = Engine(
        core, codec, link, clock, event, proposals, writes, disk, applies, commands, config, StageTimes(clock), limit,
        takes_snapshots, loaded.store, loaded.rebuilt,
    )  # fmt: skip
    engine.meetings.py_founded(loaded.origin, loaded.origin_index)
    kept = newest is not None or not loaded.base_index or hasattr(storage, "keep_addresses")
    joined = {id: first.joined.get(id, 0) if kept else JOINED_ANY for id in first.ids()}
    if loaded.rebuilt and applied == 0:
        # It was told the members again, and not which entry has added each of them.
        joined = {id: loaded.met[id].joined if id in loaded.met else JOINED_ANY for id in joined}
    for id, at in joined.items():
        engine.peers.py_joined(core.tracker.peers, id, at)
    for id, met in loaded.met.items():
        if id != config.id:
            engine.meetings.py_met(id, met.life, met.joined)
        elif core.joins:
            engine.meetings.joined = met.joined + 1
    transport_adapter = None
    if isinstance(inner, QueueLink):
        with owned_unless_started(outside):
            transport_adapter = TransportAdapter(transport, inner, commands)
            transport.start(config.id, inner.deliver)
    applier = Applier(config.id, proposals, applies, engine.apply_gauges, outside.state_machine, outcomes)
    applier.readers.attach(engine.reads, engine.gauges, clock, event)
    chronicle = Chronicle(config.id, clock, outside.timeline)
    applier.engine_event, applier.chronicle = event, chronicle
    applier.returns_errors = config.on_apply_error == "return"
    applier.where = str(getattr(storage, "path", ""))
    outcomes.stamps = engine.stamps
    if callable(getattr(outside.state_machine, "apply_batch", None)):
        applier.take_batches()
    applier.skips = dict(loaded.skips)
    tell_skips(config.id, loaded.skips)
    # What lies before the log was applied in an earlier life.
    engine.apply_gauges.index = loaded.base_index if newest is None else 0
    applier.committed = outside.committed
    if outside.committed is not None:
        outside.committed.on_room = applies.event.py_wake
    applier.state_changes = outside.state_changes
    machine, courier, snapshotter = outside.state_machine, None, None
    contracts.tell_mode(config.id)
    makes_snapshots = callable(getattr(machine, "snapshot", None))
    contracts.tell_what_is_missing(config.id, storage, makes_snapshots and takes_snapshots)
    if makes_snapshots:
        # Backups need no storage that keeps snapshots.
        snapshotter = Snapshotter(config.id, storage)
    if takes_snapshots:
        courier = Courier(
            config.id,
            cluster,
            storage,
            commands,
            engine.transfers.queue,
            clock,
            functools.partial(check_restore, machine),
            config.election_ticks * config.tick_ms * 1_000_000,
            config.snapshot_bytes_per_second,
            limit,
            lambda index: applier.keeper.spoil(index),
            lambda: engine.gauges.commit,
        )
    ledger = getattr(storage, "ledger", None)
    own = ledger is None
    if ledger is None:
        ledger = Lives(loaded.store, met=loaded.met).ledger(None)
    memory = Memory(config.id, ledger, storage if own else None, commands, engine.meetings.queue)
    chunk_bytes = outside.chunk_bytes or chunk_bytes_for(limit)

    def described(index: int, term: int, version: int) -> Descriptor:
        there, incarnation = membership_at(members, index, held, loaded.records), loaded.incarnation
        return Descriptor(
            index, term, there.conf_state, dict(there.addresses), cluster, incarnation, version,
            chunk_bytes=chunk_bytes, joined=there.kept(),
        )  # fmt: skip

    writer, wake = snapshotter if takes_snapshots else None, applies.event.py_wake
    held = applied_by(machine)
    held_term = log.py_term(held) if loaded.base_index <= held <= log.last else 0
    keeper = Keeper(config, machine, writer, newest, described, commands, outcomes, wake, snapshotter, held_term)
    keeper.chronicle = chronicle
    if snapshotter is not None:
        snapshotter.ended, snapshotter.idle, snapshotter.overtaken = keeper.take_ended, wake, keeper.is_overtaken
    applier.keeper = keeper
    applier.ahead = ahead_of(log, applied, held)
    applier.open_snapshot = getattr(storage, "open_snapshot", None)
    watch = Watch(outcomes, clock, config.proposal_timeout_ms * 1_000_000)

    def publish(membership: Membership) -> None:
        chronicle.members(membership)
        outside.configuration.value = membership.conf_state
        outside.configurations.push(membership)

    members = Members(config.id, first, engine.changes.installs, publish, directory, lambda index: changer.ended(index))

    changer = Changer(
        config.id, members, engine.gauges, engine.apply_gauges, commands, outcomes, clock, watch.event.py_wake, applied,
        lambda: applier.readers.read(None, False),
    )  # fmt: skip
    applier.members, applier.changer, watch.changer = members, changer, changer
    members.begin()
    engine.changes.judges = contracts.has(transport, "check_address")
    engine.changes.py_take()
    applier.compact = compactor(storage, members)
    disagreements = Disagreements(
        config,
        limit,
        engine.hellos,
        engine.clocks,
        engine.gauges,
        lambda: outside.configuration.value,
        getattr(transport, "peers", {}),
        clock,
        Planned(config.id, *outside.planned, lambda: members.now, clock),
    )
    reporter = Reporter(lines, functools.partial(tell_news, config.id, transport, link, disagreements, chronicle))
    lookout = Lookout(config.id, commands, engine.looks.queue, clock, status, limit - FRAME_OVERHEAD)
    if isinstance(clock, ManualClock):
        for sleeper in (event, watch.event, writes.event, engine.transfers.queue.event, memory.event):
            clock.py_watch(sleeper)
    proposer = Proposer(
        proposals, outcomes, config.max_entry_bytes, config.max_waiting_bytes, config.max_open_proposals
    )
    proposer.gauges, proposer.apply_gauges = engine.gauges, engine.apply_gauges
    proposer.patience_ms = config.proposal_timeout_ms // 2
    watch.patience = Patience(
        proposer, outcomes, clock, watch.event.py_wake, lambda: int(proposer.lag_ms()) * 1_000_000
    )
    watch.renewals = Renewals(clock, watch.event.py_wake)
    wal: Wal | None = getattr(storage, "wal", None)
    storage_adapter = StorageAdapter(storage, writes, disk, event) if wal is None else None
    return Parts(
        loaded.incarnation,
        life,
        engine,
        applier,
        proposer,
        watch,
        reporter,
        disagreements,
        disk,
        commands,
        wal,
        storage_adapter,
        transport_adapter,
        writes,
        clock,
        keeper,
        snapshotter,
        courier,
        memory,
        members,
        changer,
        sorted(loaded.skips),
        applies,
        engine.changes.gauges,
        lookout,
    )


@contextlib.contextmanager
def owned_unless_started(outside: Outside) -> Iterator[None]:
    """A transport that raises UsageError was started before, perhaps by another node: it is not this one's to close."""
    try:
        yield
    except UsageError:
        outside.owns_transport = False
        raise


def load_log(id: int, loaded: Loaded) -> EntryLog:
    """The log that a storage held; it begins behind the base."""
    log = EntryLog()
    if loaded.base_index:
        log.py_restore(loaded.base_index, loaded.base_term)
        if loaded.snapshot is None:
            report(
                logging.WARNING,
                "node %d: its log begins behind entry %d, and it has no snapshot: its state machine must have what was "
                "applied up to there, and as a leader it cannot help a member that lacks these entries",
                *(id, loaded.base_index),
            )
    for piece in loaded.records:
        log.py_extend(piece)
    return log


def compactor(storage: Any, members: Members) -> Callable[[int, int], None] | None:
    """What forgets entries on disk, where the storage can. Before that it keeps what only those entries say."""
    compact, keep = getattr(storage, "compact", None), getattr(storage, "keep_addresses", None)
    if compact is None:
        return None
    compact, keep = as_node(compact), as_node(keep) if keep is not None else None

    def forget(index: int, term: int) -> None:
        index, term, there = members.compactable(index, term)
        if index == 0:
            return
        if keep is not None:
            keep(index, there.addresses, there.kept())
        compact(index, term, there.conf_state)
        members.forget(index)

    return forget


def tell_skips(id: int, skips: Mapping[int, int]) -> None:
    """A member that does not apply what others may: said at each start."""
    for index in sorted(skips):
        report(
            logging.WARNING,
            "node %d: entry %d of term %d is skipped: its state machine is not given it. It must be so on all members",
            *(id, index, skips[index]),
        )


def ahead_of(log: EntryLog, index: int, held: int) -> list[Entry]:
    """Entries behind ``index`` that a state machine has already: those of sessions, and the last one."""
    last = min(held, log.last)
    found = []
    for low in range(max(index + 1, log.first), last + 1, AHEAD_STEP):
        entries = log.entries(low, min(low + AHEAD_STEP - 1, last))
        found += [entry for entry in entries if entry.kind == ENTRY_SESSION or entry.index == last]
    return found


def warn_of_no_member(id: int, members: list[int], joins: bool) -> None:
    """A node whose own id is not in its membership waits until a leader adds it: perhaps for ever."""
    if joins and id not in members:
        report(logging.INFO, "node %d: it waits to be added: add_voter(%d, url) or add_learner on a member", id, id)
    elif id not in members:
        report(
            logging.WARNING,
            "node %d: its id is not in its membership %s: it never campaigns, and only follows if a leader adds it: "
            "look at Config.id, and at the voters of its storage",
            *(id, sorted(members)),
        )


def fitted(config: Config, transport: Any) -> Config:
    """The settings of a node's core: its windows are smaller than the transport's queues, so nothing is dropped."""
    messages, size = config.max_inflight_messages, config.max_inflight_bytes
    if frames := getattr(transport, "queue_frames", 0):
        messages = min(messages, max(1, frames // 2))
    if room := getattr(transport, "send_bytes", 0):
        size = max(config.max_message_bytes, min(size, room // 2))
    return dataclasses.replace(config, lease_reads=False, max_inflight_messages=messages, max_inflight_bytes=size)


def with_seed(config: Config) -> Config:
    """The same settings with a seed, from the system where none is set: no two processes draw the same timeouts."""
    if config.seed is not None:
        return config
    return dataclasses.replace(config, seed=int.from_bytes(os.urandom(8), "little"))


def open_link(transport: Any, config: Config, event: Event) -> Link:
    """The transport's own way without the GIL, or two queues for one written in Python."""
    own = getattr(transport, "open_link", None)
    link: Link | None = own(config.id, event) if own is not None else None
    if link is None:
        notes = getattr(transport, "notes", None)
        link = QueueLink(event, Event(), config.max_inflight_bytes * 2 + (8 << 20), notes)
    return link


def tell_news(id: int, transport: Any, link: Link, disagreements: Disagreements, chronicle: Chronicle) -> None:
    """Log what people should hear of the connections and of the other members. On the report thread."""
    disagreements.tell()
    chronicle.look_at_peers(disagreements.hellos, disagreements.ids(), getattr(transport, "peers", {}))
    report_notes(link.notes, id, getattr(transport, "peers", {}))
    own = getattr(transport, "report", None)
    if own is not None:
        own(id)
