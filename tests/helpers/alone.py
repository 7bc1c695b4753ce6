"""A node alone, and its snapshot thread alone, for tests of snapshots. Not a test."""

from tests.helpers.implementations import module
from tests.helpers.machines import Machine
from tests.helpers.stepped import World
from tests.helpers.storages import founded
from tests.helpers.wal import CLUSTER, opened, records


class One:
    """A node alone, with its log in a directory."""

    def __init__(self, impl, path, machine=None, **settings):
        self.impl, self.path = impl, path
        self.settings = {"snapshot_entries": 0, "keep_entries": 0, **settings}
        self.world = World(impl, 1, storages={1: self.storage()})
        self.world.close()
        self.start(machine)

    def storage(self):
        return founded(self.impl, self.path, members=[1], segment_bytes=64 << 10)

    def start(self, machine=None):
        self.machine = machine or Machine()
        self.world.storages[1] = self.storage()
        self.node = self.world.start(1, machine=self.machine, **self.settings)
        self.world.until(lambda: self.node.is_leader or self.node.failure)

    def again(self, machine=None):
        self.world.close()
        self.start(machine)

    def propose(self, count, data=b"x"):
        futures = [self.node.propose(b"%s%d" % (data, number)) for number in range(count)]
        self.world.until(lambda: all(future.done() for future in futures))
        return [future.result().index for future in futures]

    def ended(self, future):
        self.world.until(future.done)
        return future.result()


class Written:
    """The snapshot thread, round by round, over a storage with a log of 20 entries."""

    def __init__(self, impl, path):
        self.impl = impl
        self.storage, _ = opened(impl, path)
        self.storage.append(impl.HardState(1, 2, 20), [records(impl, 1, [(1, b"x")] * 20)])
        self.storage.sync()
        self.ends = []
        snapshots = module(impl, "node.snapshots")
        self.thread = snapshots.Snapshotter(1, self.storage, lambda *end: self.ends.append(end))

    def begin(self, state, index=7):
        descriptor = module(self.impl, "storage.snapshot_format").Descriptor
        conf = self.impl.ConfState(voters=(1, 2, 3))
        self.thread.begin(descriptor(index, 1, conf, {}, CLUSTER, 1, 0), state)

    def run(self):
        rounds = 0
        while self.thread.is_busy():
            assert self.thread.round()
            rounds += 1
        return rounds

    def read(self):
        with self.storage.open_snapshot() as reader:
            return reader.index, reader.read()
