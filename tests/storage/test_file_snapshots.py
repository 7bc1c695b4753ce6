"""Snapshots of a FileStorage: the newest two stay, the log begins behind the older one, and any of both serves."""

import random

import pytest

from tests.helpers.implementations import module
from tests.helpers.storages import founded
from tests.helpers.wal import CLUSTER, SMALL, opened, records

PATH = "/data/node"
FOUNDERS = (1, 2, 3)
ENTRIES = 24  # of 9,000 bytes
EVERY = 5  # entries between two snapshots


def conf(impl, index):
    """The membership at an index: it tells which one it is."""
    return impl.ConfState(voters=FOUNDERS, learners=(100 + index,) if index else ())


def state(index):
    return random.Random(index).randbytes(9000)


def described(impl, index, cluster=CLUSTER):
    descriptor = module(impl, "storage.snapshot_format").Descriptor
    return descriptor(index, 1, conf(impl, index), {1: "tcp://127.0.0.1:5601"}, cluster, incarnation=1, version=2)


def write(impl, storage, first, last):
    for index in range(first, last + 1):
        storage.append(impl.HardState(1, 2, index), [records(impl, index, [(1, b"%d" % index + bytes(9000))])])
        storage.sync()


def save(impl, storage, index):
    writer = storage.begin_snapshot(described(impl, index))
    writer.write(state(index))
    return writer.finish()


def names(path):
    return sorted(each.name for each in path.iterdir() if each.name.startswith("snapshot-"))


def indexes(impl, loaded):
    log = module(impl, "_core").EntryLog()
    if loaded.base_index:
        log.py_restore(loaded.base_index, loaded.base_term)
    for piece in loaded.records:
        log.py_extend(piece)
    return [entry.index for entry in log.entries(log.first, log.last)]


def test_the_log_begins_behind_the_older_one(impl, tmp_path):
    storage, loaded = opened(impl, tmp_path)
    assert loaded.snapshot is None
    with pytest.raises(impl.UsageError, match="has no snapshot"):
        storage.open_snapshot()
    write(impl, storage, 1, 20)
    made = [save(impl, storage, 5), save(impl, storage, 12), save(impl, storage, 18)]
    write(impl, storage, 21, 30)  # the base is on disk with the next segment
    storage.close()
    assert names(tmp_path) == [made[1].name, made[2].name]

    storage, loaded = opened(impl, tmp_path)
    assert loaded.snapshot == made[2].snapshot()
    assert (loaded.snapshot.index, loaded.snapshot.conf_state) == (18, conf(impl, 18))
    assert (loaded.base_index, loaded.conf_state) == (12, conf(impl, 12))
    assert indexes(impl, loaded) == list(range(13, 31))
    with storage.open_snapshot() as reader:
        assert (reader.index, reader.version, reader.read()) == (18, 2, state(18))
    storage.close()
    storage.close()
    with pytest.raises(impl.StorageError, match="closed"):
        storage.open_snapshot()
    with pytest.raises(impl.StorageError, match="closed"):
        save(impl, storage, 20)


def damage(tmp_path, made):
    with open(tmp_path / made.name, "r+b") as file:
        file.seek(made.place_of(0) + 50)
        file.write(b"damage")


def test_the_one_before_serves(impl, tmp_path, caplog):
    storage, _ = opened(impl, tmp_path)
    write(impl, storage, 1, 20)
    made = [save(impl, storage, 5), save(impl, storage, 12)]
    write(impl, storage, 21, 30)
    storage.close()
    damage(tmp_path, made[1])

    storage, loaded = opened(impl, tmp_path)
    assert loaded.snapshot == made[0].snapshot()
    assert loaded.base_index == 5
    assert indexes(impl, loaded) == list(range(6, 31))
    assert f"put aside as {made[1].name}.damaged" in caplog.text
    assert names(tmp_path) == [made[0].name, made[1].name + ".damaged"]
    again = save(impl, storage, 25)
    assert names(tmp_path) == [made[0].name, made[1].name + ".damaged", again.name]
    storage.close()
    storage, loaded = opened(impl, tmp_path)
    assert loaded.snapshot == again.snapshot()
    storage.close()


