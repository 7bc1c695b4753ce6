"""How far each kind of batch may go in a segment: the last blocks are kept for what must go on when the disk is full.

So a full disk does not keep a member from voting while there is anything left of its segment, and a member can be
started again on it. Nothing is read or written here.
"""

from __future__ import annotations

from .wal_format import BLOCK, KEPT_MOST, KEPT_PART, KIND_ENTRIES, KIND_OPEN


def kept(size: int) -> int:
    """Bytes that entries leave free at the end of a segment of that size. A multiple of two blocks."""
    return min(KEPT_MOST, size // KEPT_PART) // (2 * BLOCK) * (2 * BLOCK)


def end_for(size: int, usual: int, kind: int, batch: int) -> int:
    """Where a batch of ``batch`` bytes must end at the latest in a segment of ``size`` bytes, by its kind.

    usual: bytes of a segment that is not made longer for one batch. Entries leave some; a batch of one block (a vote,
    the first entry of a leader) and one that begins the log anew leave half of that; the other half is for openings.
    """
    if kind == KIND_OPEN:
        return size
    least = kept(min(size, usual))
    if kind != KIND_ENTRIES or batch <= BLOCK:
        least = least // 2
    return size - least


def room_for(size: int, usual: int, offset: int, batch: int) -> int:
    """Bytes that are left behind ``offset`` for what an engine hands over, in batches of that size."""
    end = end_for(size, usual, KIND_ENTRIES, batch)
    return end - offset if end > offset else 0
