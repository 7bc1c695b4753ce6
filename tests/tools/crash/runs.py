"""Scripts that a log and its snapshots go through on a simulated disk, and what was promised at which step.

Each entry, vote and snapshot is made from its numbers, so what is read can be told from anything else. ``SCRIPTS`` has
the runs by name. A run is traced from ``begin`` on: what came before is on disk.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from tests.helpers.implementations import module
from tests.helpers.wal import records

CLUSTER = b"crash-state-test"
PATH = "/data/members/one"
SMALL = 64 << 10
FOUNDERS = (1, 2, 3)
CHUNK = 4096

Rows = dict[int, tuple[int, int]]


class Log(NamedTuple):
    """What a log is at a moment. The bytes of an entry follow from its index, term and size."""

    term: int = 0
    vote: int = 0
    commit: int = 0
    #: by index: term and size
    rows: Rows = {}  # noqa: RUF012 - values only
    #: what it begins behind since it was begun anew, and the term there
    base: int = 0
    base_term: int = 0
    #: the least index that the newest snapshot has: one is promised
    snapshot: int = 0


class Promise(NamedTuple):
    """What holds from a step of the journal on."""

    step: int
    #: Invariant: the log is one of these; the first one was acknowledged, the others were begun
    logs: tuple[Log, ...]
    #: FileStorage.create has returned
    founded: bool
    #: what the log may begin behind, and the least of it
    bases: frozenset[int]
    least: int
    #: every opening that ended had at most this incarnation
    incarnation: int
    #: (index, term) of each snapshot that may be there: made or received, finished or nearly
    snapshots: frozenset[tuple[int, int]]
    #: one was damaged, and an opening puts it aside
    aside: bool = False


def data(index: int, term: int, size: int) -> bytes:
    """The bytes of an entry."""
    return (b"%d of %d;" % (index, term) + bytes([index & 0xFF or 1]) * size)[:size]


def state(index: int, term: int) -> bytes:
    """The bytes of a snapshot: three chunks, of which the last one is short."""
    return random.Random(f"{index} {term}").randbytes(2 * CHUNK + 700)


def conf(impl: ModuleType, index: int) -> Any:
    """The membership at a base: it tells which one it is."""
    return impl.ConfState(voters=FOUNDERS, learners=(100 + index,) if index else ())


def descriptor(impl: ModuleType, index: int, term: int) -> Any:
    """Of the snapshot of that place."""
    form = module(impl, "storage.snapshot_format")
    return form.Descriptor(index, term, conf(impl, index), {}, CLUSTER, 1, 0, chunk_bytes=CHUNK)


class LogFailed(Exception):
    """The log has failed in a round."""


class Run:
    """One log on one disk, through as many lives as its script has."""

    def __init__(self, impl: ModuleType, rounds: bool = False, seed: str = "run", disk: Any = None) -> None:
        self.impl = impl
        #: written by the rounds of a node's threads, or by calls
        self.rounds = rounds
        self.disk = module(impl, "testing.disk").SimDisk(random.Random(seed)) if disk is None else disk
        self.journal: list[Any] = []
        self.disk.platter.journal = self.journal
        self.promises: list[Promise] = [Promise(0, (Log(),), False, frozenset([0]), 0, 0, frozenset())]
        #: the first step that the script is about
        self.first = 0
        self.storage: Any = None
        self.log = Log()
        #: the thread beside the log has one of so many rounds
        self.reserve_every = 1
        self.asked = 0

    # --- what is promised ----------------------------------------------------------------------------

    def promise(self, **changes: Any) -> None:
        """From now on this holds, too."""
        self.promises.append(self.promises[-1]._replace(step=len(self.journal), **changes))

    def began(self, log: Log) -> None:
        """A write of this is under way."""
        self.promise(logs=(*self.promises[-1].logs, log))

    def ended(self) -> None:
        """The newest write is durable."""
        self.log = self.promises[-1].logs[-1]
        self.promise(logs=(self.log,))

    def begin(self) -> None:
        """What follows is what the script is about; what came before is durable."""
        for node in self.disk.platter._nodes():
            if hasattr(node, "writes"):
                node.sync(len(node.writes))
            else:
                node.sync()
        self.first = len(self.journal)

    # --- steps of scripts ----------------------------------------------------------------------------

    def found(self) -> None:
        self.impl.FileStorage.create(PATH, id=1, members=FOUNDERS, cluster=CLUSTER, segment_bytes=SMALL, disk=self.disk)
        self.promise(founded=True)

    def open(self) -> Any:
        self.storage = self.impl.FileStorage(PATH, disk=self.disk)
        loaded = self.storage.open(1, CLUSTER)
        self.promise(incarnation=loaded.incarnation, least=loaded.base_index)
        if self.rounds:
            threads, writes = module(self.impl, "_native.threads"), module(self.impl, "storage.writes")
            self.queue, self.gauges = writes.WriteQueue(threads.Event()), writes.DiskGauges()
            self.clock, self.number = self.impl.ManualClock(), 0
            self.storage.wal.begin_serving(self.queue, self.gauges, threads.Event(), self.clock)
        return loaded

    def start(self) -> None:
        self.found()
        self.open()

    def end(self) -> None:
        self.storage.close()

    def kill(self) -> None:
        self.disk.kill()

    def round(self, count: int = 1) -> None:
        """Rounds of both workers."""
        for _ in range(count):
            self.clock.advance(0.02)
            if not self.storage.wal.py_round():
                raise LogFailed("the log has failed")
            self.asked += 1
            if self.asked % self.reserve_every == 0:
                self.storage.wal.reserve.py_round()

    def idle(self, count: int = 12) -> None:
        """Time passes, if there are rounds."""
        if self.rounds:
            for _ in range(count):
                self.clock.advance(0.2)
                self.round()

    def _write(self, log: Log, pieces: list[Any]) -> None:
        hard_state = self.impl.HardState(log.term, log.vote, log.commit)
        self.began(log)
        if self.rounds:
            spans = module(self.impl, "_native.memory").Spans()
            for piece in pieces:
                spans.py_push(bytes(piece))
            self.number += 1
            assert self.queue.py_put_write(spans, self.number, log.term, log.vote, log.commit)
            while self.gauges.done < self.number:
                self.round()
        else:
            self.storage.append(hard_state, pieces)
            self.storage.sync()
        self.ended()

    def vote(self, term: int, vote: int) -> None:
        self._write(self.log._replace(term=term, vote=vote), [])

    def write(self, first: int, sizes: list[int], term: int | None = None, commit: int | None = None) -> None:
        """Entries from ``first`` on, which replace what is there; one batch."""
        term = self.log.term if term is None else term
        rows = {index: row for index, row in self.log.rows.items() if index < first}
        news = {first + at: (term, size) for at, size in enumerate(sizes)}
        log = self.log._replace(
            term=max(term, self.log.term), rows={**rows, **news}, commit=self.log.commit if commit is None else commit
        )
        items = [(row[0], data(index, *row)) for index, row in news.items()]
        self._write(log, [records(self.impl, first, items)])

    def more(self, count: int, size: int = 9000) -> None:
        """So many entries behind the others, a batch each."""
        for _ in range(count):
            last = max(self.log.rows, default=self.log.base)
            self.write(last + 1, [size], commit=last)

    def compact(self, index: int) -> None:
        self.promise(bases=self.promises[-1].bases | {index})
        self.storage.compact(index, self.log.rows[index][0], conf(self.impl, index))

    def save(self, index: int, between: Callable[[], None] = lambda: None) -> None:
        """A snapshot of this member's own. between: what is done while it is written."""
        term = self.log.rows[index][0]
        last = self.promises[-1]
        self.promise(snapshots=last.snapshots | {(index, term)}, bases=last.bases | {index})
        made = self.storage.begin_snapshot(descriptor(self.impl, index, term))
        for at in range(0, len(state(index, term)), CHUNK):
            made.write(state(index, term)[at : at + CHUNK])
            between()
        made.finish()
        self.log = self.log._replace(snapshot=index)
        self.promise(logs=(self.log,))

    def damage(self, index: int, before: int) -> None:
        """That snapshot is damaged on the platter; the one before it is all that is promised."""
        name = descriptor(self.impl, index, self.log.rows[index][0]).name
        data = bytearray(self.disk.read(f"{PATH}/{name}"))
        data[-10] ^= 1
        content = self.disk.find(Path(PATH) / name)
        content.write(0, bytes(data))
        content.sync(1)
        self.log = self.log._replace(snapshot=before)
        self.promise(logs=(self.log,), aside=True)
        self.first = len(self.journal)

    def source(self, index: int, term: int) -> Any:
        """A whole snapshot of another member, to be read chunk by chunk."""
        folder = module(self.impl, "storage.memory_folder").MemoryFolder()
        snapshots = module(self.impl, "storage.snapshots")
        writer = snapshots.SnapshotWriter(folder, descriptor(self.impl, index, term))
        writer.write(state(index, term))
        return snapshots.SnapshotReader(folder, writer.finish().name)

    def receive(
        self, index: int, term: int, chunks: int | None = None, between: Callable[[], None] = lambda: None
    ) -> None:
        """One of another member, in part or whole. between: what is done while it comes."""
        self.promise(snapshots=self.promises[-1].snapshots | {(index, term)})
        source = self.source(index, term)
        receiver = self.storage.receive_snapshot(source.descriptor)
        for number in range(receiver.missing(), source.descriptor.chunks if chunks is None else chunks):
            receiver.put(number, source.chunk(number))
            between()
        if chunks is None:
            receiver.finish()
        else:
            receiver.close()

    def behind(self, index: int, term: int, sizes: list[int]) -> None:
        """The log begins anew behind one that was received, with entries behind it."""
        made = self.source(index, term).descriptor
        rows = {index + 1 + at: (term, size) for at, size in enumerate(sizes)}
        log = Log(max(term, self.log.term), self.log.vote, index, rows, index, term, index)
        items = [(row[0], data(at, *row)) for at, row in rows.items()]
        self.promise(bases=self.promises[-1].bases | {index})
        # Some more of the old log, which is void with the same write.
        last = max(self.log.rows, default=self.log.base)
        void = records(self.impl, last + 1, [(self.log.term, b"void" * 100)])
        if self.rounds:
            record = module(self.impl, "_native.outbox").snapshot_record(made.snapshot())
            self._write(log, [void, record, *([records(self.impl, index + 1, items)] if items else [])])
            return
        self.storage.append(self.impl.HardState(self.log.term, self.log.vote, self.log.commit), [void])
        self.storage.begin_behind(index, term, made.conf_state)
        self._write(log, [records(self.impl, index + 1, items)] if items else [])


