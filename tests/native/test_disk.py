"""raftx._native.files in both implementations: files, faults on demand, directories and their locks."""

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import threading

import pytest

from tests.helpers.paths import ROOT
from tests.helpers.threads import LIMIT_S, ends, start


def buffer_of(core, data):
    buffer = core.Buffer()
    buffer.py_put(data)
    return buffer


# --- File ----------------------------------------------------------------------------------------


@pytest.fixture
def disk(mod):
    return mod("_native.files")


@pytest.fixture
def directory(disk, tmp_path):
    directory = disk.Directory(tmp_path)
    yield directory
    directory.close()


@pytest.fixture
def file(disk, tmp_path):
    file = disk.File(tmp_path / "data", create=True)
    yield file
    file.close()


def test_file_opens(disk, tmp_path):
    path = tmp_path / "data"
    with pytest.raises(FileNotFoundError):
        disk.File(path)
    with pytest.raises(FileNotFoundError):
        disk.File(path, readonly=True)
    file = disk.File(str(path), create=True)
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
    disk.File(path)


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


def test_file_writes_bytes_where_they_are(file, tmp_path):
    for data in (b"0123456789", bytearray(b"abc"), memoryview(b"xxyyzz")[2:4], b""):
        assert file.py_write(data, 5) == 0
    assert (tmp_path / "data").read_bytes() == b"\0" * 5 + b"yyc3456789"
    with pytest.raises(OverflowError):
        file.py_write(b"x", -1)
    with pytest.raises((TypeError, BufferError)):
        file.py_write("text", 0)
    file.fail_after = 0
    assert file.py_write(b"x", 0) == -errno.EIO
    file.fail_after = -1
    file.close()
    assert file.py_write(b"x", 0) == -errno.EBADF


def test_file_writes_pieces_one_after_the_other(disk, file, core, tmp_path):
    head = buffer_of(core, b"head")
    spans = core.Spans()
    for piece in (b"one", b"", b"four" * 3):
        spans.py_push(piece)
    assert file.py_write_parts(head, spans, 5, 2) == 0
    expected = b"\0\0head" + b"one" + b"four" * 3 + bytes(5)
    assert (tmp_path / "data").read_bytes() == expected
    spans.py_clear()
    assert file.py_write_parts(core.Buffer(), spans, 0, 1 << 20) == 0
    assert file.size() == len(expected)
    assert file.py_write_parts(head, spans, 65536, 0) == 0
    assert (tmp_path / "data").read_bytes() == b"head" + bytes(65536)
    assert file.py_write_parts(head, spans, 65537, 0) == -errno.EINVAL
    for _ in range(disk.PARTS_MAX):
        spans.py_push(b"a piece")
    assert file.py_write_parts(head, spans, 0, 0) == 0
    assert (tmp_path / "data").read_bytes().startswith(b"head" + b"a piece" * disk.PARTS_MAX)
    spans.py_push(b"one more")
    assert file.py_write_parts(head, spans, 0, 0) == -errno.EINVAL
    for arguments, error in (((b"head", spans, 0, 0), TypeError), ((head, [], 0, 0), TypeError)):
        with pytest.raises(error):
            file.py_write_parts(*arguments)
    with pytest.raises(OverflowError):
        file.py_write_parts(head, spans, -1, 0)
    spans.py_clear()
    file.fail_after = 0
    assert file.py_write_parts(head, spans, 0, 0) == -errno.EIO
    file.fail_after = -1
    file.close()
    assert file.py_write_parts(head, spans, 0, 0) == -errno.EBADF


