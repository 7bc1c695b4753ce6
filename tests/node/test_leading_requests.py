"""Stepping down, barriers, and waits for an entry to be applied."""

import threading

import pytest

from tests.helpers.cluster import Cluster
from tests.helpers.meetings import begun
from tests.helpers.reading import ELECTION, Cuts, done, met_world, others
from tests.helpers.stepped import World
from tests.helpers.waiting import WAIT, eventually


@pytest.fixture
def world(impl):
    yield from met_world(impl)


# --- stepping down ----------------------------------------------------------------------------------


def test_a_leader_steps_down_and_another_one_is_elected(world, impl):
    leader, rest = others(world)
    term = leader.term
    change = done(world, leader.step_down(), 20)
    assert (change.term, change.leader, change.role) == (term, 0, impl.Role.FOLLOWER)
    assert not leader.is_leader
    new = world.until(lambda: next((node for node in world.nodes.values() if node.is_leader), None))
    assert new in rest
    assert done(world, new.propose(b"x")).term > term


def test_who_does_not_lead_cannot_step_down(world, impl):
    leader, (node, _) = others(world)
    with pytest.raises(impl.NotDone, match="does not lead"):
        done(world, node.step_down(), 20)
    assert leader.is_leader


def test_whoever_has_stepped_down_leads_again_where_nobody_else_can(impl):
    """It lets the other one go first, but not for ever: that one lacks an entry, and cannot be elected."""
    world = World(impl, 2)
    leader, _ = others(world)
    world.until(lambda: begun(world.nodes.values()))
    cuts = Cuts(world)
    cuts.lost.add(3)  # App
    pending = leader.propose(b"x")
    world.for_rounds(5)
    assert not pending.done()
    cuts.lost.clear()
    began = world.rounds
    done(world, leader.step_down(), 20)
    world.until(lambda: leader.is_leader)
    assert world.rounds - began >= 2 * ELECTION - 10
    world.close()


def test_the_only_voter_steps_down(impl):
    world = World(impl, 1)
    leader = world.leader()
    assert done(world, leader.step_down(), 20).leader == 0
    world.until(lambda: leader.is_leader)
    world.close()


def test_the_best_successor_is_named_by_none(world):
    leader, rest = others(world)
    assert done(world, leader.transfer_leadership(None)).leader in {node.id for node in rest}


# --- barriers ---------------------------------------------------------------------------------------


def test_a_barrier_is_behind_everything_that_was_committed(world, impl):
    leader, rest = others(world)
    for number, node in enumerate([leader, *rest]):
        acknowledged = done(world, leader.propose(b"%d" % number))
        barrier = done(world, node.barrier())
        assert barrier.index > acknowledged.index and barrier.term == leader.term and barrier.result is None
        assert node.applied_index >= barrier.index
    for id in world.ids:
        world.until(lambda id=id: len(world.machines[id].entries) == 3)
        assert [entry[2] for entry in world.machines[id].entries] == [b"0", b"1", b"2"]


def test_a_barrier_is_not_in_the_stream(impl):
    network = impl.MemoryNetwork()
    node = impl.Node(impl.Config(id=1, tick_ms=10), impl.MemoryStorage(voters=[1]), network.transport())
    stream = node.committed
    with node:
        node.wait_leader(WAIT)
        node.propose(b"a").result(WAIT)
        assert node.barrier().result(WAIT).result is None
        node.propose(b"b").result(WAIT)
        assert [stream.next(WAIT).data for _ in range(2)] == [b"a", b"b"]


def test_a_barrier_is_in_no_batch(impl):
    class Batches:
        def __init__(self):
            self.datas = []

        def apply(self, entry):
            raise AssertionError("apply_batch is there")

        def apply_batch(self, entries):
            first = len(self.datas)
            self.datas += [bytes(entry.data) for entry in entries]
            return [first + number for number in range(1, len(entries) + 1)]

    world = World(impl, 1)
    world.nodes[1].close()
    machine = Batches()
    world.start(1, machine)
    leader = world.leader()
    futures = [leader.propose(b"a"), leader.barrier(), leader.propose(b"b")]
    assert [done(world, future).result for future in futures] == [1, None, 2]
    assert machine.datas == [b"a", b"b"]
    world.close()


