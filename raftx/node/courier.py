"""Fetches and serves the files of snapshots, for the engine; a part of the snapshot thread (snapshots.py).

A member that was offered a snapshot asks for its chunks, a few at a time: it sets the pace, and heartbeats pass in
between. Whoever has the file open serves them. What has arrived is kept when the source is lost, and goes on with the
next offer of the same file. It holds the GIL and may wait for the disk: consensus never waits for it.
"""

from __future__ import annotations

import collections
import logging
from typing import Any

from .._native.memory import Entry
from .._native.outbox import snapshot_from
from .._native.threads import Clock
from ..errors import SnapshotDamaged, StorageError, UsageError
from ..report import report
from ..storage import snapshot_format
from ..storage.snapshot_format import Descriptor
from ..types import ENTRY_NORMAL
from .channels import CommandQueue
from .rows import ROW_CHUNK, ROW_OFFER, ROW_WANTED
from .transfers import CourierQueue

WINDOW = 2  # chunks that are asked for and have not arrived
SERVED = 8  # chunks a member gets for one request, at most
TRIES = 10  # requests without an answer before a source is given up
READERS = 4  # files that are open for others


def tag_of(descriptor: Descriptor) -> int:
    """A number that tells one file from another."""
    return int.from_bytes(descriptor.digest[:8], "little") & (2**63 - 1)


class Fetch:
    """A snapshot that is being fetched."""

    def __init__(self, descriptor: Descriptor, receiver: Any, source: int, now: int) -> None:
        self.descriptor = descriptor
        self.receiver = receiver
        self.source = source
        self.tag = tag_of(descriptor)
        #: the next chunk to ask for
        self.next = receiver.missing()
        #: when a chunk arrived last, or was asked for again, and how often the latter
        self.since = now
        self.tries = 0
        #: no further request before this time: the bound on the rate
        self.not_before = 0


