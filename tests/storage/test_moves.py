"""Directories that are moved by hand: restored from a backup, rebuilt, recovered. On disks that lose power meanwhile.

What nodes make of such directories is tested in test_moved_members.py.
"""

import os
import random

import pytest

from tests.helpers.directories import (
    URLS,
    asides,
    contents_behind,
    damage,
    descriptor,
    member,
    picture,
    recover,
    save,
    state,
)
from tests.helpers.implementations import module
from tests.helpers.wal import CLUSTER, SMALL, contents, records, segment

NEW = bytes(range(16))
PATH = "/data/n"
UNREAD = 1024  # lives that may be in what cannot be read any more


def backup(impl, path, index=7, term=2, **settings):
    """A backup's file, anywhere."""
    snapshot_copy = module(impl, "storage.snapshot_copy")
    writer = snapshot_copy.BackupWriter(path, descriptor(impl, index, term, **settings), False)
    writer.write(state(index))
    return writer.finish()


def restored(impl, path, file, **changed):
    settings = {"id": 1, "members": URLS, "cluster": NEW, "segment_bytes": SMALL, **changed}
    return impl.FileStorage.restore(path, file, **settings)


def holds(impl, storage, index=7, term=2, cluster=NEW):
    """Open it, compare with the backup, append an entry, and read all of it again."""
    for round in range(3):
        loaded = storage.open(1, cluster)
        try:
            assert (loaded.base_index, loaded.base_term) == (index, term)
            assert loaded.snapshot.index == index and loaded.snapshot.conf_state == impl.ConfState(voters=(1, 2, 3))
            assert loaded.conf_state == loaded.current_conf_state == impl.ConfState(voters=(1, 2, 3))
            assert (loaded.hard_state.term, loaded.hard_state.commit) == (term, index) if not round else True
            assert not loaded.hard_state.in_doubt and loaded.incarnation == round + 1
            with storage.open_snapshot() as reader:
                assert reader.read() == state(index)
            found = contents_behind(impl, loaded)
            assert found == [(index + 1 + n, term + 1, b"more %d" % n) for n in range(round)]
            number = index + 1 + round
            storage.append(impl.HardState(term + 1, 2, index), [records_at(impl, number, term + 1, b"more %d" % round)])
            storage.sync()
        finally:
            storage.close()


def records_at(impl, index, term, data):
    return impl.Entry(index, term, data).encode()


# --- restore -----------------------------------------------------------------------------------------------


def test_a_restored_directory_begins_with_the_backup(impl, tmp_path):
    backup(impl, tmp_path / "backup")
    storage = restored(impl, tmp_path / "n", tmp_path / "backup")
    assert storage.cluster == NEW
    before = (tmp_path / "n" / "founding").read_bytes()
    holds(impl, storage)
    assert (tmp_path / "n" / "founding").read_bytes() == before
    founding = module(impl, "storage.founding").decode(before)
    assert (founding.base, founding.base_term, founding.restored, founding.rebuilt) == (7, 2, True, False)
    assert founding.addresses == URLS and founding.cluster == NEW
    # Another member of it has the same snapshot, byte by byte: one may go on with what the other has sent.
    restored(impl, tmp_path / "m", tmp_path / "backup", id=2)
    name = f"snapshot-{2:016x}-{7:016x}.raftx"
    assert (tmp_path / "n" / name).read_bytes() == (tmp_path / "m" / name).read_bytes()


def test_it_grows_over_segments_and_its_base_moves(impl, tmp_path):
    """The base that it was founded with is one as any other."""
    backup(impl, tmp_path / "backup")
    storage = restored(impl, tmp_path / "n", tmp_path / "backup")
    storage.open(1, NEW)
    for index in range(8, 60):
        storage.append(impl.HardState(3, 1, index - 1), [records_at(impl, index, 3, bytes(5000))])
        storage.sync()
        if index in (30, 50):
            writer = storage.begin_snapshot(descriptor(impl, index, 3, cluster=NEW))
            writer.write(state(index))
            writer.finish()
    storage.close()
    assert not segment(tmp_path / "n").exists()
    loaded = storage.open(1, NEW)
    assert loaded.base_index == 30 and [each[0] for each in contents_behind(impl, loaded)] == list(range(31, 60))
    storage.close()


