"""The threaded Node, alone and in live networks: counterparts of etcd's node_test.go and its rafttest.

Networks and storages are in memory; clocks are moved by hand where a test is not about five nodes at once. What etcd
tests of the Readys of its channel Node is in test_counterparts_rawnode.py.
"""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    LOCAL_KINDS,
    MSG_FORGET_LEADER,
    MSG_HEARTBEAT,
    MSG_PROP,
    MSG_READ_INDEX,
    MSG_READ_INDEX_RESP,
    MSG_SNAP,
)
from tests.helpers import threads
from tests.helpers.cluster import Cluster, Machine, propose_somehow
from tests.helpers.meetings import befriend
from tests.helpers.waiting import WAIT, eventually

#: Bytes of an entry beside its data; and what a Node puts before the data of a proposal.
HEADER, ENVELOPE = 32, 24


def sole(impl: ModuleType, storage: Any = None, **settings: Any) -> tuple[Any, Machine, Any]:
    """A Node of one voter in memory, its state machine, and its clock, which a test moves."""
    clock, machine = impl._native.threads.ManualClock(), Machine()
    config = impl.Config(id=1, seed=1, tick_ms=1000, **settings)
    storage = storage or impl.MemoryStorage(voters=[1])
    return impl.Node(config, storage, impl.MemoryNetwork().transport(), machine, clock=clock), machine, clock


def filled(impl: ModuleType, hard: tuple[int, int, int], *data: bytes) -> Any:
    """A storage of a sole voter with entries of these data in term 1."""
    log = impl._core.EntryLog()
    for each in data:
        log.py_append(1, bytes(ENVELOPE) + each)
    storage = impl.MemoryStorage(voters=[1])
    storage.open(1, impl.Config(id=1).cluster)
    storage.append(impl.HardState(*hard), [log.records(1, len(data))])
    storage.sync()
    storage.close()
    return storage


# --- proposals ------------------------------------------------------------------------------------


def test_node_propose(impl: ModuleType) -> None:
    """A proposal is one entry, with the data it was given."""
    node, machine, _ = sole(impl)
    with node:
        node.campaign()
        eventually(lambda: node.is_leader)
        done = node.propose(b"somedata").result(timeout=WAIT)
        assert (done.index, done.term) == (2, 1)
    assert machine.entries == [(2, 1, b"somedata")]


def test_block_proposal(impl: ModuleType) -> None:
    """Without a leader no proposal is taken. In etcd it waits for one; in raftx it ends as not done, to be repeated."""
    node, machine, _ = sole(impl)
    with node:
        with pytest.raises(impl.NotDone, match="no leader"):
            node.propose(b"somedata").result(timeout=WAIT)
        node.campaign()
        eventually(lambda: node.is_leader)
        assert node.propose(b"somedata").result(timeout=WAIT).result == 1
    assert machine.commands == [b"somedata"]


def test_node_propose_wait_dropped(impl: ModuleType) -> None:
    """Who waits for a proposal that is dropped is told at once, and nothing of it is anywhere."""
    cluster = Cluster(impl, forward_proposals=False)
    try:
        follower = cluster.followers()[0]
        eventually(lambda: follower.leader_id)
        with pytest.raises(impl.NotDone, match="forward"):
            follower.propose(b"test_dropping").result(timeout=WAIT)
        last = cluster.leader().propose(b"kept").result(timeout=WAIT)
        eventually(lambda: all([node.applied_index >= last.index for node in cluster.nodes.values()]))
    finally:
        cluster.close()
    assert [machine.commands for machine in cluster.machines.values()] == [[b"kept"]] * 3


@pytest.mark.parametrize("how", ["stop", "cancel"])
def test_node_step_unblock(impl: ModuleType, how: str) -> None:
    """Who waits for a proposal is released when the node stops, and when the wait is cancelled."""
    cluster = Cluster(impl, check_quorum=False, proposal_timeout_ms=600_000)
    try:
        leader = cluster.leader()
        cluster.network.partition([leader.id], [node.id for node in cluster.followers()])
        last = leader.status().last
        future = leader.propose(b"x")
        # One that the engine finds when it is to stop is not done.
        eventually(lambda: leader.status().last > last)
        ended: list[BaseException | None] = []
        waiting = threading.Event()

        def wait() -> None:
            waiting.set()
            try:
                ended.append(future.exception())
            except concurrent.futures.CancelledError as error:
                ended.append(error)

        thread = threads.start(wait)
        assert waiting.wait(WAIT)
        assert ended == []
        unblock: Callable[[], object] = leader.close if how == "stop" else future.cancel
        unblock()
        assert threads.ends(thread)
        (error,) = ended
        assert isinstance(error, impl.Unknown if how == "stop" else concurrent.futures.CancelledError)
    finally:
        cluster.close()


