"""Peers that come and go while a transport runs: to whom frames go, and what is left of a peer that was removed."""

import threading
import time

import pytest

from tests.helpers.implementations import module
from tests.helpers.ports import ports
from tests.helpers.sockets import CLUSTER
from tests.helpers.threads import ends as ends_soon
from tests.helpers.threads import start
from tests.helpers.transports import WAYS, make_transport
from tests.helpers.waiting import WAIT, eventually

ANYWHERE = "tcp://127.0.0.1:0"


class End:
    """A started transport that keeps what it receives."""

    def __init__(self, impl, way, id, peers=(), listen=ANYWHERE, **settings):
        self.id = id
        self.frames = []
        self.transport = make_transport(impl, way, listen, peers, reconnect_ms=(10, 50), **settings)
        self.transport.start(id, self.frames.append)

    def reaches(self, to, other, frame=b"frame"):
        """Frames that are sent to ``to`` arrive at ``other``."""
        before = len(other.frames)
        eventually(lambda: self.transport.send(to, frame) and len(other.frames) > before)

    def close(self):
        self.transport.close()


@pytest.fixture(params=["use_gil", "tcp"])
def way(request):
    return request.param


@pytest.fixture
def ends(impl, way):
    made = []

    def make(id, *arguments, **settings):
        made.append(End(impl, way, id, *arguments, **settings))
        return made[-1]

    yield make
    for end in made:
        end.close()


def test_a_peer_is_added_and_removed(ends):
    one, two = ends(1), ends(2)
    assert not one.transport.send(2, b"nobody")
    one.transport.add_peer(2, two.transport.address)
    assert one.transport.peers == {2: two.transport.address}
    one.reaches(2, two)
    one.transport.remove_peer(2)
    assert one.transport.peers == {}
    assert not one.transport.send(2, b"late")
    eventually(lambda: two.transport.status()["connections"] == 0)
    one.transport.remove_peer(2)
    one.transport.add_peer(2, two.transport.address)
    one.reaches(2, two)
    assert b"late" not in two.frames


def test_a_peer_moves_to_another_address(ends):
    """Added again with the same address it keeps its connection; with another one it is dialled there."""
    one, two, three = ends(1), ends(2), ends(3)
    one.transport.add_peer(2, two.transport.address)
    one.reaches(2, two)
    connected = one.transport.status()["connected"]
    one.transport.add_peer(2, two.transport.address)
    one.reaches(2, two)
    assert one.transport.status()["connected"] == connected
    one.transport.add_peer(2, three.transport.address)
    one.reaches(2, three)
    eventually(lambda: two.transport.status()["connections"] == 0)


def test_a_peer_that_cannot_be_reached_is_dialled_no_more(ends):
    one = ends(1)
    (port,) = ports(1)
    one.transport.add_peer(2, f"tcp://127.0.0.1:{port}")
    eventually(lambda: one.transport.status()["dial_failures"] > 2)
    one.transport.remove_peer(2)
    time.sleep(0.1)
    dials = one.transport.status()["dials"]
    time.sleep(0.3)
    assert one.transport.status()["dials"] == dials


def test_as_many_as_a_membership_has(ends):
    one, two = ends(1), ends(2)
    for id in range(2, 65):
        one.transport.add_peer(id, two.transport.address)
    one.reaches(64, two)
    one.transport.remove_peer(30)
    one.transport.add_peer(99, two.transport.address)
    one.reaches(99, two)


def test_what_can_be_no_peer(ends, impl):
    one = ends(1)
    no_port = "tcp://127.0.0.2:0"
    for id, address, field in ((0, ANYWHERE, "id"), (True, ANYWHERE, "id"), (2, "nowhere", "2"), (2, no_port, "port")):
        with pytest.raises(impl.ConfigError, match=field):
            one.transport.add_peer(id, address)
    for id in range(2, 66):
        one.transport.add_peer(id, "tcp://127.0.0.1:1")
    with pytest.raises(impl.ConfigError, match="64"):
        one.transport.add_peer(66, "tcp://127.0.0.1:1")
    one.transport.add_peer(65, "tcp://127.0.0.1:2")
    assert len(one.transport.peers) == 64


