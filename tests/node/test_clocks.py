"""The time of entries: what a majority of the voters' clocks have reached, steady in a term, never going back."""

from __future__ import annotations

import random

import pytest

from tests.helpers.implementations import module
from tests.helpers.stepped import World

HOUR = 3600.0
SECOND = 1_000_000_000
NOW = 1_700_000_000.0  # a wall clock, in seconds


class Timed:
    """Remembers when its entries were."""

    def __init__(self):
        self.times = []

    def apply(self, entry):
        self.times.append((entry.index, entry.time))
        return entry.time


def clocks_of(impl, *ahead):
    """A clock for each member from 1 on, whose wall clocks are so many seconds ahead of NOW."""
    made = {id: impl.ManualClock(10.0 * id) for id in range(1, len(ahead) + 1)}
    for id, seconds in enumerate(ahead, 1):
        made[id].set_wall(NOW + seconds)
    return made


def world_of(impl, *ahead, **settings):
    """Nodes with these clocks."""
    return World(impl, len(ahead), clocks=clocks_of(impl, *ahead), step=0.01, **settings)


def led_by(world, id):
    """Let a member lead; its node."""
    leader, node = world.leader(), world.nodes[id]
    world.for_rounds(150)
    if not node.is_leader:
        leader.transfer_leadership(id)
        world.until(lambda: node.is_leader)
    world.for_rounds(150)  # everybody has told everybody
    return node


def proposed(world, node, data=b"x"):
    """The time of an entry, as the state machine was given it."""
    future = node.propose(data)
    world.until(future.done)
    return future.result(0).result


def start_timed(world):
    for id in world.ids:
        world.nodes[id].close()
        world.start(id, Timed())
    return world


@pytest.mark.parametrize("leader", [1, 2, 3])
@pytest.mark.parametrize("ahead", [(0.0, 0.1, HOUR), (-HOUR, 0.0, 0.2), (0.1, -HOUR, HOUR)])
def test_one_clock_that_is_wrong_moves_nothing(impl, nothing_waits, ahead, leader):
    """Not even the leader's own: what counts is what a majority's clocks have reached."""
    world = start_timed(world_of(impl, *ahead))
    node = led_by(world, leader)
    passed = world.clock.py_now() / 1e9
    time = proposed(world, node)
    right = [each for each in ahead if abs(each) < HOUR]
    assert abs(time / 1e9 - (NOW + passed)) < max(right) + 0.2
    assert time % 256 == 0
    world.close()


def test_all_members_are_given_the_same_time_and_it_never_falls(impl, nothing_waits):
    """Also when somebody else leads, whose clock is behind."""
    world = start_timed(world_of(impl, 0.5, 0.0, -0.5))
    for leader in (1, 3, 2, 3, 1):
        node = led_by(world, leader)
        for _ in range(3):
            proposed(world, node)
    world.for_rounds(50)
    first, *others = [machine.times for machine in world.machines.values()]
    assert all(each == first for each in others) and len(first) == 15
    assert [time for _, time in first] == sorted(time for _, time in first)
    assert len({time for _, time in first}) == 15
    world.close()


def test_a_jump_of_the_leaders_clock_is_no_jump_of_time(impl, nothing_waits):
    """A lone voter has only its own clock: what it is wrong by is made up for little by little."""
    world = start_timed(world_of(impl, 0.0))
    node = led_by(world, 1)
    before, at = proposed(world, node), world.clock.py_now()
    world.clocks[1].set_wall(NOW + HOUR)
    world.for_rounds(100)
    passed = world.clock.py_now() - at
    after = proposed(world, node)
    assert passed <= after - before <= 1.7 * passed
    world.clocks[1].set_wall(NOW - HOUR)
    at = world.clock.py_now()
    world.for_rounds(100)
    passed = world.clock.py_now() - at
    assert 0.3 * passed <= proposed(world, node) - after <= 1.1 * passed
    world.close()


def test_time_stands_while_no_majority_is_known(impl):
    """A leader that knows its own clock alone does not go by it."""
    clocks, peers_of = module(impl, "node.clocks"), module(impl, "node.peers")
    raft, core = module(impl, "consensus.raft"), impl._core
    config = impl.Config(id=1, seed=1)
    member = raft.Raft(config, core.EntryLog(), impl.HardState(), impl.ConfState(voters=(1, 2, 3)), 0)
    clock = impl.ManualClock(5.0)
    clock.set_wall(NOW + HOUR)
    peers = peers_of.PeerTable(10, 100)
    made = clocks.Clocks(member, peers, clock, 100)
    made.py_tick()
    assert made.py_time() == 0
    place = peers.py_place(member.tracker.peers, 2)
    made.py_heard(place, 0)  # it did not say
    made.py_heard(place, 2**63 - 1)  # nor can it mean that
    made.py_tick()
    assert made.py_time() == 0
    made.py_heard(place, int(NOW) * SECOND)
    made.py_tick()
    assert made.py_time() == int(NOW) * SECOND
    clock.advance(1.5)
    assert made.py_time() == int(NOW) * SECOND + 1_500_000_000


def test_a_clock_that_is_off_is_told(impl, nothing_waits, caplog):
    """By every member that knows, its own included."""
    world = world_of(impl, 0.0, 0.5, HOUR)
    world.leader()
    world.for_rounds(400)
    for node in world.nodes.values():
        said = node.status().disagreements
        assert list(said) == [3], said
        assert said[3][0].startswith("its clock is 3,59") or said[3][0].startswith("its clock is 3,60")
        assert "ahead of what the clocks of a majority" in said[3][0]
    world.clocks[3].set_wall(NOW + world.clock.py_now() / 1e9)
    world.for_rounds(1200)
    assert all(node.status().disagreements == {} for node in world.nodes.values())
    world.close()


