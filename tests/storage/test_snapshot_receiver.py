"""Snapshots that arrive chunk by chunk: whole or not at all, from where an earlier life left off."""

import dataclasses
import errno
import random
from pathlib import Path

import pytest

from tests.helpers.implementations import module

CLUSTER = b"snapshot-cluster"
CHUNK = 4096
SIZE = 5 * CHUNK + 77


class Subject:
    """A directory of a simulated disk, and a snapshot that is to arrive in it."""

    path = Path("/snapshots")

    def __init__(self, impl, seed=1, size=SIZE, index=7):
        self.receivers = module(impl, "storage.snapshot_receiver")
        self.snapshots = module(impl, "storage.snapshots")
        self.form = module(impl, "storage.snapshot_format")
        suite = module(impl, "testing.storage_snapshots")
        self.disk = module(impl, "testing.disk").SimDisk(random.Random(seed))
        self.disk.make_directory(self.path, 0o700)
        self.disk.sync_directory(self.path.parent)
        self.state = random.Random(seed).randbytes(size)
        described = self.form.Descriptor(
            index, 3, impl.ConfState(voters=(1, 2, 3)), {1: "tcp://127.0.0.1:5601"}, CLUSTER, 5, 4, chunk_bytes=CHUNK
        )
        self.made, self.chunks = suite.arriving(described, self.state)
        self.part = f"{self.path}/{self.made.name}.part"

    def opened(self):
        return self.disk.open_directory(self.path)

    def receiver(self, directory):
        return self.receivers.SnapshotReceiver(directory, self.made)

    def rest(self, receiver):
        """Everything that is missing; how many chunks that were."""
        count = 0
        while (number := receiver.missing()) < self.made.chunks:
            receiver.put(number, self.chunks[number])
            count += 1
        return count

    def check(self, directory):
        with self.snapshots.SnapshotReader(directory, self.made.name) as reader:
            assert reader.verify() == self.made
        with self.snapshots.SnapshotReader(directory, self.made.name) as reader:
            assert reader.read() == self.state
        assert self.disk.files(self.path) == [self.made.name]


@pytest.mark.parametrize("size", [0, 1, CHUNK, 2 * CHUNK, 2 * CHUNK + 1])
def test_what_arrives_is_the_file_that_was_sent(impl, size):
    subject = Subject(impl, size=size)
    directory = subject.opened()
    names = []
    receiver = subject.receivers.SnapshotReceiver(directory, subject.made, lambda made: names.append(made.name))
    assert subject.rest(receiver) == subject.made.chunks
    assert receiver.finish() == receiver.finish() == subject.made
    assert names == [subject.made.name]
    with pytest.raises(impl.UsageError, match=r"number must be in 0\.\."):
        receiver.put(subject.made.chunks, b"")
    receiver.discard()
    receiver.close()
    subject.check(directory)
    directory.close()


@pytest.mark.parametrize("order", range(6))
def test_chunks_come_in_any_order(impl, order):
    subject = Subject(impl)
    directory = subject.opened()
    receiver = subject.receiver(directory)
    numbers = [*range(subject.made.chunks)] * 2
    random.Random(order).shuffle(numbers)
    there = set()
    for number in numbers:
        receiver.put(number, memoryview(subject.chunks[number]))
        there.add(number)
        assert receiver.missing() == min({*range(subject.made.chunks + 1)} - there)
    receiver.finish()
    subject.check(directory)
    directory.close()


@pytest.mark.parametrize("end", ["close", "kill"])
def test_it_goes_on_from_every_chunk(impl, end):
    """After a close, and after the end of the process; where there is one that is damaged, that is fetched again."""
    chunks = Subject(impl).made.chunks
    for there in range(chunks + 1):
        for damaged in (None, *range(there)):
            subject = Subject(impl, seed=there)
            directory = subject.opened()
            receiver = subject.receiver(directory)
            for number in range(there):
                receiver.put(number, subject.chunks[number])
            if end == "close":
                receiver.close()
                directory.close()
            subject.disk.kill()
            if damaged is not None:
                length = len(subject.chunks[damaged])
                place = subject.made.place_of(damaged) + random.Random(damaged).randrange(length)
                subject.disk.flip(subject.part, 8 * place + 3)
            directory = subject.opened()
            receiver = subject.receiver(directory)
            assert receiver.missing() == (there if damaged is None else damaged)
            # What stands behind the damaged one is looked at when that is there.
            assert subject.rest(receiver) == chunks - there + (damaged is not None)
            receiver.finish()
            subject.check(directory)
            directory.close()


def test_what_is_of_another_snapshot_is_not_gone_on_with(impl):
    """The same name, and another digest; or a header that is not whole."""
    other = Subject(impl, seed=2)
    for change in (None, 5, 100, 200):
        subject = Subject(impl, seed=1)
        assert subject.made.name == other.made.name and subject.made.digest != other.made.digest
        directory = subject.opened()
        first = subject.receivers.SnapshotReceiver(directory, other.made if change is None else subject.made)
        first.put(0, (other if change is None else subject).chunks[0])
        first.close()
        if change is not None:
            subject.disk.flip(subject.part, 8 * change)
        receiver = subject.receiver(directory)
        assert receiver.missing() == 0
        subject.rest(receiver)
        receiver.finish()
        subject.check(directory)
        directory.close()