def test_a_barrier_needs_a_leader_that_can_write(world, impl):
    """Whether a lost one is in the log is not known, and does no harm."""
    leader, rest = others(world)
    cuts = Cuts(world)
    cuts.members.add(leader.id)
    barrier = leader.barrier()
    world.until(lambda: any(node.is_leader for node in rest))
    assert not barrier.done()
    cuts.members.clear()
    with pytest.raises(impl.NotDone):
        done(world, barrier)
    new = next(node for node in rest if node.is_leader)
    assert done(world, leader.barrier()).term == new.term


def test_a_forged_barrier_is_refused(world, impl):
    """An envelope of somebody else's stays one, with the bit of a barrier."""
    leader, (node, other) = others(world)
    codec = impl._core.Codec(leader.config.cluster, node.id, node.status().life)
    before = leader.status().messages_refused["origin"]
    for origin, refused in ((other.id | 1 << 63, 1), (node.id | 1 << 63, 1)):
        data = b"".join(each.to_bytes(8, "little") for each in (origin, node.status().life, 1))
        entry = impl.Entry(0, 0, data)
        prop = impl.Message(2, log_term=leader.term, hint=1, context=1, entries=[entry], sender=node.id)
        world.receive[leader.id](codec.encode(leader.id, [prop]))
        world.for_rounds(5)
        assert leader.status().messages_refused["origin"] == before + refused


# --- waiting for an entry ---------------------------------------------------------------------------


def test_it_is_waited_for_an_entry(impl):
    cluster = Cluster(impl, 3)
    try:
        leader = cluster.leader()
        node = cluster.followers()[0]
        index = leader.propose(b"x").result(WAIT).index
        assert node.wait_applied(index, WAIT) >= index
        assert node.wait_applied(0) >= index
        found = []
        threads = [
            threading.Thread(target=lambda ahead=ahead: found.append(node.wait_applied(index + ahead, WAIT)))
            for ahead in (3, 1, 2)
        ]
        for thread in threads:
            thread.start()
        with pytest.raises(TimeoutError, match=f"entry {index + 100} is not applied"):
            node.wait_applied(index + 100, 0.02)
        for number in range(3):
            leader.propose(b"%d" % number).result(WAIT)
        for thread in threads:
            thread.join(WAIT)
        assert len(found) == 3 and all(each > index for each in found)
    finally:
        cluster.close()


def test_a_wait_for_an_entry_ends_with_the_node(impl):
    cluster = Cluster(impl, 1)
    node = cluster.leader()
    ends = []

    def wait():
        try:
            node.wait_applied(10**6)
        except BaseException as error:
            ends.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(lambda: node._outcomes.asked)
    node.close()
    thread.join(WAIT)
    assert isinstance(ends[0], impl.Stopped)
    with pytest.raises(impl.Stopped):
        node.wait_applied(1)


def test_a_wait_for_an_entry_ends_with_what_ended_the_node(impl):
    class Fails:
        def apply(self, entry):
            if entry.data == b"fail":
                raise KeyError("x")

    node = impl.Node(
        impl.Config(id=1, tick_ms=10), impl.MemoryStorage(voters=[1]), impl.MemoryNetwork().transport(), Fails()
    ).start()
    node.wait_leader(WAIT)
    ends = []

    def wait():
        try:
            node.wait_applied(10**6)
        except BaseException as error:
            ends.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(lambda: node._outcomes.asked)
    node.propose(b"fail")
    thread.join(WAIT)
    assert isinstance(ends[0], KeyError)
    node.close()


def test_what_no_entry_can_be_waited_for_with(impl):
    cluster = Cluster(impl, 1)
    node = cluster.leader()
    try:
        for wrong in (-1, "1", None, 1.0, 2**63):
            with pytest.raises(impl.UsageError, match="index must be"):
                node.wait_applied(wrong)
        with pytest.raises(impl.UsageError, match="timeout"):
            node.wait_applied(1, "soon")
    finally:
        cluster.close()


def test_given_up_waits_are_forgotten(impl, monkeypatch):
    world = World(impl, 1)
    node = world.leader()
    readers = node._parts.applier.readers
    for number in range(3000):
        readers.add_indexed(10**6 + number, 10**9 + number, None)
    world.for_rounds(3)
    assert len(readers.awaited) <= 1001
    world.close()
