"""What a caller is told who may not write, has too little room, or asks for what was done long ago."""

import errno
import os

import pytest

from tests.helpers.implementations import module
from tests.helpers.machines import Machine
from tests.helpers.stepped import World
from tests.helpers.storages import founded


def test_a_directory_that_cannot_be_written_does_not_open(impl, tmp_path, monkeypatch):
    """It would run on what it has until the next segment is needed."""
    storage = founded(impl, tmp_path / "n", members=[1])
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode, **more: path != tmp_path / "n" and may(path, mode, **more))
    with pytest.raises(impl.StorageError, match=r"n cannot be written by this process.*owner and mode"):
        storage.open(1, impl.Config(id=1).cluster)
    monkeypatch.undo()
    storage.open(1, impl.Config(id=1).cluster)
    storage.close()


def test_a_file_is_no_directory(impl, tmp_path):
    (tmp_path / "n").write_text("")
    with pytest.raises(impl.StorageError, match=f"{tmp_path / 'n'} is no directory: give the directory of the member"):
        impl.FileStorage(tmp_path / "n").open(1, impl.Config(id=1).cluster)


@pytest.mark.parametrize(("number", "remedy"), [(errno.EACCES, "owner and mode"), (errno.EIO, "")])
def test_what_a_log_has_failed_with_has_a_remedy(impl, number, remedy):
    form = module(impl, "storage.wal_format")
    text = form.failed_as(number | form.OPERATION_SEGMENT << 32)
    assert f"[Errno {number}]" in text and remedy in text and text.endswith("lost") == bool(remedy)


def test_skips_that_are_damaged_name_their_directory(impl, tmp_path):
    storage = founded(impl, tmp_path / "n", members=[1])
    (tmp_path / "n" / "skips").write_bytes(b"?")
    with pytest.raises(impl.WalDamaged, match=f"{tmp_path / 'n'}: the file skips is damaged"):
        storage.open(1, impl.Config(id=1).cluster)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("when", ["make", "write", "finish"])
def test_a_backup_without_room_names_its_file(impl, tmp_path, monkeypatch, number, when):
    world = World(impl, 1)
    try:
        files = module(impl, "storage.snapshots")
        if when == "make":
            directory = module(impl, "_native.files").Directory

            class Full(directory):
                def open_file(self, name, **more):
                    raise OSError(number, os.strerror(number))

            monkeypatch.setattr(module(impl, "storage.snapshot_copy"), "Directory", Full)
        else:
            check = files.check_done
            fails = "a write" if when == "write" else "the sync"
            monkeypatch.setattr(
                files, "check_done", lambda code, what, name: check(-number if what == fails else code, what, name)
            )
        world.nodes[1].close()
        world.start(1, machine=Machine())
        node = world.leader()
        world.until(node.propose(b"x").done)
        future = node.backup(tmp_path / "backup")
        world.until(future.done)
        with pytest.raises(impl.NotDone, match=f"{tmp_path / 'backup'}: {os.strerror(number)}: (make room|choose)"):
            future.result()
        assert os.listdir(tmp_path) == []
    finally:
        world.close()


def test_what_is_gone_already_may_be_given_up_again(impl):
    world = World(impl, 1, snapshot_entries=5, keep_entries=0)
    try:
        world.nodes[1].close()
        world.start(1, machine=Machine())
        node = world.leader()
        for number in range(40):
            future = node.propose(b"%d" % number)
            world.until(future.done)
        world.until(lambda: node.status().first > 10)
        for index in (1, 5, 5):
            future = node.compact(index)
            world.until(future.done)
            assert future.result() == index
    finally:
        world.close()


def test_sessions_need_room_for_their_opening(impl):
    world = World(impl, 1, max_entry_bytes=71)
    try:
        with pytest.raises(impl.UsageError, match="max_entry_bytes of at least 72"):
            world.leader().session()
    finally:
        world.close()


@pytest.mark.parametrize("given", [True, False, -1, "5"])
def test_what_is_no_applied_index(impl, given):
    class Odd(Machine):
        applied_index = given

    with pytest.raises(impl.StorageError, match="applied_index must be an integer"):
        module(impl, "node.keeper").applied_by(Odd())
