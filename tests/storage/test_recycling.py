"""Segments that are not needed any more become later ones, filled with zeros ahead.

In rounds, as the threads of a node do it.
"""

import errno
import random

import pytest

from tests.helpers.implementations import module
from tests.helpers.storages import founded
from tests.helpers.wal import CLUSTER, SMALL, records

PATH = "/node"
FOUNDERS = (1, 2, 3)
SPARE = "wal.spare"


def segment_name(number):
    return f"wal-{number:016x}.log"


class Served:
    """A log on a simulated disk, served round by round."""

    def __init__(self, impl, seed=1):
        self.impl = impl
        self.disk = module(impl, "testing.disk").SimDisk(random.Random(seed))
        self.number = self.index = 0
        self.open()

    def open(self):
        system, writes = module(self.impl, "_native.threads"), module(self.impl, "storage.writes")
        self.storage = founded(self.impl, PATH, members=FOUNDERS, segment_bytes=SMALL, disk=self.disk, cluster=CLUSTER)
        self.loaded = self.storage.open(1, CLUSTER)
        self.clock, self.wal, self.number = self.impl.ManualClock(), self.storage.wal, 0
        self.reserve = self.wal.reserve
        self.queue, self.gauges = writes.WriteQueue(system.Event()), writes.DiskGauges()
        self.wal.begin_serving(self.queue, self.gauges, system.Event(), self.clock)

    def put(self, size=9000):
        """One entry."""
        self.index += 1
        self.number += 1
        spans = module(self.impl, "_native.memory").Spans()
        spans.py_push(records(self.impl, self.index, [(1, bytes([self.index % 251]) * size)]), self.index, 1)
        assert self.queue.py_put_write(spans, self.number, 1, 2, self.index)

    def round(self):
        """A round of each worker; False after a failure."""
        self.clock.advance(0.2)
        goes_on = self.wal.py_round()
        self.reserve.py_round()
        return goes_on

    def write(self, size=9000):
        """One entry, durable."""
        self.put(size)
        while self.gauges.done < self.number:
            assert self.round()

    def until_segment(self, number):
        """Write until that segment is begun and what is due is done."""
        while self.wal.segment < number:
            self.write()
        for _ in range(12):
            assert self.round()

    def compact(self):
        """Nothing that is there is needed any more."""
        self.storage.compact(self.index, 1, self.impl.ConfState(voters=FOUNDERS))

    def impl_state(self, name):
        return getattr(module(self.impl, "storage.protocol"), name)

    def identity(self, name):
        return self.disk.find(module(self.impl, "storage.disk").Path(PATH, name))


@pytest.fixture
def served(impl):
    return Served(impl)


def test_a_segment_that_nobody_needs_becomes_a_later_one(served, impl):
    """Under another name, and without a byte of what it held."""
    served.until_segment(2)
    first = served.identity(segment_name(1))
    served.compact()
    served.until_segment(3)
    # It waits under a name of its own, filled with zeros, while the fourth segment was made anew.
    assert served.identity(SPARE) is first
    assert not any(served.disk.read(f"{PATH}/{SPARE}")) and len(served.disk.read(f"{PATH}/{SPARE}")) == SMALL
    assert segment_name(1) not in served.disk.files(PATH)
    served.until_segment(4)
    assert served.identity(segment_name(5)) is first
    assert not any(served.disk.read(f"{PATH}/{segment_name(5)}"))
    created = served.disk.counts["create"]
    for number in range(5, 12):
        served.compact()
        served.until_segment(number)
    # A rotation makes no file any more. One that was made ahead may be missing a spare once.
    assert served.disk.counts["create"] - created <= 1
    assert served.disk.counts["segments used again"] >= 6
    served.storage.close()
    served.open()
    assert served.loaded.hard_state.commit == served.index
    assert not served.storage.doubt and served.storage.repaired is None