def test_file_writes_large_pieces(file, core, tmp_path):
    """A call of the system may write a part of them; it goes on where that ends."""
    pieces = [os.urandom(1 << 20) for _ in range(3)]
    spans = core.Spans()
    for piece in pieces:
        spans.py_push(piece)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((1 << 20) + 5000, limits[1]))
    try:
        assert file.py_write_parts(buffer_of(core, b"head"), spans, 9, 0) == -errno.EFBIG
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert (tmp_path / "data").read_bytes() == (b"head" + b"".join(pieces))[: (1 << 20) + 5000]
    assert file.py_write_parts(buffer_of(core, b"head"), spans, 9, 0) == 0
    assert (tmp_path / "data").read_bytes() == b"head" + b"".join(pieces) + bytes(9)


def test_file_is_written_out(file, tmp_path):
    """It changes nothing but when the disk gets what was written; the first range has none before it."""
    data = os.urandom(3 * 4096)
    assert file.py_write(data, 0) == 0
    for position in range(0, len(data), 4096):
        assert file.py_write_out(position, 4096) == 0
        assert file.py_write_out(position, 4096, 8192) == 0
    assert file.py_write_out(1 << 20, 4096) == 0  # nothing is there
    assert (tmp_path / "data").read_bytes() == data
    file.fail_after = 0
    assert file.py_write_out(0, 4096) == -errno.EIO
    file.fail_after = -1
    file.close()
    assert file.py_write_out(0, 4096) == -errno.EBADF


def test_what_is_no_file_is_refused_at_once(disk, directory, tmp_path):
    """Who opens a pipe that nobody writes to waits for ever, and a node with it."""
    os.mkfifo(tmp_path / "pipe")
    os.symlink("pipe", tmp_path / "link")
    for name in ("pipe", "link"):
        for readonly in (True, False):
            with pytest.raises(OSError, match=f"{name} is no file"):
                directory.open_file(name, readonly=readonly)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        directory.open_file("folder")


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


def test_file_size_and_room(file):
    assert file.py_allocate(8192) == 0
    assert file.size() == 8192
    assert file.py_allocate(10) == 0
    assert file.size() == 8192
    assert file.py_allocate(0) == -errno.EINVAL
    assert file.py_allocate(2**63) == -errno.EINVAL
    file.fail_errno = errno.ENOSPC
    file.fail_after = 0
    assert file.py_allocate(16384) == -errno.ENOSPC
    assert file.size() == 8192


def test_file_says_what_the_system_says(disk, core, tmp_path):
    buffer = buffer_of(core, b"data")
    path = tmp_path / "data"
    path.write_bytes(b"old")
    file = disk.File(path, readonly=True)
    assert file.py_write_at(buffer, 0, 4, 0) == -errno.EBADF
    assert file.py_zero(0, 4) == -errno.EBADF
    assert file.py_write_at(buffer, 0, 4, 2**63) in (-errno.EINVAL, -errno.EBADF)
    file.close()
    assert file.py_datasync() == -errno.EBADF
    assert file.py_write_at(buffer, 0, 4, 0) == -errno.EBADF
    assert file.py_read_at(buffer, 4, 0) == -errno.EBADF
    assert len(buffer) == 0
    writable = disk.File(path)
    buffer.py_put(b"data")
    assert writable.py_write_at(buffer, 0, 4, 2**63) == -errno.EINVAL
    assert writable.py_zero(2**64 - 1, 1) == -errno.EINVAL
    assert writable.py_read_at(buffer, 4, 2**63) == -errno.EINVAL
    writable.close()
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_file_full_disk(disk, core):
    file = disk.File("/dev/full")
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


