import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from .._native.outbox cimport Message, Outbox
from . cimport changes, records
from .state cimport State

cdef int ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2, LEADER
cdef int MSG_APP, MSG_APP_RESP, MSG_BEAT, MSG_CHECK_QUORUM, MSG_HEARTBEAT, MSG_HEARTBEAT_RESP, MSG_PROP, MSG_READ_INDEX
cdef int MSG_DOUBT, MSG_DOUBT_RESP
cdef int MSG_READ_INDEX_RESP, MSG_SNAP, MSG_SNAP_STATUS, MSG_TIMEOUT_NOW, MSG_TRANSFER_LEADER, MSG_UNREACHABLE
cdef int PROBE, REPLICATE, SNAPSHOT
cdef int DUE_ANSWER, DUE_ALL
cdef uint32_t HOLD_FROM
cdef uint32_t FLAG_REJECT, FLAG_REQUEST_SNAPSHOT
cdef uint64_t ENTRY_HEADER

@cython.locals(size=uint64_t)
cdef int maybe_send_append(State r, int slot, bint send_if_empty) except -1 nogil
cdef uint64_t append_bytes(State r, int slot) noexcept nogil
cdef bint batched(State r, int slot, uint64_t low, uint64_t count) except -1 nogil
cdef int maybe_send_snapshot(State r, int slot) except -1 nogil
cdef int bcast_append(State r) except -1 nogil
cdef bint held(State r, int slot) noexcept nogil
@cython.locals(news=bint, due=int)
cdef int send_due(State r) except -1 nogil
cdef int bcast_heartbeat(State r) except -1 nogil
cdef int send_timeout_now(State r, uint64_t id) except -1 nogil
cdef int check_quorum(State r) except -1 nogil
cdef int propose(State r, Message m) except -1 nogil
cdef int append_proposals(State r, Message m) except -1 nogil
cdef int propose_changes(State r, Message m) except -1 nogil
@cython.locals(size=int64_t, at=size_t, reason=int)
cdef int64_t pass_changes(State r, Message m, bint append) except -1 nogil
cdef int judge_change(State r, int parts, uint64_t pending) noexcept nogil
@cython.locals(at=size_t)
cdef int change_refusal(State r, Message m) noexcept nogil
cdef int maybe_leave_joint(State r) except -1 nogil
cdef int handle_append_response(State r, Message m, int slot) except -1 nogil
cdef bint reconnects(State r, Message m, int slot) noexcept nogil
cdef int handle_snapshot_request(State r, Message m, int slot) except -1 nogil
cdef int handle_heartbeat_response(State r, Message m, int slot) except -1 nogil
cdef int handle_snapshot_status(State r, Message m, int slot) except -1 nogil
cdef int read_index(State r, Message m) except -1 nogil
cdef bint answers_alone(State r) noexcept nogil
cdef int push_read(Outbox box, uint64_t origin, uint64_t index, Message m) except -1 nogil
cdef int answer_read(State r, uint64_t origin, uint64_t index, Message m) except -1 nogil
cdef int answer_row(State r, Outbox box, size_t row, uint64_t index) except -1 nogil
cdef int confirm_by_heartbeat(State r) except -1 nogil
cdef int confirm_reads(State r) except -1 nogil
cdef int handle_doubt(State r, Message m, int slot) except -1 nogil
cdef int answer_doubts(State r) except -1 nogil
cdef int release_early_reads(State r) except -1 nogil
cdef int transfer(State r, uint64_t id) except -1 nogil
cdef int step(State r, Message m) except -1 nogil
