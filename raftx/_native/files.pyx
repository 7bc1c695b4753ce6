"""Files and directories: positioned reads and writes, syncs, faults on demand, and whose a directory is.

files.py is the twin in plain Python. Nothing here knows Raft.
"""
import errno
import fcntl
import os
import stat
import weakref

from libc.errno cimport EINVAL
from libc.string cimport memcpy, strlen

from .checks cimport check_index, check_part

from ..errors import IN_USE, WrongDirectory

cdef extern from "_native/threads.h":
    void raftx_sleep(int64_t) noexcept nogil

cdef extern from "_native/files.h":
    int raftx_pwrite(int, const uint8_t*, size_t, uint64_t) noexcept nogil
    struct iovec:
        void* iov_base
        size_t iov_len
    int raftx_pwritev(int, iovec*, int, uint64_t) noexcept nogil
    int64_t raftx_pread(int, uint8_t*, size_t, uint64_t) noexcept nogil
    int raftx_datasync(int) noexcept nogil
    int raftx_write_out(int, int64_t, int64_t, int64_t) noexcept nogil
    int raftx_create(int, const char*, uint64_t) noexcept nogil
    int raftx_allocate(int, uint64_t) noexcept nogil
    int raftx_remove(int, const char*) noexcept nogil
    int raftx_set_aside(int, const char*, const char*) noexcept nogil
    int raftx_rename_new(int, const char*, const char*) noexcept nogil
    int raftx_same(int, const char*, int, int) noexcept nogil
    int64_t raftx_length(int) noexcept nogil
    int raftx_sync(int) noexcept nogil
    const uint8_t* raftx_zeros
    int snprintf(char*, size_t, const char*, ...) noexcept nogil
    int close_fd "close"(int) noexcept nogil
    int AT_FDCWD, AT_SYMLINK_NOFOLLOW

cdef enum:
    ZEROS = 1 << 16
    NAME_MAX = 256

# A file of a log that will be used again has this name meanwhile.
SPARE_NAME = "wal.spare"
cdef const char* SPARE = b"wal.spare"

# What an operation returns that has not finished: ask again. Files of the operating system never do.
WAIT = 1

# Spans that can be written together.
PARTS_MAX = PARTS

# Directories that are open in this process. A forked child closes its copies: they would hold the locks.
_held = weakref.WeakSet()


def _after_fork():
    # No unlocking here: that would take the lock from the parent.
    for directory in list(_held):
        (<Directory?>directory)._leave()
    _held.clear()


os.register_at_fork(after_in_child=_after_fork)


def _check_kind(fd, name):
    """Raise OSError for a pipe or a device in the place of a file: whoever reads it could wait for ever."""
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, f"{os.fsdecode(name)} is no file, but something else has its name")


cdef void put_segment_name(char* name, size_t size, uint64_t number) noexcept nogil:
    snprintf(name, size, "wal-%016llx.log", <unsigned long long>number)


def segment_name(uint64_t number):
    """The name of the file of a segment of a log. Raises OverflowError."""
    cdef char name[64]
    put_segment_name(name, sizeof(name), number)
    return name.decode()


