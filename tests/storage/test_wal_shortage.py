"""Shortages: descriptors, memory and room that are not there for a while. The log waits, says so, and loses nothing."""

import errno
import gc
import logging
import os
import resource
import subprocess
import sys
import time

import pytest

from tests.helpers.cluster import Machine
from tests.helpers.implementations import IMPLEMENTATIONS, module, structures
from tests.helpers.paths import ROOT
from tests.helpers.storages import founded
from tests.helpers.waiting import WAIT, eventually
from tests.helpers.wal import CLUSTER, SMALL, contents, opened, records, segment, serving


class Served:
    """A FileStorage with the wal's thread, as a node has it."""

    def __init__(self, impl, path):
        system, self.core, self.protocol = (
            module(impl, "_native.threads"),
            structures(impl),
            module(impl, "storage.protocol"),
        )
        self.impl = impl
        self.storage, _ = opened(impl, path)
        writes = module(impl, "storage.writes")
        self.queue, self.gauges = writes.WriteQueue(system.Event()), writes.DiskGauges()
        self.event = system.Event()
        self.number = 0
        self.threads = serving(self.impl, self.storage, self.queue, self.gauges, self.event)

    def put(self, size=9000):
        """Hand one entry over; its number."""
        self.number += 1
        spans = self.core.Spans()
        spans.py_push(records(self.impl, self.number, [(1, bytes(size))]), self.number, 1)
        self.queue.py_put_write(spans, self.number, 1, 0, 0)
        return self.number

    def is_durable(self, number):
        return self.gauges.done >= number

    def write(self, size=9000):
        """One entry, durable."""
        number = self.put(size)
        eventually(lambda: self.is_durable(number) or self.gauges.error)
        assert self.is_durable(number), self.gauges.error

    @property
    def shortage(self):
        return self.gauges.shortage

    def reserved(self):
        """Wait for the next segment."""
        eventually(lambda: self.storage.wal.reserve.py_state() == self.protocol.RESERVE_READY)

    def filled(self):
        """Write until zeros were written into the next segment: what follows there is the header."""
        self.reserved()
        wal = self.storage.wal
        while wal.write_offset < wal.size // 2:
            self.write()
        eventually(lambda: wal.reserve.filled == SMALL)
        self.reserved()

    def close(self):
        self.queue.py_end()
        for thread in self.threads:
            thread.join(WAIT)
            assert not thread.is_alive()
        self.storage.close()


@pytest.fixture
def served(impl, tmp_path):
    made = Served(impl, tmp_path / "n")
    yield made
    made.close()


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_the_next_segment_is_there_before_it_is_needed(served, tmp_path):
    """Made, reserved and durable on another thread: what is short at the rotation does not matter."""
    served.filled()
    assert segment(tmp_path / "n", 2).stat().st_size == SMALL
    assert not any(segment(tmp_path / "n", 2).read_bytes())
    # From now on no file can be made.
    served.storage.wal.reserve.file.fail_errno = errno.EMFILE
    served.storage.wal.reserve.file.fail_after = 2  # the header and its sync
    while served.storage.wal.segment == 1:
        served.write()
    served.write()
    assert served.storage.wal.segment == 2
    assert served.storage.wal.zeroed_to == SMALL
    served.storage.wal.reserve.file.fail_after = -1


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN])
def test_what_is_short_at_a_rotation_is_waited_out(served, impl, tmp_path, caplog, number):
    """No descriptor, say: acknowledgements wait, nothing fails, and it is said once, and once that it is over."""
    reserve = served.storage.wal.reserve
    served.filled()
    reserve.file.fail_errno = number
    reserve.file.fail_after = 1  # the header of the segment that is there
    while served.storage.wal.segment == 1:
        served.write()
    eventually(lambda: served.shortage == number)
    eventually(lambda: len(warnings(caplog)) == 1)
    assert os.strerror(number) in warnings(caplog)[0]
    # While the segment has room, nobody notices.
    while served.storage.wal.py_room(12288) >= 12288:
        served.write()
    assert not segment(tmp_path / "n", 3).exists()
    waiting = served.put()
    time.sleep(0.5)
    assert not served.is_durable(waiting) and all(thread.is_alive() for thread in served.threads)
    assert served.gauges.error == 0
    assert len(warnings(caplog)) == 1
    reserve.file.fail_after = -1
    eventually(lambda: served.is_durable(waiting))
    eventually(lambda: served.shortage == 0)
    eventually(lambda: len(warnings(caplog)) == 2)
    assert "over" in warnings(caplog)[1]
    served.write()
    served.close()
    storage, loaded = opened(impl, tmp_path / "n")
    assert len(contents(impl, loaded)) == served.number and not storage.doubt
    storage.close()


