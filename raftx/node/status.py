"""The numbers of an engine in a dict, for Node.status(). Reads only."""

from __future__ import annotations

import errno
from typing import Any

from .._sys import Cells
from ..storage.protocol import CELL_BATCH_ENTRIES, CELL_BYTES, CELL_SHORTAGE, CELL_SYNC_NS, CELL_SYNCS
from . import rows
from .engine import Engine


def status_of(engine: Engine, cells: Cells) -> dict[str, Any]:
    """What the engine and the disk's thread show. Any thread."""
    show, codec = engine.show, engine.codec
    return {
        "incarnation": codec.incarnation,
        "term": show[rows.SHOW_TERM],
        "vote": show[rows.SHOW_VOTE],
        "in_doubt": bool(engine.core.in_doubt),
        "commit": show[rows.SHOW_COMMIT],
        "last": show[rows.SHOW_LAST],
        "stable": show[rows.SHOW_STABLE],
        "ticks": show[rows.SHOW_TICKS],
        "leader_changes": show[rows.SHOW_LEADERS],
        "frames_in": show[rows.SHOW_FRAMES_IN],
        "frames_out": show[rows.SHOW_FRAMES_OUT],
        "frames_dropped": show[rows.SHOW_FRAMES_DROPPED],
        "too_large_out": engine.too_large_out,
        "too_large_in": engine.too_large_in,
        "frames_stale": show[rows.SHOW_STALE],
        "entries_bare": engine.apply_cells[rows.DONE_BARE],
        "messages_unserved": show[rows.SHOW_UNSERVED],
        "messages_refused": engine.refused_by_reason(),
        "frames_rejected": codec.rejected_by_reason(),
        "syncs": cells[CELL_SYNCS],
        "wal_bytes": cells[CELL_BYTES],
        "wal_entries": cells[CELL_BATCH_ENTRIES],
        "sync_ns": cells[CELL_SYNC_NS],
        "disk_shortage": errno.errorcode.get(cells[CELL_SHORTAGE], ""),
    }
