import cython
from libc.stdint cimport uint64_t
from .._native.outbox cimport Message
from ..consensus cimport admission

cdef int MSG_PROP, FORWARDED, SENDER_PRESENT, SENDER_STALE, SENDER_UNMET, ODD_INCARNATION, ODD_ORIGIN
cdef uint64_t NUMBER_TOP, INCARNATION_STEP, SEQUENCE_STEP

@cython.final
cdef class Senders:
    cdef uint64_t[::1] incarnations, forwarded, highest

    cdef void forget(self, int place) noexcept nogil
    cdef int judge(self, int place, uint64_t incarnation, bint member) noexcept nogil
    cdef bint begin(self, int place, uint64_t incarnation) noexcept nogil
    cdef int proposals_refusal(self, int place, Message m, uint64_t incarnation) noexcept nogil
    cdef bint claim_sequence(self, int place, uint64_t sequence) noexcept nogil
