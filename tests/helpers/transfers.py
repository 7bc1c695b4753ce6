"""A cluster of stepped nodes whose members fetch snapshots of each other, with a look into their frames. Not a test."""

import random

from tests.helpers.implementations import module
from tests.helpers.machines import Machine
from tests.helpers.stepped import World
from tests.helpers.storages import founded

# Small frames make small chunks, of 20 KiB.
SETTINGS = {
    "snapshot_entries": 50, "keep_entries": 0, "max_message_bytes": 4096, "max_entry_bytes": 8192,
    "max_frame_bytes": 24 << 10,
}  # fmt: skip
BIG = b"z" * 3000
WHERE = ("files", "simulated", "memory")
CHUNKS, CHUNK = 36, 37


class Cluster:
    """Members with logs, and what their frames hold before they are delivered.

    where: in directories, on simulated disks, which draw from ``seed``, or in memory. machine: makes a state machine.
    """

    def __init__(self, impl, path, absent=(), count=3, where="files", machine=Machine, seed=0, step=0.001, **settings):
        self.impl, self.path, self.where, self.machine = impl, path, where, machine
        self.ids = tuple(range(1, count + 1))
        self.settings = {**SETTINGS, **settings}
        disk = module(impl, "testing.disk").SimDisk
        self.disks = {id: disk(random.Random(f"{seed} {id}")) for id in self.ids} if where == "simulated" else {}
        self.memories = {id: impl.MemoryStorage(self.ids) for id in self.ids} if where == "memory" else {}
        self.world = World(impl, count, storages={id: self.storage(id) for id in self.ids}, step=step)
        self.world.close()
        #: called with sender, recipient and message of a transfer, before each round: True loses the frame
        self.loses = lambda sender, to, message: False
        self.seen = []
        #: members whose frames are lost, and those to them
        self.cut_off = set()
        self.world.frames = Frames(self)
        for id in self.ids:
            if id in absent:
                # It has never run: its directory is empty, and its log as well.
                del self.world.nodes[id], self.world.executors[id]
            else:
                self.start(id)
        self.world.until(lambda: self.leader())

    def storage(self, id):
        if id in self.memories:
            return self.memories[id]
        return founded(self.impl, self.directory(id), id=id, members=self.ids, disk=self.disks.get(id))

    def directory(self, id):
        return f"/{id}" if id in self.disks else self.path / str(id)

    def start(self, id, **settings):
        self.world.storages[id] = self.storage(id)
        return self.world.start(id, machine=self.machine(), **{**self.settings, **settings})

    def kill(self, id, power=False):
        """Its process is gone, and its files with it; power: and what its simulated disk has not synced may be."""
        self.world.executors.pop(id).kill()
        self.world.nodes.pop(id)._parts.courier._close()
        self.world.receive.pop(id)
        if id in self.memories:
            self.memories[id].crash()
        elif id not in self.disks:
            self.world.storages[id]._use.end()  # nobody is left who uses it
            self.world.storages[id].close()
        elif power:
            self.disks[id].crash()
        else:
            self.disks[id].kill()

    def snapshots(self, id):
        """The names of the files of snapshots that a member has, whole, damaged or in part."""
        if id in self.memories:
            names = self.memories[id]._folder.names()
        else:
            names = self.disks[id].files(self.directory(id)) if id in self.disks else self.directory(id).iterdir()
        return sorted(name for name in (getattr(each, "name", each) for each in names) if name.startswith("snapshot-"))

    def change(self, id, name, how):
        """Put into a file what ``how`` makes of its bytes."""
        if id in self.memories:
            file = self.memories[id]._folder.files[name]
            file[:] = how(bytes(file))
        elif id in self.disks:
            path = f"{self.directory(id)}/{name}"
            self.disks[id].write(path, how(self.disks[id].read(path)))
        else:
            path = self.directory(id) / name
            path.write_bytes(how(path.read_bytes()))

    def leader(self):
        return next((node for node in self.world.nodes.values() if node.is_leader), None)

    def follower(self):
        return next(id for id, node in self.world.nodes.items() if not node.is_leader)

    def propose(self, count, data=b"x"):
        leader = self.world.until(self.leader)
        futures = [leader.propose(b"%s%d" % (data, number)) for number in range(count)]
        self.world.until(lambda: all(future.done() for future in futures))
        return [future.result().index for future in futures]

    def fill(self, rounds, data=b"x"):
        for _ in range(rounds):
            self.propose(30, data)
            self.world.for_rounds(30)

    def agree(self, rounds=5000):
        leader = self.world.until(self.leader)
        self.world.until(lambda: {n.applied_index for n in self.world.nodes.values()} == {leader.applied_index}, rounds)
        items = [self.world.machines[id].items for id in self.world.nodes]
        assert all(each == items[0] for each in items)

    def transfers(self, id):
        return self.world.nodes[id].status().transfers

    def behind(self, data=BIG, rounds=6, tail=0):
        """A member that was away while the others went on and shortened their logs; it is started, and its id given.

        tail: rounds of small entries at the end: from two on, the newest snapshot has all large ones.
        """
        self.fill(2)
        away = self.follower()
        self.world.nodes[away].close()
        self.fill(rounds, data)
        self.fill(tail)
        assert self.leader().status().first > 100
        self.start(away)
        return away


class Frames:
    """The queue of a World, which looks into the frames."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.waiting = []

    def __len__(self):
        return len(self.waiting)

    def append(self, item):
        to, frame = item
        codec = self.cluster.impl._core.Codec(self.cluster.impl.Config(id=1).cluster, to, 99)
        messages = codec.decode(bytes(frame))
        if {codec.sender, to} & self.cluster.cut_off:
            return
        for message in messages:
            if message.kind in (CHUNKS, CHUNK):
                self.cluster.seen.append((codec.sender, to, message))
                if self.cluster.loses(codec.sender, to, message):
                    return
        self.waiting.append(item)

    def popleft(self):
        return self.waiting.pop(0)


def halfway(three, id):
    """Some chunks have arrived, and not all."""
    three.world.until(lambda: three.transfers(id).chunks_received >= 2, 10_000)
    assert three.transfers(id).fetched == 0


def asked_for(three, id):
    """The numbers of the chunks that a member has asked for, and whom."""
    wanted = [(to, message) for sender, to, message in three.seen if sender == id and message.kind == CHUNKS]
    return [(to, message.commit) for to, message in wanted]
