"""The log's format on disk in numbers, and the header of a segment. Values only: no file is touched here."""

from __future__ import annotations

import os
import struct
import zlib

from ..errors import WalDamaged
from ..types import ConfState

BATCH_MAGIC = 0x42575852  # b"RXWB"
BATCH_HEADER = 96
KIND_ENTRIES = 1  # what the engine handed over
KIND_OPEN = 2  # the first batch of each life of the node: a new incarnation
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
OPERATIONS = {1: "write", 2: "sync", 3: "zero fill", 4: "new segment"}

MAGIC = b"RAFTXWAL"
VERSION = 1
# magic, version, checksum, bytes used, reserved, segment, cluster, node id, chain, reserved, first batch
HEAD = struct.Struct("<8sIIIIQ16sQIIQ")
COUNTS = struct.Struct("<HHHHI")  # voters, learners, outgoing voters, next learners, auto_leave; the ids follow


def describe(code: int) -> str:
    """A failure (errno | operation << 32) in words."""
    operation = OPERATIONS.get(code >> 32, "operation")
    number = code & 0xFFFFFFFF
    return f"the log's {operation} failed: [Errno {number}] {os.strerror(number)}"


class Head:
    """What the first block of a segment says."""

    def __init__(
        self, segment: int, cluster: bytes, id: int, chain: int, first_batch: int, conf_state: ConfState
    ) -> None:
        self.segment = segment
        self.cluster = cluster
        self.id = id
        self.chain = chain
        self.first_batch = first_batch
        self.conf_state = conf_state


def encode_head(segment: int, cluster: bytes, id: int, chain: int, first_batch: int, conf_state: ConfState) -> bytes:
    """The first block of a segment."""
    c = conf_state
    lists = (c.voters, c.learners, c.voters_outgoing, c.learners_next)
    ids = [id for members in lists for id in members]
    body = COUNTS.pack(*map(len, lists), c.auto_leave) + struct.pack(f"<{len(ids)}Q", *ids)
    used = HEAD.size + len(body)
    block = bytearray(HEAD.pack(MAGIC, VERSION, 0, used, 0, segment, cluster, id, chain, 0, first_batch) + body)
    block += bytes(BLOCK - len(block))
    block[12:16] = struct.pack("<I", zlib.crc32(bytes(block[16:])))
    return bytes(block)


def decode_head(block: bytes) -> Head:
    """The other way. Raises WalDamaged."""
    if len(block) < BLOCK or block[:8] != MAGIC:
        raise WalDamaged("a segment of the log does not begin with its header")
    _, version, checksum, _, _, segment, cluster, id, chain, _, first_batch = HEAD.unpack_from(block)
    if checksum != zlib.crc32(block[16:BLOCK]):
        raise WalDamaged("the header of a segment of the log is damaged")
    if version != VERSION:
        raise WalDamaged(f"the log has format version {version}; this raftx reads version {VERSION}")
    *counts, auto_leave = COUNTS.unpack_from(block, HEAD.size)
    at = HEAD.size + COUNTS.size
    members = []
    for count in counts:
        members.append(struct.unpack_from(f"<{count}Q", block, at))
        at += 8 * count
    voters, learners, outgoing, learners_next = members
    state = ConfState(voters, learners, outgoing, learners_next, bool(auto_leave))
    return Head(segment, cluster, id, chain, first_batch, state)
