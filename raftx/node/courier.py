"""The courier: fetches and serves the files of snapshots, for the engine. A worker of its own.

A member that was offered a snapshot asks for its chunks, a few at a time: it sets the pace, and heartbeats pass in
between. Whoever has the file serves them. What has arrived is kept when the source is lost, and goes on with the next
offer of the same file. It holds the GIL and may wait for the disk: nothing else of the node may depend on it.
"""

from __future__ import annotations

import collections
import errno
import logging
from collections.abc import Callable
from typing import Any

from .._native.layout import FRAME_OVERHEAD
from .._native.memory import Entry
from .._native.outbox import snapshot_from, snapshot_record
from .._native.threads import Clock
from ..errors import SnapshotDamaged, StorageError, UsageError
from ..report import report
from ..storage import snapshot_format
from ..storage.in_use import by_node
from ..storage.snapshot_format import CHUNK, CHUNK_BYTES, CHUNK_BYTES_MIN, Descriptor
from .channels import CommandQueue
from .rows import ROW_CHUNK, ROW_OFFER, ROW_WANTED
from .status import TransferStatus
from .transfers import CourierQueue

LONG_TRIP_NS = 200_000  # a chunk that takes longer than this from request to arrival: the next is asked for meanwhile
IN_FLIGHT_NS = 3_000_000  # of time that chunks may take which are under way, for a heartbeat waits behind them
WINDOW_MAX = 6  # chunks under way, at most
SERVED = 8  # chunks a member gets for one request, at most
TRIES = 3  # requests in a row without an answer before a source is given up; the time between them doubles
BACK_OFF = 6  # tries without a single chunk after which the time between them does not double any more
READERS = 4  # files that are open for others
READER_TRIES = 20  # times the wait for a chunk after which a file that nobody asks for is closed
PAUSE_NS = 10_000_000  # between two looks at the clock while a snapshot is being fetched
LONG_PAUSE_NS = 1_000_000_000  # while files are open for others
COMPLAINT_NS = 60_000_000_000  # how often the same reason is told
SHORTAGES = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # what others may give back


def tag_of(descriptor: Descriptor) -> int:
    """A number that tells one file from another."""
    return int.from_bytes(descriptor.digest[:8], "little") & (2**63 - 1)


def chunk_bytes_for(max_frame_bytes: int) -> int:
    """How large the chunks of a snapshot may be, so that each of them fits a frame."""
    most = (max_frame_bytes - FRAME_OVERHEAD - CHUNK.size) // CHUNK_BYTES_MIN * CHUNK_BYTES_MIN
    return max(CHUNK_BYTES_MIN, min(CHUNK_BYTES, most))


