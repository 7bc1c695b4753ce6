"""What every storage must do, held against each of raftx's own."""

import pytest

from tests.helpers.implementations import structures

CLUSTER = b"conformance-test"


def record(impl, index, term, data):
    """One entry record."""
    core = structures(impl)
    log = core.EntryLog()
    if index > 1:
        log.py_restore(index - 1, 1)
    log.py_append(term, data)
    return log.records(index, index)


@pytest.fixture(params=["memory", "file"])
def make(request, impl, tmp_path):
    """Makes a storage over what the one before it left."""
    opened = []
    if request.param == "memory":
        kept = impl.MemoryStorage(voters=[1, 2, 3])
        yield lambda: kept
        kept.close()
        return

    def again(voters=(1, 2, 3)):
        storage = impl.FileStorage(tmp_path / "node", voters=voters, segment_bytes=64 << 10)
        opened.append(storage)
        return storage

    yield again
    for storage in opened:
        storage.close()


def entries(impl, loaded):
    log = structures(impl).EntryLog()
    for piece in loaded.records:
        log.py_extend(piece)
    return [(e.index, e.term, e.data) for e in log.entries(log.first, log.last)]


def reopened(impl, make):
    storage = make()
    return storage, storage.open(1, CLUSTER)


def test_protocol(impl, make):
    assert isinstance(make(), impl.Storage)


def test_new_one_is_empty(impl, make):
    storage, loaded = reopened(impl, make)
    assert loaded.hard_state == impl.HardState()
    assert loaded.conf_state == impl.ConfState(voters=(1, 2, 3))
    assert loaded.incarnation == 1
    assert entries(impl, loaded) == []
    storage.close()


def test_keeps_what_was_synced(impl, make):
    storage, _ = reopened(impl, make)
    storage.append(impl.HardState(2, 3, 0), [record(impl, 1, 1, b"a"), record(impl, 2, 2, b"")])
    storage.sync()
    storage.append(impl.HardState(2, 3, 2), [record(impl, 3, 2, b"c" * 9000)])
    storage.sync()
    storage.close()
    storage, loaded = reopened(impl, make)
    assert loaded.hard_state == impl.HardState(2, 3, 2)
    assert entries(impl, loaded) == [(1, 1, b"a"), (2, 2, b""), (3, 2, b"c" * 9000)]
    storage.close()


def test_a_lower_index_replaces_the_tail(impl, make):
    storage, _ = reopened(impl, make)
    storage.append(impl.HardState(1, 0, 0), [record(impl, i, 1, b"%d" % i) for i in range(1, 6)])
    storage.append(impl.HardState(2, 0, 0), [record(impl, 3, 2, b"x")])
    storage.append(impl.HardState(3, 0, 0), [record(impl, 4, 3, b"y"), record(impl, 5, 3, b"z")])
    storage.append(impl.HardState(4, 0, 0), [record(impl, 5, 4, b"w")])
    storage.sync()
    storage.append(impl.HardState(5, 0, 0), [record(impl, 2, 5, b"v")])
    storage.sync()
    storage.close()
    storage, loaded = reopened(impl, make)
    assert loaded.hard_state.term == 5
    assert entries(impl, loaded) == [(1, 1, b"1"), (2, 5, b"v")]
    storage.close()


def test_incarnation_counts_openings(impl, make):
    for life in range(1, 6):
        storage, loaded = reopened(impl, make)
        assert loaded.incarnation == life
        storage.close()
        storage.close()


def test_in_use_and_foreign(impl, make):
    storage, _ = reopened(impl, make)
    with pytest.raises(impl.WrongDirectory):
        make().open(1, CLUSTER)
    storage.close()
    with pytest.raises(impl.WrongDirectory):
        make().open(2, CLUSTER)
    with pytest.raises(impl.WrongDirectory):
        make().open(1, b"another cluster!")
    storage, loaded = reopened(impl, make)
    assert loaded.incarnation == 2
    storage.close()


def test_closed_one_refuses(impl, make):
    storage, _ = reopened(impl, make)
    storage.close()
    with pytest.raises(impl.StorageError):
        storage.append(impl.HardState(), [])
