from libc.stdint cimport uint32_t
from .._native.outbox cimport Message
from . cimport follower, leader, quorum
from .state cimport State

cdef int LEADER, PRE_CANDIDATE
cdef int MSG_APP, MSG_HEARTBEAT, MSG_PRE_VOTE, MSG_PRE_VOTE_RESP, MSG_PROP, MSG_SNAP, MSG_VOTE
cdef int MSG_VOTE_RESP
cdef uint32_t FLAG_REJECT, FLAG_TRANSFER
cdef int CAMPAIGN_PRE_ELECTION, CAMPAIGN_ELECTION, CAMPAIGN_TRANSFER

cdef int start_campaign(State r, int campaign_kind) except -1 nogil
cdef int campaign(State r, int campaign_kind) except -1 nogil
cdef int handle_vote_response(State r, Message m) except -1 nogil
cdef int step(State r, Message m) except -1 nogil
