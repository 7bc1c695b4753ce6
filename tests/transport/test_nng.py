"""NngTransport and TcpTransport: with and without the GIL, bad frames, dead peers, reconnection. Loopback only."""

import contextlib
import gc
import os
import socket
import threading
import time

import pynng
import pytest

from tests.helpers.implementations import module
from tests.helpers.ports import ports
from tests.helpers.sockets import CLUSTER, Cluster
from tests.helpers.transports import WAYS, make_transport
from tests.helpers.waiting import WAIT, eventually

by_transport = pytest.mark.parametrize("way", ["direct", "tcp"])


@pytest.fixture(params=[*WAYS, "environment", "mixed"])
def cluster(request, impl, monkeypatch):
    """Each way. Interpreted, those to NNG are all through pynng's Python calls."""
    if request.param == "environment":
        monkeypatch.setenv("RAFTX_NNG", "python")
    made = Cluster(impl, "direct" if request.param == "environment" else request.param)
    made.way = request.param
    yield made
    made.close()


def test_a_cluster_works(cluster):
    direct = cluster.way == "tcp" or (cluster.way in ("direct", "mixed") and cluster.impl.COMPILED)
    names = {t.name for t in threading.enumerate()}
    # Without the GIL no thread of Python takes frames; and over sockets of our own no other one does.
    assert any(name.startswith("raftx-nng-") for name in names) == (not direct)
    assert any(name.startswith("raftx-wire-") for name in names) == (cluster.way != "tcp")
    for number in range(50):
        assert cluster.propose(b"%d" % number).result == number + 1
    large = os.urandom(900_000)
    assert cluster.propose(large).result == 51
    for machine in cluster.machines.values():
        eventually(lambda machine=machine: len(machine.commands) == 51)
        assert machine.commands[-1] == large
    follower = next(n for n in cluster.nodes.values() if not n.is_leader)
    assert follower.propose(b"from a follower").result(timeout=WAIT).result == 52


def test_a_peer_comes_back(cluster):
    cluster.propose(b"1")
    victim = next(n for n in cluster.nodes.values() if not n.is_leader)
    victim.close()
    for number in range(2, 30):
        cluster.propose(b"%d" % number)
    cluster.start(victim.id)
    eventually(lambda: len(cluster.machines[victim.id].commands) == 29)


@by_transport
def test_bad_frames_are_counted_and_dropped(impl, way):
    """Whatever arrives on the socket: it is counted by reason, and the node goes on."""
    made = Cluster(impl, way)
    try:
        made.propose(b"before")
        node = made.leader()
        codec = module(impl, "_core").Codec(b"another cluster!", 2, 1)
        stranger = module(impl, "_core").Codec(CLUSTER, 2, 10**6)
        frames = {
            "short": b"x",
            "magic": bytes(200),
            "cluster": codec.encode(node.id, []),
            "recipient": stranger.encode(77, []),
            "checksum": bytearray(stranger.encode(node.id, [])),
        }
        frames["checksum"][50] ^= 1
        with pynng.Push0() as push:
            push.dial(made.urls[node.id], block=True)
            for frame in frames.values():
                push.send(bytes(frame))
            eventually(lambda: all(node.status().frames_rejected[reason] >= 1 for reason in frames))
        assert made.propose(b"after").result == 2
        assert node.failure is None
    finally:
        made.close()


@by_transport
def test_a_frame_over_the_limit_costs_its_sender_the_connection(impl, way):
    made = Cluster(impl, way)
    try:
        node = made.leader()
        with pynng.Push0() as push:
            push.dial(made.urls[node.id], block=True)
            push.send(bytes(5 << 20))
            push.send(b"small")
        assert made.propose(b"x").result == 1
    finally:
        made.close()