@pytest.mark.parametrize("host", ["\u00fc" * 70, "\u00fc..x", "a\0b", "\udc80"])
def test_a_host_that_has_no_name_to_look_up_is_no_peer(ends, impl, way, host):
    """It is refused at once, here as when the transport is made, and leaves nothing behind."""
    one = ends(1)
    with pytest.raises(impl.ConfigError, match="the address of 2 has the address"):
        one.transport.add_peer(2, f"tcp://{host}:1")
    assert one.transport.peers == {}
    one.transport.remove_peer(2)
    with pytest.raises(impl.ConfigError, match="peers: 2"):
        make_transport(impl, way, ANYWHERE, {2: f"tcp://{host}:1"})


def test_a_peer_without_a_place_is_not_entered_and_holds_nobody_up(ends, impl, monkeypatch):
    """It waits for the place of one that was removed, in the end for nothing; others come and go meanwhile."""
    one, two = ends(1), ends(2)
    one.transport.add_peer(2, two.transport.address)
    one.reaches(2, two)

    tried, free = threading.Event(), threading.Event()
    dial = one.transport._dial

    def full(*arguments):
        tried.set()
        if not free.is_set():
            raise ValueError("at most 64 targets")
        dial(*arguments)

    monkeypatch.setattr(one.transport, "_dial", full)
    monkeypatch.setattr(module(impl, "transport.sockets"), "PLACE_SECONDS", WAIT)
    thread = start(one.transport.add_peer, 3, two.transport.address)
    assert tried.wait(WAIT)
    one.transport.remove_peer(4)
    assert one.transport.peers == {2: two.transport.address}
    assert thread.is_alive()  # it waits still
    free.set()
    assert ends_soon(thread)
    assert one.transport.peers == {2: two.transport.address, 3: two.transport.address}
    one.transport.remove_peer(3)
    free.clear()
    monkeypatch.setattr(module(impl, "transport.sockets"), "PLACE_SECONDS", 0.01)
    with pytest.raises(impl.TransportError, match=r"member 3 was not added: .*call add_peer again"):
        one.transport.add_peer(3, two.transport.address)
    assert one.transport.peers == {2: two.transport.address}
    # One that moves is gone then, and not half there.
    with pytest.raises(impl.TransportError, match="member 2 was not added"):
        one.transport.add_peer(2, "tcp://127.0.0.1:1")
    assert one.transport.peers == {}
    monkeypatch.undo()
    one.transport.add_peer(2, two.transport.address)
    one.reaches(2, two)


def test_before_the_start_and_after_the_end(impl, way):
    transport = make_transport(impl, way, ANYWHERE)
    two = End(impl, way, 2)
    transport.add_peer(2, two.transport.address)
    transport.add_peer(3, "tcp://127.0.0.1:1")
    transport.remove_peer(3)
    transport.start(1, lambda frame: None)
    eventually(lambda: transport.send(2, b"x") and two.frames)
    transport.close()
    with pytest.raises(impl.UsageError):
        transport.add_peer(4, "tcp://127.0.0.1:1")
    transport.remove_peer(2)
    two.close()


def test_one_s_own_address_is_not_dialled(ends):
    one = ends(1)
    one.transport.add_peer(1, "tcp://127.0.0.1:1")
    time.sleep(0.1)
    assert one.transport.status()["dials"] == 0
    one.transport.remove_peer(1)


