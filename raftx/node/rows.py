"""Numbers that the threads of a node share: kinds of rows, reasons, bounds. Values only."""

# Kinds of rows, engine to apply thread: channels.py has their fields
ROW_ENTRIES = 1
ROW_HANDED = 2
ROW_REFUSED = 3
ROW_STATE = 4
ROW_ODD = 5
ROW_ASKED = 6
ROW_TRANSFER = 7
ROW_RELEASED = 8
ROW_RESTORE = 9
ROW_BEGUN = 10
ROW_LOST = 11
ROW_UNTAKEN = 12
ROW_READ_AT = 13
ROW_CHANGED = 14
ROW_ADDRESS = 15
ROW_DIVERGED = 16
ROW_LEASED_AT = 17
ROW_JUDGE = 18
ROW_UNLED = 19

# Rows that must have room in the queue of the apply thread, or what arrives waits: what the engine itself has to tell
ROWS_KEPT = 8

MET_STORE = 16  # for the memory: the sender does not know which entry has added it: it counts on a store that was met
ASK = 8  # in a Meet: its recipient is to introduce itself, too
OWN = 4  # for the memory: of this node itself, which has learned which entry has added it
STRANGER = 2  # for the memory: its sender is no member, as far as is applied here
REBUILT = 1  # in a Meet: its sender had another store before, and knows that it has forgotten what that one held
ORIGIN_UNIT = 256  # above the flags of a Meet: what all first members have in common (Loaded.origin), 32 bits

# Python to engine
ROW_CAMPAIGN = 1
ROW_TRANSFER_TO = 2
ROW_UNREACHABLE = 3
ROW_CONNECTED = 4
ROW_SNAPSHOT = 5
ROW_RELEASE = 6
ROW_ASK = 7
ROW_GIVE = 8
ROW_ARRIVED = 9
ROW_MET = 10
ROW_CHANGE = 11
ROW_STEP_DOWN = 12
ROW_JUDGED = 13

# Both ways between engine and lookout: a question how a member is, and an answer
ROW_LOOK = 14
ROW_SEEN = 15

# Engine to courier
ROW_OFFER = 1
ROW_WANTED = 2
ROW_CHUNK = 3

# What a member says in a Hello, in cells: hello.py has the others
ELECTION_MS = 2
HEARTBEAT_MS = 3
OPTIONS = 6
CHECK_QUORUM = 2  # a bit of OPTIONS
PRIORITY_UNIT = 1 << 32  # Config.priority is in the bits of OPTIONS from here on

MS = 1_000_000  # nanoseconds

# In place of the entry that added a member
JOINED_UNKNOWN = 2**63  # nobody has said it yet
JOINED_ANY = 2**63 + 1  # the storage has not kept it: whatever the member says

# Of how many members and former members a node keeps something
PLACES = 128

# Reasons to refuse a message, and to reject a frame
REASONS_MAX = 16

# What ended an engine
FAILED_STORAGE = 1
FAILED_MEMORY = 2
FAILED_DIVERGED = 3

# What a frame's incarnation says of it, besides ODD_INCARNATION
SENDER_PRESENT = 0
SENDER_STALE = -1
SENDER_UNMET = -2

# Why a message was refused that no honest member can have sent: these follow the reasons of consensus/admission.py
ODD_INCARNATION = 7  # a life that its sender cannot have come to
ODD_ORIGIN = 8  # proposals that are not the sender's own, or are numbered as nobody numbers them
ODD_ANSWER = 9  # a refusal of proposals that were not passed on, or for a reason that no leader gives
ODD_CONTRADICTION = 10  # another entry than one that is committed here: see divergence.py

# Stages that a round of proposals goes through, in buckets by how long that takes: less than 16 us << its number
STAGES = ("queue", "wal", "network", "quorum", "apply", "total")
QUEUE = 0
WAL = 1
NETWORK = 2
QUORUM = 3
APPLY = 4
TOTAL = 5
BUCKETS = 20  # the last one has what took longer than those before it
LEAST_BITS = 4

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
REFUSED_DISK_FULL = 13
REFUSED_LEADER_FULL = 14
REFUSED_FULL_THERE = 15
REFUSED_CHANGE_PENDING = 16
REFUSED_CHANGE_EARLIER = 17
REFUSED_JOINT = 18
REFUSED_NOT_JOINT = 19
REFUSED_NO_LEARNER = 20
REFUSED_BEHIND = 21
REFUSED_QUORUM = 22
REFUSED_NO_CHANGE = 23
REFUSED_BOUND = 24
REFUSED_LEADS_NOT = 25
REFUSED_ADDRESS = 26

REFUSALS = (
    "unknown reason",
    "no leader",
    "the member asked is not the leader",
    "this member is not the leader, and forwarding is off",
    "leadership is being transferred",
    "the leader has been removed",
    "too many bytes are not committed yet",
    "the leader cannot be reached, or takes no frame as large as this needs (max_frame_bytes of its transport)",
    "the node was stopped before the proposal was handed over",
    "there is no such voter to hand over to",
    "this member may not campaign: it is no voter, in doubt, not known to the others yet, or has a change to apply",
    "the transfer was given up: the member did not take over within an election timeout, or this one was asked to stay",
    "another transfer took its place",
    "this node's disk has no room for the next segment of its log",
    "the leader's disk is full, and no other member has taken over yet: propose again, or make room on its disk",
    "the disk of that member is full",
    "another change of membership is under way",
    "the member that asked has not applied the last change of membership",
    "the configuration is joint, and is left by itself first",
    "the configuration is not joint",
    "a member is to become a voter that is no learner: add it as a learner first",
    "a learner that is to become a voter has not caught up",
    "too few of the voters after the change are there now: without a majority nothing could be decided",
    "it was no change of membership",
    "this member has heard of a leader within an election timeout: ask for a transfer of leadership instead",
    "this member does not lead",
    "the leader's transport says that an address in it cannot be one",
)