def test_a_cluster_is_drawn(impl, tmp_path):
    backup(impl, tmp_path / "backup")
    clusters = set()
    for name in ("1", "2"):
        storage = restored(impl, tmp_path / name, tmp_path / "backup", cluster=None)
        clusters.add(storage.cluster)
        storage.open(1, storage.cluster)
        storage.close()
        with pytest.raises(impl.WrongDirectory, match="belongs to another cluster"):
            storage.open(1, CLUSTER)
    assert len(clusters) == 2 and all(len(cluster) == 16 for cluster in clusters)


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        ({"cluster": CLUSTER}, "ConfigError", "cluster must be another one than that of the snapshot"),
        ({"cluster": bytes(17)}, "ConfigError", r"cluster must be text without NUL, or 1\.\.16 bytes"),
        ({"id": 4}, "ConfigError", "id must be one of the members"),
        ({"members": []}, "ConfigError", "members must name at least one"),
        ({"segment_bytes": 5}, "ConfigError", "segment_bytes must be"),
        ({"file": ""}, "UsageError", "file must be the path"),
        ({"file": "missing"}, "StorageError", "cannot open .*missing: No such file"),
        ({"file": "."}, "StorageError", "is no file"),
        ({"file": "text"}, "SnapshotDamaged", "text: it does not begin with a snapshot's header"),
        ({"file": "damaged"}, "SnapshotDamaged", "damaged: chunk 0 is damaged"),
        ({"file": "short"}, "SnapshotDamaged", "short has 4,096 bytes|short has 4096 bytes"),
    ],
)
def test_what_cannot_be_restored(impl, tmp_path, monkeypatch, changed, kind, said):
    """It is refused before anything is made."""
    monkeypatch.chdir(tmp_path)
    backup(impl, tmp_path / "backup")
    whole = (tmp_path / "backup").read_bytes()
    (tmp_path / "text").write_text("x" * 10_000)
    (tmp_path / "damaged").write_bytes(whole[:-1] + b"?")
    (tmp_path / "short").write_bytes(whole[:4096])
    settings = {"file": "backup", **changed}
    with pytest.raises(getattr(impl, kind), match=said):
        restored(impl, tmp_path / "n", **settings)
    assert not (tmp_path / "n").exists()


def test_a_member_is_not_restored_over(impl, tmp_path):
    backup(impl, tmp_path / "backup")
    member(impl, tmp_path / "n", entries=3)
    before = picture(tmp_path / "n")
    with pytest.raises(impl.AlreadyFounded):
        restored(impl, tmp_path / "n", tmp_path / "backup")
    assert picture(tmp_path / "n") == before


def test_without_its_snapshot_it_does_not_start(impl, tmp_path):
    backup(impl, tmp_path / "backup")
    storage = restored(impl, tmp_path / "n", tmp_path / "backup")
    (name,) = (tmp_path / "n").glob("snapshot-*")
    whole = name.read_bytes()
    name.unlink()
    with pytest.raises(impl.WalDamaged, match=r"there is no snapshot, and the log has 8\.\.7"):
        storage.open(1, NEW)
    name.write_bytes(whole[:-1] + b"?")
    with pytest.raises(impl.SnapshotDamaged, match="chunk 0 is damaged"):
        storage.open(1, NEW)
    name.write_bytes(whole)
    holds(impl, storage)


