import cython
from libc.stdint cimport uint64_t

cdef int _PENDING, _DONE, _FAILED, _CANCELLED

@cython.final
@cython.freelist(256)
cdef class Done:
    cdef readonly uint64_t index, term
    cdef readonly object result

@cython.final
@cython.freelist(1024)
cdef class Future:
    cdef int _state_code
    cdef bint _is_proposal
    cdef uint64_t _index, _term
    cdef object _value, _error, _cond
    cdef list _callbacks, _waiter, _waiters_list
    cdef bint settle(self, uint64_t index, uint64_t term, object value) except -1 with gil
    cdef bint settle_plain(self, object value) except -1 with gil
    cdef bint settle_error(self, object error) except -1 with gil
    cdef bint needs_wake(self) noexcept nogil
