"""Snapshots that meet others: a later offer, one of another member, a state machine that is ahead, a second request."""

import json

import pytest

from tests.helpers.implementations import module
from tests.helpers.transfers import BIG, Cluster
from tests.helpers.wal import CLUSTER

CONF = ((1, 2, 3),)


@pytest.mark.slow
@pytest.mark.parametrize("own", [True, False], ids=["with-one-of-its-own", "without"])
def test_a_later_offer_waits_for_the_one_that_is_taken_up(impl, tmp_path, own):
    """The log of the member is about to begin behind the first one, and its disk is slow: that file stays."""
    cluster = Cluster(impl, tmp_path, snapshot_entries=0)
    world = cluster.world

    def snapshot(node):
        future = node.snapshot()
        world.until(future.done)
        return future.result().index

    cluster.fill(1)
    away = cluster.follower()
    if own:
        cluster.agree()
        snapshot(world.nodes[away])
    cluster.fill(1)
    world.nodes[away].close()
    cluster.fill(3, BIG)
    leader = cluster.leader()
    snapshot(leader)
    cluster.fill(2)
    first = snapshot(leader)
    cluster.fill(1, BIG)
    node = cluster.start(away)
    world.until(lambda: cluster.transfers(away).fetched == 1, 40_000)
    world.skipped.add((away, "disk"))
    for _ in range(2):
        cluster.fill(1, BIG)
        later = snapshot(leader)
    world.for_rounds(3000)
    assert node.failure is None and node.applied_index < later
    world.skipped.discard((away, "disk"))
    world.until(lambda: node.applied_index >= later, 60_000)
    assert first < later
    cluster.agree()
    cluster.kill(away)
    cluster.start(away)
    cluster.agree()
    world.close()


class Durable:
    """A state machine whose state outlives its node."""

    version = 1

    def __init__(self):
        self.rows, self.applied_index = [], 0

    def apply(self, entry):
        self.rows.append(entry.data.decode())
        self.applied_index = entry.index

    def snapshot(self):
        return json.dumps([self.applied_index, self.rows]).encode()

    def restore(self, reader):
        self.applied_index, self.rows = json.loads(reader.read())


def test_a_machine_that_is_ahead_is_labelled_as_it_is(impl, tmp_path):
    """Index and term are of the last entry in its state, though entries before it come by again or not."""
    machines = {}

    def machine():
        return machines.setdefault(len(machines), Durable())

    cluster = Cluster(impl, tmp_path, snapshot_entries=0, machine=machine)
    world = cluster.world
    cluster.fill(1)
    world.for_rounds(3000)
    leader = cluster.leader()
    future = leader.snapshot()
    world.until(future.done)
    cluster.fill(1)
    before = leader.term
    world.until(leader.transfer_leadership(leader.id % 3 + 1).done)
    cluster.fill(1)
    world.for_rounds(3000)
    held = world.machines[leader.id]
    term = cluster.leader().term
    assert term > before
    for id in cluster.ids:
        cluster.kill(id)
    # It has its state, and nobody who would say what is committed.
    cluster.machine = lambda: held
    node = cluster.start(leader.id)
    last, rows = held.applied_index, list(held.rows)
    backup = node.backup(tmp_path / "backup")
    world.until(backup.done)
    made = backup.result()
    assert (made.index, made.term) == (last, term)
    copies = module(impl, "storage.snapshot_copy")
    with copies.snapshot_file(tmp_path / "backup", "path") as reader:
        assert (reader.index, json.loads(reader.read())) == (last, [last, rows])
    assert node.applied_index == last
    world.close()


class Recorder:
    """Outcomes that remember."""

    def __init__(self):
        self.seen = []

    def settle(self, request, value):
        self.seen.append((request, value.index))

    def reject(self, request, reason):
        self.seen.append((request, reason))

    def wake_all(self):
        pass


class Subject:
    """A keeper with a writer and a storage that keeps nothing."""

    def __init__(self, impl):
        self.impl = impl
        self.form = module(impl, "storage.snapshot_format")
        self.outcomes, self.told = Recorder(), []
        self.thread = module(impl, "node.snapshots").Snapshotter(1, self)
        self.keeper = module(impl, "node.keeper").Keeper(
            impl.Config(id=1), self, self.thread, None, self.described, self, self.outcomes, lambda: None
        )
        self.thread.ended = self.keeper.take_ended

    def described(self, index, term, version):
        return self.form.Descriptor(index, term, self.impl.ConfState(voters=(1,)), {}, CLUSTER, 1, version)

    # the storage and its writer
    def begin_snapshot(self, descriptor):
        self.descriptor = descriptor
        return self

    def write(self, data):
        return len(data)

    def finish(self):
        return self.descriptor

    def discard(self):
        pass

    # the state machine, and the engine's queue
    def snapshot(self, *told):
        self.told += told[1:2]
        return True if told else b"x"

    def go_on(self):
        for _ in range(10):
            self.thread.round()
            self.keeper.round(20, 1)


