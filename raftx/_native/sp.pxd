# C types of SP's framing. sp.py is the twin in plain Python. No sockets.
import cython
from libc.stdint cimport int64_t, uint8_t, uint64_t
from .memory cimport Block, Spans

cdef extern from "<sys/uio.h>":
    cdef struct iovec:
        void* iov_base
        size_t iov_len

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

cdef struct Piece:
    # Part of a frame that is sent from where it lies
    size_t at                             # behind so many bytes of an Outflow's own
    # One reference. Invariant: it is held until the last byte of the piece has been taken, or its connection has ended;
    # so nobody frees or reuses what the kernel is still to be given, whatever the log does meanwhile
    Block* block
    const uint8_t* data                   # what is left of it; never nothing
    size_t size

cdef struct Outflow:
    bint ipc
    uint8_t* data
    size_t start, end, room               # [start, end) is to be sent. Invariant: start <= end <= room
    size_t written                        # bytes behind end that the next commit takes in
    size_t most                           # the largest end since everything was sent
    # What is to be sent between those bytes: [first, last), in the order of their places, and behind them, up to made,
    # those of the frame that is reserved. Invariant: start <= at <= end of each before last
    Piece* pieces
    size_t first, last, made, piece_room
    size_t referred                       # bytes of those before last
    bint short                            # there was no memory for a piece of the frame that is reserved

cdef void _inflow_clear(Inflow* f) noexcept nogil
cdef void _inflow_feed(Inflow* f, const uint8_t* data, size_t size) noexcept nogil
cdef int _inflow_next(Inflow* f, size_t limit) noexcept nogil
cdef size_t _inflow_place(Inflow* f, uint8_t** place, bint* whole) noexcept nogil
cdef void _inflow_placed(Inflow* f, size_t size) noexcept nogil
cdef void _outflow_clear(Outflow* o) noexcept nogil
cdef uint8_t* _outflow_reserve(Outflow* o, size_t size, size_t copied, size_t limit) noexcept nogil
cdef void _outflow_refer(Outflow* o, size_t at, Spans spans) noexcept nogil
cdef bint _outflow_commit(Outflow* o) noexcept nogil
cdef int _outflow_gather(const Outflow* o, iovec* parts, int most) noexcept nogil
cdef void _outflow_sent(Outflow* o, size_t size) noexcept nogil

cdef inline size_t _outflow_waiting(const Outflow* o) noexcept nogil:
    return o.end - o.start + o.referred

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