def test_file_create_goes_on_with_a_new_one(disk, file, directory, core, tmp_path):
    buffer = buffer_of(core, b"new")
    assert file.py_create(directory, 0xABC, 8192) == 0
    path = tmp_path / "wal-0000000000000abc.log"
    assert file.size() == 8192
    assert not os.get_inheritable(file.fd)
    assert file.py_write_at(buffer, 0, 3, 1) == 0
    assert file.py_sync_new(directory) == 0
    assert path.read_bytes() == b"\0new" + bytes(8188)
    assert (tmp_path / "data").read_bytes() == b""
    # What fails leaves the present file in use, and no other one behind.
    assert file.py_create(directory, 0xABC, 8192) == -errno.EEXIST
    assert file.py_create(directory, 1, 0) == -errno.EINVAL
    assert file.py_create(directory, 2, 2**63) == -errno.EINVAL
    assert sorted(os.listdir(tmp_path)) == ["data", path.name]
    assert file.py_read_at(buffer, 3, 1) == 0
    assert buffer.tobytes() == b"new"
    assert file.py_create(directory, 2**64 - 1, 1) == 0
    assert (tmp_path / "wal-ffffffffffffffff.log").stat().st_size == 1
    directory.close()
    assert file.py_create(directory, 3, 4096) == -errno.EBADF
    assert file.py_sync_new(directory) == -errno.EBADF
    for wrong in (None, 3, file):
        with pytest.raises(TypeError):
            file.py_create(wrong, 3, 4096)


@pytest.mark.parametrize("good", range(3))
def test_file_create_faults(file, directory, tmp_path, good):
    file.fail_after = good
    codes = [file.py_create(directory, 1, 4096), file.py_sync_new(directory)]
    assert codes == [0] * good + [-errno.EIO] * (2 - good)
    assert (tmp_path / "wal-0000000000000001.log").exists() == (good > 0)


def test_file_without_room_leaves_nothing_behind(file, directory, tmp_path):
    """A file that was made and could not be made long enough would be in the way of the next attempt."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        assert file.py_create(directory, 1, 8192) == -errno.EFBIG
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    assert os.listdir(tmp_path) == ["data"]
    assert file.py_create(directory, 1, 8192) == 0


def test_file_takes_another_ones_place(disk, file, directory, core, tmp_path):
    other = disk.File()
    assert other.fd == -1
    assert other.py_datasync() == -errno.EBADF
    assert other.py_create(directory, 7, 4096) == 0
    held = other.fd
    file.py_take(other)
    assert (file.fd, other.fd) == (held, -1)
    assert file.py_named(directory) == 0
    assert file.size() == 4096
    with pytest.raises(TypeError):
        file.py_take(None)


# --- names ---------------------------------------------------------------------------------------


def test_file_knows_whether_its_name_leads_to_it(disk, directory, tmp_path):
    path = tmp_path / "wal-0000000000000001.log"
    file = disk.File()
    assert file.py_create(directory, 1, 4096) == 0
    assert file.py_named(directory) == 0
    os.link(path, tmp_path / "copy")
    assert file.py_named(directory) == 0  # another name does no harm
    path.rename(tmp_path / "elsewhere")
    assert file.py_named(directory) == -errno.ENOENT
    path.write_bytes(b"another one")
    assert file.py_named(directory) == -errno.ESTALE
    path.unlink()
    (tmp_path / "elsewhere").rename(path)
    assert file.py_named(directory) == 0
    path.rename(tmp_path / "elsewhere")
    path.symlink_to("elsewhere")
    assert file.py_named(directory) == -errno.ESTALE
    path.unlink()
    (tmp_path / "elsewhere").unlink()
    (tmp_path / "copy").unlink()
    assert file.py_named(directory) == -errno.ENOENT
    file.close()
    assert file.py_named(directory) == -errno.EBADF
    opened = disk.File("opened", create=True, directory=directory)
    assert opened.py_named(directory) == 0
    opened.close()
    with pytest.raises(OSError, match="name"):
        disk.File("x" * 300, create=True, directory=directory)


def test_directory_knows_whether_its_path_leads_to_it(disk, tmp_path, monkeypatch):
    path = tmp_path / "n"
    path.mkdir()
    monkeypatch.chdir(tmp_path)
    directory = disk.Directory("n")
    assert directory.path == os.fsencode(path)
    monkeypatch.chdir("/")
    assert directory.py_check() == 0
    path.rename(tmp_path / "moved")
    assert directory.py_check() == -errno.ENOENT
    path.mkdir()
    assert directory.py_check() == -errno.ESTALE
    path.rmdir()
    path.write_bytes(b"a file")
    assert directory.py_check() == -errno.ESTALE
    path.unlink()
    (tmp_path / "moved").rename(path)
    assert directory.py_check() == 0
    path.rmdir()
    assert directory.py_check() == -errno.ENOENT
    directory.close()
    assert directory.py_check() == -errno.EBADF
    assert directory.py_sync() == -errno.EBADF


# --- directories ---------------------------------------------------------------------------------


def test_sync_directory(disk, tmp_path):
    (tmp_path / "new").write_bytes(b"x")
    assert disk.sync_directory(tmp_path) is None
    disk.sync_directory(os.fsencode(tmp_path))
    with pytest.raises(FileNotFoundError):
        disk.sync_directory(tmp_path / "missing")
    with pytest.raises(NotADirectoryError):
        disk.sync_directory(tmp_path / "new")


def test_a_directory_is_held_once_in_this_process(disk, errors, tmp_path):
    held = disk.Directory(tmp_path)
    with pytest.raises(errors.WrongDirectory, match="in use"):
        disk.Directory(str(tmp_path))
    # It is no file in it that is locked: nothing can be deleted that lets another one in.
    assert os.listdir(tmp_path) == []
    held.close()
    held.close()
    assert held.fd == -1
    disk.Directory(os.fsencode(tmp_path)).close()
    with pytest.raises(FileNotFoundError):
        disk.Directory(tmp_path / "missing")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        disk.Directory(tmp_path / "file")


HOLD = """
import sys
from raftx._native import files
from raftx.errors import WrongDirectory
try:
    held = files.Directory(sys.argv[1])
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


