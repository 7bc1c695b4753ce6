"""A state machine that is behind: who campaigns, who is told, and what stays bounded."""

import threading
import time

import pytest

from tests.helpers.cluster import Cluster
from tests.helpers.meetings import begun
from tests.helpers.reading import ELECTION, Cuts, done, others, slowed
from tests.helpers.stepped import TICK_MS, World
from tests.helpers.waiting import WAIT, eventually


@pytest.fixture
def world(impl):
    made = World(impl, 3, max_apply_bytes=1)
    made.leader()
    made.until(lambda: begun(made.nodes.values()))
    yield made
    made.close()


def fill(world, leader, count=300):
    futures = [leader.propose(b"%d" % number) for number in range(count)]
    world.until(lambda: all(future.done() for future in futures), 20_000)


def test_how_far_it_is_behind_is_shown(world, impl):
    leader, (node, _) = others(world)
    assert node.status().behind == 0
    slowed(world, node.id, 20)
    fill(world, leader)
    world.for_rounds(2 * ELECTION)
    behind = node.status().behind
    assert behind == node.commit_index - node.applied_index > 200
    lag = world.engine(node.id).gauges.lag_ms
    assert behind * 10 < lag < behind * 45  # about 20 ms each
    with pytest.raises(TimeoutError, match=r"\d+ entries to apply"):
        threaded(world, lambda: node.wait_ready(0.05))


def threaded(world, wait):
    """What a call on a thread of its own comes to, while the world goes on."""
    ends = []

    def run():
        try:
            ends.append((wait(), None))
        except BaseException as error:
            ends.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        world.run()
        time.sleep(0.001)
    thread.join(WAIT)
    value, error = ends[0]
    if error is not None:
        raise error
    return value


