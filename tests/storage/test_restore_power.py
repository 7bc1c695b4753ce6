"""The power fails at every single operation while a log takes snapshots of another member, and begins anew behind them.

Received, finished, begun behind, synced, with entries behind it, and on: nothing that was acknowledged is lost, no
entry that was void comes back, and the directory opens.
"""

import random

import pytest

from tests.helpers.implementations import module
from tests.helpers.storages import founded
from tests.helpers.wal import CLUSTER, SMALL, records

FOUNDERS = (1, 2, 3)
PATH = "/data/node"
SIZE = 18_000  # bytes of an entry, and of a state: three entries fill a segment
#: what is done, in this order: ("write", first index, entries, term), or ("restore", index, term, entries behind it)
STEPS = (
    ("write", 1, 3, 1),
    ("restore", 7, 2, 0),  # beyond the end
    ("write", 8, 5, 2),
    ("restore", 9, 3, 1),  # within: what is above it is void, and more than what is written behind it
    ("write", 11, 3, 3),
    ("save", 11, 3, 0),
    ("restore", 12, 3, 1),
    ("write", 14, 5, 3),
    ("save", 15, 3, 0),
    ("save", 17, 3, 0),
    ("write", 19, 4, 3),
)
OPERATIONS_MAX = 400  # most operations of a story; each is cut once


def data(index, term):
    return b"%d of %d" % (index, term) + bytes(SIZE)


def conf(impl, index):
    """The membership at a base: it tells which one it is."""
    return impl.ConfState(voters=FOUNDERS, learners=(100 + index,) if index else ())


class Story:
    """One log through all of that, in as many lives as it takes."""

    def __init__(self, impl, seed, by_rounds):
        self.impl = impl
        self.disk = module(impl, "testing.disk").SimDisk(random.Random(seed))
        self.suite = module(impl, "testing.storage_snapshots")
        self.by_rounds = by_rounds
        #: the next step, and what the log is then: (base, entries, term, newest snapshot)
        self.done = 0
        self.state = (0, {}, 0, 0)
        #: what it may be besides, while a write is under way
        self.perhaps = None
        self.bases = {0}
        #: (index, term) of the snapshot that was received last
        self.offered = (0, 0)
        self.reached = set()

    def descriptor(self, index, term):
        form = module(self.impl, "storage.snapshot_format")
        return form.Descriptor(index, term, conf(self.impl, index), {}, CLUSTER, 1, 0, chunk_bytes=8192)

    def run(self):
        """Open it, look, and go on as far as the disk goes along; whether that was the end."""
        storage = None
        try:
            storage = founded(self.impl, PATH, members=FOUNDERS, segment_bytes=SMALL, disk=self.disk, cluster=CLUSTER)
            self.found(storage, storage.open(1, CLUSTER))
            writer = Rounds(self.impl, storage) if self.by_rounds else Calls(self.impl, storage)
            for kind, index, *rest in STEPS[self.done :]:
                getattr(self, kind)(storage, writer, index, *rest)
                self.done += 1
        except (self.impl.StorageError, OSError):
            assert self.disk.off
            return False
        finally:
            if storage is not None:
                storage.close()
        return not self.disk.off

    def began(self, base, entries, term, snapshot):
        """What the log is to be is under way; the term may be there before."""
        self.perhaps = (base, entries, term, snapshot)

    def ended(self):
        self.state, self.perhaps = self.perhaps, None

    def write(self, storage, writer, first, count, term):
        base, entries, _, snapshot = self.state
        for index in range(first, first + count):
            if entries.get(index, (0,))[0] == term:
                continue  # in a life before
            entries = {each: row for each, row in entries.items() if each < index}
            entries[index] = (term, data(index, term))
            self.began(base, entries, term, snapshot)
            writer.write(self.impl.HardState(term, 2, base), records(self.impl, index, [entries[index]]))
            self.ended()

    def restore(self, storage, writer, index, term, more):
        if self.state[0] >= index:
            return
        descriptor = self.descriptor(index, term)
        self.offered = (index, term)
        made = self.suite.receive(storage, descriptor, data(index, 0))
        self.reached.add("received")
        news = {index + n: (term, data(index + n, term)) for n in range(1, more + 1)}
        # Some more of the old log, in the same write where there are rounds.
        base, entries, old, _ = self.state
        last = max(entries, default=base)
        void = records(self.impl, last + 1, [(old, data(last + 1, 0))])
        self.bases.add(index)
        self.began(index, news, term, index)
        behind = records(self.impl, index + 1, [*news.values()]) if news else b""
        writer.restore(self.impl.HardState(term, 3, index), void, made, behind)
        self.ended()
        with storage.open_snapshot() as reader:
            assert (reader.index, reader.read()) == (index, data(index, 0))

    def save(self, storage, writer, index, term, _):
        base, entries, last, snapshot = self.state
        if snapshot >= index:
            return
        self.began(base, entries, last, index)
        self.bases.add(index)
        made = storage.begin_snapshot(self.descriptor(index, term))
        made.write(data(index, 0))
        made.finish()
        self.ended()

    def found(self, storage, loaded):
        """Hold an opening against what was written."""
        log = module(self.impl, "_core").EntryLog()
        if loaded.base_index:
            log.py_restore(loaded.base_index, loaded.base_term)
        for piece in loaded.records:
            log.py_extend(piece)
        rows = {entry.index: (entry.term, entry.data) for entry in log.entries(log.first, log.last)}
        assert not loaded.hard_state.in_doubt
        assert loaded.base_index in self.bases
        assert loaded.conf_state == conf(self.impl, loaded.base_index)
        newest = loaded.snapshot.index if loaded.snapshot else 0
        if newest:
            assert loaded.snapshot.conf_state == conf(self.impl, newest)
            with storage.open_snapshot() as reader:
                assert reader.read() == data(newest, 0)
        for state in filter(None, (self.state, self.perhaps)):
            base, entries, term, snapshot = state
            # A base that moved with a snapshot of its own is on disk later.
            wanted = {index: row for index, row in entries.items() if index > loaded.base_index}
            # One that was received counts at once where the log has the entry that it was made after.
            if newest == self.offered[0] and entries.get(newest, (0,))[0] == self.offered[1]:
                self.reached.add("within")
                snapshot = newest
            if base <= loaded.base_index and rows == wanted and snapshot == newest:
                if loaded.base_index == base or loaded.base_index in entries:
                    assert loaded.hard_state.term in (self.state[2], term)
                    self.reached.add("before" if state is self.state else "after")
                    self.state, self.perhaps = (base, entries, term, snapshot), None
                    break
        else:
            raise AssertionError((loaded.base_index, sorted(rows), newest, self.state[0], sorted(self.state[1])))
        names = self.disk.files(PATH)
        assert len([name for name in names if name.endswith(".raftx")]) <= 3
        assert not [name for name in names if name.endswith(".new")]


