import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from .._native.memory cimport Spans
from .._native.outbox cimport Message, Outbox
from .._native.threads cimport Handoff
from ..consensus cimport records
from ..consensus.raft cimport Raft
from .channels cimport CommandQueue
from .peers cimport PeerTable

cdef int FOLLOWER, LEADER, SNAPSHOT
cdef int MSG_CHUNK, MSG_CHUNKS, MSG_SNAP, MSG_SNAP_STATUS
cdef uint32_t FLAG_REJECT
cdef uint64_t ROW_ARRIVED, ROW_ASK, ROW_GIVE
cdef uint64_t ROW_CHUNK, ROW_OFFER, ROW_WANTED
cdef int IDLE_TIMEOUTS, PLACES

@cython.final
cdef class CourierQueue(Handoff):
    cdef int put_offer(self, Spans record, uint64_t sender, uint64_t index, uint64_t term) except -1 nogil
    cdef int put_wanted(
        self, Spans no_spans, uint64_t to, uint64_t index, uint64_t term, uint64_t tag, uint64_t first, uint64_t count
    ) except -1 nogil
    cdef int put_chunk(
        self, Spans chunk, uint64_t sender, uint64_t index, uint64_t term, uint64_t tag, uint64_t number, bint refused
    ) except -1 nogil

@cython.final
cdef class Transfers:
    cdef Raft core
    cdef Outbox out
    cdef PeerTable peers
    cdef readonly bint enabled
    cdef readonly CourierQueue queue
    cdef Message message
    cdef Spans file, spans
    cdef readonly uint64_t file_index, write, index, term
    cdef int64_t[::1] idle
    @cython.locals(index=uint64_t, term=uint64_t)
    cdef int take_offer(self, Message m) except -1 nogil
    @cython.locals(
        kind=uint64_t, to=uint64_t, index=uint64_t, term=uint64_t, tag=uint64_t, number=uint64_t, last=uint64_t
    )
    cdef int take_command(self, CommandQueue commands, size_t row, size_t span) except -1 nogil
    @cython.locals(index=uint64_t, term=uint64_t)
    cdef bint lacks(self, Message m) noexcept nogil
    @cython.locals(slot=int)
    cdef int take_chunks(self, Message m) except -1 nogil
    @cython.locals(refused=cython.bint)
    cdef int take_chunk(self, Message m) except -1 nogil
    cdef int ask(
        self, uint64_t to, uint64_t index, uint64_t term, uint64_t tag, uint64_t first, uint64_t count
    ) except -1 nogil
    @cython.locals(slot=int)
    cdef int give(
        self, Spans spans, size_t span, uint64_t to, uint64_t index, uint64_t term, uint64_t tag, uint64_t number,
        bint refused
    ) except -1 nogil
    cdef int take_file(self, Spans spans, size_t span, uint64_t index) except -1 nogil
    cdef int install(self) except -1 nogil
    @cython.locals(slot=int, place=int)
    cdef int tick(self) except -1 nogil
    cdef int lost(self, uint64_t to) except -1 nogil
    cdef void writing(self, uint64_t number) noexcept nogil
    cdef bint written(self, uint64_t number) noexcept nogil
