"""What a directory was founded as: whose it is, with whom, and an identity that no other directory has.

The file is written once, as the last step of a founding, and its name appears in one step: a directory that has it was
founded, another one was not. Every byte is described in docs/wal-format.md.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from .._native.files import Directory
from .._native.memory import Buffer
from ..errors import ConfChangeError, StorageError, WalDamaged
from ..types import ConfState
from .snapshot_format import decode_members, encode_members
from .wal_format import CLUSTER_BYTES, STORE_BYTES

NAME = "founding"
NEW = "founding.new"  # one that is being made, before it has its name
MAGIC = b"RAFTXFND"
VERSION = 1
SIZE_MAX = 1 << 17  # bytes: room for all addresses that there can be
_HEAD = struct.Struct("<8sIIII")  # magic, version, crc of all behind it, bytes used, version again
_CRC_FROM = 16
_FIXED = struct.Struct(f"<{CLUSTER_BYTES}s{STORE_BYTES}sQQ")  # cluster, store, id, segment_bytes
_MEMBERS_AT = _HEAD.size + _FIXED.size


@dataclass(frozen=True)
class Founding:
    """What a directory was founded as. It never changes."""

    cluster: bytes
    #: drawn when the directory was founded: no other one has it
    store: bytes
    id: int
    segment_bytes: int
    #: the first membership, and how each of its members was reached, as far as that was said
    conf_state: ConfState
    addresses: Mapping[int, str]

    def encode(self) -> bytes:
        """The bytes of the file."""
        data = bytearray(_MEMBERS_AT) + encode_members(self.conf_state, self.addresses)
        _FIXED.pack_into(data, _HEAD.size, self.cluster, self.store, self.id, self.segment_bytes)
        _HEAD.pack_into(data, 0, MAGIC, VERSION, 0, len(data), VERSION)
        _HEAD.pack_into(data, 0, MAGIC, VERSION, zlib.crc32(bytes(data[_CRC_FROM:])), len(data), VERSION)
        return bytes(data)


def decode(data: bytes) -> Founding:
    """The other way. Raises WalDamaged, or StorageError for one of another version."""
    if len(data) < _MEMBERS_AT or not data.startswith(MAGIC):
        raise WalDamaged(f"the file {NAME} is damaged")
    _, version, crc, used, again = _HEAD.unpack_from(data)
    if used != len(data) or version != again or crc != zlib.crc32(data[_CRC_FROM:]):
        raise WalDamaged(f"the file {NAME} is damaged")
    if version != VERSION:
        raise StorageError(
            f"the directory has format version {version}; this raftx reads version {VERSION} alone and converts no "
            "other: use the raftx that wrote it, or begin a new cluster in new directories"
        )
    cluster, store, id, segment_bytes = _FIXED.unpack_from(data, _HEAD.size)
    try:
        conf_state, addresses = decode_members(data[_MEMBERS_AT:])
    except (ConfChangeError, UnicodeDecodeError, struct.error) as error:
        raise WalDamaged(f"the file {NAME} is damaged: {error}") from error
    return Founding(cluster, store, id, segment_bytes, conf_state, addresses)


def read(directory: Directory) -> Founding | None:
    """What a directory was founded as; None when it was not. Raises what ``decode`` raises, OSError."""
    if NAME not in directory.names():
        return None
    file = directory.open_file(NAME, readonly=True)
    try:
        buffer = Buffer()
        code = file.py_read_at(buffer, SIZE_MAX, 0)
    finally:
        file.close()
    if code:
        raise OSError(-code, f"cannot read the file {NAME}")
    return decode(buffer.tobytes())


def write(directory: Directory, founding: Founding) -> None:
    """Found the directory: the file is whole, and durable with its name, or there is none. Raises OSError."""
    if NEW in directory.names():
        # Of a founding that did not end. It may be longer.
        directory.remove(NEW)
    file = directory.open_file(NEW, create=True)
    try:
        buffer = Buffer()
        buffer.py_put(founding.encode())
        code = file.py_write_at(buffer, 0, len(buffer), 0) or file.py_sync_new(directory)
    finally:
        file.close()
    if not code:
        directory.rename(NEW, NAME)
        code = directory.py_sync()
    if code:
        raise OSError(-code, f"cannot write the file {NAME}")