# --- scripts -----------------------------------------------------------------------------------------


def founding(run: Run) -> None:
    """From nothing: the directory, those above it, and the first opening."""
    run.start()
    run.vote(1, 1)
    run.end()


def append(run: Run) -> None:
    """Votes and batches of all sizes in one segment."""
    run.start()
    run.begin()
    run.vote(1, 2)
    run.write(1, [10], term=1)
    run.write(2, [0, 500, 3000], term=1, commit=1)
    run.idle(4)
    run.vote(2, 3)
    run.write(5, [9000], term=2, commit=4)
    run.write(6, [1, 2, 3] * 5, term=2, commit=5)
    run.vote(3, 1)
    run.end()


def replace(run: Run) -> None:
    """A leader replaces what another one had written: suffixes that conflict."""
    run.start()
    run.write(1, [700] * 6, term=1)
    run.begin()
    run.write(4, [2000, 20], term=2, commit=2)
    run.write(5, [6000] * 3, term=3, commit=3)
    run.vote(5, 2)
    run.write(4, [40], term=5, commit=4)
    run.write(5, [5000], term=6, commit=4)
    run.end()


def rotate(run: Run) -> None:
    """Segments are begun, one of them longer for one large batch."""
    run.start()
    run.vote(1, 2)
    run.more(4)
    run.begin()
    run.more(4)
    run.write(9, [150_000], commit=8)
    run.more(2, 30_000)
    run.vote(2, 2)
    run.idle(4)
    run.end()


