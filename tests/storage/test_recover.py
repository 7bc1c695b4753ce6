"""The log of a survivor becomes that of a new cluster (``raftx recover``).

Power cuts and faults meanwhile are in test_moves.py, what nodes make of it in test_moved_members.py.
"""

import os
from dataclasses import replace

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
from tests.helpers.wal import CLUSTER, SMALL, records

NEW = bytes(range(16))


def test_the_survivors_log_is_that_of_a_new_cluster(impl, tmp_path):
    """All of it, with terms and indexes; the vote is gone, and so are changes of membership."""
    path = tmp_path / "n"
    storage = impl.FileStorage.create(path, id=2, members=URLS, cluster=CLUSTER, segment_bytes=SMALL)
    storage.open(2, CLUSTER)
    change = impl.ConfChange.parse("l4")
    entries = [
        impl.Entry(1, 1, b""),
        impl.Entry(2, 1, b"one"),
        impl.Entry(3, 2, change.encode(), change.entry_kind),
        impl.Entry(4, 2, b"two" * 1000),
        impl.Entry(5, 4, b"uncommitted"),
    ]
    storage.append(impl.HardState(5, 3, 3), [b"".join(each.encode() for each in entries)])
    storage.sync()
    storage.close()
    for _ in range(4):
        storage.open(2, CLUSTER)
        storage.close()
    before = {name: each[0] for name, each in picture(path).items()}
    said = r"ends with entry 5 of term 4; it knows entries up to 3 .*member 2 alone.*up to 2 entries that were never"
    with pytest.raises(impl.LossNotAccepted, match=said):
        recover(impl, path)
    assert {name: each[0] for name, each in picture(path).items()} == before and asides(path) == []
    done = recover(impl, path, accept_loss=True)
    assert (done.last_index, done.last_term, done.commit) == (5, 4, 3)
    assert done.aside.name.startswith("n.before-recovery-20") and asides(path) == [done.aside.name]
    assert {name: each[0] for name, each in picture(done.aside).items()} == before
    founding = done.founding
    assert founding.cluster != CLUSTER and founding.conf_state == impl.ConfState(voters=(2,))
    assert founding.addresses == {2: URLS[2]} and founding.segment_bytes == SMALL
    with pytest.raises(impl.WrongDirectory, match="another cluster"):
        impl.FileStorage(path).open(2, CLUSTER)
    storage = impl.FileStorage(path)
    loaded = storage.open(2, founding.cluster)
    assert loaded.hard_state == impl.HardState(5, 0, 3)
    assert loaded.current_conf_state == impl.ConfState(voters=(2,))
    # The old life wrote proposals; what this one proposes must not be taken for them.
    assert loaded.incarnation > 5
    assert contents_behind(impl, loaded) == [
        (1, 1, b""), (2, 1, b"one"), (3, 2, b""), (4, 2, b"two" * 1000), (5, 4, b"uncommitted"),
    ]  # fmt: skip
    storage.close()


def test_a_log_with_a_base_and_snapshots(impl, tmp_path):
    path = member(impl, tmp_path / "n", entries=60, size=4000, snapshots=(20, 40, 50))
    done = recover(impl, path, members={1: URLS[1], 7: "tcp://x:1"}, learners=[9], cluster=NEW, accept_loss=True)
    assert done.founding.base == 40 and done.last_index == 60
    storage = impl.FileStorage(path)
    loaded = storage.open(1, NEW)
    conf_state = impl.ConfState(voters=(1, 7), learners=(9,))
    assert loaded.base_index == 40 and loaded.conf_state == loaded.current_conf_state == conf_state
    assert loaded.snapshot.index == 50 and loaded.snapshot.conf_state == conf_state
    assert [each[0] for each in contents_behind(impl, loaded)] == list(range(41, 61))
    with storage.open_snapshot() as reader:
        assert reader.read() == state(50)
    storage.close()
    # The newer one may be damaged: the older one serves, as ever.
    newest = max(path.glob("snapshot-*"))
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")
    assert storage.open(1, NEW).snapshot.index == 40
    storage.close()


def test_a_compacted_log_without_snapshots(impl, tmp_path):
    """Of a state machine that keeps its state itself."""
    path = member(impl, tmp_path / "n", entries=20)
    storage = impl.FileStorage(path)
    storage.open(1, CLUSTER)
    storage.compact(15, 1, impl.ConfState(voters=(1, 2, 3)))
    for index in range(21, 40):
        storage.append(impl.HardState(1, 1, index - 1), [records(impl, index, [(1, bytes(5000))])])
        storage.sync()
    storage.close()
    done = recover(impl, path, accept_loss=True)
    loaded = storage.open(1, done.founding.cluster)
    assert loaded.base_index == 15 and len(contents_behind(impl, loaded)) == 24
    storage.close()