cdef class Directory:
    """A directory that this process holds: locked until ``close`` or its end. Raises WrongDirectory, OSError.

    The lock is on the directory itself, so it cannot be deleted or replaced apart from it. Without ``locked`` others
    may hold it, and change what is in it. A subclass may stand for something else than the operating system's; so may
    the files that it opens.
    """

    def __cinit__(self):
        self.fd = -1
        self.path = b""
        self.name = ""

    def __init__(self, path, locked=True):
        self._leave()
        self.path = os.path.abspath(os.fsencode(path))
        self.name = self.path
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

    def __dealloc__(self):
        if self.fd >= 0:
            close_fd(self.fd)

    def is_open(self):
        """Whether this process holds it: not after ``close``, and not in a forked child."""
        return self.fd >= 0

    def names(self):
        """The names in it, sorted. Raises OSError."""
        return sorted(os.listdir(self.fd))

    def new_file(self):
        """A File that is no file yet, of the kind that stands in this directory."""
        return File()

    def open_file(self, name, create=False, readonly=False):
        """A File of this directory by its name. Raises OSError."""
        return File(name, create=create, readonly=readonly, directory=self)

    def rename(self, old, new):
        """Give a file another name, in place of what had it; durable with the next sync. Raises OSError."""
        os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def remove(self, name):
        """Remove a name; durable with the next sync. Raises OSError."""
        os.unlink(name, dir_fd=self.fd)

    cdef int check(self) noexcept nogil:
        return raftx_same(AT_FDCWD, self.name, 0, self.fd)

    cdef int sync(self) noexcept nogil:
        return raftx_sync(self.fd)

    cdef int remove_segment(self, uint64_t number) noexcept nogil:
        cdef char name[40]
        put_segment_name(name, sizeof(name), number)
        return raftx_remove(self.fd, name)

    cdef int remove_spare(self) noexcept nogil:
        return raftx_remove(self.fd, SPARE)

    def py_check(self):
        """Whether the path still leads here: 0, -ENOENT when it was deleted, -ESTALE when it leads elsewhere."""
        return self.check()

    def py_sync(self):
        """Make created, renamed and removed names in it durable; 0 or -errno. Without the GIL."""
        cdef int code
        with nogil:
            code = self.sync()
        return code

    def close(self):
        """Unlock and close it; may be called twice."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            _held.discard(self)
            try:
                # Closing alone would not unlock it while a forked child has a copy of the descriptor.
                fcntl.flock(fd, fcntl.LOCK_UN)
            finally:
                os.close(fd)

    def _leave(self):
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


cdef class File:
    """Positioned reads and writes. ``fail_after`` (tests) makes the n-th operation from now and all later ones fail.

    ``path`` is relative to ``directory`` where that is given; without both it is no file yet.
    """

    def __cinit__(self):
        self.fd = -1
        self.name[0] = 0
        self.fail_after = -1
        self.fail_errno = errno.EIO
        self.stall_ns = 0

    def __init__(self, path=None, create=False, readonly=False, Directory directory=None):
        self.close()
        if path is None:
            return
        flags = os.O_CLOEXEC | (os.O_RDONLY if readonly else os.O_RDWR) | (os.O_CREAT if create else 0)
        if directory is None:
            self.fd = os.open(path, flags, 0o600)
        else:
            self._name(os.fsencode(path))
            self.fd = os.open(path, flags | os.O_NONBLOCK, 0o600, dir_fd=directory.fd)
            _check_kind(self.fd, path)

    def __dealloc__(self):
        if self.fd >= 0:
            close_fd(self.fd)

    def _name(self, bytes name not None):
        cdef const char* text = name
        if strlen(text) >= NAME_MAX:
            raise OSError(errno.ENAMETOOLONG, "the name of a file is too long")
        memcpy(self.name, text, strlen(text) + 1)

    cdef int _fault(self) noexcept nogil:
        if self.fail_after < 0:
            return 0
        if self.fail_after > 0:
            self.fail_after -= 1
            return 0
        return -self.fail_errno

    cdef int write_at(self, Buffer buffer, size_t offset, size_t size, uint64_t position) noexcept nogil:
        cdef int code = self._fault()
        check_part(offset, size, buffer.size)
        return code if code else raftx_pwrite(self.fd, buffer.data + offset, size, position)

    cdef int write_parts(self, Buffer head, Spans spans, size_t zeros, uint64_t position) noexcept nogil:
        cdef iovec parts[PARTS + 2]
        cdef int code = self._fault()
        cdef size_t i
        if code:
            return code
        if spans.count > PARTS or zeros > ZEROS:
            return -EINVAL
        parts[0].iov_base = head.data
        parts[0].iov_len = head.size
        for i in range(spans.count):
            parts[i + 1].iov_base = <void*>spans.items[i].data
            parts[i + 1].iov_len = spans.items[i].size
        parts[spans.count + 1].iov_base = <void*>raftx_zeros
        parts[spans.count + 1].iov_len = zeros
        return raftx_pwritev(self.fd, parts, <int>spans.count + 2, position)

    cdef int read_at(self, Buffer buffer, size_t size, uint64_t position) except? -4096 nogil:
        cdef int64_t done
        buffer.clear()
        buffer.fill(size)
        done = raftx_pread(self.fd, buffer.data, size, position)
        if done < 0:
            buffer.clear()
            return <int>done
        check_index(done, size + 1)
        buffer.size = done
        return 0

    cdef int zero(self, uint64_t position, uint64_t size) noexcept nogil:
        cdef int code = self._fault()
        cdef uint64_t step
        while not code and size:
            step = min(size, <uint64_t>ZEROS)
            code = raftx_pwrite(self.fd, raftx_zeros, step, position)
            position += step
            size -= step
        return code

    cdef int datasync(self) noexcept nogil:
        cdef int code = self._fault()
        if self.stall_ns:
            raftx_sleep(self.stall_ns)
        return code if code else raftx_datasync(self.fd)

    cdef int create(self, Directory directory, uint64_t number, uint64_t size) noexcept nogil:
        # Instead of the file that was open. On failure that one stays.
        cdef char name[40]
        cdef int code = self._fault()
        if code:
            return code
        put_segment_name(name, sizeof(name), number)
        code = raftx_create(directory.fd, name, size)
        if code < 0:
            return code
        if self.fd >= 0:
            close_fd(self.fd)
        self.fd = code
        memcpy(self.name, name, sizeof(name))
        return 0

    cdef int set_aside(self, Directory directory, uint64_t number) noexcept nogil:
        # Instead of the file that was open. On failure that one stays.
        cdef char name[40]
        cdef int code = self._fault()
        if code:
            return code
        put_segment_name(name, sizeof(name), number)
        code = raftx_set_aside(directory.fd, name, SPARE)
        if code < 0:
            return code
        if self.fd >= 0:
            close_fd(self.fd)
        self.fd = code
        memcpy(self.name, SPARE, strlen(SPARE) + 1)
        return 0

    cdef int use_spare(self, Directory directory, uint64_t number) noexcept nogil:
        cdef char name[40]
        cdef int code = self._fault()
        if code:
            return code
        put_segment_name(name, sizeof(name), number)
        code = raftx_rename_new(directory.fd, SPARE, name)
        if not code:
            memcpy(self.name, name, sizeof(name))
        return code

    cdef int allocate(self, uint64_t size) noexcept nogil:
        cdef int code = self._fault()
        return code if code else raftx_allocate(self.fd, size)

    cdef int sync_new(self, Directory directory) noexcept nogil:
        cdef int code = self._fault()
        if not code:
            code = raftx_sync(self.fd)
        if not code:
            code = directory.sync()
        return code

    cdef int64_t length(self) noexcept nogil:
        return raftx_length(self.fd)

    cdef int named(self, Directory directory) noexcept nogil:
        return raftx_same(directory.fd, self.name, AT_SYMLINK_NOFOLLOW, self.fd)

    cdef void take(self, File other) noexcept nogil:
        # Go on with another one's file, which has none afterwards. What was open is closed.
        if self.fd >= 0:
            close_fd(self.fd)
        self.fd = other.fd
        memcpy(self.name, other.name, NAME_MAX)
        other.fd = -1

    def py_create(self, Directory directory not None, uint64_t number, uint64_t size):
        """Go on with a new file wal-<number as 16 hex digits>.log of ``size`` reserved bytes; 0 or -errno."""
        return self.create(directory, number, size)

    def py_allocate(self, uint64_t size):
        """Reserve room up to ``size``; 0 or -errno."""
        return self.allocate(size)

    def py_sync_new(self, Directory directory not None):
        """Make a new file and its name in the directory durable; 0 or -errno. Without the GIL."""
        cdef int code
        with nogil:
            code = self.sync_new(directory)
        return code

    def py_named(self, Directory directory not None):
        """Whether its name in the directory still leads to it: 0, -ENOENT without that name, -ESTALE: another file."""
        return self.named(directory)

    def py_take(self, File other not None):
        """Go on with another one's file, which has none afterwards."""
        self.take(other)

    def close(self):
        """Close it; may be called twice."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def size(self):
        """Length in bytes. Raises OSError."""
        return os.fstat(self.fd).st_size

    def identity(self):
        """What no other file has, whatever its name. Raises OSError."""
        status = os.fstat(self.fd)
        return status.st_dev, status.st_ino

    def py_write_at(self, Buffer buffer not None, size_t offset, size_t size, uint64_t position):
        """0 or -errno. Without the GIL."""
        cdef int code
        if offset > buffer.size or size > buffer.size - offset:
            raise IndexError("outside of the buffer")
        with nogil:
            code = self.write_at(buffer, offset, size, position)
        return code

    def py_write(self, const uint8_t[::1] data not None, uint64_t position):
        """Write bytes where they are; 0 or -errno. Without the GIL."""
        cdef size_t size = data.shape[0]
        cdef int code
        with nogil:
            code = self._fault()
            if not code and size:
                code = raftx_pwrite(self.fd, &data[0], size, position)
        return code

    def py_write_parts(self, Buffer head not None, Spans spans not None, size_t zeros, uint64_t position):
        """Write the buffer, what stands in the spans, and zero bytes, one after the other; 0 or -errno. Without the GIL.

        -EINVAL for more than PARTS_MAX spans or 65,536 zeros.
        """
        cdef int code
        with nogil:
            code = self.write_parts(head, spans, zeros, position)
        return code

    def py_read_at(self, Buffer buffer not None, size_t size, uint64_t position):
        """0 or -errno; the buffer then holds what was there. Without the GIL."""
        cdef int code
        with nogil:
            code = self.read_at(buffer, size, position)
        return code

    def py_zero(self, uint64_t position, uint64_t size):
        """0 or -errno. Without the GIL."""
        cdef int code
        with nogil:
            code = self.zero(position, size)
        return code

    def py_datasync(self):
        """0 or -errno. Without the GIL."""
        cdef int code
        with nogil:
            code = self.datasync()
        return code

    def py_write_out(self, uint64_t position, uint64_t size, behind=None):
        """Begin to write out a range; 0 or -errno. Without the GIL. It makes nothing durable.

        It waits for one of the same size, which begins so many bytes before it (None: ``size``).
        """
        cdef int code
        cdef uint64_t back = size if behind is None else behind
        with nogil:
            code = self._fault()
            if not code:
                code = raftx_write_out(self.fd, <int64_t>position, <int64_t>size, <int64_t>back)
        return code


def sync_directory(path):
    """Make created, renamed and removed names in a directory durable. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
