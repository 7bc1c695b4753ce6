"""A member is founded once, by ``FileStorage.create``: what that takes, what it leaves, and what opens without it."""

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.helpers.implementations import IMPLEMENTATIONS, module
from tests.helpers.paths import ROOT
from tests.helpers.power import Platter, PowerCut
from tests.helpers.wal import CLUSTER, SMALL, contents, create, files_of, put_mark, records, segment

URLS = {1: "tcp://a:1", 2: "tcp://b:2", 3: "tcp://c:3"}
NAMES = ["founding", "lives", "wal.mark"]


def founding_of(impl, path):
    return module(impl, "storage.founding").decode((path / "founding").read_bytes())


def write_one(impl, storage):
    """Open it and write one entry."""
    storage.open(1, CLUSTER)
    storage.append(impl.HardState(1, 2, 0), [records(impl, 1, [(1, b"kept")])])
    storage.sync()
    storage.close()


def has_it(impl, path, **settings):
    """Whether the entry is there."""
    storage = impl.FileStorage(path, **settings)
    try:
        return contents(impl, storage.open(1, CLUSTER)) == [(1, 1, b"kept")]
    finally:
        storage.close()


# --- what was not founded --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["missing", "empty", "unmounted", "deleted", "a founding that did not end"])
def test_what_was_not_founded_does_not_open(impl, tmp_path, how):
    """An empty directory was taken for a new member once: without its disk a member forgot what it had promised."""
    path = tmp_path / "n"
    if how != "missing":
        write_one(impl, create(impl, path))
        path.rename(tmp_path / "away")
    if how in ("empty", "unmounted", "a founding that did not end"):
        path.mkdir()
    if how == "a founding that did not end":
        (path / "founding.new").write_bytes((tmp_path / "away" / "founding").read_bytes()[:30])
        (path / "wal.mark.new").write_bytes(b"x")
        shutil.copy(tmp_path / "away" / "founding", path)
        put_mark(impl, path, *[module(impl, "storage.wal_format").Mark(0, 0, 0, 0)] * 2)
        (path / "founding").unlink()
    before = files_of(path) if path.exists() else None
    storage = impl.FileStorage(path)
    said = rf"{path} .*whether its disk is mounted.*found it once with FileStorage\.create"
    with pytest.raises(impl.NotFounded, match=said):
        storage.open(1, CLUSTER)
    # Nothing was made in its place, either.
    assert (files_of(path) if path.exists() else None) == before
    if how == "unmounted":
        path.rmdir()
        (tmp_path / "away").rename(path)
        assert has_it(impl, path)
    else:
        write_one(impl, create(impl, path))
        assert has_it(impl, path)


def test_a_node_whose_storage_was_not_founded_releases_its_transport(impl, tmp_path):
    """Nobody else can be using it; so it can be given to the node that is started once the disk is there."""

    class Transport:
        max_frame_bytes = 1 << 30
        closed = False

        def start(self, id, deliver):
            raise AssertionError("started")

        def send(self, to, frame):
            return True

        def close(self):
            self.closed = True

    transport = Transport()
    node = impl.Node(impl.Config(id=1, cluster=CLUSTER), impl.FileStorage(tmp_path / "n"), transport)
    with pytest.raises(impl.NotFounded):
        node.start()
    assert transport.closed and isinstance(node.failure, impl.NotFounded)
    node.close()


# --- founded once ------------------------------------------------------------------------------------


def test_a_member_is_founded_once(impl, tmp_path):
    """Whatever is said the second time: nothing is changed, and the error says how to open it."""
    path = tmp_path / "n"
    storage = create(impl, path)
    assert sorted(files_of(path)) == NAMES
    for used in (False, True):
        if used:
            write_one(impl, storage)
        before = files_of(path)
        for changed in ({}, {"id": 2}, {"members": [1]}, {"cluster": bytes(16)}, {"accept_loss": True}):
            with pytest.raises(impl.AlreadyFounded, match=r"open it with FileStorage\(path\)"):
                create(impl, path, **changed)
            assert files_of(path) == before
    assert has_it(impl, path)
    storage.open(1, CLUSTER)
    with pytest.raises(impl.WrongDirectory, match="in use"):
        create(impl, path)
    storage.close()


