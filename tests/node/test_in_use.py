"""A node that cannot start because another one has its storage or transport: the other one goes on."""

import pytest

from tests.helpers.implementations import module
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