def test_zeros_are_written_ahead_when_the_segment_is_half_full(served):
    """So the writer syncs data alone; and a segment that is needed earlier is taken as it is."""
    while served.reserve.py_state() != served.impl_state("RESERVE_READY"):
        served.round()
    assert served.reserve.filled == 0
    while served.wal.write_offset < SMALL // 2:
        served.write()
    for _ in range(3):
        served.round()
    assert served.reserve.filled == SMALL
    zeroes = served.disk.counts["write"]
    served.until_segment(2)
    assert served.wal.zeroed_to == SMALL
    # Header, batch and mark; no zeros behind them.
    before = served.disk.counts["write"]
    served.write(100)
    assert served.disk.counts["write"] - before == 2 and zeroes


def test_what_was_set_aside_is_removed_at_an_opening(served):
    """Nobody knows how far it was filled."""
    served.until_segment(2)
    served.compact()
    served.until_segment(3)
    assert SPARE in served.disk.files(PATH)
    served.disk.kill()
    served.open()
    assert SPARE not in served.disk.files(PATH)
    assert served.loaded.hard_state.commit == served.index


def test_a_longer_segment_is_removed(served):
    """One that a large batch has made longer does not have the usual length."""
    served.write(3 * SMALL)
    served.write()
    assert len(served.disk.read(f"{PATH}/{segment_name(2)}")) > SMALL
    served.compact()
    served.until_segment(4)
    assert segment_name(2) not in served.disk.files(PATH)
    assert all(len(served.disk.read(f"{PATH}/{name}")) == SMALL for name in served.disk.files(PATH) if "log" in name)


@pytest.mark.parametrize("operation", ["write", "sync", "sync names"])
def test_a_disk_that_fails_while_a_segment_is_prepared(served, operation):
    """It is a failure of the disk, though nothing of the log was in that file."""
    served.until_segment(2)
    served.compact()
    served.disk.fail(operation, errno.EIO, name="" if operation == "sync names" else SPARE)
    served.put()
    for _ in range(40):
        if not served.round():
            break
        if served.gauges.done == served.number:
            served.put()
    assert served.gauges.error & 0xFFFFFFFF == errno.EIO


def test_without_room_for_zeros_there_is_no_spare_segment(served):
    """Some file systems give room only when something is written: the log goes on with segments that are new."""
    served.until_segment(2)
    served.compact()
    served.disk.fail("write", errno.ENOSPC, name=SPARE)
    served.until_segment(3)
    assert SPARE not in served.disk.files(PATH)
    assert served.disk.counts["spares removed"] == 1
    served.disk.fail("write", errno.ENOSPC, name=segment_name(5), times=1)
    served.until_segment(6)
    assert served.gauges.error == 0


def test_a_name_that_is_taken_is_not_replaced(served):
    """What has the name of the next segment stays as it is; the log ends, as without a spare segment."""
    served.until_segment(2)
    served.compact()
    served.until_segment(3)
    served.disk.find(module(served.impl, "storage.disk").Path(PATH)).names[segment_name(5)] = served.identity(
        "wal.mark"
    )
    served.put()
    for _ in range(60):
        if not served.round():
            break
        if served.gauges.done == served.number:
            served.put()
    assert served.gauges.error & 0xFFFFFFFF == errno.EEXIST
    assert served.identity(segment_name(5)) is served.identity("wal.mark")


def test_the_writer_waits_for_a_piece_of_zeros(served):
    """The loop is at it, and the disk stalls: the batch waits, and goes on when it is told so."""
    while served.reserve.py_state() != served.impl_state("RESERVE_READY"):
        served.round()
    while served.wal.write_offset < SMALL // 2:
        served.put()
        while served.gauges.done < served.number:
            assert served.wal.py_round()
    served.disk.freeze()
    served.reserve.py_round()
    assert served.reserve.py_state() == served.impl_state("RESERVE_MAKING") and served.reserve.filled == 0
    served.put(SMALL - served.wal.write_offset)  # does not fit
    for _ in range(3):
        assert served.round()
    assert served.wal.segment == 1 and served.gauges.done == served.number - 1
    served.disk.thaw()
    while served.gauges.done < served.number:
        assert served.round()
    assert served.wal.segment == 2 and served.wal.zeroed_to == SMALL
