"""Nothing is dropped for want of room in a queue: proposals and appends wait where they are, and go together.

Whole nodes, stepped: a round takes a millisecond, so an acknowledgement is there after a few rounds.
"""

import pytest

from raftx import _pure
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


class Slow:
    """A network that takes so many rounds for a frame, and from one member to another so many bytes a round."""

    def __init__(self, world, rounds, way=None, rate=1 << 40):
        self.world, self.rounds, self.way, self.rate = world, rounds, way, rate
        self.late, self.most, self.run_once = [], 0, world.run
        self.slow_from = 0
        for to, deliver in list(world.receive.items()):
            world.receive[to] = self.through(to, deliver)
        world.run = self.run

    def through(self, to, deliver):
        def take(frame):
            due = self.world.rounds + self.rounds
            if (int.from_bytes(bytes(frame[32:40]), "little"), to) == self.way:
                begin = max(self.slow_from, self.world.rounds)
                self.slow_from = begin + len(frame) / self.rate
                self.most = max(self.most, (self.slow_from - self.world.rounds) * self.rate)
                due += self.slow_from - self.world.rounds
            self.late.append((due, deliver, bytes(frame)))

        return take

    def run(self):
        self.run_once()
        now, self.late = (
            [each for each in self.late if each[0] <= self.world.rounds],
            [each for each in self.late if each[0] > self.world.rounds],
        )
        for _, deliver, frame in now:
            deliver(frame)


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


def test_through_a_follower_far_away_nothing_is_refused(impl):
    """A round trip of ten ticks: nothing that was passed on is lost, and soon nothing is taken for it."""
    world = World(impl, 3, election_ticks=60)
    leader = world.leader()
    world.until(lambda: begun(world.nodes.values()))
    world.until(lambda: all([node.leader_id for node in world.nodes.values()]))
    node = others(world)[1][0]
    Slow(world, 5 * TICK_MS)
    world.trace.clear()
    futures = []
    for number in range(3000):
        if number % 2 == 0:
            futures.append(node.propose(b"%d" % number))
        world.run()
    passed = len(sent(world, node.id, leader.id, kinds(world).MSG_PROP))
    world.for_rounds(20 * TICK_MS)
    all_done(world, futures)
    engine = world.engine(node.id)
    assert engine.gauges.frames_dropped == 0
    assert engine.passing.patience > 10  # ticks of a round trip
    assert 3000 // (11 * TICK_MS) <= passed <= 3 * 3000 // (10 * TICK_MS)
    world.close()


def test_what_waits_for_a_slow_network_is_bounded(impl):
    """A large frame takes longer than a lost one is waited for: what is on its way does not grow for that."""
    sizes = {"max_inflight_bytes": 1 << 20, "max_message_bytes": 100_000}
    world = World(impl, 3, election_ticks=60, proposal_timeout_ms=60_000, **sizes)
    leader = world.leader()
    world.until(lambda: begun(world.nodes.values()))
    world.until(lambda: all([node.leader_id for node in world.nodes.values()]))
    node = others(world)[1][0]
    slow = Slow(world, 1, (node.id, leader.id), 2000)
    futures = [node.propose(bytes(90_000)) for _ in range(40)]
    all_done(world, futures, 6000)
    assert world.engine(node.id).gauges.frames_dropped == 0
    assert slow.most < 1.5 * (1 << 20)
    world.close()


def test_proposals_larger_than_what_may_be_under_way_go_one_by_one(impl):
    world = World(impl, 3, max_inflight_bytes=1 << 20)
    leader = world.leader()
    world.until(lambda: begun(world.nodes.values()))
    world.until(lambda: all([node.leader_id for node in world.nodes.values()]))
    node = others(world)[1][0]
    world.skipped.add((leader.id, "engine"))
    world.trace.clear()
    futures = [node.propose(bytes(800_000)) for _ in range(3)]
    world.for_rounds(3 * TICK_MS)
    assert len(sent(world, node.id, leader.id, kinds(world).MSG_PROP)) == 1
    world.skipped.clear()
    all_done(world, futures)
    assert len(sent(world, node.id, leader.id, kinds(world).MSG_PROP)) == 3
    world.close()


