"""What the threads of a node publish, as a dict for Node.status(). Reads published values only, on any thread."""

from __future__ import annotations

import errno
from typing import Any

from .. import _core
from ..storage.writes import DiskGauges
from . import senders
from .channels import ApplyGauges, Gauges


def status_of(
    incarnation: int, engine: Gauges, applied: ApplyGauges, disk: DiskGauges, shortage: str = ""
) -> dict[str, Any]:
    """What the engine, the apply thread and the disk's worker publish. shortage: what a snapshot lacks to be stored."""
    return {
        "incarnation": incarnation,
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
        "syncs": disk.syncs,
        "wal_bytes": disk.written,
        "wal_entries": disk.entries,
        "sync_ns": disk.sync_ns,
        "disk_shortage": errno.errorcode.get(disk.shortage or disk.py_room()[0], "") or shortage,
        "disk_full": bool(engine.full),
        "messages_not_taken": engine.not_taken,
    }
