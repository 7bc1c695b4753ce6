"""A node whose storage was compacted and opened again: its log begins behind the base, with the membership there."""

import logging

import pytest

from tests.helpers.implementations import module
from tests.helpers.stepped import World
from tests.helpers.storages import founded

pytestmark = pytest.mark.usefixtures("nothing_waits")

SEGMENT = 64 << 10
DATA = bytes(5000)


def as_node(impl, call, *given):
    """A call of a storage that a node uses, in place of that node."""
    return module(impl, "storage.in_use").by_node(call, *given)


def memory(impl, tmp_path, id):
    """The same object in each of its lives."""
    kept = impl.MemoryStorage(voters=[1, 2, 3])
    return lambda: kept


def file(impl, tmp_path, id):
    return lambda: founded(impl, tmp_path / str(id), id=id, members=[1, 2, 3], segment_bytes=SEGMENT)


def proposed(world, count):
    """So many more entries on the leader, applied everywhere; the leader."""
    leader = world.leader()
    futures = [leader.propose(b"%d" % n + DATA) for n in range(count)]
    world.until(lambda: all(future.done() for future in futures))
    assert all(future.result(0) for future in futures)
    world.until(lambda: len({node.applied_index for node in world.nodes.values()}) == 1)
    return leader


@pytest.mark.parametrize("make", [memory, file])
def test_a_cluster_goes_on_behind_its_base(impl, tmp_path, make, caplog):
    """Each member applies what lies behind it, once; they elect, replicate and are compacted again."""
    makers = {id: make(impl, tmp_path, id) for id in (1, 2, 3)}
    membership = impl.ConfState(voters=(1, 2, 3), learners=(9,))
    base = 0
    expected = []
    for life in range(3):
        world = World(impl, storages={id: made() for id, made in makers.items()}, ids=(1, 2, 3))
        for id, node in world.nodes.items():
            assert world.engine(id).core.log.first == base + 1
            assert node.configuration == (membership if life else impl.ConfState(voters=(1, 2, 3)))
        leader = proposed(world, 30)
        # What lies behind the base is applied anew, each entry once.
        entries = [entry for entry in world.machines[1].entries if entry[0] > base]
        assert entries == world.machines[1].entries == world.machines[2].entries == world.machines[3].entries
        # An entry that was applied in the life before, too, is the same one.
        both = {entry[0] for entry in expected} & {entry[0] for entry in entries}
        assert [entry for entry in entries if entry[0] in both] == [entry for entry in expected if entry[0] in both]
        assert both if life else not both
        expected = entries
        # Enough behind it for two more segments, of which the first one has the base in its header.
        base = leader.applied_index - 3
        for id in makers:
            term = next(entry[1] for entry in world.machines[id].entries if entry[0] == base)
            as_node(impl, world.storages[id].compact, base, term, membership)
        proposed(world, 30)
        expected = world.machines[1].entries
        world.close()
    lines = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len([line for line in lines if "its log begins behind entry" in line]) == 2 * 3


def test_indexes_of_a_node_begin_at_the_base(impl):
    storage = impl.MemoryStorage(voters=[1])
    world = World(impl, count=1, storages={1: storage})
    world.leader()
    for n in range(4):
        future = world.nodes[1].propose(b"%d" % n)
        world.until(future.done)
    done = future.result(0)
    world.close()
    # The commit index on disk may lag behind what was applied and compacted.
    storage.open(1, module(impl, "config").Config(id=1).cluster)
    storage.append(impl.HardState(storage._durable.hard_state.term, 1, 1), [])
    storage.sync()
    storage.compact(done.index, done.term, impl.ConfState(voters=(1,)))
    storage.sync()
    storage.close()
    world = World(impl, count=1, storages={1: storage})
    node = world.nodes[1]
    assert node.applied_index == done.index
    world.leader()
    world.until(lambda: node.applied_index > done.index)
    assert world.machines[1].entries == []
    future = node.propose(b"after")
    world.until(future.done)
    assert future.result(0).index == done.index + 2
    assert [index for index, _, _ in world.machines[1].entries] == [done.index + 2]
    world.close()


def test_a_storage_with_a_snapshot_is_refused(impl):
    """By a state machine that cannot restore it: better an error than a state that lacks what is in it."""
    storage = impl.MemoryStorage(voters=[1])
    storage.open(1, module(impl, "config").Config(id=1).cluster)
    suite = module(impl, "testing.storage_snapshots")
    members = impl.ConfState(voters=(1,))
    suite.receive(storage, suite.described(7, 1, members, module(impl, "config").Config(id=1).cluster), b"state")
    storage.begin_behind(7, 1, members)
    storage.append(impl.HardState(1, 1, 7), [])
    storage.sync()
    storage.close()
    with pytest.raises(
        impl.StorageError, match=r"there is a snapshot of entry 7: state_machine must have a method restore\(reader\)"
    ):
        World(impl, count=1, storages={1: storage})


def test_a_member_that_lacks_what_was_compacted_does_not_disturb_the_others(impl):
    """It gets nothing and applies nothing; those that have the log go on."""
    storages = {id: impl.MemoryStorage(voters=[1, 2, 3]) for id in (1, 2, 3)}
    world = World(impl, storages=storages, ids=(1, 2, 3))
    proposed(world, 3)
    world.nodes[3].close()
    behind = world.nodes[3].applied_index
    leader = world.until(lambda: next((node for id, node in world.nodes.items() if id < 3 and node.is_leader), None))
    futures = [leader.propose(b"without 3") for _ in range(5)]
    world.until(lambda: all(future.done() for future in futures))
    done = futures[-1].result(0)
    world.until(lambda: world.nodes[1].applied_index == world.nodes[2].applied_index >= done.index)
    for id in (1, 2):
        as_node(impl, storages[id].compact, done.index, done.term, impl.ConfState(voters=(1, 2, 3)))
    world.close()
    world = World(impl, storages=storages, ids=(1, 2, 3))
    leader = world.leader()
    assert leader is not world.nodes[3]
    futures = [leader.propose(b"behind the base") for _ in range(5)]
    world.until(lambda: all(future.done() for future in futures))
    assert futures[-1].result(0).index > done.index
    world.for_rounds(1000)
    assert world.nodes[3].status().state == "running" and world.nodes[3].applied_index <= behind + 1
    assert leader.is_leader
    world.close()
