"""Mistakes about a disk that fills up. A part of the list for mutants.py."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

ENGINE = "raftx/node/engine.py"
RESERVE = "raftx/storage/reserve.py"
ROOM = "raftx/node/room.py"
WAL = "raftx/storage/wal_writer.py"
WAL_ROOM = "raftx/storage/wal_room.py"

LOG = "storage/test_full_disk.py"
NODE = "node/test_full_disks.py"

MUTANTS = (
    Mutant(
        "full-disk-ends-the-log",
        0,
        "a segment that cannot be made for want of room is a failure",
        "storage/test_simulated_disk.py",
        (
            Edit(
                WAL,
                "            return making and self.reserve.cells.get(RESERVE_CODE) == 0\n",
                "            return False\n",
            ),
        ),
    ),
    Mutant(
        "entries-leave-nothing",
        0,
        "entries fill a segment to its end, so that a vote or an opening finds no room on a full disk",
        LOG,
        (Edit(WAL_ROOM, "    least = kept(min(size, usual))\n", "    least = 0\n"),),
    ),
    Mutant(
        "votes-leave-nothing",
        0,
        "votes use the blocks that openings need",
        LOG,
        (Edit(WAL_ROOM, "        least = least // 2\n", "        least = 0\n"),),
    ),
    Mutant(
        "large-batch-leaves-nothing",
        0,
        "a segment that is made longer for one batch has no room for openings behind it",
        LOG,
        (Edit(WAL, "        size += wal_room.kept(self.reserve.segment_bytes)\n", ""),),
    ),
    Mutant(
        "full-disk-takes-proposals",
        0,
        "a node whose disk is full takes proposals until it has no room left",
        NODE,
        (
            Edit(
                ENGINE,
                "            if self.room.refuses(size):\n                reason = REFUSED_DISK_FULL\n",
                "            if reason:\n                pass\n",
            ),
        ),
    ),
    Mutant(
        "full-leader-takes-what-is-passed-on",
        0,
        "a leader whose disk is full takes proposals of others",
        NODE,
        (
            Edit(
                ENGINE,
                "            if self.room.refuses(self.message.body_size):\n",
                "            if False:\n",
            ),
        ),
    ),
    Mutant(
        "full-follower-takes-everything",
        0,
        "a follower takes entries that do not fit on its disk: its votes wait behind them",
        NODE,
        (
            Edit(
                ROOM, "        return self.under_way + self.blocks(size) <= self.disk.room()\n", "        return True\n"
            ),
        ),
    ),
    Mutant(
        "full-leader-stays",
        0,
        "a leader without room does not hand over",
        NODE,
        (
            Edit(
                ROOM,
                "        to = self.successor()\n        if to == 0:\n",
                "        to = self.successor()\n        if to >= 0:\n",
            ),
        ),
    ),
    Mutant(
        "full-member-is-handed-leadership",
        0,
        "leadership is handed to a member without room",
        NODE,
        (Edit(ROOM, "        self.others[place] = 1 if full else 0\n", "        self.others[place] = 0\n"),),
    ),
    Mutant(
        "room-that-nobody-looked-for",
        0,
        "a node that starts on a full disk takes more than fits before it knows whether it has room",
        LOG,
        (
            Edit(
                RESERVE, "        return ROOM_UNKNOWN if self.cells.get(RESERVE_UNTRIED) else 0\n", "        return 0\n"
            ),
        ),
    ),
)
