"""What a node says of itself: Status as values and as JSON, and repr. What the single numbers mean is tested with what
makes them."""

import dataclasses
import json
import time

import pytest

from tests.helpers.implementations import module
from tests.helpers.life import Storage, leads, make
from tests.helpers.stepped import World
from tests.helpers.waiting import WAIT, eventually


def settled(world):
    leader = world.leader()
    world.until(lambda: {(node.leader_id, node.commit_index) for node in world.nodes.values()} == {(leader.id, 1)})
    return leader


def test_it_is_frozen_and_goes_through_json_and_back(impl):
    world = World(impl)
    status = settled(world).status()
    with pytest.raises(dataclasses.FrozenInstanceError):
        status.term = 7
    text = json.dumps(status.to_dict(), allow_nan=False)
    assert impl.Status.from_dict(json.loads(text)) == status
    world.close()


def test_the_leader_says_how_far_its_peers_are(impl):
    world = World(impl)
    leader = settled(world)
    future = leader.propose(b"x")
    world.until(future.done)
    world.for_rounds(200)
    status = leader.status()
    assert [(peer.id, peer.match, peer.lag, peer.connected) for peer in status.peers] == [
        (id, status.last, 0, True) for id in sorted(world.nodes) if id != leader.id
    ]
    # Its followers know less: they hear of one another when they greet one another.
    follower = next(node for node in world.nodes.values() if node is not leader)
    peers = {peer.id: peer for peer in follower.status().peers}
    assert peers[leader.id].is_leader and peers[leader.id].last_heard < 1
    assert {(peer.match, peer.lag) for peer in peers.values()} == {(None, None)}
    assert all(peer.connected for peer in peers.values())
    # One whose disk and network stand still is not heard of any more.
    world.skipped.add((follower.id, "net"))
    world.until(lambda: [peer.id for peer in leader.status().peers if not peer.connected] == [follower.id], 4000)
    world.skipped.clear()
    world.close()


@pytest.mark.parametrize("heard", [2.9, 3.1, 10.9, 11.1])
def test_followers_need_not_hear_of_each_other_as_often(impl, heard):
    member = module(impl, "node.status").Member
    assert member(1, "", "voter", True, None, None, heard).connected == (heard < 3)
    assert member(1, "", "voter", False, 5, 0, heard).connected == (heard < 3)
    assert member(1, "", "voter", False, None, None, heard).connected == (heard < 11)
    assert not member(1, "", "voter", False, None, None, None).connected


def test_the_directory_is_measured(impl, tmp_path):
    storage = impl.FileStorage.create(tmp_path / "1", id=1, members=[1], segment_bytes=1 << 20)
    node = make(impl, storage)
    leads(node.start())
    disk = node.status().disk
    assert 1 << 20 <= disk.used < 16 << 20 and disk.free > 0
    node.close()
    # What is not there has no size; a storage in memory tells none.
    assert impl.FileStorage(tmp_path / "2").space() is None
    world = World(impl, count=1)
    assert (world.leader().status().disk.used, world.leader().status().disk.free) == (None, None)
    world.close()


def test_repr_tells_state_role_term_leader_and_lag(impl):
    world = World(impl)
    leader = settled(world)
    assert repr(leader) == f"<raftx.Node {leader.id} running leader term={leader.term} leader={leader.id}>"
    world.skipped.add((leader.id, "apply"))
    futures = [leader.propose(b"x") for _ in range(3)]
    world.until(lambda: leader.status().behind == 3)
    assert repr(leader).endswith(f"leader={leader.id} behind=3>")
    world.skipped.clear()
    world.until(lambda: all(future.done() for future in futures))
    leader.close()
    assert repr(leader) == f"<raftx.Node {leader.id} ended term={leader.term}>"
    world.close()


def damaged(plain):
    """Ways to say it wrong, each with the field that the error must name."""
    peer = plain["peers"][0]
    yield "Status.term", {**plain, "term": "7"}
    yield "Status.term", {**plain, "term": True}
    yield "Status.commit", {**plain, "commit": 2**70}
    yield "Status.uptime", {**plain, "uptime": float("nan")}
    yield "Status.waits_for", {**plain, "waits_for": 3}
    yield "Status.peers", {**plain, "peers": [{**peer, "id": None}]}
    yield "Status.peers", {**plain, "peers": [{}]}
    yield "Status.disk", {**plain, "disk": [1]}
    yield "Status.disagreements", {**plain, "disagreements": {"x": []}}
    yield "Status.frames_rejected", {**plain, "frames_rejected": {"magic": []}}
    yield "Status", {"term": 1}
    yield "Status", [1]


def test_what_is_no_status_is_refused(impl):
    world = World(impl)
    plain = json.loads(json.dumps(settled(world).status().to_dict()))
    world.close()
    for field, wrong in damaged(plain):
        with pytest.raises(ValueError, match=f"^{field}"):
            impl.Status.from_dict(wrong)


def test_another_version_may_know_more_or_less(impl):
    world = World(impl)
    status = settled(world).status()
    world.close()
    plain = json.loads(json.dumps(status.to_dict()))
    del plain["queues"], plain["disk"]["free"]
    found = impl.Status.from_dict({**plain, "weather": {"rain": 1}, "disk": {**plain["disk"], "heads": 4}})
    assert found == dataclasses.replace(status, queues=impl.QueueStatus())


def test_it_counts_how_often_its_threads_are_woken_and_that_in_vain(impl):
    storage = Storage(impl)
    node = make(impl, storage, tick_ms=1000)
    with node:
        leads(node)
        engine = node._parts.proposer.proposals.event

        def idle():
            engine.py_wake()
            return node.status().wakeups_idle["engine"] > 3

        eventually(idle)
        status = node.status()
        assert set(status.wakeups) == set(status.wakeups_idle) == {"engine", "wal", "apply"}
        assert all([status.wakeups_idle[name] <= status.wakeups[name] for name in status.wakeups])


def test_a_proposal_wakes_the_apply_thread_once(impl):
    """That it was handed over is told with what follows."""
    storage = Storage(impl)
    node = make(impl, storage)
    with node:
        leads(node)
        node.propose(b"x").result(WAIT)
        sync = storage.sync
        storage.sync = lambda: (time.sleep(0.001), sync())
        before = node.status().wakeups["apply"]
        for _ in range(60):
            node.propose(b"x").result(WAIT)
        assert node.status().wakeups["apply"] - before <= 60 + 10
