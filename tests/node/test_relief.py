"""A leader that is far behind in applying hands over; and priorities never keep a group without a leader."""

import itertools

import pytest

from tests.helpers.meetings import begun
from tests.helpers.reading import ELECTION, Cuts, done, slowed
from tests.helpers.stepped import TICK_MS, World

PREFERRED = {1: {"priority": 5}, 2: {"priority": 3}, 3: {"priority": 0}}
PRE_VOTE, VOTE = 17, 5


def made(impl, each=PREFERRED, **settings):
    world = World(impl, 3, each=each, max_apply_bytes=1, **settings)
    world.leader()
    world.until(lambda: begun(world.nodes.values()))
    return world


@pytest.fixture
def world(impl):
    found = made(impl)
    found.until(lambda: found.nodes[1].is_leader, 20_000)
    yield found
    found.skipped.clear()
    found.close()


def fill(world, leader, count=200):
    for number in range(count):
        leader.propose(b"%d" % number)


def far(world, id):
    """Whether a member is far behind."""
    return world.engine(id).lag.wait > ELECTION // TICK_MS


def test_a_leader_that_stays_far_behind_hands_over(world):
    """To the voter of the highest priority that is fit, by a transfer; proposals are served again."""
    term = world.nodes[1].term
    slowed(world, 1, 60)
    fill(world, world.nodes[1])
    world.until(lambda: far(world, 1))
    began = world.rounds
    world.until(lambda: world.nodes[2].is_leader, 20 * ELECTION)
    assert 4 * ELECTION <= world.rounds - began <= 10 * ELECTION
    assert world.nodes[2].term == term + 1  # nobody has campaigned unasked
    assert done(world, world.nodes[2].propose(b"served"))


def test_not_one_that_is_behind_for_a_moment(world):
    slowed(world, 1, 20)
    fill(world, world.nodes[1], 10)
    world.until(lambda: far(world, 1))
    world.until(lambda: world.engine(1).lag.wait == 0, 30 * ELECTION)
    world.for_rounds(4 * ELECTION)
    assert world.nodes[1].is_leader


def test_nor_one_that_has_nobody_to_hand_over_to(world):
    """All are behind: it goes on leading, as well as it can, until one of them is not."""
    for id in (1, 2, 3):
        slowed(world, id, 60)
    fill(world, world.nodes[1])
    world.until(lambda: far(world, 1) and far(world, 2) and far(world, 3), 20 * ELECTION)
    cuts = Cuts(world)
    for _ in range(15 * ELECTION):
        world.run()
        assert world.nodes[1].is_leader
    assert not [each for each in cuts.seen if each[2] == 14]


@pytest.mark.slow
def test_it_is_not_asked_back_at_once(world):
    """Each time that it falls behind again it is left alone for longer: leadership does not go to and fro."""
    changes, leader = [], world.nodes[1]
    executor = world.executors[1]
    step = executor.step
    # Its state machine stands still whenever it leads, and goes on when it does not.
    executor.step = lambda name: True if name == "apply" and leader.is_leader else step(name)
    before = 1
    for _ in range(150 * ELECTION // TICK_MS):
        for _ in range(TICK_MS):
            world.run()
        now = next((node for node in world.nodes.values() if node.is_leader), None)
        if now is not None:
            if now.id != before:
                changes.append((world.rounds, now.id))
                before = now.id
            now.propose(b"x")
    # In 150 election timeouts without such a pause there would be about twenty turns of its own.
    turns = [at for at, id in changes if id == 1]
    assert 2 <= len(turns) <= 4
    gaps = [(later - sooner) / ELECTION for sooner, later in itertools.pairwise(turns)]
    assert gaps == sorted(gaps) and gaps[0] > 10
    assert {id for _, id in changes} == {1, 2}


def test_one_that_has_been_well_for_long_is_asked_back_as_soon_as_before(world):
    engine = world.engine(1)
    lag = engine.lag
    slowed(world, 1, 60)
    fill(world, world.nodes[1], 20)
    world.until(lambda: world.nodes[2].is_leader, 30 * ELECTION)
    assert lag.rest_timeouts == 20 and engine.codec.behind
    world.until(lambda: not engine.codec.behind, 40 * ELECTION)
    world.until(lambda: lag.rest_timeouts == 10, 25 * ELECTION)
    world.until(lambda: world.nodes[1].is_leader, 20 * ELECTION)


# --- elections ------------------------------------------------------------------------------------------


def led_by(world, id):
    """Another one leads than the one that is preferred, which is told that it would rather not."""
    done(world, world.nodes[1].transfer_leadership(id))
    return world.nodes[id]


def elected(world, gone, bound):
    """Who is elected when a leader is gone, within so many election timeouts."""
    world.executors[gone].kill()
    world.receive.pop(gone, None)
    world.nodes.pop(gone)
    began = world.rounds
    new = world.until(lambda: next((node for node in world.nodes.values() if node.is_leader), None), 60 * ELECTION)
    took = (world.rounds - began) / ELECTION
    assert took < bound, f"it took {took} election timeouts"
    return new


@pytest.mark.parametrize("why", ["far behind", "change of membership"])
def test_a_voter_that_cannot_campaign_lets_one_of_lower_priority_be_elected(world, impl, why):
    """Its log is as new, and it is needed for a majority."""
    leader = led_by(world, 2)
    if why == "change of membership":
        # It may not campaign before this is applied, which never happens.
        world.skipped.add((1, "apply"))
        kinds = impl.ConfChangeKind
        change = leader.change_configuration([impl.ConfChangeSingle(kinds.ADD_LEARNER, 9)], {9: "memory:9"})
        done(world, change)
    else:
        slowed(world, 1, 300)
        fill(world, leader, 40)
        world.until(lambda: world.nodes[3].applied_index == leader.applied_index > 40 and far(world, 1))
    world.until(lambda: world.engine(1).core.log.last == world.engine(3).core.log.last)
    assert elected(world, 2, 6).id == 3


def test_a_voter_whose_own_campaigns_reach_nobody_holds_nobody_up_for_ever(world):
    """What it asks is lost, what it answers is not: after some election timeouts its priority does not count."""
    led_by(world, 2)
    world.until(lambda: world.engine(1).core.log.last == world.engine(3).core.log.last)
    cuts = Cuts(world)
    cuts.lost_to[3] = {PRE_VOTE, VOTE}
    assert elected(world, 2, 14).id == 3


def test_priorities_count_again_when_there_is_a_leader(world):
    leader = led_by(world, 2)
    engine = world.engine(1)
    assert engine.core.priority == 5
    Cuts(world).members.add(1)
    world.until(lambda: engine.core.priority == 0, 12 * ELECTION)
    assert engine.preference.leaderless > 6 * ELECTION // TICK_MS
    world.receive.clear()
    for each in world.nodes.values():
        world.receive[each.id] = each._parts.engine.link.deliver
    world.until(lambda: engine.core.lead == leader.id, 20 * ELECTION)
    world.for_rounds(2 * TICK_MS)
    assert engine.core.priority == 5
