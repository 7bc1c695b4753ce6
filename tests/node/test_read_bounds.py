"""How many reads and other requests may wait, and that those which were given up take nobody's place."""

import pytest

from tests.helpers.implementations import module
from tests.helpers.reading import done
from tests.helpers.stepped import World

MOST = 40


@pytest.fixture
def world(impl, monkeypatch):
    monkeypatch.setattr(module(impl, "node.readers"), "READS_MAX", MOST)
    made = World(impl, 3, proposal_timeout_ms=200)
    yield made
    made.close()


def apart(world, id):
    for other in world.ids:
        if other != id:
            world.receive.pop(other, None)
    return world.nodes[id]


@pytest.mark.parametrize("level", ["linearizable", "lease"])
def test_reads_that_were_given_up_take_nobodys_place(world, impl, level):
    """A member that is cut off for long is asked now and then, and nobody answers."""
    node = apart(world, 1)
    node.query(lambda machine: None)
    for _ in range(4):
        reads = [node.read(level=level) for _ in range(MOST // 2 - 1)]
        assert not any(read.done() for read in reads)
        world.until(lambda reads=reads: all(read.done() for read in reads))
        world.for_rounds(300)
    assert not node.read().done()


def test_stale_reads_without_a_leader_are_not_kept(world, impl):
    node = apart(world, 1)
    world.until(lambda: node.leader_id == 0)
    for _ in range(MOST + 1):
        assert isinstance(node.read(level="stale", max_staleness=1).exception(0), impl.NotDone)
    assert not node._parts.applier.readers.waiting
    assert not node.read().done()


def test_reads_that_wait_for_what_is_to_be_applied_are_bounded(world, impl):
    """A member that applies slowly knows the indexes of its reads long before they are done."""
    node = world.leader()
    readers = node._parts.applier.readers
    world.skipped.add((node.id, "apply"))
    reads = [node.read() for _ in range(MOST)]
    readers.answered(2**40, 10**6, 1)  # they may be done at an entry that is far away
    assert (len(readers.waiting), len(readers.indexed)) == (0, MOST)
    assert isinstance(node.read().exception(0), impl.Busy)
    assert isinstance(node.query(lambda machine: None).exception(0), impl.Busy)
    world.skipped.clear()
    world.until(lambda: all(read.done() for read in reads))
    node.read()  # whoever comes lets those be looked at
    world.until(lambda: not readers.indexed)
    assert not node.read().done()
    assert all(isinstance(read.exception(0), impl.NotDone) for read in reads)


def test_reads_and_waits_are_no_proposals(impl):
    """They have bounds of their own, and take no room of ``max_open_proposals``."""
    world = World(impl, 1, max_open_proposals=2)
    node = world.leader()
    readers = node._parts.applier.readers
    kept = [readers.wait_applied(10**6)[0] for _ in range(5)]
    change = node.add_voter(9, "memory:9", timeout=100)
    world.until(lambda: change.progress)
    assert node.status().pending == 6
    assert done(world, node.propose(b"x")).result == 1
    assert len(done(world, node.propose_many([b"x", b"y"]))) == 2
    held = [node.propose(b"x"), node.propose(b"y")]
    assert isinstance(node.propose(b"z").exception(0), impl.Busy)
    world.until(lambda: all(future.done() for future in held))
    assert not any(future.done() for future in kept)
    world.close()


def test_changes_that_nobody_waits_for_are_forgotten(impl):
    """Each counted as an open request for ever; and as one of 256 changes, until its turn came."""
    world = World(impl, 3)
    node = apart(world, 1)
    world.until(lambda: node.leader_id == 0)
    first = node.add_learner(9, "memory:9", timeout=1000)
    for _ in range(3):
        changes = [node.add_learner(9, "memory:9", timeout=1000) for _ in range(100)]
        for change in changes:
            assert change.cancel()
        world.for_rounds(400)
    last = node.add_learner(9, "memory:9", timeout=1000)
    assert not first.done() and not last.done()
    kinds = module(impl, "node.outcomes")
    assert [number // kinds.KIND_UNIT for number in node._outcomes.asked].count(kinds.KIND_CHANGE) == 2
    assert [each.future for each in node._parts.changer.open] == [first, last]
    assert last.cancel()
    assert first.cancel()
    world.until(lambda: node.status().pending == 0, 20_000)
    assert not node._parts.changer.open
    world.close()
