"""What a state machine gets wrong about its own state, where it would be lost, or applied twice, without a word."""

import contextlib
import io
import pickle
import zipfile

import pytest

from tests.helpers.alone import One, Written
from tests.helpers.implementations import module
from tests.helpers.machines import Machine


@pytest.fixture
def one(impl, tmp_path):
    made = []

    def make(machine=None, **settings):
        made.append(One(impl, tmp_path / "node", machine, **settings))
        return made[-1]

    yield make
    for each in made:
        each.world.close()


# --- what snapshot() returns ---------------------------------------------------------------------------


def standing(data, position):
    file = io.BytesIO(data)
    file.seek(position)
    return file


def test_a_file_that_stands_at_its_end_is_no_snapshot(impl, tmp_path):
    """Whoever has just written it forgets to go back: the state would be replaced by nothing, on every member."""
    world = Written(impl, tmp_path / "node")
    world.begin(standing(b"the state", 9))
    world.run()
    ((_, error),) = world.ends
    assert "stands at its end, behind byte 9" in str(error) and "seek(0)" in str(error)
    assert [path.name for path in (tmp_path / "node").glob("snapshot-*")] == []
    for number, (file, state) in enumerate(
        ((standing(b"the state", 4), b"state"), (standing(b"", 0), b""), (Pipe(), b""), (Lost(), b""))
    ):
        world.begin(file, index=8 + number)
        world.run()
        assert world.ends[-1][1] is None and world.read() == (8 + number, state)
    world.storage.close()


class Pipe:
    """It has no place to tell of."""

    def read(self, size):
        return b""

    def tell(self):
        raise io.UnsupportedOperation("tell")


class Lost:
    def read(self, size):
        return b""


def wrapped(file):
    text = io.TextIOWrapper(file, encoding="utf-8")
    text.write("é")
    text.flush()


def zipped(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"b" * 5000)


def buffered(file):
    io.BufferedWriter(file).write(b"abc")


class Writes:
    def __init__(self, write):
        self.write = write


