"""Node over memory storage and network: outcomes, streams, stops and faults. Both modes."""

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time

import pytest

from tests.helpers.cluster import Cluster, Machine, propose_somehow
from tests.helpers.implementations import module
from tests.helpers.paths import ROOT
from tests.helpers.storages import founded
from tests.helpers.waiting import WAIT, eventually


@pytest.fixture
def cluster(impl, request):
    made = Cluster(impl, **getattr(request, "param", {}))
    yield made
    made.close()


@pytest.fixture
def single(impl):
    made = Cluster(impl, n=1)
    yield made
    made.close()


def test_done_on_leader_and_follower(cluster):
    leader = cluster.leader()
    done = leader.propose(b"one").result(timeout=WAIT)
    assert done.result == 1
    assert done.term == leader.term
    follower = cluster.followers()[0]
    there = propose_somehow(follower, b"two", cluster.impl)
    assert there.index == done.index + 1
    assert there.result == 2
    for id in cluster.ids:
        eventually(lambda id=id: cluster.machines[id].commands == [b"one", b"two"])
    assert len({tuple(m.entries) for m in cluster.machines.values()}) == 1


def test_many_in_order(cluster):
    leader = cluster.leader()
    futures = [leader.propose(b"%d" % i) for i in range(500)]
    outcomes = [f.result(timeout=WAIT) for f in futures]
    assert [o.index for o in outcomes] == list(range(outcomes[0].index, outcomes[0].index + 500))
    assert [o.result for o in outcomes] == list(range(1, 501))
    assert cluster.machines[leader.id].commands == [b"%d" % i for i in range(500)]


def test_propose_many(cluster):
    for before, node in ((0, cluster.leader()), (3, cluster.followers()[0])):
        eventually(lambda before=before, node=node: len(cluster.machines[node.id].entries) == before)
        done = node.propose_many([b"a", b"", b"c" * 1000]).result(timeout=WAIT)
        assert [d.index - done[0].index for d in done] == [0, 1, 2]
        assert [d.result for d in done] == [before + 1, before + 2, before + 3]
    assert node.propose_many([]).result(timeout=WAIT) == []


def test_awaitable(cluster):
    leader = cluster.leader()

    async def main():
        return await asyncio.gather(*(_propose(leader, i) for i in range(20)))

    assert sorted(d.result for d in asyncio.run(main())) == list(range(1, 21))


async def _propose(node, i):
    return await node.propose(b"%d" % i)


def test_single_node(single):
    node = single.leader()
    assert node.propose(b"x").result(timeout=WAIT).result == 1
    assert node.leader_id == node.id == 1
    assert node.commit_index >= 2


def test_no_leader_is_not_done(impl):
    lonely = Cluster(impl, n=3)
    try:
        lonely.network.partition([1], [2], [3])
        node = lonely.nodes[1]
        eventually(lambda: node.leader_id == 0 and not node.is_leader)
        with pytest.raises(impl.NotDone, match="no leader"):
            node.propose(b"x").result(timeout=WAIT)
        with pytest.raises(impl.NotDone, match="no leader"):
            node.propose_many([b"x", b"y"]).result(timeout=WAIT)
    finally:
        lonely.close()


@pytest.mark.parametrize("cluster", [{"proposal_timeout_ms": 300, "check_quorum": False}], indirect=True)
def test_unknown_at_the_timeout(cluster):
    leader = cluster.leader()
    cluster.network.partition([leader.id], [n.id for n in cluster.followers()])
    future = leader.propose(b"lost?")
    with pytest.raises(cluster.impl.Unknown, match="timeout"):
        future.result(timeout=WAIT)


