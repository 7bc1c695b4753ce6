import cython
from libc.stdint cimport int64_t, uint64_t

cdef uint64_t FRAMES, SMALL_FROM, LARGE
cdef int64_t GIVEN_UP, PATIENCE_MAX

@cython.final
cdef class Passing:
    cdef readonly uint64_t frames, most, first, end, bytes, term
    cdef uint64_t[::1] last, sizes
    cdef readonly uint64_t newest, given_up
    cdef readonly int64_t waited, patience
    @cython.locals(under_way=uint64_t)
    cdef bint opens(self, uint64_t term, uint64_t size) noexcept nogil
    cdef bint fits(self, uint64_t size) noexcept nogil
    cdef void passed(self, uint64_t last, uint64_t size) noexcept nogil
    cdef void answered(self, uint64_t sequence) noexcept nogil
    @cython.locals(at=uint64_t)
    cdef void dropped(self, uint64_t sequence) noexcept nogil
    cdef bint waits(self) noexcept nogil
    cdef bint tick(self) noexcept nogil
    cdef void forget(self) noexcept nogil
