import cython
from libc.stdint cimport int64_t, uint64_t
from .._core cimport Codec
from .._native.memory cimport Spans
from .._native.outbox cimport Message, Outbox
from .._native.threads cimport Clock
from ..consensus.raft cimport Raft
from ..transport.link cimport Link
from .channels cimport ApplyQueue, Gauges
from .clocks cimport Clocks
from .contact cimport Contact
from .passing cimport Passing
from .peers cimport PeerTable
from .transfers cimport Transfers

cdef int LEADER, MSG_PROP, MSG_SNAP, MSG_UNREACHABLE
cdef int REFUSED_UNREACHABLE
cdef size_t FRAME_HEADER, FRAME_CLOSE
cdef int NOTE_LIMIT, NOTE_TICKS

@cython.final
cdef class Dispatch:
    cdef readonly Raft core
    cdef readonly Clock clock
    cdef readonly Codec codec
    cdef readonly Link link
    cdef readonly PeerTable peers
    cdef readonly Contact contact
    cdef readonly Gauges gauges
    cdef readonly ApplyQueue applies
    cdef readonly Transfers transfers
    cdef readonly Passing passing
    cdef Outbox out, greeting
    cdef Message scratch
    cdef Spans empty_spans, body
    cdef size_t frame_close

    @cython.locals(rows=int64_t, row=size_t, to=uint64_t)
    cdef int send(self) except -1 nogil
    @cython.locals(earlier=size_t)
    cdef bint is_first(self, size_t row, uint64_t to) noexcept nogil
    @cython.locals(rows=size_t, start=size_t, end=size_t, sent=int, limit=uint64_t)
    cdef int send_to(self, int place, uint64_t to) except -1 nogil
    @cython.locals(copied=size_t, row=size_t)
    cdef int send_frame(self, int place, uint64_t to, size_t size, size_t start, size_t end) except -1 nogil
    cdef int frame_dropped(self, uint64_t to, size_t start, size_t end) except -1 nogil
    cdef int tick(self, int slot) except -1 nogil
    cdef int greet(self) except -1 nogil
    cdef int greet_all(self) except -1 nogil
    cdef int tell_clock(self, Clocks clocks) except -1 nogil
    cdef int heard(self, int place, uint64_t id) except -1 nogil
    cdef int has_connected(self, int place, uint64_t id) except -1 nogil
    cdef int hello(self, uint64_t to, bint new_connection) except -1 nogil
    @cython.locals(place=int, limit=uint64_t)
    cdef int send_alone(self, Outbox box, uint64_t to) except -1 nogil
    @cython.locals(size=size_t)
    cdef int send_single(self, Outbox box, size_t row, uint64_t to) except -1 nogil
    cdef int say_too_large(self, int kind, int place, int64_t limit) except -1 nogil
