"""Reads: what was acknowledged anywhere before the question is applied where it was asked, or it is not done."""

import functools
import threading
import time

import pytest

from tests.helpers.implementations import module
from tests.helpers.reading import ELECTION, Cuts, done, last, met_world, others
from tests.helpers.stepped import World
from tests.helpers.waiting import WAIT


@pytest.fixture
def world(impl):
    yield from met_world(impl)


def test_each_member_shows_what_was_acknowledged(world):
    leader, _ = others(world)
    for number in range(5):
        acknowledged = done(world, leader.propose(b"%d" % number))
        for node in world.nodes.values():
            index = done(world, node.read())
            assert index >= acknowledged.index and node.applied_index >= acknowledged.index
            assert done(world, node.query(last)) == b"%d" % number


def test_a_learner_is_read_like_the_others(impl):
    storages = {id: impl.MemoryStorage(voters=[1, 2], learners=[3]) for id in (1, 2, 3)}
    world = World(impl, 3, storages)
    leader = world.leader()
    acknowledged = done(world, leader.propose(b"x"))
    assert done(world, world.nodes[3].read()) >= acknowledged.index
    assert done(world, world.nodes[3].query(last)) == b"x"
    world.close()


def test_nothing_is_read_before_it_is_applied_here(world):
    """The member knows the index, and its state machine has not come so far."""
    leader, (node, _) = others(world)
    world.skipped.add((node.id, "apply"))
    done(world, leader.propose(b"x"))
    future = node.query(last)
    world.for_rounds(200)
    assert not future.done()
    world.skipped.clear()
    assert done(world, future) == b"x"


def test_a_leader_that_is_cut_off_answers_none(world):
    """It believes that it leads, and so does the one that was elected meanwhile, which has more."""
    leader, rest = others(world)
    done(world, leader.propose(b"before"))
    cuts = Cuts(world)
    cuts.members.add(leader.id)
    stale = [leader.read(), leader.query(last)]
    world.until(lambda: any(node.is_leader for node in rest))
    new = next(node for node in rest if node.is_leader)
    done(world, new.propose(b"after"))
    world.for_rounds(ELECTION)
    stale.append(leader.query(last))
    world.for_rounds(ELECTION)
    assert not any(future.done() for future in stale)
    cuts.members.clear()
    assert [done(world, future) for future in stale[1:]] == [b"after", b"after"]


def test_a_leader_that_was_paused_answers_from_nothing_old(world):
    """No round of its engine for a while, and then those who asked before and since get what is new."""
    leader, rest = others(world)
    done(world, leader.propose(b"before"))
    world.skipped.add((leader.id, "engine"))
    asked = leader.query(last)
    world.until(lambda: any(node.is_leader for node in rest))
    done(world, next(node for node in rest if node.is_leader).propose(b"after"))
    later = leader.query(last)
    world.skipped.clear()
    assert done(world, later) == b"after"
    assert done(world, asked) == b"after"


@pytest.mark.parametrize("kind", [15, 16], ids=["question", "answer"])
def test_what_is_lost_is_asked_again(world, impl, kind):
    types = module(impl, "types")
    assert (types.MSG_READ_INDEX, types.MSG_READ_INDEX_RESP) == (15, 16)
    leader, (node, _) = others(world)
    acknowledged = done(world, leader.propose(b"x"))
    cuts = Cuts(world)
    cuts.lost.add(kind)
    future = node.read()
    world.for_rounds(ELECTION)
    assert not future.done()
    cuts.lost.clear()
    assert done(world, future, rounds=2 * ELECTION) >= acknowledged.index


def test_a_new_leader_is_asked_at_once(world):
    """The one that was asked is gone."""
    leader, rest = others(world)
    done(world, leader.propose(b"x"))
    cuts = Cuts(world)
    cuts.lost.add(16)
    futures = [node.query(last) for node in rest]
    world.for_rounds(20)
    leader.close()
    cuts.lost.clear()
    assert [done(world, future) for future in futures] == [b"x", b"x"]


def test_any_number_shares_a_round_of_heartbeats(world):
    leader, (node, _) = others(world)
    done(world, leader.propose(b"x"))
    for reader in (leader, node):
        world.for_rounds(3)
        before = len(world.trace)
        futures = [reader.read() for _ in range(1000)]
        world.until(lambda futures=futures: all(future.done() for future in futures), 40)
        assert len(world.trace) - before <= 16
        assert len({future.result(0) for future in futures}) == 1


