"""Names: whose a directory is, whether it is still there, and that what was made is durable under its name."""

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.cluster import Machine
from tests.helpers.implementations import IMPLEMENTATIONS, module
from tests.helpers.paths import ROOT
from tests.helpers.storages import founded
from tests.helpers.waiting import WAIT, eventually
from tests.helpers.wal import SMALL, contents, opened, opened_elsewhere, records, segment


def running(impl, path, **settings):
    """A node of its own group, which leads."""
    storage = founded(impl, path, members=[1], segment_bytes=SMALL)
    config = impl.Config(id=1, tick_ms=10, seed=1, **settings)
    node = impl.Node(config, storage, impl.MemoryNetwork().transport(), Machine()).start()
    eventually(lambda: node.is_leader)
    node.propose(b"first").result(timeout=WAIT)
    return node, storage


def test_no_file_can_be_deleted_that_lets_another_process_in(impl, tmp_path):
    """The lock was a file once: without it a second process took the directory, and both voted."""
    storage, _ = opened(impl, tmp_path / "n")
    for each in [None, *(tmp_path / "n").iterdir()]:
        if each is not None:
            each.unlink()
        told = opened_elsewhere(tmp_path / "n")
        assert "in use" in told.stdout, told.stderr
    storage.close()


def deleted(path):
    shutil.rmtree(path)


def moved(path):
    path.rename(path.with_name("moved"))


def replaced(path):
    moved(path)
    path.mkdir()


def moved_above(path):
    path.parent.rename(path.parent.with_name("above"))


def without_segment(path):
    max(path.glob("wal-*.log"), key=lambda each: any(each.read_bytes()[:4096])).unlink()


def without_mark(path):
    (path / "wal.mark").unlink()


def other_mark(path):
    shutil.copy(path / "wal.mark", path / "copy")
    (path / "copy").rename(path / "wal.mark")


@pytest.mark.parametrize(
    "happens",
    [deleted, moved, replaced, moved_above, without_segment, without_mark, other_mark],
    ids=lambda f: f.__name__,
)
def test_a_node_whose_directory_is_gone_ends(impl, tmp_path, happens):
    """It went on acknowledging into files without a name; whether or not there is anything to write."""
    path = tmp_path / "parent" / "n"
    node, _ = running(impl, path)
    happens(path)
    with pytest.raises(impl.StorageFailed, match=r"was (deleted or renamed|replaced by another one) while") as raised:
        assert node.wait(WAIT)
    assert "[Errno" in str(raised.value)
    with pytest.raises((impl.Unknown, impl.NotDone, impl.Stopped)):
        node.propose(b"lost").result(timeout=WAIT)
    node.close()


def test_a_node_under_load_notices_as_well(impl, tmp_path):
    """Within a second of batches without a pause; what was acknowledged after that is little."""
    node, _ = running(impl, tmp_path / "n")
    shutil.rmtree(tmp_path / "n")
    began = time.monotonic()
    try:
        while time.monotonic() < began + WAIT:
            node.propose(b"more").result(timeout=WAIT)
    except impl.RaftError:
        pass
    with pytest.raises(impl.StorageFailed, match="was deleted"):
        assert node.wait(WAIT)
    assert time.monotonic() - began < WAIT
    node.close()


def test_at_a_rotation_the_names_are_looked_at(impl, tmp_path):
    """Also without a thread that looks every now and then."""
    storage, _ = opened(impl, tmp_path / "n")
    (tmp_path / "n").rename(tmp_path / "moved")
    with pytest.raises(impl.StorageFailed, match="was deleted or renamed"):
        for index in range(1, 30):
            storage.append(impl.HardState(1, 0, 0), [records(impl, index, [(1, bytes(9000))])])
            storage.sync()
    assert index < 10
    with pytest.raises(impl.StorageFailed, match="was deleted or renamed"):
        storage.sync()
    storage.close()


def test_a_node_that_changes_its_working_directory_goes_on(impl, tmp_path, monkeypatch):
    """A relative path means where it led when the storage was opened."""
    monkeypatch.chdir(tmp_path)
    node, storage = running(impl, "n")
    monkeypatch.chdir("/")
    checked = storage.wal.reserve.directory.py_check()
    time.sleep(1.2)
    node.propose(b"more").result(timeout=WAIT)
    assert checked == 0 and node.failure is None
    node.close()


def test_records_are_read_from_the_files_that_were_checked(impl, tmp_path):
    storage, _ = opened(impl, tmp_path / "n")
    storage.append(impl.HardState(1, 0, 0), [records(impl, 1, [(1, b"x")])])
    storage.sync()
    storage.close()
    storage, loaded = opened(impl, tmp_path / "n")
    shutil.copy(segment(tmp_path / "n"), tmp_path / "copy")
    (tmp_path / "copy").rename(segment(tmp_path / "n"))
    with pytest.raises(impl.WalDamaged, match="replaced while it was read: find what else writes"):
        contents(impl, loaded)
    storage.close()


# --- durable names ---------------------------------------------------------------------------------


