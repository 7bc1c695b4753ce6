import cython
from libc.stdint cimport int64_t, uint64_t
from ..consensus.raft cimport Raft
from .channels cimport ApplyGauges, Gauges

cdef int MSG_APP, PLACES
cdef int64_t HOLD_TIMEOUTS, REST_TIMEOUTS, REST_TIMEOUTS_MAX, MOST

@cython.final
cdef class Lag:
    cdef Raft core
    cdef Gauges gauges
    cdef ApplyGauges apply_gauges
    cdef int64_t tick_ms
    cdef uint64_t most_bytes
    cdef readonly int64_t ticks, pace_done, pace_ticks, wait, held, rests, not_taken
    cdef readonly int64_t far, tired, calm, rest_timeouts
    cdef readonly uint64_t marked
    cdef int64_t[::1] others
    @cython.locals(applied=uint64_t)
    cdef uint64_t behind(self) noexcept nogil
    @cython.locals(applied=uint64_t, behind=int64_t)
    cdef void tick(self) noexcept nogil
    @cython.locals(done=int64_t)
    cdef bint is_faster(self, uint64_t applied) noexcept nogil
    cdef bint is_far(self) noexcept nogil
    cdef bint says_far(self) noexcept nogil
    cdef void relieved(self) noexcept nogil
    @cython.locals(low=uint64_t)
    cdef bint takes(self, int kind, uint64_t count) noexcept nogil
    cdef void step_aside(self) noexcept nogil
    cdef int hold(self) noexcept nogil
    cdef void heard(self, int place, bint behind) noexcept nogil
