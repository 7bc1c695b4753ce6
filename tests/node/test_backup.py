"""``Node.backup``: a snapshot in a file of one's own, while the node goes on. Both modes."""

import errno
import os
import socket
from pathlib import Path

import pytest

from tests.helpers.implementations import module
from tests.helpers.machines import Durable, Machine
from tests.helpers.stepped import World
from tests.helpers.storages import founded


class Slow(Machine):
    """Gives its state piece by piece; what it has given by then is in ``given``."""

    def __init__(self):
        super().__init__()
        self.given = 0

    def snapshot(self):
        frozen = list(self.items)

        def pieces():
            for item in frozen:
                self.given += 1
                yield item + b"\n"

        return pieces()


@pytest.fixture
def one(impl, tmp_path):
    """A node alone, which leads."""
    made = []

    def make(machine=None, storage=None, **settings):
        world = World(impl, 1, storages={1: storage or impl.MemoryStorage(voters=[1])}, snapshot_entries=0, **settings)
        made.append(world)
        world.close()
        world.start(1, machine=machine or Machine())
        world.until(lambda: world.nodes[1].is_leader)
        return world

    yield make
    for world in made:
        world.close()


def propose(world, count):
    futures = [world.nodes[1].propose(b"item %d" % number) for number in range(count)]
    world.until(lambda: all(future.done() for future in futures))
    return [future.result().index for future in futures]


def ended(world, future):
    world.until(future.done)
    return future.result()


def read(impl, path):
    with module(impl, "storage.snapshot_copy").snapshot_file(path, "path") as reader:
        data = reader.read()
        return reader.verify(), data


def refused(impl, world, *arguments, **settings):
    future = world.nodes[1].backup(*arguments, **settings)
    world.until(future.done)
    with pytest.raises(impl.NotDone) as error:
        future.result()
    return str(error.value)


def test_it_is_the_state_at_an_exact_entry_while_the_node_goes_on(impl, one, tmp_path):
    world = one(Slow())
    indexes = propose(world, 30)
    future = world.nodes[1].backup(tmp_path / "backup")
    world.until(lambda: world.machines[1].given > 3)
    assert os.listdir(tmp_path) != ["backup"] and not future.done()
    # Entries are applied meanwhile, and are not in it.
    propose(world, 5)
    assert world.machines[1].given < 30
    made = ended(world, future)
    assert os.listdir(tmp_path) == ["backup"]
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o600
    found, data = read(impl, tmp_path / "backup")
    assert found == made and made.index == indexes[-1] and made.version == 3
    assert data == b"".join(b"item %d\n" % number for number in range(30))
    status = world.nodes[1].status().snapshot
    assert (status.made, status.failed, status.index) == (0, 0, 0)
    # The storage's own snapshots are another matter.
    assert ended(world, world.nodes[1].snapshot()).index == indexes[-1] + 5
    assert ended(world, world.nodes[1].backup(os.fspath(tmp_path / "again"))).index == indexes[-1] + 5


def test_backups_and_snapshots_are_made_one_after_the_other(impl, one, tmp_path):
    world = one(Slow())
    last = propose(world, 20)[-1]
    futures = [world.nodes[1].backup(tmp_path / "1"), world.nodes[1].snapshot(), world.nodes[1].backup(tmp_path / "2")]
    assert [ended(world, future).index for future in futures] == [last] * 3
    assert world.nodes[1].status().snapshot.made == 1
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]
    assert read(impl, tmp_path / "1")[1] == read(impl, tmp_path / "2")[1]


