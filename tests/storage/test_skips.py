"""Entries that are skipped: what the owner has to agree to, what is written, and that a node keeps to it."""

import random
import zlib

import pytest

from tests.helpers.commands import ran
from tests.helpers.directories import URLS, descriptor, member, picture, state
from tests.helpers.implementations import module
from tests.helpers.stepped import World
from tests.helpers.wal import CLUSTER, SMALL, records

ENVELOPE = b"".join(number.to_bytes(8, "little") for number in (3, 7, 12))


def command(number):
    return ENVELOPE + b"command %d" % number


def logged(impl, path, count=8, **settings):
    """A member whose log has commands, an empty entry as the third, and a change as the fifth."""
    settings = {"id": 1, "members": URLS, "cluster": CLUSTER, "segment_bytes": SMALL, **settings}
    storage = impl.FileStorage.create(path, **settings)
    storage.open(settings["id"], CLUSTER)
    items = [(1, command(number)) for number in range(1, count + 1)]
    items[2] = (1, b"")
    storage.append(impl.HardState(1, 1, count - 1), [records(impl, 1, items)])
    storage.sync()
    storage.close()
    return path


def skip(impl, path, index, **settings):
    return module(impl, "storage.skip").skip(path, index, **settings)


def opened(impl, path, **settings):
    storage = impl.FileStorage(path, **settings)
    loaded = storage.open(1, CLUSTER)
    storage.close()
    return loaded


def test_it_is_agreed_to_first(impl, tmp_path):
    """Without that nothing is done, and it is said what would be, and what must hold."""
    path = logged(impl, tmp_path / "n")
    before = picture(path)
    with pytest.raises(
        impl.LossNotAccepted, match=r"entry 4 of term 1 \(9 bytes\).*ALL members.*all of them are stopped"
    ):
        skip(impl, path, 4)
    told = ran(impl, "wal", "skip", path, "4")
    assert told.code == 4 and " ".join(told.err.split()).endswith("agree: --yes")
    assert picture(path) == before
    done = skip(impl, path, 4, agreed=True)
    assert (done.path, done.index, done.term, done.skips) == (path, 4, 1, {4: 1})
    assert opened(impl, path).skips == {4: 1}
    # A second one, by the command; and the first again.
    found = ran(impl, "wal", "skip", path, "7", "--yes", "--json").json()
    skips = [{"index": 4, "term": 1}, {"index": 7, "term": 1}]
    assert found == {"directory": str(path), "index": 7, "term": 1, "skips": skips}
    assert "all other members" in ran(impl, "wal", "skip", path, "4", "--yes").out
    assert ran(impl, "wal", "info", "--json", path).json()["skips"] == skips
    shown = ran(impl, "wal", "info", path).out
    assert "skipped        entry 4 of term 1 is not given to the state machine\n" in shown
    assert opened(impl, path).skips == {4: 1, 7: 1}


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (9, "index must be that of an entry in .*n, 1..8, not 9"),
        (3, "index must be that of a command, not 3"),
        (0, "index must be an integer in 1..2"),
        (True, "index must be an integer"),
        ("4", "index must be an integer"),
    ],
)
def test_what_is_no_entry_to_be_skipped(impl, tmp_path, index, said):
    path = logged(impl, tmp_path / "n")
    before = picture(path)
    with pytest.raises(impl.UsageError, match=said):
        skip(impl, path, index, agreed=True)
    assert picture(path) == before
    if type(index) is int and index:
        assert ran(impl, "wal", "skip", path, str(index), "--yes").code == 2


def test_where_it_is_refused(impl, tmp_path):
    """While a node runs there; for what is behind the log, damaged, no directory, or a link."""
    path = logged(impl, tmp_path / "n")
    storage = impl.FileStorage(path)
    storage.open(1, CLUSTER)
    with pytest.raises(impl.WrongDirectory, match="in use"):
        skip(impl, path, 4, agreed=True)
    assert ran(impl, "wal", "skip", path, "4", "--yes").code == 3
    storage.close()
    behind = member(impl, tmp_path / "behind", entries=50, snapshots=(10, 20, 30))
    with pytest.raises(impl.UsageError, match=r"index must be above 30.*is in the snapshot"):
        skip(impl, behind, 20, agreed=True)
    with pytest.raises(impl.ConfigError, match=r"^path must be"):
        skip(impl, "", 4, agreed=True)
    with pytest.raises(impl.ConfigError, match=r"^agreed must be True or False"):
        skip(impl, path, 4, agreed=1)
    with pytest.raises(impl.StorageError):
        skip(impl, tmp_path / "nowhere", 4, agreed=True)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(impl.UsageError, match="is a symbolic link"):
        skip(impl, tmp_path / "link", 4, agreed=True)
    assert opened(impl, path).skips == {}