def test_a_request_that_comes_as_one_ends_gets_its_own(impl):
    """The apply thread may have a round at any moment of the other one's: nothing is taken for done too early."""
    subject = Subject(impl)
    keeper = subject.keeper

    def ended(descriptor, error):
        if descriptor.index == 10:
            keeper.ask(2)
            keeper.round(20, 1)
        keeper.take_ended(descriptor, error)

    subject.thread.ended = ended
    keeper.ask(1)
    keeper.round(10, 1)
    subject.go_on()
    assert subject.outcomes.seen == [(1, 10), (2, 20)]


def test_one_that_was_overtaken_is_not_the_newest(impl):
    """Another member's came while it was written: who asked for it gets the newer one."""
    subject = Subject(impl)
    keeper = subject.keeper
    keeper.ask(1)
    keeper.round(10, 1)
    keeper.newest = subject.described(15, 1, 0)
    subject.go_on()
    assert subject.outcomes.seen == [(1, 15)]
    assert keeper.newest.index == 15 and subject.told == []


def test_one_that_is_due_while_another_is_written_is_due_still(impl, tmp_path):
    """After a burst that is longer than it takes to write one, the next is not put off until more entries come."""
    cluster = Cluster(impl, tmp_path, snapshot_entries=20)
    world = cluster.world
    leader = cluster.leader()
    world.skipped.add((leader.id, "snapshot"))
    future = leader.propose_many([b"x"] * 25)
    world.until(future.done)
    future = leader.propose_many([b"x"] * 100)
    world.until(future.done)
    world.skipped.discard((leader.id, "snapshot"))
    world.until(lambda: leader.status().snapshot.index >= 100)
    world.close()


def test_one_that_was_overtaken_has_not_failed(impl, caplog):
    """The storage takes none before the newest: nothing is wrong, and nothing is said that sounds like it."""
    subject = Subject(impl)
    subject.thread.overtaken = subject.keeper.is_overtaken
    subject.keeper.ask(1)
    subject.keeper.round(10, 1)
    subject.keeper.newest = subject.described(15, 1, 0)

    def refuse(descriptor):
        raise impl.UsageError("index must be above 15")

    subject.begin_snapshot = refuse
    with caplog.at_level("INFO"):
        subject.go_on()
    assert subject.outcomes.seen == [(1, 15)]
    assert subject.keeper.status().failed == 0
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_a_log_with_snapshots_is_shortened_as_far_as_they_reach(impl, tmp_path):
    """A start would begin with the newest one, and lack what was given up behind it."""
    cluster = Cluster(impl, tmp_path, snapshot_entries=0, count=1)
    world = cluster.world
    node = cluster.leader()

    def ended(future):
        world.until(future.done)
        return future

    for _ in range(3):
        ended(node.propose(b"x"))
    with pytest.raises(impl.NotDone, match="take a snapshot"):
        ended(node.compact(node.applied_index)).result()
    made = ended(node.snapshot()).result()
    ended(node.propose(b"x"))
    with pytest.raises(impl.NotDone, match=f"entry {made.index}"):
        ended(node.compact(made.index + 1)).result()
    assert ended(node.compact(made.index)).result() == made.index
    cluster.kill(1)
    cluster.start(1)
    world.until(lambda: world.nodes[1].applied_index > made.index)
    world.close()


def test_a_state_that_is_of_another_log_is_refused(impl, tmp_path):
    """What would be proposed next would be taken for applied."""
    ahead = Durable()
    ahead.applied_index = 1000
    cluster = Cluster(impl, tmp_path, snapshot_entries=0, count=1)
    cluster.kill(1)
    cluster.machine = lambda: ahead
    with pytest.raises(impl.StorageError, match="applied_index is 1000, and the log ends with entry"):
        cluster.start(1)
    cluster.world.close()


@pytest.mark.parametrize("how", ["damaged", "gone"])
def test_a_file_that_others_need_and_that_is_not_whole(impl, tmp_path, how, caplog):
    """It is said, not with each try, and another one is made as soon as something more is applied."""
    cluster = Cluster(impl, tmp_path, snapshot_entries=0)
    world = cluster.world

    def snapshot(node):
        future = node.snapshot()
        world.until(future.done)
        return future.result()

    cluster.fill(1)
    away = cluster.follower()
    world.nodes[away].close()
    cluster.fill(3, BIG)
    leader = cluster.leader()
    snapshot(leader)
    cluster.fill(2, BIG)
    made = snapshot(leader)
    cluster.fill(1)
    name = next(name for name in cluster.snapshots(leader.id) if f"{made.index:016x}" in name)
    path = cluster.directory(leader.id) / name
    if how == "gone":
        path.unlink()
    else:
        whole = bytearray(path.read_bytes())
        whole[-3000] ^= 1
        path.write_bytes(whole)
    later = leader.applied_index
    node = cluster.start(away)
    world.for_rounds(4000)
    assert leader.status().snapshot.index >= min(later, made.index + 1)
    world.until(lambda: node.applied_index >= later, 20_000)
    assert 1 <= caplog.text.count("cannot serve the snapshot") <= 3
    cluster.agree()
    world.close()
