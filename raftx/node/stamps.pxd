import cython
from libc.stdint cimport int64_t, uint64_t
from .._native.threads cimport Clock

cdef uint64_t ROUNDS
cdef int QUEUE, WAL, NETWORK, QUORUM, APPLY, TOTAL, BUCKETS, LEAST_BITS

@cython.final
cdef class StageTimes:
    cdef Clock clock
    cdef uint64_t[::1] index, first, term
    cdef int64_t[::1] since, at_append, at_stable, at_reply, at_commit, at_apply
    cdef uint64_t[::1] counts, sums
    cdef uint64_t head, stable_cursor, reply_cursor, commit_cursor, apply_cursor
    cdef void accepted(self, uint64_t index, uint64_t count, uint64_t term, int64_t since, int64_t now) noexcept nogil
    cdef bint awaits_reply(self) noexcept nogil
    cdef void replied(self, uint64_t index, Clock clock) noexcept nogil
    cdef void stable(self, uint64_t index, int64_t now) noexcept nogil
    cdef void committed(self, uint64_t index, Clock clock) noexcept nogil
    @cython.locals(at=Py_ssize_t, bucket=Py_ssize_t)
    cpdef tuple histogram(self, int stage)
    @cython.locals(rest=int64_t, bucket=int)
    cdef void count(self, int stage, int64_t nanoseconds) noexcept nogil
    cdef void applied(self, uint64_t index, int64_t now) noexcept nogil