@pytest.mark.parametrize("left", ["segment", "spare", "snapshot", "received", "mark"])
def test_what_a_member_has_left_is_not_founded_again(impl, tmp_path, left):
    """Its file ``founding`` is lost. That is damage, and no new directory."""
    path = tmp_path / "n"
    write_one(impl, create(impl, path))
    assert files_of(path).keys() == {*NAMES, segment(path).name}
    name = {
        "segment": segment(path).name,
        "spare": "wal.spare",
        "snapshot": f"snapshot-{1:016x}-{1:016x}.raftx",
        "received": f"snapshot-{1:016x}-{1:016x}.raftx.part",
        "mark": "wal.mark",
    }[left]
    if left not in ("segment", "mark"):
        (path / name).write_bytes(b"x")
    (path / "founding").unlink()
    if left != "segment":
        segment(path).unlink()
    if left != "mark":
        (path / "wal.mark").unlink()
    before = files_of(path)
    said = rf"holds {name} of a member, and not the file founding.*put back the files of this directory"
    with pytest.raises(impl.AlreadyFounded, match=said):
        create(impl, path)
    with pytest.raises(impl.WalDamaged, match=said):
        impl.FileStorage(path).open(1, CLUSTER)
    assert files_of(path) == before


@pytest.mark.parametrize("version", [1, 2, 3, 5])
@pytest.mark.parametrize("where", ["segment", "mark"])
def test_a_directory_of_another_format_is_named_as_such(impl, tmp_path, version, where):
    """Up to version 3 there was no file ``founding``."""
    format = module(impl, "storage.wal_format")
    path = tmp_path / "n"
    write_one(impl, create(impl, path))
    (path / "founding").unlink()
    if where == "segment":
        data = bytearray(segment(path).read_bytes())
        data[format.HEAD_VERSION_AT] = version
        data[format.HEAD_VERSION_AGAIN_AT] = version if version > format.VERSION_ALONE else 0
        crc = zlib.crc32(data[format.HEAD_USED_AT : format.BLOCK])
        data[format.HEAD_CRC_AT : format.HEAD_USED_AT] = crc.to_bytes(4, "little")
        segment(path).write_bytes(data)
    else:
        segment(path).unlink()
        data = bytearray((path / "wal.mark").read_bytes())
        for slot in range(2):
            data[slot * format.BLOCK + format.MARK_VERSION_AT] = version
        (path / "wal.mark").write_bytes(data)
    before = files_of(path)
    for attempt in (lambda: impl.FileStorage(path).open(1, CLUSTER), lambda: create(impl, path)):
        with pytest.raises(impl.StorageError, match=f"{path}: .*format version {version}; this raftx reads") as refused:
            attempt()
        assert type(refused.value) is impl.StorageError
    assert files_of(path) == before


# --- the file ----------------------------------------------------------------------------------------