def test_every_byte_counts(impl, tmp_path):
    """A file that is not whole is refused, and never means another entry; one of another directory, too."""
    path = logged(impl, tmp_path / "n")
    skip(impl, path, 4, agreed=True)
    whole = (path / "skips").read_bytes()
    assert len(whole) == 56
    for at in range(len(whole)):
        data = bytearray(whole)
        data[at] ^= 1
        (path / "skips").write_bytes(data)
        with pytest.raises(impl.WalDamaged, match="the file skips"):
            opened(impl, path)
    for data in (b"", whole[:-1], whole + b"x", whole[:20]):
        (path / "skips").write_bytes(data)
        with pytest.raises(impl.WalDamaged, match=r"put it back as it was, or remove it.*raftx wal skip"):
            opened(impl, path)
    done = ran(impl, "wal", "verify", "--json", path)
    assert done.code == 1 and done.json()["damage"][0]["file"] == "skips"
    other = logged(impl, tmp_path / "m")
    (other / "skips").write_bytes(whole)
    with pytest.raises(impl.WalDamaged, match="is of another directory"):
        opened(impl, other)
    # As docs/wal-format.md has it.
    (path / "skips").write_bytes(whole)
    store = module(impl, "storage.founding").decode((path / "founding").read_bytes()).store
    assert whole[:8] == b"RAFTXSKP" and whole[8:12] == (1).to_bytes(4, "little")
    assert int.from_bytes(whole[12:16], "little") == zlib.crc32(whole[16:])
    assert whole[16:24] == (1).to_bytes(8, "little") and whole[24:40] == store
    assert whole[40:] == (4).to_bytes(8, "little") + (1).to_bytes(8, "little")
    assert opened(impl, path).skips == {4: 1}


def test_the_power_goes_at_every_operation(impl):
    """It is as before or as after, and the member opens."""
    disks = module(impl, "testing.disk")
    seen = set()
    for cut in range(1, 60):
        disk = disks.SimDisk(random.Random(cut))
        logged(impl, "/n", disk=disk)
        skip(impl, "/n", 2, agreed=True, disk=disk)
        disk.cut_after(cut)
        try:
            skip(impl, "/n", 4, agreed=True, disk=disk)
            finished = True
        except impl.StorageError:
            finished = False
        disk.repair()
        disk.crash()
        skips = opened(impl, "/n", disk=disk).skips
        assert skips in ({2: 1}, {2: 1, 4: 1})
        assert not finished or 4 in skips
        seen.add(len(skips))
        if finished:
            break
    assert finished and seen == {1, 2}


def test_those_before_the_log_go(impl, tmp_path):
    path = member(impl, tmp_path / "n", entries=0)
    storage = impl.FileStorage(path)
    storage.open(1, CLUSTER)
    storage.append(impl.HardState(1, 1, 5), [records(impl, 1, [(1, command(n) + bytes(9000)) for n in range(1, 60)])])
    storage.sync()
    storage.close()
    for index in (5, 40):
        skip(impl, path, index, agreed=True)
    storage.open(1, CLUSTER)
    storage.compact(20, 1, impl.ConfState(voters=(1, 2, 3)))
    storage.append(impl.HardState(1, 1, 59), [records(impl, 60, [(1, command(60) + bytes(60000))])])
    storage.sync()
    storage.close()
    loaded = opened(impl, path)
    assert loaded.base_index == 20 and loaded.skips == {40: 1}
    assert len((path / "skips").read_bytes()) == 56


def test_another_entry_at_that_place_is_none_of_it(impl, tmp_path):
    """It was not committed, and another leader has put its own there."""
    path = logged(impl, tmp_path / "n", members=[1])
    for index in (7, 8):
        skip(impl, path, index, agreed=True)
    storage = impl.FileStorage(path)
    storage.open(1, CLUSTER)
    storage.append(impl.HardState(2, 2, 7), [records(impl, 8, [(2, command(8))])])
    storage.sync()
    storage.close()
    world = World(impl, 1, storages={1: impl.FileStorage(path)}, ids=(1,), cluster=CLUSTER)
    node = world.leader()
    world.until(lambda: node.applied_index > 8)
    assert node.status().skipped == (7, 8)
    applied = [(index, term) for index, term, _ in world.machines[1].entries]
    assert applied == [(1, 1), (2, 1), (4, 1), (5, 1), (6, 1), (8, 2)]
    world.close()