def test_a_later_leader_does_not_stamp_less_than_its_log_has(impl):
    """Whatever its clocks say: the last entry counts, also when it is the one before the first."""
    log = impl._core.EntryLog()
    log.time = 5120
    log.py_append(1, b"a")
    log.time = 256
    log.py_append(2, b"b")
    log.py_compact(2)
    log.py_append(2, b"c")
    log.time = 10_000
    log.py_append(2, b"d")
    assert [entry.time for entry in log.entries(3, 4)] == [5120, 9984]
    log.py_restore(9, 2)
    log.time = 0
    log.py_append(2, b"e")
    assert log.entries(10, 10)[0].time == 0


@pytest.mark.parametrize("size", [0, 10, 300, 5000])
def test_proposals_get_the_time_of_the_log(impl, size):
    """What the bytes of the time hold before does not count; the kind stays."""
    log = impl._core.EntryLog()
    log.time = 1_700_000_000 * SECOND
    message = impl.Message(2, entries=[impl.Entry(0, 0, b"x" * size, 0, time=512), impl.Entry(0, 0, b"y", 4)])
    member = module(impl, "consensus.raft").Raft(
        impl.Config(id=1, seed=1), log, impl.HardState(), impl.ConfState(voters=(1,)), 0
    )
    raw = impl.RawNode(impl.Config(id=1, seed=1), log=log, conf_state=impl.ConfState(voters=(1,)))
    del member
    raw.campaign()
    while raw.has_ready():
        raw.ready()
        raw.advance()
    raw.step(message)
    assert [(entry.kind, entry.time) for entry in log.entries(1, 3)] == [
        (0, 1_700_000_000 * SECOND // 256 * 256),
        (0, 1_700_000_000 * SECOND // 256 * 256),
        (4, 1_700_000_000 * SECOND // 256 * 256),
    ]
    whole = log.records(1, 3)
    assert impl.Entry.decode_all(whole) == log.entries(1, 3)


def test_the_time_of_a_raw_node(impl):
    """Whoever drives it has the clock; without one there are no times."""
    raw = impl.RawNode(impl.Config(id=1, seed=1), conf_state=impl.ConfState(voters=(1,)))
    raw.campaign()
    given = []

    def drain():
        while raw.has_ready():
            given.extend(raw.ready().committed_entries)
            raw.advance()

    drain()
    raw.time = 5 * SECOND
    raw.propose(b"one")
    raw.time = SECOND
    raw.propose(b"two")
    raw.time = 7 * SECOND + 255
    raw.propose(b"three")
    drain()
    assert [(entry.data, entry.time) for entry in given] == [
        (b"", 0), (b"one", 5 * SECOND // 256 * 256), (b"two", 5 * SECOND // 256 * 256),
        (b"three", (7 * SECOND + 255) // 256 * 256),
    ]  # fmt: skip
    for wrong in (-1, 2**63, 1.5, None, True):
        with pytest.raises(impl.UsageError, match="time must be"):
            raw.time = wrong
    assert raw.time == 7 * SECOND + 255


def test_entries_as_values(impl):
    entry = impl.Entry(3, 2, b"data", 1, 1000)
    assert (entry.time, entry.session, entry.session_sequence) == (768, None, 0)
    assert impl.Entry.decode_all(entry.encode()) == [entry]
    assert entry != impl.Entry(3, 2, b"data", 1)
    assert "time=768" in repr(entry) and "time" not in repr(impl.Entry(3, 2, b"data"))
    with pytest.raises(OverflowError):
        impl.Entry(3, 2, b"", 0, -1)
    highest = impl.Entry(1, 1, b"", 255, 2**64 - 1)
    assert (highest.time, highest.kind) == (2**64 - 256, 255)
    assert impl.Entry.decode_all(highest.encode()) == [highest]


def test_times_of_random_clocks(impl):
    """With a majority of right clocks, whatever the others say and whoever is known, time is not ahead of the right."""
    clocks, peers_of = module(impl, "node.clocks"), module(impl, "node.peers")
    raft, core = module(impl, "consensus.raft"), impl._core
    rng = random.Random(7)
    for _ in range(300):
        count = rng.choice((1, 2, 3, 4, 5, 7))
        ids = tuple(range(1, count + 1))
        wrong = rng.sample(ids, rng.randint(0, (count - 1) // 2))
        walls = {id: NOW + (rng.choice((-HOUR, HOUR)) if id in wrong else rng.uniform(-0.1, 0.1)) for id in ids}
        member = raft.Raft(impl.Config(id=1, seed=1), core.EntryLog(), impl.HardState(), impl.ConfState(voters=ids), 0)
        clock, peers = impl.ManualClock(5.0), peers_of.PeerTable(10, 100)
        clock.set_wall(walls[1])
        made = clocks.Clocks(member, peers, clock, 100)
        known = 1
        for id in ids[1:]:
            if rng.random() < 0.7:
                made.py_heard(peers.py_place(member.tracker.peers, id), int(walls[id] * 1e9))
                known += 1
        made.py_tick()
        time = made.py_time() / 1e9
        assert time <= NOW + 0.2
        if known == count:
            assert time >= NOW - 0.2
