"""The log's format on disk in numbers, the header of a segment, and the mark. Values only: no file is touched here."""

from __future__ import annotations

import errno
import os
import re
import struct
import zlib
from typing import NamedTuple

from .._native.files import segment_name as segment_name
from ..errors import ConfChangeError, StorageError, WalDamaged
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
KIND_RESTORE = 3  # handed over, too; the record of a snapshot is in it, behind which the log begins
BATCH_IN_DOUBT = 1  # bit of a batch's flags: HardState.in_doubt
BLOCK = 4096
SECTOR = 512  # what a disk writes whole or not at all
# Zeroes are written ahead of the batches: a block that was never written costs a change of the file's
# metadata at its first sync.
ZERO_STEP = 1 << 20
KEPT_MOST = 1 << 20  # bytes at the end of a segment that entries leave
KEPT_PART = 8  # but no more than this part of it
ZERO_BELOW = 8 << 10  # bytes of a batch: for larger ones that cost does not count, and writing twice would

OPERATION_WRITE = 1
OPERATION_SYNC = 2
OPERATION_ZERO = 3
OPERATION_SEGMENT = 4
OPERATION_MARK = 5
OPERATION_PLACE = 6
OPERATIONS = {1: "write", 2: "sync", 3: "zero fill", 4: "new segment", 5: "mark", 6: "directory"}

VERSION = 4
VERSION_ALONE = 2  # the last version whose headers name it once only
HEAD_MAGIC = b"RAFTXWAL"
# Where in the first block of a segment each field stands
HEAD_VERSION_AT = 8
HEAD_CRC_AT = 12
HEAD_USED_AT = 16  # from here on to the end of the block: what the crc covers
HEAD_ZEROS_AT = 20
HEAD_SEGMENT_AT = 24
HEAD_CLUSTER_AT = 32
HEAD_ID_AT = 48
HEAD_CHAIN_AT = 56
HEAD_VERSION_AGAIN_AT = 60  # 0 up to VERSION_ALONE: so a version that was damaged is not taken for another one
HEAD_FIRST_AT = 64
HEAD_SIZE_AT = 72
HEAD_BASE_AT = 80
HEAD_BASE_TERM_AT = 88
HEAD_OLDEST_AT = 96
HEAD_STORE_AT = 104
HEAD_MEMBERS_AT = 120  # two memberships as ConfState.encode makes them: at the base, and the first one
HEAD_CHECKED = BLOCK - HEAD_USED_AT  # bytes that the crc covers

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
MARK_STORE_AT = 72
MARK_CHECKED = SECTOR - MARK_NUMBER_AT  # bytes that the crc covers

CLUSTER_BYTES = 16
# The file ``lives``
LIVES_MAGIC = b"RAFTXLIV"
LIVES_VERSION = 2
SLOTS = 2
SLOT_BYTES = 4 * BLOCK
SLOT_CHECKED_FROM = 16  # the checksum of a slot is of everything from here on: first, which write this is
SLOT_HEADER = 64
SLOT_ROW = 40  # id, life, two words of the store's name, the entry that added the member
MET_MAX = (SLOT_BYTES - SLOT_HEADER) // SLOT_ROW
COUNT_SHIFT = 32  # a life is a number: how many there were, and below these bits a random one

# Why a life cannot be the present one of its member
OTHER_STORE = 1
EARLIER = 2
TWIN = 3
REMOVED = 4  # that member was removed from the cluster
LATER = 5  # no reason to end: a later member with its id was met
REMOVED_LIFE = 1  # no life has this number: in place of a lost one, it says that the member was removed

STORE_BYTES = 16  # what a directory is told from every other one by
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_MARK = struct.Struct("<QQQII")  # from MARK_NUMBER_AT on: number, segment, position, chain, slot


def segment_number(name: str) -> int | None:
    """Of which segment this is the file; None: of none."""
    digits = name.removeprefix("wal-").removesuffix(".log")
    number = int(digits, 16) if re.fullmatch("[0-9a-f]{16}", digits) else 0
    return number if name == segment_name(number) else None


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


