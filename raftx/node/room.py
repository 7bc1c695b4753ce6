"""What a node does about a full disk before it is full: it takes no proposals, and lets a member lead that has room.

The log keeps its next segment ready. When that cannot be had, the writer says so (DiskGauges.full), and there is what
is left of the open segment: for entries of another leader as long as they fit, for votes and the like a little longer.
So nothing is handed to the disk that it cannot take, and the node goes on by itself when there is room. Who else is
full, each frame tells. The engine's, on its thread, without the GIL.
"""

from __future__ import annotations

from array import array

from ..consensus.raft import Raft
from ..storage.protocol import ROOM_UNKNOWN
from ..storage.wal_format import BATCH_HEADER, BLOCK
from ..storage.writes import WRITES, DiskGauges
from ..types import LEADER, MSG_APP, MSG_TIMEOUT_NOW, MSG_TRANSFER_LEADER
from .peers import PeerTable
from .rows import PLACES

UNDER_WAY = 2 * WRITES  # writes that may be under way and more: a power of two


class Room:
    """Room on the disks of a group, as one member knows it."""

    def __init__(self, core: Raft, disk: DiskGauges, peers: PeerTable) -> None:
        self.core = core
        self.disk = disk
        self.peers = peers
        #: this node's disk has no room for the next segment of the log; False for ``known``: or that is to be found out
        self.full = self.known = False
        #: likewise each other member's, by place, as its last frame said
        self.others = array("q", bytes(8 * PLACES))
        #: bytes of the writes that are under way, at most, and of each of them by its number
        self.under_way = 0
        self.sizes = array("Q", bytes(8 * UNDER_WAY))
        #: the last write that is known to be durable
        self.durable = 0
        #: messages that were not taken for want of room
        self.not_taken = 0
        #: ticks since leadership was last offered to another member
        self.waited = 0

    # --- this node's disk ---------------------------------------------------------------------------

    def blocks(self, size: int) -> int:
        """Bytes that a write with so many bytes of records takes on disk."""
        return (BATCH_HEADER + size + BLOCK - 1) // BLOCK * BLOCK

    def handed_over(self, number: int, size: int) -> None:
        """A write is under way, with so many bytes of records."""
        taken = self.blocks(size)
        self.sizes[number % UNDER_WAY] = taken
        self.under_way += taken

    def look(self, durable: int) -> None:
        """How it is now; the last write that is durable. At the beginning of a round."""
        while self.durable < durable:
            self.durable += 1
            self.under_way -= self.sizes[self.durable % UNDER_WAY]
        full = self.disk.full()
        self.full, self.known = full != 0, full != ROOM_UNKNOWN
        # Who cannot write its vote for itself does not campaign.
        self.core.no_room = self.full and self.under_way + 2 * BLOCK > self.disk.last_room()

    def refuses(self, size: int) -> bool:
        """Whether proposals of so many bytes are not to be taken, as a leader or to be passed on."""
        return self.full and (self.known or not self.fits(size))

    def takes(self, kind: int, count: int, size: int) -> bool:
        """Whether a message of another member may be taken: ``count`` entries in ``size`` bytes.

        One that is not is lost, as on the network: nothing is acknowledged, and it comes again.
        """
        if not self.full:
            return True
        if kind == MSG_TIMEOUT_NOW or (kind == MSG_APP and count and not self.fits(size)):
            self.not_taken += 1
            return False
        return True

    def fits(self, size: int) -> bool:
        """Whether so many bytes of entries fit into what is left of the open segment, behind what is to be written."""
        if self.core.log.last > self.core.writing:
            size += self.core.log_bytes(self.core.writing + 1, self.core.log.last)
        return self.under_way + self.blocks(size) <= self.disk.room()

    # --- those of the others ------------------------------------------------------------------------

    def heard(self, place: int, full: bool) -> None:
        """A member's frame says whether its disk is full."""
        self.others[place] = 1 if full else 0

    def is_full(self, id: int) -> bool:
        """Whether that member has said so."""
        place = self.peers.of_id(self.core.tracker.peers, id)
        return place >= 0 and self.others[place] != 0

    def successor(self) -> int:
        """The live voter, other than this leader, that has room and has acknowledged most; 0 for none."""
        best = to = 0
        for slot in range(self.core.tracker.peers.count):
            if slot == self.core.self_slot or (self.core.tracker.voters >> slot) & 1 == 0:
                continue
            if not self.peers.is_alive(self.core.tracker.peers, slot):
                continue
            if self.others[self.peers.of_slot(self.core.tracker.peers, slot)]:
                continue
            if self.core.tracker.peers.match[slot] >= best:
                best = self.core.tracker.peers.match[slot]
                to = self.core.tracker.peers.ids[slot]
        return to

    def tick(self) -> int:
        """A leader without room offers leadership to one with room: at once, and every election timeout again."""
        if not self.full or not self.known or self.core.role != LEADER:
            self.waited = self.core.election_timeout
            return 0
        self.waited += 1
        if self.waited <= self.core.election_timeout or self.core.transferee != 0:
            return 0
        to = self.successor()
        if to == 0:
            return 0
        self.waited = 0
        self.core.scratch.reset(MSG_TRANSFER_LEADER)
        self.core.scratch.sender = self.core.id
        self.core.scratch.hint = to
        return self.core.step(self.core.scratch)