@pytest.mark.parametrize("snapshots", [(15, 55), (55,), (15,), (20, 40), (20, 40, 50)])
def test_wherever_the_log_begins_all_of_it_stays(impl, tmp_path, snapshots):
    """A snapshot of the very entry behind which the log begins may be there, or be gone for a newer one."""
    path = member(impl, tmp_path / "n", entries=56, size=4000, snapshots=snapshots)
    storage = impl.FileStorage(path)
    loaded = storage.open(1, CLUSTER)
    base, newest, entries = loaded.base_index, loaded.snapshot.index, contents_behind(impl, loaded)
    storage.close()
    with module(impl, "storage.look").look(path, thorough=True) as seen:
        assert seen.faults() == []
        kept = {each.descriptor.index for each in seen.snapshots if each.counts}
    done = recover(impl, path, members=URLS, cluster=NEW, accept_loss=True)
    assert done.last_index == 56 and asides(path) == [done.aside.name]
    for _ in range(2):
        loaded = storage.open(1, NEW)
        assert (loaded.base_index, loaded.snapshot.index) == (base, newest)
        assert contents_behind(impl, loaded) == entries
        for index in kept:
            with storage.open_snapshot(index) as reader:
                assert reader.read() == state(index)
        storage.close()
    with module(impl, "storage.look").look(path, thorough=True) as seen:
        assert seen.faults() == [] and {each.descriptor.index for each in seen.snapshots} == kept
    # Without its snapshots it is damaged, as before.
    for each in path.glob("snapshot-*"):
        each.unlink()
    if base:
        with pytest.raises(impl.WalDamaged, match="or a later one, is missing"):
            storage.open(1, NEW)


def test_a_base_behind_which_no_snapshot_stands(impl, tmp_path):
    """The base is that of the last header, and the snapshot of that entry is gone since the next one was made."""
    path = member(impl, tmp_path / "n", entries=40, size=4000, snapshots=(10, 20))
    storage = impl.FileStorage(path)
    storage.open(1, CLUSTER)
    # So little that no segment ends: the headers stay as they are.
    storage.append(impl.HardState(1, 1, 40), [records(impl, 41, [(1, b"1"), (1, b"2")])])
    storage.sync()
    for index in (40, 41, 42):
        save(impl, storage, index)
    storage.close()
    base = storage.open(1, CLUSTER).base_index
    storage.close()
    assert base == 10 and len(list(path.glob("snapshot-*"))) == 2
    done = recover(impl, path, accept_loss=True)
    loaded = storage.open(1, done.founding.cluster)
    assert (loaded.base_index, loaded.snapshot.index) == (base, 42)
    assert [each[0] for each in contents_behind(impl, loaded)] == list(range(base + 1, 43))
    for index in (41, 42):
        with storage.open_snapshot(index) as reader:
            assert reader.read() == state(index)
    storage.close()


def test_the_older_snapshot_may_be_damaged(impl, tmp_path):
    """The newer one serves without it; and the other way round."""
    for name, at in (("old", 0), ("new", -1)):
        path = member(impl, tmp_path / name / "n", entries=56, size=4000, snapshots=(20, 40))
        file = sorted(path.glob("snapshot-*"))[at]
        file.write_bytes(file.read_bytes()[:-1] + b"?")
        done = recover(impl, path, cluster=NEW, accept_loss=True)
        storage = impl.FileStorage(path)
        loaded = storage.open(1, NEW)
        assert loaded.snapshot.index == (40 if at == 0 else 20) and done.last_index == 56
        storage.close()


def test_a_failure_leaves_nothing_that_is_in_the_way(impl, tmp_path, monkeypatch):
    """And its error names the directory that was given, not only the one that was being made."""
    path = member(impl, tmp_path / "n", entries=56, size=4000, snapshots=(20, 40))
    before = picture(path)
    recovery = module(impl, "storage.recover")
    whole = recovery._copy_snapshots

    def fails(old, source, target, founding):
        whole(old, source, target, founding)
        raise impl.StorageFailed(f"{path}.recovered.part: a write failed")

    monkeypatch.setattr(recovery, "_copy_snapshots", fails)
    with pytest.raises(impl.StorageFailed, match=rf"^nothing was changed in {path}: {path}.recovered.part: a write"):
        recover(impl, path, accept_loss=True)
    assert asides(path) == [] and picture(path) == before
    monkeypatch.undo()
    assert recover(impl, path, accept_loss=True).last_index == 56


def moved(impl, url):
    """The context of a change that sets an address of member 1."""
    context = module(impl, "storage.membership").Context({1: url}).encode()
    kinds = impl.ConfChangeKind
    return impl.ConfChange((impl.ConfChangeSingle(kinds.UPDATE, 1),), context=context).encode()


