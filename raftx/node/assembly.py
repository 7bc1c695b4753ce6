"""How the parts of a node are put together from settings, storage, transport and clock.

Opens the storage and the transport; starts nothing. Which part runs where is told in ``Parts.tasks``.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .._core import Codec
from .._native.layout import FRAME_OVERHEAD
from .._native.seal import Seal
from .._native.threads import Clock, Event, ManualClock, ProposalQueue
from ..config import Config, cluster_id
from ..errors import UsageError
from ..report import Lines
from ..storage.in_use import as_node
from ..storage.lives import Lives
from ..storage.protocol import keeps_snapshots
from ..storage.snapshot_format import Descriptor
from ..storage.wal_writer import Wal
from ..storage.writes import DiskGauges, WriteQueue
from ..transport.link import Link, QueueLink
from ..transport.news import report_notes
from ..transport.protocol import FRAME_UNIT
from ..transport.sealed import SealedLink
from . import contracts
from .adapter import StorageAdapter, TransportAdapter
from .apply import Applier
from .changer import Changer
from .channels import ApplyGauges, ApplyQueue, CommandQueue
from .chronicle import Chronicle
from .courier import Courier, chunk_bytes_for
from .disagreements import Disagreements
from .engine import Engine
from .keeper import Keeper, applied_by, check_restore
from .lookout import Lookout
from .members import Directory, Members, Membership, membership_at
from .memory import Memory
from .opening import Opened, ahead_of, open_storage
from .outcomes import Outcomes
from .outside import Outside
from .parts import Parts
from .patience import Patience
from .planned import Planned
from .proposer import Proposer
from .renewals import Renewals
from .reporter import Reporter
from .snapshots import Snapshotter
from .stamps import StageTimes
from .status import Status
from .watch import Watch

FRAME_MAX = 1 << 30  # bytes of a frame where the transport sets no limit
REPLAY_NS = 5_000_000_000  # after a start, until what is in the log should be applied


def assemble(
    outside: Outside, outcomes: Outcomes, lines: Lines, check_closing: Callable[[], None], status: Callable[[], Status]
) -> Parts:
    """Open storage and transport, and make the parts. Raises what they raise, and what ``check_closing`` does.

    status: how the node is, for members that ask. What was opened is the caller's to close, also after a failure.
    """
    config, storage, clock = outside.config, outside.storage, outside.clock
    opened = open_storage(outside)
    outside.configuration.value = opened.core.tracker.conf_state()
    outside.configurations.push(opened.first)
    check_closing()
    directory = Directory(config.id, outside.transport, opened.founding())
    directory.follow(opened.first)
    if (expect := getattr(outside.transport, "expect", None)) is not None:
        expect(config.id, list(opened.first.ids()))
    queues = make_queues(outside, opened.life)
    line = make_line(outside, queues)
    engine = make_engine(outside, opened, queues, line)
    transport_adapter = start_transport(outside, line, queues)
    chronicle = Chronicle(config.id, clock, outside.timeline)
    applier = make_applier(outside, opened, queues, engine, outcomes, chronicle)
    watch = Watch(outcomes, clock, config.proposal_timeout_ms * 1_000_000)
    members = make_members(outside, opened, queues, engine, applier, directory, watch)
    snapshotter, courier = make_snapshots(outside, opened, queues, engine, applier, line, members)
    memory = make_memory(outside, opened, queues, engine)
    disagreements = Disagreements(
        config,
        line.limit,
        engine.hellos,
        engine.clocks,
        engine.gauges,
        lambda: outside.configuration.value,
        getattr(outside.transport, "peers", {}),
        clock,
        Planned(config.id, *outside.planned, lambda: members.now, clock),
    )
    # A transport may have said that it is called some times a second.
    often = hasattr(outside.transport, "report")
    replays = replaying(engine.apply_gauges, opened.core.log.last, clock)
    tell = functools.partial(tell_news, config.id, outside.transport, line.link, disagreements, chronicle, replays)
    wal: Wal | None = getattr(storage, "wal", None)
    if wal is not None:
        wal.spin_ns = outside.config.spin_us * 1000
    parts = Parts(
        incarnation=opened.loaded.incarnation,
        life=opened.life,
        engine=engine,
        applier=applier,
        proposer=make_proposer(outside, queues, engine, watch, outcomes),
        watch=watch,
        reporter=Reporter(lines, tell, often),
        disagreements=disagreements,
        disk=queues.disk,
        commands=queues.commands,
        wal=wal,
        storage_adapter=StorageAdapter(storage, queues.writes, queues.disk, queues.event) if wal is None else None,
        transport_adapter=transport_adapter,
        writes=queues.writes,
        clock=clock,
        keeper=applier.keeper,
        snapshotter=snapshotter,
        courier=courier,
        memory=memory,
        members=members,
        changer=applier.changer,
        skips=sorted(opened.loaded.skips),
        applies=queues.applies,
        peers=engine.changes.gauges,
        lookout=Lookout(config.id, queues.commands, engine.looks.queue, clock, status, line.limit - FRAME_OVERHEAD),
    )
    if isinstance(clock, ManualClock):
        for sleeper in (queues.event, watch.event, queues.writes.event, engine.transfers.queue.event, memory.event):
            clock.py_watch(sleeper)
    return parts


@dataclass
class Queues:
    """What leads from one worker to another. ``event``: wakes the engine."""

    event: Event
    proposals: ProposalQueue
    writes: WriteQueue
    applies: ApplyQueue
    commands: CommandQueue
    disk: DiskGauges


def make_queues(outside: Outside, life: int) -> Queues:
    """Those of a node that lives this life."""
    event, rows, config = Event(), outside.rows, outside.config
    applies = ApplyQueue(Event(), rows.applies)
    applies.py_set_giver(event)
    return Queues(
        event,
        ProposalQueue(event, config.id, life, config.max_waiting_bytes, outside.clock),
        WriteQueue(Event(), rows.writes),
        applies,
        CommandQueue(event, rows.commands),
        DiskGauges(),
    )


@dataclass
class Line:
    """The way to the other members: the transport's own, or two queues, and the seal around it. limit: of a frame."""

    inner: Link
    link: Link
    limit: int


