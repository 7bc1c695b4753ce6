"""Where things stand around the data of an entry, in memory, on the wire and on disk alike. Values only.

Offsets are in bytes from the beginning of what they are named for; numbers are little-endian. layout.pxd is the same
for compiled code; a test compares the two by name. docs/wire-format.md describes what they are.
"""

# A record: an entry as it is sent, written and kept. Its data follow the header.
ENTRY_HEADER = 32  # checksum, length, index, term, kind and time
RECORD_CRC = 0  # 4 bytes: CRC-32 of all that follows; 0 of a proposal that has not left its node
RECORD_LENGTH = 4  # 4: bytes of data
RECORD_INDEX = 8  # 8; 0 of a proposal, like the term
RECORD_TERM = 16  # 8
RECORD_KIND = 24  # 1
RECORD_TIME = 24  # 8: nanoseconds since the epoch without the lowest byte, which is the kind; 0: it has none
TIME_UNIT = 256  # so many nanoseconds are told apart
# The envelope of a proposal: the first bytes of its data.
ENVELOPE = 24
RECORD_ORIGIN = 32  # 8: who proposed it
RECORD_INCARNATION = 40  # 8: in which of its lives
RECORD_SEQUENCE = 48  # 8: as which proposal of that life
BARRIER_BIT = 63  # of the origin: a barrier, with nothing for state machines
KIND_BARRIER = 65536  # what a ProposalQueue is told for one, beside the kind
# A frame: one header, then messages.
FRAME_HEADER = 64
FRAME_MAGIC = 0  # 4: FRAME_MAGIC_VALUE
FRAME_MAGIC_VALUE = 826693714  # the bytes RXF1
FRAME_VERSION = 4  # 1
FRAME_FLAGS = 5  # 1
FRAME_LIMIT = 6  # 2: LIMIT_UNITs of the largest frame that the sender takes; 0: it does not say
FRAME_CLUSTER = 8  # FRAME_CLUSTER_BYTES
FRAME_GROUP = 24  # 8
FRAME_SENDER = 32  # 8
FRAME_RECIPIENT = 40  # 8
FRAME_INCARNATION = 48  # 8: of the sender
FRAME_LENGTH = 56  # 4: bytes that follow the header
FRAME_CRC = 60  # 4: of the header before it and of every header of a message
FRAME_CLUSTER_BYTES = 16
LIMIT_UNIT = 65536
# A message in a frame: one header, then its records.
MESSAGE_HEADER = 64
MESSAGE_KIND = 0  # 1
MESSAGE_FLAGS = 1  # 1; then 2 zero bytes
MESSAGE_COUNT = 4  # 4: records
MESSAGE_SIZE = 8  # 4: bytes of records; then 4 zero bytes
MESSAGE_TERM = 16  # 8, like all that follow
MESSAGE_LOG_TERM = 24
MESSAGE_INDEX = 32
MESSAGE_COMMIT = 40
MESSAGE_HINT = 48
MESSAGE_CONTEXT = 56
# A membership in a snapshot's record: four counts and a flag, a byte each, then the ids.
MEMBERSHIP_HEAD = 8
MEMBERSHIP_AUTO_LEAVE = 4  # 1

PROPOSAL_OVERHEAD = ENTRY_HEADER + ENVELOPE
FRAME_OVERHEAD = FRAME_HEADER + MESSAGE_HEADER + PROPOSAL_OVERHEAD  # around the data of the one entry of a frame
SLACK = 4096  # what a ProposalQueue takes above its limit, so that one proposal of the largest size has room
