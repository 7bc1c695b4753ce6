"""What members tell each other of their settings: the message Hello, and what was last heard from each member.

The engine writes what it hears, without the GIL; anybody may read it. Kept by id, so that nothing moves when slots do.
What follows from it is said in disagreements.py.
"""

from __future__ import annotations

from .._core import Peers
from .._native.outbox import Message
from .._native.threads import Cells
from ..config import Config
from ..types import FLAG_NEW_CONNECTION, MEMBERS_MAX, MSG_HELLO
from .rows import CHECK_QUORUM, ELECTION_MS, HEARTBEAT_MS, OPTIONS, PRIORITY_UNIT

# Of one member, in cells, beside those in rows.py
VERSION = 0  # how often it was written; odd while it is. Invariant: what is read between two equal even ones is whole
ID = 1  # 0: nobody
MAX_ENTRY = 4  # bytes of data in one entry
MAX_FRAME = 5  # bytes of the largest frame that it takes
FIELDS = 7
CHANGES = MEMBERS_MAX * FIELDS  # the cell behind them: how often any was written

# Bits of OPTIONS, beside CHECK_QUORUM
PRE_VOTE = 1
LEASE_READS = 4
OPTION_NAMES = {PRE_VOTE: "pre_vote", CHECK_QUORUM: "check_quorum", LEASE_READS: "lease_reads"}


def settings_of(config: Config, max_frame_bytes: int) -> tuple[int, int, int, int, int]:
    """What others are told: ELECTION_MS to OPTIONS."""
    options = sum([bit for bit, name in OPTION_NAMES.items() if getattr(config, name)])
    options += config.priority * PRIORITY_UNIT
    election, heartbeat = config.election_ticks * config.tick_ms, config.heartbeat_ticks * config.tick_ms
    return election, heartbeat, config.max_entry_bytes, max_frame_bytes, options


def hello_of(config: Config, max_frame_bytes: int, new_connection: bool) -> Message:
    """The message that tells it; ``new_connection``: it is the first one on a new connection."""
    election, heartbeat, max_entry, max_frame, options = settings_of(config, max_frame_bytes)
    return Message(
        MSG_HELLO,
        flags=FLAG_NEW_CONNECTION if new_connection else 0,
        log_term=election,
        index=heartbeat,
        commit=options,
        hint=max_entry,
        context=max_frame,
    )


class Hellos:
    """What was last heard from each member."""

    def __init__(self) -> None:
        self.cells = Cells(CHANGES + 1)

    def take(self, m: Message, peers: Peers) -> int:
        """A member, which ``peers`` has, said this. The engine's thread."""
        row = self.row_of(m.sender, peers)
        if row < 0:
            return 0
        first = row * FIELDS
        version = self.cells.get(first + VERSION)
        self.cells.set(first + VERSION, version + 1)
        self.cells.set(first + ID, m.sender)
        self.cells.set(first + ELECTION_MS, m.log_term)
        self.cells.set(first + HEARTBEAT_MS, m.index)
        self.cells.set(first + MAX_ENTRY, m.hint)
        self.cells.set(first + MAX_FRAME, m.context)
        self.cells.set(first + OPTIONS, m.commit)
        self.cells.set(first + VERSION, version + 2)
        self.cells.set(CHANGES, self.cells.get(CHANGES) + 1)
        return 0

    def row_of(self, id: int, peers: Peers) -> int:
        """Its row, or a free one, or one of a former member; -1 for none."""
        free = -1
        for row in range(MEMBERS_MAX):
            there = self.cells.get(row * FIELDS + ID)
            if there == id:
                return row
            if free < 0 and (there == 0 or peers.slot_of(there) < 0):
                free = row
        return free

    def said(self, id: int, field: int, peers: Peers) -> int:
        """What a member said last, ELECTION_MS to OPTIONS; 0: it has said nothing. The engine's thread."""
        row = self.row_of(id, peers)
        if row < 0:
            return 0
        there = self.cells.get(row * FIELDS + ID)
        if there != id:
            return 0
        return self.cells.get(row * FIELDS + field)

    def heard(self) -> dict[int, tuple[int, int, int, int, int]]:
        """What each member said, ELECTION_MS to OPTIONS, by id. For Python, any thread."""
        found = {}
        for row in range(MEMBERS_MAX):
            while True:
                version = self.cells[row * FIELDS + VERSION]
                values = [self.cells[row * FIELDS + field] for field in range(ID, FIELDS)]
                if version % 2 == 0 and self.cells[row * FIELDS + VERSION] == version:
                    break
            if values[0]:
                found[values[0]] = (values[1], values[2], values[3], values[4], values[5])
        return found

    def changes(self) -> int:
        """A number that grows with everything that is heard. Any thread."""
        return self.cells[CHANGES]

    def py_take(self, m: Message, peers: Peers) -> None:
        """``take`` for Python."""
        self.take(m, peers)
