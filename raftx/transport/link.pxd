import cython
from libc.stdint cimport int64_t, uint8_t, uint64_t
from .._native.memory cimport Buffer, Spans
from .._native.limits cimport Notes
from .._native.threads cimport Event
from .queues cimport IncomingQueue, OutgoingQueue

cdef uint64_t ASK_RENEW, ASK_PROVEN, ASK_REACH
cdef size_t FRAME_COST
cdef uint64_t KNOWN

cdef class Link:
    cdef const uint8_t* data
    cdef size_t size
    cdef uint8_t* place
    cdef readonly Notes notes
    cdef bint prepare(self, uint64_t to, size_t size) except -1 nogil
    cdef bint refers(self) noexcept nogil
    cdef bint prepare_lean(self, uint64_t to, size_t size, size_t copied) except -1 nogil
    cdef int refer(self, size_t at, Spans spans) except -1 nogil
    cdef int send(self) except -1 nogil
    cdef bint waiting(self) noexcept nogil
    cdef bint next(self) noexcept nogil
    cdef uint64_t member(self) noexcept nogil
    cdef int refusal(self) noexcept nogil
    cdef int proven(self) except -1 nogil
    cdef uint64_t fresh(self) noexcept nogil
    cdef int note(self, int kind, uint64_t id, int64_t detail) except -1 nogil
    cdef int renew(self, uint64_t to) except -1 nogil
    cdef int heard(self, uint64_t id) except -1 nogil
    cdef int reach(self, uint64_t to) except -1 nogil
    cdef int wait(self, Event event, int64_t timeout, bint hungry) except -1 nogil
    cdef int collect(self) except -1 nogil
    cdef int flush(self) except -1 nogil
    cdef bint look(self, bint hungry) noexcept nogil

@cython.final
cdef class QueueLink(Link):
    cdef readonly IncomingQueue incoming
    cdef readonly OutgoingQueue outgoing
    cdef readonly size_t limit
    cdef readonly uint64_t dropped        # frames that the transport did not take in time
    cdef readonly uint64_t refused        # received frames that the engine did not take in time
    cdef Buffer buffer
    cdef Spans spans
    cdef size_t cursor
    cdef uint64_t to
    cdef Spans nothing
    cdef uint64_t[::1] known              # sources that have been told to be proven
