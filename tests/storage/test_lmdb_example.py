"""examples/lmdb_storage.py: it does what every storage must do, and nodes run on it, in the mode of this run."""

import os
import signal
import subprocess
import sys

import pytest

import raftx
from examples.lmdb_storage import LmdbStorage
from raftx.testing.storage_suite import CLUSTER, Subject, checks_for
from tests.helpers.paths import ROOT
from tests.helpers.waiting import WAIT, eventually


def made(path):
    """The storage of a member, founded when it is needed first."""
    try:
        return LmdbStorage.create(path, id=1, members=[1, 2, 3], cluster=CLUSTER)
    except raftx.WrongDirectory:
        return LmdbStorage(path)


@pytest.mark.slow
@pytest.mark.parametrize("check", checks_for(LmdbStorage), ids=lambda check: check.__name__)
def test_it_does_what_every_storage_must_do(check, tmp_path):
    opened = []

    def make():
        opened.append(made(tmp_path / "node"))
        return opened[-1]

    try:
        # What was not synced is not in LMDB: closing it loses as much as a power cut.
        check(Subject(make, lambda storage: storage.close()))
    finally:
        for storage in opened:
            storage.close()


def test_it_keeps_no_snapshots():
    assert not {check.__name__ for check in checks_for(LmdbStorage)} & {"a_snapshot_arrives_in_chunks"}


def test_what_was_not_founded_does_not_open(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(raftx.NotFounded, match="is its disk mounted"):
            LmdbStorage(path).open(1, CLUSTER)
    assert os.listdir(tmp_path) == []
    made(tmp_path / "n")
    with pytest.raises(raftx.AlreadyFounded):
        LmdbStorage.create(tmp_path / "n", id=1, members=[1], cluster=CLUSTER)
    assert (tmp_path / "n").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "n" / "data.mdb").stat().st_mode & 0o777 == 0o600


def test_a_full_map_ends_it_with_an_error(tmp_path):
    storage = LmdbStorage.create(tmp_path / "n", id=1, members=[1], cluster=CLUSTER, map_size=1 << 20)
    storage.open(1, CLUSTER)
    with pytest.raises(raftx.StorageError, match="MDB_MAP_FULL"):
        for index in range(1, 100):
            storage.append(raftx.HardState(1, 1, 0), [raftx.Entry(index, 1, bytes(50_000)).encode()])
            storage.sync()
    storage.close()
    # What was synced before is there.
    assert len(list(storage.open(1, CLUSTER).records)) == index - 1
    storage.close()


class Sum:
    """Keeps its state itself."""

    def __init__(self, applied_index=0):
        self.total, self.applied_index = 0, applied_index

    def apply(self, entry):
        self.total += int(entry.data)
        self.applied_index = entry.index
        return self.total


def test_nodes_run_on_it(tmp_path):
    """Three of them, all restarted; a log that is compacted."""
    network = raftx.MemoryNetwork(seed=1)
    for id in (1, 2, 3):
        LmdbStorage.create(tmp_path / str(id), id=id, members=[1, 2, 3], cluster=CLUSTER)

    def start(machines):
        nodes = []
        for id, machine in machines.items():
            config = raftx.Config(id=id, cluster=CLUSTER, seed=id, tick_ms=10, election_ticks=20)
            storage = LmdbStorage(tmp_path / str(id))
            nodes.append(raftx.Node(config, storage, network.transport(), machine).start())
        return nodes

    def propose(nodes, count):
        for number in range(count):
            while True:
                leader = eventually(lambda: next((node for node in nodes if node.is_leader), None))
                try:
                    leader.propose(b"%d" % number).result(timeout=WAIT)
                    break
                except raftx.NotDone:
                    pass

    machines = {id: Sum() for id in (1, 2, 3)}
    nodes = start(machines)
    try:
        propose(nodes, 30)
        eventually(lambda: len({machine.total for machine in machines.values()}) == 1)
        index = machines[1].applied_index
        assert nodes[0].compact(index - 5).result(timeout=WAIT) == index - 5
    finally:
        for node in nodes:
            node.close()
    machines = {id: Sum(machine.applied_index) for id, machine in machines.items()}
    nodes = start(machines)
    try:
        propose(nodes, 10)
        eventually(lambda: {machine.total for machine in machines.values()} == {45})
        assert nodes[0].status().first == index - 4
    finally:
        for node in nodes:
            node.close()


def test_a_process_that_is_killed(tmp_path):
    """Between two syncs: every one that returned is there."""
    code = """
import sys, raftx
from examples.lmdb_storage import LmdbStorage
storage = LmdbStorage(sys.argv[1])
storage.open(1, sys.argv[2].encode())
for index in range(1, 1_000_000):
    storage.append(raftx.HardState(1, 1, 0), [raftx.Entry(index, 1, b"%d" % index).encode()])
    storage.sync()
    print(index, flush=True)
"""
    made(tmp_path / "n")
    command = [sys.executable, "-c", code, str(tmp_path / "n"), CLUSTER.decode()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        for _ in range(50):
            last = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        last = max([last, *map(int, process.stdout.read().split(b"\n")[:-1])])
    storage = LmdbStorage(tmp_path / "n")
    loaded = storage.open(1, CLUSTER)
    entries = [raftx.Entry.decode_all(record)[0] for record in loaded.records]
    assert [entry.data for entry in entries] == [b"%d" % entry.index for entry in entries]
    assert len(entries) >= last and loaded.incarnation == 2
    storage.close()
