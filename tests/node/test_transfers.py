"""A member whose log the others have shortened behind it fetches a snapshot, chunk by chunk. Both modes."""

import pytest

from tests.helpers.machines import Machine
from tests.helpers.stepped import World
from tests.helpers.storages import founded

SETTINGS = {"snapshot_entries": 50, "keep_entries": 0, "max_message_bytes": 4096}


class Cluster:
    """Three members with logs in directories."""

    def __init__(self, impl, path, **settings):
        self.impl, self.path = impl, path
        self.settings = {**SETTINGS, **settings}
        self.world = World(impl, 3, storages={id: self.storage(id) for id in (1, 2, 3)})
        self.world.close()
        for id in (1, 2, 3):
            self.start(id)
        self.world.until(lambda: self.leader())

    def storage(self, id):
        return founded(self.impl, self.path / str(id), id=id, members=[1, 2, 3], segment_bytes=64 << 10)

    def start(self, id):
        self.world.storages[id] = self.storage(id)
        return self.world.start(id, machine=Machine(), **self.settings)

    def leader(self):
        return next((node for node in self.world.nodes.values() if node.is_leader), None)

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
        items = [machine.items for machine in self.world.machines.values()]
        assert items[0] == items[1] == items[2]


@pytest.fixture
def cluster(impl, tmp_path):
    made = []

    def make(**settings):
        made.append(Cluster(impl, tmp_path, **settings))
        return made[-1]

    yield make
    for each in made:
        each.world.close()


def test_a_member_that_was_away_gets_a_snapshot(cluster):
    """And goes on with the log behind it; after a restart it has both."""
    three = cluster()
    world = three.world
    three.fill(2)
    away = next(id for id in world.ids if not world.nodes[id].is_leader)
    world.nodes[away].close()
    three.fill(10)
    leader = three.leader()
    assert leader.status()["first"] > 200
    three.start(away)
    three.agree()
    status = world.nodes[away].status()
    assert status["transfers"]["fetched"] == 1 and status["snapshot"]["index"] > 200
    assert world.machines[away].restored is not None
    assert leader.status()["transfers"]["chunks_served"] >= 1
    three.fill(1)
    three.agree()
    world.nodes[away].close()
    three.start(away)
    three.agree()
    assert world.nodes[away].status()["transfers"]["fetched"] == 0
