"""The log's format on disk in numbers, the header of a segment, and the mark. Values only: no file is touched here."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from typing import NamedTuple

from ..errors import WalDamaged
from ..types import ConfState

BATCH_MAGIC = 0x42575852  # b"RXWB"
BATCH_HEADER = 96
# Where in it each field stands
BATCH_MAGIC_AT = 0
BATCH_CRC_AT = 4
BATCH_KIND_AT = 8  # from here on to the end of the header: what the crc covers
BATCH_CHAIN_AT = 12
BATCH_NUMBER_AT = 16
BATCH_RECORDS_CRC_AT = 24
BATCH_COUNT_AT = 28
BATCH_LENGTH_AT = 32
BATCH_TERM_AT = 40
BATCH_VOTE_AT = 48
BATCH_COMMIT_AT = 56
BATCH_INCARNATION_AT = 64
BATCH_SEGMENT_AT = 72
BATCH_ZEROS_AT = 80
BATCH_FLAGS_AT = 84
BATCH_CHECKED = BATCH_HEADER - BATCH_KIND_AT  # bytes that the crc covers
KIND_ENTRIES = 1  # what the engine handed over
KIND_OPEN = 2  # the first batch of each life of the node: a new incarnation
BATCH_IN_DOUBT = 1  # bit of a batch's flags: HardState.in_doubt
BLOCK = 4096
SECTOR = 512  # what a disk writes whole or not at all
# Where in a record's header a field stands
RECORD_LENGTH_AT = 4
RECORD_INDEX_AT = 8
RECORD_TERM_AT = 16
# Zeroes are written ahead of the batches: a block that was never written costs a change of the file's
# metadata at its first sync.
ZERO_STEP = 1 << 20
ZERO_BELOW = 8 << 10  # bytes of a batch: for larger ones that cost does not count, and writing twice would

OPERATION_WRITE = 1
OPERATION_SYNC = 2
OPERATION_ZERO = 3
OPERATION_SEGMENT = 4
OPERATION_MARK = 5
OPERATION_PLACE = 6
OPERATIONS = {1: "write", 2: "sync", 3: "zero fill", 4: "new segment", 5: "mark", 6: "directory"}

VERSION = 2
HEAD_MAGIC = b"RAFTXWAL"
# Where in the first block of a segment each field stands
HEAD_VERSION_AT = 8
HEAD_CRC_AT = 12
HEAD_USED_AT = 16  # from here on to the end of the block: what the crc covers
HEAD_SEGMENT_AT = 24
HEAD_CLUSTER_AT = 32
HEAD_ID_AT = 48
HEAD_CHAIN_AT = 56
HEAD_FIRST_AT = 64
HEAD_SIZE_AT = 72
HEAD_MEMBERS_AT = 80
HEAD_CHECKED = BLOCK - HEAD_USED_AT  # bytes that the crc covers
COUNTS = struct.Struct("<HHHHI")  # voters, learners, outgoing voters, next learners, auto_leave; the ids follow

MARK_NAME = "wal.mark"
MARK_NEW = "wal.mark.new"  # a mark that is being made, before it has its name
MARK_MAGIC = b"RAFTXMRK"
MARK_SLOTS = 2
# Where in a slot of the mark each field stands
MARK_VERSION_AT = 8
MARK_CRC_AT = 12
MARK_NUMBER_AT = 16  # from here on to the end of the sector: what the crc covers
MARK_SEGMENT_AT = 24
MARK_POSITION_AT = 32
MARK_CHAIN_AT = 40
MARK_SLOT_AT = 44
MARK_CLUSTER_AT = 48
MARK_ID_AT = 64
MARK_CHECKED = SECTOR - MARK_NUMBER_AT  # bytes that the crc covers

CLUSTER_BYTES = 16
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_MARK = struct.Struct("<QQQII")  # from MARK_NUMBER_AT on: number, segment, position, chain, slot


def segment_name(number: int) -> str:
    """The file of a segment."""
    return f"wal-{number:016x}.log"


def describe(code: int) -> str:
    """A failure (errno | operation << 32) in words."""
    number = code & 0xFFFFFFFF
    if code >> 32 == OPERATION_PLACE:
        happened = "was deleted or renamed" if number == errno.ENOENT else "was replaced by another one"
        return (
            f"the log's directory, or a file in it, {happened} while the node was using it; what would be written "
            f"from now on would be lost: [Errno {number}] {os.strerror(number)}"
        )
    operation = OPERATIONS.get(code >> 32, "operation")
    return f"the log's {operation} failed: [Errno {number}] {os.strerror(number)}"


class Head(NamedTuple):
    """What the first block of a segment says."""

    segment: int
    cluster: bytes
    id: int
    chain: int
    first_batch: int
    #: length of the file: it is on disk before the header is written
    size: int
    conf_state: ConfState


def _number(data: bytes | bytearray, at: int) -> int:
    number: int = _U64.unpack_from(data, at)[0]
    return number


def _small(data: bytes | bytearray, at: int) -> int:
    number: int = _U32.unpack_from(data, at)[0]
    return number


def encode_head(head: Head) -> bytes:
    """The first block of a segment."""
    c = head.conf_state
    lists = (c.voters, c.learners, c.voters_outgoing, c.learners_next)
    ids = [id for members in lists for id in members]
    body = COUNTS.pack(*map(len, lists), c.auto_leave) + struct.pack(f"<{len(ids)}Q", *ids)
    block = bytearray(BLOCK)
    block[: len(HEAD_MAGIC)] = HEAD_MAGIC
    _U32.pack_into(block, HEAD_VERSION_AT, VERSION)
    _U32.pack_into(block, HEAD_USED_AT, HEAD_MEMBERS_AT + len(body))
    _U64.pack_into(block, HEAD_SEGMENT_AT, head.segment)
    block[HEAD_CLUSTER_AT : HEAD_CLUSTER_AT + CLUSTER_BYTES] = head.cluster
    _U64.pack_into(block, HEAD_ID_AT, head.id)
    _U32.pack_into(block, HEAD_CHAIN_AT, head.chain)
    _U64.pack_into(block, HEAD_FIRST_AT, head.first_batch)
    _U64.pack_into(block, HEAD_SIZE_AT, head.size)
    block[HEAD_MEMBERS_AT : HEAD_MEMBERS_AT + len(body)] = body
    _U32.pack_into(block, HEAD_CRC_AT, zlib.crc32(bytes(block[HEAD_USED_AT:])))
    return bytes(block)


def decode_head(block: bytes) -> Head:
    """The other way. Raises WalDamaged."""
    if len(block) < BLOCK or not block.startswith(HEAD_MAGIC):
        raise WalDamaged("a segment of the log does not begin with its header")
    if _small(block, HEAD_CRC_AT) != zlib.crc32(block[HEAD_USED_AT:BLOCK]):
        raise WalDamaged("the header of a segment of the log is damaged")
    version = _small(block, HEAD_VERSION_AT)
    if version != VERSION:
        raise WalDamaged(
            f"the log has format version {version}; this raftx reads version {VERSION} alone and converts no other: "
            "use the raftx that wrote it"
        )
    *counts, auto_leave = COUNTS.unpack_from(block, HEAD_MEMBERS_AT)
    at = HEAD_MEMBERS_AT + COUNTS.size
    members = []
    for count in counts:
        members.append(struct.unpack_from(f"<{count}Q", block, at))
        at += 8 * count
    voters, learners, outgoing, learners_next = members
    return Head(
        segment=_number(block, HEAD_SEGMENT_AT),
        cluster=block[HEAD_CLUSTER_AT : HEAD_CLUSTER_AT + CLUSTER_BYTES],
        id=_number(block, HEAD_ID_AT),
        chain=_small(block, HEAD_CHAIN_AT),
        first_batch=_number(block, HEAD_FIRST_AT),
        size=_number(block, HEAD_SIZE_AT),
        conf_state=ConfState(voters, learners, outgoing, learners_next, bool(auto_leave)),
    )


class Mark(NamedTuple):
    """The newest batch that was known to be durable when this was written."""

    number: int
    segment: int
    #: where it ends in its segment
    position: int
    #: its header's checksum
    chain: int


def encode_mark(mark: Mark, slot: int, cluster: bytes, id: int) -> bytes:
    """One slot: a sector, so that a disk writes it whole or not at all."""
    data = bytearray(SECTOR)
    data[: len(MARK_MAGIC)] = MARK_MAGIC
    _U32.pack_into(data, MARK_VERSION_AT, VERSION)
    _MARK.pack_into(data, MARK_NUMBER_AT, *mark, slot)
    data[MARK_CLUSTER_AT : MARK_CLUSTER_AT + CLUSTER_BYTES] = cluster
    _U64.pack_into(data, MARK_ID_AT, id)
    _U32.pack_into(data, MARK_CRC_AT, zlib.crc32(bytes(data[MARK_NUMBER_AT:])))
    return bytes(data)


def decode_mark(data: bytes, slot: int) -> tuple[Mark, bytes, int] | None:
    """(mark, cluster, node id) of a slot; None when it cannot be read."""
    if len(data) < SECTOR or not data.startswith(MARK_MAGIC):
        return None
    if _small(data, MARK_VERSION_AT) != VERSION:
        return None
    if _small(data, MARK_CRC_AT) != zlib.crc32(data[MARK_NUMBER_AT:SECTOR]):
        return None
    *numbers, its_slot = _MARK.unpack_from(data, MARK_NUMBER_AT)
    if its_slot != slot:
        return None
    cluster = data[MARK_CLUSTER_AT : MARK_CLUSTER_AT + CLUSTER_BYTES]
    return Mark(*numbers), cluster, _number(data, MARK_ID_AT)