@pytest.mark.parametrize("which", ["file", "mark"])
def test_what_is_short_in_a_write_is_waited_out(served, which):
    """Nothing was promised about it yet, so the same bytes are written to the same place again."""
    file = getattr(served.storage.wal, which)
    served.write()
    # A sync of the mark must not meet the fault: that would be a failure.
    eventually(lambda: not served.storage.wal.unsettled)
    file.fail_errno = errno.ENOMEM
    file.fail_after = 0
    waiting = served.put()
    eventually(lambda: served.shortage == errno.ENOMEM)
    assert not served.is_durable(waiting)
    file.fail_after = -1
    eventually(lambda: served.is_durable(waiting))
    assert served.shortage == 0


def test_a_sync_that_fails_is_never_waited_out(served):
    """Whatever it says: after it nobody knows what is on the disk."""
    served.write(100)
    served.storage.wal.file.fail_errno = errno.ENOMEM
    served.storage.wal.file.fail_after = 1  # the write
    served.put(100)
    eventually(lambda: served.gauges.error)
    assert served.gauges.error == 2 << 32 | errno.ENOMEM


def test_a_full_disk_is_waited_out_when_the_room_is_needed(served, impl, tmp_path, caplog):
    """Nothing fails: the batch waits for the next segment, and is durable once there is room."""
    reserve = served.storage.wal.reserve
    served.filled()
    reserve.file.fail_errno = errno.ENOSPC
    reserve.file.fail_after = 1
    while served.storage.wal.segment == 1:
        served.write()
    eventually(lambda: served.shortage == errno.ENOSPC)
    while served.storage.wal.py_room(12288) >= 12288:
        served.write()
    durable = served.number
    assert served.gauges.error == 0
    eventually(lambda: any("No space left" in text for text in warnings(caplog)))
    assert served.gauges.py_room()[0] == errno.ENOSPC
    waiting = served.put()
    time.sleep(0.3)
    assert not served.is_durable(waiting) and served.gauges.error == 0
    reserve.file.fail_after = -1
    eventually(lambda: served.is_durable(waiting))
    eventually(lambda: any("there is room again" in text for text in warnings(caplog)))
    assert len(warnings(caplog)) == 2 and served.gauges.py_room()[0] == 0
    served.close()
    storage, loaded = opened(impl, tmp_path / "n")
    assert len(contents(impl, loaded)) == durable + 1
    storage.close()


@pytest.mark.parametrize("good", [0, 1])
def test_a_disk_that_fails_while_the_next_segment_is_made(served, good):
    """A failed sync is one, whoever asked for it: the node ends at once, not at the rotation."""
    served.filled()
    served.storage.wal.reserve.file.fail_errno = errno.EIO
    served.storage.wal.reserve.file.fail_after = 1 + good
    while served.storage.wal.segment == 1 and not served.gauges.error:
        number = served.put()
        eventually(lambda number=number: served.is_durable(number) or served.gauges.error)
    eventually(lambda: served.gauges.error)
    assert served.gauges.error == 4 << 32 | errno.EIO


def test_a_stop_does_not_wait_for_what_is_short(served):
    reserve = served.storage.wal.reserve
    served.reserved()
    reserve.file.fail_errno = errno.EMFILE
    reserve.file.fail_after = 0
    for _ in range(8):
        served.put()
    eventually(lambda: served.shortage == errno.EMFILE)
    began = time.monotonic()
    served.close()
    assert time.monotonic() - began < WAIT / 2


def test_a_batch_that_is_larger_than_the_segment_in_reserve(served, impl, tmp_path):
    served.reserved()
    served.write(3 * SMALL)
    assert served.storage.wal.segment == 2 and segment(tmp_path / "n", 2).stat().st_size > 3 * SMALL
    served.write()
    served.close()
    storage, loaded = opened(impl, tmp_path / "n")
    assert len(contents(impl, loaded)) == 2
    storage.close()


def test_a_new_segment_without_a_thread_is_made_when_it_is_needed(impl, tmp_path):
    """A storage that no node uses. What is short is an error there: nobody could wait for it."""
    storage, _ = opened(impl, tmp_path / "n")
    storage.wal.reserve.file.fail_errno = errno.EMFILE
    storage.wal.reserve.file.fail_after = 0
    with pytest.raises(impl.StorageFailed, match=r"new segment.*Too many open files"):
        for index in range(1, 20):
            storage.append(impl.HardState(1, 0, 0), [records(impl, index, [(1, bytes(9000))])])
            storage.sync()
    assert index >= 5
    storage.close()