class Calls:
    """Writes by the methods of a storage."""

    def __init__(self, impl, storage):
        self.storage = storage

    def write(self, hard_state, data):
        self.storage.append(hard_state, [data])
        self.storage.sync()

    def restore(self, hard_state, void, made, behind):
        state = type(hard_state)(hard_state.term)
        self.storage.append(state, [void])
        self.storage.begin_behind(made.index, made.term, made.conf_state)
        self.storage.append(hard_state, [behind] if behind else [])
        self.storage.sync()


class Rounds:
    """Writes as the threads of a node do."""

    def __init__(self, impl, storage):
        self.impl, self.wal = impl, storage.wal
        threads, writes = module(impl, "_native.threads"), module(impl, "storage.writes")
        self.queue, self.gauges = writes.WriteQueue(threads.Event()), writes.DiskGauges()
        self.clock = impl.ManualClock()
        self.number = 0
        self.wal.begin_serving(self.queue, self.gauges, threads.Event(), self.clock)

    def put(self, hard_state, *pieces):
        spans = module(self.impl, "_native.memory").Spans()
        for piece in pieces:
            spans.py_push(piece)
        self.number += 1
        self.queue.py_put_write(spans, self.number, hard_state.term, hard_state.vote, hard_state.commit)

    def finish(self):
        while self.gauges.done < self.number:
            self.clock.advance(0.2)
            if not self.wal.py_round():
                raise self.impl.StorageFailed("the log failed")
            self.wal.reserve.py_round()

    def write(self, hard_state, data):
        self.put(hard_state, data)
        self.finish()

    def restore(self, hard_state, void, made, behind):
        record = module(self.impl, "_native.outbox").snapshot_record(made.snapshot())
        self.put(type(hard_state)(hard_state.term), void)
        self.put(hard_state, record, *([behind] if behind else []))
        self.finish()


@pytest.mark.parametrize("by_rounds", [False, True], ids=["by-calls", "by-rounds"])
def test_the_power_may_fail_at_any_operation(impl, by_rounds):
    """During it, and again while what it left is opened; then the log goes on as if nothing had been.

    The operations are the same in both modes: each mode has every second one of them.
    """
    reached = set()
    removed = 0
    for cut in range(1 + impl.COMPILED, OPERATIONS_MAX, 2):
        story = Story(impl, cut, by_rounds)
        story.disk.cut_after(cut)
        done = story.run()
        story.disk.crash()
        story.disk.cut_after(1 + cut % 23)  # in the opening, or soon after
        story.run()
        story.disk.crash()
        story.disk.repair()
        assert story.run()
        story.disk.kill()
        assert story.run()
        assert story.state[0] == 12 and max(story.state[1]) == 22
        removed += story.disk.counts["segments removed"]
        reached |= story.reached
        if done:
            break
    assert done and cut > 150
    assert removed and reached == {"received", "within", "before", "after"}
