"""Snapshots of a node's state machine: taken, kept, restored at the next start; and a log that ends. Both modes."""

import logging

import pytest

from tests.helpers.alone import One
from tests.helpers.implementations import module
from tests.helpers.machines import Durable, Machine
from tests.helpers.stepped import World
from tests.helpers.storages import founded


@pytest.fixture
def one(impl, tmp_path):
    made = []

    def make(machine=None, **settings):
        made.append(One(impl, tmp_path / "node", machine, **settings))
        return made[-1]

    yield make
    for each in made:
        each.world.close()


def test_a_snapshot_is_taken_and_restored(one):
    """Only what lies behind it is applied again."""
    alone = one()
    indexes = alone.propose(20)
    made = alone.ended(alone.node.snapshot())
    assert (made.index, made.version, made.conf_state.voters) == (indexes[-1], 3, (1,))
    more = alone.propose(5, b"y")
    status = alone.node.status().snapshot
    assert (status.index, status.size, status.made, status.writing) == (made.index, made.size, 1, None)
    before = alone.machine
    alone.again()
    assert alone.machine.restored == (made.index, 3)
    alone.world.until(lambda: alone.machine.items == before.items)
    assert alone.machine.applied == more
    assert alone.node.status().snapshot.index == made.index
    assert alone.propose(1)[0] > more[-1]


def test_the_policy_takes_them_and_the_log_is_flat(one):
    """In memory it begins behind the newest one, on disk behind the one before."""
    alone = one(snapshot_entries=100)
    for _ in range(30):
        alone.propose(40)
    status = alone.node.status()
    assert status.snapshot.made >= 8
    assert status.last - 250 < status.snapshot.index <= status.last
    assert status.first > status.last - 400
    before = alone.machine.items
    alone.again()
    status = alone.node.status()
    assert status.last - 600 < status.first
    alone.world.until(lambda: alone.machine.items == before)
    assert len(alone.machine.applied) < 400


def test_bytes_make_one_due_too(one):
    alone = one(snapshot_bytes=10_000)
    for _ in range(4):
        alone.propose(10, b"z" * 1000)
        alone.world.for_rounds(20)
    assert 2 <= alone.node.status().snapshot.made <= 5


def test_several_requests_share_one(one):
    alone = one()
    alone.propose(3)
    futures = [alone.node.snapshot() for _ in range(3)]
    results = [alone.ended(future) for future in futures]
    assert len({result.index for result in results}) == 1
    assert alone.node.status().snapshot.made == 1
    assert alone.ended(alone.node.snapshot()) == results[0]  # nothing was applied since


def leaves():
    raise SystemExit(3)


def leaves_later():
    yield b"a"
    leaves()


@pytest.mark.parametrize("how", ["raises", "wrong", "none", "exits", "exits later"])
def test_a_machine_that_gives_no_snapshot(impl, one, how, caplog, tmp_path):
    """The request says why, the node goes on."""
    machine = Machine()
    if how == "none":
        machine.snapshot = machine.restore = None
    else:
        machine.snapshot = {
            "raises": lambda: 1 / 0, "wrong": lambda: "text", "exits": leaves, "exits later": leaves_later,
        }[how]  # fmt: skip
    alone = one(machine)
    alone.propose(3)
    future = alone.node.snapshot()
    alone.world.until(future.done)
    says = {"raises": "division by zero", "wrong": "must return bytes", "none": "has no snapshot"}
    says = says.get(how, "SystemExit: 3")
    with pytest.raises(impl.NotDone, match=says):
        future.result()
    future = alone.node.backup(tmp_path / "backup")
    alone.world.until(future.done)
    with pytest.raises(impl.NotDone, match=says):
        future.result()
    assert alone.propose(1)
    assert alone.node.failure is None


class Keeping(Machine):
    """Keeps the reader that it was given."""

    def restore(self, reader):
        assert reader.read(2) == b"x0"
        self.reader, self.pieces = reader, iter(reader)


def test_a_snapshot_can_be_read_only_within_restore(impl, one):
    """Afterwards it would be an answer of what is in a buffer, or of a file that is gone."""
    alone = one()
    alone.propose(3)
    alone.ended(alone.node.snapshot())
    alone.again(Keeping())
    for read in (lambda: alone.machine.reader.read(1), lambda: next(alone.machine.pieces), alone.machine.reader.read):
        with pytest.raises(impl.UsageError, match=r"before restore\(\) returns"):
            read()
    with module(impl, "storage.snapshot_copy").snapshot_file(next(alone.path.glob("snapshot-*")), "file") as reader:
        assert reader.read(None) == b"x0\nx1\nx2\n" and reader.read(None) == b""


