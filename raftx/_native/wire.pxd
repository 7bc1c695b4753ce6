# C types of TCP connections as they come and go. wire.py is the twin in plain Python.
# Nothing here knows NNG, frames or Raft.
import cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from .limits cimport Notes
from .threads cimport Event

cdef enum:
    TARGETS = 64                          # members, as many as a membership has
    EVENTS = 64                           # that are looked at together

cdef extern from "_native/wire.h":
    void raftx_no_sigpipe() noexcept nogil
    int raftx_close "close"(int) noexcept nogil
    ctypedef struct raftx_addresses:
        int count
    ctypedef struct raftx_lookup:
        pass
    ctypedef struct raftx_resolver:
        pass
    ctypedef struct raftx_epoll_event:
        pass

cdef struct Guest:
    int fd
    uint64_t source
    int64_t since

cdef struct Target:
    uint64_t id
    int state, fd
    bint named, stale                     # has to be looked up; every address has failed since that was done
    int64_t deadline, pause, began, failing
    bint told
    int turn
    raftx_addresses addresses
    raftx_lookup* lookup
    int family
    int64_t live                          # atomic: it is dialled; else its number is free
    char host[256]
    char port[8]

@cython.final
cdef class Wire:
    """A listening socket, connections that have not greeted yet, and attempts to reach each target."""
    cdef readonly Event event
    cdef readonly Notes notes
    cdef int listener, reserve
    cdef int64_t pausing                  # till when nothing is accepted, for a shortage; 0: it is
    cdef Guest* guests
    cdef int guest_count, guest_limit
    cdef int64_t guest_ns, dial_ns, shortest, longest
    cdef int unacknowledged_ms
    cdef Target targets[TARGETS]
    cdef raftx_resolver* resolver         # NULL until a name is to be looked up
    cdef readonly int64_t target_count    # atomic: one more than the largest number that a target has had
    cdef int poller                       # the epoll of all that is waited for
    cdef raftx_epoll_event events[EVENTS]
    cdef int* ready_whos
    cdef int* ready_fds
    cdef uint64_t* ready_sources
    cdef int ready_count, ready_room
    cdef uint64_t draw
    cdef int64_t shortage_told, crowd_told
    cdef int who, fd                      # of the connection that take() found, like the next one
    cdef uint64_t source
    cdef readonly int64_t accepted, refused, dials, failures, shortages
    cdef int step(self, int64_t until) noexcept nogil
    cdef int64_t due(self) noexcept nogil
    cdef int look(self) noexcept nogil
    cdef bint take(self) noexcept nogil
    cdef void again(self, int number, int code) noexcept nogil
    cdef void stood(self, int number) noexcept nogil
    cdef void hurry(self, int number, bint anew) noexcept nogil
    cdef void drop(self, int number) noexcept nogil
    cdef void shortage(self, int code) noexcept nogil
    cdef void crowd(self) noexcept nogil
    cdef void _greets(self, int fd, bint ended) noexcept nogil
    cdef void _connected(self, Target* t, int number, int code, int64_t now) noexcept nogil
    cdef void _overdue(self, int64_t now) noexcept nogil
    cdef void _shut(self, int fd) noexcept nogil
    cdef void _accept(self, int64_t now) noexcept nogil
    cdef int _refuse_one(self) noexcept nogil
    cdef void _make_room(self) noexcept nogil
    cdef void _ready(self, int who, int fd, uint64_t source) noexcept nogil
    cdef void _begin(self, Target* t, int number, int64_t now) noexcept nogil
    cdef void _look_up(self, Target* t) noexcept nogil
    cdef void _forget(self, Target* t) noexcept nogil
    cdef void _failed(self, Target* t, int number, int code, int64_t now) noexcept nogil
    cdef void _close(self) noexcept nogil
