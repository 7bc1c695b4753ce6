"""MemoryNetwork: faults on demand, reproducible from a seed. And MemoryStorage's power cuts."""

import threading
import time

import pytest

from tests.helpers.implementations import module

WAIT = 20.0


class Ends:
    """Transports that write down what they hear."""

    def __init__(self, impl, seed, ids=(1, 2, 3)):
        self.network = impl.MemoryNetwork(seed=seed)
        self.heard = {id: [] for id in ids}
        self.ends = {}
        for id in ids:
            self.ends[id] = self.network.transport()
            self.ends[id].start(id, self.heard[id].append)

    def close(self):
        for end in self.ends.values():
            end.close()


@pytest.fixture
def make(impl):
    made = []

    def again(seed=0):
        made.append(Ends(impl, seed))
        return made[-1]

    yield again
    for ends in made:
        ends.close()


def test_delivers_to_the_one_it_is_for(make):
    ends = make()
    assert ends.ends[1].send(2, b"a")
    assert ends.ends[3].send(2, b"b")
    assert ends.heard == {1: [], 2: [b"a", b"b"], 3: []}


def test_loss_is_the_seed_s(make):
    def run(seed):
        ends = make(seed)
        ends.network.set_faults(loss=0.5)
        for number in range(200):
            ends.ends[1].send(2, b"%d" % number)
        assert len(ends.heard[2]) + ends.network.lost == 200
        return ends.heard[2]

    first = run(7)
    assert 60 < len(first) < 140
    assert run(7) == first
    assert run(8) != first


def test_duplicates(make):
    ends = make(1)
    ends.network.set_faults(duplicate=1.0)
    ends.ends[1].send(2, b"x")
    assert ends.heard[2] == [b"x", b"x"]


def test_delay_reorders_and_loses_nothing(make):
    ends = make(3)
    ends.network.set_faults(delay=(0.0, 0.03))
    for number in range(50):
        ends.ends[1].send(2, number.to_bytes(1, "big"))
    deadline = time.monotonic() + WAIT
    while len(ends.heard[2]) < 50:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    assert sorted(ends.heard[2]) == [n.to_bytes(1, "big") for n in range(50)]
    assert ends.heard[2] != sorted(ends.heard[2])


def test_cuts_and_partitions(make):
    ends = make()

    def reach():
        found = set()
        for a in ends.ends:
            for b in ends.ends:
                if a != b:
                    before = len(ends.heard[b])
                    ends.ends[a].send(b, b"?")
                    if len(ends.heard[b]) > before:
                        found.add((a, b))
        return found

    everything = {(a, b) for a in (1, 2, 3) for b in (1, 2, 3) if a != b}
    assert reach() == everything
    ends.network.cut(1, 2)
    assert reach() == everything - {(1, 2)}
    ends.network.partition([1], [2, 3])
    assert reach() == {(2, 3), (3, 2)}
    ends.network.heal()
    assert reach() == everything


def test_bad_settings(impl):
    network = impl.MemoryNetwork()
    for bad in ({"loss": 2}, {"duplicate": -1}, {"delay": (2, 1)}, {"delay": (-1, 1)}):
        with pytest.raises(ValueError, match="must be"):
            network.set_faults(**bad)


def test_one_end_an_id(impl, make):
    ends = make()
    other = ends.network.transport()
    with pytest.raises(impl.UsageError, match="already"):
        other.start(1, print)
    ends.ends[1].close()
    other.start(1, print)
    other.close()


def test_closed_network_has_no_thread(make):
    ends = make()
    ends.network.set_faults(delay=(0.001, 0.002))
    ends.ends[1].send(2, b"x")
    ends.close()
    deadline = time.monotonic() + WAIT
    while any(t.name.startswith("raftx-memory") for t in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_power_cut_forgets_what_was_not_synced(impl):
    storage = impl.MemoryStorage(voters=[1])
    core = module(impl, "_core")
    log = core.EntryLog()
    log.py_append(1, b"a")
    log.py_append(1, b"b")
    storage.open(1, bytes(16))
    storage.append(impl.HardState(1, 1, 0), [log.records(1, 1)])
    storage.sync()
    storage.append(impl.HardState(2, 1, 1), [log.records(2, 2)])
    storage.crash()
    loaded = storage.open(1, bytes(16))
    assert loaded.hard_state == impl.HardState(1, 1, 0)
    assert b"".join(bytes(piece) for piece in loaded.records) == log.records(1, 1)
    assert loaded.incarnation == 2
    storage.close()
