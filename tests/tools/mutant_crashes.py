"""Mistakes about what is durable when, which the states of a power cut show. A part of the list for mutants.py.

The sample in storage/test_crash_states.py is to find each of them.
"""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

WAL = "raftx/storage/wal_writer.py"
RESERVE = "raftx/storage/reserve.py"
RECOVERY = "raftx/storage/recovery.py"
SNAPSHOTS = "raftx/storage/snapshots.py"
RECEIVER = "raftx/storage/snapshot_receiver.py"

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
                '        check_done(self._directory.py_sync(), "the sync of the directory", made.name)\n',
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
        "mark-named-before-it-is-durable",
        0,
        "the mark has its name before it is on disk: a directory that was founded is in doubt after a power cut",
        CRASHES,
        (
            Edit(
                RECOVERY,
                "        code = file.py_write_at(buffer, 0, len(buffer), 0) or file.py_sync_new(directory)\n",
                "        code = file.py_write_at(buffer, 0, len(buffer), 0)\n",
            ),
        ),
    ),
)
