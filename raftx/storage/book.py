"""The file ``addresses``: where members are reached, kept when the entries that said so are forgotten.

The membership itself stands in the header of the log, which has no room for addresses. Every byte is described in
docs/wal-format.md.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from .._native.files import Directory
from ..errors import ConfChangeError, WalDamaged
from .snapshot_format import decode_addresses, encode_addresses
from .wal_format import STORE_BYTES
from .whole import read_whole, write_whole

NAME = "addresses"
NEW = "addresses.new"  # one that is being made, before it has its name
MAGIC = b"RAFTXADR"
VERSION = 1
SIZE_MAX = 1 << 17
_HEAD = struct.Struct(f"<8sIIQ{STORE_BYTES}s")  # magic, version, crc of all behind it, entry, store
_CRC_FROM = 16


@dataclass(frozen=True)
class Book:
    """Addresses as of an entry, and the entry that added each member, as far as it was not there from the beginning."""

    index: int
    addresses: Mapping[int, str] = field(default_factory=dict)
    joined: Mapping[int, int] = field(default_factory=dict)


def write(directory: Directory, store: bytes, book: Book) -> None:
    """Keep it: durable when this returns. Raises OSError."""
    data = bytearray(_HEAD.size) + encode_addresses(book.addresses, book.joined)
    _HEAD.pack_into(data, 0, MAGIC, VERSION, 0, book.index, store)
    _HEAD.pack_into(data, 0, MAGIC, VERSION, zlib.crc32(bytes(data[_CRC_FROM:])), book.index, store)
    code = write_whole(directory, NAME, NEW, bytes(data))
    if code:
        raise OSError(-code, f"cannot write the file {NAME}: {os.strerror(-code)}")


def read(directory: Directory, store: bytes) -> Book | None:
    """What the directory of that store has kept; None for nothing. Raises WalDamaged, OSError."""
    data = read_whole(directory, NAME, SIZE_MAX)
    return None if data is None else decode(data, store)


def decode(data: bytes, store: bytes) -> Book:
    """What the bytes of the file say. Raises WalDamaged."""
    if len(data) < _HEAD.size or not data.startswith(MAGIC):
        raise WalDamaged(f"the file {NAME} is damaged")
    _, version, crc, index, whose = _HEAD.unpack_from(data)
    if version != VERSION or crc != zlib.crc32(data[_CRC_FROM:]) or whose != store:
        raise WalDamaged(f"the file {NAME} is damaged, or not of this directory")
    try:
        return Book(index, *decode_addresses(data[_HEAD.size :]))
    except (ConfChangeError, UnicodeDecodeError, struct.error) as error:
        raise WalDamaged(f"the file {NAME} is damaged: {error}") from error