@pytest.mark.parametrize("cluster", [{"check_quorum": False}], indirect=True)
def test_replaced_entry_is_not_done(cluster):
    old = cluster.leader()
    others = [n for n in cluster.nodes.values() if n is not old]
    cluster.network.partition([old.id], [n.id for n in others])
    lost = [old.propose(b"lost %d" % i) for i in range(5)]
    batch = old.propose_many([b"lost too", b"and this"])
    new = eventually(lambda: next((n for n in others if n.is_leader), None))
    for i in range(10):
        new.propose(b"kept %d" % i).result(timeout=WAIT)
    cluster.network.heal()
    for future in lost:
        with pytest.raises(cluster.impl.NotDone, match="lost leadership"):
            future.result(timeout=WAIT)
    with pytest.raises(cluster.impl.NotDone):
        batch.result(timeout=WAIT)
    eventually(lambda: len(cluster.machines[old.id].commands) == 10)
    assert cluster.machines[old.id].commands == [b"kept %d" % i for i in range(10)]


def test_too_large(cluster):
    limit = cluster.leader().config.max_entry_bytes
    with pytest.raises(cluster.impl.EntryTooLarge, match="max_entry_bytes"):
        cluster.leader().propose(bytes(limit + 1))
    with pytest.raises(ValueError, match="max_entry_bytes"):
        cluster.leader().propose_many([b"", bytes(limit + 1)])
    assert cluster.leader().propose(bytes(limit)).result(timeout=WAIT).result == 1


def test_wrong_data(cluster):
    for wrong in (5, "text", None):
        with pytest.raises(TypeError):
            cluster.leader().propose(wrong)
    assert cluster.leader().propose(bytearray(b"ok")).result(timeout=WAIT).result == 1


def test_full_intake_is_not_done(impl):
    small = Cluster(impl, n=3, max_waiting_bytes=4096, max_entry_bytes=1024, max_uncommitted_bytes=1024)
    try:
        leader = small.leader()
        small.network.partition([leader.id], [n.id for n in small.nodes.values() if n is not leader])
        futures = [leader.propose(bytes(1000)) for _ in range(20)]
        refused = [f for f in futures if f.done() and isinstance(f.exception(), impl.NotDone)]
        assert refused
        assert "wait" in str(refused[0].exception())
    finally:
        small.close()


def test_state_changes(cluster):
    leader = cluster.leader()
    stream = cluster.nodes[leader.id].state_changes
    first = stream.next(timeout=WAIT)
    assert first.term == 0 or first.role is not None
    seen = [first]
    while seen[-1].leader != leader.id:
        seen.append(stream.next(timeout=WAIT))
    assert [c.term for c in seen] == sorted(c.term for c in seen)
    leader.close()
    rest = list(stream)
    assert all(c.term >= seen[-1].term for c in rest)


def test_committed_stream(impl):
    memory = module(impl, "storage.memory")
    network = module(impl, "transport.memory").MemoryNetwork()
    node = impl.Node(impl.Config(id=1, tick_ms=10), memory.MemoryStorage(voters=[1]), network.transport())
    stream = node.committed
    with node:
        eventually(lambda: node.is_leader)
        futures = [node.propose(b"%d" % i) for i in range(50)]
        got = [stream.next(timeout=WAIT) for _ in range(50)]
        assert [e.data for e in got] == [b"%d" % i for i in range(50)]
        assert [f.result(timeout=WAIT).index for f in futures] == [e.index for e in got]
        assert futures[0].result().result is None
    assert list(stream) == []
    with pytest.raises(impl.UsageError):
        impl.Node.committed.fget(single_started(impl))


def single_started(impl):
    """A node that has been closed without having been asked for its stream."""
    memory = module(impl, "storage.memory")
    network = module(impl, "transport.memory").MemoryNetwork()
    node = impl.Node(impl.Config(id=1), memory.MemoryStorage(voters=[1]), network.transport())
    node.start()
    node.close()
    return node