def make_line(outside: Outside, queues: Queues) -> Line:
    """That of the transport, which is opened."""
    transport, config = outside.transport, outside.config
    cluster = cluster_id(config.cluster)
    with owned_unless_started(outside):
        if (secure := getattr(transport, "secure", None)) is not None:
            secure(cluster, config.id)
        inner = open_link(transport, config, queues.event)
    keys = getattr(transport, "cluster_keys", ())
    link = SealedLink(inner, Seal(list(keys), cluster, config.id)) if keys else inner
    return Line(inner, link, getattr(transport, "max_frame_bytes", None) or FRAME_MAX)


def start_transport(outside: Outside, line: Line, queues: Queues) -> TransportAdapter | None:
    """Start one that is written in Python, and what carries frames to it and from it; None: it needs neither."""
    if not isinstance(line.inner, QueueLink):
        return None
    with owned_unless_started(outside):
        adapter = TransportAdapter(outside.transport, line.inner, queues.commands)
        outside.transport.start(outside.config.id, line.inner.deliver)
    return adapter


def make_engine(outside: Outside, opened: Opened, queues: Queues, line: Line) -> Engine:
    """The engine, which knows of the other members what the storage has kept."""
    config, clock, loaded = outside.config, outside.clock, opened.loaded
    codec = Codec(cluster_id(config.cluster), config.id, opened.life)
    if line.limit % FRAME_UNIT == 0:
        # Else it cannot be told exactly, and what would just fit must not be kept back.
        codec.announce(line.limit)
    engine = Engine(
        opened.core, codec, line.link, clock, queues.event, queues.proposals, queues.writes, queues.disk,
        queues.applies, queues.commands, config, StageTimes(clock), line.limit, keeps_snapshots(outside.storage),
        loaded.store, loaded.rebuilt,
    )  # fmt: skip
    engine.meetings.py_founded(loaded.origin, loaded.origin_index)
    for id, at in opened.joined(hasattr(outside.storage, "keep_addresses")).items():
        engine.peers.py_joined(opened.core.tracker.peers, id, at)
    for id, met in loaded.met.items():
        if id != config.id:
            engine.meetings.py_met(id, met.life, met.joined)
        elif opened.core.joins:
            engine.meetings.joined = met.joined + 1
    # What lies before the log was applied in an earlier life.
    engine.apply_gauges.index = loaded.base_index if opened.newest is None else 0
    engine.changes.judges = contracts.has(outside.transport, "check_address")
    return engine


