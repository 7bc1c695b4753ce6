"""Mistakes of a node around snapshots: taken, restored, fetched; what stays for others. A part of the list."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

APPLY = "raftx/node/apply.py"
COMPACTION = "raftx/node/compaction.py"
CONTRACTS = "raftx/node/contracts.py"
COURIER = "raftx/node/courier.py"
ENGINE = "raftx/node/engine.py"
KEEPER = "raftx/node/keeper.py"
ORDERS = "raftx/node/orders.py"
OUTCOMES = "raftx/node/outcomes.py"
RECEIVER = "raftx/storage/snapshot_receiver.py"
SNAPSHOTS = "raftx/node/snapshots.py"
STORE = "raftx/storage/snapshot_store.py"
TRANSFERS = "raftx/node/transfers.py"

AHEAD = "storage/test_snapshots_ahead.py"
CUTS = "node/test_transfer_cuts.py"
FETCHED = "node/test_transfers.py"
NOT_TAKEN = "node/test_offers_not_taken.py"
OVERTAKEN = "node/test_snapshots_overtaken.py"
OLDER = "node/test_older_snapshots.py"
TAKEN = "node/test_node_snapshots.py"
THREAD = "node/test_snapshot_thread.py"

MUTANTS = (
    Mutant(
        "begins-without-its-snapshots",
        0,
        "a member whose snapshots are gone begins with an empty state behind the entries that they held",
        TAKEN,
        (
            Edit(
                KEEPER,
                "    if not base_index or snapshot is not None or not restores",
                "    if base_index >= 0 or snapshot is not None or not restores",
            ),
        ),
    ),
    Mutant(
        "recovered-before-its-log",
        0,
        "a recovered directory is opened with snapshots of entries that its log does not have yet",
        "storage/test_recover.py",
        (
            Edit(
                "raftx/storage/recover.py",
                "bare, storage = replace(founding, restored=False),",
                "bare, storage = founding,",
            ),
        ),
    ),
    Mutant(
        "chunks-lost-for-ever",
        0,
        "a chunk that does not come is not asked for again",
        FETCHED,
        (Edit(COURIER, "                fetch.start_again(fetch.source, now)\n", "                pass\n"),),
    ),
    Mutant(
        "a-fetch-that-is-overtaken-goes-on",
        0,
        "a snapshot is fetched to its end although entries have brought what it holds",
        FETCHED,
        (
            Edit(
                COURIER,
                "        return descriptor.index <= self.committed()\n",
                "        return descriptor.index < 0\n",
            ),
        ),
    ),
    Mutant(
        "a-shortage-that-is-told-with-each-offer",
        0,
        "the log of a member without room for a snapshot has two lines more with every offer",
        "node/test_full_disks.py",
        (
            Edit(
                COURIER,
                "        if shortage and not self.shortage():\n",
                "        if shortage:\n",
            ),
        ),
    ),
    Mutant(
        "half-of-what-snapshots-need-is-taken",
        0,
        "a state machine that cannot take its own snapshots makes some, and does not start again",
        "node/test_arguments.py",
        (
            Edit(
                CONTRACTS,
                "        if found[name] is not None and found[other] is None:\n",
                "        if name == other:\n",
            ),
        ),
    ),
    Mutant(
        "transfers-without-a-rate",
        0,
        "snapshots are fetched as fast as they come, whatever the bound",
        FETCHED,
        (Edit(COURIER, "        if now < fetch.not_before:\n", "        if now < 0:\n"),),
    ),
    Mutant(
        "a-pause-is-silence",
        0,
        "while the rate allows no chunk the source hears nothing, and believes that nobody fetches any more",
        FETCHED,
        (Edit(COURIER, "            self.ask(0)\n", "            pass\n"),),
    ),
    Mutant(
        "chunks-without-a-window",
        0,
        "many chunks are under way, and heartbeats wait behind them",
        FETCHED,
        (Edit(COURIER, "            return 1\n", "            return 8\n"),),
    ),
    Mutant(
        "two-chunks-at-once",
        0,
        "two chunks are under way also where one would do, and heartbeats wait for both",
        CUTS,
        (Edit(COURIER, "            return 1\n", "            return 2\n"),),
    ),
    Mutant(
        "many-chunks-on-a-slow-way",
        0,
        "as many chunks are under way on a slow way as on a fast one",
        CUTS,
        (Edit(COURIER, "IN_FLIGHT_NS // max(self.gap, 1)", "WINDOW_MAX"),),
    ),
    Mutant(
        "a-request-for-each-chunk",
        0,
        "every chunk is asked for by a request of its own",
        CUTS,
        (Edit(COURIER, "self.next - missing > (last - missing) // 2", "self.next >= last"),),
    ),
    Mutant(
        "asks-for-more-than-is-left",
        0,
        "the last chunks wait until fewer are under way, though nothing follows them",
        CUTS,
        (Edit(COURIER, "        if last < chunks and self.next", "        if self.next"),),
    ),
    Mutant(
        "snapshots-without-a-rest",
        0,
        "the thread that writes a snapshot takes a core of its own for all that time",
        THREAD,
        (
            Edit(
                SNAPSHOTS,
                "int(REST * worked)",
                "0",
            ),
        ),
    ),
    Mutant(
        "later-snapshot-in-place-of-the-one-taken-up",
        0,
        "a snapshot that arrives takes the place of one that the log is about to begin behind",
        AHEAD,
        (
            Edit(
                STORE,
                "                rest = [each for each in self._ahead if each.name != made.name]\n",
                "                rest = []\n",
            ),
        ),
    ),
    Mutant(
        "two-offers-at-once",
        0,
        "a later snapshot is fetched while the log is about to begin behind one",
        OVERTAKEN,
        (
            Edit(
                TRANSFERS,
                "        if self.file_index != 0 or self.core.pending_snapshot != 0:\n",
                "        if self.file_index >= index or self.core.pending_snapshot >= index:\n",
            ),
            Edit(
                STORE,
                "                rest = [each for each in self._ahead if each.name != made.name]\n",
                "                rest = []\n",
            ),
        ),
    ),
    Mutant(
        "term-of-another-entry",
        0,
        "the state of a machine that is ahead of its snapshot gets the term of that",
        OVERTAKEN,
        (
            Edit(
                KEEPER,
                "            if held > newest.index:\n                return held, self.held_term\n",
                "            if held > newest.index:\n                return held, newest.term\n",
            ),
        ),
    ),
    Mutant(
        "idle-before-it-is-told",
        0,
        "another snapshot is begun before it is known how the last one ended",
        OVERTAKEN,
        (
            Edit(
                SNAPSHOTS,
                "        (job.ended or self.ended)(descriptor, error)\n        self._job = None\n",
                "        self._job = None\n        (job.ended or self.ended)(descriptor, error)\n",
            ),
        ),
    ),
    Mutant(
        "given-up-and-thrown-away",
        0,
        "what has arrived of a snapshot goes when its source is given up",
        CUTS,
        (
            Edit(
                COURIER,
                "        assert fetch is not None\n        fetch.receiver.close()\n",
                "        assert fetch is not None\n        fetch.receiver.discard()\n",
            ),
        ),
    ),
    Mutant(
        "fetched-from-the-beginning",
        0,
        "a member that was restarted fetches a snapshot from its beginning",
        CUTS,
        (Edit(RECEIVER, "self._file = self._resumed() or self._begun()", "self._file = self._begun()"),),
    ),
    Mutant(
        "whole-and-fetched-again",
        0,
        "a member that was restarted when all of a snapshot was there fetches it once more",
        CUTS,
        (
            Edit(
                STORE,
                "                descriptor in self._ahead and self._is_whole(descriptor)\n",
                "                False\n",
            ),
        ),
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
        (Edit(TRANSFERS, "            self.idle[place] += 1\n", ""),),
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
        "older-snapshots-are-not-served",
        0,
        "a member that has a part of the snapshot before the newest one begins anew when its source was restarted",
        OLDER,
        (Edit(COURIER, "self.storage.open_snapshot(index)", "self.storage.open_snapshot()"),),
    ),
    Mutant(
        "older-snapshot-for-nothing",
        0,
        "what follows the snapshot that a member fetches is dropped, because it was offered a newer one since",
        OLDER,
        (Edit(COMPACTION, "return min(index, wanted) if wanted else index", "return index"),),
    ),
    Mutant(
        "begun-and-dropped",
        0,
        "a node that begins drops what follows its older snapshot before those who fetch that one can ask for more",
        OLDER,
        (
            Edit(
                COMPACTION,
                "        if self.grace > 0:\n            slowest",
                "        if self.grace < 0:\n            slowest",
            ),
        ),
    ),
    Mutant(
        "kept-for-who-asked-once",
        0,
        "what follows a snapshot stays for ever, once a member has asked for a part of that",
        OLDER,
        (Edit(COMPACTION, "                self.wanted[place] = 0\n", "                pass\n"),),
    ),
    Mutant(
        "refused-in-silence",
        0,
        "a snapshot cannot be opened for another member, and nobody is told",
        OLDER,
        (Edit(COURIER, '                self.complain(f"cannot serve', '                print(f"cannot serve'),),
    ),
    Mutant(
        "nothing-behind-the-older-one",
        0,
        "the log begins behind the newest snapshot: when that one is damaged, the member does not start",
        OLDER,
        (
            Edit(
                STORE,
                "return self._within[-1] if len(self._within) == KEPT",
                "return self._within[0] if len(self._within) == KEPT",
            ),
        ),
    ),
    Mutant(
        "put-aside-in-silence",
        0,
        "the newest snapshot is damaged and the one before serves: nobody is told",
        OLDER,
        (Edit(STORE, 'report(logging.WARNING, "%s: %s; it is put', 'print(0, "%s: %s; it is put'),),
    ),
    Mutant(
        "left-behind-in-silence",
        0,
        "a member whose storage cannot take a snapshot stays behind, and nobody is told",
        NOT_TAKEN,
        (
            Edit(
                ENGINE,
                "self.applies.put_untaken(self.empty_spans, self.message.sender, index, self.gauges.untaken)",
                "pass",
            ),
        ),
    ),
    Mutant(
        "left-behind-and-told-each-time",
        0,
        "a member whose storage cannot take a snapshot fills the log with that",
        NOT_TAKEN,
        (Edit(ENGINE, "if self.untaken_told == 0 or now - self.untaken_told >= ODD_NS:", "if now != 0:"),),
    ),
    Mutant(
        "left-behind-and-not-counted",
        0,
        "the status of a member whose storage cannot take a snapshot does not show that it is offered one",
        NOT_TAKEN,
        (Edit("raftx/node/status.py", "engine.untaken", "0"),),
    ),
    Mutant(
        "offers-of-what-is-there",
        0,
        "a member without snapshots does not answer an offer of entries that it has, and its leader waits",
        NOT_TAKEN,
        (
            Edit(
                ENGINE,
                "if not self.transfers.enabled and self.transfers.lacks(self.message):",
                "if not self.transfers.enabled:",
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
                ORDERS,
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
        (
            Edit(
                APPLY,
                "            self.held, self.held_term = self.keeper.restore(self.open_snapshot)\n",
                "            self.held_term = self.keeper.restore(self.open_snapshot)[1]\n",
            ),
        ),
    ),
    Mutant(
        "kept-for-ever",
        0,
        "a member that is slow for ever keeps the log of its leader twice as long as it may be",
        FETCHED,
        (
            Edit(
                COMPACTION,
                "[self.place_of(slot)] <= HOLD_TIMEOUTS * self.core.election_timeout:\n",
                "[self.place_of(slot)]:\n",
            ),
        ),
    ),
)