@pytest.mark.parametrize("end", ["crash", "kill"])
def test_a_restore_is_cut_at_every_operation(impl, tmp_path, end):
    """Then it was done, or was not; what it left is no obstacle to another one, or to a founding."""
    SimDisk = module(impl, "testing.disk").SimDisk
    backup(impl, tmp_path / "backup")
    backup(impl, tmp_path / "other", index=9)
    done = 0
    for cut, kind in [(cut, kind) for cut in range(1, 80) for kind in range(3)]:
        disk = SimDisk(random.Random(3 * cut + kind))
        disk.cut_after(cut)
        try:
            restored(impl, PATH, tmp_path / "backup", disk=disk)
            break
        except impl.StorageError:
            pass
        getattr(disk, end)() if end == "crash" else (disk.kill(), disk.repair(), setattr(disk, "off", False))
        storage = impl.FileStorage(PATH, disk=disk)
        try:
            storage.open(1, NEW)
            done += 1
            storage.close()
            continue
        except impl.NotFounded:
            pass
        if kind == 0:
            restored(impl, PATH, tmp_path / "backup", disk=disk)
            holds(impl, impl.FileStorage(PATH, disk=disk))
        elif kind == 1:
            # With another file: nothing of the first one may be left.
            restored(impl, PATH, tmp_path / "other", disk=disk)
            holds(impl, impl.FileStorage(PATH, disk=disk), index=9)
        else:
            storage = impl.FileStorage.create(PATH, id=1, members=URLS, cluster=NEW, disk=disk, segment_bytes=SMALL)
            loaded = storage.open(1, NEW)
            assert (loaded.base_index, loaded.snapshot) == (0, None)
            storage.close()
        kept = [name for name in disk.files(PATH) if name.startswith("snapshot-")]
        assert len(kept) == (kind < 2) and all(name.endswith(".raftx") for name in kept), kept
    else:
        raise AssertionError("it never ended")
    assert cut > 15
    assert done or end == "crash"


# --- rebuild -----------------------------------------------------------------------------------------------


def rebuild(impl, path, **settings):
    return module(impl, "storage.rebuild").rebuild(path, **settings)


def test_a_rebuilt_directory_is_the_same_member_in_doubt(impl, tmp_path):
    path = member(impl, tmp_path / "n", entries=6, snapshots=(2, 4))
    old = module(impl, "storage.founding").decode((path / "founding").read_bytes())
    damage(path)
    before = {name: each[0] for name, each in picture(path).items()}
    done = rebuild(impl, path)
    # What was there is set aside, and nothing of it is changed.
    assert done.aside.parent == tmp_path and done.aside.name.startswith("n.damaged-20")
    assert asides(path) == [done.aside.name]
    assert {name: each[0] for name, each in picture(done.aside).items()} == before
    new = module(impl, "storage.founding").decode((path / "founding").read_bytes())
    assert new == done.founding and new.rebuilt and new.in_doubt and new.store != old.store
    assert (new.cluster, new.id, new.segment_bytes, new.conf_state, new.addresses) == (
        old.cluster, old.id, old.segment_bytes, old.conf_state, old.addresses,
    )  # fmt: skip
    assert path.stat().st_mode & 0o777 == 0o700
    storage = impl.FileStorage(path)
    for opening in range(1, 4):
        loaded = storage.open(1, CLUSTER)
        assert loaded.hard_state.in_doubt and loaded.base_index == 0 and contents(impl, loaded) == []
        # Above all that the member has called its lives before: others would take it for an earlier one.
        assert loaded.incarnation == opening + 1 + UNREAD
        assert ("it was rebuilt" if opening == 1 else "in doubt before") in storage.doubt
        storage.close()
    storage.open(1, CLUSTER)
    storage.append(impl.HardState(2, 0, 0), [])
    storage.sync()
    storage.close()
    assert not storage.open(1, CLUSTER).hard_state.in_doubt
    storage.close()


