# C types of what proves that a frame is a member's, by a key that all members have. seal.py is the twin.
import cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    SEAL_BYTES = 32                       # behind a frame
    SEAL_KEYS = 2                         # at once
    SENDERS = 256                         # whose numbers are remembered

cdef struct Numbers:
    uint64_t sender                       # 0: the place is free
    uint64_t incarnation
    uint64_t highest
    uint64_t seen                         # bit i: highest - i has come

@cython.final
cdef class Seal:
    """Seals frames and looks at those of others. For one thread."""
    cdef void* contexts[SEAL_KEYS]
    cdef uint32_t names[SEAL_KEYS]
    cdef int count
    cdef uint8_t cluster[16]
    cdef uint64_t id
    cdef uint64_t number                  # of the last frame that was sealed
    cdef Numbers senders[SENDERS]
    cdef int turn                         # who is forgotten next where there is no room
    cdef int _mac(self, int which, const uint8_t* data, size_t size, uint8_t* out) noexcept nogil
    cdef int close(self, uint8_t* frame, size_t size) noexcept nogil
    cdef int open(self, const uint8_t* data, size_t size) noexcept nogil
    cdef bint _is_new(self, uint64_t sender, uint64_t incarnation, uint64_t number) noexcept nogil