@pytest.mark.parametrize("kept", ["log", "addresses", "snapshot", "snapshot and log"])
def test_a_member_that_has_moved_is_reached_where_it_is_now(impl, tmp_path, kept):
    """Whatever says so: the log, what was kept when it was made shorter, or a snapshot; the newest of them."""
    path = tmp_path / "n"
    storage = impl.FileStorage.create(path, id=1, members=URLS, cluster=CLUSTER, segment_bytes=SMALL)
    storage.open(1, CLUSTER)
    kind = impl.ConfChange.parse("u1").entry_kind
    first, then = "tcp://10.0.0.1:1", "tcp://10.0.0.2:2"
    for index in range(1, 41):
        move = {5: first, 8: then}.get(index)
        record = impl.Entry(index, 1, moved(impl, move), kind).encode() if move else None
        storage.append(impl.HardState(1, 1, index - 1), [record or records(impl, index, [(1, bytes(5000))])])
        storage.sync()
        if kept == "addresses" and index == 20:
            storage.keep_addresses(15, {1: then}, {})
            storage.compact(15, 1, impl.ConfState(voters=(1, 2, 3)))
        if "snapshot" in kept and index in (6, 7, 20, 30)[:: 1 if "log" in kept else -1][:2]:
            urls = {1: first if index < 8 else then}
            made = replace(descriptor(impl, index), addresses=urls)
            writer = storage.begin_snapshot(made)
            writer.write(b"state")
            writer.finish()
    storage.close()
    done = recover(impl, path, accept_loss=True)
    assert done.founding.addresses == {1: then}
    loaded = storage.open(1, done.founding.cluster)
    assert (loaded.base_index > 0) == (kept != "log")
    storage.close()


def test_the_addresses_that_were_kept_may_be_damaged(impl, tmp_path):
    """It does not open then, and a look says so."""
    path = member(impl, tmp_path / "n", entries=4)
    storage = impl.FileStorage(path)
    storage.open(1, CLUSTER)
    storage.keep_addresses(2, {1: "tcp://10.0.0.2:2"}, {})
    storage.close()
    kept = path / "addresses"
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    with pytest.raises(impl.WalDamaged, match="the file addresses is damaged"):
        storage.open(1, CLUSTER)
    with module(impl, "storage.look").look(path) as seen:
        assert [each.file for each in seen.damage] == ["addresses"]
    with pytest.raises(impl.WalDamaged, match="addresses"):
        recover(impl, path, accept_loss=True)


def test_what_cannot_be_recovered(impl, tmp_path):
    path = member(impl, tmp_path / "n", entries=4)
    for changed, said in (
        ({"cluster": CLUSTER}, "cluster must be another one than before"),
        ({"cluster": bytes(17)}, "cluster must be text"),
        ({"members": [2]}, "id must be one of the members"),
        ({"accept_loss": "yes"}, "accept_loss must be"),
    ):
        with pytest.raises(impl.ConfigError, match=said):
            recover(impl, path, **{"accept_loss": True, **changed})
    with pytest.raises(impl.StorageError, match=r"cannot recover .*: No such file"):
        recover(impl, tmp_path / "missing", accept_loss=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(impl.NotFounded):
        recover(impl, tmp_path / "empty", accept_loss=True)
    damage(path)
    before = picture(path)
    with pytest.raises(impl.WalDamaged, match=r"at byte 4,096: .*take another survivor"):
        recover(impl, path, accept_loss=True)
    assert picture(path) == before and os.listdir(tmp_path / "empty") == [] and asides(path) == ["empty"]


def test_a_member_that_was_rebuilt_says_so(impl, tmp_path):
    """One that has nothing yet is no survivor; one that is in doubt may lack what it has acknowledged itself."""
    recover = module(impl, "storage.recover").recover
    path = tmp_path / "n"
    impl.FileStorage.create(path, id=1, members=[1, 2, 3])
    module(impl, "storage.rebuild").rebuild(path, accept_loss=True)
    before = sorted(each.name for each in tmp_path.iterdir())
    with pytest.raises(impl.StorageError, match=r"holds no entry.*It is in doubt.*take a survivor"):
        recover(path, accept_loss=True)
    assert sorted(each.name for each in tmp_path.iterdir()) == before
    storage = impl.FileStorage(path)
    loaded = storage.open(1, impl.Config(id=1).cluster)
    storage.append(loaded.hard_state, [records(impl, 1, [(1, b"x")])])
    storage.sync()
    storage.close()
    with pytest.raises(impl.LossNotAccepted, match=r"ends with entry 1 of term 1. It is in doubt"):
        recover(path)
