# C types of who may stay connected to us, and of what people should hear of it. limits.py is the twin in plain Python.
import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from .threads cimport pthread_mutex_t

cdef enum:
    # What notes are about, for compiled code: the same as NOTE_...
    UNREACHABLE = 1
    REACHED = 2
    SHORTAGE = 3
    CROWD = 4
    LIMIT = 5
    TOO_LARGE = 6
    NOTES = 64                            # that may wait
    STATES = 4                            # of a connection

cdef uint64_t _drawn(uint64_t* state) noexcept nogil       # a number that nobody outside can foresee easily
cdef int64_t _sooner(int64_t a, int64_t b) noexcept nogil  # the earlier of two times; a below 0: never

@cython.final
cdef class Notes:
    """What people should hear of, from threads without the GIL to one that reads it."""
    cdef pthread_mutex_t mutex
    cdef int64_t waiting                  # atomic: how many. Invariant: at most NOTES
    cdef int first                        # Invariant: below NOTES
    cdef int kinds[NOTES]
    cdef uint64_t ids[NOTES]
    cdef int64_t details[NOTES]
    cdef readonly uint64_t lost           # for which there was no room
    cdef readonly int kind                # of the one that take() found, like the next two
    cdef readonly uint64_t id
    cdef readonly int64_t detail
    cdef void put(self, int kind, uint64_t id, int64_t detail) noexcept nogil
    cdef bint take(self) noexcept nogil

cdef struct Arrival:
    int state
    bint own                              # it came over a listener that is there for it alone
    uint32_t listener, pipe
    uint64_t source
    int64_t since, heard
    uint64_t member                       # whom its certificate names; 0: it has none

cdef struct ArrivalsState:
    pthread_mutex_t mutex
    Arrival* items                        # under the mutex, like the rest
    int limit, stranger_limit             # Invariant: there are 2 * limit places
    int lowest                            # Invariant: every place below is taken
    int used                              # Invariant: every place from there on is free
    int counts[STATES]                    # of places, by their state; of those that are free, none
    int64_t stranger_ns
    uint64_t draw
    int64_t refused                       # closed before they had sent a valid frame, or for want of room
    int64_t unnamed                       # closed because their certificate names no member

# For callbacks, which have no object at hand.
cdef int _arrivals_opened(ArrivalsState* a, uint32_t listener, uint32_t pipe, int64_t now) noexcept nogil
cdef void _arrivals_ended(ArrivalsState* a, uint32_t pipe) noexcept nogil
cdef void _arrivals_identify(ArrivalsState* a, uint32_t pipe, uint64_t member) noexcept nogil

@cython.final
cdef class Arrivals:
    """The connections that peers have made to us, and strangers too: who may stay."""
    cdef ArrivalsState state
    cdef uint32_t listener, pipe          # of the one that next_to_close() found
    cdef bint own
    cdef int admit(self, uint32_t listener, uint64_t source, int64_t now) noexcept nogil
    cdef int opened(self, uint32_t listener, uint32_t pipe, int64_t now) noexcept nogil
    cdef void ended(self, uint32_t pipe) noexcept nogil
    cdef bint proven(self, uint32_t pipe, int64_t now) noexcept nogil
    cdef void heard(self, uint32_t pipe, int64_t now) noexcept nogil
    cdef void drop(self, uint32_t listener) noexcept nogil
    cdef uint64_t member(self, uint32_t pipe) noexcept nogil
    cdef int64_t sweep(self, int64_t now) noexcept nogil
    cdef bint next_to_close(self) noexcept nogil
    cdef int count(self, bint strangers) noexcept nogil
