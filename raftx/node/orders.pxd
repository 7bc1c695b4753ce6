import cython
from libc.stdint cimport uint64_t
from .._native.memory cimport Spans
from .._native.outbox cimport Message
from ..consensus.raft cimport Raft
from . cimport elections
from .changes cimport Changes
from .channels cimport ApplyGauges, ApplyQueue, CommandQueue, Gauges
from .compaction cimport Compaction
from .dispatch cimport Dispatch
from .lag cimport Lag
from .leases cimport Leases
from .looks cimport Looks
from .meetings cimport Meetings
from .peers cimport PeerTable
from .room cimport Room
from .transfers cimport Transfers

cdef int FOLLOWER, LEADER, MSG_HUP, MSG_TRANSFER_LEADER, MSG_UNREACHABLE
cdef int REFUSED_BOUND, REFUSED_CAMPAIGN, REFUSED_FULL_THERE, REFUSED_LEADS_NOT
cdef uint64_t ROW_CHANGE, ROW_JUDGED, ROW_LOOK, ROW_SEEN
cdef uint64_t ROW_CAMPAIGN, ROW_CONNECTED, ROW_MET, ROW_RELEASE, ROW_SNAPSHOT, ROW_STEP_DOWN, ROW_TRANSFER_TO, ROW_UNREACHABLE
cdef size_t ROWS_KEPT

@cython.final
cdef class Orders:
    cdef Raft core
    cdef CommandQueue queue
    cdef ApplyQueue applies
    cdef Dispatch dispatch
    cdef PeerTable peers
    cdef Transfers transfers
    cdef Compaction compaction
    cdef Meetings meetings
    cdef Room room
    cdef Changes changes
    cdef Lag lag
    cdef Leases leases
    cdef Looks looks
    cdef Gauges gauges
    cdef ApplyGauges apply_gauges
    cdef Message message
    cdef Spans empty_spans
    cdef size_t taken, row, span

    cdef bint waiting(self) noexcept nogil
    cdef int take(self) except -1 nogil
    @cython.locals(member=uint64_t, index=uint64_t, term=uint64_t, life=uint64_t, known=uint64_t, why=uint64_t)
    cdef int take_row(self, size_t row) except -1 nogil
    @cython.locals(term=uint64_t)
    cdef int release(self, uint64_t index, uint64_t request) except -1 nogil
    @cython.locals(place=int)
    cdef int unreachable(self, uint64_t id) except -1 nogil
    cdef int campaign(self, uint64_t request) except -1 nogil
    cdef int transfer(self, uint64_t to, uint64_t request) except -1 nogil
    cdef int step_down(self, uint64_t request) except -1 nogil
    cdef int tell_asked(self, uint64_t request, int reason, uint64_t to, uint64_t term) except -1 nogil