def recycle(run: Run) -> None:
    """Segments that nobody needs become later ones, filled with zeros."""
    run.start()
    run.vote(1, 2)
    run.more(6, 17_000)
    run.begin()
    for _ in range(6):
        last = max(run.log.rows)
        run.compact(last)
        run.more(3, 17_000)
        run.idle(6)
    run.end()


def recycle_stalling(run: Run) -> None:
    """The same on a disk whose syncs take several rounds: both threads have something under way."""
    run.disk.chances.stall, run.disk.chances.stall_asks = 0.7, 4
    recycle(run)


def recycle_late(run: Run) -> None:
    """The same with a thread beside the log that comes late."""
    run.reserve_every = 4
    run.start()
    run.vote(1, 2)
    run.more(6, 17_000)
    run.begin()
    for _ in range(6):
        run.compact(max(run.log.rows) - 1)
        run.more(3, 17_000)
        run.idle(3)
    run.end()


def compact(run: Run) -> None:
    """Old segments go; the base moves with the headers."""
    run.start()
    run.vote(1, 2)
    run.more(6, 17_000)
    run.begin()
    run.compact(2)
    run.more(2, 17_000)
    run.compact(7)
    run.more(3, 17_000)
    run.vote(2, 3)
    run.compact(10)
    run.more(4, 17_000)
    run.end()


def save(run: Run) -> None:
    """Snapshots of its own, and the log that becomes shorter behind them."""
    run.start()
    run.vote(1, 2)
    run.more(4, 15_000)
    run.begin()
    run.save(2)
    run.more(2, 15_000)
    run.save(5)
    run.more(4, 15_000)
    run.save(8)
    run.more(4, 15_000)
    run.idle()
    run.end()