def test_a_snapshot_of_a_newer_machine_is_refused(impl, one):
    alone = one()
    alone.propose(3)
    alone.ended(alone.node.snapshot())
    alone.world.close()
    old = Machine()
    old.version = 2
    with pytest.raises(impl.StorageError, match="version 3 of the state machine, and this one is version 2"):
        alone.start(old)
    without = Durable()
    del without.applied_index
    with pytest.raises(impl.StorageError, match=r"must have a method restore\(reader\)"):
        alone.start(type("Bare", (), {"apply": lambda self, entry: None})())
    alone.start()


def test_a_restore_that_raises_ends_the_node(impl, one):
    """It never goes on with half a state; the next start tries again."""
    alone = one()
    alone.propose(3)
    alone.ended(alone.node.snapshot())
    before = alone.machine.items
    alone.world.close()
    half = Machine()
    half.restore = lambda reader: reader.read(2) and 1 / 0
    alone.start(half)
    assert isinstance(alone.node.failure, ZeroDivisionError)
    assert alone.node.applied_index == 0 and half.items == []
    alone.again()
    assert alone.machine.items == before


def test_a_machine_that_reads_half_is_told_of_damage(impl, one):
    """Whatever it reads of it: a damaged snapshot is not taken for a state."""
    alone = one()
    alone.propose(300)
    made = alone.ended(alone.node.snapshot())
    alone.propose(3)
    alone.world.close()
    file = alone.path / made.name
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    # The log has everything from its beginning: it serves.
    alone.start()
    assert alone.machine.restored is None
    alone.world.until(lambda: len(alone.machine.items) == 303)
    assert (alone.path / (made.name + ".damaged")).exists()


def test_a_machine_with_a_state_of_its_own(one):
    """What it has is not applied again; the owner says what the log may lose."""
    alone = one(Durable())
    indexes = alone.propose(200)
    assert alone.ended(alone.node.compact(indexes[150])) == indexes[150]
    alone.world.for_rounds(30)
    assert alone.node.status().first == indexes[150] + 1
    alone.propose(400, b"w" * 300)
    alone.world.for_rounds(30)
    machine = Durable(alone.machine.applied_index)
    alone.again(machine)
    assert alone.node.status().first == indexes[150] + 1
    new = alone.propose(2)
    assert machine.applied == new


def test_what_is_not_applied_cannot_be_given_up(impl, one):
    alone = one(Durable())
    last = alone.propose(3)[-1]
    future = alone.node.compact(last + 10)
    alone.world.until(future.done)
    with pytest.raises(impl.NotDone, match="is not applied"):
        future.result()
    for wrong in (0, -1, "7", True, 2**63):
        with pytest.raises(impl.UsageError, match="index must be an integer"):
            alone.node.compact(wrong)


def test_a_machine_whose_state_is_older_than_the_log(impl, one):
    alone = one(Durable())
    indexes = alone.propose(2000, b"v" * 100)
    alone.ended(alone.node.compact(indexes[-1]))
    last = alone.propose(2000, b"v" * 100)[-1]
    alone.world.for_rounds(30)
    alone.world.close()
    with pytest.raises(impl.StorageError, match="what is between them is lost"):
        alone.start(Durable(indexes[5]))
    alone.start(Durable(last))


def test_a_log_that_nobody_shortens_is_told_once(one, caplog):
    machine = Machine()
    machine.snapshot = machine.restore = None
    alone = one(machine, max_log_bytes=5000)
    with caplog.at_level(logging.WARNING, "raftx"):
        for _ in range(5):
            alone.propose(40, b"u" * 100)
            alone.world.for_rounds(300)
    assert sum("more than max_log_bytes=5000" in record.getMessage() for record in caplog.records) == 1


def test_a_snapshot_under_way_is_given_up_at_a_stop(impl, one):
    machine = Machine()
    alone = one(machine)
    machine.snapshot = lambda: iter(lambda: b"x", None)  # without an end
    alone.propose(3)
    future = alone.node.snapshot()
    alone.world.for_rounds(30)
    assert alone.node.status().snapshot.writing > 5 and alone.propose(1)
    alone.world.close()
    with pytest.raises(impl.Unknown):
        future.result(timeout=0)
    assert [each.name for each in alone.path.iterdir() if "snapshot" in each.name] == []
    alone.start()


