"""Mistakes of the log on disk, and of what a node makes of it. A part of the list for mutants.py.

The lives of a log on a simulated disk (storage/test_simulated_disk.py) are to find those of writing and opening, the
tests of compaction those of the base.
"""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

WAL = "raftx/storage/wal_writer.py"
BATCH = "raftx/storage/wal_batch.py"
READER = "raftx/storage/wal_reader.py"
RESERVE = "raftx/storage/reserve.py"
RECOVERY = "raftx/storage/recovery.py"
FORMAT = "raftx/storage/wal_format.py"
FILE = "raftx/storage/file.py"
FOUNDING = "raftx/storage/founding.py"
WHOLE = "raftx/storage/whole.py"
MEMORY = "raftx/storage/memory.py"
PROTOCOL = "raftx/storage/protocol.py"
RECEIVER = "raftx/storage/snapshot_receiver.py"
STORE = "raftx/storage/snapshot_store.py"
OPENING = "raftx/node/opening.py"

HISTORY = "conformance/history/test_history_storage.py"
SIMULATED = "storage/test_simulated_disk.py"
COMPACTION = "storage/test_compaction.py"
POWER = "storage/test_compaction_power.py"
CONFORMANCE = "storage/test_storage_conformance.py"
DOUBT = "storage/test_wal_doubt.py"
ROTATION = "storage/test_rotation.py"
RECYCLING = "storage/test_recycling.py"
FOUNDED = "storage/test_founding.py"
RECEIVED = "storage/test_snapshot_receiver.py"
RESTORE = "storage/test_restore.py"
LARGE = "storage/test_wal_large.py"
NODE = "node/test_compacted_log.py"

# Nobody sees that the newest batch, which the mark names, is not there.
TAIL_NOT_MISSED = (
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
)

