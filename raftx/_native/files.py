"""Files and directories, in plain Python: the definition of what ``files.pyx`` does faster.

Used where nothing is compiled, and with ``RAFTX_PURE=1``. Same names, same results, the same bytes
and error numbers as the compiled module; both change in one commit. Nothing here knows Raft.

Methods without a ``py_`` twin trust their arguments, as the compiled ones do.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
import weakref
from typing import TypeAlias

from ..errors import IN_USE, WrongDirectory
from .memory import Buffer, Bytes, Spans
from .threads import _number, _typed

ZEROS = bytes(1 << 16)

#: A file of a log that will be used again has this name meanwhile.
SPARE_NAME = "wal.spare"

#: What an operation returns that has not finished: ask again. Files of the operating system never do.
WAIT = 1

#: Spans that can be written together.
PARTS_MAX = 126

Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]


def _code(error: OSError | OverflowError | ValueError) -> int:
    """-errno. What the system would refuse does not always get that far: large positions, negative descriptors."""
    if isinstance(error, OSError):
        return -(error.errno or errno.EIO)
    return -errno.EINVAL if isinstance(error, OverflowError) else -errno.EBADF


def _pwrite(fd: int, data: Bytes, position: int) -> int:
    """Write all of it; 0 or -errno."""
    view = memoryview(data)
    try:
        while len(view):
            done = os.pwrite(fd, view, position)
            view = view[done:]
            position += done
    except (OSError, OverflowError, ValueError) as error:
        return _code(error)
    return 0


def _pwritev(fd: int, parts: list[memoryview], position: int) -> int:
    """Write all of them, one after the other; 0 or -errno."""
    try:
        while parts:
            done = os.pwritev(fd, parts, position) if len(parts[0]) else 0
            position += done
            while parts and done >= len(parts[0]):
                done -= len(parts.pop(0))
            if parts:
                parts[0] = parts[0][done:]
    except (OSError, OverflowError, ValueError) as error:
        return _code(error)
    return 0


def _allocate(fd: int, size: int) -> int:
    """Room for ``size`` bytes; the length at least, where a file system knows no reservation. 0 or -errno."""
    try:
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            if os.fstat(fd).st_size < size:
                os.ftruncate(fd, size)
    except (OSError, OverflowError, ValueError) as error:
        return _code(error)
    return 0


def _same(directory: int | None, name: Path, follow: bool, fd: int) -> int:
    """Whether a name still leads to what was opened: 0, -ENOENT without that name, -ESTALE when it leads elsewhere.

    What cannot be told (no permission to look, say) is not held against it.
    """
    try:
        opened = os.fstat(fd)
    except (OSError, ValueError) as error:
        return _code(error)
    if not opened.st_nlink:
        return -errno.ENOENT
    try:
        named = os.stat(name, dir_fd=directory, follow_symlinks=follow)
    except OSError as error:
        if error.errno == errno.ESTALE:
            return -errno.ESTALE
        return -errno.ENOENT if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP) else 0
    return 0 if (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino) else -errno.ESTALE


def _check_kind(fd: int, name: Path) -> None:
    """Raise OSError for a pipe or a device in the place of a file: whoever reads it could wait for ever."""
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, f"{os.fsdecode(name)} is no file, but something else has its name")


def segment_name(number: int) -> str:
    """The name of the file of a segment of a log. Raises OverflowError."""
    _number(number)
    return f"wal-{number:016x}.log"


# Directories that are open in this process. A forked child closes its copies: they would hold the locks.
_held: weakref.WeakSet[Directory] = weakref.WeakSet()


def _after_fork() -> None:
    # No unlocking here: that would take the lock from the parent.
    for directory in list(_held):
        directory._leave()
    _held.clear()


os.register_at_fork(after_in_child=_after_fork)


class Directory:
    """A directory that this process holds: locked until ``close`` or its end. Raises WrongDirectory, OSError.

    The lock is on the directory itself, so it cannot be deleted or replaced apart from it. Without ``locked`` others
    may hold it, and change what is in it. A subclass may stand for something else than the operating system's; so may
    the files that it opens.
    """

    __slots__ = ("__weakref__", "fd", "path")

    def __init__(self, path: Path, locked: bool = True) -> None:
        self.fd = -1
        self.path: bytes = os.path.abspath(os.fsencode(path))
        self.fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if locked:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            code = self.check()
            if code:
                raise OSError(-code, "the directory was replaced while it was opened")
        except BlockingIOError as error:
            self._leave()
            raise WrongDirectory(f"{os.fsdecode(self.path)} {IN_USE}") from error
        except BaseException:
            self._leave()
            raise
        _held.add(self)

    def __del__(self) -> None:
        self._leave()

    def is_open(self) -> bool:
        """Whether this process holds it: not after ``close``, and not in a forked child."""
        return self.fd >= 0

    def names(self) -> list[str]:
        """The names in it, sorted. Raises OSError."""
        return sorted(os.listdir(self.fd))

    def new_file(self) -> File:
        """A File that is no file yet, of the kind that stands in this directory."""
        return File()

    def open_file(self, name: str, create: bool = False, readonly: bool = False) -> File:
        """A File of this directory by its name. Raises OSError."""
        return File(name, create=create, readonly=readonly, directory=self)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, in place of what had it; durable with the next sync. Raises OSError."""
        os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def remove(self, name: str) -> None:
        """Remove a name; durable with the next sync. Raises OSError."""
        os.unlink(name, dir_fd=self.fd)

    def check(self) -> int:
        """Whether the path still leads here: 0, -ENOENT when it was deleted, -ESTALE when it leads elsewhere."""
        return _same(None, self.path, True, self.fd)

    def sync(self) -> int:
        """Make created, renamed and removed names in it durable; 0 or -errno."""
        try:
            os.fsync(self.fd)
        except (OSError, ValueError) as error:
            return _code(error)
        return 0

    def remove_segment(self, number: int) -> int:
        """Remove wal-<number>.log; durable with the next sync. 0 or -errno."""
        try:
            os.unlink(segment_name(number), dir_fd=self.fd)
        except (OSError, ValueError) as error:
            return _code(error)
        return 0

    def remove_spare(self) -> int:
        """Remove the file that was set aside; durable with the next sync. 0 or -errno."""
        try:
            os.unlink(SPARE_NAME, dir_fd=self.fd)
        except (OSError, ValueError) as error:
            return _code(error)
        return 0

    def close(self) -> None:
        """Unlock and close it; may be called twice."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            _held.discard(self)
            try:
                # Closing alone would not unlock it while a forked child has a copy of the descriptor.
                fcntl.flock(fd, fcntl.LOCK_UN)
            finally:
                os.close(fd)

    def _leave(self) -> None:
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def py_check(self) -> int:
        """``check`` for Python."""
        return self.check()

    def py_sync(self) -> int:
        """``sync`` for Python. Without the GIL."""
        return self.sync()


class File:
    """A file opened for positioned reads and writes. ``fail_after`` (tests): n operations succeed, all later ones fail.

    ``path`` is relative to ``directory`` where that is given; without both it is no file yet. Methods return 0 or
    -errno where the compiled ones run without the GIL, the others raise OSError.
    """

    __slots__ = ("fail_after", "fail_errno", "fd", "name", "stall_ns")

    def __init__(
        self, path: Path | None = None, create: bool = False, readonly: bool = False, directory: Directory | None = None
    ) -> None:
        self.fd = -1
        self.name = b""  # in its directory; empty when it was opened by a path
        self.fail_after = -1  # none
        self.fail_errno: int = errno.EIO
        self.stall_ns = 0  # how long each sync takes longer
        if path is None:
            return
        flags = os.O_CLOEXEC | (os.O_RDONLY if readonly else os.O_RDWR) | (os.O_CREAT if create else 0)
        if directory is None:
            self.fd = os.open(path, flags, 0o600)
        else:
            self._name(os.fsencode(path))
            self.fd = os.open(path, flags | os.O_NONBLOCK, 0o600, dir_fd=_typed(Directory, directory).fd)
            _check_kind(self.fd, path)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)

    def _name(self, name: bytes) -> None:
        if len(name) >= 256:
            raise OSError(errno.ENAMETOOLONG, "the name of a file is too long")
        self.name = name

    def _fault(self) -> int:
        if self.fail_after < 0:
            return 0
        if self.fail_after > 0:
            self.fail_after -= 1
            return 0
        return -self.fail_errno

    def write_at(self, buffer: Buffer, offset: int, size: int, position: int) -> int:
        """Write a part of the buffer at ``position``; 0 or -errno."""
        code = self._fault()
        return code if code else _pwrite(self.fd, memoryview(buffer.data)[offset : offset + size], position)

    def write_parts(self, head: Buffer, spans: Spans, zeros: int, position: int) -> int:
        """Write the buffer, what stands in the spans, and zero bytes, one after the other; 0 or -errno.

        -EINVAL for more than PARTS_MAX spans or 65,536 zeros.
        """
        code = self._fault()
        if code:
            return code
        if spans.count > PARTS_MAX or zeros > len(ZEROS):
            return -errno.EINVAL
        pieces = [memoryview(spans.data_at(span))[: spans.size_at(span)] for span in range(spans.count)]
        parts = [memoryview(head.data)[: head.size], *pieces, memoryview(ZEROS)[:zeros]]
        return _pwritev(self.fd, parts, position)

    def read_at(self, buffer: Buffer, size: int, position: int) -> int:
        """Read up to ``size`` bytes; 0 or -errno. The buffer then holds what was there."""
        buffer.clear()
        buffer.fill(size)
        view = memoryview(buffer.data)
        total = 0
        try:
            while total < size and (done := os.preadv(self.fd, [view[total:size]], position + total)):
                total += done
        except (OSError, OverflowError, ValueError) as error:
            buffer.clear()
            return _code(error)
        buffer.size = total
        return 0

    def zero(self, position: int, size: int) -> int:
        """Write zero bytes; 0 or -errno."""
        code = self._fault()
        while not code and size:
            step = min(size, len(ZEROS))
            code = _pwrite(self.fd, memoryview(ZEROS)[:step], position)
            position += step
            size -= step
        return code

    def datasync(self) -> int:
        """Make what was written durable; 0 or -errno. A subclass may also return WAIT: it has begun, ask again."""
        code = self._fault()
        if self.stall_ns > 0:
            time.sleep(self.stall_ns / 1e9)
        if code:
            return code
        try:
            os.fdatasync(self.fd)
        except (OSError, ValueError) as error:
            return _code(error)
        return 0

    def create(self, directory: Directory, number: int, size: int) -> int:
        """Go on with a new file wal-<number>.log of ``size`` reserved bytes; 0 or -errno, and then this one stays."""
        code = self._fault()
        if code:
            return code
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        name = segment_name(number)
        try:
            fd = os.open(name, flags, 0o600, dir_fd=directory.fd)
        except (OSError, OverflowError, ValueError) as error:
            return _code(error)
        code = _allocate(fd, size)
        if code:
            # What could not be made whole is not left behind.
            os.unlink(name, dir_fd=directory.fd)
            os.close(fd)
            return code
        self.close()
        self.fd = fd
        self.name = name.encode()
        return 0

    def set_aside(self, directory: Directory, number: int) -> int:
        """Go on with wal-<number>.log, which is called SPARE_NAME from now on; 0 or -errno, and then this one stays."""
        code = self._fault()
        if code:
            return code
        name = segment_name(number)
        try:
            fd = os.open(name, os.O_RDWR | os.O_CLOEXEC, dir_fd=directory.fd)
        except (OSError, OverflowError, ValueError) as error:
            return _code(error)
        try:
            os.rename(name, SPARE_NAME, src_dir_fd=directory.fd, dst_dir_fd=directory.fd)
        except OSError as error:
            os.close(fd)
            return _code(error)
        self.close()
        self.fd = fd
        self.name = SPARE_NAME.encode()
        return 0

    def use_spare(self, directory: Directory, number: int) -> int:
        """It was set aside and is called wal-<number>.log from now on, unless a file has that name; 0 or -errno."""
        code = self._fault()
        if code:
            return code
        name = segment_name(number)
        try:
            # A rename would replace what has the name.
            os.link(SPARE_NAME, name, src_dir_fd=directory.fd, dst_dir_fd=directory.fd, follow_symlinks=False)
            os.unlink(SPARE_NAME, dir_fd=directory.fd)
        except (OSError, ValueError) as error:
            return _code(error)
        self.name = name.encode()
        return 0

    def allocate(self, size: int) -> int:
        """Reserve room up to ``size``; 0 or -errno."""
        code = self._fault()
        return code if code else _allocate(self.fd, size)

    def sync_new(self, directory: Directory) -> int:
        """Make a new file and its name in the directory durable; 0 or -errno; in a subclass perhaps WAIT."""
        code = self._fault()
        if code:
            return code
        try:
            os.fsync(self.fd)
        except (OSError, ValueError) as error:
            return _code(error)
        return directory.sync()

    def length(self) -> int:
        """Length in bytes, or -errno."""
        try:
            return os.fstat(self.fd).st_size
        except (OSError, ValueError) as error:
            return _code(error)

    def named(self, directory: Directory) -> int:
        """Whether its name in the directory still leads to it: 0, -ENOENT without that name, -ESTALE: another file."""
        return _same(directory.fd, self.name, False, self.fd)

    def take(self, other: File) -> None:
        """Go on with another one's file, which has none afterwards."""
        self.close()
        self.fd, other.fd = other.fd, -1
        self.name = other.name

    def close(self) -> None:
        """Close it; may be called twice."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def size(self) -> int:
        """Length in bytes. Raises OSError."""
        return os.fstat(self.fd).st_size

    def identity(self) -> tuple[int, int]:
        """What no other file has, whatever its name. Raises OSError."""
        status = os.fstat(self.fd)
        return status.st_dev, status.st_ino

    def py_write_at(self, buffer: Buffer, offset: int, size: int, position: int) -> int:
        """0 or -errno. Without the GIL."""
        offset, size, position = _number(offset), _number(size), _number(position)
        if offset + size > _typed(Buffer, buffer).size:
            raise IndexError("outside of the buffer")
        return self.write_at(buffer, offset, size, position)

    def py_write(self, data: Bytes, position: int) -> int:
        """Write bytes where they are; 0 or -errno. Without the GIL."""
        return self._fault() or _pwrite(self.fd, memoryview(data).cast("B"), _number(position))

    def py_write_parts(self, head: Buffer, spans: Spans, zeros: int, position: int) -> int:
        """``write_parts`` for Python. Without the GIL."""
        return self.write_parts(_typed(Buffer, head), _typed(Spans, spans), _number(zeros), _number(position))

    def py_read_at(self, buffer: Buffer, size: int, position: int) -> int:
        """0 or -errno; the buffer then holds what was there. Without the GIL."""
        return self.read_at(_typed(Buffer, buffer), _number(size), _number(position))

    def py_zero(self, position: int, size: int) -> int:
        """0 or -errno. Without the GIL."""
        return self.zero(_number(position), _number(size))

    def py_create(self, directory: Directory, number: int, size: int) -> int:
        """Go on with a new file wal-<number as 16 hex digits>.log of ``size`` reserved bytes; 0 or -errno."""
        return self.create(_typed(Directory, directory), _number(number), _number(size))

    def py_allocate(self, size: int) -> int:
        """Reserve room up to ``size``; 0 or -errno."""
        return self.allocate(_number(size))

    def py_sync_new(self, directory: Directory) -> int:
        """Make a new file and its name in the directory durable; 0 or -errno. Without the GIL."""
        return self.sync_new(_typed(Directory, directory))

    def py_named(self, directory: Directory) -> int:
        """Whether its name in the directory still leads to it: 0, -ENOENT without that name, -ESTALE: another file."""
        return self.named(_typed(Directory, directory))

    def py_take(self, other: File) -> None:
        """Go on with another one's file, which has none afterwards."""
        self.take(_typed(File, other))

    def py_datasync(self) -> int:
        """``datasync`` for Python. Without the GIL."""
        return self.datasync()

    def py_write_out(self, position: int, size: int, behind: int | None = None) -> int:
        """Begin to write out a range; 0 or -errno. It makes nothing durable.

        It waits for one of the same size, which begins so many bytes before it (None: ``size``).

        Compiled code has the system's own call for that; here it is a sync, which does more.
        """
        return self.datasync()


def sync_directory(path: Path) -> None:
    """Make created, renamed and removed names in a directory durable. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
