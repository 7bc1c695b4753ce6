from libc.stdint cimport int64_t, uint64_t
from .._native.memory cimport Buffer, Spans
from .._native.files cimport Directory, File

cdef int WAIT

# They take the GIL: what they do is Python, and nobody measures it.
cdef class SimDirectory(Directory):
    cdef readonly object disk, folder, life
    cdef int check(self) noexcept with gil
    cdef int sync(self) noexcept with gil
    cdef int remove_segment(self, uint64_t number) noexcept with gil
    cdef int remove_spare(self) noexcept with gil

cdef class SimFile(File):
    cdef readonly object disk, content, life
    cdef readonly str called
    cdef int write_at(self, Buffer buffer, size_t offset, size_t size, uint64_t position) noexcept with gil
    cdef int write_parts(self, Buffer head, Spans spans, size_t zeros, uint64_t position) noexcept with gil
    cdef int read_at(self, Buffer buffer, size_t size, uint64_t position) except? -4096 with gil
    cdef int zero(self, uint64_t position, uint64_t size) noexcept with gil
    cdef int datasync(self) noexcept with gil
    cdef int create(self, Directory directory, uint64_t number, uint64_t size) noexcept with gil
    cdef int set_aside(self, Directory directory, uint64_t number) noexcept with gil
    cdef int use_spare(self, Directory directory, uint64_t number) noexcept with gil
    cdef int allocate(self, uint64_t size) noexcept with gil
    cdef int sync_new(self, Directory directory) noexcept with gil
    cdef int64_t length(self) noexcept with gil
    cdef int named(self, Directory directory) noexcept with gil
    cdef void take(self, File other) noexcept with gil