def test_its_lives_go_on_above_those_that_can_still_be_read(impl, tmp_path):
    """From any batch that is whole, wherever the damage is."""
    path = member(impl, tmp_path / "n", entries=3)
    storage = impl.FileStorage(path)
    for _ in range(4):
        storage.open(1, CLUSTER)
        storage.close()
    damage(path)
    assert rebuild(impl, path).founding.opened == 5 + UNREAD
    storage.open(1, CLUSTER)
    storage.close()
    # The only batch of this life is damaged: there may be as many more as there can be in what cannot be read.
    damage(path)
    assert rebuild(impl, path).founding.opened == 6 + 2 * UNREAD
    (path / "wal.mark").write_bytes(b"")
    (path / "founding").write_bytes(b"")
    with pytest.raises(impl.NotFounded):
        rebuild(impl, path)


@pytest.mark.parametrize("lost", ["founding", "mark", "segments", "everything", "directory"])
def test_what_is_lost_is_taken_from_elsewhere(impl, tmp_path, lost):
    path = member(impl, tmp_path / "n", entries=6)
    said = {"id": 1, "members": URLS, "cluster": CLUSTER}
    if lost == "founding":
        (path / "founding").unlink()
        done = rebuild(impl, path)
        assert done.founding.id == 1 and done.founding.conf_state.voters == (1, 2, 3)
        assert done.founding.addresses == {} and done.founding.opened == 1 + UNREAD
    elif lost in ("mark", "segments"):
        for each in path.glob("wal*"):
            if lost == "segments" or each.name == "wal.mark":
                each.unlink()
        if lost == "mark":
            damage(path)
        done = rebuild(impl, path)
        assert done.founding.addresses == URLS and done.founding.opened == 1 + UNREAD
    else:
        for each in path.iterdir():
            each.unlink()
        if lost == "directory":
            path.rmdir()
        with pytest.raises(impl.NotFounded, match="say it with id, members and cluster"):
            rebuild(impl, path)
        done = rebuild(impl, path, **said)
        assert (done.aside is None) == (lost == "directory")
    storage = impl.FileStorage(path)
    assert storage.open(1, CLUSTER).hard_state.in_doubt
    storage.close()
    assert asides(path) == ([] if lost == "directory" else [done.aside.name])


def test_what_contradicts_the_directory_is_refused(impl, tmp_path):
    path = member(impl, tmp_path / "n", entries=2)
    damage(path)
    before = picture(path)
    for changed, said in (
        ({"id": 2}, "id must be that of the directory, 1, not 2"),
        ({"cluster": NEW}, "cluster must be that of the directory"),
        ({"members": URLS}, "id and cluster must be given together with members"),
        ({"learners": [4]}, "learners must be given together with members"),
        ({"id": 0}, "id must be None or an integer"),
        ({"accept_loss": 1}, "accept_loss must be True or False"),
        ({"id": 9, "members": URLS, "cluster": CLUSTER}, "id must be one of the members"),
    ):
        with pytest.raises(impl.ConfigError, match=said):
            rebuild(impl, path, **changed)
    storage = impl.FileStorage.create(tmp_path / "m", id=1, members=[1, 2], cluster=CLUSTER)
    storage.open(1, CLUSTER)
    with pytest.raises(impl.WrongDirectory, match="in use"):
        rebuild(impl, tmp_path / "m", accept_loss=True)
    storage.close()
    assert picture(path) == before and asides(path) == ["m"]


@pytest.mark.parametrize("voters", [(1,), (1, 2, 3)])
def test_what_would_be_lost_for_good_is_said_first(impl, tmp_path, voters):
    """The log of a sole voter, and one that is whole."""
    path = member(impl, tmp_path / "n", entries=4, members=voters)
    if len(voters) == 1:
        damage(path)
    before = picture(path)
    said = "nobody has a copy of what is in its log.*everything that was ever acknowledged is lost"
    if len(voters) > 1:
        said = "is whole: member 1 starts with it.*entries up to 4"
    with pytest.raises(impl.LossNotAccepted, match=said):
        rebuild(impl, path)
    assert picture(path) == before and asides(path) == []
    done = rebuild(impl, path, accept_loss=True)
    assert {name: each[0] for name, each in picture(done.aside).items()} == {n: each[0] for n, each in before.items()}
    storage = impl.FileStorage(path)
    loaded = storage.open(1, CLUSTER)
    assert loaded.hard_state.in_doubt == (len(voters) > 1) and contents(impl, loaded) == []
    storage.close()


