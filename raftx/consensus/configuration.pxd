import cython
from libc.stdint cimport uint8_t, uint64_t
from .. cimport _core
from . cimport records

cdef int MEMBERS_MAX
cdef uint64_t MASK64, MULTIPLIER, NUMBER_MAX
cdef size_t HEAD, MEMBERSHIP_AUTO_LEAVE, MEMBERSHIP_HEAD
cdef int FITS, DAMAGED, TOO_MANY, NO_VOTERS, LEARNER_VOTES, NEXT_NO_VOTER, NEXT_LEARNS, NEXT_NOT_JOINT, LEAVES_NOT_JOINT

@cython.locals(product=uint64_t)
cdef uint64_t mixed(uint64_t before, uint64_t value) noexcept nogil

@cython.final
cdef class Configuration:
    cdef readonly int count
    cdef uint64_t[::1] ids
    cdef readonly uint64_t voters, outgoing, learners, learners_next
    cdef readonly bint auto_leave
    cdef readonly uint64_t anew, index, base
    cdef size_t end

    cdef void clear(self) noexcept nogil
    cdef int slot_of(self, uint64_t id) noexcept nogil
    @cython.locals(slot=int, behind=int)
    cdef bint add(self, uint64_t id) noexcept nogil
    @cython.locals(at=size_t)
    cdef int load(self, const uint8_t* body, size_t size) noexcept nogil
    @cython.locals(previous=uint64_t, id=uint64_t, place=size_t)
    cdef int read(self, const uint8_t* body, size_t at, size_t size) noexcept nogil
    @cython.locals(mask=uint64_t)
    cdef uint64_t _read_set(self, const uint8_t* body, size_t at, int count) noexcept nogil
    cdef int fault(self) noexcept nogil
    @cython.locals(value=uint64_t)
    cdef uint64_t digest(self) noexcept nogil
