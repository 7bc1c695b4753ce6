"""The log on a disk that loses power, stalls, fills up and fails: what was acknowledged is there, whatever happened."""

import errno
import random
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from tests.helpers.implementations import IMPLEMENTATIONS, module
from tests.helpers.lives import PATH, live_through
from tests.helpers.storages import founded
from tests.helpers.wal import CLUSTER, SMALL, contents, records

# Seeds of each mode in one run of the tests.
SEEDS = {"compiled": 300, "pure": 120}
# What so many seeds must have led to; else they prove nothing.
REACHED = (
    "bases that moved",
    "clean ends",
    "damage: harmless",
    "damage: in doubt",
    "damage: refused",
    "disk: crashes",
    "disk: cuts",
    "disk: failures",
    "disk: full",
    "disk: kills",
    "disk: lengths lost",
    "disk: names lost",
    "disk: segments removed",
    "disk: shortages",
    "disk: stalls",
    "disk: writes kept",
    "disk: writes lost",
    "disk: writes torn",
    "failures",
    "foundings that failed",
    "openings behind removed segments",
    "openings that failed",
    "openings without a segment that failed",
    "removed segments that came back",
    "repaired",
    "repaired segment header",
    "rotations",
    "rounds that could not finish",
    "rounds that waited for the reserve",
    "rows found that nobody was told of",
    "rows lost",
    "shortages waited out",
)


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_in_any_life(impl: ModuleType) -> None:
    """Random lives: batches, rotations, shortages, stalls, failures; stops, kills and power cuts; damage at the end.

    Each opening finds what was acknowledged, and nothing that was never handed over; a torn tail is mended and damage
    is not.
    """
    reached: Counter[str] = Counter()
    for seed in range(SEEDS["compiled" if impl.COMPILED else "pure"]):
        try:
            live_through(impl, seed, reached)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert [what for what in REACHED if not reached[what]] == []


@pytest.mark.once
def test_both_modes_live_the_same_lives() -> None:
    """The same seed: the same faults, the same bytes, the same answers."""
    if len(IMPLEMENTATIONS) < 2:
        pytest.skip("one mode only in this run")
    one, other = IMPLEMENTATIONS.values()
    for seed in range(1000, 1060):
        assert live_through(one, seed, Counter()) == live_through(other, seed, Counter())


class Stepped:
    """A FileStorage on a simulated disk, and the queue of an engine: every round is called from here."""

    def __init__(self, impl, **settings):
        self.impl = impl
        system, self.protocol = module(impl, "_native.threads"), module(impl, "storage.protocol")
        self.disk = module(impl, "testing.disk").SimDisk(random.Random(1))
        self.clock = impl.ManualClock()
        self.storage = self.made()
        self.storage.open(1, CLUSTER)
        self.wal = self.storage.wal
        writes = module(impl, "storage.writes")
        self.queue, self.gauges = writes.WriteQueue(system.Event()), writes.DiskGauges()
        self.wal.begin_serving(self.queue, self.gauges, system.Event(), self.clock)
        self.number = 0

    def made(self):
        return founded(self.impl, PATH, members=[1, 2, 3], segment_bytes=SMALL, disk=self.disk, cluster=CLUSTER)

    def put(self, size=9000):
        """Hand one entry over; its number."""
        self.number += 1
        spans = module(self.impl, "_native.memory").Spans()
        spans.py_push(records(self.impl, self.number, [(1, bytes(size))]), self.number, 1)
        self.queue.py_put_write(spans, self.number, 1, 0, 0)
        return self.number

    @property
    def done(self):
        return self.gauges.done

    @property
    def shortage(self):
        return self.gauges.shortage

    def fill(self):
        """Write until the next entry does not fit into the segment, whose successor is not made."""
        while self.wal.py_room(12288) >= 12288:
            number = self.put()
            assert self.wal.py_round()
            assert self.done == number

    def reopened(self):
        """The entries that another process finds."""
        storage = self.made()
        loaded = storage.open(1, CLUSTER)
        found = contents(self.impl, loaded)
        assert not storage.doubt
        storage.close()
        return found


