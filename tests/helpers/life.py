"""Nodes for the tests about the life of a node: what they run on, and what can be made to go wrong. Not a test."""

from __future__ import annotations

import threading
import time

from tests.helpers.implementations import module
from tests.helpers.waiting import WAIT, eventually


class Machine:
    """A state machine that can be held up."""

    def __init__(self):
        self.entries = []
        self.hold = threading.Event()
        self.hold.set()
        self.held = threading.Event()

    def apply(self, entry):
        if entry.data == b"hold":
            self.held.set()
            self.hold.wait(WAIT)
        self.entries.append(bytes(entry.data))
        return len(self.entries)


class Storage:
    """A storage of Python whose calls can be slow, or fail."""

    def __init__(self, impl, voters=(1,)):
        self.inner = module(impl, "storage.memory").MemoryStorage(voters=voters)
        self.open_takes = 0.0
        self.opening = threading.Event()
        self.fail = None
        self.closed = 0

    def open(self, id, cluster):
        self.opening.set()
        time.sleep(self.open_takes)
        return self.inner.open(id, cluster)

    def append(self, hard_state, records):
        self.inner.append(hard_state, records)

    def sync(self):
        if self.fail is not None:
            raise self.fail
        self.inner.sync()

    def close(self):
        self.closed += 1
        self.inner.close()


def make(impl, storage=None, machine=None, transport=None, **settings):
    """A group of one, not started."""
    memory = module(impl, "transport.memory")
    config = impl.Config(**{"id": 1, "seed": 1, "tick_ms": 10, **settings})
    storage = Storage(impl) if storage is None else storage
    transport = memory.MemoryNetwork().transport() if transport is None else transport
    return impl.Node(config, storage, transport, Machine() if machine is None else machine)


def leads(node):
    """Wait until it leads."""
    eventually(lambda: node.is_leader)
    return node


def node_threads():
    """The threads of nodes that run."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("raftx-")]
