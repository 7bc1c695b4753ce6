import cython
from libc.stdint cimport uint64_t

cdef int DEPARTED_MAX

@cython.final
cdef class Departed:
    cdef uint64_t[::1] ids, values
    cdef readonly int count

    cdef void clear(self) noexcept nogil
    cdef void put(self, uint64_t id, uint64_t value) noexcept nogil
    @cython.locals(value=uint64_t)
    cdef uint64_t take(self, uint64_t id) noexcept nogil
    cdef void _drop(self, int place) noexcept nogil