def test_a_file_that_is_there_stays_unless_it_is_asked_for(impl, one, tmp_path):
    world = one(Slow())
    propose(world, 10)
    path = tmp_path / "backup"
    path.write_bytes(b"mine")
    said = refused(impl, world, path)
    assert "there is such a file already: choose another name, or ask for it to be overwritten" in said
    assert str(path) in said and path.read_bytes() == b"mine"
    world.machines[1].given = 0
    future = world.nodes[1].backup(path, overwrite=True)
    world.until(lambda: world.machines[1].given > 3)
    assert path.read_bytes() == b"mine" and not future.done()
    made = ended(world, future)
    assert read(impl, path)[0] == made and os.listdir(tmp_path) == ["backup"]
    # One that appears while it is written.
    path.unlink()
    world.machines[1].given = 0
    future = world.nodes[1].backup(path)
    world.until(lambda: world.machines[1].given > 3)
    path.write_bytes(b"mine")
    world.until(future.done)
    with pytest.raises(impl.NotDone, match="there is such a file already"):
        future.result()
    assert path.read_bytes() == b"mine" and os.listdir(tmp_path) == ["backup"]
    # A link counts as what it is, not as where it leads.
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    assert "there is such a file already" in refused(impl, world, path)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
@pytest.mark.parametrize("kind", ["pipe", "socket", "directory"])
def test_what_is_no_file_is_not_overwritten(impl, one, tmp_path, kind, when):
    """Not even when it is asked for, and it is not waited for."""
    path = tmp_path / "backup"

    def make():
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "directory":
            path.mkdir()
        else:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(os.path.relpath(path))

    world = one(Slow())
    propose(world, 10)
    if when == "before":
        make()
    future = world.nodes[1].backup(path, overwrite=True)
    if when == "meanwhile":
        world.until(lambda: world.machines[1].given > 3)
        make()
    before = os.lstat(path)
    world.until(future.done)
    with pytest.raises(impl.NotDone) as raised:
        future.result()
    said = {"pipe": "it is a named pipe", "socket": "it is a socket"}.get(kind, "directory")
    assert said in str(raised.value)
    assert os.lstat(path) == before and os.listdir(tmp_path) == ["backup"]
    assert world.nodes[1].failure is None


def test_a_device_is_not_overwritten(impl):
    """The rule alone: nothing is tried on a device of this machine."""
    check = module(impl, "storage.snapshot_copy").check_replaceable
    with pytest.raises(OSError, match="it is a device, and only a file is overwritten"):
        check(Path("/dev/null"))
    check(Path("/nowhere/at/all"))
    check(Path(__file__))


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_links(impl, one, tmp_path, monkeypatch, code):
    """As exFAT and CIFS are. What appears while it is written stays all the same."""

    def link(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", link)
    world = one(Slow())
    propose(world, 10)
    path = tmp_path / "backup"
    made = ended(world, world.nodes[1].backup(path))
    assert read(impl, path)[0] == made and os.listdir(tmp_path) == ["backup"]
    path.unlink()
    world.machines[1].given = 0
    future = world.nodes[1].backup(path)
    world.until(lambda: world.machines[1].given > 3)
    path.write_bytes(b"mine")
    world.until(future.done)
    with pytest.raises(impl.NotDone, match="there is such a file already"):
        future.result()
    assert path.read_bytes() == b"mine" and os.listdir(tmp_path) == ["backup"]
    # Nor can it rename in such a way.
    path.unlink()
    monkeypatch.setattr(module(impl, "storage.snapshot_copy"), "rename_new", lambda *_: errno.EINVAL)
    future = world.nodes[1].backup(path)
    world.until(future.done)
    with pytest.raises(impl.NotDone, match=r"ask for it to be overwritten \(overwrite=True\)"):
        future.result()
    assert os.listdir(tmp_path) == []
    made = ended(world, world.nodes[1].backup(path, overwrite=True))
    assert read(impl, path)[0] == made


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing/backup", "No such file or directory"),
        ("directory", "Is a directory"),
        ("file/backup", "Not a directory"),
        ("x" * 256, "File name too long"),
    ],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_places_that_cannot_be_written(impl, one, tmp_path, name, said, overwrite):
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").write_bytes(b"")
    before = sorted(os.listdir(tmp_path))
    world = one()
    propose(world, 3)
    assert said in refused(impl, world, tmp_path / name, overwrite=overwrite)
    assert sorted(os.listdir(tmp_path)) == before
    assert world.nodes[1].failure is None and propose(world, 1)


def test_a_disk_that_fails(impl, one, tmp_path, monkeypatch):
    """At each step: nothing is left, and the node does not mind."""
    world = one()
    propose(world, 3)
    snapshots = module(impl, "storage.snapshots")
    real = snapshots.check_done
    steps, fails = [0], [0]

    def check(code, what, name):
        steps[0] += 1
        real(-5 if steps[0] == fails[0] else code, what, name)

    monkeypatch.setattr(snapshots, "check_done", check)
    while True:
        steps[0], fails[0] = 0, fails[0] + 1
        future = world.nodes[1].backup(tmp_path / "backup")
        world.until(future.done)
        if steps[0] < fails[0]:
            break
        with pytest.raises(impl.NotDone, match="Input/output error"):
            future.result()
        left = os.listdir(tmp_path)
        # The last step is the sync of the directory: the file is there, and it is whole, but may not stay.
        assert left == [] or (left == ["backup"] and read(impl, tmp_path / "backup"))
        if left:
            (tmp_path / "backup").unlink()
    assert fails[0] == 5 and read(impl, tmp_path / "backup")[0] == future.result()


