import cython
from libc.stdint cimport int64_t

cdef int PLACES

@cython.final
cdef class Contact:
    cdef readonly int64_t limit
    cdef int64_t[::1] unanswered, age, heard_at
    cdef public int64_t ticks
    cdef void forget(self, int place) noexcept nogil
    cdef int64_t quiet(self, int place) noexcept nogil
    cdef int sent(self, int place) noexcept nogil
    cdef int unsent(self, int place) noexcept nogil
    cdef int heard(self, int place) noexcept nogil
    cdef int connected(self, int place) noexcept nogil
    cdef bint greeted(self, int place) noexcept nogil
    cdef bint tick(self, int place) noexcept nogil