def test_what_the_file_says(impl, tmp_path):
    """Every field, as docs/wal-format.md has it."""
    path = tmp_path / "n"
    create(impl, path, id=2, members=URLS, learners={5: "tcp://e:5"}, segment_bytes=SMALL + 5000)
    data = (path / "founding").read_bytes()
    assert (path / "founding").stat().st_mode & 0o777 == 0o600
    ends = (8, 12, 16, 20, 24), (56, 64, 72, 76, 80, 88, 96, 104)
    number = [int.from_bytes(data[a:b], "little") for each in ends for a, b in itertools.pairwise(each)]
    assert data[:8] == b"RAFTXFND"
    origin = zlib.crc32(bytes(32) + impl.ConfState(voters=(1, 2, 3), learners=(5,)).encode())
    assert number == [3, zlib.crc32(data[16:]), len(data), 3, 2, SMALL + 4096, 0, origin, 0, 0, 0]
    assert data[24:40] == CLUSTER
    conf_state = impl.ConfState(voters=(1, 2, 3), learners=(5,))
    encoded = conf_state.encode()
    assert data[104 : 104 + len(encoded)] == encoded
    found = founding_of(impl, path)
    assert found.store == data[40:56] != bytes(16)
    assert (found.id, found.conf_state, found.addresses) == (2, conf_state, {**URLS, 5: "tcp://e:5"})
    # Another directory of the same member is another one.
    create(impl, tmp_path / "other", id=2, members=URLS)
    assert founding_of(impl, tmp_path / "other").store != found.store


def test_every_byte_of_the_file_counts(impl, tmp_path):
    """Whichever is damaged, or missing at the end: it does not open, and it is not founded again."""
    path = tmp_path / "n"
    write_one(impl, create(impl, path, members=URLS))
    whole = (path / "founding").read_bytes()
    damaged = [whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :] for at in range(len(whole))]
    damaged += [whole[:length] for length in range(0, len(whole), 5)] + [whole + b"\0", whole + whole]
    for data in damaged:
        (path / "founding").write_bytes(data)
        with pytest.raises(impl.WalDamaged, match=r"the file founding is damaged.*put back the files") as refused:
            impl.FileStorage(path).open(1, CLUSTER)
        assert str(path) in str(refused.value)
        with pytest.raises(impl.AlreadyFounded):
            create(impl, path)
    assert (path / "founding").read_bytes() == damaged[-1]
    (path / "founding").write_bytes(whole)
    assert has_it(impl, path)


@pytest.mark.parametrize("version", [0, 1, 2, 255])
def test_another_version_of_the_file(impl, tmp_path, version):
    """It says so in two places, and its checksum is right: no damage."""
    path = tmp_path / "n"
    create(impl, path)
    data = bytearray((path / "founding").read_bytes())
    data[8] = data[20] = version
    data[12:16] = zlib.crc32(data[16:]).to_bytes(4, "little")
    (path / "founding").write_bytes(data)
    with pytest.raises(impl.StorageError, match=f"{path}: .*version {version}; this raftx reads version 3") as refused:
        impl.FileStorage(path).open(1, CLUSTER)
    assert type(refused.value) is impl.StorageError


def test_membership_and_addresses_that_cannot_be(impl, tmp_path):
    """Bytes behind a right checksum are still looked at."""
    founding = module(impl, "storage.founding")
    path = tmp_path / "n"
    create(impl, path, members=URLS)
    whole = (path / "founding").read_bytes()
    for cut in range(104, len(whole)):
        data = bytearray(whole[:cut])
        data[16:20] = len(data).to_bytes(4, "little")
        data[12:16] = zlib.crc32(data[16:]).to_bytes(4, "little")
        with pytest.raises(impl.WalDamaged, match="the file founding is damaged"):
            founding.decode(bytes(data))


# --- whose it is ---------------------------------------------------------------------------------------


def test_files_of_another_directory_of_the_same_member_are_refused(impl, tmp_path):
    """Of the same id and cluster, but founded elsewhere: a copied file would bring back what was void."""
    for name in ("n", "other"):
        write_one(impl, create(impl, tmp_path / name))
    for name in (segment(tmp_path).name, "wal.mark", "lives"):
        shutil.copytree(tmp_path / "n", tmp_path / "mixed")
        shutil.copy(tmp_path / "other" / name, tmp_path / "mixed")
        before = files_of(tmp_path / "mixed")
        with pytest.raises(impl.WrongDirectory, match=rf"{name} is not of this directory"):
            impl.FileStorage(tmp_path / "mixed").open(1, CLUSTER)
        assert files_of(tmp_path / "mixed") == before
        shutil.rmtree(tmp_path / "mixed")
    # The other way: all of it but that file.
    shutil.copytree(tmp_path / "n", tmp_path / "mixed")
    shutil.copy(tmp_path / "other" / "founding", tmp_path / "mixed")
    with pytest.raises(impl.WrongDirectory, match="is not of this directory"):
        impl.FileStorage(tmp_path / "mixed").open(1, CLUSTER)


