"""A snapshot file in numbers: its header, which members also send each other, and its chunks. Values only.

Every byte is described in docs/snapshots.md. No file is touched here.
"""

from __future__ import annotations

import functools
import hashlib
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from .._native.memory import py_crc32
from ..errors import ConfChangeError, SnapshotDamaged, StorageError, UsageError
from ..types import MEMBERS_MAX, NUMBER_MAX, ConfState, Snapshot, is_id
from .wal_format import BLOCK, CLUSTER_BYTES

MAGIC = b"RAFTXSNP"
VERSION = 4
# Where in the header these fields stand
VERSION_AT = 8
CRC_AT = 12
USED_AT = 16  # from here on to the end of what is used: what the crc covers
VERSION_AGAIN_AT = 20
FLAGS_AT = 24  # from here on: what the digest covers, but for the digest itself
DIGEST_AT = 104
MEMBERS_AT = 136
DIGEST_BYTES = MEMBERS_AT - DIGEST_AT

FLAG_ZSTD = 1

URL_MAX = 1024  # bytes of one address
HEAD_MAX = 1 << 17  # MEMBERS_MAX addresses of that length, and some more

CHUNK = struct.Struct("<II")  # before the bytes of a chunk: crc of its number, length and bytes; length
CHUNK_BYTES_MIN = 4 << 10
CHUNK_BYTES = 128 << 10
CHUNK_BYTES_MAX = 1 << 20

# From FLAGS_AT to DIGEST_AT: flags, bytes of a chunk, cluster, index, term, incarnation, version of the state machine,
# bytes of its state, bytes in the chunks, bytes of the node's own state
_FIXED = struct.Struct("<II16sQQQQQQQ")
_ADDRESS = struct.Struct("<QH")
_JOINED = struct.Struct("<QQ")
_U32 = struct.Struct("<I")
_PLACE = struct.Struct("<QI")

_NAME = re.compile(r"snapshot-([0-9a-f]{16})-([0-9a-f]{16})\.raftx")
NEW = ".new"  # behind the name of one that is being made
PART = ".part"  # of one that is being received
DAMAGED = ".damaged"  # of one that was found to be