def test_one_that_is_longer_than_it_can_be_is_begun_anew(impl):
    subject = Subject(impl)
    directory = subject.opened()
    receiver = subject.receiver(directory)
    subject.rest(receiver)
    receiver.close()
    subject.disk.write(subject.part, subject.disk.read(subject.part) + b"more")
    receiver = subject.receiver(directory)
    assert subject.rest(receiver) == subject.made.chunks
    receiver.finish()
    subject.check(directory)
    directory.close()


def test_all_chunks_are_right_and_the_digest_is_not(impl):
    """Nothing is left: it cannot become right."""
    subject = Subject(impl)
    subject.made = dataclasses.replace(subject.made, digest=bytes(32))
    directory = subject.opened()
    receiver = subject.receiver(directory)
    subject.rest(receiver)
    with pytest.raises(impl.SnapshotDamaged, match="digest is another one"):
        receiver.finish()
    assert directory.names() == []
    directory.close()


def test_what_no_file_can_hold_is_refused(impl):
    subject = Subject(impl)
    directory = subject.opened()
    for change in ({"index": 0}, {"chunk_bytes": 5}, {"cluster": b"short"}, {"version": -1}):
        with pytest.raises(impl.UsageError):
            subject.receivers.SnapshotReceiver(directory, dataclasses.replace(subject.made, **change))
    assert directory.names() == []
    directory.close()


def test_it_is_synced_on_the_way(impl, monkeypatch):
    """One sync of all of it would hold up those of the log."""
    subject = Subject(impl)
    monkeypatch.setattr(subject.receivers, "SYNC_STEP", 2 * CHUNK)
    directory = subject.opened()
    receiver = subject.receiver(directory)
    before = subject.disk.counts["sync"]
    subject.rest(receiver)
    assert subject.disk.counts["sync"] - before == 2
    receiver.discard()
    receiver.discard()
    assert directory.names() == []
    with pytest.raises(impl.UsageError, match="discarded"):
        receiver.finish()
    directory.close()


def test_what_an_earlier_life_has_left_is_not_written_out_again(impl, monkeypatch):
    """The first chunk after a restart would wait for the whole file, a piece at a time."""
    subject = Subject(impl)
    monkeypatch.setattr(subject.receivers, "STEP", CHUNK // 2)
    directory = subject.opened()
    receiver = subject.receiver(directory)
    before = subject.disk.counts["sync"]
    for number in range(4):
        receiver.put(number, subject.chunks[number])
    assert subject.disk.counts["sync"] - before >= 8
    receiver.close()
    receiver = subject.receiver(directory)
    assert receiver.missing() == 4
    before = subject.disk.counts["sync"]
    receiver.put(4, subject.chunks[4])
    assert subject.disk.counts["sync"] - before == 2
    subject.rest(receiver)
    receiver.finish()
    subject.check(directory)
    directory.close()


def test_what_was_synced_on_the_way_is_there_after_a_power_cut(impl, monkeypatch):
    """Its file as well, also when the life before it had made that and synced nothing."""
    for seed in range(20):
        subject = Subject(impl, seed)
        monkeypatch.setattr(subject.receivers, "SYNC_STEP", 2 * CHUNK)
        directory = subject.opened()
        receiver = subject.receiver(directory)
        if seed % 2:
            receiver.put(0, subject.chunks[0])
            receiver.close()
            receiver = subject.receiver(directory)
        for number in range(receiver.missing(), 3):
            receiver.put(number, subject.chunks[number])
        subject.disk.crash()
        directory = subject.opened()
        receiver = subject.receiver(directory)
        assert receiver.missing() >= 2, f"seed {seed}"
        receiver.close()
        directory.close()


@pytest.mark.parametrize("operation", ["open", "write", "sync", "names", "sync names"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
def test_a_disk_that_fails(impl, operation, code):
    """The error says so, and what was put is there in the next attempt, or is fetched again."""
    subject = Subject(impl)
    directory = subject.opened()
    receiver = subject.receiver(directory)
    receiver.put(0, subject.chunks[0])
    subject.disk.fail(operation, code)
    with pytest.raises(impl.StorageError, match="snapshot-"):
        if operation == "open":
            subject.receiver(directory)
        subject.rest(receiver)
        receiver.finish()
    receiver.close()
    subject.disk.repair()
    if subject.made.name not in directory.names():
        receiver = subject.receiver(directory)
        subject.rest(receiver)
        receiver.finish()
    subject.check(directory)
    directory.close()


def test_the_power_fails_at_every_operation(impl):
    """What has its name is whole; what has not goes on or is begun anew, and becomes it."""
    resumed = cuts = 0
    for operations in range(1, 100):
        subject = Subject(impl, seed=operations)
        subject.disk.cut_after(operations)
        done = False
        try:
            directory = subject.opened()
            receiver = subject.receiver(directory)
            for number in range(subject.made.chunks):
                receiver.put(number, subject.chunks[number])
                if number == 2:
                    receiver.close()
                    directory.py_sync()
                    receiver = subject.receiver(directory)
            receiver.finish()
            done = True
        except (impl.StorageError, OSError):
            assert subject.disk.off
            cuts += 1
        subject.disk.crash()
        directory = subject.opened()
        names = directory.names()
        if done:
            assert names == [subject.made.name]
        if subject.made.name not in names:
            receiver = subject.receiver(directory)
            resumed += receiver.missing() > 0
            subject.rest(receiver)
            receiver.finish()
        subject.check(directory)
        directory.close()
        if done:
            break
    assert done and cuts > 15 and resumed