@pytest.mark.parametrize("count", [1, 2], ids=["only one", "both"])
def test_without_a_snapshot_that_serves_it_does_not_start(impl, tmp_path, count):
    storage, _ = opened(impl, tmp_path)
    write(impl, storage, 1, 20)
    made = [save(impl, storage, index) for index in (5, 12)[:count]]
    write(impl, storage, 21, 30)
    storage.close()
    for each in made:
        damage(tmp_path, each)
    if count == 1:  # nothing of the log is gone yet: it serves alone
        storage, loaded = opened(impl, tmp_path)
        assert (loaded.snapshot, loaded.base_index) == (None, 0)
        storage.close()
        return
    before = names(tmp_path)
    for _ in range(2):
        with pytest.raises(
            impl.SnapshotDamaged, match=r"chunk 0.*begins behind entry 5.*put the file back as it was, or rebuild"
        ):
            opened(impl, tmp_path)
    assert names(tmp_path) == before


def test_what_cannot_be_a_snapshot_of_this_log_is_refused(impl, tmp_path):
    storage, _ = opened(impl, tmp_path)
    write(impl, storage, 1, 10)
    save(impl, storage, 7)
    for index, text in ((7, "above 7"), (3, "above 7"), (11, "at most 10")):
        with pytest.raises(impl.UsageError, match=f"index must be {text}"):
            storage.begin_snapshot(described(impl, index))
    storage.close()


def test_a_snapshot_of_another_cluster_is_refused(impl, tmp_path):
    storage, _ = opened(impl, tmp_path)
    write(impl, storage, 1, 10)
    with pytest.raises(impl.UsageError, match="cluster"):
        storage.begin_snapshot(described(impl, 7, b"another-cluster!"))
    storage.close()


def test_what_was_begun_goes_at_the_next_start(impl, tmp_path):
    storage, _ = opened(impl, tmp_path)
    write(impl, storage, 1, 10)
    writer = storage.begin_snapshot(described(impl, 7))
    writer.write(state(7))
    storage.close()
    assert names(tmp_path) == [writer.descriptor.name + ".new"]
    storage, loaded = opened(impl, tmp_path)
    assert loaded.snapshot is None
    assert names(tmp_path) == []
    storage.close()


@pytest.mark.parametrize("level", [0, 23, "3", 1.5])
def test_a_level_that_is_none_is_refused(impl, tmp_path, level):
    with pytest.raises(impl.ConfigError, match="snapshot_level"):
        founded(impl, tmp_path, members=[1], snapshot_level=level, cluster=CLUSTER)


# --- power cuts ------------------------------------------------------------------------------------


class Story:
    """A log with snapshots, written as far as the disk goes along."""

    def __init__(self, impl, seed):
        self.impl = impl
        self.disk = module(impl, "testing.disk").SimDisk(random.Random(seed))
        self.acknowledged = self.written = self.snapshot = 0

    def run(self):
        """Open it, look, and write on; whether that was the end."""
        impl = self.impl
        storage = None
        try:
            storage = founded(impl, PATH, members=FOUNDERS, segment_bytes=SMALL, disk=self.disk, cluster=CLUSTER)
            loaded = storage.open(1, CLUSTER)
            self.found(storage, loaded)
            for index in range(self.written + 1, ENTRIES + 1):
                self.written = index
                write(impl, storage, index, index)
                self.acknowledged = index
                if index % EVERY == 0:
                    save(impl, storage, index - 1)
                    self.snapshot = index - 1
        except (impl.StorageError, OSError):
            assert self.disk.off
            return False
        finally:
            if storage is not None:
                storage.close()
        return not self.disk.off

    def found(self, storage, loaded):
        held = indexes(self.impl, loaded)
        last = held[-1] if held else loaded.base_index
        assert held == list(range(loaded.base_index + 1, last + 1))
        assert self.acknowledged <= last <= self.written
        assert not loaded.hard_state.in_doubt
        newest = loaded.snapshot.index if loaded.snapshot else 0
        assert newest >= self.snapshot
        assert newest == 0 or newest % EVERY == EVERY - 1
        # Whoever restores it has everything else in the log; and should it be damaged, so has who restores the other.
        assert loaded.base_index in (0, newest - EVERY, newest - 2 * EVERY)
        assert loaded.conf_state == conf(self.impl, loaded.base_index)
        if newest:
            with storage.open_snapshot() as reader:
                assert reader.read() == state(newest)
        self.snapshot = newest
        self.acknowledged = self.written = last


def test_the_power_may_fail_at_any_operation(impl):
    done = 0
    for cut in range(1, 300):
        story = Story(impl, cut)
        story.disk.cut_after(cut)
        whole = story.run()
        story.disk.crash()
        story.disk.cut_after(1 + cut % 17)  # in the opening, or soon after
        story.run()
        story.disk.crash()
        story.disk.repair()
        assert story.run()
        assert story.acknowledged == ENTRIES
        done += whole
        if done == 3:
            break
    assert 150 < cut < 299