@dataclass(frozen=True)
class Descriptor:
    """What a snapshot file holds. Two files with the same digest hold the same."""

    #: everything up to this entry is in it, the last one of this term; 1..2^63-1
    index: int
    term: int
    #: the membership there, and how each member is reached
    conf_state: ConfState
    addresses: Mapping[int, str]
    cluster: bytes
    #: the opening of the storage, of the member that made it, in which it was made
    incarnation: int
    #: the state machine's, of the format of its state; 0..2^63-1
    version: int
    #: bytes of the state machine's state, and of what is stored, compressed or not: that, and the node's own state
    size: int = 0
    stored: int = 0
    chunk_bytes: int = CHUNK_BYTES
    compressed: bool = False
    digest: bytes = bytes(DIGEST_BYTES)
    #: the entry that added each member; those that are not in here were there from the beginning. Under 0, the entry
    #: that says who was
    joined: Mapping[int, int] = field(default_factory=dict)
    #: bytes of the node's own state, which stands in front
    node_size: int = 0

    @functools.cached_property
    def name(self) -> str:
        """Its file."""
        return name_of_place(self.term, self.index)

    @functools.cached_property
    def chunks(self) -> int:
        """How many there are; all but the last hold ``chunk_bytes``."""
        return -(-self.stored // self.chunk_bytes)

    def length_of(self, number: int) -> int:
        """Bytes of a chunk."""
        return min(self.chunk_bytes, self.stored - number * self.chunk_bytes)

    def place_of(self, number: int) -> int:
        """Where a chunk begins in the file."""
        return self.head_bytes + number * (CHUNK.size + self.chunk_bytes)

    @functools.cached_property
    def head_bytes(self) -> int:
        """Bytes before the first chunk."""
        return head_bytes(len(encode_members(self.conf_state, self.addresses, self.joined)))

    @functools.cached_property
    def file_bytes(self) -> int:
        """Length of the whole file."""
        return self.head_bytes + self.chunks * CHUNK.size + self.stored

    def snapshot(self) -> Snapshot:
        """What the core is told of it."""
        return Snapshot(self.index, self.term, self.conf_state, encode(self))

    def check(self) -> None:
        """Raise UsageError for what no file can hold."""
        for name in ("index", "term", "incarnation"):
            if not is_id(getattr(self, name)):
                raise UsageError(f"{name} must be an integer in 1..2^63-1, not {getattr(self, name)!r}")
        for name in ("version", "node_size"):
            if not is_id(getattr(self, name), least=0):
                raise UsageError(f"{name} must be an integer in 0..2^63-1, not {getattr(self, name)!r}")
        if not CHUNK_BYTES_MIN <= self.chunk_bytes <= CHUNK_BYTES_MAX:
            raise UsageError(f"chunk_bytes must be in {CHUNK_BYTES_MIN}..{CHUNK_BYTES_MAX}, not {self.chunk_bytes!r}")
        if len(self.cluster) != CLUSTER_BYTES:
            raise UsageError(f"cluster must be {CLUSTER_BYTES} bytes")
        if len(self.addresses) > MEMBERS_MAX:
            raise UsageError(f"addresses must be of at most {MEMBERS_MAX} members, not {len(self.addresses)}")
        for id, url in self.addresses.items():
            check_address(id, url)


def check_address(id: int, url: str) -> None:
    """Raise UsageError for what cannot be kept as the address of a member."""
    if not is_id(id) or not isinstance(url, str) or len(url.encode()) > URL_MAX:
        raise UsageError(f"an address must be a str of at most {URL_MAX} bytes, of a member, not {id!r}: {url!r}")


def head_bytes(members: int) -> int:
    """Bytes before the first chunk where members and addresses take so many."""
    return -(-(MEMBERS_AT + members) // BLOCK) * BLOCK


def encode_members(conf_state: ConfState, addresses: Mapping[int, str], joined: Mapping[int, int]) -> bytes:
    """A membership, the addresses of its members, and the entry that added each of them."""
    return conf_state.encode() + encode_addresses(addresses, joined)


def encode_addresses(addresses: Mapping[int, str], joined: Mapping[int, int]) -> bytes:
    """The addresses of members, and the entry that added each of them."""
    out = [_U32.pack(len(addresses))]
    for id in sorted(addresses):
        url = addresses[id].encode()
        out.append(_ADDRESS.pack(id, len(url)) + url)
    out.append(_U32.pack(len(joined)))
    out += [_JOINED.pack(id, joined[id]) for id in sorted(joined)]
    return b"".join(out)


def _fixed(each: Descriptor) -> bytes:
    return _FIXED.pack(
        FLAG_ZSTD if each.compressed else 0, each.chunk_bytes, each.cluster, each.index, each.term, each.incarnation,
        each.version, each.size, each.stored, each.node_size,
    )  # fmt: skip


def new_digest() -> hashlib._Hash:
    """What takes the stored bytes in order, and then goes to ``digest_with``."""
    return hashlib.sha256()


def digest_with(stored: hashlib._Hash, each: Descriptor) -> bytes:
    """The digest of those bytes and of the header."""
    whole = stored.copy()
    whole.update(_fixed(each))
    whole.update(encode_members(each.conf_state, each.addresses, each.joined))
    return whole.digest()


def encode(each: Descriptor) -> bytes:
    """The header as far as it is used: what stands in the file, and what members are told."""
    used = MEMBERS_AT + len(members := encode_members(each.conf_state, each.addresses, each.joined))
    head = bytearray(used)
    head[: len(MAGIC)] = MAGIC
    _U32.pack_into(head, VERSION_AT, VERSION)
    _U32.pack_into(head, USED_AT, used)
    _U32.pack_into(head, VERSION_AGAIN_AT, VERSION)
    head[FLAGS_AT:DIGEST_AT] = _fixed(each)
    head[DIGEST_AT:MEMBERS_AT] = each.digest
    head[MEMBERS_AT:] = members
    _U32.pack_into(head, CRC_AT, zlib.crc32(bytes(head[USED_AT:])))
    return bytes(head)


def decode(head: bytes) -> Descriptor:
    """The other way; bytes behind what is used are not looked at.

    Raises SnapshotDamaged, or StorageError for a header of another version.
    """
    if len(head) < MEMBERS_AT or not head.startswith(MAGIC):
        raise SnapshotDamaged("it does not begin with a snapshot's header")
    (used,) = _U32.unpack_from(head, USED_AT)
    if not MEMBERS_AT < used <= min(len(head), HEAD_MAX):
        raise SnapshotDamaged("its header is damaged")
    if _U32.unpack_from(head, CRC_AT)[0] != zlib.crc32(head[USED_AT:used]):
        raise SnapshotDamaged("its header is damaged")
    (version,), (again,) = _U32.unpack_from(head, VERSION_AT), _U32.unpack_from(head, VERSION_AGAIN_AT)
    if version != again:
        raise SnapshotDamaged("its header is damaged")
    if version != VERSION:
        raise StorageError(
            f"the snapshot has format version {version}; this raftx reads version {VERSION} alone and converts no "
            "other: use the raftx that wrote it"
        )
    flags, chunk_bytes, cluster, index, term, incarnation, of_machine, size, stored, own = _FIXED.unpack_from(
        head, FLAGS_AT
    )
    try:
        conf_state, addresses, joined = decode_members(head[MEMBERS_AT:used])
        found = Descriptor(
            index, term, conf_state, addresses, cluster, incarnation, of_machine, size, stored, chunk_bytes,
            bool(flags & FLAG_ZSTD), head[DIGEST_AT:MEMBERS_AT], joined, own,
        )  # fmt: skip
        found.check()
    except (ConfChangeError, UnicodeDecodeError, struct.error, UsageError) as error:
        raise SnapshotDamaged(f"its header cannot be: {error}") from error
    if flags & ~FLAG_ZSTD or (not found.compressed and size + own != stored) or (size + own and not stored):
        raise SnapshotDamaged("its header cannot be: the sizes do not fit")
    if max(size + own, stored) > NUMBER_MAX:
        raise SnapshotDamaged(f"its header cannot be: {max(size + own, stored)} bytes")
    return found


def decode_members(data: bytes) -> tuple[ConfState, dict[int, str], dict[int, int]]:
    """The other way. Raises ConfChangeError, UnicodeDecodeError, struct.error."""
    conf_state, rest = ConfState.decode(data)
    return conf_state, *decode_addresses(rest)


def decode_addresses(data: bytes) -> tuple[dict[int, str], dict[int, int]]:
    """What ``encode_addresses`` made. Raises as ``decode_members``."""
    (count,) = _U32.unpack_from(data)
    addresses: dict[int, str] = {}
    at = _U32.size
    for _ in range(min(count, MEMBERS_MAX + 1)):
        id, length = _ADDRESS.unpack_from(data, at)
        at += _ADDRESS.size
        if at + length > len(data):
            raise ConfChangeError("an address is cut off")
        addresses[id] = data[at : at + length].decode()
        at += length
    if count != len(addresses):
        raise ConfChangeError("the addresses are damaged")
    (count,) = _U32.unpack_from(data, at)
    at += _U32.size
    if count > MEMBERS_MAX + 1 or at + count * _JOINED.size != len(data):
        raise ConfChangeError("the addresses are damaged")
    return addresses, dict(_JOINED.iter_unpack(data[at:]))


def encode_chunk(number: int, data: bytes) -> bytes:
    """A chunk as it stands in the file."""
    return CHUNK.pack(_chunk_crc(number, data), len(data)) + data


def check_chunk(each: Descriptor, number: int, chunk: bytes | bytearray | memoryview) -> memoryview:
    """The bytes of a chunk, where they are: a view of it. Raises SnapshotDamaged."""
    chunk = memoryview(chunk).cast("B")
    length = each.length_of(number)
    if len(chunk) != CHUNK.size + length:
        raise SnapshotDamaged(f"chunk {number} is cut off")
    crc, said = CHUNK.unpack_from(chunk)
    data = chunk[CHUNK.size :]
    if said != length or crc != _chunk_crc(number, data):
        raise SnapshotDamaged(f"chunk {number} is damaged")
    return data


def _chunk_crc(number: int, data: bytes | memoryview) -> int:
    return py_crc32(data, zlib.crc32(_PLACE.pack(number, len(data))))


def name_of_place(term: int, index: int) -> str:
    """The file of the snapshot of that entry."""
    return f"snapshot-{term:016x}-{index:016x}.raftx"


def place_of_name(name: str) -> tuple[int, int] | None:
    """(term, index) of a snapshot's file; None for any other name."""
    found = _NAME.fullmatch(name)
    return (int(found[1], 16), int(found[2], 16)) if found else None


def place_of_part(name: str) -> tuple[int, int] | None:
    """(term, index) of a snapshot that is being received; None for any other name."""
    return place_of_name(name.removesuffix(PART)) if name.endswith(PART) else None


def is_left_over(name: str) -> bool:
    """Whether it is a snapshot that nobody makes any more, when a storage is opened."""
    return name.endswith(NEW) and place_of_name(name.removesuffix(NEW)) is not None
