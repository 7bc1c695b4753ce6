"""Mistakes in what a state machine is given: many entries at once, and none that is skipped. A part of the list."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

APPLY = "raftx/node/apply.py"
BATCHES = "raftx/node/batches.py"
FILE = "raftx/storage/file.py"
REBUILD = "raftx/storage/rebuild.py"
RECOVER = "raftx/storage/recover.py"
SKIP = "raftx/storage/skip.py"
SKIPS = "raftx/storage/skips.py"

KEEPER = "raftx/node/keeper.py"
MACHINES = "raftx/node/machines.py"
PATHS = "raftx/storage/paths.py"
WRITTEN = "raftx/node/snapshots.py"
READ = "raftx/storage/snapshots.py"

BATCHED = "node/test_apply_batch.py"
FOUNDED = "storage/test_founding.py"
MISTAKES = "node/test_machine_mistakes.py"
SKIPPED = "storage/test_skips.py"

MUTANTS = (
    Mutant(
        "batches-over-terms",
        0,
        "a proposal that an earlier leader got committed is reported as not done",
        BATCHED,
        (
            Edit(
                APPLY,
                "        if c.term != self.applied_term:\n            self.give_batch()\n",
                "        if c.term != self.applied_term:\n",
            ),
        ),
    ),
    Mutant(
        "batches-beyond-the-stream",
        0,
        "a batch is applied of which the stream has room for a part, and the rest of it never comes out",
        BATCHED,
        (Edit(APPLY, "committed.has_room(self.gathered)):", "committed.has_room()):"),),
    ),
    Mutant(
        "results-without-a-count",
        0,
        "a state machine that returns too few results ends nothing, or gives proposers those of others",
        BATCHED,
        (Edit(BATCHES, "            if len(results) != len(entries):\n", "            if len(results) < 0:\n"),),
    ),
    Mutant(
        "a-refusal-in-a-batch-is-a-result",
        0,
        "a command that the state machine has refused is reported as done",
        BATCHED,
        (Edit(APPLY, "            if isinstance(result, ApplyError):\n", "            if result is self:\n"),),
    ),
    Mutant(
        "batches-without-an-end",
        0,
        "a state machine is given any number of entries at once",
        BATCHED,
        (Edit(BATCHES, "        return len(self.entries) >= BATCH_ENTRIES or", "        return"),),
    ),
    Mutant(
        "skipped-whatever-the-term",
        0,
        "another entry than the one that was agreed on is not applied",
        SKIPPED,
        (Edit(APPLY, "self.skips.get(index) == term\n", "self.skips.get(index) is not None\n"),),
    ),
    Mutant(
        "skipped-without-asking",
        0,
        "an entry is skipped by whoever only wanted to know what it would mean",
        SKIPPED,
        (Edit(SKIP, "        if not agreed:\n", "        if not index:\n"),),
    ),
    Mutant(
        "skips-of-another-directory",
        0,
        "what was agreed about one member's log counts for another one",
        SKIPPED,
        (Edit(SKIPS, "    if whose != store:\n", '    if whose == b"":\n'),),
    ),
    Mutant(
        "skips-that-stay-for-ever",
        0,
        "entries that are before the log are kept in the file of those that are skipped",
        SKIPPED,
        (
            Edit(
                SKIPS,
                "for index, term in skips.items() if index > base}",
                "for index, term in skips.items() if base >= 0}",
            ),
        ),
    ),
    Mutant(
        "rebuilt-without-its-skips",
        0,
        "a rebuilt member is given the entry that nobody can take",
        SKIPPED,
        (Edit(REBUILD, "            skips = _skipped(directory, found)\n", ""),),
    ),
    Mutant(
        "a-file-at-its-end-is-a-snapshot",
        0,
        "a state machine that returns a file it has just written loses its state, on every member",
        MISTAKES,
        (Edit(WRITTEN, "        if nothing and (at := _position(state)):\n", "        if nothing and (at := 0):\n"),),
    ),
    Mutant(
        "a-property-that-fails-says-nothing",
        0,
        "a state machine that cannot say what it has is given every entry once more",
        MISTAKES,
        (Edit(MACHINES, "        if inspect.getattr_static(machine, name, None) is None:\n", "        if error:\n"),),
    ),
    Mutant(
        "what-was-closed-is-not-verified",
        0,
        "a damaged snapshot is taken for a state where the state machine stops before the damage and closes the file",
        MISTAKES,
        (Edit(KEEPER, "                    again.verify()\n", "                    pass\n"),),
    ),
    Mutant(
        "a-line-ends-where-its-piece-ends",
        0,
        "a state machine that reads lines is given parts of them",
        MISTAKES,
        (Edit(READ, "            if end:\n                break\n", "            break\n"),),
    ),
    Mutant(
        "founded-within-another-member",
        0,
        "a member is founded in the directory of another one, and goes when that one is rebuilt",
        FOUNDED,
        (Edit(PATHS, "        if begins == MAGIC:\n", "        if False:\n"),),
    ),
    Mutant(
        "a-compressed-one-is-fetched-by-who-cannot-read-it",
        0,
        "a voter without the package for compressed snapshots takes one, and never starts again",
        "storage/test_snapshot_files.py",
        (Edit(KEEPER, '    check_unpackable(found, f"the snapshot of entry {found.index}")\n', ""),),
    ),
)
