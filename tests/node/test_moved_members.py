"""Nodes on directories that were moved by hand: rebuilt after damage, restored from a backup, recovered. Real ones.

What is done to the directories is tested in test_moves.py.
"""

import contextlib
import shutil
import time

import pytest

from tests.helpers.implementations import module
from tests.helpers.machines import Machine
from tests.helpers.ports import ports
from tests.helpers.waiting import WAIT, eventually
from tests.helpers.wal import segment

CLUSTER = b"moved members ok"


class Group:
    """Members with directories, on TCP of this machine."""

    def __init__(self, impl, path, count=3, **settings):
        self.impl, self.path = impl, path
        self.urls = {id: f"tcp://127.0.0.1:{port}" for id, port in enumerate(ports(count), 1)}
        self.settings = {"tick_ms": 10, "election_ticks": 20, "keep_entries": 0, "snapshot_entries": 0, **settings}
        self.nodes, self.machines = {}, {}
        #: what was acknowledged
        self.done = []

    def found(self, cluster=CLUSTER):
        for id in self.urls:
            path = self.path / str(id)
            self.impl.FileStorage.create(path, id=id, members=self.urls, cluster=cluster, segment_bytes=64 << 10)

    def start(self, *ids, cluster=CLUSTER):
        for id in ids:
            config = self.impl.Config(id=id, cluster=cluster, seed=id, **self.settings)
            self.machines[id] = Machine()
            transport = self.impl.NngTransport(self.urls[id], peers=self.urls, reconnect_ms=(10, 50))
            node = self.impl.Node(config, self.impl.FileStorage(self.path / str(id)), transport, self.machines[id])
            self.nodes[id] = node
            node.start()

    def stop(self, *ids):
        for id in ids:
            self.nodes.pop(id).close()

    def leader(self):
        return eventually(lambda: next((node for node in self.nodes.values() if node.is_leader), None))

    def propose(self, count):
        for number in range(count):
            data = b"%d of %d" % (number, len(self.done))
            deadline = time.monotonic() + WAIT
            while True:
                try:
                    self.leader().propose(data).result(timeout=WAIT)
                    break
                except self.impl.NotDone:
                    assert time.monotonic() < deadline
            self.done.append(data)

    def agree(self, *ids):
        """All of them have what was acknowledged, once and in order."""
        eventually(lambda: all(len(self.machines[id].items) >= len(self.done) for id in ids))
        for id in ids:
            assert self.machines[id].items == self.done, id

    def damage(self, id):
        """One bit of the oldest segment that is there."""
        first = sorted((self.path / str(id)).glob("wal-*.log"))[0]
        data = bytearray(first.read_bytes())
        data[4096 + 40] ^= 1
        first.write_bytes(data)

    def rebuild(self, id):
        return module(self.impl, "storage.rebuild").rebuild(self.path / str(id))


@pytest.fixture
def groups(impl, tmp_path):
    made = []

    def make(name="old", **settings):
        made.append(Group(impl, tmp_path / name, **settings))
        return made[-1]

    yield make
    for group in made:
        for node in group.nodes.values():
            node.close()


@pytest.mark.slow
@pytest.mark.parametrize("by", ["entries", "snapshot"])
def test_a_damaged_member_is_rebuilt_and_catches_up(impl, groups, by):
    """It refuses to start, is rebuilt, and is needed afterwards: what was acknowledged is there."""
    group = groups(**({"snapshot_entries": 20, "max_log_bytes": 2000} if by == "snapshot" else {}))
    group.found()
    group.start(1, 2, 3)
    group.propose(60)
    group.stop(3)
    group.damage(3)
    with pytest.raises(impl.WalDamaged):
        group.start(3)
    group.nodes.pop(3).close()
    group.propose(30)
    done = group.rebuild(3)
    assert done.aside.exists() and segment(done.aside).parent == done.aside
    group.start(3)
    eventually(lambda: not group.nodes[3].status().in_doubt)
    group.propose(5)
    group.agree(1, 2, 3)
    assert bool(group.machines[3].restored) == (by == "snapshot")
    # A majority needs it now, and it may lead.
    group.stop(next(id for id in (1, 2) if group.nodes[id].is_leader or group.nodes[3].is_leader))
    group.propose(10)
    group.agree(*group.nodes)
    # The doubt is over for good, and its lives are counted on.
    before = group.nodes[3].status().incarnation
    group.stop(3)
    group.start(3)
    status = group.nodes[3].status()
    assert not status.in_doubt and status.incarnation == before + 1
    group.propose(1)
    group.agree(3)


def test_a_directory_that_is_gone_is_rebuilt_a_second_time(impl, groups):
    """Nobody knows how often its member has lived but the others, which say so: the next start goes on above that."""
    group = groups()
    group.found()
    group.start(1, 2, 3)
    group.propose(5)
    rebuild = module(impl, "storage.rebuild").rebuild
    for round in range(2):
        group.stop(3)
        shutil.rmtree(group.path / "3")
        rebuild(group.path / "3", id=3, members=group.urls, cluster=CLUSTER)
        group.start(3)
        if round:
            eventually(lambda: group.nodes[3].failure is not None)
            assert isinstance(group.nodes[3].failure, impl.MemoryLost)
            assert "Start it again: it goes on above that life" in str(group.nodes[3].failure)
            with contextlib.suppress(impl.MemoryLost):
                group.stop(3)
            group.start(3)
        eventually(lambda: not group.nodes[3].status().in_doubt)
        group.propose(5)
        group.agree(1, 2, 3)
        # Restarted, so that its number is above that of a rebuild of nothing.
        group.stop(3)
        group.start(3)
        group.propose(1)
        group.agree(1, 2, 3)
        assert group.nodes[3].failure is None


