# Where things stand around the data of an entry: see layout.py, the twin with the same names and numbers. Numbers only.
#
# Compiled code takes them from here, as constants of C; what is compiled from a .py has them in its own .pxd. memory.h,
# which compiles into several modules, repeats those of a record. A test compares all of them by name.
cdef enum:
    # A record: an entry as it is sent, written and kept.
    ENTRY_HEADER = 32
    RECORD_CRC = 0
    RECORD_LENGTH = 4
    RECORD_INDEX = 8
    RECORD_TERM = 16
    RECORD_KIND = 24
    RECORD_TIME = 24
    TIME_UNIT = 256
    # The envelope of a proposal: the first bytes of its data.
    ENVELOPE = 24
    RECORD_ORIGIN = 32
    RECORD_INCARNATION = 40
    RECORD_SEQUENCE = 48
    BARRIER_BIT = 63
    KIND_BARRIER = 65536
    # A frame.
    FRAME_HEADER = 64
    FRAME_MAGIC = 0
    FRAME_MAGIC_VALUE = 826693714
    FRAME_VERSION = 4
    FRAME_FLAGS = 5
    FRAME_LIMIT = 6
    FRAME_CLUSTER = 8
    FRAME_GROUP = 24
    FRAME_SENDER = 32
    FRAME_RECIPIENT = 40
    FRAME_INCARNATION = 48
    FRAME_LENGTH = 56
    FRAME_CRC = 60
    FRAME_CLUSTER_BYTES = 16
    LIMIT_UNIT = 65536
    # A message in a frame.
    MESSAGE_HEADER = 64
    MESSAGE_KIND = 0
    MESSAGE_FLAGS = 1
    MESSAGE_COUNT = 4
    MESSAGE_SIZE = 8
    MESSAGE_TERM = 16
    MESSAGE_LOG_TERM = 24
    MESSAGE_INDEX = 32
    MESSAGE_COMMIT = 40
    MESSAGE_HINT = 48
    MESSAGE_CONTEXT = 56
    # A membership in a snapshot's record: four counts and a flag, then the ids.
    MEMBERSHIP_HEAD = 8
    MEMBERSHIP_AUTO_LEAVE = 4
    # What a ProposalQueue takes above its limit.
    SLACK = 4096