def make_applier(
    outside: Outside, opened: Opened, queues: Queues, engine: Engine, outcomes: Outcomes, chronicle: Chronicle
) -> Applier:
    """What owns the state machine, with the reads of it."""
    config, machine = outside.config, outside.state_machine
    applier = Applier(config.id, queues.proposals, queues.applies, engine.apply_gauges, machine, outcomes)
    applier.readers.attach(engine.reads, engine.gauges, outside.clock, queues.event)
    applier.engine_event, applier.chronicle = queues.event, chronicle
    applier.returns_errors = config.on_apply_error == "return"
    applier.where = str(getattr(outside.storage, "path", ""))
    applier.skips = dict(opened.loaded.skips)
    applier.committed, applier.state_changes = outside.committed, outside.state_changes
    if outside.committed is not None:
        outside.committed.on_room = queues.applies.event.py_wake
    if callable(getattr(machine, "apply_batch", None)):
        applier.take_batches()
    outcomes.stamps = engine.stamps
    contracts.tell_mode(config.id)
    return applier


def make_members(
    outside: Outside,
    opened: Opened,
    queues: Queues,
    engine: Engine,
    applier: Applier,
    directory: Directory,
    watch: Watch,
) -> Members:
    """Who the members are, and the changes of them that this node asks for."""
    config, chronicle = outside.config, applier.chronicle
    chronicle.waits = not opened.first.ids()

    def publish(membership: Membership) -> None:
        chronicle.members(membership)
        outside.configuration.value = membership.conf_state
        outside.configurations.push(membership)

    def ended(index: int) -> None:
        changer.ended(index)

    members = Members(config.id, opened.first, engine.changes.installs, publish, directory, ended)
    changer = Changer(
        config.id, members, engine.gauges, engine.apply_gauges, queues.commands, applier.outcomes, outside.clock,
        watch.wake, opened.applied, lambda: applier.readers.read(None, False),
    )  # fmt: skip
    applier.members, applier.changer, watch.changer = members, changer, changer
    members.begin()
    engine.changes.py_take()
    applier.compact = compactor(outside.storage, members)
    return members


def make_snapshots(
    outside: Outside,
    opened: Opened,
    queues: Queues,
    engine: Engine,
    applier: Applier,
    line: Line,
    members: Members,
) -> tuple[Snapshotter | None, Courier | None]:
    """What makes snapshots of the state machine, and what fetches and serves them; None: it, or the storage, cannot."""
    config, storage, machine, loaded = outside.config, outside.storage, outside.state_machine, opened.loaded
    takes_snapshots = keeps_snapshots(storage)
    makes_snapshots = callable(getattr(machine, "snapshot", None))
    contracts.tell_what_is_missing(config.id, storage, makes_snapshots and takes_snapshots)
    # Backups need no storage that keeps snapshots.
    snapshotter = Snapshotter(config.id, storage) if makes_snapshots else None
    chunk_bytes, cluster = outside.chunk_bytes or chunk_bytes_for(line.limit), cluster_id(config.cluster)
    held = applied_by(machine)
    held_term = opened.log.py_term(held) if loaded.base_index <= held <= opened.log.last else 0

    def described(index: int, term: int, version: int) -> Descriptor:
        there, incarnation = membership_at(members, index, held, loaded.records), loaded.incarnation
        return Descriptor(
            index, term, there.conf_state, dict(there.addresses), cluster, incarnation, version,
            chunk_bytes=chunk_bytes, joined=there.kept(),
        )  # fmt: skip

    writer, wake = snapshotter if takes_snapshots else None, queues.applies.event.py_wake
    keeper = Keeper(
        config, machine, writer, opened.newest, described, queues.commands, applier.outcomes, wake, snapshotter,
        held_term,
    )  # fmt: skip
    keeper.chronicle = applier.chronicle
    if snapshotter is not None:
        snapshotter.ended, snapshotter.idle, snapshotter.overtaken = keeper.take_ended, wake, keeper.is_overtaken
    applier.keeper = keeper
    applier.ahead = ahead_of(opened.log, opened.applied, held)
    applier.open_snapshot = getattr(storage, "open_snapshot", None)
    if not takes_snapshots:
        return snapshotter, None
    courier = Courier(
        config.id,
        cluster,
        storage,
        queues.commands,
        engine.transfers.queue,
        outside.clock,
        functools.partial(check_restore, machine),
        config.election_ticks * config.tick_ms * 1_000_000,
        config.snapshot_bytes_per_second,
        line.limit,
        keeper.spoil,
        lambda: engine.gauges.commit,
    )
    return snapshotter, courier


