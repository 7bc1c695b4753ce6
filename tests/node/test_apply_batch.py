"""A state machine with ``apply_batch``: what it is given, and what becomes of what it returns."""

import pytest

from tests.helpers.implementations import module
from tests.helpers.stepped import World


class Batches:
    """Remembers the batches; refuses what begins with b"no", and ends its node where ``fault`` says so."""

    def __init__(self, refuse=None, fault=lambda entries: None):
        self.refuse, self.fault = refuse, fault
        self.batches = []

    @property
    def datas(self):
        return [bytes(entry.data) for batch in self.batches for entry in batch]

    def apply(self, entry):
        raise AssertionError("apply_batch is there")

    def apply_batch(self, entries):
        self.batches.append(list(entries))
        wrong = self.fault(entries)
        if wrong is not None:
            return wrong
        count = len(self.datas) - len(entries)
        results = []
        for number, entry in enumerate(entries, count + 1):
            refused = self.refuse is not None and bytes(entry.data).startswith(b"no")
            results.append(self.refuse(bytes(entry.data).decode()) if refused else number)
        entries.clear()  # its own list
        return results


class Kept(Batches):
    """With snapshots."""

    def snapshot(self):
        return b"\n".join(self.datas)

    def restore(self, reader):
        self.restored = (reader.index, reader.read().split(b"\n"))


@pytest.fixture
def start(impl):
    worlds = []

    def started(count=1, machine=Batches, stream=None, **settings):
        world = World(impl, count, **settings)
        worlds.append(world)
        for id in world.ids:
            world.nodes[id].close()
            world.start(id, machine=machine())
        return world, world.leader()

    yield started
    for world in worlds:
        world.close()


def outcome(world, future):
    world.until(future.done)
    return future.exception(0) or future.result(0)


def test_it_is_given_many_entries_and_each_proposer_its_result(impl, start):
    world, leader = start(3)
    assert outcome(world, leader.propose(b"one")).result == 1
    done = outcome(world, leader.propose_many([b"%d" % number for number in range(100)]))
    assert [each.result for each in done] == list(range(2, 102))
    assert [each.index for each in done] == list(range(done[0].index, done[0].index + 100))
    world.until(lambda: all(len(machine.datas) == 101 for machine in world.machines.values()))
    for machine in world.machines.values():
        assert machine.datas == [b"one", *[b"%d" % number for number in range(100)]]
        assert any(len(batch) > 10 for batch in machine.batches)
    # Through another member as well.
    other = next(node for node in world.nodes.values() if node is not leader)
    assert outcome(world, other.propose(b"there")).result == 102
    done = outcome(world, other.propose(b"and there"))
    assert other.applied_index >= done.index


def test_an_apply_error_in_place_of_a_result_is_a_refusal(impl, start):
    world, leader = start(machine=lambda: Batches(impl.ApplyError))
    with pytest.raises(impl.ApplyError, match="1 of 3") as raised:
        world.until((future := leader.propose_many([b"a", b"no b", b"c"])).done)
        future.result(0)
    first, second, third = raised.value.outcomes
    assert (first.result, third.result) == (1, 3) and isinstance(second, impl.ApplyError) and str(second) == "no b"
    error = outcome(world, leader.propose(b"no"))
    assert isinstance(error, impl.ApplyError) and leader.failure is None


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        (lambda entries: [1] * (len(entries) + 1), TypeError, "one result for each of 1 entries, and returned 2"),
        (lambda entries: [], TypeError, "returned 0"),
        (lambda entries: iter([1]), TypeError, "must return a list with one result for each entry"),
        (lambda entries: "1", TypeError, "not str"),
        (lambda entries: 1 / 0, ZeroDivisionError, "division by zero"),
    ],
    ids=["longer", "shorter", "iterator", "text", "raises"],
)
@pytest.mark.parametrize("policy", ["stop", "return"])
def test_what_ends_the_node(impl, start, caplog, fault, kind, said, policy):
    """Nobody knows which of the entries were applied, whatever on_apply_error says."""
    world, leader = start(machine=lambda: Batches(fault=fault), on_apply_error=policy)
    future = leader.propose(b"x")
    world.until(lambda: leader.failure is not None)
    assert isinstance(leader.failure, kind) and said in str(leader.failure)
    assert isinstance(outcome(world, future), impl.Unknown)
    world.for_rounds(10)
    assert f"apply_batch raised {kind.__name__} for entries 2..2" in caplog.text


