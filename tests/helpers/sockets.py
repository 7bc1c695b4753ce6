"""Nodes of one process over real sockets of the loopback. Not a test."""

import time

from tests.helpers.ports import ports
from tests.helpers.transports import make_transport
from tests.helpers.waiting import WAIT, eventually

CLUSTER = b"nng-test-cluster"


class Machine:
    def __init__(self):
        self.commands = []

    def apply(self, entry):
        self.commands.append(entry.data)
        return len(self.commands)


class Cluster:
    """Three nodes of one process over real sockets. way: one of transports.WAYS, or "mixed": neighbours differ.

    keys: an object with ``tls(id)``, of keys.py: they speak TLS.
    """

    def __init__(self, impl, way="direct", keys=None, **transport):
        self.impl = impl
        self.ways = {id: ("direct", "tcp")[id % 2] if way == "mixed" else way for id in (1, 2, 3)}
        self.keys = keys
        scheme = "tcp" if keys is None else "tls+tcp"
        self.urls = {i + 1: f"{scheme}://127.0.0.1:{port}" for i, port in enumerate(ports(3))}
        self.storages = {id: impl.MemoryStorage(voters=[1, 2, 3]) for id in self.urls}
        self.transport = transport
        self.machines, self.nodes, self.transports = {}, {}, {}
        for id in self.urls:
            self.start(id)

    def start(self, id):
        impl = self.impl
        self.machines[id] = Machine()
        config = impl.Config(id=id, cluster=CLUSTER, tick_ms=20, seed=id)
        peers = {i: url for i, url in self.urls.items() if i != id}
        own = {} if self.keys is None else {"tls": self.keys.tls(id)}
        transport = make_transport(impl, self.ways[id], self.urls[id], peers, **self.transport, **own)
        self.transports[id] = transport
        self.nodes[id] = impl.Node(config, self.storages[id], transport, self.machines[id]).start()

    def leader(self):
        return eventually(lambda: next((n for n in self.nodes.values() if n.is_leader), None))

    def propose(self, data):
        deadline = time.monotonic() + WAIT
        while True:
            try:
                return self.leader().propose(data).result(timeout=WAIT)
            except self.impl.ProposalError:
                assert time.monotonic() < deadline
                time.sleep(0.01)

    def close(self):
        for node in self.nodes.values():
            node.close()