def test_apply_exception_ends_the_node(impl, caplog):
    class Broken(Machine):
        def apply(self, entry):
            if entry.data == b"bad":
                both.wait(WAIT)
                raise ValueError("cannot apply this")
            return super().apply(entry)

    both = threading.Event()  # are proposed
    memory = module(impl, "storage.memory")
    storage = memory.MemoryStorage(voters=[1])
    network = module(impl, "transport.memory").MemoryNetwork()
    machine = Broken()
    node = impl.Node(impl.Config(id=1, tick_ms=10), storage, network.transport(), machine).start()
    eventually(lambda: node.is_leader)
    assert node.propose(b"good").result(timeout=WAIT).result == 1
    bad, after = node.propose_many([b"bad"]), node.propose(b"after")
    both.set()
    with caplog.at_level(logging.ERROR, logger="raftx"):
        for future in (bad, after):
            with pytest.raises(impl.Unknown):
                future.result(timeout=WAIT)
    assert isinstance(after.exception().__cause__, ValueError)
    assert "the node failed: ValueError: cannot apply this" in str(after.exception())
    eventually(lambda: any(record.exc_info for record in caplog.records))
    assert "in apply" in caplog.text  # the traceback leads to the state machine
    assert "raised ValueError at entry" in caplog.text
    with pytest.raises(ValueError, match="cannot apply this"):
        node.wait(timeout=WAIT)
    assert isinstance(node.failure, ValueError)
    with pytest.raises(impl.Stopped):
        node.propose(b"x")
    with pytest.raises(ValueError, match="cannot apply this"):
        list(node.state_changes)
    node.close()
    # Nothing is lost: the entries are in the log, and a repaired state machine gets them.
    machine = Machine()
    with impl.Node(impl.Config(id=1, tick_ms=10), storage, network.transport(), machine):
        eventually(lambda: machine.commands == [b"good", b"bad", b"after"])


def test_a_node_that_is_no_member_says_so(impl, caplog):
    network = module(impl, "transport.memory").MemoryNetwork()
    for id, lines in ((4, 1), (2, 0)):
        caplog.clear()
        storage = impl.MemoryStorage(voters=[2, 1, 3])
        with impl.Node(impl.Config(id=id), storage, network.transport(), Machine()):
            said = [record.getMessage() for record in caplog.records if "not in its membership" in record.getMessage()]
        assert len(said) == lines
        assert not said or ("node 4" in said[0] and "[1, 2, 3]" in said[0] and "Config.id" in said[0])


def test_storage_failure_ends_the_node(impl):
    class Failing:
        def __init__(self, inner):
            self.inner = inner
            self.broken = False

        def open(self, id, cluster):
            return self.inner.open(id, cluster)

        def append(self, hard_state, records):
            self.inner.append(hard_state, records)

        def sync(self):
            if self.broken:
                raise OSError(5, "Input/output error")
            self.inner.sync()

        def close(self):
            self.inner.close()

    storage = Failing(module(impl, "storage.memory").MemoryStorage(voters=[1]))
    network = module(impl, "transport.memory").MemoryNetwork()
    node = impl.Node(impl.Config(id=1, tick_ms=10), storage, network.transport(), Machine()).start()
    eventually(lambda: node.is_leader)
    node.propose(b"x").result(timeout=WAIT)
    storage.broken = True
    future = node.propose(b"y")
    with pytest.raises(impl.Unknown):
        future.result(timeout=WAIT)
    with pytest.raises(impl.StorageFailed, match="Input/output"):
        node.wait(timeout=WAIT)
    node.close()


def test_restart_keeps_the_log(cluster):
    leader = cluster.leader()
    for i in range(20):
        leader.propose(b"%d" % i).result(timeout=WAIT)
    for id in cluster.ids:
        cluster.nodes[id].close()
    for id in cluster.ids:
        cluster.start(id)
    cluster.leader().propose(b"again").result(timeout=WAIT)
    expected = [b"%d" % i for i in range(20)] + [b"again"]
    for id in cluster.ids:
        eventually(lambda id=id: cluster.machines[id].commands == expected)
        assert cluster.nodes[id].status().incarnation == 2


def test_clean_stop_hands_over(cluster):
    leader = cluster.leader()
    term = leader.term
    leader.propose(b"x").result(timeout=WAIT)
    leader.close()  # it waits for somebody else to lead, but not for ever
    del cluster.nodes[leader.id]
    new = cluster.leader()
    assert new.term > term
    assert new.propose(b"y").result(timeout=WAIT).result == 2


def test_transfer(cluster):
    leader = cluster.leader()
    leader.propose(b"x").result(timeout=WAIT)
    target = cluster.followers()[0]
    leader.transfer_leadership(target.id)
    eventually(lambda: target.is_leader)
    with pytest.raises(cluster.impl.UsageError, match="voter"):
        leader.transfer_leadership(99)


