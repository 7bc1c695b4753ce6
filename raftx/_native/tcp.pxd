# C types of the connections of a node that speaks SP itself. tcp.py is the twin in plain Python.
# Nothing here knows Raft or frames.
import cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from .limits cimport Arrivals
from .memory cimport Spans
from .sp cimport Inflow, Outflow, SP_GREETING
from .threads cimport Event
from .wire cimport EVENTS, TARGETS, Wire, raftx_epoll_event

cdef enum:
    NONE = 0                              # there is no connection
    GREETING = 1                          # ours has been sent, its answer has not come
    STANDS = 2
    ENDED = 3                             # closed; of one that came: its memory is still looked at

cdef struct Peer:
    # A member that is dialled. By the engine's thread, but for the first two
    int64_t id                            # atomic; 0: the number is free, or will be
    int64_t gone                          # atomic: 1 when the member is dialled no more
    int state, fd
    uint32_t turn                         # counts its connections: what happened to an earlier one is of no interest
    uint8_t greeting[8]
    int greeted                           # bytes of it that have come. Invariant: at most 8
    int64_t since                         # when it came to stand, or was begun
    int64_t hurried                       # when it was dialled because something came from it
    bint fresh                            # the sender was not told of it yet, and may not send on it
    bint blocked                          # the kernel has no room for more
    bint dirty                            # something was sent since the last flush
    Outflow out

cdef struct Comer:
    # A connection that came
    int state, fd
    uint32_t turn
    uint64_t source
    bint more                             # the last read took all that it had room for: there may be more
    int64_t proven                        # when arrivals heard last that something valid came over it; 0: never
    Inflow inn

@cython.final
@cython.no_gc_clear
cdef class TcpStreams:
    """The connections of a node, and what is read from and written to them."""
    cdef readonly Wire wire
    cdef readonly Arrivals arrivals
    cdef bint ipc                         # where others connect
    cdef size_t limit, send_limit
    cdef Peer* peers
    cdef int64_t count                    # atomic: one more than the largest number that a peer has had
    cdef Comer* comers
    cdef int* free_places
    cdef int free_count, room             # places for those that come, of them free
    cdef uint8_t* scratch
    cdef int inn, out                     # epolls: of those that came, and of the peers
    cdef uint64_t inputs[EVENTS]          # tags of those that have sent something
    cdef int input_at, input_count        # those between are to be read. Invariant: input_at <= input_count <= EVENTS
    cdef raftx_epoll_event events[EVENTS]
    cdef int current                      # whose frame is the present one, or is looked for; -1: nobody's
    cdef int chosen                       # for whom a frame is prepared
    cdef int woken                        # what has happened, as the last wait found
    cdef bint polled
    cdef int64_t attention                # atomic: 1 when members are dialled no more
    cdef int64_t due                      # when there is something to do even if nothing happens; -1: never, 0: look
    cdef bint any_fresh, any_dirty
    cdef const uint8_t* data              # the present frame
    cdef size_t size
    cdef readonly int64_t connections     # how many to peers have stood so far
    cdef readonly int64_t renewals        # of those, how many were ended in order to dial again
    cdef readonly int64_t malformed       # connections that were ended for what came over them
    cdef void wait(self, Event event, int64_t timeout, bint hungry) noexcept nogil
    cdef bint look(self, bint hungry) noexcept nogil
    cdef void collect(self) noexcept nogil
    cdef bint waiting(self) noexcept nogil
    cdef bint next(self) noexcept nogil
    cdef void proven(self) noexcept nogil
    cdef uint8_t* prepare(self, uint64_t to, size_t size, size_t copied) noexcept nogil
    cdef void refer(self, size_t at, Spans spans) noexcept nogil
    cdef int send(self) noexcept nogil
    cdef void flush(self) noexcept nogil
    cdef uint64_t fresh(self) noexcept nogil
    cdef void renew(self, uint64_t id) noexcept nogil
    cdef void heard(self, uint64_t id, bint anew) noexcept nogil
    cdef int number_of(self, uint64_t id) noexcept nogil
    cdef void _attend(self) noexcept nogil
    cdef int64_t _next_due(self, int64_t now) noexcept nogil
    cdef void _drop_gone(self) noexcept nogil
    cdef void _receive(self, int fd, uint64_t source, int64_t now) noexcept nogil
    cdef void _connect(self, int number, int fd, int64_t now) noexcept nogil
    cdef void _look_at_peers(self, int64_t now) noexcept nogil
    cdef void _hear(self, int number, int64_t now) noexcept nogil
    cdef void _write(self, int number) noexcept nogil
    cdef void _disconnect(self, int number) noexcept nogil
    cdef void _lost(self, int number, int code) noexcept nogil
    cdef bint _read(self, int place) noexcept nogil
    cdef void _end(self, int place) noexcept nogil
    cdef void _close_comers(self) noexcept nogil
    cdef void _release(self, int place) noexcept nogil
    cdef void _close(self) noexcept nogil