@by_transport
def test_frames_to_a_dead_peer_are_dropped_in_the_end(impl, way):
    """The queue to a peer that is not there is bounded; the node counts what it drops and goes on."""
    made = Cluster(impl, way, queue_frames=2)
    try:
        made.propose(b"1")
        victim = next(n for n in made.nodes.values() if not n.is_leader)
        victim.close()
        leader = made.leader()
        eventually(lambda: made.propose(b"x") and leader.status().frames_dropped > 3)
        made.start(victim.id)
        total = len(made.machines[leader.id].commands)
        eventually(lambda: len(made.machines[victim.id].commands) >= total)
    finally:
        made.close()


@pytest.mark.parametrize("receives", ["direct", "tcp"])
@pytest.mark.parametrize("sends", ["direct", "tcp"])
def test_reconnects_soon(impl, sends, receives):
    """A peer that listens again is dialled within the longest pause: no more than 500 ms by default."""
    one, two = ports(2)
    event = threading.Event()
    heard = []

    def deliver(frame):
        heard.append(frame)
        event.set()

    sender = make_transport(impl, sends, f"tcp://127.0.0.1:{one}", {2: f"tcp://127.0.0.1:{two}"})
    sender.start(1, lambda frame: None)
    try:
        for life in range(3):
            receiver = make_transport(impl, receives, f"tcp://127.0.0.1:{two}")
            receiver.start(2, deliver)
            event.clear()
            deadline = time.monotonic() + WAIT
            while not event.wait(0.01):
                sender.send(2, b"%d" % life)
                assert time.monotonic() < deadline
            receiver.close()
        assert {b"0", b"1", b"2"} <= set(heard)
    finally:
        sender.close()


def test_settings(impl):
    good = "tcp://127.0.0.1:0"
    for field, arguments in {
        "listen": ((5, {}), {}),
        "peers": ((good, {0: good}), {}),
        "peers: 2": ((good, {2: "nowhere"}), {}),
        "max_frame_bytes": ((good, {}), {"max_frame_bytes": 10}),
        "reconnect_ms": ((good, {}), {"reconnect_ms": (500, 10)}),
    }.items():
        for kind in (impl.NngTransport, impl.TcpTransport):
            with pytest.raises(impl.ConfigError, match=field):
                kind(*arguments[0], **arguments[1])
    with pytest.raises(impl.ConfigError, match="queue_frames"):
        impl.NngTransport(good, {}, queue_frames=0)
    with pytest.raises(impl.ConfigError, match="send_bytes"):
        impl.TcpTransport(good, {}, send_bytes=1)
    for way in WAYS:
        with pytest.raises(impl.ConfigError, match="max_entry_bytes"):
            impl.Node(
                impl.Config(id=1, max_entry_bytes=8 << 20),
                impl.MemoryStorage(voters=[1]),
                make_transport(impl, way, good),
            )


@by_transport
def test_cannot_listen(impl, way):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        transport = make_transport(impl, way, url)
        node = impl.Node(impl.Config(id=1), impl.MemoryStorage(voters=[1]), transport)
        with pytest.raises(impl.TransportError, match=f"cannot listen on {url}: .*in use"):
            node.start()
        node.close()


def descriptors():
    """What each descriptor of this process refers to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    return found


@pytest.mark.slow
@by_transport
def test_nothing_is_left(impl, way):
    """Threads, sockets and files of a closed node are gone. Events go with its objects, some of which are in cycles.

    NNG makes pipes and epoll descriptors of its own once in a process, some of them when it is first busy: what a node
    leaves behind, each one does.
    """
    threads = threading.active_count()
    left = []
    for _ in range(6):
        before = descriptors()
        made = Cluster(impl, way)
        made.propose(b"x")
        made.close()
        eventually(lambda: threading.active_count() == threads)
        made = None
        with contextlib.suppress(AssertionError):
            eventually(lambda before=before: gc.collect() >= 0 and len(descriptors()) <= len(before), 0.5)
        left.append(sorted(set(descriptors().items()) - set(before.items())))
        if len(descriptors()) <= len(before) and len(left) > 1:
            break
    else:
        pytest.fail(f"each of them leaves something: {left}")
