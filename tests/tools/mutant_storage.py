"""Mistakes of the log on disk. A part of the list for mutants.py.

The lives of a log on a simulated disk (storage/test_simulated_disk.py) are to find them.
"""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

WAL = "raftx/storage/wal_writer.py"
READER = "raftx/storage/wal_reader.py"
RESERVE = "raftx/storage/reserve.py"
RECOVERY = "raftx/storage/recovery.py"
FORMAT = "raftx/storage/wal_format.py"

SIMULATED = "storage/test_simulated_disk.py"
COMPACTION = "storage/test_compaction.py"

MUTANTS = (
    Mutant(
        "acknowledged-before-the-sync",
        0,
        "the engine is told that a batch is durable, and nothing was synced",
        SIMULATED,
        (Edit(WAL, "            code = self.file.datasync()\n", "            code = 0\n"),),
    ),
    Mutant(
        "header-of-a-segment-not-synced",
        0,
        "batches go into a segment whose header a power cut may take",
        SIMULATED,
        (Edit(WAL, "            code = self.reserve.file.datasync()\n", "            code = 0\n"),),
    ),
    Mutant(
        "name-of-a-segment-not-synced",
        0,
        "batches go into a segment whose name a power cut may take",
        SIMULATED,
        (Edit(RESERVE, "        code = self.file.sync_new(self.directory)\n", "        code = 0\n"),),
    ),
    Mutant(
        "torn-tail-is-damage",
        0,
        "a member whose last write was torn by a power cut does not start again",
        SIMULATED,
        (
            Edit(
                RECOVERY,
                "        if verdict == reader.BAD and not (last and torn):\n",
                "        if verdict == reader.BAD:\n",
            ),
        ),
    ),
    Mutant(
        "damage-is-a-torn-tail",
        0,
        "damage at the end of the log is cut off, with what was acknowledged",
        SIMULATED,
        (
            Edit(
                RECOVERY,
                "        if verdict == reader.BAD and not (last and torn):\n",
                "        if verdict == reader.BAD and not last:\n",
            ),
        ),
    ),
    Mutant(
        "damaged-entries-are-torn",
        0,
        "entries without their checksum at the end of the log are cut off, as if they had not been written whole",
        SIMULATED,
        (
            Edit(
                READER,
                '            return self.reject(more, "the entries do not have their checksum")\n',
                '            return self.reject(True, "the entries do not have their checksum")\n',
            ),
            Edit(
                RECOVERY,
                "        if mark is not None and number < mark.number:\n",
                "        if mark is not None and number + 1 < mark.number:\n",
            ),
            Edit(
                RECOVERY,
                "mark.number >= self.first_batch and self.met != mark:\n",
                "mark.number >= self.first_batch and self.met not in (mark, None):\n",
            ),
        ),
    ),
    Mutant(
        "torn-header-of-a-segment-is-damage",
        0,
        "a member whose power failed while it began a segment does not start again",
        SIMULATED,
        (
            Edit(
                RECOVERY,
                "        return dirt is None and (not any(block) or is_torn_head(block))\n",
                "        return dirt is None and not any(block)\n",
            ),
        ),
    ),
    Mutant(
        "failed-sync-is-tried-again",
        0,
        "a sync that has failed for want of memory is tried again, and what it then says is believed",
        SIMULATED,
        (
            Edit(
                WAL,
                "        return self.step == STEP_WRITE or self.step == STEP_ZERO or self.step == STEP_MARK\n",
                "        return self.step >= STEP_WRITE\n",
            ),
        ),
    ),
    Mutant(
        "removed-before-the-next-is-needed",
        0,
        "a segment is removed when the next one has its header: the hard state was in it",
        COMPACTION,
        (
            Edit(
                WAL,
                "            if self.marking and self.write_offset > BLOCK:\n",
                "            if self.marking:\n",
            ),
            Edit(
                WAL,
                "                self.reserve.drop(self.kept_from)\n",
                "                self.reserve.drop(self.oldest)\n",
            ),
        ),
    ),
    Mutant(
        "segment-with-needed-entries-removed",
        0,
        "a segment is removed whose last entry is the first one behind the base",
        SIMULATED,
        (
            Edit(
                WAL,
                "<= self.base:\n            self.oldest += 1\n",
                "<= self.base + 1:\n            self.oldest += 1\n",
            ),
        ),
    ),
    Mutant(
        "replaced-entries-come-back",
        0,
        "entries behind the base that were replaced are handed over when what has replaced them begins at or before it",
        COMPACTION,
        (
            Edit(
                RECOVERY,
                "            if reader.replaces:\n                self.pieces.clear()\n",
                "",
            ),
        ),
    ),
    Mutant(
        "row-taken-while-a-batch-waits",
        0,
        "what the engine hands over while a batch is under way is acknowledged with it",
        SIMULATED,
        (
            Edit(
                WAL,
                "        number = self.handed\n",
                "        number = self.handed + (1 if self.queue.waiting() else 0)\n",
            ),
        ),
    ),
)