@pytest.mark.parametrize("what", ["rebuild", "recover"])
def test_a_directory_that_is_moved_keeps_them(impl, tmp_path, what):
    path = logged(impl, tmp_path / "n")
    skip(impl, path, 4, agreed=True)
    done = getattr(module(impl, f"storage.{what}"), what)(path, accept_loss=True)
    storage = impl.FileStorage(path)
    assert storage.open(1, done.founding.cluster).skips == {4: 1}
    storage.close()
    assert (done.aside / "skips").exists()


class Poisoned:
    """Cannot take b"poison"."""

    def __init__(self, batches):
        self.items = []
        if batches:
            self.apply_batch = lambda entries: [self.apply(entry) for entry in entries]

    def apply(self, entry):
        if bytes(entry.data) == b"poison":
            raise ValueError("it cannot be read")
        self.items.append((entry.index, bytes(entry.data)))
        return len(self.items)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batches", "session"), [(False, False), (True, False), (False, True)], ids=["one", "batches", "session"]
)
def test_a_cluster_that_no_start_would_bring_back(impl, tmp_path, caplog, batches, session):
    """Each member ends, at each start, and names the way out; once all skip the entry, they go on and agree."""
    ids = (1, 2, 3)
    for id in ids:
        impl.FileStorage.create(tmp_path / str(id), id=id, members=ids)
    world = World(impl, 3, storages={id: impl.FileStorage(tmp_path / str(id)) for id in ids})

    def start(**settings):
        for id in ids:
            world.nodes[id].close()
        for id in ids:
            world.start(id, machine=Poisoned(batches), **settings)

    start()
    leader = world.leader()
    for number in range(3):
        future = leader.propose(b"%d" % number)
        world.until(future.done)
    proposer = leader.session() if session else leader
    poison = proposer.propose(b"poison")
    world.until(poison.done)
    assert isinstance(poison.exception(0), impl.Unknown)
    # Of a session, its opening comes first.
    index = world.machines[leader.id].items[-1][0] + 1 + session
    for _ in range(2):
        world.until(lambda: sum(node.failure is not None for node in world.nodes.values()) >= 2, 20_000)
        start()
    world.until(lambda: sum(node.failure is not None for node in world.nodes.values()) >= 2, 20_000)
    world.for_rounds(20)
    for node in world.nodes.values():
        node.close()
    if not batches:
        assert f"if it can never take it: raftx wal skip {tmp_path}" in caplog.text
        assert f" {index}, on every member, all stopped" in caplog.text
    for id in ids:
        storage = impl.FileStorage(tmp_path / str(id))
        skip(impl, tmp_path / str(id), index, agreed=True)
        storage.close()
    caplog.clear()
    start()
    leader = world.leader()
    future = leader.propose(b"after")
    world.until(future.done)
    assert future.result(0).index > index
    world.until(lambda: all(node.applied_index == leader.applied_index for node in world.nodes.values()))
    for id in ids:
        assert [data for _, data in world.machines[id].items] == [b"0", b"1", b"2", b"after"]
        assert world.nodes[id].status().skipped == (index,)
    assert caplog.text.count(f"entry {index} of term ") == 3 and "is skipped" in caplog.text
    world.close()


def test_its_proposer_is_told_should_it_be_there(impl):
    """The entry comes by in the life that proposed it: it is not done."""
    world = World(impl, 1)
    leader = world.leader()
    future = leader.propose(b"first")
    world.until(future.done)
    world.nodes[1]._parts.applier.skips = {future.result(0).index + 1: leader.term}
    future = leader.propose(b"x")
    world.until(future.done)
    with pytest.raises(impl.NotDone, match="is skipped"):
        future.result(0)
    assert [data for _, _, data in world.machines[1].entries] == [b"first"]
    world.close()


def test_what_is_in_a_snapshot_is_not_skipped(impl, tmp_path):
    """The member begins with it: on the others it would be missing. An empty log has nothing to be skipped."""
    path = logged(impl, tmp_path / "n")
    storage = impl.FileStorage(path)
    storage.open(1, CLUSTER)
    writer = storage.begin_snapshot(descriptor(impl, 4, 1))
    writer.write(state(4))
    writer.finish()
    storage.close()
    for index in (2, 4):
        with pytest.raises(impl.UsageError, match="index must be above 4, the entry of the newest snapshot"):
            skip(impl, path, index, agreed=True)
    assert skip(impl, path, 6, agreed=True).skips == {6: 1}
    impl.FileStorage.create(tmp_path / "empty", id=1, members=URLS, cluster=CLUSTER)
    with pytest.raises(impl.UsageError, match="has no entries"):
        skip(impl, tmp_path / "empty", 1, agreed=True)
