import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from .. cimport _core
from .._native.memory cimport Spans
from .._native.outbox cimport Message, Outbox
from .._native.threads cimport Handoff
from ..consensus cimport changes, configuration, leader, records
from ..consensus.configuration cimport Configuration
from ..consensus.driver cimport Driver
from ..consensus.raft cimport Raft
from . cimport elections
from .channels cimport ApplyQueue, CommandQueue, MemberGauges
from .meetings cimport Meetings
from .peers cimport PeerTable
from .room cimport Room

cdef int ADD_VOTER, ENTRY_CONF_CHANGE_V2, LEADER, MEMBERS_MAX, MSG_CHANGE, MSG_CHANGED, MSG_PROP
cdef int REMOVE, REPLICATE, UPDATE
cdef uint32_t FLAG_REJECT
cdef size_t ENTRY_HEADER
cdef int REFUSED_ADDRESS, REFUSED_BEHIND, REFUSED_CHANGE_EARLIER, REFUSED_CHANGE_PENDING, REFUSED_DISK_FULL, REFUSED_JOINT
cdef int REFUSED_NO_CHANGE, REFUSED_NO_LEADER, REFUSED_NO_LEARNER, REFUSED_NOT_JOINT, REFUSED_NOT_LEADER
cdef int REFUSED_QUORUM
cdef uint64_t INSTALL, SELF, JOINED, JOINED_UNKNOWN

@cython.final
cdef class InstallQueue(Handoff):
    pass

@cython.final
cdef class Changes:
    cdef Raft core
    cdef Outbox out
    cdef PeerTable peers
    cdef Room room
    cdef Meetings meetings
    cdef Driver driver
    cdef readonly uint64_t unsure, unsure_write
    cdef bint handed
    cdef ApplyQueue applies
    cdef readonly uint64_t life, index, behind, mark, next_mark
    cdef int64_t ticks
    cdef readonly InstallQueue installs
    cdef readonly MemberGauges gauges
    cdef Configuration arriving
    cdef Message message
    cdef Spans spans, empty_spans
    cdef public bint judges

    cdef bint waiting(self) noexcept nogil
    @cython.locals(row=size_t, count=size_t, span=size_t, kind=uint64_t, place=int)
    cdef int take(self) except -1 nogil
    @cython.locals(was_member=cython.bint, slot=int, joined=uint64_t)
    cdef int install(self, size_t span) except -1 nogil
    cdef int look_at_disk(self) noexcept nogil
    @cython.locals(slot=int, place=int)
    cdef int tick(self) noexcept nogil
    @cython.locals(number=uint64_t, applied=uint64_t)
    cdef int want(self, CommandQueue commands, size_t row, size_t span) except -1 nogil
    @cython.locals(number=uint64_t, sender=uint64_t)
    cdef int receive(self, Message m, uint64_t sender_life) except -1 nogil
    @cython.locals(number=uint64_t, sender=uint64_t, reason=int)
    cdef int judged(self, CommandQueue commands, size_t row, size_t span) except -1 nogil
    cdef int answer(self, uint64_t to, uint64_t life, uint64_t number, int reason) except -1 nogil
    @cython.locals(at=size_t)
    cdef bint may_have_addresses(self, Message m) except -1 nogil
    cdef int answered(self, Message m) except -1 nogil
    cdef int propose(self, Message m) except -1 nogil
    cdef int refusal(self, Message m) except -1 nogil
    @cython.locals(at=size_t, voters=uint64_t, slot=int, kind=int)
    cdef int parts_refusal(self, Message m) except -1 nogil
    @cython.locals(quiet=int64_t)
    cdef bint is_heard(self, int slot) noexcept nogil
    @cython.locals(place=int)
    cdef bint has_caught_up(self, int slot) noexcept nogil
    @cython.locals(total=int, there=int, slot=int)
    cdef bint is_there(self, uint64_t voters) noexcept nogil
