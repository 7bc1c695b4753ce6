"""The file ``skips`` of a directory: entries that the owner has agreed not to give to the state machine.

It is written whole or not at all, and each row names an entry by its index and its term, so that it can never mean
another one. What lies before the log is in no need of it. Every byte is described in docs/wal-format.md.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping

from .._native.files import Directory
from ..errors import WalDamaged
from .wal_format import STORE_BYTES
from .whole import read_whole, write_whole

NAME = "skips"
NEW = "skips.new"  # one that is being made, before it has its name
MAGIC = b"RAFTXSKP"
VERSION = 1
SKIPS_MAX = 1024  # entries; each was agreed by hand
_HEAD = struct.Struct(f"<8sIIQ{STORE_BYTES}s")  # magic, version, crc of all behind it, rows, store
_CRC_FROM = 16
_ROW = struct.Struct("<QQ")
REMEDY = (
    "put it back as it was, or remove it and agree on each skip again (raftx wal skip): without them the member would "
    "not come to the state of the others"
)


def encode(store: bytes, skips: Mapping[int, int]) -> bytes:
    """The bytes of the file; terms by index."""
    body = b"".join([_ROW.pack(index, skips[index]) for index in sorted(skips)])
    data = bytearray(_HEAD.pack(MAGIC, VERSION, 0, len(skips), store) + body)
    struct.pack_into("<I", data, 12, zlib.crc32(bytes(data[_CRC_FROM:])))
    return bytes(data)


def decode(data: bytes, store: bytes) -> dict[int, int]:
    """The other way. Raises WalDamaged."""
    if len(data) < _HEAD.size or not data.startswith(MAGIC):
        raise WalDamaged(f"the file {NAME} is damaged: {REMEDY}")
    _, version, crc, rows, whose = _HEAD.unpack_from(data)
    if crc != zlib.crc32(data[_CRC_FROM:]) or len(data) != _HEAD.size + rows * _ROW.size or rows > SKIPS_MAX:
        raise WalDamaged(f"the file {NAME} is damaged: {REMEDY}")
    if version != VERSION:
        raise WalDamaged(
            f"the file {NAME} has version {version}, and this raftx reads version {VERSION} alone: use the raftx that "
            "wrote it"
        )
    if whose != store:
        raise WalDamaged(f"the file {NAME} is of another directory: {REMEDY}")
    return dict(_ROW.iter_unpack(data[_HEAD.size :]))


def read(directory: Directory, store: bytes) -> dict[int, int]:
    """Terms by index; none where there is no such file. Raises WalDamaged, OSError."""
    data = read_whole(directory, NAME, _HEAD.size + (SKIPS_MAX + 1) * _ROW.size)
    return {} if data is None else decode(data, store)


def write(directory: Directory, store: bytes, skips: Mapping[int, int]) -> None:
    """Durable when it returns; none: the file goes. Raises OSError."""
    if not skips:
        if NAME in directory.names():
            directory.remove(NAME)
            code = directory.py_sync()
        else:
            code = 0
    else:
        code = write_whole(directory, NAME, NEW, encode(store, skips))
    if code:
        raise OSError(-code, f"cannot write the file {NAME}: {os.strerror(-code)}")


def needed(skips: Mapping[int, int], base: int) -> dict[int, int]:
    """Those of entries that are not before the log."""
    return {index: term for index, term in skips.items() if index > base}