def test_an_apply_error_that_is_raised_ends_the_node(impl, start, caplog):
    def fault(entries):
        raise impl.ApplyError("which one?")

    world, leader = start(machine=lambda: Batches(fault=fault))
    leader.propose(b"x")
    world.until(lambda: leader.failure is not None)
    assert isinstance(leader.failure, impl.ApplyError)
    world.for_rounds(10)
    assert "it is not known which of them were applied. An ApplyError is returned in place of a result" in caplog.text


def test_no_batch_is_larger(impl, start):
    world, leader = start()
    futures = [leader.propose_many([b"%d" % number for number in range(2000)]) for _ in range(2)]
    world.until(lambda: all(each.done() for each in futures))
    sizes = [len(batch) for batch in world.machines[1].batches]
    assert sum(sizes) == 4000 and max(sizes) == 1024
    assert [each.result for each in futures[1].result(0)] == list(range(2001, 4001))


def test_a_batch_ends_when_it_is_large(impl, start):
    """4 MiB, and the entry that goes beyond it is the last."""
    world, leader = start(max_apply_bytes=64 << 20, max_entry_bytes=1 << 20)
    future = leader.propose_many([bytes(1 << 20) for _ in range(9)])
    world.until(future.done)
    sizes = [len(batch) for batch in world.machines[1].batches]
    assert sum(sizes) == 9 and max(sizes) <= 4


def test_a_batch_is_of_one_term(impl, start):
    """What an earlier leader appended is given, and its proposers are told, before anything of a later term is."""
    world, leader = start(3)
    for number in range(4):
        leader = world.leader()
        futures = [leader.propose(b"%d %d" % (number, each)) for each in range(6)]
        other = leader.id % 3 + 1
        world.until(leader.transfer_leadership(other).done)
        world.until(lambda futures=futures: all(each.done() for each in futures))
        for future in futures:
            assert isinstance(future.exception(0) or future.result(0), (impl.Done, impl.NotDone))
    world.for_rounds(200)
    for machine in world.machines.values():
        assert all(len({entry.term for entry in batch}) == 1 for batch in machine.batches)
    for id in world.ids:
        world.nodes[id].close()
        world.start(id, machine=Batches())
    leader = world.leader()
    world.until(lambda: leader.applied_index == leader.commit_index > 4)
    assert len(set(world.machines[leader.id].datas)) == len(world.machines[leader.id].datas)
    assert all(len({entry.term for entry in batch}) == 1 for batch in world.machines[leader.id].batches)


