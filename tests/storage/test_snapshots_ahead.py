"""Snapshots of other members that come while the log is about to begin behind an earlier one, or that it has itself."""

import pytest

from raftx.testing.storage_snapshots import arriving
from tests.helpers.implementations import module
from tests.helpers.wal import CLUSTER, opened, records


class Subject:
    """A storage of ten entries with a snapshot of its own at the fifth."""

    def __init__(self, impl, path):
        self.impl, self.path = impl, path
        self.members = impl.ConfState(voters=(1, 2, 3))
        self.arriving = module(impl, "testing.storage_snapshots").arriving if not impl.COMPILED else arriving
        self.storage, _ = opened(impl, path)
        self.storage.append(impl.HardState(1, 0, 10), [records(impl, 1, [(1, b"x")] * 10)])
        self.storage.sync()
        self.own(5)

    def described(self, index, term, incarnation=7):
        form = module(self.impl, "storage.snapshot_format")
        return form.Descriptor(index, term, self.members, {}, CLUSTER, incarnation, 0)

    def own(self, index):
        writer = self.storage.begin_snapshot(self.described(index, 1, 1))
        writer.write(b"state at %d" % index)
        writer.finish()

    def receiver(self, index, term, state):
        made, chunks = self.arriving(self.described(index, term), state)
        receiver = self.storage.receive_snapshot(made)
        for number, chunk in enumerate(chunks):
            receiver.put(number, chunk)
        return receiver

    def begin_behind(self, index, term):
        self.storage.begin_behind(index, term, self.members)
        self.storage.append(self.impl.HardState(term, 0, index), [])

    def read(self, index=0):
        with self.storage.open_snapshot(index) as reader:
            return reader.index, reader.read()

    def reopen(self):
        self.storage.close()
        self.storage, loaded = opened(self.impl, self.path)
        return loaded


@pytest.fixture
def subject(impl, tmp_path):
    made = Subject(impl, tmp_path / "node")
    yield made
    made.storage.close()


@pytest.mark.parametrize("settled", [True, False])
def test_a_later_one_leaves_that_which_the_log_begins_behind(subject, settled):
    """It comes while the write that begins the log anew is under way, or is durable and nobody has looked since."""
    subject.receiver(100, 2, b"state at 100").finish()
    subject.begin_behind(100, 2)
    later = subject.receiver(200, 2, b"state at 200")
    if settled:
        later.finish()
        subject.storage.sync()
    else:
        subject.storage.wal.sync() if hasattr(subject.storage.wal, "sync") else subject.storage.sync()
        later.finish()
    assert subject.read() == (100, b"state at 100")
    assert subject.reopen().base_index == 100
    assert subject.read() == (100, b"state at 100")
    # And the log can still begin behind the later one.
    subject.begin_behind(200, 2)
    subject.storage.sync()
    assert subject.read() == (200, b"state at 200")
    assert subject.reopen().base_index == 200


def test_those_that_were_passed_go(subject):
    for index in (100, 200, 300):
        subject.receiver(index, 2, b"state at %d" % index).finish()
    subject.begin_behind(200, 2)
    subject.storage.sync()
    assert subject.read() == (200, b"state at 200")
    names = sorted(each.name for each in subject.path.iterdir() if each.name.startswith("snapshot-"))
    assert [int(name[26:42], 16) for name in names] == [200, 300]


def test_one_of_an_entry_whose_own_is_here_changes_nothing(subject):
    """It holds the same state: what is here is in use, and is offered to others."""
    subject.own(8)
    receiver = subject.receiver(8, 1, b"state at 8, by another member")
    assert receiver.missing() == receiver.descriptor.chunks
    receiver.finish()
    assert subject.read() == subject.read(8) == (8, b"state at 8")
    assert subject.read(5) == (5, b"state at 5")
