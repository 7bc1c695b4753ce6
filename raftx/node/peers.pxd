import cython
from libc.stdint cimport int64_t, uint64_t
from .. cimport _core
from .contact cimport Contact
from .senders cimport Senders

cdef int MEMBERS_MAX, PLACES
cdef uint64_t JOINED_UNKNOWN
cdef int64_t NEVER

@cython.final
cdef class PeerTable:
    cdef readonly Senders senders
    cdef readonly Contact contact
    cdef uint64_t[::1] ids, frame_limits, met, told_lost, joined
    cdef int64_t[::1] silence
    cdef readonly int64_t election_ticks
    cdef int64_t[::1] seen, hints, marks, said_too_large, introduced, knows, pausing, pauses, in_doubt, clocks
    cdef int64_t ticks
    @cython.locals(id=uint64_t, place=int)
    cdef int of_slot(self, _core.Peers members, int slot) noexcept nogil
    @cython.locals(slot=int)
    cdef int of_id(self, _core.Peers members, uint64_t id) noexcept nogil
    @cython.locals(place=int)
    cdef bint is_alive(self, _core.Peers members, int slot) noexcept nogil
    @cython.locals(place=int)
    cdef int find(self, uint64_t id) noexcept nogil
    @cython.locals(best=int, place=int)
    cdef int add(self, uint64_t id, _core.Peers members) noexcept nogil
    cdef void begin(self, int place, uint64_t joined) noexcept nogil
    cdef void tick(self) noexcept nogil
    cdef bint tick_place(self, int place) noexcept nogil
