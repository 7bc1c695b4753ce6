"""Logs with a base: which segments go, which stay, and what an opening makes of what is there."""

import random

import pytest

from tests.helpers.implementations import module
from tests.helpers.storages import founded
from tests.helpers.wal import BLOCK, CLUSTER, SMALL, opened, records, segment, segments

FOUNDERS = (1, 2, 3)


def made(impl, disk):
    """A FileStorage on a simulated disk."""
    return founded(impl, "/node", members=FOUNDERS, segment_bytes=SMALL, disk=disk, cluster=CLUSTER)


def simulated(impl, seed=1):
    return module(impl, "testing.disk").SimDisk(random.Random(seed))


def conf(impl, *learners):
    return impl.ConfState(voters=FOUNDERS, learners=learners)


def found(impl, loaded):
    """The entries behind the base."""
    log = module(impl, "_core").EntryLog()
    if loaded.base_index:
        log.py_restore(loaded.base_index, loaded.base_term)
    for piece in loaded.records:
        log.py_extend(piece)
    return [(e.index, e.term, e.data) for e in log.entries(log.first, log.last)]


def fill(impl, storage, first, count, term=1, commit=0):
    """Write entries of 9,000 bytes, a batch each."""
    for index in range(first, first + count):
        data = b"%d" % index + bytes(9000)
        storage.append(impl.HardState(term, 0, max(commit, index - 1)), [records(impl, index, [(term, data)])])
        storage.sync()


def test_segments_go_when_nothing_in_them_is_needed(impl, tmp_path):
    """Not before the next one says so, and not one that has an entry behind the base."""
    path = tmp_path / "n"
    storage, _ = opened(impl, path)
    fill(impl, storage, 1, 20)
    assert segments(path) == [1, 2, 3, 4, 5]
    storage.compact(12, 1, conf(impl, 7))
    assert segments(path) == [1, 2, 3, 4, 5]
    fill(impl, storage, 21, 8)
    storage.close()
    # Entries 1 to 4 stand in the first segment, 9 to 12 in the third one.
    assert segments(path)[0] == 4
    storage, loaded = opened(impl, path)
    assert (loaded.base_index, loaded.base_term, loaded.conf_state) == (12, 1, conf(impl, 7))
    assert loaded.current_conf_state == conf(impl, 7)
    assert [index for index, _, _ in found(impl, loaded)] == list(range(13, 29))
    assert loaded.hard_state == impl.HardState(1, 0, 27)
    # And on: what was opened so can be compacted again.
    storage.compact(28, 1, conf(impl))
    fill(impl, storage, 29, 12)
    storage.close()
    assert segments(path)[0] > 5
    storage, loaded = opened(impl, path)
    assert (loaded.base_index, loaded.conf_state) == (28, conf(impl))
    assert [index for index, _, _ in found(impl, loaded)] == list(range(29, 41))
    storage.close()


def test_a_needed_segment_that_is_missing_is_damage_and_another_one_is_not(impl, tmp_path):
    path = tmp_path / "n"
    storage, _ = opened(impl, path)
    fill(impl, storage, 1, 20)
    removed = {number: segment(path, number).read_bytes() for number in (1, 2)}
    storage.compact(12, 1, conf(impl))
    fill(impl, storage, 21, 8)
    storage.close()
    whole = {each: each.read_bytes() for each in path.iterdir()}
    first, *_, last = segments(path)
    # Removed and back again after a power cut, alone or with its neighbour: it is removed once more.
    for number in (1, 2):
        segment(path, number).write_bytes(removed[number])
        storage, loaded = opened(impl, path)
        assert [index for index, _, _ in found(impl, loaded)] == list(range(13, 29)) and number < first
        storage.close()
        assert not segment(path, number).exists()
    for number in range(first, last):
        for each in path.iterdir():
            each.unlink()
        for each, data in whole.items():
            each.write_bytes(data)
        segment(path, number).unlink()
        with pytest.raises(impl.WalDamaged, match="is missing"):
            opened(impl, path)