def test_pending_at_stop_is_unknown(impl):
    lonely = Cluster(impl, n=3, check_quorum=False)
    leader = lonely.leader()
    lonely.network.partition([leader.id], [n.id for n in lonely.nodes.values() if n is not leader])
    future = leader.propose(b"x")
    lonely.close()
    with pytest.raises(impl.ProposalError):
        future.result(timeout=WAIT)


def test_life_cycle(impl):
    memory = module(impl, "storage.memory")
    network = module(impl, "transport.memory").MemoryNetwork()
    node = impl.Node(impl.Config(id=1), memory.MemoryStorage(voters=[1]), network.transport())
    with pytest.raises(impl.Stopped):
        node.propose(b"x")
    assert node.status().state == "new"
    node.start()
    with pytest.raises(impl.UsageError):
        node.start()
    assert "Node 1" in repr(node)
    node.close()
    node.close()
    with pytest.raises(impl.Stopped):
        node.propose(b"x")
    with pytest.raises(impl.UsageError):
        node.start()


def test_no_thread_is_left(impl):
    before = set(threading.enumerate())
    made = Cluster(impl)
    made.leader()
    made.close()
    assert set(threading.enumerate()) <= before


@pytest.mark.slow
def test_survives_loss_and_delay(impl):
    made = Cluster(impl, n=3, proposal_timeout_ms=1000)
    try:
        made.leader()
        made.network.set_faults(loss=0.1, delay=(0.0, 0.01))
        sent = 0
        for i in range(40):
            node = made.nodes[made.ids[i % 3]]
            try:
                node.propose(b"%d" % i).result(timeout=WAIT)
                sent += 1
            except impl.ProposalError:
                pass
        made.network.set_faults()
        last = propose_somehow(made.leader(), b"last", impl)
        assert sent > 0
        for node in made.nodes.values():
            eventually(lambda node=node: node.applied_index >= last.index)
        assert len({tuple(m.entries) for m in made.machines.values()}) == 1
    finally:
        made.close()


def test_manual_clock(impl):
    clock = module(impl, "_native.threads").ManualClock()
    memory = module(impl, "storage.memory")
    network = module(impl, "transport.memory").MemoryNetwork()
    config = impl.Config(id=1, tick_ms=1000, election_ticks=10, seed=3)
    with impl.Node(config, memory.MemoryStorage(voters=[1]), network.transport(), Machine(), clock=clock) as node:
        assert not node.is_leader
        for _ in range(25):
            ticks = node.status().ticks
            clock.advance(1.0)
            eventually(lambda ticks=ticks: node.status().ticks > ticks)
            if node.is_leader:
                break
        eventually(lambda: node.is_leader)
        assert node.propose(b"x").result(timeout=WAIT).result == 1


def test_config_errors(impl):
    for field, value in {
        "id": 0,
        "tick_ms": 0,
        "election_ticks": 1,
        "max_inflight_messages": 0,
        "cluster": b"longer than sixteen",
        "pre_vote": 1,
        "proposal_timeout_ms": -1,
        "seed": -1,
    }.items():
        settings = {"id": 1, field: value}
        with pytest.raises(impl.ConfigError, match=field):
            impl.Config(**settings)
    memory = module(impl, "storage.memory")
    network = module(impl, "transport.memory").MemoryNetwork()
    with pytest.raises(impl.ConfigError, match="apply"):
        impl.Node(impl.Config(id=1), memory.MemoryStorage(voters=[1]), network.transport(), object())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of Python, where threads fork
def test_fork_is_refused(impl):
    memory = module(impl, "storage.memory")
    network = module(impl, "transport.memory").MemoryNetwork()
    node = impl.Node(impl.Config(id=1), memory.MemoryStorage(voters=[1]), network.transport())
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        try:
            node.start()
            answer = b"started"
        except impl.UsageError as error:
            answer = str(error).encode()
        os.write(write, answer)
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    answer = os.read(read, 1000)
    os.close(read)
    node.close()
    assert b"fork" in answer


