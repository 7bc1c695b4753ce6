"""Nothing is dropped for want of room in a queue: proposals and appends wait where they are, and go together.

Whole nodes, stepped: a round takes a millisecond, so an acknowledgement is there after a few rounds.
"""

import pytest

from tests.helpers.implementations import module
from tests.helpers.meetings import begun
from tests.helpers.reading import ELECTION, Cuts, others
from tests.helpers.stepped import TICK_MS, World

MANY = 60


@pytest.fixture
def world(impl):
    made = World(impl, 3)
    made.leader()
    made.until(lambda: begun(made.nodes.values()))
    made.for_rounds(2 * TICK_MS)
    yield made
    made.close()


def sent(world, sender, to, kind):
    """Messages of a kind that went from one member to another."""
    codec = world.impl._core.Codec(world.nodes[to].config.cluster, to, 1)
    found = []
    for who, recipient, frame, _ in world.trace:
        if (who, recipient) == (sender, to):
            found += [message for message in codec.decode(frame) if message.kind == kind]
    return found


def kinds(world):
    return module(world.impl, "types")


def all_done(world, futures, rounds=3000):
    world.until(lambda: all(future.done() for future in futures), rounds)
    assert [future.exception(0) for future in futures] == [None] * len(futures)


# --- appends ----------------------------------------------------------------------------------------


def test_small_appends_wait_for_an_acknowledgement_and_go_together(world):
    leader, followers = others(world)
    for node in followers:
        world.skipped.add((node.id, "disk"))  # nothing is acknowledged
    world.trace.clear()
    futures = []
    for number in range(MANY):
        futures.append(leader.propose(b"%d" % number))
        world.run()
    for node in followers:
        appends = [m for m in sent(world, leader.id, node.id, kinds(world).MSG_APP) if m.entries]
        beats = len(sent(world, leader.id, node.id, kinds(world).MSG_HEARTBEAT))
        assert 2 <= len(appends) <= 2 + beats
    world.skipped.clear()
    all_done(world, futures)


def test_a_large_append_does_not_wait(world):
    leader, followers = others(world)
    for node in followers:
        world.skipped.add((node.id, "disk"))
    world.trace.clear()
    futures = []
    for _ in range(5):
        futures.append(leader.propose(bytes(100_000)))
        world.run()
    world.run()
    for node in followers:
        assert len([m for m in sent(world, leader.id, node.id, kinds(world).MSG_APP) if m.entries]) == 5
    world.skipped.clear()
    all_done(world, futures)


def test_what_is_held_goes_after_a_heartbeat_when_the_appends_before_it_were_lost(world):
    leader, (node, _) = others(world)
    cuts = Cuts(world)
    cuts.lost_to[node.id] = {kinds(world).MSG_APP}
    first = []
    for number in range(3):
        first.append(leader.propose(b"%d" % number))
        world.run()
    cuts.lost_to.clear()
    all_done(world, first)  # the other follower has them
    last = world.engine(leader.id).core.log.last
    world.until(lambda: world.engine(node.id).core.committed == last, 10 * TICK_MS)


def test_the_commit_index_goes_with_entries_and_alone_at_once_where_there_are_none(world):
    leader, (node, _) = others(world)
    core, follower = world.engine(leader.id).core, world.engine(node.id).core
    futures = []
    for number in range(MANY):
        world.trace.clear()
        futures.append(leader.propose(b"%d" % number))
        world.run()
        assert len(sent(world, leader.id, node.id, kinds(world).MSG_APP)) <= 1
    all_done(world, futures)
    for _ in range(5):
        # At any distance from the next heartbeat.
        future = leader.propose(b"the last one")
        world.until(future.done)
        world.for_rounds(3)
        assert follower.committed == core.committed


# --- proposals that are passed on ---------------------------------------------------------------------


def test_proposals_that_are_passed_on_wait_for_the_leader_and_go_together(world):
    leader, (node, _) = others(world)
    world.skipped.add((leader.id, "engine"))  # it takes nothing for a while, less than an election timeout
    world.trace.clear()
    futures = []
    for number in range(3 * TICK_MS):
        futures.append(node.propose(b"%d" % number))
        world.run()
    assert len(sent(world, node.id, leader.id, kinds(world).MSG_PROP)) == 2
    world.skipped.clear()
    all_done(world, futures)
    assert len(sent(world, node.id, leader.id, kinds(world).MSG_PROP)) <= 4
    assert world.engine(node.id).gauges.frames_dropped == 0