def test_the_next_question_waits_for_no_tick(impl):
    """What a read that came while one was under way waits for is a round trip, not the time of a tick."""
    network = impl.MemoryNetwork()
    config = {"tick_ms": 10_000, "election_ticks": 3}
    nodes = [
        impl.Node(impl.Config(id=id, **config), impl.MemoryStorage(voters=[1, 2]), network.transport()).start()
        for id in (1, 2)
    ]
    while nodes[0].campaign().exception(30) is not None:
        time.sleep(0.05)
    follower = nodes[1]
    assert follower.wait_ready(30) == 1
    network.set_faults(delay=(0.02, 0.02))
    began = time.monotonic()
    for _ in range(5):
        futures = []
        for _ in range(2):
            futures.append(follower.read())
            time.sleep(0.01)  # it is under way now, and the answer takes longer
        for future in futures:
            assert future.result(30)
    assert time.monotonic() - began < WAIT  # each of them would wait for a tick
    for node in nodes:
        node.close()


def test_what_is_asked_meanwhile_waits_for_the_next_answer(world):
    """An answer serves what was asked for before its question, and nothing else."""
    leader, (node, _) = others(world)
    done(world, leader.propose(b"first"))
    cuts = Cuts(world)
    cuts.lost.add(16)
    early = node.query(last)
    world.for_rounds(5)
    late = node.query(last)
    world.skipped.add((node.id, "apply"))
    cuts.lost.clear()
    world.until(lambda: any(kind == 16 for _, _, kind in cuts.seen[-20:]))
    second = done(world, leader.propose(b"second"))
    third = node.read()
    world.skipped.clear()
    assert done(world, early) in (b"first", b"second") and done(world, late) in (b"first", b"second")
    assert done(world, third) >= second.index


def test_without_a_leader_it_is_not_done(impl):
    """In its time, and not before; also when the node ends."""
    world = World(impl, 3, proposal_timeout_ms=400)
    leader, (node, other) = others(world)
    leader.close()
    other.close()
    world.until(lambda: node.leader_id == 0)
    future, began = node.read(), world.rounds
    with pytest.raises(impl.NotDone, match="no leader is known here"):
        done(world, future)
    assert world.rounds - began >= 390
    open_one = node.query(last)
    world.for_rounds(2)
    node.close()
    with pytest.raises(impl.NotDone, match="stopped"):
        open_one.result(0)
    for ask in (node.read, lambda: node.query(last)):
        with pytest.raises(impl.Stopped):
            ask()


def test_one_that_is_not_answered_beside_a_known_leader_does_not_blame_it(world, impl):
    """The machine is behind: the leader is there."""
    leader, (node, _) = others(world)
    world.skipped.add((node.id, "apply"))
    done(world, leader.propose(b"x"))
    future = node.read()
    with pytest.raises(impl.NotDone, match="no outcome within its time") as raised:
        done(world, future)
    assert "no leader" not in str(raised.value)
    world.skipped.clear()


def test_a_function_that_raises_is_its_callers_trouble(world, impl):
    """So is one that ends a thread, elsewhere. The node goes on."""
    leader, _ = others(world)

    for error in (KeyError("x"), SystemExit(3)):

        def fail(_machine, error=error):
            raise error

        future = leader.query(fail)
        world.until(future.done)
        assert future.exception(0) is error
    # What takes results one by one, map for example, would end as if there were no more of them.
    futures = [leader.query(lambda machine: next(iter(()))) for _ in range(3)]
    world.until(lambda: all(future.done() for future in futures))
    with pytest.raises(RuntimeError, match="StopIteration came out of") as raised:
        list(map(impl.Future.result, futures))
    assert isinstance(raised.value.__cause__, StopIteration)
    assert leader.failure is None
    assert done(world, leader.query(lambda machine: None)) is None
    for wrong in (None, 7, "f"):
        with pytest.raises(impl.UsageError, match="function must be callable"):
            leader.query(wrong)


def test_a_query_needs_a_state_machine(impl):
    storage = impl.MemoryStorage(voters=[1])
    config = impl.Config(id=1, tick_ms=10, election_ticks=2)
    with impl.Node(config, storage, impl.MemoryNetwork().transport()) as node:
        assert node.wait_ready(20) == 1
        with pytest.raises(impl.UsageError, match="no state_machine"):
            node.query(lambda machine: machine)
        assert node.read().result(20) >= 1
    with pytest.raises(impl.Stopped):
        node.query(lambda machine: machine)


