"""TcpTransport: beside NNG itself, over Unix sockets, and how soon a member that returns is reached."""

import os
import socket
import stat
import time

import pynng
import pytest

from tests.helpers.ports import port as free_port
from tests.helpers.sockets import Cluster
from tests.helpers.transports import WAYS, make_transport
from tests.helpers.waiting import WAIT, eventually

ANYWHERE = "tcp://127.0.0.1:0"


@pytest.fixture
def started(impl):
    made = []

    def start(id, listen, peers=(), way="tcp", **settings):
        frames = []
        transport = make_transport(impl, way, listen, peers, **settings)
        made.append(transport)
        transport.start(id, frames.append)
        transport.frames = frames
        return transport

    yield start
    for each in made:
        each.close()


@pytest.mark.parametrize("ipc", [False, True])
def test_beside_nng_s_own_sockets(started, tmp_path, ipc):
    """Push0 and Pull0 of pynng, in both directions."""
    theirs = f"ipc://{tmp_path}/theirs" if ipc else f"tcp://127.0.0.1:{free_port()}"
    with pynng.Pull0(recv_timeout=int(WAIT * 1000)) as pull, pynng.Push0(send_timeout=int(WAIT * 1000)) as push:
        pull.listen(theirs)
        ours = started(1, f"ipc://{tmp_path}/ours" if ipc else ANYWHERE, {2: theirs})
        push.dial(ours.address, block=True)
        frames = [b"x" * size for size in (1, 100, 70_000, 1_000_000)]
        for frame in frames:
            push.send(frame)
            eventually(lambda frame=frame: ours.send(2, frame))
        assert [pull.recv() for _ in frames] == frames
        eventually(lambda: ours.frames == frames)


@pytest.mark.parametrize("ipc", [False, True])
@pytest.mark.parametrize(("one", "two"), [("tcp", "tcp"), ("tcp", "direct"), ("direct", "tcp")])
def test_beside_nng_transport(started, tmp_path, one, two, ipc):
    """Transports of both kinds, in both directions."""
    urls = {id: f"ipc://{tmp_path}/{id}" if ipc else f"tcp://127.0.0.1:{free_port()}" for id in (1, 2)}
    ends = {1: started(1, urls[1], urls, one), 2: started(2, urls[2], urls, two)}
    for number in range(20):
        for id, end in ends.items():
            frame = b"%d" % number * 1000
            eventually(lambda end=end, id=id, frame=frame: end.send(3 - id, frame))
            eventually(lambda id=id, frame=frame: frame in ends[3 - id].frames)


@pytest.mark.parametrize("way", ["direct", "tcp"])
def test_the_file_of_a_process_that_is_gone_is_replaced(started, impl, tmp_path, way):
    path = tmp_path / "socket"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.listen()
    left.close()
    assert stat.S_ISSOCK(path.stat().st_mode)
    one = started(1, f"ipc://{path}", way=way)
    two = started(2, f"ipc://{tmp_path}/2", {1: f"ipc://{path}"})
    eventually(lambda: two.send(1, b"x") and one.frames)
    # While it is in use, nobody else has it.
    second = make_transport(impl, "tcp", f"ipc://{path}")
    with pytest.raises(impl.TransportError, match=f"cannot listen on ipc://{path}: .*in use"):
        second.start(3, lambda frame: None)
    before = len(one.frames)
    eventually(lambda: two.send(1, b"y") and len(one.frames) > before)
    one.close()
    assert not path.exists()


def test_what_is_no_socket_is_left_alone(impl, tmp_path):
    path = tmp_path / "notes"
    path.write_text("not to be lost")
    for url, why in ((f"ipc://{path}", "in use"), (f"ipc://{tmp_path}/no/where", "No such file")):
        transport = impl.TcpTransport(url)
        with pytest.raises(impl.TransportError, match=f"cannot listen on {url}: .*{why}"):
            transport.start(1, lambda frame: None)
        transport.close()
    assert path.read_text() == "not to be lost"


def test_addresses_that_it_has_not(impl):
    for url in ("inproc://x", "ws://127.0.0.1:5601", "tls+tcp://127.0.0.1:5601", "abstract://x"):
        with pytest.raises(impl.ConfigError, match=r"^listen .*NngTransport"):
            impl.TcpTransport(url)
        with pytest.raises(impl.ConfigError, match=r"^peers: 2 .*NngTransport"):
            impl.TcpTransport(ANYWHERE, {2: url})
    with pytest.raises(impl.ConfigError, match="at most 107 bytes"):
        impl.TcpTransport(ANYWHERE, {2: "ipc:///" + "x" * 107})
    impl.TcpTransport(ANYWHERE, {2: "ipc:///" + "x" * 106})


def test_without_a_connection_nothing_is_queued(started):
    one = started(1, ANYWHERE, {2: f"tcp://127.0.0.1:{free_port()}"})
    assert not one.send(2, b"x")
    assert not one.send(3, b"x")


def test_what_waits_for_a_slow_reader_is_bounded(started):
    """It does not read: sends say no in the end, and memory stays as it is."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        one = started(1, ANYWHERE, {2: url}, send_bytes=1 << 20, unacknowledged_ms=60_000)
        with server.accept()[0] as other:
            other.sendall(b"\0SP\0\0\x51\0\0")
            eventually(lambda: one.send(2, b"first"))
            sent = 0
            deadline = time.monotonic() + WAIT
            refused = 0
            while refused < 200:
                assert time.monotonic() < deadline
                if one.send(2, bytes(10_000)):
                    sent += 10_000
                    assert sent < 64 << 20
                else:
                    refused += 1
                    time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_member_that_returns_is_dialled_at_once(impl, way):
    """The others' pauses have become long by then: what comes from it says that it is there."""
    made = Cluster(impl, way, reconnect_ms=(4000, 60_000))
    try:
        made.propose(b"1")
        victim = next(n for n in made.nodes.values() if not n.is_leader)
        others = [node for node in made.nodes.values() if node is not victim]
        failures = {node.id: node.status().transport["dial_failures"] for node in others}
        victim.close()
        # At once and after 4 s: the next pause is of about eight.
        for node in others:
            eventually(lambda node=node: node.status().transport["dial_failures"] >= failures[node.id] + 2)
        made.start(victim.id)
        eventually(lambda: len(made.machines[victim.id].commands) >= 1, 6)
    finally:
        made.close()


def test_nothing_is_open_when_it_cannot_listen(impl):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            transport = impl.TcpTransport(url, {2: "tcp://127.0.0.1:1"})
            with pytest.raises(impl.TransportError):
                transport.start(1, lambda frame: None)
            transport.close()
            with pytest.raises(impl.UsageError):
                transport.start(1, lambda frame: None)
            del transport
        assert len(os.listdir("/proc/self/fd")) <= before