def test_members_keep_what_a_slow_one_needs(impl, tmp_path):
    """Within max_log_bytes, as long as it answers."""
    storages = {id: founded(impl, tmp_path / str(id), id=id) for id in (1, 2, 3)}
    world = World(impl, 3, storages=storages, snapshot_entries=50, keep_entries=10)
    world.close()
    for id in world.ids:
        world.start(id, machine=Machine())
    leader = world.leader()
    slow = next(id for id in world.ids if id != leader.id)
    core = world.engine(leader.id).core
    world.skipped.add((slow, "disk"))
    for _ in range(10):
        futures = [leader.propose(b"x%d" % number) for number in range(60)]
        world.until(lambda futures=futures: all(future.done() for future in futures))
    match = core.tracker.peers.column("match")[core.tracker.peers.py_slot_of(slow)]
    assert leader.status().snapshot.index > match + 300
    assert leader.status().first <= match + 1
    world.skipped.clear()
    world.until(lambda: world.nodes[slow].applied_index == leader.applied_index)
    world.for_rounds(50)
    assert leader.status().first > match
    world.close()


def test_what_is_done_can_be_given_up_at_once(one):
    """Although the engine has not heard yet that it is applied."""
    alone = one(Durable())
    future = alone.node.propose(b"x")
    alone.world.skipped.add((1, "engine"))
    alone.world.for_rounds(5)
    alone.world.skipped.clear()
    alone.world.until(lambda: alone.world.engine(1).core.committed >= 2)
    alone.world.skipped.add((1, "engine"))
    alone.world.for_rounds(5)
    assert future.done() and alone.world.engine(1).core.applied < future.result().index
    compacted = alone.node.compact(future.result().index)
    alone.world.skipped.clear()
    assert alone.ended(compacted) == future.result().index


def behind_a_base(alone, machine=None):
    """The log on disk begins behind an entry; which one. The node is closed."""
    for _ in range(10):
        last = alone.propose(100, b"v" * 200)[-1]
        alone.world.for_rounds(30)
        if machine is not None:
            assert alone.ended(alone.node.compact(last)) == last
    alone.world.close()
    storage = alone.storage()
    base = storage.open(1, alone.impl.Config(id=1).cluster).base_index
    storage.close()
    assert base > 0
    return base


def test_a_machine_that_restores_does_not_begin_without_its_snapshots(impl, one, caplog):
    """Its state would lack what was applied up to there, and nobody would notice."""
    alone = one(snapshot_entries=100)
    base = behind_a_base(alone)
    items = list(alone.machine.items)
    kept = {file: file.read_bytes() for file in alone.path.glob("snapshot-*")}
    assert len(kept) == 2
    for file in kept:
        file.unlink()
    said = (
        rf"{alone.path}: the log begins behind entry {base}, and no snapshot reaches so far.*put the file back.*rebuild"
    )
    with pytest.raises(impl.WalDamaged, match=said):
        alone.start()
    assert not [each for each in caplog.records if "it has no snapshot" in each.message]
    # Either of the two is enough.
    for file, data in kept.items():
        file.write_bytes(data)
        alone.start()
        alone.world.until(lambda: len(alone.machine.items) >= len(items))
        assert alone.machine.items == items
        alone.world.close()


@pytest.mark.parametrize("kind", ["durable", "plain"])
def test_a_machine_that_needs_no_snapshot_goes_on_behind_its_base(impl, one, caplog, kind):
    """One with a state of its own, whether it could restore a snapshot or not, and one that has neither method."""

    class Plain(Machine):
        snapshot = restore = None

    class Both(Durable):
        snapshot, restore = Machine.snapshot, Machine.restore

    machine = Plain() if kind == "plain" else Durable()
    alone = one(machine)
    base = behind_a_base(alone, machine)
    caplog.clear()
    again = Plain() if kind == "plain" else Both(machine.applied_index)
    alone.start(again)
    assert (
        len([each for each in caplog.records if f"begins behind entry {base}, and it has no snap" in each.message]) == 1
    )
    new = alone.propose(2)
    assert again.applied[-2:] == new


def test_a_storage_without_snapshots_may_begin_behind_a_base(impl):
    """Its owner has let entries go, and gives the state machine what it had."""
    kept = impl.MemoryStorage(voters=[1])

    class Storage:
        open, append, sync, close, compact = kept.open, kept.append, kept.sync, kept.close, kept.compact

    world = World(impl, 1, storages={1: Storage()})
    world.leader()
    future = world.nodes[1].propose(b"1")
    world.until(future.done)
    done = future.result()
    world.close()
    kept.open(1, impl.Config(id=1).cluster)
    kept.compact(done.index, done.term, impl.ConfState(voters=(1,)))
    kept.sync()
    kept.close()
    machine = Machine()
    node = world.start(1, machine=machine)
    world.until(lambda: node.is_leader)
    assert node.failure is None and machine.items == []
    world.close()


def test_nothing_is_given_up_before_there_is_a_snapshot(impl, one):
    """A start would not have it."""
    alone = one()
    last = alone.propose(3)[-1]
    future = alone.node.compact(last)
    alone.world.until(future.done)
    with pytest.raises(impl.NotDone, match=rf"as there is no snapshot yet, and lack what is applied up to {last}"):
        future.result()
