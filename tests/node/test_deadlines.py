"""Requests that end in time, whatever happens; waits that would never end; and what ends with a node that fails."""

import threading
import time

import pytest

from tests.helpers.implementations import module
from tests.helpers.meetings import begun
from tests.helpers.reading import done
from tests.helpers.stepped import World
from tests.helpers.waiting import WAIT, eventually

DATAS = [b"a", b"b", b"c"]


def commands(world, id):
    return [entry[2] for entry in world.machines[id].entries]


# --- several proposals with a timeout ---------------------------------------------------------------


def test_several_wait_for_a_leader(impl):
    world = World(impl, 3)
    node = world.nodes[1]
    once, patient = node.propose_many(DATAS), node.propose_many(iter(DATAS), timeout=20)
    world.until(once.done)
    assert isinstance(once.exception(0), impl.NotDone)
    results = done(world, patient)
    assert [each.result for each in results] == [1, 2, 3]
    world.until(lambda: all(commands(world, id) == DATAS for id in world.ids))
    world.close()


def test_several_are_not_done_at_their_deadline(impl):
    world = World(impl, 3)
    world.leader()
    for id in (2, 3):
        world.nodes[id].close()
    node = world.nodes[1]
    world.until(lambda: node.leader_id == 0, 20_000)
    began = world.clock.py_now()
    future = node.propose_many(DATAS, timeout=0.5)
    with pytest.raises(impl.NotDone, match="no leader"):
        done(world, future)
    assert 0.5e9 <= world.clock.py_now() - began <= 0.6e9
    world.close()


def test_several_that_were_handed_over_are_unknown_at_their_deadline(impl):
    """And are not proposed again: they may be done."""
    world = World(impl, 3)
    leader = world.leader()
    world.until(lambda: begun(world.nodes.values()))
    world.skipped.update({(id, "engine") for id in world.ids if id != leader.id})
    future = leader.propose_many(DATAS, timeout=0.05)
    world.until(future.done)
    error = future.exception(0)
    assert isinstance(error, impl.Unknown) and len(error.outcomes) == 3
    world.skipped.clear()
    world.until(lambda: commands(world, leader.id) == DATAS, 20_000)
    world.for_rounds(500)
    assert commands(world, leader.id) == DATAS
    world.close()


def test_several_of_which_one_raises_are_applied_once(impl):
    """Done, as far as the log goes: they are not proposed again."""

    class Machine:
        def __init__(self):
            self.seen = []

        def apply(self, entry):
            self.seen.append(entry.data)
            if entry.data == b"b":
                raise impl.ApplyError("no")
            return len(self.seen)

    world = World(impl, 1)
    world.nodes[1].close()
    machine = Machine()
    world.start(1, machine)
    future = world.leader().propose_many(DATAS, timeout=5)
    world.until(future.done)
    error = future.exception(0)
    assert isinstance(error, impl.ApplyError) and error.outcomes[2].result == 3
    world.for_rounds(300)
    assert machine.seen == DATAS
    world.close()


def test_what_are_not_several(impl):
    world = World(impl, 1)
    leader = world.leader()
    assert done(world, leader.propose_many([], timeout=1)) == []
    for wrong in (b"abc", "abc", 3, [b"a", "b"]):
        with pytest.raises(TypeError):
            leader.propose_many(wrong, timeout=1)
    for wrong in ("soon", float("nan")):
        with pytest.raises(impl.UsageError, match="timeout"):
            leader.propose_many(DATAS, timeout=wrong)
    with pytest.raises(impl.EntryTooLarge):
        leader.propose_many([bytes((1 << 20) + 1)], timeout=1)
    assert not leader._parts.watch.patience.open
    world.close()


def test_more_than_can_ever_be_open_are_not_tried_again(impl):
    world = World(impl, 1, max_open_proposals=2)
    future = world.leader().propose_many(DATAS, timeout=60)
    world.until(future.done, 10)
    assert "propose fewer" in str(future.exception(0))
    assert not isinstance(future.exception(0), impl.Busy)
    world.close()


# --- on the threads of the node ---------------------------------------------------------------------


def test_waiting_on_the_apply_thread_raises(impl):
    """Whatever it would wait for: nothing could end it but this very thread."""
    ends = {}

    class Waits:
        node = None

        def apply(self, entry):
            node = self.node
            waits = {
                "propose": lambda: node.propose(b"x").result(5),
                "propose_many": lambda: node.propose_many([b"x", b"y"]).result(),
                "patient": lambda: node.propose(b"x", timeout=5).result(),
                "patient_many": lambda: node.propose_many([b"x"], timeout=5).exception(),
                "barrier": lambda: node.barrier().result(),
                "read": lambda: node.read().result(),
                "query": lambda: node.query(len).result(),
                "lease": lambda: node.read(level="lease").result(),
                "stale": lambda: node.query(len, level="stale", max_staleness=1e-9).result(),
                "transfer": lambda: node.transfer_leadership().result(),
                "snapshot": lambda: node.snapshot().result(),
                "compact": lambda: node.compact(1).result(),
                "wait_applied": lambda: node.wait_applied(10**6),
                "wait_ready": lambda: node.wait_ready(5),
                "wait": lambda: node.wait(),
            }
            if not ends:
                for name, wait in waits.items():
                    try:
                        wait()
                    except BaseException as error:
                        ends[name] = error
                    else:
                        ends[name] = None

    machine = Waits()
    network = impl.MemoryNetwork()
    node = impl.Node(impl.Config(id=1, tick_ms=10), impl.MemoryStorage(voters=[1]), network.transport(), machine)
    machine.node = node
    with node:
        node.wait_leader(WAIT)
        node.propose(b"go").result(WAIT)
        wrong = {name: error for name, error in ends.items() if not isinstance(error, impl.UsageError)}
        assert len(ends) == 15 and not wrong


