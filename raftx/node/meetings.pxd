import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from .. cimport _core
from .._native.memory cimport Spans
from .._native.outbox cimport Message, Outbox
from .._native.threads cimport Handoff
from ..consensus.raft cimport Raft
from .channels cimport ApplyQueue
from .peers cimport PeerTable

cdef uint64_t PART, PART_MASK, LAST_MASK, PART_UNIT, LAST_UNIT
cdef uint64_t ASK, REBUILT, JOINED_ANY, JOINED_UNKNOWN, MET_STORE, ORIGIN_UNIT, OWN, REMOVED_LIFE, REMOVED, STRANGER
cdef int ADDRESSES_A_TICK, ALONE_TIMEOUTS
cdef int LEADER
cdef int EARLIER, PLACES, MEMBERS_MAX, MSG_KNOWN, MSG_MEET, WAIT_TIMEOUTS, WAIT_MS, TELL_TIMEOUTS, HELP_TIMEOUTS
cdef uint32_t FLAG_REJECT

@cython.final
cdef class MeetQueue(Handoff):
    cdef int put_meet(
        self, Spans no_spans, uint64_t sender, uint64_t life, uint64_t word0, uint64_t word1, uint64_t flags,
        uint64_t joined
    ) except -1 nogil
    cdef uint64_t sender(self, size_t row) noexcept nogil
    cdef uint64_t life(self, size_t row) noexcept nogil
    cdef uint64_t word0(self, size_t row) noexcept nogil
    cdef uint64_t word1(self, size_t row) noexcept nogil
    cdef uint64_t flags(self, size_t row) noexcept nogil
    cdef uint64_t joined(self, size_t row) noexcept nogil

@cython.final
cdef class Meetings:
    cdef Raft core
    cdef Outbox out
    cdef PeerTable peers
    cdef ApplyQueue applies
    cdef readonly MeetQueue queue
    cdef Spans empty_spans, spans
    cdef readonly Spans address
    cdef public uint64_t joined
    cdef int64_t addresses, alone
    cdef readonly uint64_t life
    cdef uint64_t part1, part2, part3, origin, origin_index
    cdef readonly uint64_t flags
    cdef readonly bint begun, lost, doubted
    cdef public bint settled
    cdef readonly int64_t patience
    cdef int64_t waited, led, unhelped, untold, telling
    cdef readonly uint64_t lost_to, lost_life, lost_why, apart
    cdef uint64_t stranger
    cdef int64_t[::1] told_stale, told_left
    cdef int64_t ticks

    cdef int introduce(self, int place, uint64_t to) except -1 nogil
    cdef int meet(self, uint64_t to) except -1 nogil
    cdef int introduce_again(self, int place, uint64_t to) except -1 nogil
    @cython.locals(slot=int, place=int)
    cdef bint tick(self) except -1 nogil
    @cython.locals(place=int)
    cdef void unanswered(self, int slot) noexcept nogil
    cdef bint is_due(self) noexcept nogil
    @cython.locals(slot=int, place=int)
    cdef void introduce_if_alone(self) noexcept nogil
    cdef void end_doubt(self) noexcept nogil
    cdef void heard_leader(self, uint64_t sender, bint is_member, uint64_t term) noexcept nogil
    cdef bint look(self) noexcept nogil
    @cython.locals(slot=int, others=int, known=int)
    cdef bint is_known(self, uint64_t voters) noexcept nogil
    @cython.locals(origin=uint64_t)
    cdef bint is_apart(self, Message m) noexcept nogil
    cdef int part(self, Message m, bint is_member) except -1 nogil
    @cython.locals(slot=int, place=int)
    cdef int receive(self, Message m, uint64_t life) except -1 nogil
    cdef int take_known(self, Message m, int place) except -1 nogil
    cdef bint knows_members(self) noexcept nogil
    cdef int receive_stranger(self, Message m, uint64_t life) except -1 nogil
    @cython.locals(place=int)
    cdef int left(self, uint64_t to, uint64_t life) except -1 nogil
    @cython.locals(slot=int, place=int)
    cdef int ask(self, int place, uint64_t to) except -1 nogil
    cdef int tell_removed(self, uint64_t to, uint64_t life) except -1 nogil
    cdef void leave(self) noexcept nogil
    @cython.locals(word0=uint64_t, word1=uint64_t)
    cdef int put_meet(self, Message m, uint64_t life, uint64_t flags, uint64_t joined) except -1 nogil
    cdef int take_meet(self, Message m, int place, uint64_t life) except -1 nogil
    @cython.locals(place=int, joined=uint64_t)
    cdef int answer(self, uint64_t to, uint64_t life, uint64_t known, uint64_t why) except -1 nogil
    @cython.locals(due=cython.bint)
    cdef int superseded(self, int place, uint64_t to, uint64_t life) except -1 nogil
    @cython.locals(slot=int, place=int, told=cython.bint)
    cdef bint met(self, uint64_t id, uint64_t life, uint64_t known, uint64_t why, uint64_t joined) except -1 nogil