def test_another_member_or_cluster_is_refused(impl, tmp_path):
    create(impl, tmp_path / "n")
    storage = impl.FileStorage(tmp_path / "n")
    with pytest.raises(impl.WrongDirectory, match="belongs to node 1, not 2") as refused:
        storage.open(2, CLUSTER)
    assert not isinstance(refused.value, impl.NotFounded)
    with pytest.raises(impl.WrongDirectory, match="belongs to another cluster"):
        storage.open(1, bytes(16))
    with pytest.raises(impl.WrongDirectory, match=r"not to 'flags': give Config.cluster='wal-test-cluster'"):
        storage.open(1, b"flags".ljust(16, b"\0"))
    other = impl.FileStorage.create(tmp_path / "other", id=1, members=[1], cluster=bytes(range(240, 256)))
    with pytest.raises(impl.WrongDirectory, match=r"give Config.cluster=bytes.fromhex.'f0f1f2"):
        other.open(1, CLUSTER)
    assert sorted(files_of(tmp_path / "n")) == NAMES


# --- arguments -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"id": 0}, r"id must be an integer in 1\.\.2\^63-1"),
        ({"id": "1"}, "id must be an integer"),
        ({"id": 4}, "id must be one of the members and learners, not 4"),
        ({"cluster": b""}, "cluster must be text"),
        ({"cluster": "x\0"}, "cluster must be text"),
        ({"members": []}, "members must name at least one"),
        ({"members": {}}, "members must name at least one"),
        ({"members": [], "learners": [1]}, "members must name at least one"),
        ({"members": "123"}, "members must be the ids"),
        ({"members": 3}, "members must be the ids"),
        ({"members": [1, 1]}, "members and learners must be different ids"),
        ({"members": [1, 0]}, "members must be ids"),
        ({"members": range(1, 66)}, "members and learners must be at most 64"),
        ({"learners": [3]}, "members and learners must be different ids, and 3"),
        ({"learners": [-1]}, "learners must be ids"),
        ({"members": {1: 5}}, "members: an address must be a str"),
        ({"members": {1: "x" * 70000}}, "members: an address must be a str of at most"),
        ({"learners": {4: None}}, "learners: an address must be a str"),
        ({"segment_bytes": 1000}, r"segment_bytes must be an integer in 65536\.\."),
        ({"segment_bytes": None}, r"segment_bytes must be an integer in 65536\.\."),
        ({"accept_loss": 1}, "accept_loss must be True or False"),
        ({"snapshot_level": 99}, "snapshot_level must be None or"),
    ],
)
def test_arguments_that_cannot_be(impl, tmp_path, changed, said):
    """They are refused before anything is made."""
    with pytest.raises(impl.ConfigError, match=f"^{said}"):
        create(impl, tmp_path / "n", **changed)
    assert not (tmp_path / "n").exists()


def test_a_path_that_cannot_be(impl, tmp_path):
    for path in ("", b"n", None):
        with pytest.raises(impl.ConfigError, match="path must be the path of a directory"):
            create(impl, path)
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "n"):
        with pytest.raises(impl.StorageError, match=rf"cannot found a member in {path}: "):
            create(impl, path)