def test_it_is_waited_for_a_leader_and_for_what_was_acknowledged(impl):
    """In threads, as users do."""
    network = impl.MemoryNetwork()
    nodes = [
        impl.Node(
            impl.Config(id=id, tick_ms=10, election_ticks=5), impl.MemoryStorage(voters=[1, 2]), network.transport()
        )
        for id in (1, 2)
    ]
    with pytest.raises(impl.Stopped):
        nodes[0].wait_leader(0)
    nodes[0].start()
    with pytest.raises(TimeoutError, match="no leader"):
        nodes[0].wait_leader(0.05)
    with pytest.raises(TimeoutError):
        nodes[0].wait_ready(0.05)
    with pytest.raises(impl.UsageError, match="timeout"):
        nodes[0].wait_leader("soon")
    with pytest.raises(impl.UsageError, match="timeout"):
        nodes[0].wait_ready("soon")
    found = []
    thread = threading.Thread(target=lambda: found.append(nodes[0].wait_ready(30)))
    thread.start()
    nodes[1].start()
    leader = nodes[1].wait_leader(30)
    thread.join(30)
    assert found == [leader]
    acknowledged = nodes[leader - 1].propose(b"x").result(30)
    for node in nodes:
        assert node.wait_ready(30) == leader and node.applied_index >= acknowledged.index
    for node in nodes:
        node.close()


def test_too_many_are_not_done_at_once(world, impl, monkeypatch):
    monkeypatch.setattr(module(impl, "node.readers"), "READS_MAX", 10)
    _, (node, _) = others(world)
    world.skipped.add((node.id, "engine"))
    futures = [node.read() for _ in range(12)]
    assert [future.done() for future in futures] == [False] * 10 + [True] * 2
    with pytest.raises(impl.NotDone, match="wait already"):
        futures[-1].result(0)
    world.skipped.clear()
    assert all(done(world, future) for future in futures[:10])


def test_answers_to_an_earlier_life_do_not_count(world, impl):
    """Its numbers begin again: what was asked then was asked before. Nor do answers to what nobody has asked yet."""
    reads = world.engine(1).reads
    outbox = module(impl, "_native.outbox")
    core = world.engine(1).core
    own = reads_life(world, 1)
    late = world.clock.py_boot() + 10**12
    for number, (life, asked_at, counts) in enumerate(((own - 1, 1, False), (own, late, False), (own, 1, True))):
        numbers = ((1 << 40) + number, life, asked_at, core.term)
        question = b"".join(each.to_bytes(8, "little") for each in numbers)
        reads.py_want((1 << 40) + number)
        world.skipped.update({(1, "apply")})
        core.read_states.py_push(
            outbox.Message(15, index=core.committed, entries=[impl.Entry(0, 0, question)], sender=1)
        )
        reads_before = reads.answered
        world.run()
        assert (reads.answered > reads_before) == counts
    world.skipped.clear()


def reads_life(world, id):
    return world.nodes[id].status().life


def test_a_member_that_does_not_lead_passes_no_read_on(world, impl):
    """Two that take each other for the leader would never end to."""
    _, (node, other) = others(world)
    codec = impl._core.Codec(node.config.cluster, other.id, other.status().life)
    before = node.status().messages_unserved
    question = impl.Message(15, entries=[impl.Entry(0, 0, bytes(16))], hint=other.id)
    world.receive[node.id](codec.encode(node.id, [question]))
    world.for_rounds(3)
    assert node.status().messages_unserved == before + 1


def test_a_thread_that_is_slow_to_ask_is_not_forgotten(world):
    """Another one asks, and is answered, between two steps of the first."""
    _, (node, _) = others(world)
    readers = node._parts.applier.readers

    class Slow(type(readers.waiting)):
        def append(self, item):
            readers.waiting = waiting
            assert done(world, node.read()) > 0
            waiting.append(item)

    waiting, readers.waiting = readers.waiting, Slow()
    future = node.read()
    assert done(world, future, rounds=1000) > 0


async def asked(machine):
    return machine


def yielding(machine):
    yield machine


class Called:
    async def __call__(self, machine):
        return machine


@pytest.mark.parametrize("function", [asked, yielding, Called(), functools.partial(asked)])
def test_what_nobody_would_run_is_refused(impl, function):
    world = World(impl, 1)
    try:
        node = world.leader()
        with pytest.raises(impl.UsageError, match="function must be an ordinary function"):
            node.query(function)
        future = node.query(lambda machine: function(machine))
        world.until(future.done)
        with pytest.raises(impl.UsageError, match="would run beside the state machine"):
            future.result()
        assert node.failure is None
    finally:
        world.close()
