"""Frames with a seal by a key that all members have: over each transport, and what comes without one. Loopback only."""

import socket

import pytest

from tests.helpers.implementations import module
from tests.helpers.sockets import CLUSTER, Cluster, Machine
from tests.helpers.waiting import eventually

KEY, OTHER = bytes(range(32)), bytes(range(100, 132))


@pytest.fixture(params=["direct", "use_gil", "tcp", "mixed"])
def cluster(request, impl):
    made = Cluster(impl, request.param, cluster_key=KEY)
    yield made
    made.close()


def send(url, *frames):
    """As a Push0 socket does."""
    made = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
    made.sendall(b"\0SP\0\0\x50\0\0" + b"".join([len(frame).to_bytes(8, "big") + frame for frame in frames]))
    return made


def test_a_cluster_works_and_takes_nothing_without_a_seal(cluster, impl):
    for number in range(20):
        assert cluster.propose(b"%d" % number).result == number + 1
    large = bytes(range(256)) * 4000
    assert cluster.propose(large).result == 21
    for machine in cluster.machines.values():
        eventually(lambda machine=machine: len(machine.commands) == 21)
    node = cluster.leader()
    bare = module(impl, "_core").Codec(CLUSTER, 2 if node.id != 2 else 3, 2**60).encode(node.id, [])
    maker = module(impl, "_native.seal").Seal([KEY])
    good = maker.py_close(bare)
    with send(cluster.urls[node.id], bare, good, good, good[:-1] + bytes([good[-1] ^ 1])):
        eventually(lambda: node.status().frames_rejected["replay"] == 1)
        eventually(lambda: node.status().frames_rejected["seal"] == 2)
    assert cluster.propose(b"after").result == 22


def test_members_without_the_key_hear_nothing_of_one_another(impl, caplog):
    """And say why."""
    made = Cluster(impl, "tcp", cluster_key=KEY)
    try:
        assert made.propose(b"before").result == 1
        victim = next(node for node in made.nodes.values() if not node.is_leader)
        victim.close()
        assert made.propose(b"while it was away").result == 2
        made.transport["cluster_key"] = OTHER
        made.start(victim.id)
        back = made.nodes[victim.id]
        eventually(lambda: back.status().frames_rejected["seal"] >= 3)
        assert made.machines[victim.id].commands in ([], [b"before"])  # what its own log has, at most
        eventually(lambda: any("cluster_key" in record.getMessage() for record in caplog.records))
        text = " ".join([record.getMessage() for record in caplog.records])
        assert KEY.hex() not in text and repr(KEY) not in text
    finally:
        made.close()


def test_a_key_takes_the_others_place_one_member_at_a_time(impl):
    made = Cluster(impl, "tcp", cluster_key=KEY)
    try:
        count = 0
        for keys in ((KEY, OTHER), (OTHER, KEY), OTHER):
            made.transport["cluster_key"] = keys
            for id in (1, 2, 3):
                made.nodes[id].close()
                made.start(id)
                count += 1
                made.propose(b"%d" % count)
                eventually(lambda id=id, count=count: len(made.machines[id].commands) == count)
        assert made.leader().status().frames_rejected["seal"] == 0
    finally:
        made.close()


@pytest.mark.parametrize("name", ["NngTransport", "TcpTransport"])
def test_others_must_not_reach_a_node_without_saying_so(impl, name):
    made = getattr(impl, name)
    for url in (
        "tcp://0.0.0.0:0",
        "tcp://:0",
        "tcp://*:0",
        "tcp://10.0.0.1:5601",
        "tcp://example.com:1",
        "tcp6://[::]:0",
    ):
        with pytest.raises(impl.ConfigError, match=r"tls=raftx\.Tls\(\.\.\.\), or a cluster_key; or say insecure=True"):
            made(url)
        assert made(url, insecure=True).listen == url
        assert made(url, cluster_key=KEY).listen == url
    for url in (
        "tcp://127.0.0.1:0",
        "tcp://127.8.9.1:0",
        "tcp://localhost:0",
        "tcp6://[::1]:0",
        "ipc:///tmp/x",
        "unix:///x",
    ):
        made(url)
    for wrong in (1, None, "yes"):
        with pytest.raises(impl.ConfigError, match="insecure must be True or False"):
            made("tcp://127.0.0.1:0", insecure=wrong)


@pytest.mark.parametrize("name", ["NngTransport", "TcpTransport"])
def test_keys_are_checked_and_not_shown(impl, name):
    made = getattr(impl, name)
    for wrong in (b"", b"sesame", "s" * 32, [KEY, OTHER, KEY], [], 7, bytearray(32), [KEY, KEY]):
        with pytest.raises(impl.ConfigError, match="cluster_key must be") as error:
            made("tcp://127.0.0.1:0", cluster_key=wrong)
        assert "sesame" not in str(error.value) and KEY.hex() not in str(error.value)
    transport = made("tcp://127.0.0.1:0", cluster_key=(KEY, OTHER))
    assert repr(KEY) not in repr(transport)
    with pytest.raises(impl.UsageError, match="works in a node only"):
        transport.start(1, print)
    config = impl.Config(id=1, tick_ms=20)
    node = impl.Node(config, impl.MemoryStorage(voters=[1]), made("tcp://127.0.0.1:0", cluster_key=KEY), Machine())
    assert repr(KEY) not in repr(node)