@pytest.mark.parametrize("kind", ["ids", "iterator", "addresses"])
def test_members_are_ids_or_addresses(impl, tmp_path, kind):
    """The same membership; how members are reached is kept as far as it was said."""
    given = {"ids": ([3, 1, 2], [4]), "iterator": (iter([1, 2, 3]), {4}), "addresses": (URLS, {4: "tcp://d:4"})}[kind]
    storage = create(impl, tmp_path / "n", members=given[0], learners=given[1])
    founded = founding_of(impl, tmp_path / "n")
    assert founded.addresses == ({**URLS, 4: "tcp://d:4"} if kind == "addresses" else {})
    for opened in (storage, impl.FileStorage(tmp_path / "n")):
        assert opened.open(1, CLUSTER).conf_state == impl.ConfState(voters=(1, 2, 3), learners=(4,))
        opened.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"members": {1: "tcp://a:1", 2: "a:2"}}, r"members\[2\] must have a scheme, .*'a:2': begin it with tcp://"),
        ({"members": {1: "a:1", 2: "tls+tcp://a:2"}}, r"members\[1\] must have a scheme, .*begin it with tls\+tcp://"),
        (
            {"members": {1: "tcp://a:1"}, "learners": {2: "a:2"}},
            r"learners\[2\] must have a scheme, as members\[1\] has",
        ),
        ({"members": {1: "mem:1", 2: "mem:1"}}, r"members\[2\] must be an address of its own, .*which is members\[1\]"),
        ({"members": {1: "tcp://a:1"}, "learners": {2: "tcp://a:1"}}, r"learners\[2\] must be an address of its own"),
        ({"join": ["tcp://a:1", "a:2"]}, r"join\[1\] must have a scheme, as join\[0\] has"),
        ({"join": ["tcp://a:1", "tcp://a:1"]}, r"join\[1\] must be an address of its own"),
    ],
)
def test_addresses_that_cannot_be_of_members_of_one_cluster(impl, tmp_path, given, said):
    """Told when the member is founded: later, the directory would have to be founded again."""
    with pytest.raises(impl.ConfigError, match=said):
        impl.FileStorage.create(tmp_path / "n", id=1, **given)
    assert not (tmp_path / "n").exists()


@pytest.mark.parametrize(
    "given",
    [
        {"members": {1: "memory:1", 2: "memory:2"}, "learners": {3: "mem:3"}},
        {"members": {1: "10.0.0.1:5601", 2: "10.0.0.2:5601"}},
        {"members": {1: "some place", 2: "another one"}},
        {"members": {1: "", 2: ""}},
        {"members": {1: "tcp://a:1", 2: "ipc://b"}, "learners": [3]},
        {"join": ["mem:1", "mem:2"]},
    ],
)
def test_addresses_have_the_form_that_the_transport_knows(impl, tmp_path, given):
    """It may be one of the user's own."""
    impl.FileStorage.create(tmp_path / "n", id=1, **given)


def test_a_learner_is_founded_like_any_member(impl, tmp_path):
    storage = create(impl, tmp_path / "n", id=4, learners=[4])
    assert storage.open(4, CLUSTER).conf_state.learners == (4,)
    storage.close()


def test_the_length_of_segments_is_kept_and_can_be_another_one(impl, tmp_path):
    """For the segments that are made from then on."""
    path = tmp_path / "n"
    write_one(impl, create(impl, path, segment_bytes=2 * SMALL))
    assert segment(path).stat().st_size == 2 * SMALL
    storage = impl.FileStorage(path)
    storage.open(1, CLUSTER)
    storage.append(impl.HardState(1, 2, 0), [records(impl, 2, [(1, bytes(35000))] * 3)])
    storage.sync()
    storage.close()
    assert segment(path, 2).stat().st_size == 2 * SMALL
    storage = impl.FileStorage(path, segment_bytes=4 * SMALL)
    storage.open(1, CLUSTER)
    storage.append(impl.HardState(1, 2, 0), [records(impl, 5, [(1, bytes(40000))] * 3)])
    storage.sync()
    storage.close()
    assert segment(path, 3).stat().st_size == 4 * SMALL
    assert founding_of(impl, path).segment_bytes == 2 * SMALL


