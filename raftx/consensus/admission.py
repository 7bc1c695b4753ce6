"""What an honest member can have sent: every message from the network is looked at here before the core takes it.

The core trusts its messages, as the paper does: it follows a higher term and a leader's commit index, and ends rather
than go on with what cannot be. So one frame of a stray program, or one that was damaged before its checksum was made,
could end a cluster. Here each field of each kind is held against what a member that follows the rules can have sent,
given what this one knows. What fits none is refused with a reason, and changes nothing. A member that lies within
these bounds is not recognised: that is what authentication is for.

Functions over State and Message that read and never write, but for a scratch membership.
"""

from __future__ import annotations

from .._native.outbox import Message
from ..types import (
    FLAG_REJECT,
    FLAG_REQUEST_SNAPSHOT,
    FLAG_TRANSFER,
    LEADER,
    MSG_APP,
    MSG_APP_RESP,
    MSG_DOUBT,
    MSG_DOUBT_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_PRE_VOTE,
    MSG_PRE_VOTE_RESP,
    MSG_PROP,
    MSG_READ_INDEX,
    MSG_REFUSED,
    MSG_SNAP,
    MSG_TIMEOUT_NOW,
    MSG_TRANSFER_LEADER,
    MSG_VOTE,
    MSG_VOTE_RESP,
)
from . import changes, configuration, records
from .state import State

# One message raises the term by no more than this. A member that campaigned alone once a millisecond would need 49 days
# for it, so no honest member is that far ahead.
TERM_STEP = 2**32
# Head-room: from here on, half of what the wire can carry, a message raises the term by hardly more than one election
# does. So whatever was let in can still be counted on from, and no number of messages uses that up.
TERM_HIGH = 2**62
TERM_STEP_ABOVE = 64
# A million entries a second for 146,000 years.
INDEX_MAX = 2**62
PRIORITY_MAX = 2**31 - 1

ADMITTED = 0
TERM = 1  # a term that the sender cannot have, or none where one belongs
STRANGER = 2  # only a member sends this
SECOND_LEADER = 3  # this term has another leader
COMMIT = 4  # a commit index that the message or the log does not bear out
LOG = 5  # a place in a log that cannot be
REQUEST = 6  # what is asked for cannot be meant

#: the reasons in words, as ``Node.status()`` has them
REASONS = ("admitted", "term", "stranger", "second leader", "commit", "log", "request")


def refusal(r: State, m: Message) -> int:
    """Why no honest member can have sent this message to ``r``; ADMITTED when one can."""
    reason = term_refusal(r, m)
    if reason == ADMITTED and r.tracker.peers.slot_of(m.sender) < 0 and not stranger_may(r, m):
        reason = STRANGER
    if reason == ADMITTED:
        reason = field_refusal(r, m)
    return reason


def term_refusal(r: State, m: Message) -> int:
    """The term: there where one belongs, and one that its sender can have come to."""
    if m.kind == MSG_PROP or m.kind == MSG_READ_INDEX or m.kind == MSG_REFUSED:
        # These are of no term. One would be followed like any other.
        return TERM if m.term != 0 else ADMITTED
    if m.term == 0:
        # A term of 0 makes a message one of the member itself. Only a member without a term refuses a pre-vote with it.
        return ADMITTED if m.kind == MSG_PRE_VOTE_RESP and m.flags & FLAG_REJECT != 0 else TERM
    if m.term <= r.term:
        return ADMITTED
    if m.term - r.term > (TERM_STEP if m.term <= TERM_HIGH else TERM_STEP_ABOVE):
        return TERM
    if answers_us(m):
        # An answer is of the term that was asked in, or of an earlier one: terms do not go back here.
        return TERM
    return ADMITTED


def answers_us(m: Message) -> bool:
    """Whether the message answers one of ours, or is for the leader, or the next one, of a term we have not reached."""
    if m.kind == MSG_VOTE_RESP:
        return m.flags & FLAG_REJECT == 0
    if m.kind == MSG_APP_RESP:
        # Without anything in it, it tells a leader of before that there is a later term.
        return m.index != 0 or m.flags != 0 or m.hint != 0
    if m.kind == MSG_TIMEOUT_NOW or m.kind == MSG_TRANSFER_LEADER:
        return True
    return m.kind == MSG_HEARTBEAT_RESP or m.kind == MSG_DOUBT


