"""Snapshot files: what is written is read again, whole or not at all, whatever happened to the file or the power."""

import dataclasses
import errno
import random
import sys
import threading
import zlib
from pathlib import Path

import pytest

from tests.helpers.implementations import module

CLUSTER = b"snapshot-cluster"
CHUNK = 4096


@pytest.fixture
def files(impl):
    return module(impl, "storage.snapshots")


@pytest.fixture
def form(impl):
    return module(impl, "storage.snapshot_format")


@pytest.fixture
def directory(impl, tmp_path):
    with_lock = module(impl, "_native.files").Directory(tmp_path)
    yield with_lock
    with_lock.close()


def described(impl, form, index=7, term=3, **others):
    return form.Descriptor(
        index,
        term,
        impl.ConfState(voters=(1, 2, 3), learners=(9,)),
        {1: "tcp://127.0.0.1:5601", 2: "tcp://[::1]:5602", 9: "ipc:///tmp/ünode"},
        CLUSTER,
        incarnation=5,
        version=4,
        chunk_bytes=CHUNK,
        **others,
    )


def make(impl, files, form, directory, state, index=7, term=3, level=None, pieces=None):
    """Write a snapshot, all at once or in pieces of the given lengths."""
    writer = files.SnapshotWriter(directory, described(impl, form, index, term), level)
    if pieces is None:
        writer.write(state)
    else:
        at = 0
        for size in pieces:
            assert writer.write(memoryview(state)[at : at + size]) == len(state[at : at + size])
            at += size
        writer.write(state[at:])
    return writer.finish()