def unzipped(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read("a")


WRITERS = (
    (wrapped, lambda data: data, "é".encode()),
    (zipped, unzipped, b"b" * 5000),
    (buffered, lambda data: data, b"abc"),
    (lambda file: pickle.dump(["a", 1], file), pickle.loads, ["a", 1]),
)


@pytest.mark.parametrize(("write", "read", "state"), WRITERS, ids=("text", "zip", "buffer", "pickle"))
def test_a_machine_writes_to_its_file_with_what_writes_to_files(impl, tmp_path, write, read, state):
    world = Written(impl, tmp_path / "node")
    world.begin(Writes(write))
    world.run()
    assert world.ends[-1][1] is None
    assert read(world.read()[1]) == state
    world.storage.close()


# --- how restore() reads -------------------------------------------------------------------------------


def snapshot_of(impl, path, state, chunk=4096):
    """A file with this state in small chunks, to be read."""
    files = module(impl, "storage.snapshots")
    descriptor = module(impl, "storage.snapshot_format").Descriptor
    directory = module(impl, "_native.files").Directory(path)
    conf = impl.ConfState(voters=(1,))
    writer = files.SnapshotWriter(directory, descriptor(7, 1, conf, {}, b"-" * 16, 1, 0, chunk_bytes=chunk))
    writer.write(state)
    return directory, files.SnapshotReader(directory, writer.finish().name)


def test_a_reader_is_a_file_for_pickle(impl, tmp_path):
    """Of every protocol: what was written with pickle.dump can be read with pickle.load."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        state = [{"key": b"x" * 9000}, "text\n", 7, IndexError("text")]
        directory, reader = snapshot_of(impl, tmp_path, pickle.dumps(state, protocol))
        with contextlib.closing(directory), reader:
            assert repr(pickle.load(reader)) == repr(state)
            assert reader.read() == b""


def test_lines_are_read_as_those_of_a_file(impl, tmp_path):
    state = b"\n" + b"a" * 5000 + b"\nb\n\n" + b"c" * 600 + b"\n" * 3 + b"end"
    directory, reader = snapshot_of(impl, tmp_path, state)
    file = io.BytesIO(state)
    with contextlib.closing(directory), reader:
        for size in (None, -1, 0, 3, 4999, 600, 1, 9, 1000, 5, 5, 5):
            assert reader.readline(size) == file.readline(size)
        assert reader.readline() == file.readline() == b""
    directory, reader = snapshot_of(impl, tmp_path, state)
    file = io.BytesIO(state)
    with contextlib.closing(directory), reader:
        for size in (0, 1, 7000, 3):
            mine, its = bytearray(size), bytearray(size)
            assert (reader.readinto(mine), mine) == (file.readinto(its), its)
            assert reader.read(1) == file.read(1)
        reader.close()
        for call in (reader.readline, lambda: reader.readinto(bytearray(1))):
            with pytest.raises(impl.UsageError, match="closed"):
                call()


class Closing(Machine):
    def restore(self, reader):
        with reader:
            super().restore(reader)


def test_a_machine_may_close_what_it_has_read(one):
    alone = one()
    alone.propose(5)
    alone.ended(alone.node.snapshot())
    before = alone.machine.items
    alone.again(Closing())
    assert alone.node.failure is None and alone.machine.items == before


class HalfClosing(Machine):
    """It stops where it has what it wants."""

    def restore(self, reader):
        reader.read(2)
        reader.close()


def test_what_a_machine_has_not_read_before_it_closed_is_verified(impl, one, monkeypatch):
    alone = one()
    alone.propose(5)
    alone.ended(alone.node.snapshot())
    alone.world.close()
    seen = []
    files = module(impl, "storage.snapshots")
    verify = files.SnapshotReader.verify

    def watched(reader):
        seen.append(reader.name)
        return verify(reader)

    monkeypatch.setattr(files.SnapshotReader, "verify", watched)
    alone.start(HalfClosing())
    # When it was opened, then the one that is closed, then one that can be read.
    assert alone.node.failure is None and len(seen) == 3


class Coming(Machine):
    def restore(self, reader):
        return self.later(reader)

    async def later(self, reader):
        super().restore(reader)


class Yielding(Coming):
    def later(self, reader):
        yield super().restore(reader)


@pytest.mark.parametrize("kind", [Coming, Yielding])
def test_a_restore_of_which_nothing_ran_ends_the_node(impl, one, kind):
    """It would go on with an empty state."""
    alone = one()
    alone.propose(3)
    alone.ended(alone.node.snapshot())
    alone.again(kind())
    assert isinstance(alone.node.failure, TypeError)
    assert "of which nothing has run" in str(alone.node.failure)
    alone.again()
    assert len(alone.machine.items) == 3


# --- properties ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["applied_index", "version"])
def test_a_property_that_fails_is_not_taken_for_one_that_is_missing(impl, one, name):
    """A machine that cannot say what it has would be given every entry again."""
    keeper = module(impl, "node.keeper")
    mistaken = type("Mistaken", (), {name: property(lambda self: self.no_such_thing)})()
    ask = keeper.applied_by if name == "applied_index" else keeper.version_of
    with pytest.raises(impl.StorageError, match=f"{name} cannot be read.*no_such_thing"):
        ask(mistaken)
    assert ask(object()) == 0
    assert ask(type("Says", (), {"__getattr__": lambda self, asked: {name: 7}[asked]})()) == 7
    alone = one()
    alone.propose(3)
    alone.world.close()
    machine = type("Kind", (Machine,), {name: property(lambda self: self.no_such_thing, lambda self, value: None)})()
    with pytest.raises(impl.RaftError, match=f"{name} cannot be read"):
        alone.start(machine)
    assert machine.items == []


def test_recipes_do_not_stand_beside_a_machine_that_cannot_say(impl):
    recipes = module(impl, "recipes.machine").Recipes
    for name, said in (("applied_index", "machine has applied_index"), ("version", "version cannot be read")):
        own = type("Own", (Machine,), {name: property(lambda self: self.no_such_thing, lambda self, value: None)})()
        with pytest.raises(impl.ConfigError, match=said):
            recipes(own).check_own()
