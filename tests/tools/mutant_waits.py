"""Mistakes in who may wait where, in what only begins, and in what nobody waits for any more. A part of the list.

For mutants.py.
"""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

AIO = "raftx/aio/node.py"
AIO_STREAMS = "raftx/aio/streams.py"
APPLY = "raftx/node/apply.py"
BATCHES = "raftx/node/batches.py"
CHANGER = "raftx/node/changer.py"
FUTURES = "raftx/node/futures.py"
KEEPER = "raftx/node/keeper.py"
NODE = "raftx/node/node.py"
OUTCOMES = "raftx/node/outcomes.py"
PATIENCE = "raftx/node/patience.py"
PROPOSER = "raftx/node/proposer.py"
READERS = "raftx/node/readers.py"
SESSION = "raftx/node/session.py"
SNAPSHOTS = "raftx/node/snapshots.py"
UNFINISHED = "raftx/node/unfinished.py"

OWN = "node/test_own_loops.py"
BEGUN = "node/test_unfinished.py"
PATIENT = "node/test_patient_bounds.py"
BOUNDS = "node/test_read_bounds.py"

MUTANTS = (
    # --- waits that would never end ------------------------------------------------------------------
    Mutant(
        "wait-beside-another",
        0,
        "a thread that ends futures waits for one that another thread waits for already, and for ever",
        OWN,
        (
            Edit(
                FUTURES,
                "        if threads.peek(self._cell) == _PENDING:\n            self._check_thread()\n"
                "        if self._watched is None:\n",
                "        if self._watched is None:\n            self._check_thread()\n",
            ),
        ),
    ),
    Mutant(
        "await-in-apply",
        0,
        "a loop that runs in apply() awaits a future which that very thread would have to end",
        OWN,
        (
            Edit(
                FUTURES,
                "            self._check_thread()\n            inner = loop.create_future()\n",
                "            inner = loop.create_future()\n",
            ),
        ),
    ),
    Mutant(
        "wrapped-in-apply",
        0,
        "a loop that runs in apply() waits for a wrapped future, for ever",
        OWN,
        (Edit(FUTURES, "        if module in WAITERS:\n", "        if module == WAIT:\n"),),
    ),
    Mutant(
        "no-loop-gets-it",
        0,
        "a callback may not bring a future to a loop of another thread",
        OWN,
        (
            Edit(
                FUTURES,
                "                return  # it is brought to a loop elsewhere\n",
                "                pass\n",
            ),
        ),
    ),
    Mutant(
        "request-of-a-loop-in-apply",
        0,
        "a loop that runs in apply() asks for what it cannot hear of, and waits for ever",
        OWN,
        (
            Edit(
                AIO, "        if threading.get_ident() in self.node._outcomes.threads:\n", "        if self is None:\n"
            ),
        ),
    ),
    Mutant(
        "element-for-a-loop-in-apply",
        0,
        "a loop that runs in apply() waits for an element of a stream, for ever",
        OWN,
        (Edit(AIO_STREAMS, "            self._of_node.check_wait()\n", "            pass\n"),),
    ),
    Mutant(
        "end-for-a-loop-in-apply",
        0,
        "a loop that runs in apply() waits for the end of the node, for ever",
        OWN,
        (Edit(AIO, "        self.node._check_wait()\n", ""),),
    ),
    Mutant(
        "close-without-end",
        0,
        "close(inf) raises OverflowError, and the node is left half closed",
        "node/test_life_limits.py",
        (Edit(NODE, "        timeout = min(timeout, SECONDS_MAX)\n", ""),),
    ),
    Mutant(
        "close-that-applies-everything",
        0,
        "close() waits for a slow state machine until all that was handed over is applied, and gives up at last",
        "node/test_life_limits.py",
        (
            Edit(
                APPLY,
                "            while not self.given_up and (committed is None",
                "            while (committed is None",
            ),
        ),
    ),
    Mutant(
        "end-of-a-loop-as-an-outcome",
        0,
        "a query that raises StopIteration ends the loop of who takes results, as if there were no more",
        "node/test_node_reads.py",
        (Edit(FUTURES, "            error = no_stop(error)\n", "            pass\n"),),
    ),
    # --- what only begins ----------------------------------------------------------------------------
    Mutant(
        "apply-that-only-begins",
        0,
        "an apply() that is an async def beneath a decorator looks done, and nothing is applied",
        BEGUN,
        (Edit(APPLY, "                if type(result) in UNFINISHED:\n", "                if result is self:\n"),),
    ),
    Mutant(
        "batch-that-only-begins",
        0,
        "the same of results of apply_batch()",
        BEGUN,
        (Edit(BATCHES, "                if type(result) in UNFINISHED:\n", "                if result is self:\n"),),
    ),
    Mutant(
        "snapshot-that-was-not-written",
        0,
        "a state whose write() is an async def becomes an empty snapshot, and the log goes",
        BEGUN,
        (
            Edit(
                SNAPSHOTS, "                if type(written) in UNFINISHED:\n", "                if written is self:\n"
            ),
        ),
    ),
    Mutant(
        "restore-that-only-begins",
        0,
        "a state machine begins without the state of its snapshot",
        BEGUN,
        (Edit(KEEPER, "            if type(restored) in UNFINISHED:\n", "            if restored is self:\n"),),
    ),
    Mutant(
        "calls-that-are-not-looked-at",
        0,
        "an object whose __call__ is an async def is taken for a method",
        BEGUN,
        (Edit(UNFINISHED, "for each in (function, call) for", "for each in (function,) for"),),
    ),
    Mutant(
        "batch-of-a-session-that-raises",
        0,
        "apply_batch() raises for an entry of a session, and the node goes on though nobody knows what was applied",
        "node/test_apply_batch.py",
        (
            Edit(
                APPLY,
                "            if self.batch is not None:\n                result = self.batch.give_one(entry)\n",
                "            if self.batch is not None:\n                try:\n"
                "                    result = self.batch.give_one(entry)\n"
                "                except ApplyError as raised:\n                    result = raised\n",
            ),
        ),
    ),
    # --- proposals with timeouts ---------------------------------------------------------------------
    Mutant(
        "attempt-that-ends-the-node",
        0,
        "what one attempt of a proposal raises ends the node",
        PATIENT,
        (Edit(PATIENCE, "                except Exception as error:\n", "                except Busy as error:\n"),),
    ),
    Mutant(
        "too-large-later",
        0,
        "a proposal that is too large is found out when it is tried, on a thread of the node",
        PATIENT,
        (Edit(PATIENCE, "        data = self.proposer.bytes_of(data)\n", "        data = bytes(data)\n"),),
    ),
    Mutant(
        "several-too-large-later",
        0,
        "the same of several",
        PATIENT,
        (
            Edit(
                PATIENCE,
                "        self.proposer.fix_all(datas)\n",
                "        datas = [bytes(data) for data in datas]\n",
            ),
        ),
    ),
    Mutant(
        "patient-bytes-without-bound",
        0,
        "proposals with timeouts fill the memory while there is no leader",
        PATIENT,
        (Edit(PATIENCE, " or self.size + size > self.proposer.max_patient_bytes", ""),),
    ),
    Mutant(
        "patient-without-bound",
        0,
        "any number of proposals with timeouts may be open",
        PATIENT,
        (Edit(PATIENCE, "self.count + count > self.proposer.max_open or ", ""),),
    ),
    Mutant(
        "patient-that-never-left",
        0,
        "proposals with timeouts that have ended count as open, and at last none is taken",
        PATIENT,
        (Edit(PATIENCE, "        self.count -= count\n        self.size -= size\n", "        pass\n"),),
    ),
    Mutant(
        "session-is-not-counted",
        0,
        "proposals of sessions fill the memory while there is no leader",
        PATIENT,
        (Edit(SESSION, "nanosec, self, 1, size)", "nanosec, self)"),),
    ),
    Mutant(
        "session-without-room-to-open",
        0,
        "a session cannot be opened or closed where proposals wait",
        PATIENT,
        (Edit(PATIENCE, "        if count and self.is_full(count, size):\n", "        if self.is_full(1, size):\n"),),
    ),
    Mutant(
        "waits-of-a-session-that-pile-up",
        0,
        "who waited for the opening of a session stays in its list for ever",
        PATIENT,
        (Edit(SESSION, "        future.add_done_callback(self._waits_no_more)\n", ""),),
    ),
    Mutant(
        "longer-than-measured",
        0,
        "data that grow while they are proposed become an entry that no message may carry",
        PATIENT,
        (Edit(PROPOSER, "        if len(fixed) > self.max_entry_bytes:\n", "        if len(fixed) < 0:\n"),),
    ),
    Mutant(
        "longer-than-measured-in-a-session",
        0,
        "the same of a session",
        PATIENT,
        (Edit(SESSION, "max(size, len(fixed))", "size"),),
    ),
    # --- what nobody waits for -----------------------------------------------------------------------
    Mutant(
        "reads-in-the-place-of-others",
        0,
        "reads that nobody answered in time are counted for ever, and further ones are refused",
        BOUNDS,
        (
            Edit(
                READERS,
                "        while queue and not self.outcomes.is_open(queue[0][1]):\n",
                "        while queue and queue is None:\n",
            ),
        ),
    ),
    Mutant(
        "reads-that-nobody-looks-at",
        0,
        "without a leader nobody looks which reads were given up",
        BOUNDS,
        (Edit(READERS, "            self.added.append((0, 0, None))\n", ""),),
    ),
    Mutant(
        "reads-without-bound",
        0,
        "a member that applies slowly keeps any number of reads",
        BOUNDS,
        (Edit(READERS, "len(self.leased) + len(self.indexed)", "len(self.leased)"),),
    ),
    Mutant(
        "stale-reads-that-stay",
        0,
        "each stale read that has ended for want of a leader takes the place of another read",
        BOUNDS,
        (Edit(READERS, "        elif self.gauges.leader == 0:\n", "        elif self.gauges.leader < 0:\n"),),
    ),
    Mutant(
        "reads-count-as-proposals",
        0,
        "open reads, waits and changes of membership take the room of proposals, which are refused",
        BOUNDS,
        (
            Edit(
                OUTCOMES,
                '        """Those of them that are proposals."""\n        return len(self.pending) + self.batched\n',
                '        """Those of them that are proposals."""\n'
                "        return len(self.pending) + self.batched + len(self.asked)\n",
            ),
        ),
    ),
    Mutant(
        "changes-that-stay-open",
        0,
        "a change of membership that was cancelled counts as an open request for ever",
        BOUNDS,
        (Edit(CHANGER, "        self.outcomes.drop(op.number)\n", ""),),
    ),
    Mutant(
        "changes-that-wait-for-their-turn-to-go",
        0,
        "changes that were cancelled take the places of others until their turn comes",
        BOUNDS,
        (
            Edit(
                CHANGER,
                "        for each in [op for op in list(self.open) if self._is_given_up(op)]:\n",
                "        for each in []:\n",
            ),
        ),
    ),
)
