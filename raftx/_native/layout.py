"""Sizes of what stands around the data of an entry, in memory, on the wire and on disk alike. Values only.

What is compiled from a .pyx has them in memory.pxd, _core.pxd and threads.pyx; a test holds those against these.
"""

FRAME_HEADER = 64  # before the messages of a frame
MESSAGE_HEADER = 64  # before the records of a message
ENTRY_HEADER = 32  # a record: checksum 4 | length 4 | index 8 | term 8 | kind 1 | 7 zero bytes; then the data
ENVELOPE = 24  # before a proposal's own data: origin, incarnation, sequence
PROPOSAL_OVERHEAD = ENTRY_HEADER + ENVELOPE
FRAME_OVERHEAD = FRAME_HEADER + MESSAGE_HEADER + PROPOSAL_OVERHEAD  # around the data of the one entry of a frame
SLACK = 4096  # what a ProposalQueue takes above its limit, so that one proposal of the largest size has room
