"""What a node is at a moment, as values for people, programs and other members. Reads published values only.

The numbers are those that the threads of the node publish; nothing is decided by them. docs/reference.md has every
field with its unit.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .. import _core
from ..storage.writes import DiskGauges
from ..types import ConfState
from . import senders
from .channels import ApplyGauges, Gauges
from .plain import from_plain, to_plain
from .rows import BUCKETS, LEAST_BITS, STAGES
from .stamps import StageTimes

HEARD_LEADING = 3.0  # seconds in which leader and member hear of each other, with anything less than a broken network
HEARD_OTHERS = 11.0  # in which two followers do, who greet each other every ten


@dataclass(frozen=True)
class Member:
    """One member, as a node sees it: an element of ``Node.members`` and of ``Status.peers``."""

    id: int
    #: where it is reached; "": not known here
    url: str
    #: "voter", "learner", or while a joint configuration is left "outgoing"
    role: str
    is_leader: bool
    #: the last entry that it is known to have, and how many of the leader's it lacks; None unless this node leads
    match: int | None
    lag: int | None
    #: seconds since a frame of it came, as far as ticks tell; None: none has come in this life. 0.0 for the node itself
    last_heard: float | None

    @property
    def connected(self) -> bool:
        """Whether it was heard of lately: within 3 s where one of the two leads, within 11 s between followers."""
        most = HEARD_LEADING if self.is_leader or self.match is not None else HEARD_OTHERS
        return self.last_heard is not None and self.last_heard < most

    def plain(self) -> dict[str, Any]:
        """What ``to_dict`` of a status has of it."""
        return {**vars(self), "connected": self.connected}


@dataclass(frozen=True)
class SnapshotStatus:
    """The newest snapshot of this member, and those it makes."""

    #: the entry that the newest one is of, 0: there is none; and the term of that entry
    index: int = 0
    term: int = 0
    #: bytes of its state, and the version of the state machine's format
    size: int = 0
    version: int = 0
    #: how many were made in this life, and given up
    made: int = 0
    failed: int = 0
    #: bytes written of the one that is being made; None: none is
    writing: int | None = None


@dataclass(frozen=True)
class TransferStatus:
    """Snapshots that are fetched from other members, and served to them."""

    #: the entry of the snapshot that is being fetched, 0: none is; and who serves it
    fetching: int = 0
    source: int = 0
    #: bytes of it that are here, and that it has
    arrived: int = 0
    size: int = 0
    #: how many came whole, came to nothing, and were ended because entries had brought the same
    fetched: int = 0
    given_up: int = 0
    overtaken: int = 0
    #: what the needed snapshot could not be stored for: "ENOSPC", say; "": nothing
    shortage: str = ""
    chunks_received: int = 0
    chunks_served: int = 0


@dataclass(frozen=True)
class DiskStatus:
    """The log and the directory it is in."""

    #: how often the log was synced, and nanoseconds that this took, in all
    syncs: int = 0
    sync_ns: int = 0
    #: bytes written to the log in this life, padding included, and entries
    wal_bytes: int = 0
    wal_entries: int = 0
    #: bytes that the member's directory takes, and that are free where it is; None: the storage does not tell
    used: int | None = None
    free: int | None = None
    #: what the log waits for or will need soon, or what a snapshot could not be stored for: "ENOSPC", say; "": nothing
    shortage: str = ""
    #: whether there is no room for the next segment of the log: proposals end as DiskFull
    full: bool = False


@dataclass(frozen=True)
class QueueStatus:
    """What waits between the threads of the node, and for the other members."""

    #: bytes of proposals that wait for the engine, and of the log that is in memory, as of some seconds ago
    proposal_bytes: int = 0
    log_bytes: int = 0
    #: rows that wait for the disk, the apply thread and the engine
    writes: int = 0
    applies: int = 0
    commands: int = 0
    #: commands that the engine was not told of because too many waited
    commands_dropped: int = 0


@dataclass(frozen=True)
class Histogram:
    """How long one stage took, of rounds of proposals while this node led."""

    #: rounds by how long they took: the last bucket has those above the last of LatencyStatus.BOUNDS
    counts: tuple[int, ...] = ()
    #: of all rounds together
    seconds: float = 0.0


@dataclass(frozen=True)
class LatencyStatus:
    """Histograms by stage, since the start; see raftx.Timing. A round is what the engine took at once."""

    #: upper bounds of the buckets, in seconds
    BOUNDS: ClassVar[tuple[float, ...]] = tuple([(1 << LEAST_BITS + bucket) / 1e6 for bucket in range(BUCKETS - 1)])

    #: until the engine appended the oldest proposal of the round
    queue: Histogram = Histogram()
    #: from there until it was durable here, until another voter had acknowledged it, and until it was committed
    wal: Histogram = Histogram()
    network: Histogram = Histogram()
    quorum: Histogram = Histogram()
    #: from there until it was applied here
    apply: Histogram = Histogram()
    #: from the oldest proposal until it was applied
    total: Histogram = Histogram()

    def plain(self) -> dict[str, Any]:
        """What ``to_dict`` of a status has of it."""
        return {"bounds": list(self.BOUNDS), **vars(self)}


@dataclass(frozen=True)
class Status:
    """A picture of a node: ``Node.status()``. Counters begin at 0 with each start and only grow.

    A node that was not started, was closed or has failed has the role "none" and knows no leader. docs/reference.md
    has every field with its unit. ``to_dict`` gives what JSON has of it.
    """

    id: int
    #: "new", "starting", "running", "stopping", "ended" or "failed"; failed stays after ``close``
    state: str = "new"
    #: what ended the node, in words; None for nothing
    failure: str | None = None
    #: the version of raftx
    version: str = ""
    #: number of this life, as other members know it, and how often the storage has been opened
    life: int = 0
    incarnation: int = 0
    #: seconds that this life has lasted, as far as ticks tell
    uptime: float = 0.0
    #: what of the committed entries here contradicts the leader's log, as a sentence; "": nothing
    diverged: str = ""
    #: why this member knows no leader, once that has lasted for six election timeouts, as a sentence; "": it knows one
    unled: str = ""
    #: why this member, which lacks entries, cannot take the snapshot that it needs, as a sentence; "": nothing
    stuck: str = ""
    #: ids of those whose answer that they know this life is missing while it does not take part yet
    waits_for: tuple[int, ...] = ()
    #: "follower", "pre_candidate", "candidate", "leader", or "none"
    role: str = "none"
    #: the id of the leader it knows of; 0: none
    leader: int = 0
    term: int = 0
    #: whom it has voted for in this term; 0: nobody
    vote: int = 0
    #: whether it may have forgotten what it promised, so that it does not vote
    in_doubt: bool = False
    #: the last entry known to be committed, and the last that the state machine has
    commit: int = 0
    applied: int = 0
    #: entries that are known to be committed and are not applied here, and seconds that it would take to apply them, as
    #: estimated
    behind: int = 0
    apply_lag: float = 0.0
    #: the first entry in memory, the last of the log, and the last that is durable here
    first: int = 0
    last: int = 0
    stable: int = 0
    #: open requests: proposals, reads, transfers and the like
    pending: int = 0
    configuration: ConfState = field(default_factory=ConfState)
    ticks: int = 0
    #: how often another leader became known
    leader_changes: int = 0
    frames_in: int = 0
    frames_out: int = 0
    frames_dropped: int = 0
    frames_stale: int = 0
    #: frames that the codec did not accept, and messages that no honest member can have sent, by reason
    frames_rejected: Mapping[str, int] = field(default_factory=dict)
    messages_refused: Mapping[str, int] = field(default_factory=dict)
    messages_unmet: int = 0
    messages_unserved: int = 0
    messages_not_taken: int = 0
    too_large_out: int = 0
    too_large_in: int = 0
    #: committed entries that no Node proposed, and that are therefore not applied
    entries_bare: int = 0
    #: offers of a snapshot that this member needs and that its storage or its state machine cannot take
    snapshots_not_taken: int = 0
    #: indexes of entries that are not given to the state machine, as the owner has agreed
    skipped: tuple[int, ...] = ()
    #: sentences about settings and clocks of members that do not fit this node's, by id; 0: it is not known whose
    disagreements: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    #: the other members, in the order of their ids
    peers: tuple[Member, ...] = ()
    snapshot: SnapshotStatus = SnapshotStatus()
    #: None where storage or state machine has no snapshots
    transfers: TransferStatus | None = None
    disk: DiskStatus = DiskStatus()
    queues: QueueStatus = QueueStatus()
    latency: LatencyStatus = LatencyStatus()
    #: how often the threads "engine", "wal" and "apply" were woken, and how often that was in vain
    wakeups: Mapping[str, int] = field(default_factory=dict)
    wakeups_idle: Mapping[str, int] = field(default_factory=dict)
    #: the transport's own counters, empty where it has none
    transport: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The same as dicts, lists, strings, numbers, booleans and None: ``json.dumps`` takes it."""
        found: dict[str, Any] = to_plain(self)
        return found

    @staticmethod
    def from_dict(found: object) -> Status:
        """What ``to_dict`` gave, perhaps in another version of raftx. Raises ValueError, which names the field."""
        return from_plain(Status, found)


