"""A node that cannot start because another one has its storage or transport: the other one goes on."""

import pytest

from tests.helpers.implementations import module
from tests.helpers.machines import Machine
from tests.helpers.ports import port as free_port
from tests.helpers.storages import founded
from tests.helpers.waiting import WAIT, eventually


def storage_of(impl, kind, path):
    if kind == "memory":
        return impl.MemoryStorage(voters=[1])
    return founded(impl, path / "node", members=[1])


def goes_on(node):
    assert node.propose(b"x").result(timeout=WAIT).index == node.applied_index
    assert node.failure is None


@pytest.mark.parametrize("kind", ["memory", "file"])
@pytest.mark.parametrize("shared", [False, True], ids=["own transport", "both"])
def test_a_storage_in_use(impl, tmp_path, kind, shared):
    network = module(impl, "transport.memory").MemoryNetwork()
    config, storage = impl.Config(id=1, tick_ms=10), storage_of(impl, kind, tmp_path)
    transport = network.transport()
    with impl.Node(config, storage, transport) as node:
        eventually(lambda: node.is_leader)
        second = impl.Node(config, storage, transport if shared else network.transport())
        with pytest.raises(impl.WrongDirectory):
            second.start()
        second.close()
        goes_on(node)


def test_a_transport_in_use(impl):
    config = impl.Config(id=1, tick_ms=10)
    transport = impl.NngTransport(f"tcp://127.0.0.1:{free_port()}", {})
    with impl.Node(config, impl.MemoryStorage(voters=[1]), transport) as node:
        eventually(lambda: node.is_leader)
        mine = impl.MemoryStorage(voters=[1])
        second = impl.Node(config, mine, transport)
        with pytest.raises(impl.UsageError, match="started once"):
            second.start()
        second.close()
        # Frames still come to the first one, in either way of running the connections.
        with pytest.raises(impl.UsageError, match="started once"):
            transport.attach(lambda frame, source: None, lambda id: None)
        goes_on(node)
        transport.add_peer(2, "tcp://127.0.0.1:9")  # which raises UsageError where it is closed
        mine.open(1, config.cluster)  # that one was released
        mine.close()


class Refusing(Machine):
    """Cannot take one of its entries."""

    def apply(self, entry):
        if entry.data == b"refused":
            raise ValueError("not that one")
        return super().apply(entry)


class Watched:
    """A storage of its own that keeps what it has in one of the package: the node calls it, and it calls that one."""

    def __init__(self, inner):
        self.inner = inner

    def open(self, id, cluster):
        return self.inner.open(id, cluster)

    def append(self, hard_state, records):
        self.inner.append(hard_state, records)

    def sync(self):
        self.inner.sync()

    def compact(self, index, term, conf_state):
        self.inner.compact(index, term, conf_state)

    def close(self):
        self.inner.close()


@pytest.mark.parametrize("wrapped", [False, True], ids=["itself", "wrapped"])
@pytest.mark.parametrize("failed", [False, True], ids=["running", "failed"])
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_an_owner_cannot_write_beside_a_node(impl, tmp_path, kind, failed, wrapped):
    """Not even beside one that has failed and was not closed: what its disk has is behind what it knows."""
    network = module(impl, "transport.memory").MemoryNetwork()
    storage, machine = storage_of(impl, kind, tmp_path), Refusing()
    used = Watched(storage) if wrapped else storage
    node = impl.Node(impl.Config(id=1, tick_ms=10), used, network.transport(), machine).start()
    eventually(lambda: node.is_leader)
    done = node.propose(b"one").result(timeout=WAIT)
    if failed:
        with pytest.raises(impl.Unknown):
            node.propose(b"refused").result(timeout=WAIT)
        eventually(lambda: node.failure)
    described = module(impl, "storage.snapshot_format").Descriptor
    snapshot = described(1, 1, impl.ConfState(voters=(1,)), {}, node.config.cluster, 1, 0)
    met = module(impl, "storage.protocol").Met(1, bytes(16))
    for name, given in (
        ("sync", ()),
        ("append", (impl.HardState(9, 1, 0), [])),
        ("compact", (done.index, done.term, impl.ConfState(voters=(1,)))),
        ("begin_behind", (1, 1, impl.ConfState(voters=(1,)))),
        ("keep_addresses", (1, {}, {})),
        ("remember", (2, met)),
        ("forgotten", (1 << 60,)),
        ("begin_snapshot", (snapshot,)),
        ("receive_snapshot", (snapshot,)),
        ("close", ()),
    ):
        with pytest.raises(impl.UsageError, match=rf"{name}\(\) of a storage that a node uses"):
            getattr(storage, name)(*given)
    node.close()
    storage.close()
    loaded = storage.open(1, node.config.cluster)
    assert loaded.hard_state.term == done.term
    storage.sync()
    storage.close()