class Courier:
    """One per node. ``retry_ns``: how long a chunk may take. ``bytes_per_second``: of what is fetched; 0: no bound."""

    def __init__(
        self, id: int, cluster: bytes, storage: Any, commands: CommandQueue, queue: CourierQueue, clock: Clock,
        retry_ns: int, bytes_per_second: int = 0,
    ) -> None:  # fmt: skip
        self.id = id
        self.cluster = cluster
        self.storage = storage
        self.commands = commands
        self.queue = queue
        self.clock = clock
        self.retry_ns = retry_ns
        self.bytes_per_second = bytes_per_second
        self.fetch: Fetch | None = None
        #: files that others are served from, by (index, term): the newest use last
        self.readers: collections.OrderedDict[tuple[int, int], Any] = collections.OrderedDict()
        #: what the engine had no room for: asked again in the next round
        self.unsaid: collections.deque[tuple[Any, ...]] = collections.deque()
        #: for ``status``: how many were fetched and given up, chunks served
        self.fetched = self.given_up = self.served = 0

    def is_busy(self) -> bool:
        """Whether time matters to it: it wants a round soon although nothing arrives."""
        return self.fetch is not None or bool(self.unsaid)

    def status(self) -> dict[str, int]:
        """For Node.status: of a snapshot that is being fetched its index, and how many of how many bytes are here."""
        fetch = self.fetch
        here = 0
        if fetch is not None:
            here = min(fetch.receiver.missing() * fetch.descriptor.chunk_bytes, fetch.descriptor.stored)
        return {
            "fetching": fetch.descriptor.index if fetch is not None else 0,
            "from": fetch.source if fetch is not None else 0,
            "arrived": here,
            "of": fetch.descriptor.stored if fetch is not None else 0,
            "fetched": self.fetched,
            "given_up": self.given_up,
            "chunks_served": self.served,
        }

    def round(self) -> None:
        """Take what has arrived, and ask again for what has not."""
        while self.unsaid:
            method, *numbers = self.unsaid[0]
            if not method(*numbers):
                return
            self.unsaid.popleft()
        rows = self.queue.py_take()
        pieces = iter(self.queue.taken.pieces())
        for row in range(rows):
            kind, member, index, term, tag, number, last = self.queue.row(row)
            if kind == ROW_OFFER:
                self.offered(snapshot_from(bytes(next(pieces))).data, member)
            elif kind == ROW_WANTED:
                self.serve(member, index, term, tag, number, last)
            elif kind == ROW_CHUNK:
                self.arrived(member, index, term, tag, number, None if last else bytes(next(pieces)))
        self.ask_again()

    def close(self) -> None:
        """Release files; what has arrived stays for a later life."""
        fetch, self.fetch = self.fetch, None
        if fetch is not None:
            fetch.receiver.close()
        while self.readers:
            self.readers.popitem()[1].close()

    # --- fetching ----------------------------------------------------------------------------------------

    def offered(self, header: bytes, source: int) -> None:
        """A member offers a snapshot."""
        if self.fetch is not None:
            return  # the engine goes on with the first offer until it is told that it was given up
        try:
            descriptor = snapshot_format.decode(header)
        except StorageError as error:
            report(logging.WARNING, "node %d: the snapshot that %d offers cannot be read: %s", self.id, source, error)
            return
        try:
            if descriptor.cluster != self.cluster:
                raise UsageError("it is of another cluster")
            self.fetch = Fetch(descriptor, self.storage.receive_snapshot(descriptor), source, self.clock.py_now())
        except (StorageError, UsageError) as error:
            report(
                logging.WARNING,
                "node %d: the snapshot of entry %d that %d offers is not fetched: %s",
                *(self.id, descriptor.index, source, error),
            )
            self.say(self.commands.given_up, descriptor.index, descriptor.term)
            return
        report(
            logging.INFO,
            "node %d: fetches the snapshot of entry %d (%d bytes) from %d",
            *(self.id, descriptor.index, descriptor.stored, source),
        )
        self.go_on()

    def arrived(self, member: int, index: int, term: int, tag: int, number: int, record: bytes | None) -> None:
        """A chunk, or the news that the member does not have the snapshot."""
        fetch = self.fetch
        if fetch is None or (index, term, tag) != (fetch.descriptor.index, fetch.descriptor.term, fetch.tag):
            return
        if record is None:
            if member == fetch.source:
                self.give_up(f"{member} does not have it any more")
            return
        chunk = Entry.decode_all(record)[0].data
        try:
            fetch.receiver.put(number, chunk)
        except (SnapshotDamaged, UsageError):
            return  # it is asked for again
        except StorageError as error:
            self.give_up(str(error))
            return
        now = self.clock.py_now()
        fetch.since, fetch.tries = now, 0
        if self.bytes_per_second:
            fetch.not_before = max(fetch.not_before, now) + len(chunk) * 1_000_000_000 // self.bytes_per_second
        self.go_on()

    def go_on(self) -> None:
        """Ask for the next chunks, or finish."""
        fetch = self.fetch
        assert fetch is not None
        chunks, missing = fetch.descriptor.chunks, fetch.receiver.missing()
        if missing == chunks:
            self.finish()
            return
        if self.clock.py_now() < fetch.not_before:
            return
        fetch.next = max(fetch.next, missing)
        count = min(chunks, missing + WINDOW) - fetch.next
        if count > 0:
            index, term = fetch.descriptor.index, fetch.descriptor.term
            self.say(self.commands.ask, fetch.source, index, term, fetch.tag, fetch.next, count)
            fetch.next += count

    def ask_again(self) -> None:
        """What was asked for and has not come in time; and what the rate did not allow before."""
        fetch = self.fetch
        if fetch is None:
            return
        now = self.clock.py_now()
        if now - max(fetch.since, fetch.not_before) >= self.retry_ns:
            fetch.tries += 1
            fetch.since = now
            fetch.next = fetch.receiver.missing()
            if fetch.tries > TRIES:
                self.give_up(f"{fetch.source} does not answer")
                return
        self.go_on()

    def finish(self) -> None:
        """Everything is here."""
        fetch = self.fetch
        assert fetch is not None
        try:
            fetch.receiver.finish()
        except StorageError as error:
            fetch.receiver.discard()
            self.give_up(str(error))
            return
        self.fetch = None
        self.fetched += 1
        self.say(self.commands.arrived, fetch.descriptor.index, fetch.descriptor.term)

    def give_up(self, reason: str) -> None:
        """The source is lost, or the disk: the leader will offer a snapshot again."""
        fetch, self.fetch = self.fetch, None
        assert fetch is not None
        fetch.receiver.close()
        self.given_up += 1
        report(
            logging.WARNING,
            "node %d: gives up fetching the snapshot of entry %d from %d: %s; what has arrived of it is kept",
            *(self.id, fetch.descriptor.index, fetch.source, reason),
        )
        self.say(self.commands.given_up, fetch.descriptor.index, fetch.descriptor.term)

    def say(self, method: Any, *numbers: Any) -> None:
        """Tell the engine; where it has no room, in a later round."""
        if self.unsaid or not method(*numbers):
            self.unsaid.append((method, *numbers))

    # --- serving -----------------------------------------------------------------------------------------

    def serve(self, to: int, index: int, term: int, tag: int, first: int, count: int) -> None:
        """Chunks that another member asks for; or the answer that the snapshot is not here."""
        reader = self.reader(index, term)
        if reader is None or tag_of(reader.descriptor) != tag:
            self.say(self.commands.give, to, index, term, tag, first, None)
            return
        for number in range(first, min(first + min(count, SERVED), reader.descriptor.chunks)):
            try:
                chunk = reader.chunk(number)
            except StorageError as error:
                report(logging.ERROR, "node %d: cannot serve the snapshot of entry %d: %s", self.id, index, error)
                self.readers.pop((index, term)).close()
                self.say(self.commands.give, to, index, term, tag, number, None)
                return
            self.served += 1
            self.say(self.commands.give, to, index, term, tag, number, Entry(0, 0, chunk, ENTRY_NORMAL).encode())

    def reader(self, index: int, term: int) -> Any:
        """The open file of a snapshot that is the newest, or was when it was asked for first; None without one."""
        found = self.readers.get((index, term))
        if found is not None:
            self.readers.move_to_end((index, term))
            return found
        try:
            found = self.storage.open_snapshot()
        except (StorageError, UsageError):
            return None
        if (found.index, found.term) != (index, term):
            found.close()
            return None
        self.readers[(index, term)] = found
        while len(self.readers) > READERS:
            self.readers.popitem(last=False)[1].close()
        return found