def test_windows_count_the_headers_of_entries_too(world):
    """The queue of a transport has room for them as well: of small entries they are half."""
    leader, followers = others(world)
    for node in followers:
        world.skipped.add((node.id, "disk"))
    core = world.engine(leader.id).core
    before = core.log.last
    futures = [leader.propose_many([b"x"] * 2000) for _ in range(4)]
    world.for_rounds(5)
    bytes_sent = sum(map(len, core.log.view(before + 1, core.log.last)))
    windows = [core.tracker.inflights.bytes_of(slot) for slot in range(3)]
    assert sorted(windows) == [0, bytes_sent, bytes_sent]
    world.skipped.clear()
    all_done(world, futures)


def test_who_was_paused_hears_of_what_is_committed_although_that_is_not_broadcast(impl):
    """With skip_bcast_commit: at once, and not with the next heartbeat."""
    world = World(impl, 3, skip_bcast_commit=True, max_inflight_messages=1, heartbeat_ticks=8, election_ticks=30)
    leader = world.leader()
    world.until(lambda: begun(world.nodes.values()))
    world.until(lambda: all([node.leader_id for node in world.nodes.values()]))
    node = others(world)[1][0]
    core, follower = world.engine(leader.id).core, world.engine(node.id).core
    world.until(lambda: core.heartbeat_elapsed == 0, 20 * TICK_MS)
    world.skipped.add((node.id, "disk"))
    future = leader.propose(b"meanwhile")
    world.until(future.done, 2 * TICK_MS)
    world.for_rounds(3)
    assert follower.committed < core.committed
    world.skipped.clear()
    world.for_rounds(TICK_MS)
    assert 0 < core.heartbeat_elapsed < 5 and follower.committed == core.committed
    world.close()


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


def test_a_leader_stays_when_the_others_were_ahead_and_all_stand_still(world):
    """That they were ahead when it began says nothing about whose disk is better now."""
    leader, _ = others(world)
    core = world.engine(leader.id).core
    term = core.term
    world.skipped.add((leader.id, "disk"))
    future = leader.propose(b"the others have it")
    world.until(lambda: core.committed > core.stable)
    world.skipped |= {(id, "disk") for id in world.nodes}
    more = leader.propose(b"nobody has it")
    world.for_rounds(5 * ELECTION)
    assert leader.is_leader and core.committed > core.stable and not more.done()
    world.skipped -= {(id, "disk") for id in world.nodes if id != leader.id}
    world.until(lambda: not leader.is_leader, 3 * ELECTION)
    world.skipped.clear()
    world.until(lambda: future.done() and more.done())
    assert core.term > term


def test_a_leader_stays_while_the_others_make_durable_what_it_has(impl):
    """They go on while its disk stands still, and are not ahead of it for all that."""
    world = World(impl, 3, max_message_bytes=70_000, max_entry_bytes=70_000, max_frame_bytes=80_000)
    leader = world.leader()
    world.until(lambda: begun(world.nodes.values()))
    node, cut_off = others(world)[1]
    core = world.engine(leader.id).core
    world.skipped |= {(cut_off.id, what) for what in ("engine", "disk", "apply")}
    Slow(world, 1, (leader.id, node.id), 7000)
    futures = [leader.propose(bytes(70_000)) for _ in range(30)]
    world.until(lambda: core.stable == core.log.last > core.committed + 25)
    world.skipped.add((leader.id, "disk"))
    futures.append(leader.propose(b"its disk does not take it"))
    behind = core.committed
    world.for_rounds(int(2.5 * ELECTION))
    assert leader.is_leader and behind + 15 < core.committed < core.stable
    world.skipped.clear()
    all_done(world, futures)
    world.close()


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


@pytest.mark.once
def test_a_frame_that_was_not_sent_is_not_under_way():
    """Wherever it stands in the ring; those before and behind it are waited for as before."""
    passing = module(_pure.load(), "node.passing").Passing(16, 0)
    for begin in range(20):  # the ring has 16 places
        for gone in range(4):
            frames = [(100 * begin + 10 * gone + each, each + 1) for each in range(4)]
            assert passing.opens(begin + 1, 0)
            for last, size in frames:
                passing.passed(last, size)
            passing.dropped(7**9)  # of none of them
            assert passing.bytes == 1 + 2 + 3 + 4
            passing.dropped(frames.pop(gone)[0])
            for last, size in frames:
                assert passing.waits() and passing.last[passing.first % 16] == last
                before = passing.bytes
                passing.answered(last)
                assert before - passing.bytes == size
            assert not passing.waits() and passing.bytes == 0