@pytest.mark.slow
def test_a_rebuilt_member_elects_nobody(impl, groups):
    """With one that lacks what it had acknowledged itself: no leader, and nothing is lost."""
    group = groups()
    group.found()
    group.start(1, 2, 3)
    group.propose(5)
    group.stop(2)
    group.propose(20)  # which 1 and 3 have
    group.agree(1, 3)
    group.stop(1, 3)
    group.damage(3)
    group.rebuild(3)
    group.start(2, 3)
    time.sleep(1.5)  # seven election timeouts
    assert not any(node.is_leader for node in group.nodes.values())
    assert group.nodes[3].status().in_doubt and group.nodes[3].status().vote == 0
    group.start(1)
    eventually(lambda: not group.nodes[3].status().in_doubt)
    group.propose(5)
    group.agree(1, 2, 3)


@pytest.mark.slow
def test_a_new_cluster_begins_with_a_backup(impl, groups, tmp_path):
    """And members of the old one, with the same ids and addresses, do not take part."""
    old = groups()
    old.found()
    old.start(1, 2, 3)
    old.propose(30)
    made = old.leader().backup(tmp_path / "backup").result(timeout=WAIT)
    old.propose(3)
    old.agree(1, 2, 3)
    term = old.leader().term
    old.stop(1, 2)
    new = groups("new")
    new.urls, new.done = old.urls, old.done[:30]
    cluster = None
    for id in (1, 2):
        storage = impl.FileStorage.restore(
            new.path / str(id), tmp_path / "backup", id=id, members=new.urls, cluster=cluster, segment_bytes=64 << 10
        )
        cluster = storage.cluster
    new.start(1, 2, cluster=cluster)
    new.propose(20)
    # The third member of the old one hears of them, and they of it.
    rejected = eventually(lambda: old.nodes[3].status().frames_rejected.get("cluster"))
    assert rejected and any(node.status().frames_rejected.get("cluster") for node in new.nodes.values())
    eventually(lambda: not old.nodes[3].is_leader)  # it may have led, and steps down
    assert len(old.machines[3].items) == 33 and old.nodes[3].term >= term
    with pytest.raises(impl.WrongDirectory, match="belongs to another cluster"):
        impl.FileStorage(old.path / "1").open(1, cluster)
    old.stop(3)
    impl.FileStorage.restore(
        new.path / "3", tmp_path / "backup", id=3, members=new.urls, cluster=cluster, segment_bytes=64 << 10
    )
    new.start(3, cluster=cluster)
    new.propose(3)
    new.agree(1, 2, 3)
    assert all(machine.restored == (made.index, 3) for machine in new.machines.values())
    # Over a restart of all, and with snapshots of its own.
    assert new.leader().snapshot().result(timeout=WAIT).index > made.index
    new.stop(1, 2, 3)
    new.start(1, 2, 3, cluster=cluster)
    new.propose(2)
    new.agree(1, 2, 3)


@pytest.mark.slow
def test_a_survivor_leads_out_of_a_lost_quorum(impl, groups):
    """What was acknowledged and is in its log is there; members that come back after all are refused."""
    group = groups(snapshot_entries=25)
    group.found()
    group.start(1, 2, 3)
    group.propose(40)
    group.agree(1, 2, 3)
    lost = [id for id in (1, 2, 3) if not group.nodes[id].is_leader]
    survivor = ({1, 2, 3} - {*lost}).pop()
    group.stop(1, 2, 3)
    group.start(survivor)
    waiting = group.nodes[survivor].propose(b"never")
    time.sleep(0.5)
    assert not group.nodes[survivor].is_leader
    group.stop(survivor)
    with pytest.raises((impl.Unknown, impl.NotDone)):
        waiting.result(timeout=0)
    recover = module(impl, "storage.recover").recover
    with pytest.raises(impl.LossNotAccepted):
        recover(group.path / str(survivor))
    done = recover(group.path / str(survivor), accept_loss=True)
    cluster = done.founding.cluster
    group.start(survivor, cluster=cluster)
    assert group.leader().id == survivor and group.leader().configuration.voters == (survivor,)
    group.propose(30)
    group.agree(survivor)
    # The others were not lost at all: they elect a leader of their own cluster, and nobody hears them here.
    group.start(*lost)
    eventually(lambda: any(group.nodes[id].is_leader for id in lost))
    group.done, before = [], group.done
    eventually(lambda: group.nodes[lost[0]].status().frames_out > 20)
    assert group.machines[survivor].items == before and group.nodes[survivor].is_leader
    group.stop(*lost)
    group.done = before
    group.stop(survivor)
    group.start(survivor, cluster=cluster)
    group.propose(5)
    group.agree(survivor)


@pytest.mark.slow
def test_survivors_go_on_together_wherever_their_logs_begin(impl, groups):
    """Two of five have log and snapshots of several lengths; each starts with its own, and they agree."""
    group = groups(count=5, snapshot_entries=10)
    group.found()
    group.start(1, 2, 3, 4, 5)
    group.propose(30)
    group.agree(1, 2, 3, 4, 5)
    group.stop(2)
    group.propose(25)
    group.agree(1, 3, 4, 5)
    group.stop(1, 3, 4, 5)
    recover = module(impl, "storage.recover").recover
    new = b"of the survivors"
    members = {id: group.urls[id] for id in (1, 2)}
    ends = [recover(group.path / str(id), members=members, cluster=new, accept_loss=True) for id in (1, 2)]
    assert ends[0].last_index > ends[1].last_index > 0
    group.start(1, 2, cluster=new)
    assert group.leader().configuration.voters == (1, 2)
    group.propose(12)
    group.agree(1, 2)
    group.stop(1, 2)
    group.start(1, 2, cluster=new)
    group.propose(3)
    group.agree(1, 2)
