"""What the threads of a node publish, as a dict for Node.status(). Reads published values only, on any thread."""

from __future__ import annotations

import errno
from typing import Any

from .. import _core
from .._native.threads import Cells
from ..storage.protocol import CELL_BATCH_ENTRIES, CELL_BYTES, CELL_SHORTAGE, CELL_SYNC_NS, CELL_SYNCS
from . import rows, senders


def status_of(incarnation: int, show: Cells, applied: Cells, disk: Cells) -> dict[str, Any]:
    """What the engine, the apply thread and the disk's worker show."""
    return {
        "incarnation": incarnation,
        "term": show[rows.SHOW_TERM],
        "vote": show[rows.SHOW_VOTE],
        "in_doubt": bool(show[rows.SHOW_IN_DOUBT]),
        "commit": show[rows.SHOW_COMMIT],
        "last": show[rows.SHOW_LAST],
        "stable": show[rows.SHOW_STABLE],
        "ticks": show[rows.SHOW_TICKS],
        "leader_changes": show[rows.SHOW_LEADERS],
        "frames_in": show[rows.SHOW_FRAMES_IN],
        "frames_out": show[rows.SHOW_FRAMES_OUT],
        "frames_dropped": show[rows.SHOW_FRAMES_DROPPED],
        "too_large_out": show[rows.SHOW_TOO_LARGE_OUT],
        "too_large_in": show[rows.SHOW_TOO_LARGE_IN],
        "frames_stale": show[rows.SHOW_STALE],
        "entries_bare": applied[rows.DONE_BARE],
        "messages_unserved": show[rows.SHOW_UNSERVED],
        "messages_refused": by_reason(show, rows.SHOW_ODD, senders.REASONS),
        "frames_rejected": by_reason(show, rows.SHOW_REJECTED, _core.REASONS),
        "syncs": disk[CELL_SYNCS],
        "wal_bytes": disk[CELL_BYTES],
        "wal_entries": disk[CELL_BATCH_ENTRIES],
        "sync_ns": disk[CELL_SYNC_NS],
        "disk_shortage": errno.errorcode.get(disk[CELL_SHORTAGE], ""),
    }


def by_reason(show: Cells, first: int, reasons: tuple[str, ...]) -> dict[str, int]:
    """Counts that stand from ``first`` on; the reason 0 is none."""
    return {name: show[first + reason] for reason, name in enumerate(reasons) if reason}