def test_entries_that_were_replaced_do_not_come_back_behind_the_base(impl):
    """What has replaced them stands at or before the base, and is not handed over itself."""
    disk = simulated(impl)
    storage = made(impl, disk)
    storage.open(1, CLUSTER)
    storage.append(impl.HardState(1, 0, 0), [records(impl, 1, [(1, b"old")] * 10)])
    storage.sync()
    storage.append(impl.HardState(2, 0, 6), [records(impl, 5, [(2, b"new")] * 2)])
    storage.sync()
    storage.compact(6, 2, conf(impl))
    for term in range(3, 3 + SMALL // BLOCK):
        storage.append(impl.HardState(term, 0, 6), [])
        storage.sync()
    assert storage.wal.segment == 2
    storage.close()
    storage = made(impl, disk)
    loaded = storage.open(1, CLUSTER)
    assert (loaded.base_index, loaded.base_term) == (6, 2)
    # The first segment has entries behind the base, though they do not count any more.
    assert segment_name(1) in disk.files("/node")
    assert found(impl, loaded) == []
    storage.append(impl.HardState(40, 0, 6), [records(impl, 7, [(40, b"next")])])
    storage.sync()
    storage.close()
    assert found(impl, made(impl, disk).open(1, CLUSTER)) == [(7, 40, b"next")]


def segment_name(number):
    return f"wal-{number:016x}.log"


@pytest.mark.parametrize("seed", range(8))
def test_the_hard_state_is_not_removed_with_what_is_not_needed(impl, seed):
    """A segment goes when the next one holds a batch that is durable, with its header, and not before."""
    system, writes = module(impl, "_native.threads"), module(impl, "storage.writes")
    disk = simulated(impl, seed)
    storage = made(impl, disk)
    storage.open(1, CLUSTER)
    wal, clock = storage.wal, impl.ManualClock()
    queue, gauges = writes.WriteQueue(system.Event()), writes.DiskGauges()
    wal.begin_serving(queue, gauges, system.Event(), clock)
    spans = module(impl, "_native.memory").Spans()
    spans.py_push(records(impl, 1, [(1, b"x")] * 3), 1, 3)
    assert queue.py_put_write(spans, 1, 1, 2, 3)
    assert wal.py_round()
    storage.compact(3, 1, conf(impl))
    assert wal.py_round()  # asks for the next segment
    assert wal.reserve.py_round()
    number = 1
    while wal.py_room(BLOCK) >= BLOCK:
        number += 1
        assert queue.py_put_write(None, number, number, 0, 3)
        assert wal.py_round()
    assert gauges.done == number and wal.segment == 1
    # The header of the next segment is written, and so is the batch in it; their sync fails.
    disk.fail("sync", 5, name=segment_name(2))
    assert queue.py_put_write(None, number + 1, number + 1, 0, 3)
    assert not wal.py_round()
    assert wal.segment == 2 and gauges.done == number
    for _ in range(3):
        wal.reserve.py_round()
    disk.crash()
    disk.repair()
    loaded = made(impl, disk).open(1, CLUSTER)
    assert loaded.hard_state.term in (number, number + 1)
    # Without the header it is the log of before, and all of that is there.
    assert (loaded.base_index, found(impl, loaded)) in ((3, []), (0, [(index, 1, b"x") for index in (1, 2, 3)]))


def test_a_doubtful_member_asks_who_the_members_are_now(impl, tmp_path):
    """A sole voter whose mark is gone is refused; one that others have joined since starts in doubt."""
    types = module(impl, "types")
    for name, change in (("alone", ""), ("joined", "v2")):
        path = tmp_path / name
        storage = founded(impl, path, members=[1], segment_bytes=SMALL, cluster=CLUSTER)
        storage.open(1, CLUSTER)
        log = module(impl, "_core").EntryLog()
        log.py_append(1, impl.ConfChange.parse(change).encode() if change else b"", types.ENTRY_CONF_CHANGE_V2)
        storage.append(impl.HardState(1, 1, 1 if change else 0), [log.records(1, 1)])
        storage.sync()
        storage.close()
        (path / "wal.mark").unlink()
        storage = impl.FileStorage(path, segment_bytes=SMALL)
        if change:
            loaded = storage.open(1, CLUSTER)
            assert loaded.hard_state.in_doubt
            assert loaded.conf_state == impl.ConfState(voters=(1,))
            assert loaded.current_conf_state == impl.ConfState(voters=(1, 2))
            storage.close()
        else:
            with pytest.raises(impl.WalDamaged, match="No other voter has a copy"):
                storage.open(1, CLUSTER)


def test_the_membership_at_the_base_is_not_that_of_the_founding(impl, tmp_path):
    path = tmp_path / "n"
    storage, _ = opened(impl, path)
    fill(impl, storage, 1, 12)
    storage.compact(11, 1, impl.ConfState(voters=(4, 5)))
    fill(impl, storage, 13, 12)
    storage.close()
    assert segments(path)[0] > 1
    storage, loaded = opened(impl, path)
    assert loaded.conf_state == impl.ConfState(voters=(4, 5))
    storage.close()


def test_reprs_say_whose_it_is_and_where_the_log_begins_and_ends(impl, tmp_path):
    path = tmp_path / "n"
    storage = founded(impl, path, members=FOUNDERS, segment_bytes=SMALL, cluster=CLUSTER)
    assert repr(storage) == f"<raftx.FileStorage '{path}', closed>"
    storage.open(1, CLUSTER)
    fill(impl, storage, 1, 3)
    storage.compact(2, 1, conf(impl))
    assert repr(storage) == f"<raftx.FileStorage '{path}' of node 1, open, base 2, last 3>"
    storage.close()
    assert repr(storage) == f"<raftx.FileStorage '{path}', closed>"
    memory = impl.MemoryStorage(voters=[1])
    assert repr(memory) == "<raftx.MemoryStorage, closed, base 0, last 0>"
    memory.open(1, CLUSTER)
    memory.append(impl.HardState(3, 0, 1), [records(impl, 1, [(3, b"x")] * 2)])
    assert repr(memory) == "<raftx.MemoryStorage of node 1, open, base 0, last 0, 3 to be synced>"
    memory.sync()
    memory.compact(1, 3, conf(impl))
    memory.sync()
    assert repr(memory) == "<raftx.MemoryStorage of node 1, open, base 1, last 2>"
    memory.close()
    assert repr(memory) == "<raftx.MemoryStorage of node 1, closed, base 1, last 2>"
