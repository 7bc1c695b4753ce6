"""The hot structures in plain Python: the definition of what ``_core.pyx`` does faster.

Used where nothing is compiled, and with ``RAFTX_PURE=1``. Same names, same results and the same bytes
as the compiled module; both change in one commit. No I/O, no clock, no threads here, and nothing of
Raft's rules: log, windows, columns and frames only. The parts are in ``_twins``; the memory under them
is ``_native.memory``'s, messages and rows are ``_native.outbox``'s.

Where the compiled module has a pointer there is a bytes-like object here. Methods without a ``py_``
twin that take rows trust them, as the compiled ones do. Every object belongs to one thread at a time.
"""

from ._native.layout import FRAME_HEADER as FRAME_HEADER
from ._native.layout import MESSAGE_HEADER as MESSAGE_HEADER
from ._twins.codec import REASONS as REASONS
from ._twins.codec import Codec as Codec
from ._twins.flow import COLUMN_NAMES as COLUMN_NAMES
from ._twins.flow import SLOTS as SLOTS
from ._twins.flow import Inflights as Inflights
from ._twins.flow import Peers as Peers
from ._twins.flow import bit as bit
from ._twins.flow import popcount as popcount
from ._twins.log import EntryLog as EntryLog