@pytest.mark.parametrize("how", ["none", "raises", "wrong", "raises late"])
def test_a_machine_that_gives_none(impl, one, tmp_path, how):
    machine = Machine()

    def late():
        yield b"x" * 300_000
        raise ValueError("late")

    machine.snapshot = {
        "none": None,
        "raises": lambda: 1 / 0,
        "wrong": lambda: "text",
        "raises late": late,
    }[how]
    if how == "none":
        machine.restore = None
    world = one(machine)
    propose(world, 3)
    said = {"none": "has no snapshot()", "raises": "division by zero", "wrong": "must return bytes"}
    assert said.get(how, "late") in refused(impl, world, tmp_path / "backup")
    assert os.listdir(tmp_path) == []
    assert propose(world, 1) and world.nodes[1].failure is None


def test_a_machine_with_a_state_of_its_own_has_none(impl, one, tmp_path):
    world = one(Durable())
    propose(world, 3)
    assert "the state machine has no snapshot()" in refused(impl, world, tmp_path / "backup")


class Plain:
    """A storage that keeps no snapshots."""

    def __init__(self, kept):
        self.open, self.append, self.sync, self.close = kept.open, kept.append, kept.sync, kept.close


def test_it_needs_no_storage_that_keeps_snapshots(impl, one, tmp_path):
    world = one(storage=Plain(impl.MemoryStorage(voters=[1])))
    propose(world, 3)
    made = ended(world, world.nodes[1].backup(tmp_path / "backup"))
    assert read(impl, tmp_path / "backup")[0] == made
    future = world.nodes[1].snapshot()
    world.until(future.done)
    with pytest.raises(impl.NotDone, match="the storage cannot keep one"):
        future.result()


def test_a_node_that_is_closed_meanwhile_leaves_nothing(impl, one, tmp_path):
    world = one(Slow())
    propose(world, 30)
    future = world.nodes[1].backup(tmp_path / "backup")
    waiting = world.nodes[1].backup(tmp_path / "another")
    world.until(lambda: world.machines[1].given > 3)
    world.nodes[1].close()
    for each in (future, waiting):
        with pytest.raises(impl.Unknown):
            each.result(timeout=0)
    assert os.listdir(tmp_path) == []
    with pytest.raises(impl.Stopped):
        world.nodes[1].backup(tmp_path / "backup")


@pytest.mark.parametrize("path", [None, b"backup", "", "a\0b", 7, "backup/", "/", "\ud800"])
def test_what_is_no_path(impl, one, path):
    world = one()
    with pytest.raises(impl.UsageError, match=r"^path must "):
        world.nodes[1].backup(path)
    with pytest.raises(impl.UsageError, match=r"^overwrite must be True or False"):
        world.nodes[1].backup("backup", overwrite=1)


def test_a_node_on_files(impl, one, tmp_path):
    """The same with a log in a directory: the backup is no part of that."""
    storage = founded(impl, tmp_path / "n", members=[1])
    world = one(storage=storage)
    propose(world, 3)
    made = ended(world, world.nodes[1].backup(tmp_path / "backup"))
    assert not list((tmp_path / "n").glob("snapshot-*"))
    assert read(impl, tmp_path / "backup") == (made, b"item 0\nitem 1\nitem 2\n")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "name", ["founding", "lives", "skips", "wal-0000000000000001.log", "wal-00000000000000ff.log", "x"]
)
def test_the_directory_of_a_member_is_no_place(impl, one, tmp_path, name, overwrite):
    """Neither its own nor another one's, also through a link: nothing of it is changed."""
    founded(impl, tmp_path / "other", id=2)
    (tmp_path / "link").symlink_to(tmp_path / "n")
    world = one(storage=founded(impl, tmp_path / "n", members=[1]))
    propose(world, 3)
    for place in ("n", "other", "link"):
        before = sorted(os.listdir(tmp_path / place))
        with pytest.raises(impl.UsageError, match="directory of a member"):
            world.nodes[1].backup(tmp_path / place / name, overwrite=overwrite)
        with pytest.raises(impl.StorageError, match="directory of a member"):
            copying = module(impl, "storage.snapshot_copy")
            copying.BackupWriter(tmp_path / place / name, None, overwrite)
        assert sorted(os.listdir(tmp_path / place)) == before
    world.close()
    world.start(1, machine=Machine())
    world.until(lambda: world.nodes[1].is_leader)
