import cython
from libc.stdint cimport uint64_t
from .._native cimport checks
from .._native.memory cimport Spans
from .._native.outbox cimport Message, Outbox
from . cimport release
from .raft cimport Raft

cdef int MSG_STORAGE_APPEND_RESP
cdef uint64_t APPLIES

@cython.final
cdef class Driver:
    cdef readonly Raft raft
    cdef readonly Outbox out, held
    cdef Message scratch
    cdef readonly uint64_t number, durable
    cdef readonly uint64_t handed_term, handed_vote, handed_commit
    cdef public uint64_t wanted_commit
    cdef readonly bint handed_in_doubt
    cdef readonly uint64_t write_low, write_high, write_term, write_vote, write_commit
    cdef readonly uint64_t write_stable, write_stable_term
    cdef readonly bint write_in_doubt, write_snapshot, write_sync
    cdef readonly uint64_t apply_low, apply_high, apply_bytes
    cdef uint64_t[::1] high_at, bytes_at
    cdef uint64_t applies_first, applies_end, applies_after
    cdef bint must_write(self) noexcept nogil
    cdef bint plan_write(self) noexcept nogil
    cdef bint hard_state_changed(self) noexcept nogil
    cdef int accept_write(self) except -1 nogil
    cdef int number_write(self) except -1 nogil
    cdef bint plan_apply(self, bint allow_unstable) noexcept nogil
    cdef int accept_apply(self, bint allow_unstable) except -1 nogil
    cdef int forget_written(self) noexcept nogil
    @cython.locals(write=uint64_t)
    cdef bint next_write(self, Spans spans, bint may_write) except -1 nogil
    cdef int write_done(self, uint64_t number) except -1 nogil
    cdef bint settle(self) except -1 nogil
    cdef bint next_apply(self, Spans spans) except -1 nogil
    @cython.locals(size=uint64_t)
    cdef int apply_done(self, uint64_t index) except -1 nogil
    cdef bint has_work(self) noexcept nogil