# --- life -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", range(MSG_FORGET_LEADER + 1))
def test_node_step(impl: ModuleType, kind: int) -> None:
    """A message of any kind may come from a peer but those that only the node itself produces."""
    config = impl.Config(id=1, tick_ms=1000, seed=1)
    network = impl.MemoryNetwork()
    peer = network.transport()
    peer.start(2, lambda frame: None)
    codec = impl._core.Codec(config.cluster, 2, 1)
    message = impl.Message(kind, term=0 if kind == MSG_PROP else 1)
    if kind == MSG_SNAP:
        message.snapshot = impl.Snapshot(1, 1, impl.ConfState((1, 2, 3)))
    elif kind in (MSG_READ_INDEX, MSG_READ_INDEX_RESP):
        message.set_entries(impl.Message(kind, entries=[impl.Entry(0, 0, b"read")]))
    storage = impl.MemoryStorage(voters=[1, 2, 3])
    with impl.Node(config, storage, network.transport(), Machine(), clock=impl._native.threads.ManualClock()) as node:
        befriend(impl, node, lambda frame: peer.send(1, frame), (2, 3))
        peer.send(1, codec.encode(1, [message]))
        peer.send(1, codec.encode(1, [impl.Message(MSG_HEARTBEAT, term=9)]))
        eventually(lambda: node.term == 9)
        refused = {reason: count for reason, count in node.status().frames_rejected.items() if count}
        assert refused == ({"kind": 1} if kind in LOCAL_KINDS else {})
        assert node.status().last == 0
        assert node.failure is None
    peer.close()


def test_node_tick(impl: ModuleType) -> None:
    """A tick of the clock is a tick of the node."""
    node, _, clock = sole(impl)
    with node:
        # It answers, hence it has looked at its clock.
        with pytest.raises(impl.NotDone):
            node.propose(b"x").result(timeout=WAIT)
        before = node.status().ticks
        for count in (1, 2, 3):
            clock.advance(1.0)
            eventually(lambda count=count: node.status().ticks >= before + count)
            assert node.status().ticks == before + count


def test_node_stop(impl: ModuleType) -> None:
    """close waits until the node does nothing any more; a second one has no effect."""
    before = set(threading.enumerate())
    node, _, _ = sole(impl)
    node.start()
    assert node.status().state == "running"
    assert len(set(threading.enumerate()) - before) >= 3
    node.close()
    assert set(threading.enumerate()) <= before
    stopped = node.status()
    assert stopped.state == "ended"
    node.close()
    assert node.status() == stopped
    with pytest.raises(impl.Stopped):
        node.propose(b"x")


def test_node_restart(impl: ModuleType) -> None:
    """What was committed is applied again; what was not waits, and a restart alone changes nothing that is stored."""
    storage = filled(impl, (1, 0, 1), b"first", b"foo")
    node, machine, _ = sole(impl, storage)
    with node:
        eventually(lambda: node.applied_index == 1)
        # It answers, and is still where it was.
        with pytest.raises(impl.NotDone):
            node.propose(b"x").result(timeout=WAIT)
        status = node.status()
        assert (status.term, status.vote, status.commit, status.last) == (1, 0, 1, 2)
    assert machine.commands == [b"first"]
    assert storage.open(1, node.config.cluster).hard_state == impl.HardState(1, 0, 1)
    storage.close()


def test_node_commit_pagination_after_restart(impl: ModuleType) -> None:
    """A budget below what was committed loses no entry after a restart, and the commit index does not fall back."""
    storage = filled(impl, (1, 1, 10), *[b"a"] * 10, b"boom")
    node, machine, _ = sole(impl, storage, max_apply_bytes=9 * (HEADER + ENVELOPE + 1) - 1)
    with node:
        eventually(lambda: node.applied_index >= 10)
        assert machine.commands == [b"a"] * 10
        assert (node.commit_index, node.term) == (10, 1)
        node.campaign()
        eventually(lambda: node.applied_index >= 12)
        assert machine.commands == [b"a"] * 10 + [b"boom"]
        assert [index for index, _, _ in machine.entries] == list(range(1, 12))


# --- live networks --------------------------------------------------------------------------------


def test_network_drop(impl: ModuleType) -> None:
    """Of a thousand frames about a tenth is lost, and the others arrive."""
    network = impl.MemoryNetwork(seed=1)
    ends = [network.transport(), network.transport()]
    received: list[bytes] = []
    ends[0].start(1, received.append)
    ends[1].start(2, received.append)
    network.set_faults(loss=0.1)
    for number in range(1000):
        assert ends[0].send(2, b"%d" % number)
    for end in ends:
        end.close()
    assert 0 < network.lost <= 200
    assert len(received) == network.delivered == 1000 - network.lost


def test_network_delay(impl: ModuleType) -> None:
    """Every frame is on its way for as long as was asked for, at the least, and arrives."""
    low, high = 0.01, 0.02
    network = impl.MemoryNetwork(seed=1)
    ends = [network.transport(), network.transport()]
    sent: dict[bytes, float] = {}
    received: dict[bytes, float] = {}
    ends[0].start(1, print)
    ends[1].start(2, lambda frame: received.setdefault(frame, time.monotonic()))
    network.set_faults(delay=(low, high))
    for number in range(1000):
        frame = b"%d" % number
        sent[frame] = time.monotonic()
        assert ends[0].send(2, frame)
    eventually(lambda: len(received) == 1000)
    for end in ends:
        end.close()
    assert min([received[frame] - sent[frame] for frame in sent]) >= low


