"""Priorities: who is preferred leads again once it has come back, and nobody is asked in vain or without end."""

import pytest

from tests.helpers.implementations import module
from tests.helpers.meetings import begun
from tests.helpers.reading import ELECTION, Cuts, done, slowed
from tests.helpers.stepped import World

# Two of the same: one that is preferred votes for no other whose log is no newer.
PREFERRED = {1: {"priority": 5}, 2: {"priority": 0}, 3: {"priority": 0}}


@pytest.fixture
def world(impl):
    made = World(impl, 3, each=PREFERRED, max_apply_bytes=1)
    made.until(lambda: made.nodes[1].is_leader, 20_000)
    made.until(lambda: begun(made.nodes.values()))
    yield made
    made.close()


def fail(world, id):
    world.executors[id].kill()
    world.receive.pop(id, None)
    world.storages[id].crash()


def test_the_preferred_member_leads_again_when_it_has_come_back(world):
    done(world, world.nodes[1].propose(b"before"))
    fail(world, 1)
    world.nodes.pop(1)
    new = world.leader()
    done(world, new.propose(b"meanwhile"))
    world.start(1)
    world.until(lambda: world.nodes[1].is_leader, 20_000)
    assert [entry[2] for entry in world.machines[1].entries] == [b"before", b"meanwhile"]
    term = world.nodes[1].term
    assert done(world, world.nodes[1].propose(b"after"))
    world.for_rounds(10 * ELECTION)
    assert world.nodes[1].is_leader and world.nodes[1].term == term


def test_it_is_handed_over_without_a_gap(world):
    """By a transfer: no timeout passes, and the others have heard of a leader all the time."""
    done(world, world.nodes[1].transfer_leadership(3))
    term = world.nodes[3].term
    world.until(lambda: world.nodes[1].is_leader)
    assert world.nodes[1].term == term + 1


def test_not_more_often_than_every_few_election_timeouts(world):
    """The member does not take over: it is asked again, after a pause."""
    leader = world.nodes[1]
    done(world, leader.transfer_leadership(2))
    cuts = Cuts(world)
    cuts.lost.add(14)  # TimeoutNow
    world.for_rounds(45 * ELECTION)
    assert world.nodes[2].is_leader
    assert 2 <= len(asked(cuts)) <= 4  # the third one comes twenty election timeouts after the second one
    cuts.lost.clear()
    world.until(lambda: leader.is_leader, 50 * ELECTION)


def asked(cuts):
    return [each for each in cuts.seen if each[2] == 14]


@pytest.mark.parametrize("why", ["behind", "far behind in applying", "full", "silent"])
def test_not_to_one_that_could_not_go_on(world, impl, why):
    leader, engine = world.nodes[1], world.engine(1)
    done(world, leader.transfer_leadership(3))
    other = world.nodes[3]
    cuts = Cuts(world)
    if why == "silent":
        cuts.members.add(1)
    elif why == "behind":
        world.skipped.add((1, "disk"))
        done(world, other.propose(b"x"))
    elif why == "full":
        told_full(world, impl, 1)
    else:
        slowed(world, 1, 60)
        futures = [other.propose(b"x") for _ in range(100)]
        world.until(lambda: all(future.done() for future in futures) and engine.codec.behind)
        cuts.seen.clear()
    for _ in range(6 * ELECTION):
        world.run()
        assert world.engine(3).core.transferee == 0
    assert not asked(cuts) and other.is_leader
    world.skipped.clear()
    if why == "far behind in applying":
        assert engine.codec.behind  # all the time


def told_full(world, impl, id):
    """What the frames of a member say of its disk, from now on."""
    node = world.nodes[id]
    codec = impl._core.Codec(node.config.cluster, id, node.status().life)
    codec.no_room = True
    for to, deliver in list(world.receive.items()):

        def take(frame, to=to, deliver=deliver):
            if int.from_bytes(bytes(frame[32:40]), "little") == id:
                frame = codec.encode(to, world.impl._core.Codec(node.config.cluster, to, 1).decode(bytes(frame)))
            deliver(frame)

        world.receive[to] = take


def test_nobody_is_preferred_to_one_of_the_same_priority(impl):
    world = World(impl, 3, priority=3)
    leader = world.leader()
    term = leader.term
    world.until(lambda: begun(world.nodes.values()))
    world.for_rounds(15 * ELECTION)
    assert leader.is_leader and leader.term == term
    world.close()


def test_a_hello_tells_the_priority(world, impl):
    """With the options, which disagreements are still found in."""
    assert {node.status().disagreements == {} for node in world.nodes.values()} == {True}
    unit = module(impl, "node.rows").PRIORITY_UNIT
    said = world.engine(3).hellos.heard()
    assert {id: each[4] // unit for id, each in said.items()} == {1: 5, 2: 0}
