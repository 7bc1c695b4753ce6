import cython
from libc.stdint cimport int32_t, uint64_t
from .._native cimport threads

cdef int _PENDING, _DONE, _PLAIN, _FAILED, _CANCELLED

@cython.final
@cython.freelist(256)
cdef class Done:
    cdef readonly uint64_t index, term
    cdef readonly object result
    cdef object _source

@cython.final
@cython.freelist(1024)
cdef class Future:
    cdef int32_t _cell[2]
    cdef uint64_t _index, _term
    cdef object _value, _waiting, _callbacks, _watched, _traceback, _post
    cdef public object _owner, waiter, progress
    cdef bint settle(self, uint64_t index, uint64_t term, object value) except -1 with gil
    cdef bint settle_plain(self, object value) except -1 with gil
    cdef bint settle_error(self, object error) except -1 with gil
    cdef bint needs_wake(self) noexcept nogil
    cdef bint needs_calls(self) noexcept nogil