# --- a founding that does not end ------------------------------------------------------------------------


def found_on(impl, disk, members=(1, 2, 3)):
    return create(impl, "/a/b/node", members=members, disk=disk)


def state_on(impl, disk):
    """Whether the directory was founded, as an opening and the disk itself say."""
    storage = impl.FileStorage("/a/b/node", disk=disk)
    try:
        storage.open(1, CLUSTER)
        opens = True
    except impl.NotFounded:
        opens = False
    finally:
        storage.close()
    assert opens == (disk.find(Path("/a/b/node/founding")) is not None)
    return opens


@pytest.mark.parametrize("ends", ["crash", "kill"])
def test_a_founding_is_cut_at_every_operation(impl, ends):
    """By the power or by the end of the process: the directory was founded or not, and what says so is right.

    When it was not, it can be founded as anything else. When it was, nothing can be lost any more.
    """
    SimDisk = module(impl, "testing.disk").SimDisk
    founded = {True: 0, False: 0}
    for seed in range(3):
        for cut in range(1, 80):
            disk = SimDisk(random.Random(f"{seed} {cut}"))
            disk.cut_after(cut)
            # With many members the file is longer than the one that may take its place.
            many = {id: f"{id:0100}" for id in range(1, 40)}
            try:
                found_on(impl, disk, many)
                done = True
            except impl.StorageError:
                done = False
            assert done != disk.off
            getattr(disk, ends)()
            disk.off = False
            disk.repair()
            assert state_on(impl, disk) or not done
            if not done:
                # The power fails again, at another place.
                disk.cut_after(1 + (cut * 7 + seed) % 40)
                try:
                    found_on(impl, disk)
                    again = True
                except impl.AlreadyFounded:
                    again = False
                except impl.StorageError:
                    again = None
                disk.crash()
                was_founded = state_on(impl, disk)
                assert was_founded or again is None
                founded[was_founded] += 1
                if not was_founded:
                    found_on(impl, disk)
            storage = impl.FileStorage("/a/b/node", disk=disk)
            write_one(impl, storage)
            disk.crash()
            assert has_it(impl, "/a/b/node", disk=disk)
            assert disk.error is None
            if done:
                break
        assert done
    assert min(founded.values()) > 5


@pytest.mark.once
def test_a_founding_is_cut_at_every_operation_on_files(memory_path, monkeypatch):
    """The same with the operating system's files, of which each sector and each name survives by itself."""
    impl = IMPLEMENTATIONS["pure"]
    founded = {True: 0, False: 0}
    for operations in range(16):
        for chance in (0.0, 0.5, 1.0):
            draw = random.Random(f"{operations} {chance}")
            before, after = memory_path / f"{operations}-{chance}", memory_path / f"{operations}-{chance}-after"
            before.mkdir()
            done = False
            with monkeypatch.context() as patch:
                platter = Platter(patch, impl, [before], operations)
                try:
                    create(impl, before, members=URLS)
                    done = True
                except PowerCut:
                    pass
            platter.survive(before, after, draw, chance)
            storage = impl.FileStorage(after)
            try:
                storage.open(1, CLUSTER)
                storage.close()
                was_founded = True
            except impl.NotFounded:
                was_founded = False
            founded[was_founded] += 1
            assert was_founded or not done
            if was_founded:
                with pytest.raises(impl.AlreadyFounded):
                    create(impl, after)
            else:
                create(impl, after, members=[1, 2])
            write_one(impl, impl.FileStorage(after))
            assert has_it(impl, after)
    assert min(founded.values()) > 5 and done


