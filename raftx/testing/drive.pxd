import cython
from libc.stdint cimport int64_t, uint64_t
from .._core cimport Codec
from .._native.memory cimport Buffer, Cursor, Spans
from .._native.outbox cimport Message, Outbox
from .._native.threads cimport Clock, Runner
from ..consensus cimport quorum
from ..consensus.driver cimport Driver
from ..consensus.raft cimport Raft
from ..consensus.tracker cimport Tracker

cdef int LEADER, MSG_APP_RESP, MSG_HEARTBEAT, MSG_HUP, MSG_PROP, MSG_VOTE_RESP
cdef uint64_t KEEP, GROUP
cdef size_t ENTRY_HEADER, FRAME_HEADER

cdef uint64_t groups(uint64_t batch, uint64_t least) noexcept nogil

@cython.final
cdef class Member:
    cdef readonly Raft core
    cdef Driver driver
    cdef Codec codec
    cdef Outbox out
    cdef Message message
    cdef Spans spans
    cdef Cursor cursor
    cdef Buffer payload, body, frame
    cdef size_t size
    cdef readonly uint64_t keep, commit, applied, bytes, written, sent
    cdef int propose(self, uint64_t batch) except -1 nogil
    cdef int receive(self, int kind, uint64_t sender, uint64_t index) except -1 nogil
    cdef bint busy(self) noexcept nogil
    cdef int work(self) except -1 nogil
    cdef int apply(self) except -1 nogil
    cdef int drain(self) except -1 nogil
    cdef int deliver(self, Member other) except -1 nogil
    cdef int load(self, Outbox box, size_t row, Member other) except -1 nogil
    cdef int pack(self, Outbox box, size_t row, Member other) except -1 nogil
    cdef int lead(self, uint64_t voters) except -1 nogil

cdef class Case(Runner):
    cdef Clock clock
    cdef public uint64_t rounds
    cdef public uint64_t count, sent
    cdef public int64_t spent
    cdef int prepare(self) except -1 nogil
    cdef int body(self) except -1 nogil
    cdef int finish(self) except -1 nogil

@cython.final
cdef class Alone(Case):
    cdef Member one
    cdef uint64_t batch

@cython.final
cdef class Trio(Case):
    cdef Member one, two, three
    cdef uint64_t batch
    cdef int settle(self) except -1 nogil

cdef class Appends(Case):
    cdef Member one, two
    cdef Outbox box
    cdef uint64_t batch

@cython.final
cdef class Frames(Appends):
    pass

@cython.final
cdef class Acknowledgements(Case):
    cdef Member one
    cdef uint64_t voters, before

@cython.final
cdef class Heartbeats(Case):
    cdef Member two
    cdef bint ready

@cython.final
cdef class Campaigns(Case):
    cdef Member one

@cython.final
cdef class Commits(Case):
    cdef Tracker tracker
    cdef readonly uint64_t sum

@cython.final
cdef class Votes(Case):
    cdef Tracker tracker
    cdef uint64_t need
    cdef readonly uint64_t won
