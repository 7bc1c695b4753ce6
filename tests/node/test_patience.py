"""Proposals with a timeout: repeated while they are certainly not done, and ended in time whatever happens."""

import threading
import time

import pytest

from tests.helpers.implementations import module
from tests.helpers.meetings import begun
from tests.helpers.stepped import World


def done(world, future, rounds=5000):
    world.until(future.done, rounds)
    return future


def applied(world, id, data):
    return [entry[2] for entry in world.machines[id].entries].count(data)


def test_it_waits_for_a_leader(impl):
    """Asked before there is one: one attempt would not be done."""
    world = World(impl, 3)
    node = world.nodes[1]
    single, patient = node.propose(b"once"), node.propose(b"again", timeout=20)
    with pytest.raises(impl.NotDone, match="no leader"):
        done(world, single).result(0)
    assert not patient.done()
    result = done(world, patient).result(0)
    assert (result.index, result.result) == (result.index, 1)
    world.until(lambda: all(applied(world, id, b"again") == 1 for id in world.ids))
    world.close()


def test_it_goes_on_while_leadership_moves(impl):
    world = World(impl, 3)
    leader = world.leader()
    world.until(lambda: begun(world.nodes.values()))
    follower = next(node for node in world.nodes.values() if node is not leader)
    leader.close()
    futures = [follower.propose(b"%d" % number, timeout=20) for number in range(20)]
    ends = [done(world, future, 20_000).exception(0) for future in futures]
    assert all(end is None or isinstance(end, impl.Unknown) for end in ends)
    assert ends[-1] is None or ends[0] is None
    for number, end in enumerate(ends):
        assert applied(world, follower.id, b"%d" % number) == 1 or end is not None
    world.close()


def test_it_is_not_done_at_its_deadline(impl):
    """Not before, and with the reason of the last attempt."""
    world = World(impl, 3)
    world.leader()
    for id in (2, 3):
        world.nodes[id].close()
    node = world.nodes[1]
    world.until(lambda: node.leader_id == 0, 20_000)
    began = world.clock.py_now()
    future = node.propose(b"x", timeout=0.5)
    with pytest.raises(impl.NotDone, match="no leader"):
        done(world, future).result(0)
    assert 0.5e9 <= world.clock.py_now() - began <= 0.6e9
    world.close()


def test_what_was_handed_over_is_unknown_at_its_deadline(impl):
    """And is not proposed again: it may be done."""
    world = World(impl, 3)
    leader = world.leader()
    world.until(lambda: begun(world.nodes.values()))
    for id in world.ids:
        if id != leader.id:
            world.skipped.update({(id, "engine")})
    future = leader.propose(b"x", timeout=0.05)
    with pytest.raises(impl.Unknown):
        done(world, future).result(0)
    world.skipped.clear()
    world.until(lambda: applied(world, leader.id, b"x") == 1, 20_000)
    world.for_rounds(500)
    assert applied(world, leader.id, b"x") == 1
    world.close()


@pytest.mark.parametrize("hangs", ["apply", "engine"])
def test_it_ends_in_time_whatever_hangs(impl, hangs):
    world = World(impl, 1)
    node = world.leader()
    world.skipped.add((1, hangs))
    began = world.clock.py_now()
    future = node.propose(b"x", timeout=0.3)
    with pytest.raises(impl.Unknown):
        done(world, future).result(0)
    assert world.clock.py_now() - began <= 0.4e9
    world.skipped.clear()
    world.close()


def test_it_ends_with_the_node(impl):
    """Between two attempts it was not done; nothing stays open."""
    world = World(impl, 3)
    node = world.nodes[1]
    waits = node.propose(b"x", timeout=100)
    world.for_rounds(20)
    assert not waits.done()
    world.close()
    assert isinstance(waits.exception(0), impl.NotDone)
    with pytest.raises(impl.Stopped):
        node.propose(b"x", timeout=1)


def test_its_callbacks_hold_up_no_news_of_a_failure(impl):
    """They are the watch thread's: whoever notices the failure runs no foreign code."""

    class Machine:
        def apply(self, entry):
            raise OSError("broken")

    world = World(impl, 1)
    world.nodes[1].close()
    node = world.start(1, machine=Machine())
    world.leader()
    world.skipped.update({(1, "apply"), (1, "watch")})
    called = []
    future = node.propose(b"x", timeout=100)
    future.add_done_callback(called.append)
    world.for_rounds(50)
    assert not future.done()
    world.skipped.discard((1, "apply"))
    world.until(lambda: node.failure is not None)
    assert isinstance(future.exception(0), impl.Unknown) and not called
    world.skipped.clear()
    world.until(lambda: called)
    assert called == [future]
    world.close()


