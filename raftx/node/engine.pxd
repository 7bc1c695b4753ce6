import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from .._core cimport Codec
from .._native.memory cimport Spans
from .._native.outbox cimport Message, Outbox
from .._native.threads cimport Clock, Event, ProposalQueue, Runner
from ..consensus cimport admission, records
from ..consensus.driver cimport Driver
from ..consensus.raft cimport Raft
from ..storage.writes cimport DiskGauges, WriteQueue
from ..transport.link cimport Link
from . cimport elections
from .changes cimport Changes
from .channels cimport ApplyGauges, ApplyQueue, CommandQueue, Gauges
from .clocks cimport Clocks
from .compaction cimport Compaction
from .dispatch cimport Dispatch
from .divergence cimport Divergence
from .hello cimport Hellos
from .lag cimport Lag
from .leases cimport Leases
from .looks cimport Looks
from .meetings cimport Meetings
from .orders cimport Orders
from .passing cimport Passing
from .peers cimport PeerTable
from .preference cimport Preference
from .reads cimport Reads
from .room cimport Room
from .senders cimport Senders
from .stall cimport Stall
from .stamps cimport StageTimes
from .transfers cimport Transfers
from .unled cimport Unled

cdef int LEADER
cdef int MSG_APP, MSG_HEARTBEAT, MSG_KNOWN, MSG_MEET
cdef int MSG_CHANGE, MSG_CHANGED, MSG_LOOK, MSG_SEEN
cdef int MSG_CHUNKS, MSG_SNAP, MSG_HELLO, MSG_PROP, MSG_REFUSED
cdef uint32_t FLAG_NEW_CONNECTION, FLAG_REJECT
cdef int FAILED_DIVERGED, FAILED_MEMORY, FAILED_STORAGE
cdef int REFUSED_DISK_FULL, REFUSED_FORWARDING, REFUSED_LEADER_FULL
cdef int REFUSED_NO_LEADER, REFUSED_NOT_LEADER
cdef int REFUSED_STOPPED, REFUSED_UNCOMMITTED
cdef int ODD_CONTRADICTION, ODD_INCARNATION, SENDER_PRESENT, SENDER_STALE, SENDER_UNMET
cdef int64_t ODD_NS
cdef uint64_t HOLD_BYTES
cdef int REASONS_MAX
cdef size_t ROWS_A_CHUNK, ROWS_KEPT
cdef size_t FRAME_HEADER, MESSAGE_HEADER, ENTRY_HEADER
cdef int NOTE_TOO_LARGE
cdef int FRAMES_A_ROUND

@cython.final
cdef class Engine(Runner):
    cdef readonly Raft core
    cdef readonly Codec codec
    cdef readonly Link link
    cdef readonly Clock clock
    cdef readonly Event event
    cdef readonly ProposalQueue proposals
    cdef readonly WriteQueue writes
    cdef readonly ApplyQueue applies
    cdef readonly CommandQueue commands
    cdef readonly DiskGauges disk
    cdef readonly ApplyGauges apply_gauges
    cdef readonly Gauges gauges
    cdef readonly PeerTable peers
    cdef readonly StageTimes stamps
    cdef readonly Driver driver
    cdef Outbox out
    cdef Message message
    cdef Spans spans, empty_spans
    cdef int64_t tick_ns, next_tick
    cdef uint64_t max_chunk
    cdef size_t max_frame_bytes
    cdef readonly Dispatch dispatch
    cdef readonly Hellos hellos
    cdef readonly Clocks clocks
    cdef readonly Compaction compaction
    cdef readonly Divergence divergence
    cdef readonly Meetings meetings
    cdef readonly Transfers transfers
    cdef readonly Senders senders
    cdef readonly Room room
    cdef readonly Stall stall
    cdef readonly Passing passing
    cdef readonly Reads reads
    cdef readonly Changes changes
    cdef readonly Lag lag
    cdef readonly Leases leases
    cdef readonly Looks looks
    cdef readonly Preference preference
    cdef readonly Orders orders
    cdef readonly Unled unled
    cdef int64_t[::1] odd_told
    cdef int64_t untaken_told
    cdef uint64_t passed, doubted_to
    cdef uint64_t shown_term, shown_lead, shown_transferee
    cdef int shown_role
    cdef bint begun, stopping, blocked, in_frame, of_member
    cdef int verdict
    cdef size_t unsent
    cdef bint slept
    cdef int64_t spin_ns, spins_to
    cdef Clock stopwatch

    cdef int finish(self) except -1 nogil
    cdef bint something_waits(self) noexcept nogil
    cdef bint lacks_room(self) noexcept nogil
    cdef int tick_if_due(self) except -1 nogil
    @cython.locals(done=uint64_t)
    cdef int take_disk(self) except -1 nogil
    cdef int take_frames(self) except -1 nogil
    cdef int open_frame(self) except -1 nogil
    cdef int take_messages(self) except -1 nogil
    @cython.locals(slot=int)
    cdef int heard(self, int place) except -1 nogil
    cdef int receive(self) except -1 nogil
    cdef int receive_unmet(self) except -1 nogil
    @cython.locals(now=int64_t)
    cdef int leave_offer(self) except -1 nogil
    @cython.locals(slot=int)
    cdef int receive_other(self) except -1 nogil
    cdef int refuse(self, int reason) except -1 nogil
    cdef int receive_refused(self) except -1 nogil
    cdef int receive_proposals(self) except -1 nogil
    cdef int take_proposals(self) except -1 nogil
    @cython.locals(size=uint64_t)
    cdef int refuse_own(self, uint64_t sequence, uint64_t count, uint64_t reason) except -1 nogil
    cdef int take_commands(self) except -1 nogil
    @cython.locals(applied=uint64_t)
    cdef int take_applied(self) except -1 nogil
    cdef int flush(self) except -1 nogil
    cdef int hand_over_write(self) except -1 nogil
    cdef int receive_hello(self) except -1 nogil
    cdef int hand_over_entries(self) except -1 nogil
    cdef int update_gauges(self) except -1 nogil