LIMITED = """
import resource, sys, time
import raftx
from raftx.storage.protocol import RESERVE_READY
class Machine:
    def apply(self, entry): return entry.index
storage = raftx.FileStorage.create(sys.argv[1], id=1, members=[1], segment_bytes=1 << 16)
node = raftx.Node(raftx.Config(id=1, tick_ms=10), storage, raftx.MemoryNetwork().transport(), Machine()).start()
next(change for change in node.state_changes if change.leader)
def wait(condition):
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until and node.failure is None, node.failure
        time.sleep(0.01)
wait(lambda: storage.wal.reserve.py_state() == RESERVE_READY)
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))   # what is open stays so, nothing more can be opened
first = storage.wal.segment
while storage.wal.segment == first:         # the one in reserve
    node.propose(bytes(9000)).result(timeout=20)
wait(lambda: node.status().disk.shortage == "EMFILE")
future = node.propose(bytes(9000))
while storage.wal.py_room(12288) >= 12288:
    future = node.propose(bytes(9000))
    future.result(timeout=20)
future = node.propose(bytes(9000))
time.sleep(0.5)
assert not future.done() and node.failure is None
resource.setrlimit(resource.RLIMIT_NOFILE, limits)
print(future.result(timeout=20).index)
wait(lambda: node.status().disk.shortage == "")
node.close()
"""


def test_a_process_without_descriptors_at_a_rotation(impl, tmp_path):
    """A thousand connections, or an application that leaks: the node went down at the next segment, and so did all."""

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LIMITED, str(tmp_path / "n")],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, "RAFTX_PURE": "" if impl.COMPILED else "1"},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 8


def test_an_open_without_descriptors_is_an_error_and_releases_everything(impl, tmp_path):
    """At each place of the open: with so many descriptors free, and then with all of them."""
    path = tmp_path / "n"
    storage, _ = opened(impl, path)
    for index in range(1, 12):
        storage.append(impl.HardState(1, 0, 0), [records(impl, index, [(1, bytes(9000))])])
        storage.sync()
    storage.close()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    refused = 0
    gc.collect()  # what earlier tests have left must not disappear between two counts
    for free in range(12):
        held = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[0], 256), before[1]))
        try:
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        try:
            for _ in range(free):
                os.close(held.pop())
            count = len(os.listdir("/proc/self/fd")) if free else 0
            storage = impl.FileStorage(path, segment_bytes=SMALL)
            try:
                storage.open(1, CLUSTER)
            except impl.StorageError as error:
                refused += "[Errno 24]" in str(error)
            storage.close()
            assert not free or len(os.listdir("/proc/self/fd")) == count
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            for fd in held:
                os.close(fd)
    assert 1 <= refused < 12
    storage, loaded = opened(impl, path)
    assert len(contents(impl, loaded)) == 11
    storage.close()


@pytest.mark.once
def test_status_names_what_is_short(tmp_path):
    """Of a node: the name of the error, and nothing when nothing is short."""
    impl = IMPLEMENTATIONS["pure"]
    storage = founded(impl, tmp_path / "n", members=[1], segment_bytes=SMALL)
    config = impl.Config(id=1, tick_ms=10, seed=1)
    with impl.Node(config, storage, impl.MemoryNetwork().transport(), Machine()) as node:
        eventually(lambda: node.is_leader)
        # Once this is there, nothing is being written.
        node.propose(b"first").result(timeout=WAIT)
        assert node.status().disk.shortage == ""
        storage.wal.file.fail_errno = errno.ENOMEM
        storage.wal.file.fail_after = 0
        future = node.propose(b"waits")
        eventually(lambda: node.status().disk.shortage == "ENOMEM")
        assert not future.done()
        storage.wal.file.fail_after = -1
        assert future.result(timeout=WAIT)
        eventually(lambda: node.status().disk.shortage == "")


def test_a_new_log_that_has_no_room_says_so(impl, tmp_path):
    """Nothing was replaced or deleted: there is no file yet that could have been. The next start tries again."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL // 2, before[1]))  # Python ignores the signal
    try:
        with pytest.raises(impl.StorageFailed, match=rf"the log's new segment failed: \[Errno {errno.EFBIG}\]"):
            opened(impl, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    storage, loaded = opened(impl, tmp_path)
    assert loaded.incarnation == 1
    storage.close()
