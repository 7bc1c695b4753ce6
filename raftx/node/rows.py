"""Numbers that the node's threads agree on: kinds of rows in the hand-overs, cells, reasons. Values only."""

# Engine to apply thread
ROW_APPLY = 1  # low, high, spans: committed entries, whose bytes are the next spans
ROW_HANDED = 2  # sequence, term: own proposals up to it were appended or passed on in this or an earlier term
ROW_REFUSED = 3  # sequence, count, reason: own proposals were not appended and will not be
ROW_STATE = 4  # term, leader, role
ROW_END = 5  # nothing follows
ROW_ODD = 6  # reason, sender, kind, term, count: a message that no honest member can have sent
ROW_ASKED = 7  # request, reason, member, term before, term, leader, role: it is to lead; 0, or why it is not asked
ROW_TRANSFER = 8  # member, member, role: to whom leadership was being transferred, and is now (0: to nobody)

# Python to engine
CMD_STOP = 1
CMD_CAMPAIGN = 2  # request, 0 when nobody waits for its outcome
CMD_TRANSFER = 3  # member, 0 for the one with the most complete log; request, as above
CMD_UNREACHABLE = 4  # member: the transport dropped a frame for it
CMD_CONNECTED = 5  # member: a connection to it has come to stand

# What the engine publishes (one Cells)
SHOW_TERM = 0
SHOW_LEAD = 1
SHOW_ROLE = 2
SHOW_COMMIT = 3
SHOW_APPLIED = 4
SHOW_LAST = 5
SHOW_STABLE = 6
SHOW_TICKS = 7
SHOW_FRAMES_IN = 8
SHOW_FRAMES_OUT = 9
SHOW_FRAMES_DROPPED = 10  # not accepted by the transport
SHOW_STALE = 11  # frames of an earlier life of their sender
SHOW_LEADERS = 12  # changes of leader seen
SHOW_FAILED = 13  # 0, or what ended the engine: FAILED_*
SHOW_VOTE = 14
SHOW_UNSERVED = 15  # messages of kinds that a node does not serve: snapshots, reads, membership
SHOW_IN_DOUBT = 16
SHOW_TOO_LARGE_OUT = 17  # messages that were not sent because their recipient does not take such frames
SHOW_TOO_LARGE_IN = 18  # frames that told us the same
SHOW_ODD = 19  # messages that no honest member can have sent: from here on one cell for each reason
SHOW_REJECTED = 35  # frames that the codec did not accept, likewise
SHOW_FOREIGN = 51  # who sent the last frame of another cluster, by its own account; 0: it is not known
SHOWN = 52

REASONS_MAX = 16  # of either

FAILED_STORAGE = 1
FAILED_CORE = 2

# What the apply thread publishes
DONE_APPLIED = 0
DONE_BARE = 1  # entries that were not applied, because they have no envelope
DONE_INDEX = 2  # the last entry that is applied; DONE_APPLIED is that of the last batch

# What a frame's incarnation says of it, besides ODD_INCARNATION
SENDER_PRESENT = 0
SENDER_STALE = -1

# Why a message was refused that no honest member can have sent: these follow the reasons of consensus/admission.py
ODD_INCARNATION = 7  # a life that its sender cannot have come to
ODD_ORIGIN = 8  # proposals that are not the sender's own, or are numbered as nobody numbers them
ODD_ANSWER = 9  # a refusal of proposals that were not passed on

# Why a request was refused
REFUSED_NO_LEADER = 1
REFUSED_NOT_LEADER = 2
REFUSED_FORWARDING = 3
REFUSED_TRANSFER = 4
REFUSED_REMOVED = 5
REFUSED_UNCOMMITTED = 6
REFUSED_UNREACHABLE = 7
REFUSED_STOPPED = 8
REFUSED_NO_VOTER = 9
REFUSED_CAMPAIGN = 10
REFUSED_GIVEN_UP = 11
REFUSED_OTHER_TRANSFER = 12

REFUSALS = (
    "unknown reason",
    "no leader",
    "the member asked is not the leader",
    "this member is not the leader, and forwarding is off",
    "leadership is being transferred",
    "the leader has been removed",
    "too many bytes are not committed yet",
    "the leader cannot be reached",
    "the node was stopped before the proposal was handed over",
    "there is no such voter to hand over to",
    "this member may not campaign: it is no voter, does not know what it promised, or has a membership change to apply",
    "the transfer was given up: the member did not take over within an election timeout, or this one was asked to stay",
    "another transfer took its place",
)
