import cython
from libc.stdint cimport int64_t, uint64_t
from .._native.memory cimport Spans
from .._native.outbox cimport Message, Outbox
from .._native.threads cimport Handoff
from ..consensus.raft cimport Raft
from .channels cimport CommandQueue, Gauges
from .dispatch cimport Dispatch
from .peers cimport PeerTable

cdef int MSG_LOOK, MSG_SEEN
cdef uint64_t ROW_LOOK, ROW_SEEN
cdef int PLACES
cdef int64_t MEASURE_TICKS

@cython.final
cdef class LookQueue(Handoff):
    cdef int put_question(self, Spans no_spans, uint64_t sender, uint64_t number, uint64_t life) except -1 nogil
    cdef int put_answer(self, Spans record, uint64_t sender, uint64_t number) except -1 nogil

@cython.final
cdef class Looks:
    cdef Raft core
    cdef PeerTable peers
    cdef Dispatch dispatch
    cdef Gauges gauges
    cdef readonly LookQueue queue
    cdef Outbox out
    cdef Spans spans, empty_spans
    cdef uint64_t life
    cdef int64_t pause, ticks
    cdef int64_t[::1] asked
    cdef readonly int64_t dropped

    @cython.locals(first=uint64_t, last=uint64_t)
    cdef int tick(self) noexcept nogil
    cdef int receive(self, Message m, uint64_t sender_life) except -1 nogil
    @cython.locals(place=int)
    cdef int take_question(self, Message m, uint64_t sender_life) except -1 nogil
    cdef int ask(self, uint64_t to, uint64_t number) except -1 nogil
    @cython.locals(to=uint64_t, number=uint64_t, life=uint64_t)
    cdef int give(self, CommandQueue commands, size_t row, size_t span) except -1 nogil
