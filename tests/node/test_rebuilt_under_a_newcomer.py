"""A member that was rebuilt, under a leader that was added after the founding: it knows nothing of who leads."""

import shutil

import pytest

from tests.helpers.implementations import module
from tests.helpers.machines import Machine
from tests.helpers.ports import ports
from tests.helpers.waiting import WAIT, eventually

CLUSTER = b"rebuilt, newcomer"[:16]


class Cluster:
    """Founders 1, 2 and 3, and a fourth member; only founders are told addresses, and those of founders alone."""

    def __init__(self, impl, path):
        self.impl, self.path = impl, path
        self.urls = {id: f"tcp://127.0.0.1:{port}" for id, port in enumerate(ports(4), 1)}
        self.founders = {id: self.urls[id] for id in (1, 2, 3)}
        self.nodes, self.machines = {}, {}
        for id in (1, 2, 3):
            impl.FileStorage.create(path / str(id), id=id, members=self.founders, cluster=CLUSTER)
        impl.FileStorage.create(path / "4", id=4, join=[self.urls[1]], cluster=CLUSTER)

    def start(self, *ids):
        for id in ids:
            config = self.impl.Config(id=id, cluster=CLUSTER, tick_ms=10, election_ticks=20, seed=id)
            self.machines[id] = Machine()
            transport = self.impl.NngTransport(self.urls[id])
            storage = self.impl.FileStorage(self.path / str(id))
            self.nodes[id] = self.impl.Node(config, storage, transport, self.machines[id]).start()

    def stop(self, id):
        self.nodes.pop(id).close()

    def close(self):
        for node in self.nodes.values():
            node.close()


@pytest.fixture
def cluster(impl, tmp_path):
    made = Cluster(impl, tmp_path)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("as_founded", [True, False])
@pytest.mark.parametrize("gone", [1, None])
def test_it_is_brought_up_to_date(impl, cluster, gone, as_founded):
    """Whether it is told who founded the cluster, or who is in it now; also when another founder was removed."""
    cluster.start(1, 2, 3, 4)
    first = cluster.nodes[1]
    first.wait_ready(WAIT)
    first.add_voter(4, cluster.urls[4], timeout=WAIT).result()
    eventually(lambda: cluster.nodes[4].is_leader or _hand_over(impl, cluster))
    if gone:
        cluster.nodes[4].remove(gone, timeout=WAIT).result()
        eventually(lambda: cluster.nodes[gone].failure is not None)
        cluster.nodes.pop(gone).close()
    for number in range(20):
        cluster.nodes[4].propose(b"%d" % number, timeout=WAIT).result()
    cluster.stop(3)
    shutil.rmtree(cluster.path / "3")
    members = cluster.founders if as_founded else {id: cluster.urls[id] for id in (1, 2, 3, 4) if id != gone}
    module(impl, "storage.rebuild").rebuild(cluster.path / "3", id=3, members=members, cluster=CLUSTER)
    for _ in range(2):
        cluster.start(3)
        if eventually(lambda: cluster.nodes[3].failure or not cluster.nodes[3].status().in_doubt) is True:
            break
        # What was rebuilt without anything may begin with a number that is too low, once.
        with pytest.raises(impl.MemoryLost):
            cluster.nodes[3].wait(WAIT)
        cluster.nodes.pop(3).close()
    assert cluster.nodes[4].is_leader
    eventually(lambda: cluster.machines[3].items == cluster.machines[4].items)
    assert cluster.nodes[3].configuration == cluster.nodes[4].configuration
    # The two need each other now.
    cluster.stop(2)
    cluster.nodes[3].propose(b"without 2", timeout=WAIT).result()
    eventually(lambda: cluster.machines[3].items == cluster.machines[4].items)


def _hand_over(impl, cluster):
    for node in cluster.nodes.values():
        if node.is_leader:
            node.transfer_leadership(4).exception(WAIT)
    return False
