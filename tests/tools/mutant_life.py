"""Mistakes around the core: how a node begins, ends, and ends what it was asked. A part of the list for mutants.py."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

NODE = "raftx/node/node.py"
LIFE = "raftx/node/lifecycle.py"
FUTURES = "raftx/node/futures.py"
OUTCOMES = "raftx/node/outcomes.py"
PROPOSER = "raftx/node/proposer.py"
EVENTS = "raftx/node/events.py"
ADAPTER = "raftx/node/adapter.py"
APPLY = "raftx/node/apply.py"
ENGINE = "raftx/node/engine.py"
DISPATCH = "raftx/node/dispatch.py"
CONNECTIONS = "raftx/transport/python.py"
SYS = "raftx/_native/threads.py"
PEERS = "raftx/node/peers.py"
DRIVER = "raftx/consensus/driver.py"
REPORT = "raftx/report.py"

MUTANTS = (
    Mutant(
        "close-during-start-lost",
        0,
        "a node that is closed while it starts says that it was started",
        "node/test_life.py",
        (Edit(NODE, "        if self._life.closing:\n", "        if self._life.closing and self._life.failure:\n"),),
    ),
    Mutant(
        "disk-not-told-without-engine",
        0,
        "threads stay when the last one cannot be started",
        "node/test_life.py",
        (
            Edit(
                NODE,
                '            if self._workers["engine"] not in self._life.workers:\n',
                '            if self._workers["engine"] is None:\n',
            ),
        ),
    ),
    Mutant(
        "close-waits-for-the-log",
        0,
        "a log handler that does not return keeps close() from its end",
        "node/test_log_handlers.py",
        (Edit(NODE, 'writes = ends("report", now() + LAST_SECONDS)', 'writes = must_end("report")'),),
    ),
    Mutant(
        "lines-without-bound",
        0,
        "a log handler that does not return fills the memory with lines",
        "node/test_log_handlers.py",
        (Edit(REPORT, "        if len(self._waiting) >= LINES_KEPT:\n", "        if self._waiting is None:\n"),),
    ),
    Mutant(
        "callback-ends-its-thread",
        0,
        "a callback that raises SystemExit ends the thread that ends futures",
        "node/test_life.py",
        (
            Edit(
                FUTURES,
                "                except BaseException as error:\n                    # Whatever",
                "                except Exception as error:\n                    # Whatever",
            ),
        ),
    ),
    Mutant(
        "deadlines-on-nobody",
        0,
        "nothing ends what is overdue",
        "node/test_life.py",
        (
            Edit(
                OUTCOMES,
                "        while self.deadlines and self.deadlines[0][1] <= now:\n",
                "        while self.deadlines and self.deadlines[0][1] < 0:\n",
            ),
        ),
    ),
    Mutant(
        "stuck-apply-keeps-the-woken",
        0,
        "who waits for what has ended is not woken while the next apply() hangs",
        "node/test_life.py",
        (
            Edit(
                OUTCOMES,
                "        self.stale = list(self.early)\n        self.wake_threads()\n",
                "        self.stale = list(self.early)\n",
            ),
        ),
    ),
    Mutant(
        "failure-waits-for-apply",
        0,
        "a failure ends nothing that is open",
        "node/test_life.py",
        (Edit(NODE, "            self._tell_end()\n        finally:\n", "        finally:\n"),),
    ),
    Mutant(
        "unknown-without-cause",
        0,
        "what a failure ends does not tell it",
        "node/test_life.py",
        (
            Edit(
                OUTCOMES, "    error = Unknown(reason)\n    error.__cause__ = cause\n", "    error = Unknown(reason)\n"
            ),
        ),
    ),
    Mutant(
        "wait-for-oneself",
        0,
        "apply() may wait for a proposal of its own node",
        "node/test_life.py",
        (
            Edit(
                FUTURES,
                "threading.get_ident() in self._owner.threads:\n",
                "threading.get_ident() not in self._owner.threads and False:\n",
            ),
        ),
    ),
    Mutant(
        "storage-error-unseen",
        0,
        "a storage that raises SystemExit ends a thread and not the node",
        "node/test_life.py",
        (
            Edit(
                ADAPTER,
                "            except BaseException as error:  # whatever it is, nobody knows",
                "            except ValueError as error:  # whatever it is, nobody knows",
            ),
        ),
    ),
    Mutant(
        "dead-leader",
        0,
        "a node that has failed says that it leads",
        "node/test_life.py",
        (
            Edit(
                LIFE,
                "return self.phase in (RUNNING, STOPPING) and not self._cause and not self.ended.is_open()",
                "return self.phase != NEW",
            ),
        ),
    ),
    Mutant(
        "consumers-share",
        0,
        "state changes go to one of their consumers",
        "node/test_life.py",
        (
            Edit(
                EVENTS,
                "        return Consumer(self)\n",
                '        self.only = getattr(self, "only", None) or Consumer(self)\n        return self.only\n',
            ),
        ),
    ),
    Mutant(
        "partial-batch",
        0,
        "a batch is taken as far as there is room",
        "node/test_life_limits.py",
        (
            Edit(
                SYS,
                "            if self.put_bytes - self.consumed + size > self.limit + SLACK:\n",
                "            if self.put_bytes - self.consumed > self.limit + SLACK:\n",
            ),
        ),
    ),
    Mutant(
        "items-for-bytes",
        0,
        "a memoryview is as long as it has items",
        "node/test_life_limits.py",
        (Edit(PROPOSER, "        return data.nbytes\n", "        return len(data)\n"),),
    ),
    Mutant(
        "open-without-bound",
        0,
        "any number of proposals may be open",
        "node/test_life_limits.py",
        (
            Edit(
                PROPOSER,
                "        if self.outcomes.proposals() >= self.max_open:\n",
                "        if self.outcomes.count() >= 1 << 40:\n",
            ),
        ),
    ),
    Mutant(
        "waiters-stay",
        0,
        "who gives up waiting stays in the list",
        "node/test_life_limits.py",
        (Edit(FUTURES, "            if lock in waiting:\n", "            if not waiting:\n"),),
    ),
    Mutant(
        "awaits-stay",
        0,
        "an await that is given up leaves its callback",
        "node/test_life_limits.py",
        (Edit(FUTURES, "                self._callbacks.pop(number, None)\n", "                pass\n"),),
    ),
    Mutant(
        "batches-are-not-counted",
        0,
        "any number of proposals may be open in batches",
        "node/test_batches.py",
        (Edit(OUTCOMES, "        return len(self.pending) + self.batched\n", "        return len(self.pending)\n"),),
    ),
    Mutant(
        "taken-of-a-batch-by-all",
        0,
        "each thread that asks for a proposal of a batch is to end it",
        "node/test_batches.py",
        (Edit(OUTCOMES, "        self.taken[sequence - self.first] = 1\n", ""),),
    ),
    Mutant(
        "batch-without-its-blocks",
        0,
        "a proposal far from the beginning of its batch is not found",
        "node/test_batches.py",
        (
            Edit(
                OUTCOMES,
                "            self.batches[mark] = batch\n            mark += BLOCK\n        if end",
                "            mark += BLOCK\n        if end",
            ),
        ),
    ),
    Mutant(
        "batch-of-another-one",
        0,
        "what follows a batch is taken for one of it",
        "node/test_batches.py",
        (Edit(OUTCOMES, "        if batch is None or number > batch.last:\n", "        if batch is None:\n"),),
    ),
    Mutant(
        "ended-batches-stay",
        0,
        "the table keeps what has ended of batches",
        "node/test_batches.py",
        (Edit(OUTCOMES, "            self.batches.pop(mark, None)\n", ""),),
    ),
    Mutant(
        "early-outcome-lost",
        0,
        "what is applied before it is registered is lost",
        "node/test_futures.py",
        (
            Edit(
                OUTCOMES, "            self.early[sequence] = outcome\n", "            self.early.pop(sequence, None)\n"
            ),
        ),
    ),
    Mutant(
        "late-registration-lost",
        0,
        "who registers a future after the end of the node is not told",
        "node/test_futures.py",
        (
            Edit(
                OUTCOMES,
                "        if self.ended:\n            self.end_unknown(sequence, reason_of",
                "        if self.ended and self.early:\n            self.end_unknown(sequence, reason_of",
            ),
        ),
    ),
    Mutant(
        "request-opened-at-the-end",
        0,
        "what is asked for while the node ends is never told",
        "node/test_requests.py",
        (
            Edit(
                OUTCOMES,
                "        if self.ended:\n            self.look_again(number)\n",
                "        if self.ended and self.early:\n            self.look_again(number)\n",
            ),
        ),
    ),
    Mutant(
        "rejected-as-done",
        0,
        "what was not done ends as done, with the reason as its result",
        "node/test_requests.py",
        (
            Edit(
                OUTCOMES,
                "            self.fail_future(future, error(self.why(reason)))\n",
                "            self.settle_with(future, reason)\n",
            ),
        ),
    ),
    Mutant(
        "requests-without-deadline",
        0,
        "a request that is no proposal is never overdue",
        "node/test_requests.py",
        (Edit(OUTCOMES, "            self.opened.append(number)\n", "            pass\n"),),
    ),
    Mutant(
        "registered-late-for-ever",
        0,
        "a future that is registered after that of a later proposal has no deadline",
        "node/test_futures.py",
        (
            Edit(
                OUTCOMES,
                "if self.registered_late or self.newest_registered > self.newest_with_deadline:",
                "if self.newest_registered > self.newest_with_deadline:",
            ),
        ),
    ),
    Mutant(
        "bare-entries-unseen",
        0,
        "an entry that no node proposed is passed over in silence",
        "node/test_requests.py",
        (
            Edit(
                APPLY,
                "        elif (c.kind == ENTRY_NORMAL or c.kind == ENTRY_SESSION) and c.size > 0:\n",
                "        elif c.kind > 9:\n",
            ),
        ),
    ),
    Mutant(
        "killed-and-yet-decided",
        0,
        "a worker that was killed in its round still ends the node",
        "node/test_stepped.py",
        (
            Edit(
                LIFE,
                "                    if self._task is None:\n                        raise  #",
                "                    if task is None:\n                        raise  #",
            ),
        ),
    ),
    Mutant(
        "any-way-from-state-to-state",
        0,
        "a node moves from any state to any other",
        "node/test_life.py",
        (Edit(LIFE, "        if to not in MOVES[self.phase]:\n", "        if to not in MOVES:\n"),),
    ),
    Mutant(
        "hello-of-a-stranger",
        0,
        "what a stranger says of its settings takes the place of a member's",
        "node/test_disagreements.py",
        (
            Edit(
                ENGINE,
                "        if self.core.tracker.peers.slot_of(self.message.sender) < 0:\n            return 0\n",
                "",
            ),
        ),
    ),
    Mutant(
        "hello-once-for-ever",
        0,
        "a member that was started anew is not told the settings again",
        "node/test_disagreements.py",
        (
            Edit(
                ENGINE,
                "            self.peers.introduced[place] = 0\n",
                "            self.peers.introduced[place] = 1\n",
            ),
        ),
    ),
    Mutant(
        "removed-and-yet-sent-to",
        0,
        "frames go on to a peer that was removed",
        "transport/test_peers_come_and_go.py",
        (Edit(CONNECTIONS, "        peer = self.by_id.pop(id, None)\n", "        peer = self.by_id.get(id)\n"),),
    ),
    # --- members that come and go --------------------------------------------------------------------
    Mutant(
        "seen-lost-when-slots-move",
        0,
        "what a member passed on is forgotten when its slot moves, and is appended again",
        "node/test_peers.py",
        (
            Edit(
                PEERS,
                "            place = self.find(id)\n            if place < 0:",
                "            place = -1\n            if place < 0:",
            ),
        ),
    ),
    Mutant(
        "lives-by-slot",
        0,
        "the life of a member is kept with the slot that it has at the time",
        "node/test_peers.py",
        (
            Edit(
                PEERS,
                "        id = members.ids[slot]\n        place = self.hints[slot]\n",
                "        id = members.ids[slot]\n        place = slot\n        return slot\n",
            ),
        ),
    ),
    Mutant(
        "removed-is-forgotten",
        0,
        "a member that is removed and comes back is one that was never heard of",
        "node/test_peers.py",
        (
            Edit(
                PEERS,
                "        return self.of_slot(members, slot) if slot >= 0 else self.find(id)\n",
                "        return self.of_slot(members, slot) if slot >= 0 else -1\n",
            ),
        ),
    ),
    Mutant(
        "members-make-room",
        0,
        "the place of a present member goes to somebody new",
        "node/test_peers.py",
        (
            Edit(
                PEERS,
                "            if members.slot_of(self.ids[place]) < 0 and (best < 0 or",
                "            if (best < 0 or",
            ),
        ),
    ),
    Mutant(
        "unknown-leader-unanswered",
        0,
        "what is for somebody outside the configuration is not sent",
        "node/test_peers.py",
        (Edit(DISPATCH, "        while rows > 0 and row < self.out.length():\n", "        while row > rows:\n"),),
    ),
    # --- queues that are full ------------------------------------------------------------------------
    Mutant(
        "frames-without-room",
        0,
        "messages are taken although there is no room for what comes of them",
        "node/test_channels.py",
        (
            Edit(
                ENGINE,
                "        while not self.applies.lacks(ROWS_KEPT):\n            if not self.codec.next",
                "        while True:\n            if not self.codec.next",
            ),
        ),
    ),
    Mutant(
        "proposals-without-room",
        0,
        "proposals are taken although the apply thread is behind",
        "node/test_channels.py",
        (
            Edit(
                ENGINE,
                "        while self.proposals.waiting() and not self.lacks_room():\n",
                "        while self.proposals.waiting():\n",
            ),
        ),
    ),
    Mutant(
        "writes-without-room",
        0,
        "writes are begun although the disk is behind, and are lost",
        "node/test_channels.py",
        (Edit(ENGINE, "next_write(self.spans, self.writes.room() > 0)", "next_write(self.spans, True)"),),
    ),
    Mutant(
        "promised-before-its-write",
        0,
        "what waits for a write that is not begun yet leaves with the one before",
        "consensus/test_driver.py",
        (
            Edit(
                DRIVER,
                "            release.collect(self.raft, self.out, self.held, self.number + 1)\n",
                "            release.collect(self.raft, self.out, self.held, self.number)\n",
            ),
        ),
    ),
    Mutant(
        "room-is-not-told",
        0,
        "nobody is woken when a full queue has room again",
        "native/test_sys.py",
        (Edit(SYS, "            self.short = 0\n            self.giver.wake()\n", "            self.short = 0\n"),),
    ),
    Mutant(
        "rows-behind-a-full-stream-are-lost",
        0,
        "the last rows are not taken when a node ends whose stream is full",
        "node/test_committed_stream.py",
        (Edit(APPLY, "        return goes_on or not ended\n", "        return not ended\n"),),
    ),
    Mutant(
        "begun-again-after-a-full-stream",
        0,
        "the entries of a row are applied from its first one when the stream has room again",
        "node/test_committed_stream.py",
        (
            Edit(
                APPLY,
                "            if not self.in_span:\n                self.cursor.open(",
                "            if self.spans_left > 0:\n                self.cursor.open(",
            ),
        ),
    ),
    Mutant(
        "asleep-beside-a-full-stream",
        0,
        "the apply thread is not woken when the stream has room again",
        "node/test_committed_stream.py",
        (
            Edit(
                "raftx/node/assembly.py",
                "        outside.committed.on_room = queues.applies.event.py_wake\n",
                "        outside.committed.on_room = None\n",
            ),
        ),
    ),
    Mutant(
        "requests-without-bound",
        0,
        "requests are taken although nothing is left of the rows that frames need",
        "node/test_channels.py",
        (
            Edit(
                "raftx/node/parts.py",
                "applies.pending + self.commands.pending < applies.capacity // REQUESTS_PART",
                "applies.pending < applies.capacity",
            ),
        ),
    ),
    Mutant(
        "strangers-told-without-end",
        0,
        "what strangers say is told again and again",
        "node/test_disagreements.py",
        (Edit("raftx/node/disagreements.py", "        self.told_foreign[kind] = (id, now)\n", ""),),
    ),
    Mutant(
        "failed-and-said-to-be-stopped",
        0,
        "what is open when a node fails ends as if it had been stopped",
        "node/test_requests.py",
        (
            Edit(
                OUTCOMES,
                '    return STOPPED if cause is None else f"the node failed: {type(cause).__name__}: {cause}"\n',
                "    return STOPPED\n",
            ),
        ),
    ),
    Mutant(
        "entered-before-it-is-dialled",
        0,
        "a peer that could not be dialled is shown among the peers",
        "transport/test_peers_come_and_go.py",
        (
            Edit(
                "raftx/transport/sockets.py",
                "            self.remove_peer(id)\n            try:\n                self._dial(id, at)\n",
                "            self.remove_peer(id)\n"
                "            self.peers = {**self.peers, id: address}\n"
                "            try:\n"
                "                self._dial(id, at)\n",
            ),
        ),
    ),
    Mutant(
        "gap-in-a-storage-in-memory",
        0,
        "a storage in memory takes what could not be opened again",
        "storage/test_storage_conformance.py",
        (
            Edit(
                "raftx/storage/memory.py",
                "            self._last = check_append(self._state, self._last, hard_state, pieces, self._least())\n",
                "            self._last = Entry.decode_all(pieces[-1])[-1].index if pieces else self._last\n",
            ),
        ),
    ),
    Mutant(
        "closes-what-another-node-uses",
        0,
        "a node whose storage is in use closes it under the node that uses it",
        "node/test_in_use.py",
        (
            Edit(
                NODE,
                "        if disk_ended and engine_ended and snapshots_ended and outside.owns_storage:\n",
                "        if disk_ended and engine_ended and snapshots_ended:\n",
            ),
        ),
    ),
    Mutant(
        "failures-that-grow",
        0,
        "each time that what ended a node is raised its traceback grows",
        "node/test_stream_ends.py",
        (Edit(EVENTS, "            raise error.with_traceback(traceback)\n", "            raise error\n"),),
    ),
    Mutant(
        "the-end-of-a-loop",
        0,
        "a state machine that raises StopIteration looks as if the node had been closed",
        "node/test_stream_ends.py",
        (
            Edit(
                EVENTS,
                "    if not isinstance(error, (StopIteration, StopAsyncIteration)):\n",
                "    if error is not None:\n",
            ),
        ),
    ),
    Mutant(
        "gap-in-a-stream",
        0,
        "an entry comes out of a stream although one before it did not",
        "node/test_committed_stream.py",
        (
            Edit(
                EVENTS,
                "(self._ended or self.lost or len(self._items) >= self._limit)",
                "(self._ended or len(self._items) >= self._limit)",
            ),
        ),
    ),
    Mutant(
        "a-thread-for-each-name",
        0,
        "lookups that hang pile up while peers come and go",
        "transport/test_lookups.py",
        (
            Edit(
                "raftx/_native/lookups.py",
                "            if self._busy >= LOOKUPS:\n",
                "            if self._event is None:\n",
            ),
        ),
    ),
    Mutant(
        "looked-up-for-nobody",
        0,
        "a name is looked up although its peer was removed",
        "transport/test_lookups.py",
        (
            Edit(
                "raftx/_native/lookups.py",
                "                self._waiting.remove(lookup)\n            if lookup in self._asked",
                "                pass\n            if lookup in self._asked",
            ),
        ),
    ),
    Mutant(
        "who-registers-runs-callbacks",
        0,
        "a proposer that finds its outcome there runs the callbacks of others in the midst of its call",
        "node/test_futures.py",
        (
            Edit(
                "raftx/node/outcomes.py",
                "            self.end_unknown(sequence, reason_of(self.cause), self.cause)\n",
                "            self.end_unknown(sequence, reason_of(self.cause), self.cause)\n        self.wake_all()\n",
            ),
        ),
    ),
)