def shortage_of(error: BaseException | None) -> str:
    """What was short, "ENOSPC" say; "" for an error that tells of no shortage."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in SHORTAGES:
            return errno.errorcode[error.errno]
        error = error.__cause__
    return ""


class Fetch:
    """A snapshot that is being fetched."""

    def __init__(self, descriptor: Descriptor, receiver: Any, source: int, now: int) -> None:
        self.descriptor = descriptor
        self.receiver = receiver
        self.source = source
        self.tag = tag_of(descriptor)
        #: the next chunk to ask for
        self.next: int = receiver.missing()
        #: when each of those was asked for that have not arrived
        self.asked: dict[int, int] = {}
        #: whether one has arrived
        self.came_any = False
        #: what the last one took that arrived
        self.trip = 0
        #: time between two that arrived, smoothed: how fast the way and both disks are
        self.gap = IN_FLIGHT_NS
        #: when a chunk arrived last, or was asked for again, and how often the latter
        self.since = now
        self.tries = 0
        #: no further request before this time: the bound on the rate
        self.not_before = now
        #: when the source was asked for anything last, if only for nothing
        self.said = now

    def window(self) -> int:
        """How many may be asked for and not here: two where the way is slow, more where that many arrive in no time."""
        if self.trip < LONG_TRIP_NS:
            return 1
        return max(2, min(WINDOW_MAX, IN_FLIGHT_NS // max(self.gap, 1)))

    def wanted(self) -> int:
        """How many to ask for now, from ``next`` on: several at once, for a request costs both sides much.

        0 while more than half of what may be under way is so.
        """
        chunks: int = self.descriptor.chunks
        missing: int = self.receiver.missing()
        self.next = max(self.next, missing)
        last = min(chunks, missing + self.window())
        if last < chunks and self.next - missing > (last - missing) // 2:
            return 0
        return max(0, last - self.next)

    def came(self, now: int, asked: int) -> None:
        """A chunk that was asked for then has arrived."""
        self.came_any = True
        self.gap += (now - self.since - self.gap) // 4
        self.trip = now - asked
        self.since, self.tries = now, 0

    def start_again(self, source: int, now: int) -> None:
        """What was asked for will not come: ask anew, perhaps another member."""
        self.source, self.since, self.next = source, now, self.receiver.missing()
        self.asked.clear()


class Courier:
    """One per node. Everything but ``status`` and ``stop`` belongs to its thread.

    check: raises StorageError for a snapshot that this node's state machine cannot take. retry_ns: how long a chunk may
    take. bytes_per_second: of what is fetched; 0: no bound. max_frame_bytes: what this node's transport takes. spoiled:
    called with the entry of a snapshot that others need, and whose file cannot be read any more. committed: the last
    entry that is known here to be committed.
    """

    def __init__(
        self,
        id: int,
        cluster: bytes,
        storage: Any,
        commands: CommandQueue,
        queue: CourierQueue,
        clock: Clock,
        check: Callable[[Descriptor], object],
        retry_ns: int,
        bytes_per_second: int,
        max_frame_bytes: int,
        spoiled: Callable[[int], object] = lambda _index: None,
        committed: Callable[[], int] = lambda: 0,
    ) -> None:
        self.id = id
        self.spoiled = spoiled
        self.committed = committed
        self.cluster = cluster
        self.storage = storage
        self.commands = commands
        self.queue = queue
        self.event = queue.event
        self.clock = clock
        self.check = check
        self.retry_ns = retry_ns
        self.bytes_per_second = bytes_per_second
        self.max_frame_bytes = max_frame_bytes
        self.fetch: Fetch | None = None
        #: another snapshot that was offered meanwhile, and by whom: fetched if the present source is lost
        self.other: tuple[Descriptor, int] | None = None
        #: files that others are served from, by (index, term), and when they were used last: the newest use at the end
        self.readers: collections.OrderedDict[tuple[int, int], tuple[Any, int]] = collections.OrderedDict()
        #: something has come in the last round
        self.serving = False
        #: what the engine had no room for: said again in the next round
        self.unsaid: collections.deque[tuple[Any, ...]] = collections.deque()
        #: the file, and whose, that came to nothing last without a single chunk; how often; no further try before then
        self.useless: tuple[int, int] = (0, 0)
        self.useless_count = self.useless_until = 0
        #: what was complained of last, and when
        self.complaint: tuple[str, int] = ("", 0)
        #: what the disk lacks for a snapshot that is needed, "ENOSPC" say, "" for nothing; and the entry of that one
        self.lacks: tuple[str, int] = ("", 0)
        #: why a snapshot that was offered cannot be taken as this member is, "" for nothing; and the entry of that one
        self.refused: tuple[str, int] = ("", 0)
        #: how many offers were refused like that
        self.not_taken = 0
        #: for ``status``: how many were fetched, given up, and overtaken by entries; chunks that came and were served
        self.fetched = self.given_up = self.overtaken = self.received = self.served = 0
        self._stop = False

    # --- any thread --------------------------------------------------------------------------------------

    def status(self) -> TransferStatus:
        """For Node.status."""
        fetch = self.fetch
        here = 0
        if fetch is not None:
            here = min(fetch.receiver.missing() * fetch.descriptor.chunk_bytes, fetch.descriptor.stored)
        return TransferStatus(
            fetching=fetch.descriptor.index if fetch is not None else 0,
            source=fetch.source if fetch is not None else 0,
            arrived=here,
            size=fetch.descriptor.stored if fetch is not None else 0,
            fetched=self.fetched,
            given_up=self.given_up,
            overtaken=self.overtaken,
            shortage=self.shortage(),
            chunks_received=self.received,
            chunks_served=self.served,
        )

    def shortage(self) -> str:
        """What a snapshot that this member still needs could not be stored for, "ENOSPC" say; "" for nothing."""
        lacks, index = self.lacks
        return lacks if index > self.committed() else ""

    def stuck(self) -> tuple[str, int]:
        """Why the snapshot that this member still needs cannot be taken by it as it is, and its entry; "" and 0."""
        why, index = self.refused
        return (why, index) if index > self.committed() else ("", 0)

    def stop(self) -> None:
        """End; what has arrived stays for a later life."""
        self._stop = True
        self.event.py_wake()

    # --- rounds ------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Rounds, until ``stop``."""
        while self.round():
            self.rest()

    def round(self) -> bool:
        """Take what has arrived, and ask again for what has not; False after ``stop``."""
        if self._stop:
            self._close()
            return False
        while self.unsaid:
            method, *given = self.unsaid[0]
            if not method(*given):
                return True
            self.unsaid.popleft()
        rows = self.queue.py_take()
        self.serving = rows > 0
        pieces = iter(self.queue.taken.pieces())
        for row in range(rows):
            kind, member, index, term, tag, number, last = self.queue.row(row)
            if kind == ROW_OFFER:
                self.offered(snapshot_from(bytes(next(pieces))).data, member)
            elif kind == ROW_WANTED:
                self.serve(member, index, term, tag, number, last)
            elif kind == ROW_CHUNK:
                self.arrived(member, index, term, tag, number, None if last else next(pieces))
        self.look_at_the_clock()
        return True

    def rest(self) -> None:
        """Sleep until there is something to do."""
        pause = self.idle_for()
        if pause:
            self.event.py_wait(pause)

    def idle_for(self) -> int:
        """How long it may sleep unless it is woken, in nanoseconds, once it has announced it; -1: for ever; 0: no."""
        # Whoever has just got chunks is about to ask for more.
        short = self.fetch is not None or self.unsaid or self.serving
        pause = PAUSE_NS if short else LONG_PAUSE_NS if self.readers else -1
        self.event.py_prepare()
        if self._stop or self.queue.py_waiting():
            self.event.py_cancel()
            return 0
        return pause

    def look_at_the_clock(self) -> None:
        """What was asked for and has not come in time, what the rate did not allow before, files that nobody reads."""
        now = self.clock.py_now()
        if self.fetch is not None and self.is_overtaken(self.fetch.descriptor):
            self.end_overtaken()
        fetch = self.fetch
        if fetch is not None:
            patience = max(self.retry_ns, 3 * fetch.trip) << fetch.tries
            if now - max(fetch.since, fetch.not_before) >= patience:
                fetch.tries += 1
                if fetch.tries > TRIES or self.other is not None:
                    self.give_up(f"{fetch.source} does not answer; what has arrived of it is kept")
                    return
                fetch.start_again(fetch.source, now)
            self.go_on()
        fetch = self.fetch
        if fetch is not None and now < fetch.not_before and now - fetch.said >= self.retry_ns:
            # A low rate makes long pauses, and whoever asks for nothing is believed to be gone: the source would close
            # the file, and keep no longer what follows it. So it is asked for no chunk at all.
            self.ask(0)
        while self.readers:
            (place, (reader, used)) = next(iter(self.readers.items()))
            if now - used < READER_TRIES * self.retry_ns:
                break
            del self.readers[place]
            reader.close()

    def _close(self) -> None:
        fetch, self.fetch = self.fetch, None
        if fetch is not None:
            fetch.receiver.close()
        while self.readers:
            self.readers.popitem()[1][0].close()

    # --- fetching ----------------------------------------------------------------------------------------

    def offered(self, header: bytes, source: int) -> None:
        """A member, which leads or did so, offers a snapshot."""
        try:
            descriptor = snapshot_format.decode(header)
        except StorageError as error:
            self.complain(f"the snapshot that {source} offers cannot be read: {error}")
            return
        fetch = self.fetch
        if fetch is None:
            if (tag_of(descriptor), source) != self.useless or self.clock.py_now() >= self.useless_until:
                self.begin(descriptor, source)
        elif descriptor != fetch.descriptor:
            self.other = (descriptor, source)
        elif source != fetch.source:
            # A new leader has the same file: the old one may be gone.
            fetch.tries = 0
            fetch.start_again(source, self.clock.py_now())
            self.go_on()

    def is_overtaken(self, descriptor: Descriptor) -> bool:
        """Whether what it holds has come by entries."""
        return descriptor.index <= self.committed()

    def end_overtaken(self) -> None:
        """What is being fetched is not needed any more: its chunks would only take time and room."""
        fetch, self.fetch = self.fetch, None
        other, self.other = self.other, None
        assert fetch is not None
        fetch.receiver.discard()
        self.overtaken += 1
        report(
            logging.INFO,
            "node %d: the snapshot of entry %d is not needed any more: what it holds has come by entries",
            *(self.id, fetch.descriptor.index),
        )
        if other is not None and not self.is_overtaken(other[0]):
            self.begin(*other)

    def begin(self, descriptor: Descriptor, source: int) -> None:
        """Fetch this one from there, unless it cannot be of use."""
        what = f"the snapshot of entry {descriptor.index} that {source} offers is not fetched"
        try:
            if descriptor.cluster != self.cluster:
                raise UsageError("it is of another cluster")
            if descriptor.chunk_bytes + CHUNK.size + FRAME_OVERHEAD > self.max_frame_bytes:
                raise UsageError(
                    f"its chunks of {descriptor.chunk_bytes} bytes need larger frames than this node takes: raise "
                    f"max_frame_bytes={self.max_frame_bytes} of its transport"
                )
            self.check(descriptor)
            receiver = by_node(self.storage.receive_snapshot, descriptor)
        except (StorageError, UsageError) as error:
            if not self.is_short(descriptor, error):
                self.not_taken += 1
                self.refused = (f"{what}: {error}", descriptor.index)
                self.complain(f"{what}: {error}")
            return
        except Exception as error:
            self.complain(f"{what}: the storage raised {type(error).__name__}: {error}", error)
            return
        self.refused = ("", 0)
        self.fetch = fetch = Fetch(descriptor, receiver, source, self.clock.py_now())
        if (fetch.tag, source) != self.useless and not self.shortage():
            report(
                logging.INFO,
                "node %d: fetches the snapshot of entry %d (%d bytes) from %d; %d of %d chunks are here",
                *(self.id, descriptor.index, descriptor.stored, source, receiver.missing(), descriptor.chunks),
            )
        self.go_on()

    def arrived(self, member: int, index: int, term: int, tag: int, number: int, record: Any) -> None:
        """A chunk, or the news that the member does not have the snapshot."""
        fetch = self.fetch
        if fetch is None or (index, term, tag) != (fetch.descriptor.index, fetch.descriptor.term, fetch.tag):
            return
        if record is None:
            if member == fetch.source:
                self.give_up(f"{member} does not have it (any more)")
            return
        chunk = Entry.data_of(record, checked=False)  # ``put`` checks the chunk itself
        try:
            fetch.receiver.put(number, chunk)
        except (SnapshotDamaged, UsageError):
            return  # it is asked for again
        except Exception as error:
            self.give_up(f"it cannot be written: {error}", error)
            return
        self.received += 1
        if self.shortage():
            self.lacks = ("", 0)
            report(
                logging.INFO,
                "node %d: there is room again for the snapshot of entry %d: it goes on",
                *(self.id, fetch.descriptor.index),
            )
        self.useless, self.useless_count = (0, 0), 0
        now = self.clock.py_now()
        fetch.came(now, fetch.asked.pop(number, now - fetch.trip))
        if self.bytes_per_second:
            fetch.not_before = max(fetch.not_before, now) + len(chunk) * 1_000_000_000 // self.bytes_per_second
        self.go_on()

    def go_on(self) -> None:
        """Ask for the next chunks, or finish."""
        fetch = self.fetch
        assert fetch is not None
        now = self.clock.py_now()
        chunks, missing = fetch.descriptor.chunks, fetch.receiver.missing()
        if missing == chunks:
            self.finish()
            return
        if now < fetch.not_before:
            return
        count = fetch.wanted()
        if count > 0:
            self.ask(count)
            for number in range(fetch.next, fetch.next + count):
                fetch.asked[number] = now
            fetch.next += count

    def ask(self, count: int) -> None:
        """So many chunks are wanted, from the next one on."""
        fetch = self.fetch
        assert fetch is not None
        index, term = fetch.descriptor.index, fetch.descriptor.term
        self.say(self.commands.ask, fetch.source, index, term, fetch.tag, fetch.next, count)
        fetch.said = self.clock.py_now()

    def finish(self) -> None:
        """Everything is here."""
        fetch = self.fetch
        assert fetch is not None
        try:
            fetch.receiver.finish()
        except SnapshotDamaged as error:
            self.give_up(str(error))
            return
        except Exception as error:
            self.give_up(f"it cannot be made durable: {error}", error)
            return
        self.fetch = self.other = None
        self.fetched += 1
        made = fetch.descriptor
        self.say(self.commands.arrived, snapshot_record(made.snapshot()), made.index, made.term)

    def give_up(self, reason: str, error: BaseException | None = None) -> None:
        """The source is lost, or the disk: another offer may be there, and the leader will make one again."""
        fetch, self.fetch = self.fetch, None
        other, self.other = self.other, None
        assert fetch is not None
        fetch.receiver.close()
        self.given_up += 1
        what = (fetch.tag, fetch.source)
        if not fetch.came_any:
            self.useless_count = min(self.useless_count + 1, BACK_OFF) if what == self.useless else 1
            self.useless = what
            self.useless_until = self.clock.py_now() + (self.retry_ns << (self.useless_count - 1))
        if not self.is_short(fetch.descriptor, error):
            self.complain(
                f"gives up fetching the snapshot of entry {fetch.descriptor.index} from {fetch.source}: {reason}",
                None if isinstance(error, StorageError) else error,
            )
        if other is not None:
            self.begin(*other)

    def is_short(self, descriptor: Descriptor, error: BaseException | None) -> bool:
        """Whether the disk lacks what the snapshot needs: it is told once, and tried again with each offer."""
        shortage = shortage_of(error)
        if shortage and not self.shortage():
            report(
                logging.WARNING,
                "node %d: this member needs the snapshot of entry %d (%d bytes) and cannot store it: %s. It stays "
                "behind until there is room in %s, and goes on by itself then",
                *(self.id, descriptor.index, descriptor.stored, error, getattr(self.storage, "path", "its storage")),
            )
        if shortage:
            self.lacks = (shortage, descriptor.index)
        return shortage != ""

    def complain(self, text: str, error: BaseException | None = None) -> None:
        """Log why nothing comes of an offer: offers come again and again, the same reason once a minute."""
        now = self.clock.py_now()
        if text != self.complaint[0] or now - self.complaint[1] >= COMPLAINT_NS:
            self.complaint = (text, now)
            report(logging.WARNING, "node %d: %s", self.id, text, error=error)

    def say(self, method: Any, *given: Any) -> None:
        """Tell the engine; where it has no room, in a later round."""
        if self.unsaid or not method(*given):
            self.unsaid.append((method, *given))

    # --- serving -----------------------------------------------------------------------------------------

    def serve(self, to: int, index: int, term: int, tag: int, first: int, count: int) -> None:
        """Chunks that another member asks for; or the answer that the snapshot is not here."""
        reader = self.reader(index, term, tag)
        if reader is None:
            self.say(self.commands.give, to, index, term, tag, first, None)
            return
        for number in range(first, min(first + min(count, SERVED), reader.descriptor.chunks)):
            try:
                chunk = reader.record(number)
            except Exception as error:
                self.complain(
                    f"cannot serve the snapshot of entry {index}: {error}. Another one is made as soon as something "
                    "more is applied; a start of this member would begin with the one before"
                )
                self.spoiled(index)
                self.readers.pop((index, term))[0].close()
                self.say(self.commands.give, to, index, term, tag, number, None)
                return
            self.served += 1
            self.say(self.commands.give, to, index, term, tag, number, chunk)

    def reader(self, index: int, term: int, tag: int) -> Any:
        """The open file of a snapshot that the storage has, or had when it was asked for first; None without one."""
        place, now = (index, term), self.clock.py_now()
        found, _ = self.readers.pop(place, (None, 0))
        if found is not None and tag_of(found.descriptor) != tag:
            # Another file may have taken its place since.
            found.close()
            found = None
        if found is None:
            try:
                found = self.storage.open_snapshot(index)
            except UsageError:
                return None
            except Exception as error:
                known = isinstance(error, StorageError)
                self.complain(f"cannot serve the snapshot of entry {index}: {error}", None if known else error)
                self.spoiled(index)
                return None
            if (found.index, found.term, tag_of(found.descriptor)) != (index, term, tag):
                found.close()
                return None
        self.readers[place] = (found, now)
        while len(self.readers) > READERS:
            self.readers.popitem(last=False)[1][0].close()
        return found
