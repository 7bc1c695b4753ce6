"""Nodes over memory storage and network. Not a test."""

import time

from tests.helpers.implementations import module
from tests.helpers.waiting import WAIT, eventually


class Machine:
    """Remembers what it was given."""

    def __init__(self):
        self.entries = []

    def apply(self, entry):
        self.entries.append((entry.index, entry.term, entry.data))
        return len(self.entries)

    @property
    def commands(self):
        return [data for _, _, data in self.entries]


class Cluster:
    """Nodes of one implementation on one memory network."""

    def __init__(self, impl, n=3, **settings):
        self.impl = impl
        self.memory = module(impl, "storage.memory")
        self.network = module(impl, "transport.memory").MemoryNetwork(seed=1)
        self.ids = list(range(1, n + 1))
        self.settings = {"tick_ms": 10, "election_ticks": 10, **settings}
        self.storages = {id: self.memory.MemoryStorage(voters=self.ids) for id in self.ids}
        self.machines = {}
        self.nodes = {}
        for id in self.ids:
            self.start(id)

    def start(self, id):
        self.machines[id] = Machine()
        config = self.impl.Config(id=id, seed=id, **self.settings)
        node = self.impl.Node(config, self.storages[id], self.network.transport(), self.machines[id])
        self.nodes[id] = node.start()
        return node

    def leader(self):
        return eventually(lambda: next((n for n in self.nodes.values() if n.is_leader and n.failure is None), None))

    def followers(self):
        leader = self.leader()
        return [n for n in self.nodes.values() if n is not leader]

    def close(self):
        for node in self.nodes.values():
            node.close()


def propose_somehow(node, data, impl):
    """Propose until it is done: what a client does while there is no leader."""
    deadline = time.monotonic() + WAIT
    while True:
        try:
            return node.propose(data).result(timeout=WAIT)
        except impl.NotDone:
            assert time.monotonic() < deadline
            time.sleep(0.01)