def receive(run: Run) -> None:
    """A snapshot of another member: in two lives, chunk by chunk, and the log begins anew behind it."""
    run.start()
    run.vote(1, 2)
    run.more(3, 15_000)
    run.begin()
    run.receive(9, 2, chunks=1)
    run.end()
    run.open()
    run.receive(9, 2)
    run.behind(9, 2, [400, 9000])
    run.more(4, 15_000)
    run.receive(17, 3)
    run.behind(17, 3, [])
    run.more(2, 15_000)
    run.end()


def beside(run: Run) -> None:
    """Snapshots are written and received, piece by piece, while the log goes on."""
    run.start()
    run.vote(1, 2)
    run.more(4, 15_000)
    run.save(2)
    run.begin()
    for index in (4, 6, 8):
        run.save(index, between=lambda: run.more(1, 15_000))
    run.receive(20, 2, between=lambda: run.more(1, 9000))
    run.behind(20, 2, [9000])
    run.more(2, 9000)
    run.end()


def within(run: Run) -> None:
    """A snapshot of another member in the middle of what is there: what is above it is void."""
    run.start()
    run.vote(2, 3)
    run.write(1, [3000] * 8, term=2)
    run.save(2)
    run.begin()
    run.receive(5, 2)
    run.behind(5, 2, [100])
    run.write(7, [9000, 9000], term=3, commit=6)
    run.save(7)
    run.more(4, 17_000)
    run.idle()
    run.end()


def restart(run: Run) -> None:
    """Openings of what lives have left: kept and removed segments, a spare one, snapshots, a mark that lags."""
    run.start()
    run.vote(1, 2)
    run.more(6, 17_000)
    run.compact(5)
    run.more(6, 17_000)
    run.save(11)
    run.idle(6)
    run.begin()
    for life in range(3):
        run.kill()
        run.open()
        run.write(13 + life, [300], commit=12)
    run.end()
    run.open()
    run.end()


def aside(run: Run) -> None:
    """The newest snapshot is damaged while nobody runs: an opening puts it aside, and the one before serves."""
    run.start()
    run.vote(1, 2)
    run.more(6, 9000)
    run.save(3)
    run.save(5)
    run.end()
    run.begin()
    run.damage(5, 3)
    run.open()
    run.more(2, 9000)
    run.save(7)
    run.end()
    run.open()
    run.end()


def skipped(run: Run) -> None:
    """Entries are skipped, one after the other; an opening drops those that are before the log."""
    run.start()
    run.vote(1, 2)
    run.more(9, 17_000)
    run.end()
    run.begin()
    skips, founded = module(run.impl, "storage.skips"), module(run.impl, "storage.founding")
    for agreed in ({2: 1}, {2: 1, 7: 1}):
        directory = None
        try:
            directory = run.disk.open_directory(Path(PATH))
            skips.write(directory, founded.read(directory).store, agreed)
        except OSError as error:
            raise run.impl.StorageError(f"cannot skip an entry: {error}") from error
        finally:
            if directory is not None:
                directory.close()
    for base in (3, 8):
        run.open()
        run.compact(base)
        run.more(3, 17_000)
        run.end()
    run.open()
    run.end()


#: by name: the script, and whether it is run by rounds
SCRIPTS: dict[str, tuple[Callable[[Run], None], bool]] = {
    "first boot": (founding, False),
    "append": (append, False),
    "append, by rounds": (append, True),
    "replace": (replace, False),
    "rotate": (rotate, False),
    "rotate, by rounds": (rotate, True),
    "recycle": (recycle, True),
    "recycle, late": (recycle_late, True),
    "recycle, stalling": (recycle_stalling, True),
    "compact": (compact, False),
    "snapshot made": (save, False),
    "snapshot made, by rounds": (save, True),
    "snapshot received": (receive, False),
    "snapshot received, by rounds": (receive, True),
    "snapshots beside the log": (beside, True),
    "snapshot within": (within, True),
    "snapshot put aside": (aside, False),
    "restart": (restart, True),
    "entries skipped": (skipped, False),
}


def traced(impl: ModuleType, name: str) -> Run:
    """One of the scripts, run to its end. Raises what goes wrong."""
    script, rounds = SCRIPTS[name]
    run = Run(impl, rounds, name)
    script(run)
    if run.disk.error is not None:
        raise run.disk.error
    return run


def promises(run: Run) -> Iterator[tuple[int, Promise]]:
    """After how many steps of the journal, and what holds then."""
    at = 0
    for step in range(run.first, len(run.journal) + 1):
        while at + 1 < len(run.promises) and run.promises[at + 1].step <= step:
            at += 1
        if step and run.journal[step - 1].kind == "rename" and run.journal[step - 1].child:
            continue  # the old name goes with the same operation
        yield step, run.promises[at]