@pytest.mark.slow
@pytest.mark.parametrize("way", [*WAYS, "mixed"])
def test_of_running_nodes(impl, way):
    """A follower whose address the others do not have is told it; it takes part, until it is taken out again."""
    urls = {number + 1: f"tcp://127.0.0.1:{port}" for number, port in enumerate(ports(3))}

    class Machine:
        def __init__(self):
            self.commands = []

        def apply(self, entry):
            self.commands.append(entry.data)

    machines, transports, nodes = {}, {}, {}
    try:
        for id in urls:
            machines[id] = Machine()
            transports[id] = make_transport(impl, way, urls[id], urls if id == 3 else {})
            config = impl.Config(id=id, cluster=CLUSTER, tick_ms=20, seed=id)
            storage = impl.MemoryStorage(voters=[1, 2, 3])
            nodes[id] = impl.Node(config, storage, transports[id], machines[id]).start()
        for id, other in ((1, 2), (2, 1)):
            transports[id].add_peer(other, urls[other])

        def propose(data):
            def attempt():
                leader = next((nodes[id] for id in (1, 2) if nodes[id].is_leader), None)
                return leader is not None and leader.propose(data).exception(timeout=20) is None

            eventually(attempt)

        propose(b"one")
        assert machines[3].commands == []
        for id in (1, 2):
            transports[id].add_peer(3, urls[3])
        eventually(lambda: machines[3].commands == [b"one"])
        for id in (1, 2):
            transports[id].remove_peer(3)
        eventually(lambda: nodes[3].status().transport["connections"] == 0)
        propose(b"two")
        time.sleep(0.1)
        assert machines[3].commands == [b"one"]
        for id in (1, 2):
            transports[id].add_peer(3, urls[3])
        eventually(lambda: machines[3].commands == [b"one", b"two"])
    finally:
        for node in nodes.values():
            node.close()


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_added_and_removed_all_the_time(impl, way):
    """While the engine sends: nothing is lost between those that stay, and nobody ends."""
    urls = {number + 1: f"tcp://127.0.0.1:{port}" for number, port in enumerate(ports(3))}
    transports = {id: make_transport(impl, way, urls[id], urls, reconnect_ms=(5, 20)) for id in urls}
    nodes = {}
    stopping = threading.Event()

    class Machine:
        def apply(self, entry):
            pass

    def churn():
        while not stopping.is_set():
            for id in (1, 2):
                transports[id].remove_peer(3)
                transports[id].add_peer(3, urls[3])
            time.sleep(0.01)

    thread = threading.Thread(target=churn, daemon=True)
    try:
        for id in urls:
            config = impl.Config(id=id, cluster=CLUSTER, tick_ms=20, election_ticks=20, seed=id)
            nodes[id] = impl.Node(config, impl.MemoryStorage(voters=[1, 2, 3]), transports[id], Machine()).start()
        leader = eventually(lambda: next((node for node in nodes.values() if node.is_leader), None))
        if leader.id == 3:
            leader.transfer_leadership(1).result(timeout=20)
            leader = nodes[1]
        thread.start()
        done = 0
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            done += leader.propose(bytes(100)).exception(timeout=20) is None
        assert done > 10
    finally:
        stopping.set()
        if thread.ident is not None:
            thread.join(10)
        for node in nodes.values():
            node.close()
    assert all(node.failure is None for node in nodes.values())


def test_peers_of_a_memory_network(impl):
    """They need no address; one that was removed gets nothing until it is added again."""
    network = module(impl, "transport.memory").MemoryNetwork()
    one, two = network.transport(), network.transport()
    got = []
    one.start(1, lambda frame: None)
    two.start(2, got.append)
    assert one.send(2, b"a")
    one.remove_peer(2)
    assert not one.send(2, b"b")
    one.remove_peer(2)
    one.add_peer(2, "anything")
    assert one.send(2, b"c")
    assert got == [b"a", b"c"]
    one.close()
    two.close()


def test_transports_say_what_they_are(impl, ends, way):
    network = module(impl, "transport.memory").MemoryNetwork()
    end = network.transport()
    assert repr(end) == "<raftx.MemoryTransport, not started>"
    end.start(7, lambda frame: None)
    assert repr(end) == "<raftx.MemoryTransport of node 7>"
    network.cut(7, 8)
    assert repr(network) == "<raftx.MemoryNetwork nodes=[7] cut=1>"
    end.close()
    one = ends(1, {2: "tcp://127.0.0.1:1"})
    kind = "TcpTransport" if way == "tcp" else "NngTransport"
    assert repr(one.transport) == f"<raftx.{kind} {one.transport.address} peers=[2]>"
    assert isinstance(one.transport, impl.Transport) and isinstance(end, impl.Transport)
    two = ends(2)
    one.transport.add_peer(2, two.transport.address)
    one.reaches(2, two)
    if way != "tcp":
        made = one.transport._connections
        assert repr(made) == "<PythonConnections peers=[2] made=1 renewals=0>"
        assert repr(made.by_id[2]) == f"<PythonPeer 2 at {two.transport.address}: connected>"
        two.close()
        eventually(lambda: "connected" not in repr(made.by_id[2]))
    one.close()
    assert repr(one.transport).endswith("closed>")