def shrunk(impl, path, *changes, commit=None, size=10):
    """A founder of three whose cluster is changed by these."""
    member(impl, path, entries=2, size=size)
    storage = impl.FileStorage(path)
    storage.open(1, CLUSTER)
    last = 2
    for text in changes:
        last += 1
        change = impl.ConfChange.parse(text)
        entry = impl.Entry(last, 1, change.encode(), change.entry_kind)
        storage.append(impl.HardState(1, 1, last - 1), [entry.encode()])
        storage.sync()
    storage.append(impl.HardState(1, 1, last if commit is None else commit), [records(impl, last + 1, [(1, b"x")])])
    storage.sync()
    storage.close()
    return path


def test_a_founder_that_is_alone_now_is_told_what_it_would_lose(impl, tmp_path):
    """The others were removed, and nobody can help it: it begins with nothing, alone, once that is accepted."""
    path = shrunk(impl, tmp_path / "n", "r2", "r3")
    before = picture(path)
    said = r"member 1 is the only voter of its cluster, as far as .* \(up to entry 5\): the others .*Nobody has a copy"
    with pytest.raises(impl.LossNotAccepted, match=said):
        rebuild(impl, path)
    assert picture(path) == before and asides(path) == []
    done = rebuild(impl, path, accept_loss=True)
    assert done.founding.conf_state == impl.ConfState(voters=(1,)) and done.founding.addresses == {1: URLS[1]}
    storage = impl.FileStorage(path)
    loaded = storage.open(1, CLUSTER)
    assert not loaded.hard_state.in_doubt and contents(impl, loaded) == [] and loaded.met == {}
    storage.close()


def test_nor_is_it_alone_while_a_change_may_count(impl, tmp_path):
    """One that is not known to be committed may be: another voter may be there, which can bring it up to date."""
    for name, changes, commit in (("a", ("r2", "r3", "l4", "v4"), 4), ("b", ("r2", "r3"), 3), ("c", ("r2",), None)):
        path = shrunk(impl, tmp_path / name, *changes, commit=commit)
        with pytest.raises(impl.LossNotAccepted, match="is whole: member 1 starts with it"):
            rebuild(impl, path)
        assert rebuild(impl, path, accept_loss=True).founding.in_doubt


def test_a_damaged_founder_that_was_alone_waits_for_whoever_came_since(impl, tmp_path):
    """A snapshot says that it was alone; what follows cannot be read, and may have added a voter."""
    path = shrunk(impl, tmp_path / "n", "r2", "r3")
    storage = impl.FileStorage(path)
    loaded = storage.open(1, CLUSTER)
    storage.remember(4, module(impl, "storage.protocol").Met(loaded.life, bytes(15) + b"4", 6))
    writer = storage.begin_snapshot(descriptor(impl, 5, voters=(1,)))
    writer.write(b"state")
    writer.finish()
    storage.close()
    damage(path)
    with pytest.raises(impl.LossNotAccepted, match=r"only voter of its cluster, .*up to entry 5\)"):
        rebuild(impl, path)
    founding = rebuild(impl, path, accept_loss=True).founding
    assert founding.joining and founding.in_doubt and founding.conf_state == impl.ConfState()