def published(engine: Gauges, applied: ApplyGauges) -> dict[str, Any]:
    """What engine and apply thread publish, as fields of a Status."""
    return {
        "term": engine.term,
        "vote": engine.vote,
        "in_doubt": bool(engine.in_doubt),
        "commit": engine.commit,
        "behind": max(engine.commit - applied.index, 0),
        "first": engine.first,
        "last": engine.last,
        "stable": engine.stable,
        "ticks": engine.ticks,
        "leader_changes": engine.leader_changes,
        "frames_in": engine.frames_in,
        "frames_out": engine.frames_out,
        "frames_dropped": engine.frames_dropped,
        "too_large_out": engine.too_large_out,
        "too_large_in": engine.too_large_in,
        "frames_stale": engine.frames_stale,
        "entries_bare": applied.bare,
        "messages_unmet": engine.unmet,
        "messages_unserved": engine.unserved,
        "snapshots_not_taken": engine.untaken,
        "messages_refused": engine.by_reason(False, senders.REASONS),
        "frames_rejected": engine.by_reason(True, _core.REASONS),
        "messages_not_taken": engine.not_taken,
    }


def woken(engine: Gauges, disk: DiskGauges, applied: ApplyGauges) -> dict[str, dict[str, int]]:
    """How often the threads were woken, as fields of a Status."""
    each: dict[str, Any] = {"engine": engine, "wal": disk, "apply": applied}
    return {
        "wakeups": {name: int(gauges.wakeups) for name, gauges in each.items()},
        "wakeups_idle": {name: int(gauges.wakeups_idle) for name, gauges in each.items()},
    }


def latency_status(times: StageTimes) -> LatencyStatus:
    """What the engine has counted."""
    found = {}
    for stage, name in enumerate(STAGES):
        counts, nanoseconds = times.histogram(stage)
        found[name] = Histogram(counts, nanoseconds / 1e9)
    return LatencyStatus(**found)


def disk_status(disk: DiskGauges, full: bool, shortage: str, space: tuple[int, int] | None) -> DiskStatus:
    """What the disk's worker publishes. shortage: what a snapshot lacks to be stored; space: used and free bytes."""
    used, free = space if space is not None else (None, None)
    return DiskStatus(
        syncs=disk.syncs,
        sync_ns=disk.sync_ns,
        wal_bytes=disk.written,
        wal_entries=disk.entries,
        used=used,
        free=free,
        shortage=errno.errorcode.get(disk.shortage or disk.py_room()[0], "") or shortage,
        full=full,
    )
