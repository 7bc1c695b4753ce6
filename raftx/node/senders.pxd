import cython
from libc.stdint cimport uint64_t
from .._native.outbox cimport Message
from ..consensus cimport admission

cdef int MSG_PROP, FORWARDED, SENDER_PRESENT, SENDER_STALE, SENDER_UNMET, ODD_ANSWER, ODD_INCARNATION, ODD_ORIGIN
cdef uint64_t NUMBER_TOP, INCARNATION_STEP, SEQUENCE_STEP
cdef uint64_t REFUSED_LEADER_FULL, REFUSED_NOT_LEADER, REFUSED_TRANSFER, REFUSED_UNCOMMITTED

@cython.final
cdef class Senders:
    cdef uint64_t[::1] incarnations, forwarded, highest

    cdef void forget(self, int place) noexcept nogil
    cdef int judge(self, int place, uint64_t incarnation, bint member) noexcept nogil
    cdef bint begin(self, int place, uint64_t incarnation) noexcept nogil
    cdef int proposals_refusal(self, int place, Message m, uint64_t incarnation) noexcept nogil
    @cython.locals(first=uint64_t, count=uint64_t, reason=uint64_t)
    cdef int answer_refusal(self, Message m, uint64_t passed) noexcept nogil
    cdef bint claim_sequence(self, int place, uint64_t sequence) noexcept nogil