def stranger_may(r: State, m: Message) -> bool:
    """Whether a sender that is not in the configuration may send this.

    It may be a leader or a candidate whose addition has not arrived here: it is followed and voted for, as its term
    and log deserve (paper, section 6). It is not counted, and nothing is done for it.
    """
    if m.kind == MSG_APP or m.kind == MSG_HEARTBEAT or m.kind == MSG_SNAP:
        return True
    if m.kind == MSG_VOTE or m.kind == MSG_PRE_VOTE:
        return True
    return m.sender == r.lead and r.lead != 0


def field_refusal(r: State, m: Message) -> int:
    """The other fields, by kind."""
    if m.index > INDEX_MAX or m.commit > INDEX_MAX:
        return LOG
    if m.kind == MSG_APP:
        if m.index + m.count > INDEX_MAX or m.log_term > m.term or (m.index == 0) != (m.log_term == 0):
            return LOG
        return second_leader(r, m)
    if m.kind == MSG_HEARTBEAT:
        if second_leader(r, m) != ADMITTED:
            return SECOND_LEADER
        # It is capped at what we have acknowledged, which was durable here. In doubt we may have lost that.
        return COMMIT if m.term >= r.term and m.commit > r.log.last and not r.in_doubt else ADMITTED
    if m.kind == MSG_SNAP:
        if second_leader(r, m) != ADMITTED:
            return SECOND_LEADER
        if r.read_snapshot(m) != configuration.FITS:
            return REQUEST
        return LOG if records.u64(m.body, records.RECORD_INDEX) > INDEX_MAX else ADMITTED
    if m.kind == MSG_PROP:
        # Its proposer has seen to it that each change is one.
        return REQUEST if changes.unfit_kind(m) != 0 else ADMITTED
    if m.kind == MSG_VOTE or m.kind == MSG_PRE_VOTE:
        # A candidate's term is above every term of its log.
        if m.log_term >= m.term or (m.index == 0) != (m.log_term == 0):
            return LOG
        if m.commit > m.index or m.context > m.log_term:
            return COMMIT
        if m.flags & FLAG_TRANSFER != 0 and m.kind == MSG_PRE_VOTE:
            return REQUEST  # a transfer does not ask first
        return REQUEST if m.hint > PRIORITY_MAX else ADMITTED
    if m.kind == MSG_VOTE_RESP or m.kind == MSG_PRE_VOTE_RESP:
        return COMMIT if m.context > m.term or (m.commit == 0) != (m.context == 0) else ADMITTED
    if m.kind == MSG_APP_RESP:
        return append_response_refusal(r, m)
    if m.kind == MSG_TIMEOUT_NOW or m.kind == MSG_DOUBT_RESP:
        return second_leader(r, m)
    if m.kind == MSG_DOUBT:
        return REQUEST if m.context == 0 else ADMITTED
    return ADMITTED


def append_response_refusal(r: State, m: Message) -> int:
    """What a follower says of its log, held against the leader's own."""
    if m.log_term > m.term:
        return LOG
    if r.role != LEADER or m.term != r.term:
        return ADMITTED
    if m.flags & FLAG_REJECT == 0:
        # No member can have more of this term than its leader.
        return LOG if m.index > r.log.last else ADMITTED
    # A snapshot beyond the leader's log would be waited for without end.
    return REQUEST if m.flags & FLAG_REQUEST_SNAPSHOT != 0 and m.context > r.log.last else ADMITTED


def second_leader(r: State, m: Message) -> int:
    """A term has one leader (paper, section 5.2): no other member sends what a leader sends."""
    if m.term != r.term or m.sender == r.lead:
        return ADMITTED
    return SECOND_LEADER if r.lead != 0 or r.role == LEADER else ADMITTED


def py_refusal(r: State, m: Message) -> int:
    """``refusal`` for Python."""
    return refusal(r, m)
