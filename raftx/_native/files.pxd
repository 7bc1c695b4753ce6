# C types of files and of the directory that holds them. files.py is the twin in plain Python.
# Nothing here knows Raft.
from libc.stdint cimport int64_t, uint8_t, uint64_t
from .memory cimport Buffer, Spans

cdef enum:
    PARTS = 126    # spans that can be written together

cdef class Directory:
    """A directory that this process holds: open, locked, and known by the path that led to it."""
    cdef object __weakref__
    cdef readonly int fd
    cdef readonly bytes path              # absolute
    cdef const char* name                 # of path
    cdef int check(self) noexcept nogil
    cdef int sync(self) noexcept nogil
    cdef int remove_segment(self, uint64_t number) noexcept nogil
    cdef int remove_spare(self) noexcept nogil

cdef class File:
    """A file opened for positioned reads and writes; every method returns 0 or -errno, a sync perhaps WAIT."""
    cdef readonly int fd
    cdef char name[256]                   # in its directory; empty when it was opened by a path
    cdef public int64_t fail_after, stall_ns    # faults on demand: -1 and 0 for none
    cdef public int fail_errno
    cdef int _fault(self) noexcept nogil
    cdef int write_at(self, Buffer buffer, size_t offset, size_t size, uint64_t position) noexcept nogil
    cdef int write_parts(self, Buffer head, Spans spans, size_t zeros, uint64_t position) noexcept nogil
    cdef int read_at(self, Buffer buffer, size_t size, uint64_t position) except? -4096 nogil
    cdef int zero(self, uint64_t position, uint64_t size) noexcept nogil
    cdef int datasync(self) noexcept nogil
    cdef int create(self, Directory directory, uint64_t number, uint64_t size) noexcept nogil
    cdef int set_aside(self, Directory directory, uint64_t number) noexcept nogil
    cdef int use_spare(self, Directory directory, uint64_t number) noexcept nogil
    cdef int allocate(self, uint64_t size) noexcept nogil
    cdef int sync_new(self, Directory directory) noexcept nogil
    cdef int64_t length(self) noexcept nogil
    cdef int named(self, Directory directory) noexcept nogil
    cdef void take(self, File other) noexcept nogil