def test_a_longer_file_of_an_earlier_founding_is_no_obstacle(impl, tmp_path):
    """Of what it has left nothing stays."""
    create(impl, tmp_path / "long", members={id: f"{id:01000}" for id in range(1, 65)})
    (tmp_path / "n").mkdir()
    shutil.copy(tmp_path / "long" / "founding", tmp_path / "n" / "founding.new")
    (tmp_path / "n" / "wal.mark.new").write_bytes(b"y" * 100)
    (tmp_path / "n" / "unknown").write_bytes(b"")
    storage = create(impl, tmp_path / "n")
    assert sorted(files_of(tmp_path / "n")) == sorted([*NAMES, "unknown"])
    write_one(impl, storage)
    assert has_it(impl, tmp_path / "n")


KILLED = """
import os, signal, sys
import raftx
from raftx.storage import founding
def stop(*arguments): os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "after the mark":
    founding.write = stop
else:
    founding.write_whole = stop
raftx.FileStorage.create(sys.argv[1], id=1, members=[1, 2, 3], cluster=sys.argv[3].encode())
"""


@pytest.mark.parametrize("when", ["after the mark", "in the file"])
def test_a_process_that_is_killed_while_it_founds(impl, tmp_path, when):
    """It leaves no lock and no member; the next process founds it."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "n"), when, CLUSTER.decode()],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, "RAFTX_PURE": "" if impl.COMPILED else "1"},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert sorted(files_of(tmp_path / "n")) == NAMES[1:]
    with pytest.raises(impl.NotFounded):
        impl.FileStorage(tmp_path / "n").open(1, CLUSTER)
    write_one(impl, create(impl, tmp_path / "n"))
    assert has_it(impl, tmp_path / "n")


@pytest.mark.parametrize("operation", ["write", "sync", "sync names", "names", "create", "open"])
def test_a_disk_that_fails_while_a_member_is_founded(impl, operation):
    """One failure at each place: an error, and then it is founded all the same."""
    SimDisk = module(impl, "testing.disk").SimDisk
    failed = 0
    for after in range(16):
        disk = SimDisk(random.Random(after))
        disk.fail(operation, 5, after=after, times=1)
        try:
            found_on(impl, disk)
            break
        except impl.StorageError as error:
            refused = str(error)
        assert "[Errno 5]" in refused
        failed += 1
        try:
            found_on(impl, disk)
        except impl.AlreadyFounded:
            # The last sync of names failed.
            assert operation == "sync names"
        write_one(impl, impl.FileStorage("/a/b/node", disk=disk))
        disk.crash()
        assert has_it(impl, "/a/b/node", disk=disk)
    else:
        raise AssertionError("it never ended")
    assert failed or operation == "create"


def test_no_member_is_founded_within_the_directory_of_another_one(impl, tmp_path):
    """To rebuild or recover that one would take this one away, also while it runs."""
    outer = tmp_path / "outer"
    write_one(impl, create(impl, outer))
    storage = impl.FileStorage(outer)
    storage.open(1, CLUSTER)
    writer = storage.begin_snapshot(
        module(impl, "storage.snapshot_format").Descriptor(1, 1, impl.ConfState(voters=(1, 2, 3)), {}, CLUSTER, 1, 0)
    )
    writer.write(b"state")
    snapshot = outer / writer.finish().name
    storage.close()
    before = sorted(path.name for path in outer.iterdir())
    (tmp_path / "link").symlink_to(outer)
    for inner in (outer / "1", outer / "a" / "b", tmp_path / "link" / "1"):
        for found in (
            lambda inner=inner: impl.FileStorage.create(inner, id=1, members=[1, 2, 3]),
            lambda inner=inner: impl.FileStorage.create(inner, id=4, join=["tcp://a:1"]),
            lambda inner=inner: impl.FileStorage.restore(inner, snapshot, id=1, members=[1]),
        ):
            with pytest.raises(impl.ConfigError, match="path must not be within the directory of a member"):
                found()
    assert sorted(path.name for path in outer.iterdir()) == before
    # A file of that name makes no member's directory.
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "founding").write_text("of the club")
    impl.FileStorage.create(tmp_path / "other" / "1", id=1, members=[1, 2, 3])
