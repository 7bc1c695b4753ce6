"""Snapshots of recipes: a head, records, and behind them what the user's own state machine has given.

docs/recipes.md has the format. What does not begin with the head is a snapshot of the user's own state machine alone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import SnapshotDamaged, SnapshotFailed
from ..node.session_format import decode_value, encode_value
from ..node.snapshots import pieces_of, writes_itself

MAGIC = b"\xf7raftx\xf7state\x00\x00\x00\x00"
FORMAT = 2  # 1 has no answers of rate limiters, and is read, too
#: version of the format, version of the user's own state machine, whether there is one
HEAD = struct.Struct("<IIB7x")
LENGTH = struct.Struct("<I")
RECORD_MAX = 1 << 20  # bytes of one record
GATHERED = 64 << 10  # bytes of records in a piece, about


class State:
    """What ``snapshot`` gives to the node, which writes it while entries go on being applied."""

    def __init__(self, records: list[tuple[Any, ...]], own: Any, own_version: int) -> None:
        self._records = records
        self._own = own
        self._version = own_version

    def write(self, file: Any) -> None:
        """Write it all."""
        for piece in self.head():
            file.write(piece)
        if self._own is None:
            return
        if writes_itself(self._own):
            self._own.write(file)
            return
        for piece in pieces_of(self._own):
            file.write(piece)

    def head(self) -> Iterator[bytes]:
        """What stands in front of the user's own."""
        yield MAGIC + HEAD.pack(FORMAT, self._version, self._own is not None)
        yield from encoded(self._records)


def encoded(records: Iterable[tuple[Any, ...]]) -> Iterator[bytes]:
    """Records as bytes, some of them a piece; a length of 0 ends them."""
    out = bytearray()
    for record in records:
        data = encode_value(record, RECORD_MAX)
        if data is None:
            raise SnapshotFailed(f"a record of recipes cannot be kept: {record!r:.200}")
        out += LENGTH.pack(len(data)) + data
        if len(out) >= GATHERED:
            yield bytes(out)
            out.clear()
    yield bytes(out) + LENGTH.pack(0)


class Rest:
    """What is left of a snapshot behind bytes that were read: what the user's own state machine is given."""

    def __init__(self, reader: Any, version: int, first: bytes, used: int) -> None:
        self._reader = reader
        self._first = first
        self.index, self.term = getattr(reader, "index", 0), getattr(reader, "term", 0)
        self.version = version
        self.size = max(0, getattr(reader, "size", 0) - used)

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes, as many as are left where it is negative."""
        if not self._first:
            return bytes(self._reader.read(size))
        if size < 0:
            first, self._first = self._first, b""
            return first + bytes(self._reader.read(size))
        first, self._first = self._first[:size], self._first[size:]
        return first

    def __iter__(self) -> Iterator[bytes]:
        """What is left, in pieces of any length."""
        while piece := self.read(GATHERED):
            yield piece


def read(reader: Any, own_version: int) -> tuple[list[Any], Rest]:
    """The records, and what is behind them. Raises SnapshotDamaged, and SnapshotFailed for one that is too new."""
    first = reader.read(len(MAGIC))
    if first != MAGIC:
        return [], Rest(reader, getattr(reader, "version", 0), first, 0)
    format, version, _ = HEAD.unpack(_exactly(reader, HEAD.size))
    if format > FORMAT or version > own_version:
        raise SnapshotFailed(
            f"the snapshot has recipes in format {format} and a state of version {version}; format {FORMAT} and "
            f"version {own_version} are known here: use the newer program"
        )
    records: list[Any] = []
    used = len(MAGIC) + HEAD.size + LENGTH.size
    while size := LENGTH.unpack(_exactly(reader, LENGTH.size))[0]:
        try:
            records.append(decode_value(_exactly(reader, size)))
        except ValueError as error:
            raise SnapshotDamaged(f"record {len(records)} of recipes: {error}") from error
        used += LENGTH.size + size
    return records, Rest(reader, version, b"", used)


def _exactly(reader: Any, size: int) -> bytes:
    data = bytes(reader.read(size)) if size <= RECORD_MAX else b""
    if len(data) != size:
        raise SnapshotDamaged("the records of recipes end too early")
    return data