#: what to do where this process may not write
NOT_ALLOWED = (
    "Let the user that this process runs as write there (owner and mode of the directory and of what is in it, and how "
    "it is mounted), and start the member again; nothing is lost"
)


def failed_as(code: int) -> str:
    """The same of a log that has failed, with what can be done about it, where that is known."""
    may_not = code & 0xFFFFFFFF in (errno.EACCES, errno.EPERM, errno.EROFS)
    return f"{describe(code)}. {NOT_ALLOWED}" if may_not else describe(code)


class Head(NamedTuple):
    """What the first block of a segment says."""

    segment: int
    cluster: bytes
    id: int
    chain: int
    first_batch: int
    #: length of the file: it is on disk before the header is written
    size: int
    #: entries up to here are not needed any more; their last one has this term; 0, 0 at first
    base: int
    base_term: int
    #: the first segment that has entries behind the base. Invariant: it and all after it are there
    oldest: int
    #: the membership with all changes up to the base
    conf_state: ConfState
    #: the membership that the directory was founded with
    founders: ConfState
    #: which directory it is
    store: bytes


def _number(data: bytes | bytearray, at: int) -> int:
    number: int = _U64.unpack_from(data, at)[0]
    return number


def _small(data: bytes | bytearray, at: int) -> int:
    number: int = _U32.unpack_from(data, at)[0]
    return number


def encode_head(head: Head) -> bytes:
    """The first block of a segment."""
    members = head.conf_state.encode() + head.founders.encode()
    block = bytearray(BLOCK)
    block[: len(HEAD_MAGIC)] = HEAD_MAGIC
    _U32.pack_into(block, HEAD_VERSION_AT, VERSION)
    _U32.pack_into(block, HEAD_USED_AT, HEAD_MEMBERS_AT + len(members))
    _U64.pack_into(block, HEAD_SEGMENT_AT, head.segment)
    block[HEAD_CLUSTER_AT : HEAD_CLUSTER_AT + CLUSTER_BYTES] = head.cluster
    _U64.pack_into(block, HEAD_ID_AT, head.id)
    _U32.pack_into(block, HEAD_CHAIN_AT, head.chain)
    _U32.pack_into(block, HEAD_VERSION_AGAIN_AT, VERSION)
    _U64.pack_into(block, HEAD_FIRST_AT, head.first_batch)
    _U64.pack_into(block, HEAD_SIZE_AT, head.size)
    _U64.pack_into(block, HEAD_BASE_AT, head.base)
    _U64.pack_into(block, HEAD_BASE_TERM_AT, head.base_term)
    _U64.pack_into(block, HEAD_OLDEST_AT, head.oldest)
    block[HEAD_STORE_AT : HEAD_STORE_AT + STORE_BYTES] = head.store
    block[HEAD_MEMBERS_AT : HEAD_MEMBERS_AT + len(members)] = members
    _U32.pack_into(block, HEAD_ZEROS_AT, zero_sectors(block))
    _U32.pack_into(block, HEAD_CRC_AT, zlib.crc32(bytes(block[HEAD_USED_AT:])))
    return bytes(block)


def zero_sectors(block: bytes | bytearray) -> int:
    """How many of the sectors of a block hold zeros only."""
    return sum([not any(block[at : at + SECTOR]) for at in range(0, len(block), SECTOR)])


def is_torn_head(block: bytes) -> bool:
    """Whether the first block of a segment looks like a header that was not written whole: a sector is missing."""
    if not any(block[:SECTOR]):
        return True
    return block.startswith(HEAD_MAGIC) and zero_sectors(block) > _small(block, HEAD_ZEROS_AT)


def check_version(version: int) -> None:
    """Raise StorageError for a log of another version than this raftx reads."""
    if version != VERSION:
        raise StorageError(
            f"the log has format version {version}; this raftx reads version {VERSION} alone and converts no other: "
            "use the raftx that wrote it, or begin a new cluster in new directories"
        )


