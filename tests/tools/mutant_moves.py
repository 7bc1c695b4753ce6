"""Mistakes in what moves a member's data by hand, and in looking at it. A part of the list."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

COPY = "raftx/storage/snapshot_copy.py"
FILE = "raftx/storage/file.py"
KEEPER = "raftx/node/keeper.py"
LOOK = "raftx/storage/look.py"
READER = "raftx/storage/wal_reader.py"
REBUILD = "raftx/storage/rebuild.py"
RECOVER = "raftx/storage/recover.py"
RECOVERY = "raftx/storage/recovery.py"
SNAPSHOTS = "raftx/node/snapshots.py"
SWAP = "raftx/storage/swap.py"

BACKED_UP = "node/test_backup.py"
LOOKED_AT = "cli/test_cli_wal.py"
MOVED = "storage/test_moves.py"
SURVIVED = "storage/test_recover.py"

MUTANTS = (
    Mutant(
        "rebuilt-without-doubt",
        0,
        "a member that has lost what it had promised votes and is counted as if it had not",
        MOVED,
        (Edit(REBUILD, "in_doubt=not alone,", "in_doubt=False,"),),
    ),
    Mutant(
        "rebuilt-lives-begin-anew",
        0,
        "the frames of a rebuilt member are taken for those of an earlier life, and dropped",
        MOVED,
        (Edit(REBUILD, "opened=opened + LIVES_UNREAD,", "opened=0,"),),
    ),
    Mutant(
        "a-sole-voter-rebuilt-without-a-word",
        0,
        "everything that was acknowledged is lost, and nobody was asked",
        MOVED,
        (Edit(REBUILD, "        if alone and not accept_loss:\n", "        if not founding.id:\n"),),
    ),
    Mutant(
        "a-whole-directory-rebuilt-without-a-word",
        0,
        "a member that could start gives up its copy",
        MOVED,
        (Edit(REBUILD, "if whole is not None and not accept_loss:", "if whole is not None and accept_loss is None:"),),
    ),
    Mutant(
        "lives-counted-on-without-a-doubt",
        0,
        "a rebuilt member that has taken part since, and was set back, goes on as if it knew what it had promised",
        "storage/test_lives.py",
        (
            Edit(
                FILE,
                "is_behind(lives, founding.rebuilt, bool(self.doubt)):",
                "is_behind(lives, founding.rebuilt, founding.rebuilt):",
            ),
        ),
    ),
    Mutant(
        "an-only-voter-in-doubt-is-called-whole",
        0,
        "a look calls a directory whole with which its member does not start",
        LOOKED_AT,
        (Edit(LOOK, "        if seen.doubt and is_alone(", "        if not seen.doubt and is_alone("),),
    ),
    Mutant(
        "a-backup-in-place-of-a-pipe",
        0,
        "what is no file is replaced by a backup",
        BACKED_UP,
        (
            Edit(
                COPY,
                "    if stat.S_ISREG(mode) or stat.S_ISLNK(mode):\n",
                "    if not stat.S_ISDIR(mode):\n",
            ),
        ),
    ),
    Mutant(
        "nothing-is-a-directory",
        0,
        "a rebuild of no path moves the directory that the program runs in",
        "node/test_arguments.py",
        (
            Edit(
                SWAP,
                '    whole = Path(os.path.abspath(check_path(path, "path", "a member\'s directory", ConfigError)))\n',
                "    whole = Path(os.path.abspath(path))\n",
            ),
        ),
    ),
    Mutant(
        "a-swap-that-is-not-durable",
        0,
        "a directory that was reported as rebuilt or recovered is the old one after a power cut",
        MOVED,
        (
            Edit(
                SWAP,
                "            self.disk.rename_directory(old, new)\n            self.disk.sync_directory(new.parent)\n",
                "            self.disk.rename_directory(old, new)\n",
            ),
        ),
    ),
    Mutant(
        "a-swap-that-is-not-finished",
        0,
        "after a crash between two renames the new directory is not found",
        MOVED,
        (Edit(SWAP, "        self._rename(self.ready, self.path)\n        return True\n", "        return False\n"),),
    ),
    Mutant(
        "what-is-in-the-way-is-removed",
        0,
        "a directory of somebody else is deleted because of its name",
        MOVED,
        (Edit(SWAP, "                if strange:\n", "                if strange == names + [path]:\n"),),
    ),
    Mutant(
        "recovered-where-it-was",
        0,
        "a member that has moved is recovered with the address that it had before",
        SURVIVED,
        (Edit(LOOK, "            known.update(newest.addresses)\n", "            pass\n"),),
    ),
    Mutant(
        "rebuilt-for-nobody",
        0,
        "a founder that is alone now is rebuilt as one of three, and waits for the others for ever",
        MOVED,
        (Edit(REBUILD, " and is_alone(now[1], found.id) and not accept_loss:", " and not now:"),),
    ),
    Mutant(
        "recovered-under-the-old-name",
        0,
        "members of the old cluster take part in the new one",
        SURVIVED,
        (Edit(RECOVER, "    if new == old.cluster:\n", "    if not new:\n"),),
    ),
    Mutant(
        "recovered-entries-count-as-committed",
        0,
        "of two survivors one may have to replace what it takes for committed",
        SURVIVED,
        (
            Edit(
                RECOVER,
                "        storage.append(HardState(reader.term, 0, min(commit, last)), [])\n",
                "        storage.append(HardState(reader.term, 0, last), [])\n",
            ),
        ),
    ),
    Mutant(
        "recovered-with-old-members",
        0,
        "changes of membership in the log of a survivor bring lost members back",
        SURVIVED,
        (Edit(RECOVER, " if entry.kind in CHANGES else entry\n", " if entry.kind < 0 else entry\n"),),
    ),
    Mutant(
        "recovered-proposals-end-again",
        0,
        "an old entry completes a new proposal: a recovered member has the lives that it had before",
        SURVIVED,
        (Edit(RECOVER, "        opened=seen.recovery.reader.incarnation,\n", "        opened=0,\n"),),
    ),
    Mutant(
        "restored-under-the-old-name",
        0,
        "members of the old cluster take part in the new one",
        MOVED,
        (Edit(FILE, "        if found.cluster == new:\n", "        if not new:\n"),),
    ),
    Mutant(
        "restored-from-what-is-damaged",
        0,
        "a backup is not read to its end before a directory is made of it",
        MOVED,
        (Edit(FILE, "            found = reader.verify()\n", "            found = reader.descriptor\n"),),
    ),
    Mutant(
        "restored-and-begins-with-nothing",
        0,
        "a restored member whose snapshot is lost starts without it",
        MOVED,
        (
            Edit(
                RECOVERY,
                "self.reader.restored is not None or (founding.restored and self.base == founding.base)",
                "self.reader.restored is not None or founding.id < 1",
            ),
        ),
    ),
    Mutant(
        "remains-of-another-restore",
        0,
        "what a restore has left that did not end is in a directory that is founded with something else",
        MOVED,
        (Edit(FILE, "            remove_begun(directory, names)\n", ""),),
    ),
    Mutant(
        "a-restore-that-cannot-be-repeated",
        0,
        "what a restore has left that did not end passes for a member without its founding",
        MOVED,
        (Edit(RECOVERY, "    if not slots or None in slots:\n", "    if names:\n"),),
    ),
    Mutant(
        "a-restored-log-has-a-gap",
        0,
        "the first entry behind the base of a restored log is not taken for its continuation",
        MOVED,
        (
            Edit(
                READER,
                "        self.founded = self.base = self.last_index = self.commit = base\n",
                "        self.base = self.last_index = self.commit = base\n",
            ),
        ),
    ),
    Mutant(
        "a-backup-over-a-file",
        0,
        "a file that appears while a backup is written is replaced by it",
        BACKED_UP,
        (Edit(COPY, "        if self.overwrite:\n            check", "        if True:\n            check"),),
    ),
    Mutant(
        "a-backup-that-leaves-its-remains",
        0,
        "a backup that failed leaves a file",
        BACKED_UP,
        (
            Edit(
                COPY,
                "            with contextlib.suppress(OSError):\n                self._directory.remove(self._name)\n",
                "",
            ),
        ),
    ),
    Mutant(
        "a-backup-passes-for-a-snapshot",
        0,
        "a file elsewhere is counted as one that the log may be shortened behind",
        BACKED_UP,
        (Edit(SNAPSHOTS, "self.made += job.make is None", "self.made += 1"),),
    ),
    Mutant(
        "a-backup-and-a-snapshot-at-once",
        0,
        "a backup is begun while a snapshot is being written, which it ends",
        BACKED_UP,
        (Edit(KEEPER, "        if self.backups and not self._is_busy():\n", "        if self.backups:\n"),),
    ),
    Mutant(
        "a-look-that-locks",
        0,
        "a directory that a node uses cannot be looked at, and no node starts meanwhile",
        LOOKED_AT,
        (Edit(LOOK, "look_into(Directory(path, locked=False), path,", "look_into(Directory(path), path,"),),
    ),
    Mutant(
        "a-look-that-believes-the-first-sight",
        0,
        "what a node changes while somebody looks is called damage",
        LOOKED_AT,
        (Edit(LOOK, "AGAIN = 6 ", "AGAIN = 1 "),),
    ),
    Mutant(
        "replaced-entries-are-shown",
        0,
        "entries that were replaced are shown as part of the log",
        LOOKED_AT,
        (Edit(LOOK, "            least = min(least, _first_index(directory, piece))\n", ""),),
    ),
)
