"""Snapshots of the key-value server: a head, then records, each behind its letter and length.

Written from the values that were there at one moment, while the state goes on; read piece by piece. docs/server.md has
the format.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import SnapshotDamaged, SnapshotFailed
from . import messages, wire
from .leases import Lease, boot
from .store import Store, Version

if TYPE_CHECKING:
    from .machine import KeyValues

MAGIC = b"raftx kv"
FORMAT = 1
#: the magic, the format; revision, compacted revision, index, term and time of the last entry
HEAD = struct.Struct("<8sQQqQQQ")
RECORD = struct.Struct("<cI")
KEY, VERSION, LEASE, MEMBER, END = b"K", b"V", b"L", b"M", b"E"
#: mod, sub, create, version, lease; the value follows
VERSION_HEAD = struct.Struct("<QIQQq")
#: id, seconds, the entry that renewed it last, and its time
LEASE_HEAD = struct.Struct("<qQQQ")
GATHERED = 64 << 10  # bytes in a piece, about
RECORD_MAX = 1 << 30


class State:
    """What ``snapshot`` gives to the node."""

    def __init__(self, machine: KeyValues) -> None:
        store = machine.store
        self._head = HEAD.pack(
            MAGIC, FORMAT, store.revision, store.compacted, machine.index, machine.term, machine.time
        )
        self._revision = store.revision
        # Versions never change, and the lists only grow: what is newer than the revision is left out in writing.
        self._histories = list(store.keys.values())
        self._leases = [(id, lease.ttl, lease.renewed, lease.since) for id, lease in machine.leases.by_id.items()]
        self._members = [dict(each) for each in machine.members.values()]

    def write(self, file: Any) -> None:
        """Write it all."""
        out = bytearray(self._head)
        for kind, data in self._records():
            out += RECORD.pack(kind, len(data)) + data
            if len(out) >= GATHERED:
                file.write(bytes(out))
                out.clear()
        file.write(bytes(out) + RECORD.pack(END, 0))

    def _records(self) -> Iterator[tuple[bytes, bytes]]:
        for member in self._members:
            yield MEMBER, wire.encode(messages.MEMBER, member)
        for record in self._leases:
            yield LEASE, LEASE_HEAD.pack(*record)
        for history in self._histories:
            yield KEY, history[0].key
            for each in history:
                if each.mod > self._revision:
                    break
                yield VERSION, VERSION_HEAD.pack(each.mod, each.sub, each.create, each.version, each.lease) + each.value


class Read:
    """A state that was read, and is nobody's yet."""

    def __init__(self) -> None:
        self.store = Store()
        self.leases: dict[int, Lease] = {}
        self.members: dict[int, Any] = {}
        self.index = self.term = self.time = 0

    def into(self, machine: KeyValues) -> None:
        """Put it in place of what the machine has."""
        machine.store.become(self.store)
        machine.leases.become(self.leases)
        machine.members = self.members
        machine.index, machine.term, machine.time = self.index, self.term, self.time


def read(reader: Any) -> Read:
    """Read it all. Raises SnapshotDamaged, SnapshotFailed."""
    magic, format, revision, compacted, index, term, time = HEAD.unpack(_exactly(reader, HEAD.size))
    if magic != MAGIC:
        raise SnapshotFailed("the snapshot is of another state machine than that of raftx serve")
    if format > FORMAT:
        raise SnapshotFailed(f"the snapshot has format {format}, and {FORMAT} is known here: use the newer program")
    found = Read()
    found.index, found.term, found.time = index, term, time
    histories: list[list[Version]] = []
    key = b""
    now = boot()
    for kind, data in _records(reader):
        if kind == KEY:
            key = data
            histories.append([])
        elif kind == VERSION:
            mod, sub, create, version, lease = VERSION_HEAD.unpack_from(data)
            histories[-1].append(Version(key, mod, sub, create, version, data[VERSION_HEAD.size :], lease))
        elif kind == LEASE:
            id, ttl, renewed, since = LEASE_HEAD.unpack(data)
            # As far as the times of entries tell what is left of it; whoever leads gives it its whole time again.
            passed = max(0, time - since) if since and time else 0
            found.leases[id] = Lease(ttl, renewed, since, now - passed)
        elif kind == MEMBER:
            member = wire.decode(messages.MEMBER, data)
            found.members[member.get("ID", 0)] = member
    found.store.load(revision, compacted, [history for history in histories if history])
    for history in histories:
        if history and history[-1].lease in found.leases:
            found.leases[history[-1].lease].keys.add(history[-1].key)
    return found


def _records(reader: Any) -> Iterator[tuple[bytes, bytes]]:
    while True:
        kind, size = RECORD.unpack(_exactly(reader, RECORD.size))
        if kind == END:
            return
        if size > RECORD_MAX:
            raise SnapshotDamaged("a record of the key-value server is too long")
        yield kind, _exactly(reader, size)


def _exactly(reader: Any, size: int) -> bytes:
    data = bytes(reader.read(size))
    while len(data) < size:
        more = bytes(reader.read(size - len(data)))
        if not more:
            raise SnapshotDamaged("the records of the key-value server end too early")
        data += more
    return data
