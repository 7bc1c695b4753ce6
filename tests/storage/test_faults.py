"""A sample of what ``make faults`` does: one operation of the storage fails, and nothing acknowledged is lost."""

import errno
import random

import pytest

from tests.helpers.implementations import module
from tests.tools import faults
from tests.tools.crash import runs

EVERY = 29  # a sample of the operations of each script


@pytest.mark.slow
def test_a_sample_of_faults(impl):
    """Whatever fails, the error is one that is promised, the log stays as it is, and a restart finds everything."""
    operations, outcomes, wrong = {}, {}, []
    for number, name in enumerate(runs.SCRIPTS):
        result = faults.sweep(impl, name, EVERY, first=(number + impl.COMPILED) % EVERY, ways=3)
        wrong += result.wrong
        for counts, more in ((operations, result.operations), (outcomes, result.outcomes)):
            for key, count in more.items():
                counts[key] = counts.get(key, 0) + count
    assert not wrong
    assert set(operations) >= {"open", "read", "write", "sync", "names", "sync names"}
    assert outcomes["ended"] > 150 and outcomes["went on"] > 5


def disk_of(impl):
    disk = module(impl, "testing.disk").SimDisk(random.Random(5))
    disk.forgets = True
    return disk


def test_what_a_failed_sync_has_left_in_the_cache_is_written_again(impl):
    """A later sync has nothing to write then. So the log that a start has read would be gone with the power."""
    run = runs.Run(impl, disk=disk_of(impl))
    run.start()
    run.vote(1, 2)
    run.disk.fail("sync", errno.EIO, times=1)
    with pytest.raises(impl.StorageFailed, match="sync failed"):
        run.write(1, [5000], term=1)
    run.storage.close()
    run.disk.repair()
    # The batch is there as reads see it. What is counted on then must not go.
    run.open()
    assert run.storage.wal.last_index == 1
    run.disk.crash()
    loaded = run.open()
    assert run.storage.wal.last_index == 1 and loaded.hard_state.term == 1


def test_a_part_whose_sync_has_failed_is_not_believed(impl):
    """Chunks that reads still see may not be on the platter: they are fetched again."""
    run = runs.Run(impl, disk=disk_of(impl))
    run.start()
    source = run.source(9, 2)
    receiver = run.storage.receive_snapshot(source.descriptor)
    for number in range(source.descriptor.chunks):
        receiver.put(number, source.chunk(number))
    run.disk.fail("sync", errno.EIO, times=1)
    with pytest.raises(impl.StorageFailed, match="part"):
        receiver.finish()
    assert run.storage.receive_snapshot(source.descriptor).missing() == 0


def test_records_that_cannot_be_read(impl):
    """They are read after the opening: its errors are of storages all the same."""
    run = runs.Run(impl, disk=disk_of(impl))
    run.start()
    run.write(1, [500], term=1)
    run.end()
    for operation in ("read", "open"):
        storage = impl.FileStorage(runs.PATH, disk=run.disk)
        records = storage.open(1, runs.CLUSTER).records
        run.disk.fail(operation, errno.EIO, times=1)
        with pytest.raises(impl.StorageError, match=r"cannot read the log in /data.*Errno 5") as error:
            list(records)
        assert type(error.value) is impl.StorageError and isinstance(error.value.__cause__, OSError)
        storage.close()


def test_a_write_that_is_half_done(impl):
    """Half of the bytes are there, and the write has failed."""
    disk = disk_of(impl)
    disk.make_directory(module(impl, "testing.disk").Path("/one"), 0o700)
    file = disk.open_directory(module(impl, "testing.disk").Path("/one")).open_file("file", create=True)
    buffer = module(impl, "_native.memory").Buffer()
    buffer.py_put(b"abcdefgh")
    disk.fail("write", errno.ENOSPC, times=1, short=True)
    assert file.py_write_at(buffer, 0, 8, 0) == -errno.ENOSPC
    assert disk.read("/one/file") == b"abcd"
    assert file.py_write_at(buffer, 0, 8, 0) == 0
    assert disk.read("/one/file") == b"abcdefgh"
    disk.fail("any", errno.EIO, after=1, times=1, short=True)
    assert [file.py_datasync(), file.py_datasync(), file.py_datasync()] == [0, -errno.EIO, 0]
