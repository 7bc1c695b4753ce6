# C types of the way to NNG. _nng.py is the twin in plain Python.
import cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from ._core cimport SLOTS
from ._sys cimport Event, Runner, pthread_mutex_t

ctypedef void nng_aio
ctypedef void nng_msg

cdef struct ReceiverState:
    uint32_t socket
    void* aio
    void** ring
    size_t capacity
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

cdef struct PeerState:
    pthread_mutex_t mutex
    uint32_t socket                       # under the mutex, like the next two; 0: none
    bint ready                            # its connection stands
    bint lost                             # its connection has ended: nobody may send on it any more
    int64_t stopping                      # atomic
    int fd                                # of the event that the peer's own thread sleeps on
    int64_t* sleeping

@cython.final
@cython.no_gc_clear
cdef class NngPeer(Runner):
    """The way to one peer: keeps a connection, one socket for each."""
    cdef PeerState* state
    cdef Event event
    cdef bytes url
    cdef const char* url_text
    cdef int queue
    cdef int64_t shortest, longest
    cdef readonly int64_t connections     # how many stood so far
    cdef bint _over(self) noexcept nogil
    cdef void _pause(self, int64_t ns) noexcept nogil
    cdef int _connect(self) noexcept nogil
    cdef void _disconnect(self) noexcept nogil

@cython.final
cdef class NngSender:
    """Sends frames to peers; without a connection, or with a full queue, it drops the frame and says so."""
    cdef PeerState* states[SLOTS]
    cdef uint64_t ids[SLOTS]
    cdef int count, chosen
    cdef list peers
    cdef nng_msg* current
    cdef uint8_t* prepare(self, uint64_t to, size_t size) noexcept nogil
    cdef int send(self) noexcept nogil
