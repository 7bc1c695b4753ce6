# C types of SP's framing. sp.py is the twin in plain Python. No sockets.
import cython
from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef enum:
    SP_GREETING = 8                       # bytes
    SP_MORE = 0                           # what _inflow_next says: no whole frame is left
    SP_FRAME = 1
    SP_WRONG = -1                         # these are not SP, or the frame would be too long
    SP_NO_MEMORY = -2

cdef struct Inflow:
    bint ipc                              # a byte 01 stands before each length
    uint8_t head[9]
    int head_size                         # bytes of it that have come. Invariant: below 9
    bint trusted                          # who sends is known: room for a whole frame at once
    bint in_body                          # the head is whole, and says:
    size_t need                           # bytes of the frame. Invariant: at most the limit
    uint8_t* kept                         # of the frame, what came in earlier reads
    size_t kept_size, kept_room           # Invariant: kept_size <= need, kept_size <= kept_room
    bint given                            # the frame in kept is the present one
    const uint8_t* fresh                  # what has come and was not looked at
    size_t fresh_size
    const uint8_t* data                   # the present frame
    size_t size

cdef struct Outflow:
    bint ipc
    uint8_t* data
    size_t start, end, room               # [start, end) is to be sent. Invariant: start <= end <= room
    size_t written                        # bytes behind end that the next commit takes in
    size_t most                           # the largest end since everything was sent

cdef void _inflow_clear(Inflow* f) noexcept nogil
cdef void _inflow_feed(Inflow* f, const uint8_t* data, size_t size) noexcept nogil
cdef int _inflow_next(Inflow* f, size_t limit) noexcept nogil
cdef size_t _inflow_place(Inflow* f, uint8_t** place, bint* whole) noexcept nogil
cdef void _inflow_placed(Inflow* f, size_t size) noexcept nogil
cdef void _outflow_clear(Outflow* o) noexcept nogil
cdef uint8_t* _outflow_reserve(Outflow* o, size_t size, size_t limit) noexcept nogil
cdef void _outflow_commit(Outflow* o) noexcept nogil
cdef void _outflow_sent(Outflow* o, size_t size) noexcept nogil

@cython.final
cdef class SpReader:
    """Bytes in, frames out."""
    cdef Inflow state
    cdef size_t limit
    cdef bytes held                       # what fresh points into
    cdef bint failed

@cython.final
cdef class SpWriter:
    """Frames in, bytes out."""
    cdef Outflow state
    cdef size_t limit
