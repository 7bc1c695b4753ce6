import cython
from libc.stdint cimport int64_t

cdef int TIMEOUTS, MEMBERS_MAX

@cython.final
cdef class Contact:
    cdef readonly int64_t limit
    cdef int64_t[::1] unanswered, age
    cdef int sent(self, int slot) noexcept nogil
    cdef int heard(self, int slot) noexcept nogil
    cdef int connected(self, int slot) noexcept nogil
    cdef bint greeted(self, int slot) noexcept nogil
    cdef bint tick(self, int slot) noexcept nogil
