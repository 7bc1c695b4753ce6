"""The headers of a segment and of a batch, and a slot of the mark, filled in without the GIL.

The header of a log that begins anew is made from the record of a snapshot: a membership is the same bytes in such a
record and in a header (ConfState.encode); nothing else of the record is used.
"""

from __future__ import annotations

from .._native.layout import ENTRY_HEADER, RECORD_INDEX, RECORD_LENGTH, RECORD_TERM
from .._native.memory import Buffer
from ..errors import Corruption
from . import wal_reader
from .wal_format import (
    BATCH_CHAIN_AT,
    BATCH_CHECKED,
    BATCH_COMMIT_AT,
    BATCH_CRC_AT,
    BATCH_FLAGS_AT,
    BATCH_INCARNATION_AT,
    BATCH_KIND_AT,
    BATCH_LENGTH_AT,
    BATCH_MAGIC,
    BATCH_MAGIC_AT,
    BATCH_NUMBER_AT,
    BATCH_SEGMENT_AT,
    BATCH_TERM_AT,
    BATCH_VOTE_AT,
    BLOCK,
    HEAD_BASE_AT,
    HEAD_BASE_TERM_AT,
    HEAD_CHAIN_AT,
    HEAD_CHECKED,
    HEAD_CRC_AT,
    HEAD_FIRST_AT,
    HEAD_MEMBERS_AT,
    HEAD_OLDEST_AT,
    HEAD_SEGMENT_AT,
    HEAD_SIZE_AT,
    HEAD_USED_AT,
    HEAD_ZEROS_AT,
    MARK_CHAIN_AT,
    MARK_CHECKED,
    MARK_CRC_AT,
    MARK_NUMBER_AT,
    MARK_POSITION_AT,
    MARK_SEGMENT_AT,
    MARK_SLOT_AT,
)

COUNTS = 4  # bytes at the beginning of a membership, each of which counts ids of 8 bytes
IDS_AT = 8


def membership_size(buffer: Buffer, at: int) -> int:
    """Bytes of the membership there, a multiple of 8."""
    size = IDS_AT
    counts = buffer.get_u32(at)
    for number in range(COUNTS):
        size += 8 * ((counts >> (8 * number)) & 0xFF)
    return size


def copy_words(source: Buffer, start: int, target: Buffer, at: int, size: int) -> int:
    """Copy a multiple of 8 bytes into what is in use there."""
    end = start + size
    while start < end:
        target.set_u64(at, source.get_u64(start))
        start += 8
        at += 8
    return 0


def fill_head(header: Buffer, segment: int, chain: int, first: int, size: int, oldest: int) -> int:
    """What differs from the header before it."""
    header.set_u64(HEAD_SEGMENT_AT, segment)
    header.set_u32(HEAD_CHAIN_AT, chain)
    header.set_u64(HEAD_FIRST_AT, first)
    header.set_u64(HEAD_SIZE_AT, size)
    header.set_u64(HEAD_OLDEST_AT, oldest)
    header.set_u32(HEAD_CRC_AT, header.crc(HEAD_USED_AT, HEAD_CHECKED))
    return 0


def fill_batch(batch: Buffer, length: int, term: int, vote: int, commit: int, flags: int) -> int:
    """What does not depend on the place of a batch, but for its kind and what is computed of its entries."""
    batch.set_u32(BATCH_MAGIC_AT, BATCH_MAGIC)
    batch.set_u64(BATCH_LENGTH_AT, length)
    batch.set_u64(BATCH_TERM_AT, term)
    batch.set_u64(BATCH_VOTE_AT, vote)
    batch.set_u64(BATCH_COMMIT_AT, commit)
    batch.set_u32(BATCH_FLAGS_AT, flags)
    return 0


def seal_batch(batch: Buffer, chain: int, number: int, incarnation: int, segment: int) -> int:
    """What depends on its place, and the checksum."""
    batch.set_u32(BATCH_CHAIN_AT, chain)
    batch.set_u64(BATCH_NUMBER_AT, number)
    batch.set_u64(BATCH_INCARNATION_AT, incarnation)
    batch.set_u64(BATCH_SEGMENT_AT, segment)
    batch.set_u32(BATCH_CRC_AT, batch.crc(BATCH_KIND_AT, BATCH_CHECKED))
    return 0


def fill_mark(mark: Buffer, number: int, segment: int, position: int, chain: int, slot: int) -> int:
    """Which batch it names."""
    mark.set_u64(MARK_NUMBER_AT, number)
    mark.set_u64(MARK_SEGMENT_AT, segment)
    mark.set_u64(MARK_POSITION_AT, position)
    mark.set_u32(MARK_CHAIN_AT, chain)
    mark.set_u32(MARK_SLOT_AT, slot)
    mark.set_u32(MARK_CRC_AT, mark.crc(MARK_NUMBER_AT, MARK_CHECKED))
    return 0


def put_behind(header: Buffer, records: Buffer, at: int, out: Buffer) -> int:
    """Into ``out``: ``header`` for a log that begins behind the snapshot whose record stands at ``at``.

    Everything but base, membership there and what follows from it stays. Raises Corruption for a record without one.
    """
    length = records.get_u32(at + RECORD_LENGTH)
    first = membership_size(records, at + ENTRY_HEADER) if length >= IDS_AT else IDS_AT
    founders = HEAD_MEMBERS_AT + membership_size(header, HEAD_MEMBERS_AT)
    second = membership_size(header, founders)
    if first > length or HEAD_MEMBERS_AT + first + second > BLOCK:
        raise Corruption("the record of a snapshot has no membership")
    out.clear()
    out.fill(BLOCK)
    copy_words(header, 0, out, 0, HEAD_MEMBERS_AT)
    copy_words(records, at + ENTRY_HEADER, out, HEAD_MEMBERS_AT, first)
    copy_words(header, founders, out, HEAD_MEMBERS_AT + first, second)
    out.set_u32(HEAD_USED_AT, HEAD_MEMBERS_AT + first + second)
    out.set_u64(HEAD_BASE_AT, records.get_u64(at + RECORD_INDEX))
    out.set_u64(HEAD_BASE_TERM_AT, records.get_u64(at + RECORD_TERM))
    out.set_u32(HEAD_ZEROS_AT, wal_reader.count_zero_sectors(out, BLOCK))
    return 0