def test_a_sync_that_stalls_does_not_hold_up_the_round(impl):
    """The round returns; what comes meanwhile waits in the queue and is the next batch."""
    stepped = Stepped(impl)
    stepped.disk.freeze()
    first = stepped.put(100)
    for _ in range(20):
        assert stepped.wal.py_round()
    second, third = stepped.put(100), stepped.put(100)
    assert stepped.wal.py_round()
    assert stepped.done == 0 and stepped.queue.py_waiting()
    stepped.disk.thaw()
    while stepped.done == 0:
        assert stepped.wal.py_round()
    assert stepped.done == first
    batches = stepped.wal.batches
    assert stepped.wal.py_round()
    assert stepped.done == third > second and stepped.wal.batches == batches + 1
    stepped.disk.crash()
    assert len(stepped.reopened()) == 3


def test_a_shortage_is_remembered_and_tried_again_when_it_is_time(impl):
    """Not sooner, and nothing is taken from the queue meanwhile."""
    stepped = Stepped(impl)
    stepped.disk.fail("write", errno.ENOMEM)
    first = stepped.put(100)
    assert stepped.wal.py_round()
    assert stepped.shortage == errno.ENOMEM
    stepped.put(100)
    stepped.clock.advance(0.099)
    writes = stepped.disk.counts["write"]
    assert stepped.wal.py_round()
    assert stepped.disk.counts["write"] == writes
    stepped.clock.advance(0.001)
    assert stepped.wal.py_round()
    assert stepped.disk.counts["write"] == writes + 1 and stepped.shortage and not stepped.done
    stepped.disk.repair()
    assert stepped.wal.py_round() and not stepped.done
    stepped.clock.advance(0.1)
    assert stepped.wal.py_round()
    assert stepped.done == first and stepped.shortage == 0
    assert stepped.wal.py_round() and stepped.done == first + 1
    stepped.disk.crash()
    assert len(stepped.reopened()) == 2


def test_a_stop_ends_a_shortage_at_once(impl):
    stepped = Stepped(impl)
    stepped.disk.fail("write", errno.ENOMEM)
    stepped.put(100)
    assert stepped.wal.py_round()
    stepped.queue.py_end()
    assert not stepped.wal.py_round()
    assert stepped.gauges.error == 1 << 32 | errno.ENOMEM


def test_a_stop_waits_for_a_disk_that_stalls(impl):
    """What was begun is finished, the mark is synced, and then the last round says so."""
    stepped = Stepped(impl)
    stepped.disk.freeze()
    number = stepped.put(100)
    stepped.queue.py_end()
    for _ in range(10):
        assert stepped.wal.py_round()
    stepped.disk.thaw()
    rounds = 0
    while stepped.wal.py_round():
        rounds += 1
    assert rounds < 20 and stepped.done == number and not stepped.wal.unsettled
    assert stepped.gauges.error == 0


def test_a_segment_that_is_being_made_is_not_waited_for(impl):
    """The writer's rounds return while the reserve's disk stalls, and go on when it has finished."""
    stepped = Stepped(impl)
    stepped.clock.advance(1)
    assert stepped.wal.py_round()  # asks for the next segment
    stepped.fill()
    stepped.disk.freeze()
    assert stepped.wal.reserve.py_round()
    assert stepped.wal.reserve.py_state() == stepped.protocol.RESERVE_MAKING
    number = stepped.put()
    for _ in range(5):
        assert stepped.wal.py_round()
        assert stepped.wal.reserve.py_round()
    assert stepped.wal.segment == 1 and stepped.done == number - 1
    stepped.disk.thaw()
    for _ in range(20):
        assert stepped.wal.reserve.py_round()
        assert stepped.wal.py_round()
    assert stepped.wal.segment == 2 and stepped.done == number
    # It was made once, by the reserve; and so was the one after it.
    assert stepped.disk.counts["create"] == 3
    stepped.disk.crash()
    assert len(stepped.reopened()) == number


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_no_failure(impl, code):
    stepped = Stepped(impl)
    stepped.disk.fail("create", code)
    stepped.clock.advance(1)
    assert stepped.wal.py_round()
    assert stepped.wal.reserve.py_round()
    stepped.clock.advance(1)
    assert stepped.wal.py_round()
    assert stepped.shortage == code
    stepped.fill()
    durable = stepped.done
    assert stepped.gauges.py_room()[0] == code
    stepped.put()
    for _ in range(5):
        stepped.clock.advance(1)
        assert stepped.wal.py_round() and stepped.wal.reserve.py_round()
    assert stepped.gauges.error == 0 and stepped.done == durable
    stepped.disk.repair()
    stepped.clock.advance(1)
    assert stepped.wal.py_round()
    assert stepped.done == durable + 1 and stepped.gauges.py_room()[0] == 0
    stepped.disk.crash()
    assert len(stepped.reopened()) == durable + 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.EFBIG])
