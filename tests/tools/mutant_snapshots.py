"""Mistakes of a node around snapshots: taken, restored, fetched; what stays for others. A part of the list."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

APPLY = "raftx/node/apply.py"
COMPACTION = "raftx/node/compaction.py"
COURIER = "raftx/node/courier.py"
ENGINE = "raftx/node/engine.py"
KEEPER = "raftx/node/keeper.py"
OUTCOMES = "raftx/node/outcomes.py"
SNAPSHOTS = "raftx/node/snapshots.py"
TRANSFERS = "raftx/node/transfers.py"

FETCHED = "node/test_transfers.py"
TAKEN = "node/test_node_snapshots.py"

MUTANTS = (
    Mutant(
        "chunks-lost-for-ever",
        0,
        "a chunk that does not come is not asked for again",
        FETCHED,
        (Edit(COURIER, "                fetch.start_again(fetch.source, now)\n", "                pass\n"),),
    ),
    Mutant(
        "transfers-without-a-rate",
        0,
        "snapshots are fetched as fast as they come, whatever the bound",
        FETCHED,
        (Edit(COURIER, "        if now < fetch.not_before:\n", "        if now < 0:\n"),),
    ),
    Mutant(
        "chunks-without-a-window",
        0,
        "many chunks are under way, and heartbeats wait behind them",
        FETCHED,
        (Edit(COURIER, "        return 2 if self.trip >= LONG_TRIP_NS else 1\n", "        return 8\n"),),
    ),
    Mutant(
        "one-source-for-ever",
        0,
        "the very file at another member is not taken from there",
        FETCHED,
        (Edit(COURIER, "        elif source != fetch.source:\n", "        elif source < 0:\n"),),
    ),
    Mutant(
        "fetched-and-then-refused",
        0,
        "a snapshot that the state machine cannot take is fetched, and ends the node",
        FETCHED,
        (Edit(COURIER, "            self.check(descriptor)\n", ""),),
    ),
    Mutant(
        "chunks-too-large-to-come",
        0,
        "chunks are asked for that need larger frames than this node takes",
        FETCHED,
        (
            Edit(
                COURIER,
                "descriptor.chunk_bytes + CHUNK.size + FRAME_OVERHEAD > self.max_frame_bytes",
                "descriptor.chunk_bytes < 0",
            ),
        ),
    ),
    Mutant(
        "served-files-stay-open",
        0,
        "a file that was served stays open, and takes its space after it is removed",
        FETCHED,
        (Edit(COURIER, "            if now - used < READER_TRIES * self.retry_ns:\n", "            if used:\n"),),
    ),
    Mutant(
        "transfers-never-fail",
        0,
        "a leader waits for ever for a member that fetches nothing",
        FETCHED,
        (Edit(TRANSFERS, "            self.idle[slot] += 1\n", ""),),
    ),
    Mutant(
        "transfers-overtaken",
        0,
        "what follows a snapshot is dropped while it is on its way",
        FETCHED,
        (
            Edit(
                COMPACTION,
                "keep = most if size // HOLD_TIMES > self.max_log_bytes else self.needed()",
                "keep = most",
            ),
        ),
    ),
    Mutant(
        "transfers-fill-the-memory",
        0,
        "what follows a snapshot stays as long as it is on its way, however much it is",
        FETCHED,
        (
            Edit(
                COMPACTION,
                "keep = most if size // HOLD_TIMES > self.max_log_bytes else self.needed()",
                "keep = self.needed()",
            ),
        ),
    ),
    Mutant(
        "proposals-in-a-snapshot-hang",
        0,
        "a proposal whose entry came in a snapshot has no outcome",
        FETCHED,
        (Edit(APPLY, "        self.outcomes.lose_handed()\n", ""),),
    ),
    Mutant(
        "newest-proposal-in-a-snapshot-hangs",
        0,
        "the newest of those has none",
        FETCHED,
        (
            Edit(
                OUTCOMES,
                "        last = max(self.last_sequence_by_term.values(), default=0)\n",
                "        last = max(self.last_sequence_by_term.values(), default=0) - 1\n",
            ),
        ),
    ),
    Mutant(
        "half-a-snapshot-stays",
        0,
        "what was written of a snapshot that is given up stays in the directory",
        TAKEN,
        (Edit(SNAPSHOTS, "            writer.discard()\n", "            pass\n"),),
    ),
    Mutant(
        "what-is-done-is-not-applied",
        0,
        "what an owner knows to be applied cannot be given up before the engine knows it",
        TAKEN,
        (
            Edit(
                ENGINE,
                "self.compaction.release(index, self.apply_gauges.index)",
                "self.compaction.release(index, self.core.applied)",
            ),
        ),
    ),
    Mutant(
        "snapshots-of-newer-programs",
        0,
        "a state machine is given a snapshot of a newer version than its own",
        TAKEN,
        (Edit(KEEPER, "    if found.version > version_of(machine):\n", "    if found.version < 0:\n"),),
    ),
    Mutant(
        "applied-twice-to-a-database",
        0,
        "a state machine with a durable state is given again what it has",
        TAKEN,
        (Edit(APPLY, "            self.held = index\n", "            self.held = 0\n"),),
    ),
    Mutant(
        "kept-for-ever",
        0,
        "a member that is slow for ever keeps the log of its leader twice as long as it may be",
        FETCHED,
        (
            Edit(
                COMPACTION,
                "            if 0 < self.sent_for[slot] <= HOLD_TIMEOUTS * self.core.election_timeout:\n",
                "            if 0 < self.sent_for[slot]:\n",
            ),
        ),
    ),
)