def state_of(size, seed=1):
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 17])
@pytest.mark.parametrize("pieces", [None, (1, 0, 5, 4090), (4096, 4096), (10_000,)], ids=str)
def test_what_is_written_is_read(impl, files, form, directory, size, pieces):
    state = state_of(size)
    made = make(impl, files, form, directory, state, pieces=pieces)
    assert directory.names() == [made.name]
    assert (made.size, made.stored, made.chunks) == (size, size, -(-size // CHUNK))
    with files.SnapshotReader(directory, made.name) as reader:
        assert (reader.index, reader.term, reader.version, reader.size) == (7, 3, 4, size)
        assert reader.descriptor == made
        assert reader.read() == state
        assert reader.read() == b""
    with files.SnapshotReader(directory, made.name) as reader:
        assert b"".join(reader) == state
    with files.SnapshotReader(directory, made.name) as reader:
        read = []
        while piece := reader.read(1000):
            read.append(piece)
        assert {len(piece) for piece in read[:-1]} <= {1000}
        assert b"".join(read) == state
        assert reader.read(0) == b""


def test_a_descriptor_is_what_the_header_says(impl, files, form, directory):
    made = make(impl, files, form, directory, state_of(9000))
    assert form.decode(form.encode(made)) == made
    assert form.decode(form.encode(made) + b"behind") == made
    whole = (directory.path + b"/" + made.name.encode()).decode()
    with open(whole, "rb") as file:
        data = file.read()
    assert data.startswith(form.encode(made))
    assert len(data) == made.file_bytes
    for number in range(made.chunks):
        with files.SnapshotReader(directory, made.name) as reader:
            chunk = reader.chunk(number)
        at = made.place_of(number)
        assert data[at : at + len(chunk)] == chunk


def test_the_same_state_has_the_same_digest(impl, files, form, directory):
    """Whatever the pieces in which it came; another one in the header or the state has another."""
    first = make(impl, files, form, directory, state_of(9000))
    again = make(impl, files, form, directory, state_of(9000), pieces=(1, 2, 3))
    assert first.digest == again.digest
    assert make(impl, files, form, directory, state_of(9000), index=8).digest != first.digest
    assert make(impl, files, form, directory, state_of(9000, seed=2)).digest != first.digest


@pytest.mark.parametrize("size", [100, 2 * CHUNK + 40])
def test_every_flipped_bit_is_seen(impl, files, form, directory, size):
    """In the header's padding alone it changes nothing."""
    state = state_of(size)
    made = make(impl, files, form, directory, state)
    path = (directory.path + b"/" + made.name.encode()).decode()
    with open(path, "rb") as file:
        whole = file.read()
    used = len(form.encode(made))
    draw = random.Random(5)
    places = [*range(used), *draw.sample(range(used, made.head_bytes), 20)]
    places += [*range(made.head_bytes, made.head_bytes + 64), *draw.sample(range(made.head_bytes, len(whole)), 60)]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        with open(path, "wb") as file:
            file.write(damaged)
        if used <= place < made.head_bytes:
            with files.SnapshotReader(directory, made.name) as reader:
                assert reader.verify() == made
        else:
            with pytest.raises(impl.StorageError), files.SnapshotReader(directory, made.name) as reader:
                reader.verify()


def test_every_cut_is_seen(impl, files, form, directory):
    made = make(impl, files, form, directory, state_of(CHUNK + 40))
    path = (directory.path + b"/" + made.name.encode()).decode()
    with open(path, "rb") as file:
        whole = file.read()
    for length in [0, 1, 8, 100, made.head_bytes - 1, made.head_bytes, made.head_bytes + 8, len(whole) - 1]:
        with open(path, "wb") as file:
            file.write(whole[:length])
        with pytest.raises(impl.SnapshotDamaged):
            files.SnapshotReader(directory, made.name)
    with open(path, "wb") as file:
        file.write(whole + b"\0")
    with pytest.raises(impl.SnapshotDamaged, match="bytes, not"):
        files.SnapshotReader(directory, made.name)


def test_chunks_that_change_places_are_seen(impl, files, form, directory):
    made = make(impl, files, form, directory, state_of(2 * CHUNK))
    path = (directory.path + b"/" + made.name.encode()).decode()
    with open(path, "rb") as file:
        whole = file.read()
    first, second = (whole[made.place_of(n) : made.place_of(n) + CHUNK + form.CHUNK.size] for n in (0, 1))
    with open(path, "wb") as file:
        file.write(whole[: made.head_bytes] + second + first)
    with files.SnapshotReader(directory, made.name) as reader, pytest.raises(impl.SnapshotDamaged, match="chunk 0"):
        reader.read(1)


def test_nothing_of_a_damaged_chunk_is_given_away(impl, files, form, directory):
    state = state_of(3 * CHUNK)
    made = make(impl, files, form, directory, state)
    path = (directory.path + b"/" + made.name.encode()).decode()
    with open(path, "r+b") as file:
        file.seek(made.place_of(1) + 500)
        file.write(b"\xff\x00\xff")
    read = b""
    with files.SnapshotReader(directory, made.name) as reader, pytest.raises(impl.SnapshotDamaged, match="chunk 1"):
        while piece := reader.read(100):
            read += piece
    assert read == state[: len(read)]
    assert len(read) <= CHUNK


def test_a_header_of_another_version_is_refused(impl, files, form, directory, monkeypatch):
    monkeypatch.setattr(form, "VERSION", 1)
    made = make(impl, files, form, directory, b"state")
    monkeypatch.undo()
    with pytest.raises(impl.StorageError, match="format version 1; this raftx reads version 4"):
        files.SnapshotReader(directory, made.name)


def test_a_file_under_another_name_is_refused(impl, files, form, directory):
    made = make(impl, files, form, directory, b"state")
    other = dataclasses.replace(made, index=99).name
    directory.rename(made.name, other)
    with pytest.raises(impl.SnapshotDamaged, match="holds another snapshot"):
        files.SnapshotReader(directory, other)


@pytest.mark.parametrize(
    ("field", "value"),
    [("index", 0), ("term", 2**63), ("version", -1), ("version", 2**63), ("chunk_bytes", 4095), ("cluster", b"x"),
     ("addresses", {1: "x" * 1025}), ("addresses", {0: "x"})],
)  # fmt: skip
def test_what_no_file_can_hold_is_refused(impl, files, form, directory, field, value):
    with pytest.raises(impl.UsageError, match=field if field != "addresses" else "an address"):
        files.SnapshotWriter(directory, dataclasses.replace(described(impl, form), **{field: value}))
    assert directory.names() == []


def test_a_large_group_with_long_addresses(impl, files, form, directory):
    members = tuple(range(1, 65))
    long = dataclasses.replace(
        described(impl, form),
        conf_state=impl.ConfState(voters=members),
        addresses={id: f"tcp://{id}." + "x" * 1000 for id in members},
    )
    writer = files.SnapshotWriter(directory, long)
    writer.write(b"state")
    made = writer.finish()
    assert made.head_bytes > 64_000
    with files.SnapshotReader(directory, made.name) as reader:
        assert (reader.descriptor, reader.read()) == (made, b"state")


def test_it_is_written_out_on_the_way(impl, files, form, monkeypatch):
    """All but less than a step of it, also where a chunk is larger than a step."""
    monkeypatch.setattr(files, "STEP", CHUNK // 4)
    disk = module(impl, "testing.disk").SimDisk(random.Random(1))
    path = Path("/snapshots")
    disk.make_directory(path, 0o700)
    directory = disk.open_directory(path)
    writer = files.SnapshotWriter(directory, described(impl, form))
    for count in range(1, 6):
        writer.write(state_of(CHUNK))
        assert disk.counts["sync"] >= 4 * count
    writer.discard()
    directory.close()


def test_a_writer_is_used_once(impl, files, form, directory):
    writer = files.SnapshotWriter(directory, described(impl, form))
    writer.finish()
    for call in (writer.finish, lambda: writer.write(b"x")):
        with pytest.raises(impl.UsageError, match="is finished"):
            call()
    writer.discard()
    assert len(directory.names()) == 1


def test_what_is_discarded_leaves_nothing(impl, files, form, directory):
    writer = files.SnapshotWriter(directory, described(impl, form))
    writer.write(state_of(9000))
    assert directory.names() == [writer.descriptor.name + ".new"]
    writer.discard()
    writer.discard()
    assert directory.names() == []


def test_left_overs_go_and_the_newest_two_stay(impl, files, form, directory):
    folder = files.SnapshotFolder(directory)
    assert folder.whole() == ([], [])
    made = [make(impl, files, form, directory, b"%d" % n, index=n, term=term) for n, term in ((9, 1), (3, 2))]
    begun = files.SnapshotWriter(directory, described(impl, form, index=20))
    begun.write(b"x")
    for name in ("wal.mark", "snapshot.raftx", "snapshot-1-2.raftx"):  # not one of them
        directory.open_file(name, create=True).close()
    part = form.PART
    directory.open_file(made[0].name + part, create=True).close()
    assert folder.parts() == [made[0].name + part]
    keep = [each.name for each in made]
    assert folder.clean([*keep, made[0].name + part]) == [begun.descriptor.name + ".new"]
    assert folder.clean(keep) == [made[0].name + part]
    assert folder.names() == [made[1].name, made[0].name]  # by term first
    made.append(make(impl, files, form, directory, b"8", index=8, term=2))
    assert folder.whole() == ([made[2], made[1], made[0]], [])
    assert folder.clean(folder.names()[:2]) == [made[0].name]
    assert folder.clean(folder.names()[:2]) == []
    assert folder.names() == [made[2].name, made[1].name]


def test_the_one_before_serves_when_the_newest_is_damaged(impl, files, form, directory):
    old = make(impl, files, form, directory, state_of(9000), index=5)
    new = make(impl, files, form, directory, state_of(9000, seed=2), index=6)
    with open((directory.path + b"/" + new.name.encode()).decode(), "r+b") as file:
        file.seek(new.place_of(2) + 100)
        file.write(b"damage")
    found, damaged = files.SnapshotFolder(directory).whole()
    assert found == [old]
    assert [name for name, _ in damaged] == [new.name]
    assert new.name in damaged[0][1] and "chunk 2" in damaged[0][1]
    files.SnapshotFolder(directory).set_aside(new.name)
    assert directory.names() == [old.name, new.name + ".damaged"]
    make(impl, files, form, directory, b"next", index=7)
    folder = files.SnapshotFolder(directory)
    assert folder.clean(folder.names()) == []


def test_compressed(impl, files, form, directory):
    pytest.importorskip("zstandard")
    state = b"the same again and again " * 4000
    made = make(impl, files, form, directory, state, level=3)
    assert made.compressed and made.size == len(state) and made.stored < len(state) // 20
    with files.SnapshotReader(directory, made.name) as reader:
        assert b"".join(reader) == state
    empty = make(impl, files, form, directory, b"", index=8, level=3)
    with files.SnapshotReader(directory, empty.name) as reader:
        assert reader.read() == b""


class Zstandard:
    """Stands for the package, where that is not installed: with the same calls, and zlib's bytes."""

    ZstdError = zlib.error

    def __init__(self, level=3):
        self.level = level

    ZstdCompressor = ZstdDecompressor = classmethod(lambda cls, level=3: cls(level))

    def compressobj(self):
        return zlib.compressobj(self.level)

    def decompressobj(self):
        return zlib.decompressobj()


def test_what_is_compressed_cannot_be_read_without_the_package(impl, files, form, directory, tmp_path, monkeypatch):
    """That is no damage, and a member that lacks it fetches none: it goes on as it is, and says so."""
    monkeypatch.setitem(sys.modules, "zstandard", Zstandard)
    made = make(impl, files, form, directory, b"the same again and again " * 4000, level=3)
    plain = make(impl, files, form, directory, b"as it is", index=made.index + 1)
    check = module(impl, "node.keeper").check_restore
    machine = type("Machine", (), {"restore": lambda self, reader: None, "version": made.version})()
    check(machine, made)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with files.SnapshotReader(directory, made.name) as reader:
        with pytest.raises(
            impl.StorageError, match=rf"{made.name} cannot be read: .*pip install raftx\[zstd\]"
        ) as error:
            reader.read()
        assert not isinstance(error.value, impl.SnapshotDamaged) and reader.chunk(0)
    with pytest.raises(impl.StorageError, match=f"the snapshot of entry {made.index} cannot be read"):
        check(machine, made)
    machine.applied_index = made.index + 5  # what the node itself keeps in it is needed all the same
    with pytest.raises(impl.StorageError, match="cannot be read"):
        check(machine, made)
    check(machine, plain)
    with pytest.raises(impl.StorageError, match="cannot be read"):
        impl.FileStorage.restore(tmp_path / "new", tmp_path / made.name, id=1, members=[1], cluster="new")
    monkeypatch.setitem(sys.modules, "zstandard", Zstandard)
    with files.SnapshotReader(directory, made.name) as reader:
        assert len(reader.read()) == 25 * 4000


# --- the disk and the power ------------------------------------------------------------------------


class Story:
    """Three snapshots on a simulated disk, one after the other, each pruning those before."""

    def __init__(self, impl, files, form, seed):
        self.impl, self.files, self.form = impl, files, form
        self.disk = module(impl, "testing.disk").SimDisk(random.Random(seed))
        self.disk.make_directory(self.path, 0o700)
        self.disk.sync_directory(self.path.parent)
        self.finished = []

    path = Path("/snapshots")

    def run(self):
        directory = self.disk.open_directory(self.path)
        folder = self.files.SnapshotFolder(directory)
        folder.clean(folder.names()[:2])
        begin = len(self.finished)
        for index in range(begin + 1, 4):
            self.finished.append(
                make(self.impl, self.files, self.form, directory, state_of(5000, seed=index), index=index)
            )
            folder.clean(folder.names()[:2])
        directory.close()

    def go_on(self):
        """In another life: from what is there on, to the end."""
        directory = self.disk.open_directory(self.path)
        found, _ = self.files.SnapshotFolder(directory).whole()
        directory.close()
        if found and found[0].index > len(self.finished):
            self.finished.append(found[0])
        self.run()
        directory = self.disk.open_directory(self.path)
        assert len(directory.names()) == 2
        directory.close()

    def check(self):
        """What was finished is there, whole; nothing else has such a name."""
        directory = self.disk.open_directory(self.path)
        folder = self.files.SnapshotFolder(directory)
        found, damaged = folder.whole()
        assert damaged == []
        # A cut between the rename and the end of finish() may leave the next one, whole.
        newest = found[0].index if found else 0
        assert newest in (len(self.finished), len(self.finished) + 1)
        for name in folder.names():
            with self.files.SnapshotReader(directory, name) as reader:
                assert reader.read() == state_of(5000, seed=reader.index)
        directory.close()


def test_the_power_fails_at_every_operation(impl, files, form):
    whole = Story(impl, files, form, 0)
    whole.run()
    whole.check()
    cuts = 0
    for seed in range(2):
        for operations in range(1, 200):
            story = Story(impl, files, form, seed)
            story.disk.cut_after(operations)
            try:
                story.run()
            except (impl.StorageError, OSError):
                cuts += 1
            else:
                break
            story.disk.crash()
            story.check()
            story.go_on()
            story.check()
        else:
            pytest.fail("it goes on for ever")
    assert cuts > 40


@pytest.mark.parametrize("operation", ["write", "sync", "names", "sync names"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
def test_a_disk_that_fails(impl, files, form, operation, code):
    """The snapshot of before stays the newest, and what was begun can be discarded."""
    story = Story(impl, files, form, 1)
    directory = story.disk.open_directory(story.path)
    old = make(impl, files, form, directory, state_of(9000), index=1)
    writer = files.SnapshotWriter(directory, described(impl, form, index=2))
    story.disk.fail(operation, code)
    with pytest.raises(impl.StorageFailed, match="snapshot-"):
        writer.write(state_of(9000))
        writer.finish()
    story.disk.repair()
    writer.discard()
    found, damaged = files.SnapshotFolder(directory).whole()
    assert damaged == []
    assert found == [old] or found[0].index == 2  # named already, when the last sync failed
    directory.close()


def test_after_a_write_that_failed_nothing_is_made_of_the_rest(impl, files, form, directory, monkeypatch):
    """Whoever swallows the error, and goes on, does not get a file whose parts do not fit."""
    writer = files.SnapshotWriter(directory, described(impl, form))
    writer.write(bytes(form.CHUNK_BYTES))
    put = writer._file.py_write
    monkeypatch.setattr(files.SnapshotWriter, "_write", lambda *_: (_ for _ in ()).throw(impl.StorageFailed("full")))
    with pytest.raises(impl.StorageFailed, match="full"):
        writer.write(bytes(form.CHUNK_BYTES))
    monkeypatch.undo()
    assert put is not None
    for attempt in (lambda: writer.write(b"more"), writer.finish):
        with pytest.raises(impl.StorageFailed, match="earlier write"):
            attempt()
    writer.discard()
    assert directory.names() == []
    directory.close()


def test_threads_that_write_at_once_wait_for_each_other(impl, files, form, directory):
    """In which order is theirs to say: the file is whole."""
    writer = files.SnapshotWriter(directory, described(impl, form))
    threads = [
        threading.Thread(target=lambda part=part: [writer.write(bytes([part]) * 50_000) for _ in range(40)])
        for part in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = writer.finish()
    with files.SnapshotReader(directory, made.name) as reader:
        state = reader.read()
    assert len(state) == 4 * 40 * 50_000
    assert all(state.count(part) == 40 * 50_000 for part in range(4))
    directory.close()
