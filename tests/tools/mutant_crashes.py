"""Mistakes about what is durable when, which power cuts and faults show. A part of the list for mutants.py.

The samples in storage/test_crash_states.py and storage/test_faults.py are to find them.
"""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

WAL = "raftx/storage/wal_writer.py"
RESERVE = "raftx/storage/reserve.py"
RECOVERY = "raftx/storage/recovery.py"
SNAPSHOTS = "raftx/storage/snapshots.py"
RECEIVER = "raftx/storage/snapshot_receiver.py"

FAULTS = "storage/test_faults.py"
ROTATION = "storage/test_rotation.py"
CRASHES = "storage/test_crash_states.py"

MUTANTS = (
    Mutant(
        "snapshot-named-before-it-is-durable",
        0,
        "a snapshot has its name before its bytes are on disk",
        CRASHES,
        (
            Edit(
                SNAPSHOTS,
                '        check_done(file.py_sync_new(self._directory), "the sync", self._name)\n        file.close()\n',
                "        file.close()\n",
            ),
        ),
    ),
    Mutant(
        "snapshot-whose-name-is-not-durable",
        0,
        "a snapshot counts as made, and the log as no longer needed, while a power cut may take its name",
        CRASHES,
        (
            Edit(
                SNAPSHOTS,
                '        check_done(self._directory.py_sync(), "the sync of the directory", self._final)\n',
                "",
            ),
        ),
    ),
    Mutant(
        "part-whose-name-is-not-durable",
        0,
        "the log begins behind a snapshot that was received and whose name a power cut may take",
        CRASHES,
        (
            Edit(
                RECEIVER,
                '        check_done(self._directory.py_sync(), "the sync of the directory", self.descriptor.name)\n',
                "",
            ),
        ),
    ),
    Mutant(
        "segment-not-durable",
        0,
        "a segment is used whose length and zeros are not on disk, but its name",
        CRASHES,
        (
            Edit(
                RESERVE,
                "        code = self.file.sync_new(self.directory)\n",
                "        code = self.directory.sync()\n",
            ),
        ),
    ),
    Mutant(
        "length-not-durable",
        0,
        "a segment that was made longer has its header before its length is on disk",
        CRASHES,
        (
            Edit(
                WAL,
                "            self.step = STEP_MAKE_DURABLE\n        return code\n",
                "            self.step = STEP_HEAD\n        return code\n",
            ),
        ),
    ),
    Mutant(
        "cache-believed-after-a-failed-sync",
        0,
        "a start syncs what an earlier life could not, and believes it: it is in the cache alone",
        FAULTS,
        (Edit(RECOVERY, "            self._renew(head)\n", "            pass\n"),),
    ),
    Mutant(
        "header-believed-after-a-failed-sync",
        0,
        "a start believes the header of a segment whose sync has failed",
        FAULTS,
        (
            Edit(
                RECOVERY,
                "        places = [(0, BLOCK)] if mark is None or mark.segment < head.segment else []\n",
                "        places = []\n",
            ),
        ),
    ),
    Mutant(
        "part-believed-after-a-failed-sync",
        0,
        "chunks of a snapshot that are in the cache alone are taken as received",
        FAULTS,
        (Edit(RECEIVER, "        if code:\n            self.discard()\n", ""),),
    ),
    Mutant(
        "log-goes-on-after-a-failed-write",
        0,
        "a log whose write has failed acknowledges the next one",
        FAULTS,
        (
            Edit(
                WAL,
                "            self.failed = OPERATION_WRITE << 32 | -code\n",
                "            self.step = STEP_NONE\n            return 0\n",
            ),
        ),
    ),
    Mutant(
        "first-batch-without-a-header-is-damage",
        0,
        "a member whose power failed while a segment was begun does not start when some of the first batch is there",
        CRASHES,
        (
            Edit(
                RECOVERY,
                "            if verdict == batch.BAD and not batch.torn:\n",
                "            if verdict != batch.END:\n",
            ),
        ),
    ),
    Mutant(
        "remains-in-an-unused-segment",
        0,
        "a segment that has remains of a first batch and no header is used again as it is",
        CRASHES,
        (
            Edit(
                RECOVERY,
                "            self.unused_is_empty = not any(block) and batch.find_dirt(file, BLOCK, size) is None\n",
                "            self.unused_is_empty = not any(block)\n",
            ),
        ),
    ),
    Mutant(
        "live-segment-passes-for-torn",
        0,
        "a segment whose header is gone is removed, though several batches are in it",
        ROTATION,
        (
            Edit(
                RECOVERY,
                "            if batch.find_later(file, BLOCK + max(extent, BLOCK), size, segment) >= 0:\n",
                "            if False:\n",
            ),
        ),
    ),
    Mutant(
        "mark-never-durable-under-load",
        0,
        "nobody syncs the mark while batch follows batch and the other thread is busy: it lags behind without bound",
        ROTATION,
        (Edit(WAL, "        if self.reserve.take_back():\n", "        if False:\n"),),
    ),
)