def test_one_that_is_far_behind_lets_another_one_campaign_first(impl):
    """Again and again, whatever timeouts are drawn."""
    for seed in range(4):
        world = World(impl, 3, max_apply_bytes=1, each={id: {"seed": 10 * seed + id} for id in (1, 2, 3)})
        leader, (slow, other) = others(world)
        world.until(lambda world=world: begun(world.nodes.values()))
        slowed(world, slow.id, 40)
        fill(world, leader, 100)
        world.until(lambda world=world, slow=slow: world.engine(slow.id).lag.wait > ELECTION // TICK_MS)
        leader.close()
        world.until(lambda other=other, slow=slow: other.is_leader or slow.is_leader)
        assert other.is_leader
        world.close()


def test_it_campaigns_where_nobody_else_can(world):
    """Later than it would, but not for ever."""
    leader, (slow, other) = others(world)
    slowed(world, slow.id, 40)
    cuts = Cuts(world)
    cuts.members.add(other.id)
    fill(world, leader, 100)
    world.until(lambda: world.engine(slow.id).lag.wait > ELECTION // TICK_MS)
    began = world.rounds
    leader.close()
    cuts.members.clear()
    world.until(lambda: slow.is_leader)  # the other one lacks entries
    assert world.rounds - began > 3 * ELECTION


def test_a_leader_that_is_behind_says_so_before_it_appends(world, impl):
    """What it could not tell the outcome of in time is Busy, and was not appended; others are served."""
    leader, (node, _) = others(world)
    slowed(world, leader.id, 100)
    futures = [leader.propose(b"%d" % number) for number in range(100)]
    world.for_rounds(3 * ELECTION)
    last = world.engine(leader.id).core.log.last
    refused = leader.propose(b"x")
    world.until(refused.done, 20)
    assert isinstance(refused.exception(0), impl.Busy)
    assert "entries to apply" in str(refused.exception(0))
    assert world.engine(leader.id).core.log.last == last
    assert done(world, node.propose(b"elsewhere"), 200).result == 101
    assert not futures[-1].done()


def test_a_proposal_with_a_timeout_is_not_handed_over_in_vain(world, impl):
    leader, (node, _) = others(world)
    slowed(world, node.id, 20)
    fill(world, leader, 100)
    world.until(lambda: world.engine(node.id).gauges.lag_ms > 1000)
    short, long = node.propose(b"short", timeout=0.2), node.propose_many([b"long"], timeout=100)
    world.until(short.done, 500)
    assert isinstance(short.exception(0), impl.Busy) and "entries to apply" in str(short.exception(0))
    assert done(world, long, 20_000)[0].index
    world.until(lambda: node.status().behind == 0, 20_000)
    assert [entry[2] for entry in world.machines[leader.id].entries].count(b"short") == 0


def test_it_is_over_when_it_has_caught_up(world):
    leader, (node, _) = others(world)
    engine = slowed(world, node.id, 20)
    fill(world, leader, 60)
    world.until(lambda: engine.gauges.lag_ms > 0)
    world.until(lambda: node.status().behind == 0, 20_000)
    world.for_rounds(2 * TICK_MS)
    assert engine.gauges.lag_ms == 0 and not engine.codec.behind
    assert done(world, node.propose(b"x"), 200)


def stalled(world, id):
    """The apply thread of a member stands still until what is returned is called."""
    executor = world.executors[id]
    step = executor.step
    executor.step = lambda name: True if name == "apply" else step(name)
    return lambda: setattr(executor, "step", step)


def test_a_standstill_is_no_pace(world):
    """Two election timeouts for the first of 300 entries, and no time for the others: they are not far behind."""
    leader, (node, _) = others(world)
    engine = world.engine(node.id)
    go_on = stalled(world, node.id)
    fill(world, leader)
    world.for_rounds(2 * ELECTION)
    assert engine.gauges.lag_ms >= 2 * ELECTION
    go_on()
    # What has been applied by the tick that sees the first of it is the pace of the standstill, until the next tick.
    world.for_rounds(2 * TICK_MS + 1)
    assert 200 < node.status().behind < engine.gauges.lag_ms + TICK_MS
    assert engine.gauges.lag_ms < 300  # one each round
    world.until(lambda: node.status().behind == 0)


def test_who_has_caught_up_is_not_behind_until_the_next_tick(world):
    leader, (node, _) = others(world)
    engine = world.engine(node.id)
    world.until(lambda: engine.gauges.lag_ms == 0)
    go_on = stalled(world, node.id)
    fill(world, leader, 3)
    world.for_rounds(2 * ELECTION)
    engine.gauges.lag_ms = 1 << 30
    go_on()
    world.until(lambda: node.status().behind == 0, TICK_MS - 1)
    assert engine.gauges.lag_ms == 1 << 30
    assert done(world, node.propose(b"x"), 200)


def test_frames_say_that_their_sender_is_far_behind(world):
    leader, (node, other) = others(world)
    engine = slowed(world, node.id, 40)
    fill(world, leader, 100)
    world.until(lambda: engine.lag.wait > ELECTION // TICK_MS)
    world.for_rounds(2 * TICK_MS)
    assert engine.codec.behind and not world.engine(other.id).codec.behind
    flags = {(sender, frame[5]) for sender, _, frame, at in world.trace[-50:]}
    assert (node.id, 8) in flags and (other.id, 0) in flags


def test_entries_of_one_that_is_slow_are_bounded(impl):
    """It takes no more than it can keep, the others go on without it, and it catches up."""
    world = World(impl, 3, max_apply_bytes=1, each={3: {"max_uncommitted_bytes": 20_000}})
    leader = world.until(lambda: next((node for node in world.nodes.values() if node.is_leader), None))
    if leader.id == 3:
        done(world, leader.transfer_leadership(1))
        leader = world.nodes[1]
    world.until(lambda: begun(world.nodes.values()))
    slow, engine = world.nodes[3], world.engine(3)
    world.skipped.add((3, "apply"))
    most = 0
    for _ in range(10):
        futures = [leader.propose(bytes(1000)) for _ in range(20)]
        world.until(lambda futures=futures: all(future.done() for future in futures), 500)
        assert all(future.exception(0) is None for future in futures)
        core = engine.core
        most = max(most, sum(len(entry.data) for entry in core.log.entries(core.log.first, core.log.last)))
    assert 20_000 < most < 50_000
    assert slow.status().messages_not_taken > 0
    assert slow.leader_id == leader.id and slow.term == leader.term
    world.skipped.clear()
    world.until(lambda: slow.applied_index == leader.applied_index, 20_000)
    world.close()


@pytest.mark.slow
def test_a_machine_that_sleeps_throttles_its_own_node_alone(impl):
    """In threads: the log of the one stays bounded, and the others keep their pace."""
    limit = 200_000

    class Sleeps:
        def apply(self, entry):
            time.sleep(0.02)

    # The ticks are long: on a busy machine nobody is to begin an election, which the slow one might win.
    cluster = Cluster(impl, 3, max_uncommitted_bytes=limit, max_apply_bytes=1, tick_ms=50)
    try:
        leader = cluster.leader()
        slow = cluster.followers()[0]
        slow.close()
        config = impl.Config(id=slow.id, **cluster.settings)
        slow = cluster.nodes[slow.id] = impl.Node(
            config, cluster.storages[slow.id], cluster.network.transport(), Sleeps()
        ).start()
        count, most = 0, 0
        engine = slow._parts.engine
        end = time.monotonic() + 4
        while time.monotonic() < end:
            leader.propose_many([bytes(1000)] * 50).result(WAIT)
            count += 50
            most = max(most, engine.gauges.last - slow.applied_index)
        assert count > 1000  # the slow one has taken 200 of them at most, and others do not wait for it
        assert most * 1000 < 3 * limit + (1 << 20)
        assert leader.is_leader
        with pytest.raises(impl.NotDone):
            slow.propose(b"x", timeout=0.1).result(WAIT)
        eventually(lambda: slow.status().behind > 100)
    finally:
        for node in cluster.nodes.values():
            node.close()