def test_whoever_waits_no_more_is_not_proposed_for(impl):
    world = World(impl, 3)
    node = world.nodes[1]
    future = node.propose(b"x", timeout=100)
    assert future.cancel()
    world.leader()
    world.for_rounds(500)
    assert applied(world, 1, b"x") == 0
    assert not node._parts.watch.patience.open
    world.close()


def test_a_refusal_is_an_outcome(impl):
    class Machine:
        def apply(self, entry):
            raise impl.ApplyError("no")

    world = World(impl, 1)
    world.nodes[1].close()
    node = world.start(1, machine=Machine())
    world.leader()
    with pytest.raises(impl.ApplyError):
        done(world, node.propose(b"x", timeout=5)).result(0)
    world.close()


def test_what_is_no_time(impl):
    world = World(impl, 1)
    node = world.leader()
    for wrong in ("soon", float("nan"), True):
        with pytest.raises(impl.UsageError, match="timeout"):
            node.propose(b"x", timeout=wrong)
    for wrong in ("text", 5, [1, 2], None):
        with pytest.raises(TypeError, match="data must be bytes"):
            node.propose(wrong, timeout=1)
    released = memoryview(b"x")
    released.release()
    with pytest.raises(impl.UsageError, match="released"):
        node.propose(released, timeout=1)
    with pytest.raises(impl.EntryTooLarge):
        node.propose(bytes(node.config.max_entry_bytes + 1), timeout=1)
    assert not node._parts.watch.patience.open
    for timeout in (0, 0.0, -1, -1e300):
        for future in (
            node.propose(b"x", timeout=timeout),
            node.propose_many([b"x"], timeout=timeout),
            node.session().propose(b"x", timeout=timeout),
        ):
            error = done(world, future).exception(0)
            assert type(error) is impl.NotDone and "timeout must be above 0" in str(error)
    assert done(world, node.propose(bytearray(b"x"), timeout=float("inf"))).result(0).index > 0
    world.close()


def test_in_threads(impl):
    """As users do: a client that starts before the others, and waits in result()."""
    network = impl.MemoryNetwork()
    nodes = [
        impl.Node(
            impl.Config(id=id, tick_ms=10, election_ticks=5), impl.MemoryStorage(voters=[1, 2]), network.transport()
        )
        for id in (1, 2)
    ]
    nodes[0].start()
    results = []
    thread = threading.Thread(target=lambda: results.append(nodes[0].propose(b"x", timeout=30).result(40)))
    thread.start()
    time.sleep(0.05)
    nodes[1].start()
    thread.join(40)
    assert len(results) == 1
    assert module(impl, "node.patience").PAUSE_NS > 0
    for node in nodes:
        node.close()


def test_an_attempt_that_is_unknown_is_the_outcome(impl):
    """Long before the deadline: it may be done, so it is not proposed again."""
    world = World(impl, 3, proposal_timeout_ms=100)
    leader = world.leader()
    world.until(lambda: begun(world.nodes.values()))
    for id in world.ids:
        if id != leader.id:
            world.skipped.update({(id, "engine")})
    began = world.clock.py_now()
    with pytest.raises(impl.Unknown):
        done(world, leader.propose(b"x", timeout=20)).result(0)
    assert world.clock.py_now() - began < 1e9
    world.skipped.clear()
    # Another leader may have replaced it; but it is not there twice.
    world.for_rounds(3000)
    assert all(applied(world, id, b"x") <= 1 for id in world.ids)
    world.close()


def test_what_has_ended_leaves_nothing(impl):
    """Deadlines of a year, and nothing of those that ended long before them."""
    world = World(impl, 1)
    node = world.leader()
    patience = node._parts.watch.patience
    for _ in range(30):
        futures = [node.propose(b"x", timeout=3e7) for _ in range(200)]
        world.until(lambda futures=futures: all(future.done() for future in futures))
        world.run()
    assert not patience.open and len(patience._due) <= 2000
    world.close()