def on_a_disk(impl, seed, voters=(1, 2, 3), entries=4):
    """A member on a simulated disk, and what it holds."""
    disk = module(impl, "testing.disk").SimDisk(random.Random(seed))
    storage = impl.FileStorage.create(PATH, id=1, members=voters, cluster=CLUSTER, segment_bytes=SMALL, disk=disk)
    storage.open(1, CLUSTER)
    for index in range(1, entries + 1):
        storage.append(impl.HardState(1, 1, index - 1), [records(impl, index, [(1, b"%d" % index)])])
        storage.sync()
    if entries > 3:
        save(impl, storage, 3)
    storage.close()
    return disk


def files_of(disk, path):
    return {name: disk.read(f"{path}/{name}") for name in disk.files(path)}


def ends(disk, end):
    if end == "crash":
        disk.crash()
    else:
        disk.kill()
        disk.repair()
        disk.off = False


@pytest.mark.parametrize("end", ["crash", "kill"])
@pytest.mark.parametrize("what", ["rebuild", "recover"])
def test_it_is_cut_at_every_operation(impl, what, end):
    """The old directory is there under one name, whole; and a second attempt does it."""
    name = f"wal-{1:016x}.log"
    halfway = 0
    for cut in range(1, 300):
        disk = on_a_disk(impl, cut)
        if what == "rebuild":
            disk.flip(f"{PATH}/{name}", 8 * (4096 + 40))
        before = files_of(disk, PATH)
        disk.cut_after(cut)

        def attempt(disk=disk):
            if what == "rebuild":
                return rebuild(impl, PATH, disk=disk)
            return module(impl, "storage.recover").recover(PATH, cluster=NEW, accept_loss=True, disk=disk)

        try:
            attempt()
            finished = True
        except impl.StorageError:
            finished = False
        if finished:
            # What was reported as done stays done.
            disk.repair()
            disk.crash()
            storage = impl.FileStorage(PATH, disk=disk)
            storage.open(1, CLUSTER if what == "rebuild" else NEW)
            storage.close()
            break
        ends(disk, end)
        old = [each for each in disk.files("/data") if files_of(disk, f"/data/{each}") == before]
        assert len(old) == 1, (cut, disk.files("/data"))
        moved = old != ["n"]
        halfway += moved and "n" not in disk.files("/data")
        if "n" in disk.files("/data") and not moved:
            # Nothing is in the way of the member that it was.
            if what == "recover":
                storage = impl.FileStorage(PATH, disk=disk)
                assert len(contents(impl, storage.open(1, CLUSTER))) == 4
                storage.close()
                before = files_of(disk, PATH)
            attempt()
        elif "n" not in disk.files("/data"):
            with pytest.raises(impl.NotFounded):
                impl.FileStorage(PATH, disk=disk).open(1, CLUSTER)
            attempt()
        storage = impl.FileStorage(PATH, disk=disk)
        loaded = storage.open(1, CLUSTER if what == "rebuild" else NEW)
        assert loaded.hard_state.in_doubt == (what == "rebuild")
        assert len(contents(impl, loaded)) == (0 if what == "rebuild" else 4)
        storage.close()
        assert [files_of(disk, f"/data/{each}") for each in disk.files("/data") if each != "n"] == [before]
    else:
        raise AssertionError("it never ended")
    assert cut > 20 and (halfway or end == "crash")


