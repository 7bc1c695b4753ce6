"""raftx._sys in both implementations: files, faults on demand, locks of directories."""

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from threads import LIMIT_S, ends, start

ROOT = Path(__file__).resolve().parent.parent


def buffer_of(core, data):
    buffer = core.Buffer()
    buffer.py_put(data)
    return buffer


# --- File ----------------------------------------------------------------------------------------


@pytest.fixture
def file(system, tmp_path):
    file = system.File(tmp_path / "data", create=True)
    yield file
    file.close()


def test_file_opens(system, tmp_path):
    path = tmp_path / "data"
    with pytest.raises(FileNotFoundError):
        system.File(path)
    with pytest.raises(FileNotFoundError):
        system.File(path, readonly=True)
    file = system.File(str(path), create=True)
    assert file.fd >= 0
    assert not os.get_inheritable(file.fd)
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    assert (file.fail_after, file.fail_errno, file.stall_ns) == (-1, errno.EIO, 0)
    file.close()
    file.close()
    assert file.fd == -1
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        file.size()
    # One that nobody closed is closed with the object: no_leaks looks.
    system.File(path)


def test_file_writes_and_reads(file, core, tmp_path):
    buffer = buffer_of(core, b"0123456789")
    assert file.py_write_at(buffer, 2, 5, 3) == 0
    assert (tmp_path / "data").read_bytes() == b"\0\0\x0023456"
    assert file.py_write_at(buffer, 10, 0, 100) == 0
    assert file.size() == 8
    assert file.py_read_at(buffer, 4, 3) == 0
    assert buffer.tobytes() == b"2345"
    assert file.py_read_at(buffer, 100, 6) == 0  # only what is there
    assert buffer.tobytes() == b"56"
    assert file.py_read_at(buffer, 5, 8) == 0
    assert len(buffer) == 0
    assert file.py_datasync() == 0


def test_file_large(file, core):
    data = os.urandom(3 << 20)
    assert file.py_write_at(buffer_of(core, data), 0, len(data), 4096) == 0
    back = core.Buffer(4096)
    assert file.py_read_at(back, len(data) + 1, 4096) == 0
    assert back.tobytes() == data


def test_file_outside_of_the_buffer(file, core):
    buffer = buffer_of(core, b"0123456789")
    for offset, size in ((0, 11), (10, 1), (11, 0), (5, 6), (2**63, 1), (2**64 - 8, 16)):
        with pytest.raises(IndexError):
            file.py_write_at(buffer, offset, size, 0)
    with pytest.raises(OverflowError):
        file.py_write_at(buffer, -1, 1, 0)
    with pytest.raises(TypeError):
        file.py_write_at(b"0123456789", 0, 1, 0)
    with pytest.raises(TypeError):
        file.py_read_at(None, 1, 0)
    assert file.size() == 0


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 200_000])
def test_file_zero(file, core, tmp_path, size):
    data = b"x" * 300_000
    assert file.py_write_at(buffer_of(core, data), 0, len(data), 0) == 0
    assert file.py_zero(1000, size) == 0
    assert (tmp_path / "data").read_bytes() == data[:1000] + bytes(size) + data[1000 + size :]


def test_file_size_truncate_preallocate(file):
    file.preallocate(8192)
    assert file.size() == 8192
    file.truncate(100)
    assert file.size() == 100
    file.truncate(5000)
    assert file.size() == 5000
    file.preallocate(10)
    assert file.size() == 5000


def test_file_says_what_the_system_says(system, core, tmp_path):
    buffer = buffer_of(core, b"data")
    path = tmp_path / "data"
    path.write_bytes(b"old")
    file = system.File(path, readonly=True)
    assert file.py_write_at(buffer, 0, 4, 0) == -errno.EBADF
    assert file.py_zero(0, 4) == -errno.EBADF
    assert file.py_write_at(buffer, 0, 4, 2**63) in (-errno.EINVAL, -errno.EBADF)
    file.close()
    assert file.py_datasync() == -errno.EBADF
    assert file.py_write_at(buffer, 0, 4, 0) == -errno.EBADF
    assert file.py_read_at(buffer, 4, 0) == -errno.EBADF
    assert len(buffer) == 0
    writable = system.File(path)
    buffer.py_put(b"data")
    assert writable.py_write_at(buffer, 0, 4, 2**63) == -errno.EINVAL
    assert writable.py_zero(2**64 - 1, 1) == -errno.EINVAL
    assert writable.py_read_at(buffer, 4, 2**63) == -errno.EINVAL
    writable.close()
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_file_full_disk(system, core):
    file = system.File("/dev/full")
    assert file.py_write_at(buffer_of(core, b"data"), 0, 4, 0) == -errno.ENOSPC
    assert file.py_zero(0, 4) == -errno.ENOSPC
    file.close()


OPERATIONS = 5


