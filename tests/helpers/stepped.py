"""Whole nodes in one thread, stepped by the test, on one clock and a network that delivers when it is told to.

Not a test.
"""

from __future__ import annotations

import collections
import random

from tests.helpers.implementations import module

ELECTION_TICKS = 10
TICK_MS = 10


class Machine:
    """Remembers what it was given."""

    def __init__(self):
        self.entries = []

    def apply(self, entry):
        self.entries.append((entry.index, entry.term, bytes(entry.data)))
        return len(self.entries)


class World:
    """Nodes of one implementation on one clock; frames wait in a queue until they are delivered."""

    def __init__(
        self,
        impl,
        count=3,
        storages=None,
        each=None,
        rows=None,
        ids=None,
        step=0.001,
        clocks=None,
        absent=(),
        **settings,
    ):
        self.impl = impl
        #: settings of single members, and ``max_frame_bytes`` of their transports
        self.each = each or {}
        self.stepped = module(impl, "testing.stepped")
        self.clock = impl.ManualClock()
        #: of members that have clocks of their own
        self.clocks = clocks or {}
        self.ids = tuple(ids or range(1, count + 1))
        #: how many rows may wait in the queues of a node; None: as many as usual
        self.rows = rows
        #: workers that get no rounds: (id, name)
        self.skipped = set()
        self.settings = settings
        self.storages = storages or {
            id: impl.MemoryStorage(voters=self.ids, random=random.Random(id).randbytes) for id in self.ids
        }
        self.frames = collections.deque()
        self.receive = {}
        self.nodes, self.machines, self.executors = {}, {}, {}
        #: what was sent: who, to whom, how long, when
        self.trace = []
        self.rounds = 0
        #: seconds that a round takes: less, and the network is quicker
        self.step = step
        for id in self.ids:
            if id not in absent:
                self.start(id)

    def start(self, id, machine=None, committed=False, **settings):
        times = {"tick_ms": TICK_MS, "election_ticks": ELECTION_TICKS, "proposal_timeout_ms": 5000}
        settings = {"id": id, "seed": id, **times, **self.settings, **self.each.get(id, {}), **settings}
        transport = Transport(self, settings.pop("max_frame_bytes", 4 << 20))
        config = self.impl.Config(**settings)
        self.machines[id] = machine or Machine()
        clock = self.clocks.get(id, self.clock)
        self.executors[id] = self.stepped.Stepped(clock, self.run)
        node = self.impl.Node(
            config,
            self.storages[id],
            transport,
            self.machines[id],
            clock=clock,
            executor=self.executors[id],
        )
        if self.rows is not None:
            node._outside.rows = module(self.impl, "node.outside").Rows(**self.rows)
        self.nodes[id] = node
        if committed:
            assert not len(node.committed)  # it is there from the begin
        return node.start()

    def run(self):
        """One round of everybody, what was sent is delivered, and a moment passes."""
        for id, executor in self.executors.items():
            for worker in list(executor.started.values()):
                if not worker.stepping and (id, worker.what) not in self.skipped:
                    executor.step(worker.what)
        for _ in range(len(self.frames)):
            to, frame = self.frames.popleft()
            if to in self.receive:
                self.receive[to](frame)
        for clock in (self.clock, *self.clocks.values()):
            clock.advance(self.step)
        self.rounds += 1

    def until(self, condition, rounds=3000):
        for _ in range(rounds):
            value = condition()
            if value:
                return value
            self.run()
        raise AssertionError("it did not happen in time")

    def engine(self, id):
        """What is judged is inside."""
        return self.nodes[id]._parts.engine

    def for_rounds(self, rounds):
        for _ in range(rounds):
            self.run()

    def leader(self):
        return self.until(lambda: next((node for node in self.nodes.values() if node.is_leader), None))

    def close(self):
        for node in self.nodes.values():
            node.close()


class Transport:
    def __init__(self, world, max_frame_bytes):
        self.world = world
        self.max_frame_bytes = max_frame_bytes
        self.peers = {id: f"memory:{id}" for id in world.ids}
        self.id = 0

    def start(self, id, deliver):
        self.id = id
        self.world.receive[id] = deliver

    def send(self, to, frame):
        world = self.world
        world.trace.append((self.id, to, bytes(frame), world.clock.py_now()))
        world.frames.append((to, frame))
        return True

    def close(self):
        self.world.receive.pop(self.id, None)


def settled_world(impl):
    """For a fixture: members of which one leads, and all know its first entry; closed at the end."""
    made = World(impl)
    leader = made.leader()
    made.until(lambda: {(node.leader_id, node.commit_index) for node in made.nodes.values()} == {(leader.id, 1)})
    yield made
    made.close()