@pytest.mark.parametrize("operation", ["write", "allocate", "create", "sync", "sync names", "names"])
@pytest.mark.parametrize("what", ["rebuild", "recover"])
def test_a_disk_that_is_full_or_fails(impl, what, operation):
    """At each place: an error that says so, the old directory is whole, and another attempt does it."""
    recover = module(impl, "storage.recover").recover
    name = f"wal-{1:016x}.log"
    failed = 0
    for after in range(60):
        disk = on_a_disk(impl, after)
        if what == "rebuild":
            disk.flip(f"{PATH}/{name}", 8 * (4096 + 40))
        before = files_of(disk, PATH)
        disk.fail(operation, 28, after=after, times=1)

        def attempt(disk=disk):
            if what == "rebuild":
                rebuild(impl, PATH, disk=disk)
            else:
                recover(PATH, cluster=NEW, accept_loss=True, disk=disk)

        said = ""
        try:
            attempt()
        except impl.StorageError as error:
            said = str(error)
        if not disk.counts["failures"]:
            break
        if said:
            assert "No space left on device" in said
            failed += 1
            assert [files_of(disk, f"/data/{each}") for each in disk.files("/data")].count(before) == 1
            disk.repair()
            if "n" not in disk.files("/data") or files_of(disk, PATH) == before:
                attempt()
        disk.repair()
        storage = impl.FileStorage(PATH, disk=disk)
        assert len(contents(impl, storage.open(1, CLUSTER if what == "rebuild" else NEW))) == 4 * (what == "recover")
        storage.close()
    else:
        raise AssertionError("it never ended")
    assert failed or operation in ("allocate", "create")


def test_the_owner_stays(impl, tmp_path, monkeypatch):
    """Root may do it for the user of a service, who is to open it afterwards."""
    disk = module(impl, "storage.disk")
    path = member(impl, tmp_path / "n", entries=3)
    damage(path)
    real, given = disk._owner, {}
    monkeypatch.setattr(disk, "_owner", lambda each: (1234, 5678) if each == path else real(each))
    monkeypatch.setattr(os, "chown", lambda each, uid, gid: given.update({each.name: (uid, gid)}))
    rebuild(impl, path)
    assert given == dict.fromkeys(("founding", "lives", "wal.mark", "n.rebuilt.part"), (1234, 5678))

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(impl.StorageError, match=r"to the owner of .*/n: Operation not permitted; do this as that user"):
        rebuild(impl, path, accept_loss=True)
    storage = impl.FileStorage(path)
    assert storage.open(1, CLUSTER).hard_state.in_doubt
    storage.close()


def test_a_disk_that_is_mounted_there(impl):
    """Its directory cannot be renamed; nothing has happened."""
    disk = on_a_disk(impl, 1)
    disk.flip(f"{PATH}/wal-{1:016x}.log", 8 * (4096 + 40))
    before = files_of(disk, PATH)
    real = disk.rename_directory

    def busy(old, new):
        if os.fspath(old) == PATH:
            raise OSError(16, "Device or resource busy")
        real(old, new)

    disk.rename_directory = busy
    with pytest.raises(impl.StorageError, match="Device or resource busy: a disk is mounted there; move the member"):
        rebuild(impl, PATH, disk=disk)
    assert files_of(disk, PATH) == before
    disk.rename_directory = real
    rebuild(impl, PATH, disk=disk)


# --- recover -----------------------------------------------------------------------------------------------


def test_a_directory_of_somebody_else_in_the_way(impl, tmp_path):
    """Only what a member's own making leaves is removed."""
    path = member(impl, tmp_path / "n", entries=4)
    (tmp_path / "n.recovered.part").mkdir()
    (tmp_path / "n.recovered.part" / "notes.txt").write_text("mine")
    with pytest.raises(impl.UsageError, match=r"is in the way, with the file notes\.txt in it"):
        recover(impl, path, accept_loss=True)
    assert (tmp_path / "n.recovered.part" / "notes.txt").read_text() == "mine"
    storage = impl.FileStorage(path)
    storage.open(1, CLUSTER)
    storage.close()


def test_a_link_to_a_directory_is_not_moved(impl, tmp_path):
    """The new directory would be beside the link, on its disk."""
    there = tmp_path / "elsewhere" / "node"
    there.parent.mkdir()
    member(impl, there)
    link = tmp_path / "link"
    link.symlink_to(there)
    for act in (rebuild, recover):
        with pytest.raises(impl.UsageError, match=f"symbolic link: give the directory that it leads to, {there}"):
            act(impl, link, accept_loss=True)
    assert link.is_symlink() and sorted(path.name for path in there.parent.iterdir()) == ["node"]
