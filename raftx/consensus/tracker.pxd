import cython
from libc.stdint cimport int8_t, uint64_t
from .. cimport _core
from .._core cimport Inflights, Peers
from .._native cimport checks
from . cimport quorum
from .configuration cimport Configuration
from .departed cimport Departed

cdef int MEMBERS_MAX, PROBE, REPLICATE, SNAPSHOT
cdef uint64_t GRANTED, REFUSED

@cython.final
cdef class Tracker:
    cdef readonly Peers peers
    cdef readonly Inflights inflights
    cdef readonly uint64_t voters, outgoing, learners, learners_next
    cdef readonly uint64_t votes_granted, votes_refused
    cdef readonly bint auto_leave
    cdef public bint group_commit
    cdef uint64_t[::1] append_limits
    cdef readonly Departed departed_votes
    cdef readonly uint64_t installs
    cdef int8_t[::1] places, progress_places
    cdef uint64_t[::1] column
    cdef Configuration present

    cdef void install(self, Configuration to, uint64_t next) noexcept nogil
    @cython.locals(vote=uint64_t, place=int)
    cdef void _move_votes(self, Configuration to) noexcept nogil
    cdef void tell(self, Configuration to) noexcept nogil
    cdef bint fits(self, Configuration to) noexcept nogil
    cdef void look_at(self, int slot) noexcept nogil
    cdef void begin(self, int slot, uint64_t next) noexcept nogil
    cdef void reset_votes(self) noexcept nogil
    cdef void record_vote(self, int slot, bint granted) noexcept nogil
    cdef int tally(self) noexcept nogil
    cdef bint quorum_active(self) noexcept nogil
    cdef uint64_t committed(self) noexcept nogil
    cdef bint is_singleton(self) noexcept nogil
    cdef void reset_progress(self, int slot, uint64_t match, uint64_t next) noexcept nogil
    cdef void _reset_state(self, int slot, int state) noexcept nogil
    cdef void become_probe(self, int slot) noexcept nogil
    cdef void become_replicate(self, int slot) noexcept nogil
    cdef void become_snapshot(self, int slot, uint64_t index) noexcept nogil
    cdef void snapshot_ended(self, int slot, bint arrived) noexcept nogil
    cdef bint is_paused(self, int slot) noexcept nogil
    cdef int sent_entries(self, int slot, uint64_t count, uint64_t size) except -1 nogil
    cdef bint can_bump_commit(self, int slot, uint64_t index) noexcept nogil
    cdef bint maybe_update(self, int slot, uint64_t index) noexcept nogil
    cdef bint request_snapshot(self, int slot, uint64_t rejected, uint64_t least) noexcept nogil
    cdef bint maybe_decrease(self, int slot, uint64_t rejected, uint64_t hint) noexcept nogil