def test_everything_that_is_open_ends_at_once_when_a_node_fails(impl, tmp_path):
    """With the cause, and each by what is known of it."""

    class Machine:
        def __init__(self):
            self.go = threading.Event()

        def apply(self, entry):
            if entry.data == b"fail":
                self.go.wait(WAIT)
                raise OSError("broken")

        def snapshot(self):
            return b""

        def restore(self, reader):
            pass

    machine = Machine()
    network = impl.MemoryNetwork()
    config = impl.Config(id=1, tick_ms=10, proposal_timeout_ms=600_000)
    node = impl.Node(config, impl.MemoryStorage(voters=[1]), network.transport(), machine).start()
    node.wait_leader(WAIT)
    node.propose(b"fail")
    eventually(lambda: node.commit_index >= 2)
    futures = {
        "propose": node.propose(b"x"),
        "propose_many": node.propose_many([b"x", b"y"]),
        "patient": node.propose(b"x", timeout=600),
        "patient_many": node.propose_many([b"x", b"y"], timeout=600),
        "barrier": node.barrier(),
        "read": node.read(),
        "query": node.query(lambda machine: 0),
        "lease": node.read(level="lease"),
        "stale": node.query(lambda machine: 0, level="stale", max_staleness=1e-9),
        "campaign": node.campaign(),
        "transfer": node.transfer_leadership(1),
        "step_down": node.step_down(),
        "snapshot": node.snapshot(),
        "backup": node.backup(tmp_path / "backup"),
        "compact": node.compact(10**6),
    }
    machine.go.set()
    began = time.monotonic()
    for name, future in futures.items():
        error = future.exception(WAIT)
        kind = impl.NotDone if name in ("read", "query", "lease", "stale", "compact") else impl.Unknown
        assert isinstance(error, kind), (name, error)
        if name != "compact":  # no snapshot has that entry, so it was refused at once
            assert isinstance(error.__cause__, OSError), (name, error)
    assert time.monotonic() - began < WAIT
    with pytest.raises(OSError, match="broken"):
        node.wait(WAIT)
    node.close()


# --- Busy -------------------------------------------------------------------------------------------


def test_whatever_is_full_is_busy_at_once(impl, monkeypatch):
    monkeypatch.setattr(module(impl, "node.readers"), "READS_MAX", 2)
    world = World(impl, 1, max_open_proposals=4)
    leader = world.leader()
    world.skipped.add((1, "engine"))
    futures = [leader.propose(b"x") for _ in range(4)]
    for full in (leader.propose(b"x"), leader.propose_many([b"x"]), leader.barrier()):
        with pytest.raises(impl.Busy, match="max_open_proposals=4"):
            full.result(0)
    reads = [leader.read() for _ in range(2)]
    for level in ("linearizable", "lease"):
        with pytest.raises(impl.Busy, match="wait already"):
            leader.read(level=level).result(0)
    world.skipped.clear()
    for future in futures + reads:
        done(world, future)
    world.close()


def test_waiting_bytes_are_busy_at_once(impl):
    world = World(impl, 1, max_waiting_bytes=4096, max_entry_bytes=4096)
    leader = world.leader()
    world.skipped.add((1, "engine"))
    futures = [leader.propose(bytes(1000)) for _ in range(20)]
    ends = [future.exception(0) for future in futures if future.done()]
    assert len(ends) > 5 and all(isinstance(end, impl.Busy) for end in ends)
    with pytest.raises(impl.Busy):
        leader.propose_many([bytes(1000)] * 3).result(0)
    with pytest.raises(impl.NotDone, match="propose fewer"):
        leader.propose_many([bytes(1000)] * 40).result(0)
    world.skipped.clear()
    world.for_rounds(50)
    world.close()


def test_requests_are_busy_at_once(impl, tmp_path):
    class Machine:
        def apply(self, entry):
            return None

        def snapshot(self):
            return b""

        def restore(self, reader):
            pass

    world = World(impl, 1, rows={"applies": 32})
    world.nodes[1].close()
    world.start(1, Machine())
    leader = world.leader()
    world.skipped.update({(1, "engine"), (1, "apply")})
    asks = {
        "campaign": leader.campaign,
        "transfer": lambda: leader.transfer_leadership(1),
        "step_down": leader.step_down,
    }
    ends = {name: [ask() for _ in range(40)][-1] for name, ask in asks.items()}
    for name, future in ends.items():
        with pytest.raises(impl.Busy, match="too many requests"):
            future.result(0)
        assert name
    backups = [leader.backup(tmp_path / str(number)) for number in range(1001)]
    with pytest.raises(impl.Busy, match="wait already"):
        backups[-1].result(0)
    assert not backups[0].done()
    world.skipped.clear()
    world.until(lambda: leader.is_leader)
    world.close()