def propose_many(cluster: Cluster, node: Any, expected: list[bytes], count: int) -> None:
    """Let a node propose ``count`` commands, one after the other, until each is done; noted in ``expected``."""
    for _ in range(count):
        data = b"%d" % len(expected)
        propose_somehow(node, data, cluster.impl)
        expected.append(data)


def converges(cluster: Cluster, expected: list[bytes]) -> None:
    """All nodes come to the same commit index, and have applied these commands, each once and in their order."""
    eventually(lambda: all([machine.commands == expected for machine in cluster.machines.values()]))
    eventually(lambda: len({node.commit_index for node in cluster.nodes.values()}) == 1)
    assert cluster.nodes[1].commit_index > len(expected)
    assert len({tuple(machine.entries) for machine in cluster.machines.values()}) == 1


def test_basic_progress(impl: ModuleType) -> None:
    """Five nodes elect a leader and agree on what one of them proposes."""
    cluster = Cluster(impl, n=5)
    try:
        cluster.leader()
        expected: list[bytes] = []
        propose_many(cluster, cluster.nodes[1], expected, 100)
        converges(cluster, expected)
    finally:
        cluster.close()


def test_restart(impl: ModuleType) -> None:
    """Two of five nodes stop and start again, while the others go on."""
    cluster = Cluster(impl, n=5)
    try:
        lead = cluster.leader().id
        first, second, third, fourth = [(lead - 1 + n) % 5 + 1 for n in (1, 2, 3, 4)]
        expected: list[bytes] = []
        propose_many(cluster, cluster.nodes[lead], expected, 30)
        cluster.nodes[first].close()
        propose_many(cluster, cluster.nodes[third], expected, 30)
        cluster.nodes[second].close()
        propose_many(cluster, cluster.nodes[fourth], expected, 30)
        cluster.start(second)
        propose_many(cluster, cluster.nodes[lead], expected, 30)
        cluster.start(first)
        converges(cluster, expected)
        assert {cluster.nodes[id].status().incarnation for id in (first, second)} == {2}
    finally:
        cluster.close()


class Door:
    """A node's end of the network that can be shut: what comes and goes is kept, and passed on when it is opened."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.max_frame_bytes = inner.max_frame_bytes
        self.lock = threading.Lock()
        self.kept: list[Callable[[], object]] | None = None

    def start(self, id: int, deliver: Callable[[bytes], object]) -> None:
        self.inner.start(id, lambda frame: self._pass(lambda: deliver(frame)))

    def send(self, to: int, frame: bytes) -> bool:
        return bool(self._pass(lambda: self.inner.send(to, frame)))

    def close(self) -> None:
        self.inner.close()

    def shut(self) -> None:
        with self.lock:
            self.kept = []

    def open(self) -> int:
        """Pass on what was kept. Returns how much that was."""
        with self.lock:
            kept, self.kept = self.kept or [], None
        for action in kept:
            action()
        return len(kept)

    def _pass(self, action: Callable[[], object]) -> object:
        with self.lock:
            if self.kept is not None:
                self.kept.append(action)
                return True
        return action()


class Doors(Cluster):
    """A cluster whose nodes each have a Door."""

    def __init__(self, impl: ModuleType, n: int) -> None:
        self.doors: dict[int, Door] = {}
        super().__init__(impl, n)

    def start(self, id: int) -> Any:
        self.machines[id] = Machine()
        self.doors[id] = Door(self.network.transport())
        config = self.impl.Config(id=id, seed=id, **self.settings)
        self.nodes[id] = self.impl.Node(config, self.storages[id], self.doors[id], self.machines[id]).start()
        return self.nodes[id]


@pytest.mark.parametrize("lead", [1, 2])
def test_pause(impl: ModuleType, lead: int) -> None:
    """Two of five nodes, the leader among them or not, hear and say nothing for a while, and then all at once."""
    cluster = Doors(impl, 5)
    try:
        if cluster.leader().id != lead:
            cluster.leader().transfer_leadership(lead)
        eventually(lambda: cluster.nodes[lead].is_leader)
        expected: list[bytes] = []
        propose_many(cluster, cluster.nodes[1], expected, 30)
        cluster.doors[2].shut()
        propose_many(cluster, cluster.nodes[1], expected, 30)
        cluster.doors[3].shut()
        propose_many(cluster, cluster.nodes[1], expected, 30)
        assert len(cluster.machines[2].commands) < 90
        assert cluster.doors[3].open() > 0
        propose_many(cluster, cluster.nodes[1], expected, 30)
        assert cluster.doors[2].open() > 0
        converges(cluster, expected)
    finally:
        for door in cluster.doors.values():
            door.open()
        cluster.close()
