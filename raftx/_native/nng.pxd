# C types of the way to NNG. nng.py is the twin in plain Python.
import cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from .identity cimport Identities, IdentityState
from .limits cimport Arrivals, ArrivalsState
from .threads cimport Event, Runner, pthread_mutex_t
from .wire cimport TARGETS, Wire

ctypedef void nng_aio
ctypedef void nng_msg

cdef struct ReceiverState:
    uint32_t socket
    void* aio
    void** ring
    size_t capacity
    int64_t byte_limit
    int64_t bytes                         # atomic: in the ring, and of the frame that the taker looks at
    int64_t head, tail                    # atomics: written by NNG's thread, by the taker
    int64_t parked                        # atomic: 1 while the ring is full and no receive is under way
    int64_t error, stopping               # atomics
    int fd                                # the taker's event
    int64_t* sleeping

@cython.final
cdef class NngReceiver:
    """Frames from one NNG socket, received by NNG's callback, without the GIL."""
    cdef ReceiverState* state
    cdef Event event
    cdef nng_msg* current
    cdef const uint8_t* data
    cdef size_t size
    cdef void _stop(self) noexcept nogil
    cdef bint waiting(self) noexcept nogil
    cdef bint next(self) noexcept nogil
    cdef uint32_t pipe(self) noexcept nogil

cdef struct WireState:
    int64_t attention                     # atomic: 1 when the wire's thread shall look at everything
    int64_t fresh                         # atomic: 1 when some connection may be new to the sender
    int fd, engine_fd                     # of the events that the wire's thread and the sender sleep on
    int64_t* sleeping
    int64_t* engine_sleeping
    ArrivalsState* arrivals
    const IdentityState* names            # whom certificates name; NULL: connections have none

cdef struct PeerState:
    pthread_mutex_t mutex
    uint32_t socket                       # under the mutex, like the next three; 0: none
    bint ready                            # its connection stands
    bint lost                             # its connection has ended: nobody may send on it any more
    bint fresh                            # the sender has not been told of it yet, and may not send on it
    int64_t renew                         # atomic: 1 when it shall be ended
    int64_t hurry                         # atomic: HURRY_... when it shall be dialled at once
    int64_t hurried                       # when that was asked for last, by the sending thread
    int64_t gone                          # atomic: 1 when it shall be ended, and the member is dialled no more
    uint64_t id                           # whose certificate is to name it. Set while the number is free
    int64_t tls                           # atomic: NNG's TLS configuration for the next connection; 0: none
    int64_t unnamed                       # atomic: connections that were ended because another member answered
    WireState* wire

@cython.final
@cython.no_gc_clear
cdef class NngWire(Runner):
    """The connections of a node: a Wire's, in NNG's hands."""
    cdef WireState state
    cdef PeerState* peers
    cdef Wire wire
    cdef Arrivals arrivals
    cdef Event event, engine
    cdef Identities names
    cdef uint32_t socket
    cdef int queue
    cdef int64_t count                    # atomic: one more than the largest number that a peer has had
    cdef list urls
    cdef const char* url_texts[TARGETS]
    cdef int64_t ids[TARGETS]               # atomics; 0: the number is free, or will be
    cdef int patience[TARGETS]
    cdef bint stands[TARGETS]               # the wire's thread has seen that it does
    cdef int64_t since[TARGETS]             # when it saw that
    cdef int64_t deadlines[TARGETS]         # of the handshake
    cdef int64_t stopping                 # atomic
    cdef readonly int64_t connections     # how many to peers have stood so far
    cdef readonly int64_t renewals        # of those, how many were ended in order to dial again
    cdef int64_t _look(self) noexcept nogil
    cdef void _close_arrivals(self) noexcept nogil
    cdef void _receive(self, int fd, uint64_t source) noexcept nogil
    cdef void _connect(self, int number, int fd) noexcept nogil
    cdef void _disconnect(self, int number) noexcept nogil
    cdef void renew(self, uint64_t id) noexcept nogil
    cdef void heard(self, uint64_t id, bint anew) noexcept nogil
    cdef int number_of(self, uint64_t id) noexcept nogil
    cdef uint64_t fresh(self) noexcept nogil
    cdef void proven(self, uint32_t pipe) noexcept nogil
    cdef uint64_t member(self, uint32_t pipe) noexcept nogil

@cython.final
cdef class NngSender:
    """Sends frames to peers; without a connection, or with a full queue, it drops the frame and says so."""
    cdef NngWire wire
    cdef int chosen
    cdef bint masked                      # SIGPIPE is, in the sending thread
    cdef nng_msg* current
    cdef uint8_t* prepare(self, uint64_t to, size_t size) noexcept nogil
    cdef int send(self) noexcept nogil