def test_a_new_log_says_why_it_cannot_be_begun(impl, code):
    """Nothing was replaced or deleted: there is no file yet that could have been. The next start tries again."""
    disk = module(impl, "testing.disk").SimDisk(random.Random(1))
    disk.fail("create", code)
    storage = founded(impl, "/data/node", members=[1], segment_bytes=SMALL, disk=disk, cluster=CLUSTER)
    with pytest.raises(impl.StorageFailed, match=rf"the log's new segment failed: \[Errno {code}\]"):
        storage.open(1, CLUSTER)
    disk.repair()
    assert storage.open(1, CLUSTER).incarnation == 1
    storage.close()


def test_a_failed_sync_is_final(impl):
    """Also when a later one would succeed, and when it says that something is short."""
    for code in (errno.EIO, errno.ENOMEM):
        stepped = Stepped(impl)
        stepped.disk.fail("sync", code, times=1)
        stepped.put()
        assert not stepped.wal.py_round()
        assert stepped.gauges.error == 2 << 32 | code
        stepped.put()
        assert not stepped.wal.py_round()
        assert stepped.done == 0


def test_a_directory_of_another_process_is_refused_and_free_after_its_end(impl):
    stepped = Stepped(impl)
    with pytest.raises(impl.WrongDirectory, match="in use"):
        stepped.reopened()
    stepped.disk.kill()
    assert stepped.reopened() == []
    # What the dead process still has does nothing any more.
    stepped.put()
    assert not stepped.wal.py_round()
    assert stepped.gauges.error >> 32 in (1, 6)
    stepped.storage.close()
    assert stepped.reopened() == []


def test_what_was_not_synced_is_there_after_a_kill_and_not_after_every_power_cut(impl):
    """The model itself: a kill loses nothing, a power cut keeps, loses and tears."""
    sim = module(impl, "testing.disk")
    memory = module(impl, "_native.memory")
    seen = set()
    for seed in range(60):
        disk = sim.SimDisk(random.Random(seed))
        disk.make_directory(Path("/d"), 0o700)
        disk.sync_directory(Path("/"))
        directory = disk.open_directory(Path("/d"))
        file = directory.open_file("f", create=True)
        buffer = memory.Buffer()
        buffer.py_put(b"x" * 2048)
        assert file.py_write_at(buffer, 0, 2048, 0) == 0
        assert file.py_sync_new(directory) == 0
        other = memory.Buffer()
        other.py_put(b"y" * 1024)
        assert file.py_write_at(other, 0, 1024, 512) == 0
        disk.kill()
        assert disk.read("/d/f") == b"x" * 512 + b"y" * 1024 + b"x" * 512
        assert file.py_write_at(other, 0, 1024, 0) == -errno.EBADF
        disk.crash()
        data = disk.read("/d/f")
        assert data[:512] == data[1536:] == b"x" * 512
        seen.add((data[512:513], data[1024:1025]))
        assert data[512:1024] == data[512:513] * 512 and data[1024:1536] == data[1024:1025] * 512
        directory = disk.open_directory(Path("/d"))
        assert directory.open_file("f").size() == 2048
        directory.rename("f", "g")
        disk.crash()
        seen.add(tuple(disk.files("/d")))
    assert {(b"x", b"x"), (b"x", b"y"), (b"y", b"x"), (b"y", b"y")} <= seen
    assert {("f",), ("g",)} <= seen