@pytest.mark.parametrize("good", range(OPERATIONS + 1))
def test_file_fault_at_each_operation(file, core, tmp_path, good):
    """The first ``good`` operations work, all later ones fail and change nothing."""
    buffer = buffer_of(core, b"abc")
    operations = [
        lambda: file.py_write_at(buffer, 0, 1, 0),
        lambda: file.py_write_at(buffer, 1, 1, 1),
        file.py_datasync,
        lambda: file.py_zero(2, 1),
        lambda: file.py_write_at(buffer, 2, 1, 3),
    ]
    file.fail_after = good
    file.fail_errno = errno.ENOSPC
    assert [operation() for operation in operations] == [0] * good + [-errno.ENOSPC] * (OPERATIONS - good)
    assert file.fail_after == max(0, good - OPERATIONS)
    changes = [b"a", b"b", b"", b"\0", b"c"]
    assert (tmp_path / "data").read_bytes() == b"".join(changes[:good])
    # Reads never fail on demand, and the fault can be taken back.
    assert file.py_read_at(buffer, 10, 0) == 0
    file.fail_after = -1
    assert file.py_datasync() == 0


def test_file_stalls(file, system):
    file.stall_ns = 2_000_000
    before = system.monotonic_ns()
    assert file.py_datasync() == 0
    assert system.monotonic_ns() - before >= 2_000_000
    file.fail_after = 0
    assert file.py_datasync() == -errno.EIO


def test_file_stall_holds_nobody_up(file):
    """The GIL is free during a sync: this thread gets on while another one is in it."""
    inside = threading.Event()
    file.stall_ns = 200_000_000

    def sync():
        inside.set()
        file.py_datasync()

    thread = start(sync)
    assert inside.wait(LIMIT_S)
    file.stall_ns = 0
    assert ends(thread)


def test_file_create_goes_on_with_a_new_one(file, core, tmp_path):
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        buffer = buffer_of(core, b"new")
        assert file.py_create(directory, 0xABC, 8192) == 0
        path = tmp_path / "wal-0000000000000abc.log"
        assert file.size() == 8192
        assert not os.get_inheritable(file.fd)
        assert file.py_write_at(buffer, 0, 3, 1) == 0
        assert file.py_sync_new(directory) == 0
        assert path.read_bytes() == b"\0new" + bytes(8188)
        assert (tmp_path / "data").read_bytes() == b""
        # What fails leaves the present file in use.
        assert file.py_create(directory, 0xABC, 8192) == -errno.EEXIST
        assert file.py_create(directory, 1, 0) == -errno.EINVAL
        assert file.py_create(directory, 2, 2**63) == -errno.EINVAL
        assert file.py_create(-1, 3, 4096) == -errno.EBADF
        assert file.py_sync_new(-1) == -errno.EBADF
        assert file.py_read_at(buffer, 3, 1) == 0
        assert buffer.tobytes() == b"new"
        assert file.py_create(directory, 2**64 - 1, 1) == 0
        assert (tmp_path / "wal-ffffffffffffffff.log").stat().st_size == 1
    finally:
        os.close(directory)


@pytest.mark.parametrize("good", range(3))
def test_file_create_faults(file, tmp_path, good):
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        file.fail_after = good
        codes = [file.py_create(directory, 1, 4096), file.py_sync_new(directory)]
        assert codes == [0] * good + [-errno.EIO] * (2 - good)
        assert (tmp_path / "wal-0000000000000001.log").exists() == (good > 0)
    finally:
        os.close(directory)


# --- directories ---------------------------------------------------------------------------------


def test_sync_directory(system, tmp_path):
    (tmp_path / "new").write_bytes(b"x")
    assert system.sync_directory(tmp_path) is None
    system.sync_directory(os.fsencode(tmp_path))
    with pytest.raises(FileNotFoundError):
        system.sync_directory(tmp_path / "missing")
    with pytest.raises(NotADirectoryError):
        system.sync_directory(tmp_path / "new")


def test_lock_directory_in_this_process(system, errors, tmp_path):
    lock = system.lock_directory(tmp_path)
    with pytest.raises(errors.WrongDirectory, match="in use"):
        system.lock_directory(str(tmp_path))
    system.unlock_directory(lock)
    system.unlock_directory(system.lock_directory(tmp_path))
    with pytest.raises(FileNotFoundError):
        system.lock_directory(tmp_path / "missing")


HOLD = """
import sys
from raftx import _sys
from raftx.errors import WrongDirectory
try:
    _sys.lock_directory(sys.argv[1])
    print("locked", flush=True)
except WrongDirectory:
    print("refused", flush=True)
sys.stdin.read()
"""


def other_process(impl, directory):
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)],
        cwd=ROOT,
        env={**os.environ, "RAFTX_PURE": "" if impl.COMPILED else "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_lock_directory_against_another_process(impl, system, errors, tmp_path):
    with other_process(impl, tmp_path) as holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(errors.WrongDirectory):
            system.lock_directory(tmp_path)
        holder.stdin.close()
        assert holder.wait(LIMIT_S) == 0
    lock = system.lock_directory(tmp_path)
    with other_process(impl, tmp_path) as refused:
        assert refused.stdout.readline() == "refused\n"
        refused.stdin.close()
        assert refused.wait(LIMIT_S) == 0
    system.unlock_directory(lock)


def test_lock_directory_ends_with_its_process(impl, system, tmp_path):
    with other_process(impl, tmp_path) as holder:
        assert holder.stdout.readline() == "locked\n"
        holder.kill()
        holder.wait(LIMIT_S)
    system.unlock_directory(system.lock_directory(tmp_path))
