"""Stale reads: everything that was acknowledged longer ago than their bound is here, or they are not done."""

import pytest

from tests.helpers.reading import ELECTION, Cuts, done, last, met_world, others

AT_ONCE = 4  # rounds


@pytest.fixture
def world(impl):
    yield from met_world(impl)


def stale(node, seconds):
    return node.query(last, level="stale", max_staleness=seconds)


@pytest.mark.parametrize("whose", ["leader", "follower"])
def test_it_is_done_at_once_from_what_is_new_enough(world, whose):
    leader, (node, _) = others(world)
    node = leader if whose == "leader" else node
    done(world, leader.propose(b"x"))
    assert done(world, stale(node, 0.05)) == b"x"
    cuts = Cuts(world)
    cuts.members.add(node.id)
    world.for_rounds(20)
    assert done(world, stale(node, 0.05), AT_ONCE) == b"x"
    index = node.read(level="stale", max_staleness=0.05)
    assert index.done() and index.result(0) == node.applied_index


def test_it_is_never_older_than_its_bound(world):
    """A member that is cut off knows less and less of what is new."""
    leader, (node, _) = others(world)
    done(world, leader.propose(b"before"))
    assert done(world, node.read())
    cuts = Cuts(world)
    cuts.members.add(node.id)
    done(world, leader.propose(b"after"))
    seen = []
    for _ in range(40):
        future = stale(node, 0.03)
        world.for_rounds(AT_ONCE)
        seen.append(future.done() and future.exception(0) is None)
    assert seen[0] and not any(seen[10:])
    assert seen == sorted(seen, reverse=True)
    cuts.members.clear()
    world.for_rounds(3 * ELECTION)
    assert done(world, stale(node, 0.03)) == b"after"


def test_what_is_not_applied_here_is_not_new(world):
    leader, (node, _) = others(world)
    done(world, leader.propose(b"before"))
    assert done(world, node.read())
    world.for_rounds(60)
    world.skipped.add((node.id, "apply"))
    done(world, leader.propose(b"after"))
    future = stale(node, 0.05)
    world.for_rounds(50)
    assert not future.done()
    world.skipped.clear()
    assert done(world, future) == b"after"


def test_an_answer_is_not_what_it_says_before_that_is_here(world):
    """The member knows how far the others are, and is not there yet."""
    leader, (node, _) = others(world)
    done(world, leader.propose(b"before"))
    assert done(world, node.read())
    cuts = Cuts(world)
    cuts.lost_to[node.id] = {3}  # App
    done(world, leader.propose(b"after"))
    world.for_rounds(60)
    waits = node.query(last)
    world.for_rounds(20)
    assert not waits.done()
    future = stale(node, 0.05)
    world.for_rounds(AT_ONCE)
    assert not future.done()
    cuts.lost_to.clear()
    assert done(world, future) == done(world, waits) == b"after"


def test_what_is_new_counts_from_the_question(world):
    """Its answers may have been given long ago."""
    leader, _ = others(world)
    done(world, leader.propose(b"x"))
    world.for_rounds(60)
    cuts = Cuts(world)
    cuts.lost.add(9)  # HeartbeatResp
    future = leader.read()
    world.for_rounds(60)
    assert not future.done()
    cuts.lost.clear()
    done(world, future, 20)
    assert not leader.read(level="stale", max_staleness=0.05).done()
    assert leader.read(level="stale", max_staleness=0.2).done()


def test_it_is_not_done_at_once_where_no_leader_is_known(world, impl):
    leader, (node, _) = others(world)
    done(world, leader.propose(b"x"))
    assert done(world, stale(node, 10.0)) == b"x"
    cuts = Cuts(world)
    cuts.members.add(node.id)
    world.for_rounds(20)
    waits = stale(node, 0.001)
    world.for_rounds(AT_ONCE)
    assert not waits.done()
    world.until(lambda: node.leader_id == 0)
    for future in (waits, stale(node, 0.001), node.read(level="stale", max_staleness=0.001)):
        with pytest.raises(impl.NotDone, match="no leader is known"):
            done(world, future, AT_ONCE)
    # Longer ago than that nothing was asked; but this is new enough for who is content with less.
    assert done(world, stale(node, 10.0), AT_ONCE) == b"x"


def test_questions_are_asked_ahead_of_time(world):
    """While such reads come, none of them waits."""
    leader, (node, _) = others(world)
    done(world, leader.propose(b"x"))
    assert done(world, stale(node, 0.04)) == b"x"
    for _ in range(60):
        assert done(world, stale(node, 0.04), AT_ONCE) == b"x"


def test_what_is_no_staleness(world, impl):
    for wrong in (None, 0, -1.0, float("nan"), "1", True):
        with pytest.raises(impl.UsageError, match="above 0"):
            world.leader().read(level="stale", max_staleness=wrong)
    assert done(world, world.leader().read(level="stale", max_staleness=float("inf")))
    assert done(world, world.leader().read(level="stale", max_staleness=10**400))


def test_too_many_are_not_taken(world, impl):
    _, (node, _) = others(world)
    assert done(world, node.read())
    world.skipped.add((node.id, "apply"))
    readers = node._parts.applier.readers
    readers.added.extend([(2**60, 0, None)] * 65_536)
    with pytest.raises(impl.Busy, match="wait already"):
        stale(node, 10.0).result(0)
    with pytest.raises(impl.Busy, match="wait already"):
        node.wait_applied(10**6, timeout=1)
    readers.added.clear()
    world.skipped.clear()