def test_a_directory_is_held_against_another_process(impl, disk, errors, tmp_path):
    with other_process(impl, tmp_path) as holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(errors.WrongDirectory):
            disk.Directory(tmp_path)
        holder.stdin.close()
        assert holder.wait(LIMIT_S) == 0
    held = disk.Directory(tmp_path)
    with other_process(impl, tmp_path) as refused:
        assert refused.stdout.readline() == "refused\n"
        refused.stdin.close()
        assert refused.wait(LIMIT_S) == 0
    held.close()


def test_a_directory_is_let_go_with_its_process(impl, disk, tmp_path):
    with other_process(impl, tmp_path) as holder:
        assert holder.stdout.readline() == "locked\n"
        holder.kill()
        holder.wait(LIMIT_S)
    disk.Directory(tmp_path).close()


def test_a_child_holds_no_lock(impl, tmp_path):
    """A forked worker keeps nobody out, before and after its parent lets go; and lets nobody in."""
    code = """
import os, signal, sys
from raftx._native import files
from raftx.errors import WrongDirectory
path = sys.argv[1]
held = files.Directory(path)
ready, tell = os.pipe()
child = os.fork()
if not child:
    held.close()                      # nothing of the parent's is unlocked by that
    os.write(tell, b"%d" % (held.fd == -1))
    signal.pause()
assert os.read(ready, 1) == b"1"
try:
    files.Directory(path)
    sys.exit("let in while it was held")
except WrongDirectory:
    pass
if sys.argv[2] == "close":
    held.close()
    files.Directory(path).close()     # while the child lives
    print(child, flush=True)
    sys.stdin.read()
else:
    print(child, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    for end in ("close", "killed"):
        with subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), end],
            cwd=ROOT,
            env={**os.environ, "RAFTX_PURE": "" if impl.COMPILED else "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as parent:
            line = parent.stdout.readline()
            try:
                assert line, parent.communicate()[1]
                parent.stdin.close()
                parent.wait(LIMIT_S)
                # The child is still there.
                os.kill(int(line), 0)
                impl._native.files.Directory(tmp_path).close()
            finally:
                if line:
                    os.kill(int(line), signal.SIGKILL)
