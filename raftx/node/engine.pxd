import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from .._core cimport Codec
from .._native.memory cimport Spans
from .._native.outbox cimport Message, Outbox
from .._native.threads cimport Cells, Clock, Event, Handoff, Intake, Runner
from ..consensus cimport admission
from ..consensus.driver cimport Driver
from ..consensus.raft cimport Raft
from ..transport.link cimport Link
from . cimport elections
from .contact cimport Contact
from .hello cimport Hellos
from .senders cimport Senders
from .stamps cimport Stamps

cdef int FOLLOWER, LEADER
cdef int MSG_HELLO, MSG_HUP, MSG_PROP, MSG_READ_INDEX, MSG_READ_INDEX_RESP, MSG_REFUSED, MSG_SNAP, MSG_TRANSFER_LEADER, MSG_UNREACHABLE
cdef uint32_t FLAG_NEW_CONNECTION, FLAG_REJECT
cdef int CELL_DONE, CELL_ERROR
cdef uint64_t ROW_IN_DOUBT, ROW_STOP, ROW_WRITE
cdef uint64_t CMD_CAMPAIGN, CMD_CONNECTED, CMD_STOP, CMD_TRANSFER, CMD_UNREACHABLE
cdef int DONE_APPLIED, FAILED_STORAGE
cdef int REFUSED_CAMPAIGN, REFUSED_FORWARDING, REFUSED_NO_LEADER, REFUSED_NOT_LEADER
cdef int REFUSED_REMOVED, REFUSED_TRANSFER
cdef int REFUSED_STOPPED, REFUSED_UNCOMMITTED, REFUSED_UNREACHABLE
cdef uint64_t ROW_APPLY, ROW_ASKED, ROW_END, ROW_HANDED, ROW_ODD, ROW_REFUSED, ROW_STATE, ROW_TRANSFER
cdef int ODD_ANSWER, SENDER_STALE
cdef int64_t ODD_NS
cdef int SHOW_APPLIED, SHOW_COMMIT, SHOW_FAILED, SHOW_FRAMES_DROPPED, SHOW_FRAMES_IN, SHOW_FRAMES_OUT
cdef int SHOW_LAST, SHOW_LEAD, SHOW_LEADERS, SHOW_ROLE, SHOW_STABLE, SHOW_STALE, SHOW_TERM, SHOW_TICKS
cdef int SHOW_FOREIGN
cdef int SHOW_IN_DOUBT, SHOW_ODD, SHOW_REJECTED, SHOW_TOO_LARGE_IN, SHOW_TOO_LARGE_OUT, SHOW_UNSERVED, SHOW_VOTE
cdef int REASONS_MAX, SHOWN
cdef size_t FRAME_HEADER, MESSAGE_HEADER, FRAME_CLOSE, RECORD_HEADER
cdef int NOTE_LIMIT, NOTE_TOO_LARGE, NOTE_TICKS
cdef int FRAMES_A_ROUND

@cython.final
cdef class Engine(Runner):
    cdef readonly Raft core
    cdef readonly Codec codec
    cdef readonly Link link
    cdef readonly Clock clock
    cdef readonly Event event
    cdef readonly Intake intake
    cdef readonly Handoff writes, applies, commands
    cdef readonly Cells write_cells, apply_cells, show
    cdef readonly Stamps stamps
    cdef readonly Contact contact
    cdef readonly Driver driver
    cdef Outbox out
    cdef Message message, scratch
    cdef Spans spans, no_spans
    cdef int64_t tick_ns, next_tick
    cdef uint64_t max_chunk
    cdef size_t frame_close, max_frame_bytes
    cdef uint64_t[::1] frame_limits
    cdef int64_t[::1] marks, said_too_large, introduced
    cdef uint64_t[::1] met
    cdef Outbox greeting
    cdef readonly Hellos hellos
    cdef readonly Senders senders
    cdef int64_t[::1] odd_told
    cdef uint64_t passed
    cdef uint64_t shown_term, shown_lead, shown_transferee
    cdef int shown_role
    cdef int64_t stalled
    cdef bint begun, stopping, blocked

    cdef int finish(self) except -1 nogil
    cdef int end_the_others(self) except -1 nogil
    @cython.locals(done=uint64_t, applied=uint64_t)
    cdef bint something_waits(self) noexcept nogil
    cdef int take_time(self) except -1 nogil
    cdef int watch_disk(self) except -1 nogil
    @cython.locals(done=uint64_t)
    cdef int take_disk(self) except -1 nogil
    cdef int take_frames(self) except -1 nogil
    cdef int heard(self, int slot) except -1 nogil
    cdef int say_too_large(self, int kind, int slot, int64_t limit) except -1 nogil
    cdef int receive(self) except -1 nogil
    cdef int refuse(self, int reason) except -1 nogil
    cdef int count(self, int cell) noexcept nogil
    cdef int receive_refused(self) except -1 nogil
    cdef bint serves(self) noexcept nogil
    cdef int receive_proposals(self, int slot) except -1 nogil
    cdef int refusal(self, size_t size) noexcept nogil
    cdef int take_proposals(self) except -1 nogil
    cdef int tell_refused(self, uint64_t sequence, uint64_t count, uint64_t reason) except -1 nogil
    cdef int take_commands(self) except -1 nogil
    cdef int campaign(self, uint64_t request) except -1 nogil
    cdef int transfer(self, uint64_t to, uint64_t request) except -1 nogil
    cdef int tell_asked(self, uint64_t request, int reason, uint64_t to, uint64_t term) except -1 nogil
    @cython.locals(applied=uint64_t)
    cdef int take_applied(self) except -1 nogil
    cdef int flush(self) except -1 nogil
    cdef int hand_over_write(self) except -1 nogil
    cdef int send_frames(self) except -1 nogil
    @cython.locals(start=size_t, end=size_t)
    cdef int send_to(self, int slot, uint64_t to) except -1 nogil
    cdef int send_frame(self, int slot, uint64_t to, size_t size, size_t start, size_t end) except -1 nogil
    cdef int not_sent(self, int slot, uint64_t to, size_t start, size_t end) except -1 nogil
    cdef int greet(self) except -1 nogil
    cdef int hello(self, uint64_t to, bint new_connection) except -1 nogil
    cdef int receive_hello(self) except -1 nogil
    cdef int hand_over_entries(self) except -1 nogil
    cdef int publish(self) except -1 nogil