def synced(monkeypatch, fails=None):
    """The directories that are synced from now on, in order; ``fails``: one that cannot be, the first time."""
    seen = []
    original = os.fsync
    left = [fails]

    def fsync(fd):
        target = os.readlink(f"/proc/self/fd/{fd}")
        if target == left[0]:
            left[0] = None
            raise OSError(errno.EIO, "Input/output error")
        seen.append(target)
        return original(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    return seen


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_every_new_level_is_durable_in_its_parent(impl, tmp_path, monkeypatch):
    """Outermost first: of several new levels only the last one's parent was synced, and a power cut took them all."""
    base = str(tmp_path)
    seen = synced(monkeypatch)
    storage, _ = opened(impl, tmp_path / "a" / "b" / "c")
    storage.close()
    parents = [path for path in seen if path in (base, f"{base}/a", f"{base}/a/b")]
    assert parents[:3] == [base, f"{base}/a", f"{base}/a/b"]
    seen.clear()
    opened(impl, tmp_path / "a" / "b" / "c")[0].close()
    assert f"{base}/a/b" in seen


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
@pytest.mark.parametrize("level", ["", "/a", "/a/b"])
def test_a_sync_that_failed_is_made_up_for(impl, tmp_path, monkeypatch, level):
    base = str(tmp_path)
    with monkeypatch.context() as patch:
        synced(patch, base + level)
        with pytest.raises(impl.StorageError, match="Input/output"):
            founded(impl, tmp_path / "a" / "b" / "c")
    seen = synced(monkeypatch)
    opened(impl, tmp_path / "a" / "b" / "c")[0].close()
    assert {base, f"{base}/a", f"{base}/a/b"} <= set(seen)


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_levels_that_another_start_has_made_are_durable_before_the_log(impl, tmp_path, monkeypatch):
    """A start that was killed after it had made them has synced nothing."""
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    seen = synced(monkeypatch)
    opened(impl, tmp_path / "a" / "b" / "c")[0].close()
    assert {str(tmp_path), f"{tmp_path}/a", f"{tmp_path}/a/b"} <= set(seen)


@pytest.mark.skipif(os.geteuid() == 0 and not hasattr(os, "setresuid"), reason="needs a user without rights")
def test_levels_that_may_not_be_read_do_not_matter_once_they_are_there(tmp_path):
    """An administrator's directory, in which a service's user has its own."""
    outer = tmp_path / "outer"
    (outer / "n").mkdir(parents=True)
    code = """
import os, sys
import raftx
raftx.FileStorage  # what it needs is imported as long as it may be read
if os.geteuid() == 0:
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
if sys.argv[2] == "1":
    raftx.FileStorage.create(sys.argv[1], id=1, members=[1], cluster=bytes(16))
storage = raftx.FileStorage(sys.argv[1])
print(storage.open(1, bytes(16)).incarnation)
storage.close()
"""
    if os.geteuid() == 0:
        os.chown(outer / "n", 65534, 65534)
        for path in (tmp_path, *tmp_path.parents):
            if path.is_relative_to("/tmp") and path != Path("/tmp"):
                path.chmod(path.stat().st_mode | 0o111)
    outer.chmod(0o311)
    try:
        for life in (1, 2):
            done = subprocess.run(
                [sys.executable, "-c", code, str(outer / "n"), str(life)],
                capture_output=True,
                text=True,
                timeout=60,
                cwd=ROOT,
            )
            assert done.stdout.split() == [str(life)], done.stderr
    finally:
        outer.chmod(0o755)


# --- forks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("child", ["closes", "does nothing"])
def test_a_forked_worker_does_not_keep_the_directory(impl, tmp_path, child):
    """After a clean close the directory was held by the child's copy of the descriptor."""
    code = """
import os, signal, sys
import raftx
path = sys.argv[1]
storage = raftx.FileStorage.create(path, id=1, members=[1, 2, 3], cluster=bytes(16), segment_bytes=1 << 16)
storage.open(1, bytes(16))
ready, tell = os.pipe()
child = os.fork()
if not child:
    if sys.argv[2] == "closes":
        storage.close()
    os.write(tell, b"x")
    signal.pause()
os.read(ready, 1)
try:
    again = raftx.FileStorage(path)
    try:
        again.open(1, bytes(16))
        sys.exit("the child's close let somebody in")
    except raftx.WrongDirectory:
        pass
    storage.append(raftx.HardState(7, 0, 0), [])
    storage.sync()
    storage.close()
    assert again.open(1, bytes(16)).hard_state == raftx.HardState(7, 0, 0)
    again.close()
finally:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "n"), child],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, "RAFTX_PURE": "" if impl.COMPILED else "1"},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.once
def test_a_replaced_directory_at_open(tmp_path, monkeypatch):
    """Between the look at the path and the lock somebody may put another directory there."""
    impl = IMPLEMENTATIONS["pure"]
    disk = module(impl, "_native.files")
    (tmp_path / "n").mkdir()
    original = disk.fcntl.flock

    def flock(fd, operation):
        (tmp_path / "n").rename(tmp_path / "old")
        (tmp_path / "n").mkdir()
        return original(fd, operation)

    monkeypatch.setattr(disk.fcntl, "flock", flock)
    with pytest.raises(impl.StorageError, match="replaced while it was opened"):
        opened(impl, tmp_path / "n")