def test_they_go_on_as_soon_as_the_leader_has_answered(world):
    node = others(world)[1][0]
    futures = []
    for number in range(12):
        futures.append(node.propose(b"%d" % number))
        world.run()
    all_done(world, futures, 2 * TICK_MS)


def test_many_large_proposals_through_a_follower_are_all_done(world):
    leader, (node, _) = others(world)
    world.skipped.add((leader.id, "engine"))
    world.trace.clear()
    futures = [node.propose(bytes(600_000)) for _ in range(40)]
    world.for_rounds(3 * TICK_MS)
    passed = sum(len(entry.data) for m in sent(world, node.id, leader.id, kinds(world).MSG_PROP) for entry in m.entries)
    assert 4 << 20 < passed <= 8 << 20
    world.skipped.clear()
    all_done(world, futures)
    assert world.engine(node.id).gauges.frames_dropped == 0


def test_proposals_that_were_lost_hold_up_others_for_a_moment_only(world):
    leader, (node, _) = others(world)
    cuts = Cuts(world)
    cuts.lost_to[leader.id] = {kinds(world).MSG_PROP}
    lost = []
    for number in range(2):
        lost.append(node.propose(b"lost %d" % number))
        world.for_rounds(2)
    cuts.lost_to.clear()
    future = node.propose(b"after them")
    world.for_rounds(2)
    assert not future.done()
    all_done(world, [future], 6 * TICK_MS)
    assert not any(each.done() for each in lost)  # they may still be on their way


def test_windows_are_smaller_than_the_queues_of_a_transport(impl):
    fitted = module(impl, "node.opening").fitted
    config = impl.Config(id=1)

    class Queues:
        queue_frames = 20
        send_bytes = 6 << 20

    made = fitted(config, Queues())
    assert (made.max_inflight_messages, made.max_inflight_bytes) == (10, 3 << 20)
    assert fitted(config, object()).max_inflight_messages == config.max_inflight_messages
    Queues.queue_frames, Queues.send_bytes = 1, 64 << 10
    made = fitted(config, Queues())
    assert (made.max_inflight_messages, made.max_inflight_bytes) == (1, config.max_message_bytes)


# --- disks that stand still -----------------------------------------------------------------------------


def test_a_stall_of_all_disks_costs_no_election(world):
    leader, _ = others(world)
    term = world.engine(leader.id).core.term
    future = leader.propose(b"before")
    world.skipped |= {(id, "disk") for id in world.nodes}
    world.for_rounds(2)
    more = leader.propose(b"meanwhile")
    world.for_rounds(5 * ELECTION)
    assert not future.done()
    assert leader.is_leader
    world.skipped.clear()
    all_done(world, [future, more])
    assert world.engine(leader.id).core.term == term


def test_a_leader_hands_over_when_only_its_own_disk_stalls(world):
    leader, followers = others(world)
    term = world.engine(leader.id).core.term
    world.skipped.add((leader.id, "disk"))
    world.trace.clear()
    future = leader.propose(b"meanwhile")
    world.until(lambda: any(node.is_leader for node in followers), 2 * ELECTION)
    assert any(sent(world, leader.id, node.id, kinds(world).MSG_TIMEOUT_NOW) for node in followers)
    world.skipped.clear()
    world.until(future.done)
    assert future.exception(0) is None
    assert world.engine(leader.id).core.term == term + 1


def test_a_disk_that_is_the_last_to_go_on_costs_no_leader(world):
    """After all have stood still for long: it counts from when the others were ahead."""
    leader, followers = others(world)
    term = world.engine(leader.id).core.term
    world.skipped |= {(id, "disk") for id in world.nodes}
    future = leader.propose(b"meanwhile")
    world.for_rounds(5 * ELECTION)
    world.skipped -= {(node.id, "disk") for node in followers}
    world.for_rounds(ELECTION // 2)
    assert leader.is_leader and world.engine(leader.id).stall.ticks > 0
    world.skipped.clear()
    all_done(world, [future])
    world.for_rounds(2 * ELECTION)
    assert leader.is_leader and world.engine(leader.id).core.term == term


def test_a_leader_that_can_hand_over_to_nobody_resigns(world):
    """Who would take over does not hear of it: then others elect one."""
    leader, followers = others(world)
    cuts = Cuts(world)
    cuts.lost.add(kinds(world).MSG_TIMEOUT_NOW)
    world.skipped.add((leader.id, "disk"))
    leader.propose(b"meanwhile")
    world.for_rounds(ELECTION + 5 * TICK_MS)
    assert leader.is_leader
    world.until(lambda: any(node.is_leader for node in followers), 6 * ELECTION)
    world.skipped.clear()