def decode_head(block: bytes) -> Head:
    """The other way. Raises WalDamaged, or StorageError when it is a header of another version."""
    if len(block) < BLOCK or not block.startswith(HEAD_MAGIC):
        raise WalDamaged("a segment of the log does not begin with its header")
    if _small(block, HEAD_CRC_AT) != zlib.crc32(block[HEAD_USED_AT:BLOCK]):
        raise WalDamaged("the header of a segment of the log is damaged")
    version, again = _small(block, HEAD_VERSION_AT), _small(block, HEAD_VERSION_AGAIN_AT)
    if version == 0 or version != (again or min(version, VERSION_ALONE)):
        raise WalDamaged("the header of a segment of the log is damaged")
    check_version(version)
    try:
        conf_state, rest = ConfState.decode(block[HEAD_MEMBERS_AT:])
        founders, _ = ConfState.decode(rest)
    except ConfChangeError as error:
        raise WalDamaged(f"the header of a segment of the log is damaged: {error}") from error
    return Head(
        segment=_number(block, HEAD_SEGMENT_AT),
        cluster=block[HEAD_CLUSTER_AT : HEAD_CLUSTER_AT + CLUSTER_BYTES],
        id=_number(block, HEAD_ID_AT),
        chain=_small(block, HEAD_CHAIN_AT),
        first_batch=_number(block, HEAD_FIRST_AT),
        size=_number(block, HEAD_SIZE_AT),
        base=_number(block, HEAD_BASE_AT),
        base_term=_number(block, HEAD_BASE_TERM_AT),
        oldest=_number(block, HEAD_OLDEST_AT),
        conf_state=conf_state,
        founders=founders,
        store=block[HEAD_STORE_AT : HEAD_STORE_AT + STORE_BYTES],
    )


class Mark(NamedTuple):
    """The newest batch that was known to be durable when this was written."""

    number: int
    segment: int
    #: where it ends in its segment
    position: int
    #: its header's checksum
    chain: int


class Owner(NamedTuple):
    """Whose a directory is, and which one."""

    cluster: bytes
    id: int
    store: bytes


def encode_mark(mark: Mark, slot: int, owner: Owner) -> bytes:
    """One slot: a sector, so that a disk writes it whole or not at all."""
    data = bytearray(SECTOR)
    data[: len(MARK_MAGIC)] = MARK_MAGIC
    _U32.pack_into(data, MARK_VERSION_AT, VERSION)
    _MARK.pack_into(data, MARK_NUMBER_AT, *mark, slot)
    data[MARK_CLUSTER_AT : MARK_CLUSTER_AT + CLUSTER_BYTES] = owner.cluster
    _U64.pack_into(data, MARK_ID_AT, owner.id)
    data[MARK_STORE_AT : MARK_STORE_AT + STORE_BYTES] = owner.store
    _U32.pack_into(data, MARK_CRC_AT, zlib.crc32(bytes(data[MARK_NUMBER_AT:])))
    return bytes(data)


def mark_version(data: bytes) -> int:
    """The version that a slot names; 0 when it is not whole. The checksum does not cover it: ask both slots."""
    if len(data) < SECTOR or not data.startswith(MARK_MAGIC):
        return 0
    whole = _small(data, MARK_CRC_AT) == zlib.crc32(data[MARK_NUMBER_AT:SECTOR])
    return _small(data, MARK_VERSION_AT) if whole else 0


def decode_mark(data: bytes, slot: int) -> tuple[Mark, Owner] | None:
    """What a slot says, and whose it is; None when it cannot be read."""
    if mark_version(data) != VERSION:
        return None
    *numbers, its_slot = _MARK.unpack_from(data, MARK_NUMBER_AT)
    if its_slot != slot:
        return None
    cluster = data[MARK_CLUSTER_AT : MARK_CLUSTER_AT + CLUSTER_BYTES]
    store = data[MARK_STORE_AT : MARK_STORE_AT + STORE_BYTES]
    return Mark(*numbers), Owner(cluster, _number(data, MARK_ID_AT), store)