def make_memory(outside: Outside, opened: Opened, queues: Queues, engine: Engine) -> Memory:
    """What keeps the lives of the members that this one has met."""
    ledger = getattr(outside.storage, "ledger", None)
    own = ledger is None
    if ledger is None:
        ledger = Lives(opened.loaded.store, met=opened.loaded.met).ledger(None)
    storage = outside.storage if own else None
    return Memory(outside.config.id, ledger, storage, queues.commands, engine.meetings.queue)


def make_proposer(outside: Outside, queues: Queues, engine: Engine, watch: Watch, outcomes: Outcomes) -> Proposer:
    """Where proposals enter, and what repeats those that have the time."""
    config, clock = outside.config, outside.clock
    proposer = Proposer(
        queues.proposals, outcomes, config.max_entry_bytes, config.max_waiting_bytes, config.max_open_proposals,
        config.max_uncommitted_bytes,
    )  # fmt: skip
    proposer.gauges, proposer.apply_gauges = engine.gauges, engine.apply_gauges
    watch.gauges = engine.gauges
    proposer.patience_ms = config.proposal_timeout_ms // 2
    watch.patience = Patience(proposer, outcomes, clock, watch.wake, lambda: int(proposer.lag_ms()) * 1_000_000)
    watch.renewals = Renewals(clock, watch.wake, lambda: outcomes.unwatched)
    return proposer


@contextlib.contextmanager
def owned_unless_started(outside: Outside) -> Iterator[None]:
    """A transport that raises UsageError was started before, perhaps by another node: it is not this one's to close."""
    try:
        yield
    except UsageError:
        outside.owns_transport = False
        raise


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


def open_link(transport: Any, config: Config, event: Event) -> Link:
    """The transport's own way without the GIL, or two queues for one written in Python."""
    own = getattr(transport, "open_link", None)
    link: Link | None = own(config.id, event) if own is not None else None
    if link is None:
        notes = getattr(transport, "notes", None)
        link = QueueLink(event, Event(), config.max_inflight_bytes * 2 + (8 << 20), notes)
    return link


def replaying(applied: ApplyGauges, last: int, clock: Clock) -> Callable[[], bool]:
    """Whether a start is going on: the members that are known are those of before entries that the log has."""
    until = clock.py_now() + REPLAY_NS
    return lambda: applied.index < last and clock.py_now() < until


def tell_news(
    id: int,
    transport: Any,
    link: Link,
    disagreements: Disagreements,
    chronicle: Chronicle,
    replays: Callable[[], bool],
) -> None:
    """Log what people should hear of the connections and of the other members. On the report thread.

    What is noted of connections waits while ``replays``: a removal may be in the log that is not applied yet.
    """
    disagreements.tell()
    members, peers = disagreements.ids(), getattr(transport, "peers", {})
    chronicle.look_at_peers(disagreements.hellos, members, peers)
    if not replays():
        report_notes(link.notes, id, peers, members)
    own = getattr(transport, "report", None)
    if own is not None:
        own(id)
