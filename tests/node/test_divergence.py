"""A member whose committed entries contradict its leader's ends with Corruption; nothing that is forged ends one."""

import collections
import random
import re

import pytest

from tests.helpers.meetings import life
from tests.helpers.ports import ports
from tests.helpers.stepped import ELECTION_TICKS, TICK_MS, World
from tests.helpers.waiting import eventually

CLUSTER = b"divergence tests"
APP, SNAP, HEARTBEAT = 3, 7, 8
TIMEOUT_ROUNDS = ELECTION_TICKS * TICK_MS  # a round takes a millisecond
THREE = (1, 2, 3)


def log(*runs):
    """Terms of entries: (how many, term) after one another."""
    return [term for count, term in runs for _ in range(count)]


def held(impl, storage, id, terms, commit, cluster=None):
    """Let a storage hold entries of these terms, so many of them committed."""
    storage.open(id, impl.Config(id=1).cluster if cluster is None else cluster)
    records = [impl.Entry(index, term, b"%d" % index).encode() for index, term in enumerate(terms, 1)]
    storage.append(impl.HardState(terms[-1] if terms else 0, 0, commit), records)
    storage.sync()
    storage.close()
    return storage


def world_of(impl, logs, start=THREE, **settings):
    """Three members with (terms, commit); those in ``start`` run."""
    storages = {
        id: held(impl, impl.MemoryStorage(THREE, random=random.Random(id).randbytes), id, *logs[id]) for id in THREE
    }
    world = World(impl, 3, storages=storages, **settings)
    for id in THREE:
        if id not in start:
            world.nodes.pop(id).close()
            del world.executors[id]
    return world


def frames(world, sender):
    """How many frames a member has sent."""
    return sum(1 for each, *_ in world.trace if each == sender)


NEW = log((5, 1), (15, 3))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (NEW, log((5, 1), (5, 2))),  # shorter than the leader's
        (NEW, log((5, 1), (40, 2))),  # longer
        (NEW, log((10, 2))),  # nothing is the same
        (log((5, 3)), log((5, 1), (60, 2))),
        (log((5, 3)), log((5, 3), (60, 3))),  # the leader's log is a part of it, and goes on otherwise
        (log((5, 1), (1, 3)), log((5, 1), (1, 2))),
    ],
    ids=["shorter", "longer", "other", "other and longer", "part", "last"],
)
def test_a_member_that_contradicts_its_leader_ends(impl, caplog, theirs, ours):
    """It says what and why, with the remedy, and answers no read meanwhile; the others go on."""
    logs = {1: (theirs, len(theirs)), 2: (theirs, len(theirs)), 3: (ours, len(ours))}
    world = world_of(impl, logs, start=(1, 2))
    leader = world.leader()
    node = world.start(3)
    world.until(lambda: node.status().diverged)
    said = node.status().diverged
    index, term, other, another = map(int, re.findall(r"\d+", said)[:4])
    # It is one of those that differ.
    assert ours[index - 1] == term and other == leader.id
    assert another == (theirs[index - 1] if index <= len(theirs) else leader.term)
    with pytest.raises(impl.NotDone, match="contradicts the leader's log"):
        node.read().result(0)
    began, sent = world.rounds, frames(world, 3)
    world.until(lambda: node.failure is not None, 30 * TIMEOUT_ROUNDS)
    # A few for each heartbeat, and not as fast as the two can talk.
    assert frames(world, 3) - sent < (world.rounds - began) / TICK_MS * 3 + 20
    failure = node.failure
    assert isinstance(failure, impl.Corruption) and "raftx wal rebuild" in str(failure)
    assert "is committed here with term" in str(failure) and f"the leader, member {leader.id}" in str(failure)
    told = [r for r in caplog.records if r.levelname == "ERROR" and "is committed here with term" in r.getMessage()]
    assert 1 <= len(told) <= 3 and node.status().messages_refused["contradiction"] >= 3
    with pytest.raises(impl.Corruption):
        node.wait(0)
    future = leader.propose(b"without it")
    world.until(future.done)
    assert future.result(0) and leader.failure is None
    # Nothing of it was counted for the leader's log.
    assert leader.status().diverged == "" and world.machines[3].entries == []
    # It is the same at the next start.
    node.close()
    node = world.start(3)
    world.until(lambda: node.failure is not None, 30 * TIMEOUT_ROUNDS)
    assert isinstance(node.failure, impl.Corruption)
    node.close()
    world.close()


def forged(impl, world, leader, to, **fields):
    """A frame of the present leader, in its life and its term."""
    codec = impl._core.Codec(leader.config.cluster, leader.id, life(leader))
    message = impl.Message(**{"kind": APP, "sender": leader.id, "term": leader.term, **fields})
    world.receive[to](codec.encode(to, [message]))


