"""The last blocks of a segment: what a full disk leaves room for, and an opening that needs none elsewhere."""

import errno
import random

import pytest

from tests.helpers.implementations import module
from tests.helpers.storages import founded
from tests.helpers.wal import CLUSTER, contents, records

PATH = "/data/node"
SEGMENT = 256 << 10
BLOCK = 4096
KEPT = SEGMENT // 8  # that entries leave
OPENINGS = KEPT // 2 // BLOCK


class Log:
    """A log on a simulated disk that has no room for a second segment; every round is called from here."""

    def __init__(self, impl):
        self.impl = impl
        self.disk = module(impl, "testing.disk").SimDisk(random.Random(1))
        self.clock = impl.ManualClock()
        self.entries = 0
        self.start()
        self.disk.capacity = self.disk.platter.used()

    def made(self):
        return founded(self.impl, PATH, members=[1, 2, 3], segment_bytes=SEGMENT, disk=self.disk, cluster=CLUSTER)

    def start(self):
        """Open it, and look for the next segment."""
        self.storage = self.made()
        loaded = self.storage.open(1, CLUSTER)
        self.wal, self.number = self.storage.wal, 0
        writes, threads = module(self.impl, "storage.writes"), module(self.impl, "_native.threads")
        self.queue, self.gauges = writes.WriteQueue(threads.Event()), writes.DiskGauges()
        self.wal.begin_serving(self.queue, self.gauges, threads.Event(), self.clock)
        return loaded

    def look(self):
        """The reserve tries again, and the writer hears of it."""
        for _ in range(3):
            self.clock.advance(1)
            assert self.wal.py_round() and self.wal.reserve.py_round()

    def put(self, term, size=None):
        """Hand over a hard state, perhaps with an entry; whether it is durable after some rounds."""
        spans = None
        if size is not None:
            self.entries += 1
            spans = module(self.impl, "_native.memory").Spans()
            spans.py_push(records(self.impl, self.entries, [(term, bytes(size))]), self.entries, 1)
        self.number += 1
        self.queue.py_put_write(spans, self.number, term, 0, 0)
        for _ in range(3):
            self.clock.advance(1)
            assert self.wal.py_round() and self.wal.reserve.py_round()
        return self.gauges.done == self.number

    def room(self):
        return self.gauges.py_room()

    def fill(self):
        """Entries until no further one fits."""
        while self.room()[1] >= 3 * BLOCK:
            assert self.put(1, 9000)
        while self.room()[1] >= 2 * BLOCK:
            assert self.put(1, 5000)


def test_it_is_known_before_the_room_is_needed(impl):
    log = Log(impl)
    log.look()
    full, room, last_room = log.room()
    assert full in (errno.ENOSPC, errno.EDQUOT)
    assert room == SEGMENT - 2 * BLOCK - KEPT and last_room == room + KEPT // 2
    assert log.gauges.error == 0 and log.put(1, 9000)
    log.disk.capacity = None
    log.look()
    assert log.room()[0] == 0


def test_votes_go_on_when_entries_do_not_fit_any_more(impl):
    log = Log(impl)
    log.look()
    log.fill()
    term = 1
    while log.room()[2] >= BLOCK:
        term += 1
        assert log.put(term)
    assert term >= KEPT // 2 // BLOCK
    # What fits nowhere waits, and nothing has failed.
    assert not log.put(term + 1)
    assert log.gauges.error == 0
    log.disk.capacity = None
    log.look()
    assert log.gauges.done == log.number and log.wal.segment == 2


@pytest.mark.parametrize("power", [False, True])
def test_it_opens_on_a_full_disk(impl, power):
    """Again and again, as often as there are blocks for it; then it says what is wrong, and nothing is lost."""
    log = Log(impl)
    log.look()
    log.fill()
    term = 2
    while log.room()[2] >= BLOCK:
        assert log.put(term)
        term += 1
    for _ in range(OPENINGS):
        log.disk.crash() if power else log.disk.kill()
        loaded = log.start()
        assert len(contents(impl, loaded)) == log.entries and loaded.hard_state.term == term - 1
        # Nobody has tried to make the next segment, but it will be needed: no proposals yet.
        assert log.room()[0] == errno.EAGAIN
        log.look()
        assert log.room()[0] in (errno.ENOSPC, errno.EDQUOT)
    log.disk.kill()
    with pytest.raises(impl.StorageFailed, match=r"new segment failed.*[Mm]ake room on the disk"):
        log.made().open(1, CLUSTER)
    log.disk.capacity = None
    log.disk.kill()
    assert len(contents(impl, log.start())) == log.entries


def test_a_large_batch_leaves_room_for_openings_behind_it(impl):
    log = Log(impl)
    log.disk.capacity = log.disk.platter.used() + 3 * SEGMENT + 3 * BLOCK + KEPT
    assert log.put(1, 3 * SEGMENT) and log.wal.segment == 2
    for _ in range(OPENINGS):
        log.disk.kill()
        assert len(contents(impl, log.start())) == 1


def test_a_stop_does_not_wait_for_room(impl):
    """What could not be written was not acknowledged."""
    log = Log(impl)
    log.look()
    log.fill()
    held = log.entries
    assert not log.put(1, 9000)
    log.queue.py_end()
    log.clock.advance(1)
    assert not log.wal.py_round()
    log.storage.close()
    log.disk.kill()
    assert len(contents(impl, log.start())) == held
