from libc.stdint cimport uint32_t, uint64_t
from .._native.outbox cimport Message
from . cimport changes, configuration, records
from .state cimport State

cdef int LEADER, MSG_APP, MSG_APP_RESP, MSG_DOUBT, MSG_DOUBT_RESP, MSG_HEARTBEAT, MSG_HEARTBEAT_RESP, MSG_PRE_VOTE
cdef int MSG_PRE_VOTE_RESP, MSG_PROP, MSG_READ_INDEX, MSG_REFUSED, MSG_SNAP, MSG_TIMEOUT_NOW, MSG_TRANSFER_LEADER, MSG_VOTE, MSG_VOTE_RESP
cdef uint32_t FLAG_REJECT, FLAG_REQUEST_SNAPSHOT, FLAG_TRANSFER
cdef uint64_t TERM_HIGH, TERM_STEP, TERM_STEP_ABOVE, INDEX_MAX, PRIORITY_MAX
cdef int ADMITTED, TERM, STRANGER, SECOND_LEADER, COMMIT, LOG, REQUEST

cdef int refusal(State r, Message m) noexcept nogil
cdef int term_refusal(State r, Message m) noexcept nogil
cdef bint answers_us(Message m) noexcept nogil
cdef bint stranger_may(State r, Message m) noexcept nogil
cdef int field_refusal(State r, Message m) noexcept nogil
cdef int append_response_refusal(State r, Message m) noexcept nogil
cdef int second_leader(State r, Message m) noexcept nogil