def test_passed_on_to_a_leader_that_is_cut_off(impl):
    """A follower's proposals to a leader nobody hears end as not done when the next term's first entry is applied."""
    made = Cluster(impl, n=3, proposal_timeout_ms=600_000)
    try:
        old = made.leader()
        follower = next(n for n in made.nodes.values() if n is not old)
        eventually(lambda: follower.leader_id == old.id)
        made.network.cut(old.id, follower.id)
        made.network.cut(follower.id, old.id)
        third = next(id for id in made.ids if id not in (old.id, follower.id))
        made.network.cut(old.id, third)
        made.network.cut(third, old.id)
        futures = [follower.propose(b"lost %d" % i) for i in range(3)]
        for future in futures:
            with pytest.raises(impl.NotDone):
                future.result(timeout=WAIT)
        assert not any(data.startswith(b"lost") for data in made.machines[follower.id].commands)
    finally:
        made.close()


def test_repeated_frames_append_nothing_twice(impl):
    """Every frame may come twice and out of order; a proposal that was passed on is applied once or not done."""
    made = Cluster(impl, n=3, proposal_timeout_ms=3000)
    try:
        made.network.set_faults(duplicate=0.9, delay=(0.0, 0.004))
        follower = made.followers()[0]
        done = number = 0
        deadline = time.monotonic() + WAIT
        while done < 30:
            assert time.monotonic() < deadline
            number += 1
            try:
                follower.propose(b"%d" % number).result(timeout=WAIT)
                done += 1
            except impl.ProposalError:
                time.sleep(0.002)
        made.network.set_faults()
        commands = made.machines[follower.id].commands
        assert len(set(commands)) == len(commands)
    finally:
        made.close()


def test_a_leader_whose_disk_stalls_steps_down(impl, tmp_path):
    """Heartbeats alone do not keep a leader in office: its disk has to keep up within an election timeout."""
    network = module(impl, "transport.memory").MemoryNetwork()
    machines, nodes, storages = {}, {}, {}
    try:
        for id in (1, 2, 3):
            machines[id] = Machine()
            storages[id] = founded(impl, tmp_path / str(id), id=id, members=[1, 2, 3], segment_bytes=1 << 20)
            config = impl.Config(id=id, seed=id, tick_ms=10, election_ticks=10)
            nodes[id] = impl.Node(config, storages[id], network.transport(), machines[id]).start()
        old = eventually(lambda: next((n for n in nodes.values() if n.is_leader), None))
        old.propose(b"before").result(timeout=WAIT)
        storages[old.id].wal.file.stall_ns = 1_500_000_000
        stuck = old.propose(b"stuck")
        new = eventually(lambda: next((n for n in nodes.values() if n.is_leader and n is not old), None))
        assert propose_somehow(new, b"after", impl).term > 1
        storages[old.id].wal.file.stall_ns = 0
        assert not stuck.done() or stuck.exception() is None
        for node in nodes.values():
            eventually(lambda node=node: machines[node.id].commands[-1:] == [b"after"])
        assert len({tuple(m.entries) for m in machines.values()}) == 1
    finally:
        for node in nodes.values():
            node.close()


def test_a_process_that_forgets_to_close(tmp_path):
    """Ends in order: status 0, nothing on stderr, and the directory can be opened again."""
    code = """
import sys, raftx
class Machine:
    def apply(self, entry): return entry.index
urls = {1: "tcp://127.0.0.1:0"}
found = sys.argv[2] == "2"
storage = raftx.FileStorage.create(sys.argv[1], id=1, members=[1]) if found else raftx.FileStorage(sys.argv[1])
node = raftx.Node(raftx.Config(id=1, tick_ms=10), storage,
                  raftx.NngTransport("tcp://127.0.0.1:0", {}), Machine()).start()
next(change for change in node.state_changes if change.leader)
assert node.propose(b"x").result(timeout=20).result == int(sys.argv[2])
"""
    for life in range(2):
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, str(tmp_path), str(2 + 2 * life)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
        )
        assert (ran.returncode, ran.stderr) == (0, "")