MUTANTS = (
    Mutant(
        "founded-before-the-mark-is-there",
        0,
        "a directory counts as founded while it has no mark: after a power cut it is taken for damaged",
        FOUNDED,
        (
            Edit(
                FILE,
                "            make_mark(directory, NOTHING, Owner(founding.cluster, founding.id, founding.store))\n"
                "            if fill is not None:\n                fill(directory)\n"
                "            lives_file.make(directory, Lives(founding.store, count=founding.opened, met=met or {}))\n"
                "            founding_file.write(directory, founding)\n",
                "            lives_file.make(directory, Lives(founding.store, count=founding.opened, met=met or {}))\n"
                "            founding_file.write(directory, founding)\n"
                "            make_mark(directory, NOTHING, Owner(founding.cluster, founding.id, founding.store))\n"
                "            if fill is not None:\n                fill(directory)\n",
            ),
        ),
    ),
    Mutant(
        "founding-named-before-it-is-durable",
        0,
        "the file that says that a directory was founded has its name before its bytes are on disk",
        FOUNDED,
        (Edit(WHOLE, " or file.py_sync_new(directory)\n", "\n"),),
    ),
    Mutant(
        "founding-whose-name-is-not-durable",
        0,
        "a founding that was reported as done is gone after a power cut",
        FOUNDED,
        (
            Edit(
                WHOLE,
                "    directory.rename(new, name)\n    return directory.py_sync()\n",
                "    directory.rename(new, name)\n    return 0\n",
            ),
        ),
    ),
    Mutant(
        "remains-of-a-longer-founding",
        0,
        "a founding writes over the file of one that did not end, which was longer: what it leaves is damaged",
        FOUNDED,
        (Edit(WHOLE, "        directory.remove(new)\n", "        pass\n"),),
    ),
    Mutant(
        "a-member-is-founded-again",
        0,
        "a directory whose file founding is lost is founded again, over a log with what was acknowledged",
        FOUNDED,
        (
            Edit(
                FILE,
                "            if left := left_by_a_member(directory):\n                raise AlreadyFounded",
                "            if left := '':\n                raise AlreadyFounded",
            ),
        ),
    ),
    Mutant(
        "an-opening-founds",
        0,
        "a directory that was not founded is founded by the node that opens it: it has forgotten what it acknowledged",
        FOUNDED,
        (
            Edit(
                FILE,
                '            raise NotFounded(f"{self.path} holds no member. {NOT_FOUNDED}")\n',
                "            founding = Founding(cluster, bytes(STORE_BYTES), id, 64 << 10, ConfState((1, 2, 3)), {})\n"
                "            make_mark(directory, NOTHING, Owner(cluster, id, founding.store))\n"
                "            founding_file.write(directory, founding)\n",
            ),
        ),
    ),
    Mutant(
        "files-of-another-directory",
        0,
        "a segment or a mark of another directory is taken, because it is of the same member",
        FOUNDED,
        (Edit(RECOVERY, "        if owner.store != self.owner.store:\n", "        if False:\n"),),
    ),
    Mutant(
        "an-older-log-is-taken-for-damage",
        0,
        "a directory of an older format, which has no file founding, is called damaged, or founded over",
        FOUNDED,
        (Edit(RECOVERY, "            decode_head(first_block(directory, segment))\n", "            pass\n"),),
    ),
    Mutant(
        "zeros-into-a-segment-with-its-name",
        0,
        "a segment is overwritten before it has lost its name for good: after a power cut it is there without a header",
        POWER,
        (
            Edit(
                RESERVE,
                "        self.first += 1\n        self.spare_step = SPARE_NAME\n",
                "        self.first += 1\n        self.spare_filled = 0\n        self.spare_step = SPARE_ZERO\n",
            ),
        ),
    ),
    Mutant(
        "old-bytes-in-a-new-segment",
        0,
        "a segment is used again with the bytes that it held",
        RECYCLING,
        (
            Edit(
                RESERVE,
                "            code = 0 if self.spare_syncing else self.spare.zero(self.spare_filled, length)\n",
                "            code = 0\n",
            ),
        ),
    ),
    Mutant(
        "spare-kept-at-an-opening",
        0,
        "a file that was set aside stays for ever when the process ends before it is used",
        RECYCLING,
        (Edit(RECOVERY, "        self.has_spare = SPARE_NAME in present\n", "        self.has_spare = False\n"),),
    ),
    Mutant(
        "acknowledged-before-the-sync",
        0,
        "the engine is told that a batch is durable, and nothing was synced",
        SIMULATED,
        (Edit(WAL, "            code = self.file.datasync()\n", "            code = 0\n"),),
    ),
    Mutant(
        "segment-ahead-of-its-time",
        0,
        "a segment is made ahead while the header of the one before may be torn: then that is not the last one",
        ROTATION,
        (Edit(WAL, "            if not self.is_new:\n", "            if True:\n"),),
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
        HISTORY,
        (
            Edit(
                RECOVERY,
                "        if verdict == reader.BAD and not (last and torn):\n",
                "        if verdict == reader.BAD and not last:\n",
            ),
        ),
    ),
    Mutant(
        "a-gap-is-appended",
        0,
        "a storage takes entries that leave a gap, which its next opening calls damage",
        "storage/test_wal.py",
        (Edit(PROTOCOL, "if not 1 <= entry.index <= last + 1:", "if not 1 <= entry.index <= last + 9:"),),
    ),
    Mutant(
        "a-new-log-was-replaced",
        0,
        "a new log that cannot be begun says that it was replaced by another one",
        "storage/test_wal_shortage.py",
        (Edit(WAL, "if self.segment == 0 or self.check() == 0:", "if self.check() == 0:"),),
    ),
    Mutant(
        "tail-cut-in-silence",
        0,
        "a last batch that was acknowledged and is damaged is taken for one that was never whole",
        "storage/test_wal_doubt.py",
        TAIL_NOT_MISSED,
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
            *TAIL_NOT_MISSED,
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
                "        if any(block) and not is_torn_head(block):\n",
                "        if any(block):\n",
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
                "        self.is_new = True\n",
                "        self.is_new = True\n        self.reserve.drop(self.oldest)\n",
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
    Mutant(
        "base-of-the-oldest-segment",
        0,
        "an opening takes the base from the first header that is there: it goes back",
        POWER,
        (
            Edit(
                RECOVERY,
                "            self.base, self.base_term = heads[-1].base, heads[-1].base_term\n",
                "            self.base, self.base_term = heads[0].base, heads[0].base_term\n",
            ),
        ),
    ),
    Mutant(
        "base-lost-with-the-next-segment",
        0,
        "what was opened with a base begins its next segment without one",
        POWER,
        (
            Edit(
                RECOVERY,
                "encode_head(head), self.owner)\n",
                "encode_head(head._replace(base=0, base_term=0)), self.owner)\n",
            ),
        ),
    ),
    Mutant(
        "membership-at-the-base-not-updated",
        0,
        "the base moves, and the membership in the header stays that of the base before",
        COMPACTION,
        (Edit(FILE, "base_term=term, conf_state=conf_state", "base_term=term"),),
    ),
    Mutant(
        "base-in-memory-only",
        0,
        "a compaction is remembered and never handed to the log",
        COMPACTION,
        (
            Edit(
                FILE,
                "            if wal.py_compact(index, encode_head(head._replace("
                "base=index, base_term=term, conf_state=conf_state))):\n",
                "            if encode_head(head._replace(base=index, base_term=term, conf_state=conf_state)):\n",
            ),
        ),
    ),
    Mutant(
        "base-goes-back-in-memory",
        0,
        "MemoryStorage takes an older base than it has",
        CONFORMANCE,
        (Edit(MEMORY, "            if index <= self.base_index:\n                return\n", ""),),
    ),
    Mutant(
        "leftover-is-a-gap",
        0,
        "a removed segment that a power cut has brought back keeps the member from starting",
        POWER,
        (
            Edit(
                RECOVERY,
                "        first = last\n        while first - 1 in segments:\n            first -= 1\n",
                "        first = segments[0] if segments else 0\n",
            ),
        ),
    ),
    Mutant(
        "missing-segment-unnoticed",
        0,
        "a segment that is needed and missing passes for one that was removed",
        COMPACTION,
        (Edit(RECOVERY, "        if first > oldest:\n", "        if first > oldest + 1:\n"),),
    ),
    Mutant(
        "compacted-entries-handed-over",
        0,
        "entries up to the base are handed over with those behind it",
        POWER,
        (
            Edit(
                RECOVERY,
                "            self.reader.start(self.base, self.base if first > 1 else 0)\n",
                "            self.reader.start(0, self.base if first > 1 else 0)\n",
            ),
        ),
    ),
    Mutant(
        "older-version-accepted",
        0,
        "a segment of an older format is read as if it were of this one",
        DOUBT,
        (Edit(FORMAT, "    if version != VERSION:\n", "    if version > VERSION:\n"),),
    ),
    Mutant(
        "damaged-version-is-another-one",
        0,
        "a version that was damaged is taken for the log of another raftx",
        DOUBT,
        (
            Edit(
                FORMAT,
                "    if version == 0 or version != (again or min(version, VERSION_ALONE)):\n",
                "    if version == 0 and again == 0:\n",
            ),
        ),
    ),
    Mutant(
        "applied-from-the-beginning",
        0,
        "a node takes its log for one that begins with the first entry",
        NODE,
        (
            Edit(
                OPENING,
                "        log.py_restore(loaded.base_index, loaded.base_term)\n",
                "        log.py_restore(loaded.base_index - 1, loaded.base_term)\n",
            ),
        ),
    ),
    Mutant(
        "void-entries-come-back",
        0,
        "what the log held before a snapshot behind which it began anew is handed over",
        RESTORE,
        (
            Edit(
                READER,
                "        self.pieces.clear()\n        self.replaces = self.joined = True\n",
                "        self.joined = True\n",
            ),
        ),
    ),
    Mutant(
        "begun-anew-before-it-is-durable",
        0,
        "the header of a segment says that the log begins behind a snapshot before the entries there are on disk",
        RESTORE,
        (
            Edit(
                WAL,
                "        self.batch.describe(term, vote, commit, flags)\n",
                "        self.batch.describe(term, vote, commit, flags)\n"
                "        if self.batch.base != 0:\n            self.segment_header.swap(self.batch.header)\n",
            ),
            Edit(WAL, "            self.segment_header.swap(self.batch.header)\n            for", "            for"),
        ),
    ),
    Mutant(
        "large-batches-without-their-header",
        0,
        "the zero sectors of a large batch are counted as if it had no header: what is torn of it is damage, and "
        "the other way round",
        LARGE,
        (Edit(BATCH, "zero_parts(BATCH_HEADER, SECTOR)", "zero_parts(0, SECTOR)"),),
    ),
    Mutant(
        "large-batches-do-not-begin-a-log-anew",
        0,
        "the record of a snapshot in a large batch is one of an entry",
        LARGE,
        (Edit(BATCH, "                if kind == ENTRY_SNAPSHOT:\n", "                if False:\n"),),
    ),
    Mutant(
        "large-batches-of-any-pieces",
        0,
        "a large batch of more pieces than can be written together is not copied, and its write fails",
        LARGE,
        (
            Edit(
                BATCH, "        if spans.size < LARGE or spans.count > PARTS_MAX:\n", "        if spans.size < LARGE:\n"
            ),
        ),
    ),
    Mutant(
        "begun-anew-for-one-segment",
        0,
        "the segments after a log has begun anew say the base of before: it does not open again",
        RESTORE,
        (Edit(WAL, "            self.segment_header.swap(self.batch.header)\n", ""),),
    ),
    Mutant(
        "void-segments-stay",
        0,
        "segments that hold only what is void are kept for their high indexes",
        RESTORE,
        (Edit(WAL, "                self.highest.set_u64(8 * (segment - self.first), 0)\n", "                pass\n"),),
    ),
    Mutant(
        "snapshot-of-other-entries-counts",
        0,
        "a snapshot that was only received counts where the log has an entry of a deposed leader in its place",
        RESTORE,
        (Edit(STORE, "base <= index <= last and term_at(index) == term\n", "base <= index <= last\n"),),
    ),
    Mutant(
        "received-one-keeps-from-starting",
        0,
        "a member that has received a snapshot and not begun behind it does not start again",
        RESTORE,
        (
            Edit(STORE, "any([each.index < base for each in kept])", "kept"),
            Edit(STORE, "if base and not within", "if not within"),
        ),
    ),
    Mutant(
        "part-named-before-it-is-durable",
        0,
        "a snapshot that was received has its name before its chunks are on disk",
        RECEIVED,
        (
            Edit(
                RECEIVER,
                "        self._check_synced(file.py_sync_new(self._directory))\n",
                "",
            ),
        ),
    ),
    Mutant(
        "part-without-a-name",
        0,
        "the chunks of a snapshot that is received are synced, and a power cut takes the file with its name",
        RECEIVED,
        (
            Edit(
                RECEIVER,
                "file.py_datasync() if self._named_for_good else file.py_sync_new(self._directory)",
                "file.py_datasync()",
            ),
        ),
    ),
    Mutant(
        "part-believed",
        0,
        "chunks that an earlier life has received are taken as they are",
        RECEIVED,
        (
            Edit(
                RECEIVER,
                "            except SnapshotDamaged:\n                return\n",
                "            except SnapshotDamaged:\n                pass\n",
            ),
        ),
    ),
)
