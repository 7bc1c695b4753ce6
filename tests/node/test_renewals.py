"""Sessions that are kept alive: they outlast any idleness, and nothing else; and what that costs."""

from __future__ import annotations

import gc

import pytest

from tests.helpers.banks import led_banks

SECOND = 100  # rounds


@pytest.fixture
def make(impl):
    yield from led_banks(impl)


def entries(world):
    return world.leader().commit_index


def idle(world, seconds):
    """Time passes in which nobody uses a session; the cluster's entries have times all the same."""
    for _ in range(seconds):
        world.for_rounds(SECOND)
        world.ended(world.leader().propose(b"tick"))


def test_an_idle_session_lives_as_long_as_its_node(make, impl):
    """Renewed at a fraction of its time-to-live, wherever its member stands."""
    world = make()
    leader = world.leader()
    follower = next(node for node in world.nodes.values() if node is not leader)
    for node in (leader, follower):
        kept = node.session(f"kept {node.id}", ttl=3.0)
        left = node.session(f"left {node.id}", ttl=3.0, keep_alive=False)
        for session in (kept, left):
            assert world.ended(session.propose(b"one")).index
        before = entries(world)
        idle(world, 12)
        # Twelve ticks, and four renewals in four times its life, or a few more.
        assert 12 + 8 <= entries(world) - before <= 12 + 14
        assert world.ended(kept.propose(b"two")).index
        assert isinstance(world.ended(left.propose(b"late")), impl.SessionExpired)
        # As long as there is anything of them, they are renewed.
        del kept, left, session
        gc.collect()


def test_who_uses_it_needs_no_renewal(make):
    world = make(1)
    session = world.leader().session("s", ttl=3.0)
    world.ended(session.open())
    before = entries(world)
    for _ in range(24):
        world.for_rounds(SECOND // 2)
        world.ended(session.propose(b"x"))
    assert entries(world) - before == 24


def test_a_process_that_stands_still_for_too_long_has_lost_it(make, impl):
    """The others' time goes on: when it goes on itself, it learns that the session has expired."""
    world = make()
    leader = world.leader()
    node = next(node for node in world.nodes.values() if node is not leader)
    session = node.session("s", ttl=2.0)
    assert world.ended(session.propose(b"one")).index
    workers = [(node.id, worker.what) for worker in world.executors[node.id].started.values()]
    world.skipped.update(workers)
    idle(world, 3)
    world.skipped.clear()
    world.until(session.has_ended)
    assert isinstance(world.ended(session.propose(b"two")), impl.SessionExpired)
    assert isinstance(world.ended(session.open()), impl.SessionExpired)
    given = [data for data in world.machines[leader.id].given if data != b"tick"]
    assert given == [b"one"]


def test_a_pause_that_is_short_enough_does_no_harm(make):
    world = make()
    leader = world.leader()
    node = next(node for node in world.nodes.values() if node is not leader)
    session = node.session("s", ttl=5.0)
    assert world.ended(session.propose(b"one")).index
    workers = [(node.id, worker.what) for worker in world.executors[node.id].started.values()]
    world.skipped.update(workers)
    idle(world, 2)
    world.skipped.clear()
    idle(world, 6)
    assert world.ended(session.propose(b"two")).index


def test_nobody_renews_what_nobody_has(make, impl):
    """Closed, or dropped by its owner: it is left alone, and the latter is forgotten in time."""
    world = make(1)
    node = world.leader()
    closed, dropped = node.session("closed", ttl=2.0), node.session("dropped", ttl=2.0)
    world.ended(closed.open()), world.ended(dropped.open())
    assert world.ended(closed.close()).result is True
    del closed, dropped
    gc.collect()
    before = entries(world)
    idle(world, 6)
    assert entries(world) - before == 6
    assert world.ended(node.session("dropped").open()) == 0
    renewals = node._parts.watch.renewals
    assert len(renewals._due) + len(renewals._incoming) == 1


def test_what_nobody_has_does_not_stay_until_it_is_due(make):
    """With a long time-to-live that would be for years."""
    world = make(1)
    node = world.leader()
    renewals = node._parts.watch.renewals
    kept = node.session("kept", ttl=1e8)
    for number in range(1000):
        node.session(f"left {number}", ttl=1e8)
        if number % 50 == 0:
            gc.collect()
            world.for_rounds(2)
    gc.collect()
    world.ended(kept.open())
    world.for_rounds(10)
    assert len(renewals._due) + len(renewals._incoming) < 300


def test_who_is_fenced_learns_of_it_by_its_renewal(make, impl):
    world = make(1)
    node = world.leader()
    first = node.session("s", ttl=3.0)
    world.ended(first.propose(b"one"))
    second = node.session("s", ttl=3.0)
    assert world.ended(second.open()) == 1
    world.until(first.has_ended, 2 * SECOND)
    assert isinstance(world.ended(first.propose(b"x")), impl.SessionFenced)
    idle(world, 8)
    assert world.ended(second.propose(b"two")).index


def test_a_renewal_by_its_owner(make, impl):
    world = make(1)
    node = world.leader()
    session = node.session("s", ttl=3.0, keep_alive=False)
    for _ in range(6):
        idle(world, 2)
        assert world.ended(session.renew()) is None
    assert world.ended(session.propose(b"one")).index
    idle(world, 5)
    assert isinstance(world.ended(session.renew()), impl.SessionExpired)
    assert isinstance(world.ended(session.renew()), impl.SessionExpired)
    other = node.session("t")
    world.ended(other.close())
    assert isinstance(world.ended(other.renew()), impl.SessionEnded)
    with pytest.raises(impl.UsageError, match="keep_alive must be True or False, not 1"):
        node.session("u", keep_alive=1)
    with pytest.raises(impl.UsageError):
        session.renew(timeout="soon")


def test_without_a_leader_it_is_tried_again(make):
    """As long as its time is not up."""
    world = make()
    leader = world.leader()
    node = next(node for node in world.nodes.values() if node is not leader)
    session = node.session("s", ttl=30.0)
    world.ended(session.propose(b"one"))
    others = [id for id in world.nodes if id != node.id]
    deliver = {id: world.receive.pop(id) for id in others}
    world.for_rounds(15 * SECOND)
    world.receive.update(deliver)
    world.leader()
    used = session.used_ns
    world.until(lambda: session.used_ns > used, 12 * SECOND)
    assert world.ended(session.propose(b"two")).index