def healthy(impl, **settings):
    """Three members that agree; a leader, a follower, and an entry that both have committed."""
    logs = {id: (log((8, 2)), 8) for id in THREE}
    world = world_of(impl, logs, **settings)
    leader = world.leader()
    follower = world.nodes[leader.id % 3 + 1]
    world.until(lambda: follower.commit_index == leader.commit_index >= 9)
    return world, leader, follower


def refused(node):
    return node.status().messages_refused["contradiction"]


def test_an_append_that_ends_before_the_commit_index_is_acknowledged_up_to_its_end(impl):
    """It says nothing of the rest: no leader is told that this member has all that is committed here of its log."""
    world, leader, follower = healthy(impl)
    world.for_rounds(50)
    world.skipped.add((leader.id, "engine"))
    sent = len(world.trace)
    for fields in ({"index": 3, "log_term": 2, "entries": [impl.Entry(4, 2, b"4")]}, {"index": 5, "log_term": 2}):
        forged(impl, world, leader, follower.id, **fields)
        world.for_rounds(3)
    codec = impl._core.Codec(leader.config.cluster, leader.id, 1)
    answers = [
        (message.kind, message.index, message.reject)
        for sender, to, frame, _ in world.trace[sent:]
        if (sender, to) == (follower.id, leader.id)
        for message in codec.decode(frame)
    ]
    assert answers == [(4, 4, False), (4, 5, False)] and refused(follower) == 0
    world.skipped.clear()
    world.close()


