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
KIND_ENTRIES = 1  # what the engine handed over
KIND_OPEN = 2  # the first batch of each life of the node: a new incarnation
BATCH_IN_DOUBT = 1  # bit of a batch's flags: HardState.in_doubt
BLOCK = 4096
SECTOR = 512  # what a disk writes whole or not at all
RECORD_HEADER = 32
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
MAGIC = b"RAFTXWAL"
# magic, version, checksum, bytes used, reserved, segment, cluster, node id, chain, reserved, first batch, size
HEAD = struct.Struct("<8sIIIIQ16sQIIQQ")
HEAD_SEGMENT, HEAD_CHAIN, HEAD_FIRST, HEAD_SIZE = 24, 56, 64, 72  # places in it
COUNTS = struct.Struct("<HHHHI")  # voters, learners, outgoing voters, next learners, auto_leave; the ids follow

MARK_NAME = "wal.mark"
MARK_NEW = "wal.mark.new"  # a mark that is being made, before it has its name
MARK_MAGIC = b"RAFTXMRK"
MARK_SLOTS = 2
# magic, version, checksum, number, segment, position, chain, slot, cluster, node id; then zeros up to a sector
MARK = struct.Struct("<8sIIQQQII16sQ")
MARK_NUMBER, MARK_SEGMENT, MARK_POSITION, MARK_CHAIN, MARK_SLOT = 16, 24, 32, 40, 44  # places in it


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


def encode_head(head: Head) -> bytes:
    """The first block of a segment."""
    c = head.conf_state
    lists = (c.voters, c.learners, c.voters_outgoing, c.learners_next)
    ids = [id for members in lists for id in members]
    body = COUNTS.pack(*map(len, lists), c.auto_leave) + struct.pack(f"<{len(ids)}Q", *ids)
    used = HEAD.size + len(body)
    numbers = (head.segment, head.cluster, head.id, head.chain, 0, head.first_batch, head.size)
    block = bytearray(HEAD.pack(MAGIC, VERSION, 0, used, 0, *numbers) + body)
    block += bytes(BLOCK - len(block))
    block[12:16] = struct.pack("<I", zlib.crc32(bytes(block[16:])))
    return bytes(block)


def decode_head(block: bytes) -> Head:
    """The other way. Raises WalDamaged."""
    if len(block) < BLOCK or block[:8] != MAGIC:
        raise WalDamaged("a segment of the log does not begin with its header")
    version, checksum = struct.unpack_from("<II", block, 8)
    if checksum != zlib.crc32(block[16:BLOCK]):
        raise WalDamaged("the header of a segment of the log is damaged")
    if version != VERSION:
        raise WalDamaged(
            f"the log has format version {version}; this raftx reads version {VERSION} alone and converts no other: "
            "use the raftx that wrote it"
        )
    *_, segment, cluster, id, chain, _, first_batch, size = HEAD.unpack_from(block)
    *counts, auto_leave = COUNTS.unpack_from(block, HEAD.size)
    at = HEAD.size + COUNTS.size
    members = []
    for count in counts:
        members.append(struct.unpack_from(f"<{count}Q", block, at))
        at += 8 * count
    voters, learners, outgoing, learners_next = members
    state = ConfState(voters, learners, outgoing, learners_next, bool(auto_leave))
    return Head(segment, cluster, id, chain, first_batch, size, state)


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
    data = bytearray(MARK.pack(MARK_MAGIC, VERSION, 0, *mark, slot, cluster, id))
    data += bytes(SECTOR - len(data))
    data[12:16] = struct.pack("<I", zlib.crc32(bytes(data[16:])))
    return bytes(data)


def decode_mark(data: bytes, slot: int) -> tuple[Mark, bytes, int] | None:
    """(mark, cluster, node id) of a slot; None when it cannot be read."""
    if len(data) < SECTOR or data[:8] != MARK_MAGIC:
        return None
    _, version, checksum, *numbers, its_slot, cluster, id = MARK.unpack_from(data)
    if version != VERSION or checksum != zlib.crc32(data[16:SECTOR]) or its_slot != slot:
        return None
    return Mark(*numbers), cluster, id