def test_what_an_earlier_leader_appended_is_done_before_its_successors_entries_come(impl, start):
    """Both come in one piece to the member that was the leader, and whose proposals they are."""
    world, leader = start(3)
    before = outcome(world, leader.propose(b"first")).index
    world.for_rounds(20)
    world.skipped.add((leader.id, "disk"))  # nothing is durable there for now
    futures = [leader.propose(b"%d" % number) for number in range(5)]
    others = [node for node in world.nodes.values() if node is not leader]
    world.until(lambda: all(node.status().last == before + 5 for node in others))
    assert leader.commit_index < before + 5
    world.skipped.add((leader.id, "engine"))
    other = world.until(lambda: next((node for node in others if node.is_leader), None))
    done = outcome(world, other.propose(b"later"))
    world.skipped.discard((leader.id, "engine"))
    world.until(lambda: leader.commit_index >= done.index)
    world.skipped.clear()
    world.until(lambda: all(each.done() for each in futures))
    assert [each.result(0).index for each in futures] == list(range(before + 1, before + 6))
    world.until(lambda: leader.applied_index >= done.index)
    terms = [[entry.term for entry in batch] for batch in world.machines[leader.id].batches]
    assert terms[-2:] == [[terms[0][0]] * 5, [done.term]] and terms[0][0] < done.term


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_a_stream_that_is_full_holds_batches_back(impl, limit):
    """It never loses an element, and has each entry in its order."""
    world = World(impl, 1)
    world.nodes[1].close()
    events = module(impl, "node.events")
    real = events.Stream
    node_module = module(impl, "node.node")
    node_module.Stream = lambda kept: real(limit)
    try:
        world.start(1, machine=Batches(), committed=True)
    finally:
        node_module.Stream = real
    leader = world.leader()
    future = leader.propose_many([b"%d" % number for number in range(120)])
    seen = []
    for _ in range(2000):
        world.run()
        assert len(leader.committed) <= limit
        assert len(world.machines[1].datas) <= len(seen) + limit
        if len(leader.committed) and len(world.trace) % 2 == 0:
            seen.append(bytes(leader.committed.next(0).data))
        if len(seen) == 120:
            break
    assert seen == [b"%d" % number for number in range(120)] == world.machines[1].datas
    assert [each.result for each in outcome(world, future)] == list(range(1, 121))
    assert max(len(batch) for batch in world.machines[1].batches) <= limit
    world.close()


def test_snapshots_and_reads_stand_between_batches(impl, tmp_path):
    from tests.helpers.transfers import Cluster

    cluster = Cluster(impl, tmp_path, machine=Kept, count=3)
    cluster.fill(4)
    world, leader = cluster.world, cluster.leader()
    world.until(lambda: leader.status().snapshot.index > 50)
    read = leader.query(lambda machine: len(machine.datas))
    assert outcome(world, read) == 120
    away = cluster.follower()
    world.nodes[away].close()
    cluster.fill(6, b"y" * 3000)
    cluster.start(away)
    last = leader.applied_index
    world.until(lambda: world.nodes[away].applied_index == last, 20_000)
    machine = world.machines[away]
    index, items = machine.restored
    assert items + machine.datas == world.machines[leader.id].datas
    assert all(entry.index > index for batch in machine.batches for entry in batch)
    world.close()


def test_entries_that_the_machine_holds_come_by_alone(impl):
    """applied_index: what is up to there is not given again."""
    world = World(impl, 1)
    leader = world.leader()
    outcome(world, leader.propose_many([b"%d" % number for number in range(10)]))
    leader.close()
    machine = Batches()
    machine.applied_index = 6
    leader = world.start(1, machine=machine)
    world.until(lambda: leader.is_leader and len(machine.datas) == 5)
    assert machine.datas == [b"%d" % number for number in range(5, 10)]
    assert leader.applied_index >= 11
    world.close()


def test_it_needs_no_apply(impl, start):
    class Only:
        def apply_batch(self, entries):
            return [entry.index for entry in entries]

    world, leader = start(machine=Only)
    done = outcome(world, leader.propose(b"x"))
    assert done.result == done.index


@pytest.mark.parametrize("on_apply_error", ["stop", "return"])
def test_an_entry_of_a_session_is_no_exception_to_what_a_batch_may_raise(impl, on_apply_error):
    """It comes alone, but nobody knows either what of it was applied."""

    class Raises:
        def apply_batch(self, entries):
            raise impl.ApplyError("raised, and not returned")

    world = World(impl, 1, absent=(1,), on_apply_error=on_apply_error)
    world.start(1, Raises())
    node = world.leader()
    future = node.session().propose(b"x")
    world.until(future.done)
    assert isinstance(future.exception(0), impl.Unknown)
    assert isinstance(node.failure, impl.ApplyError)
    world.close()