def test_what_is_forged_ends_nothing(impl, caplog):
    """The leader's log has agreed with this one in this term: what says otherwise cannot be its."""
    world, leader, follower = healthy(impl)
    index = follower.commit_index
    for number in range(5 * TIMEOUT_ROUNDS // 10):
        entry = impl.Entry(4, 3, b"another")
        forged(impl, world, leader, follower.id, index=index - number % 3, log_term=1)
        forged(impl, world, leader, follower.id, index=3, log_term=2, entries=[entry])
        world.for_rounds(10)
    assert refused(follower) == 2 * (5 * TIMEOUT_ROUNDS // 10)
    assert follower.failure is None and follower.status().diverged == ""
    assert "is committed here" not in caplog.text and "which no honest member can have sent" in caplog.text
    for node in (follower, leader):
        future = node.propose(b"x")
        world.until(future.done)
        assert future.result(0)
    assert follower.leader_id == leader.id
    world.close()


@pytest.mark.parametrize("what", ["once", "until it agrees"])
def test_before_the_leader_has_agreed_it_takes_more_than_one(impl, caplog, what):
    """A member that has just started, and whose leader has nothing to send: it says so, and forgets it."""
    world, leader, follower = healthy(impl)
    world.until(lambda: len({node.applied_index for node in world.nodes.values()}) == 1)
    follower.close()
    follower = world.start(follower.id)
    world.until(lambda: follower.leader_id == leader.id and not follower.status().waits_for)
    if what == "once":
        forged(impl, world, leader, follower.id, index=8, log_term=1)
        world.until(lambda: follower.status().diverged)
        world.until(lambda: not follower.status().diverged, 20 * TIMEOUT_ROUNDS)
        assert "entry 8 is committed here with term 2" in caplog.text
    else:
        for _ in range(20):
            forged(impl, world, leader, follower.id, index=8, log_term=1)
            world.for_rounds(3)
        assert follower.status().diverged
        future = leader.propose(b"x")
        world.until(future.done)
        world.until(lambda: not follower.status().diverged)
    for _ in range(20):
        # Of an earlier term, of another member, of a stranger: not the present leader's.
        forged(impl, world, leader, follower.id, index=8, log_term=1, term=leader.term - 1)
        other = next(node for node in world.nodes.values() if node not in (leader, follower))
        forged(impl, world, other, follower.id, index=8, log_term=1, term=leader.term)
        world.for_rounds(20)
    assert follower.failure is None and follower.status().diverged == ""
    future = follower.propose(b"y")
    world.until(future.done)
    assert future.result(0)
    world.close()


def test_what_is_shown_is_of_the_present_leader(impl):
    """Another one contradicts the same entry before anybody has looked: it is named, with the term in its log."""
    world, leader, follower = healthy(impl)
    world.until(lambda: len({node.applied_index for node in world.nodes.values()}) == 1)
    follower.close()
    follower = world.start(follower.id)
    world.until(lambda: follower.leader_id == leader.id and not follower.status().waits_for)
    forged(impl, world, leader, follower.id, index=8, log_term=1)
    world.until(lambda: follower.status().diverged)
    other = next(node for node in world.nodes.values() if node not in (leader, follower))
    codec = impl._core.Codec(leader.config.cluster, other.id, life(other))
    fields = {"sender": other.id, "term": leader.term + 1}
    messages = [impl.Message(HEARTBEAT, **fields), impl.Message(APP, index=8, log_term=3, **fields)]
    world.receive[follower.id](codec.encode(follower.id, messages))
    world.run()
    said = follower.status().diverged
    assert f"in the log of the leader, member {other.id}, it has term 3" in said
    world.close()


def test_appends_that_come_late_contradict_nothing(impl):
    """Every frame of a run is delivered again, in any order: of leaders of before, too."""
    world = World(impl, 3)
    world.leader()
    for number in range(6):
        leader = world.leader()
        futures = [leader.propose(b"%d %d" % (number, each)) for each in range(5)]
        world.until(lambda futures=futures: all(each.done() for each in futures))
        if number % 2:
            world.until(leader.transfer_leadership().done)
            world.for_rounds(50)
    old = list(world.trace)
    random.Random(3).shuffle(old)
    for _, to, frame, _ in old:
        world.receive[to](frame)
        world.run()
    for node in world.nodes.values():
        assert node.failure is None and refused(node) == 0
    world.close()


def test_a_snapshot_that_contradicts_what_is_committed(impl):
    """It is not acknowledged as if it were here."""
    logs = {1: (NEW, 20), 2: (NEW, 20), 3: (log((5, 1), (40, 2)), 45)}
    world = world_of(impl, logs, start=(1, 2))
    leader = world.leader()
    node = world.start(3)
    world.until(lambda: node.leader_id == leader.id)
    before = refused(node)
    described = impl.Snapshot(10, 3, impl.ConfState(voters=THREE), b"")
    for _ in range(3):
        forged(impl, world, leader, 3, kind=SNAP, snapshot=described)
        world.for_rounds(2)
    assert refused(node) >= before + 3
    world.close()


def test_a_member_that_lacks_what_it_had_acknowledged_ends(impl, caplog):
    """Its storage has lost the end of the log, and did not notice; its leader knows what it had acknowledged."""
    world, leader, follower = healthy(impl)
    futures = [leader.propose(b"%d" % number) for number in range(10)]
    world.until(lambda: all(each.done() for each in futures))
    world.until(lambda: follower.applied_index == leader.applied_index)
    last = follower.applied_index
    world.for_rounds(3 * TICK_MS)
    world.executors.pop(follower.id).kill()
    world.nodes.pop(follower.id)
    storage = world.storages[follower.id]
    storage.crash()
    kept = storage._durable
    del kept.entries[-4:]
    kept.hard_state = impl.HardState(kept.hard_state.term, kept.hard_state.vote, last - 6)
    node = world.start(follower.id)
    world.until(lambda: node.failure is not None, 30 * TIMEOUT_ROUNDS)
    assert isinstance(node.failure, impl.Corruption)
    text = f"the leader, member {leader.id}, has entries up to {last} as acknowledged by this member, whose log ends "
    assert f"{text}with entry {last - 4}" in str(node.failure)
    assert leader.failure is None and leader.is_leader
    world.close()


def test_a_heartbeat_that_is_forged_is_no_reason(impl):
    """The leader's own come in between."""
    world, leader, follower = healthy(impl)
    for _ in range(3 * TIMEOUT_ROUNDS // 10):
        forged(impl, world, leader, follower.id, kind=HEARTBEAT, commit=1000)
        world.for_rounds(10)
    assert follower.status().messages_refused["commit"] >= 20
    assert follower.failure is None and follower.leader_id == leader.id
    world.for_rounds(2 * TICK_MS)
    assert follower.status().diverged == ""
    world.close()


def test_real_nodes_on_directories(impl, tmp_path):
    """Two directories that contradict each other. Both sides stay quiet until one of them ends."""
    urls = {id: f"tcp://127.0.0.1:{port}" for id, port in enumerate(ports(3), 1)}
    made = {}
    for id in THREE:
        made[id] = impl.FileStorage.create(tmp_path / str(id), id=id, members=urls, cluster=CLUSTER)
        held(impl, made[id], id, *((NEW, 20) if id < 3 else (log((5, 1), (6, 2)), 11)), cluster=CLUSTER)
    nodes = {}
    try:
        for id in THREE:
            config = impl.Config(id=id, cluster=CLUSTER, tick_ms=10, election_ticks=20, seed=id)
            transport = impl.NngTransport(urls[id], peers=urls, reconnect_ms=(10, 50))
            nodes[id] = impl.Node(config, made[id], transport).start()
        eventually(lambda: nodes[3].failure is not None)
        assert isinstance(nodes[3].failure, impl.Corruption)
        assert "entry 6 is committed here with term 2" in str(nodes[3].failure)
        assert nodes[3].status().frames_out < 500
        leader = eventually(lambda: next((node for node in nodes.values() if node.is_leader), None))
        assert leader.propose(b"x").result(timeout=20)
        assert collections.Counter(node.status().state for node in nodes.values()) == {"running": 2, "failed": 1}
    finally:
        for node in nodes.values():
            node.close()
