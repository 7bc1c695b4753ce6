"""Mistakes of whole nodes: between engine, log, apply thread and users. A part of the list for mutants.py.

Schedules of whole nodes (raftx/testing/nodes) are to find them.
"""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

ENGINE = "raftx/node/engine.py"
APPLY = "raftx/node/apply.py"
OUTCOMES = "raftx/node/outcomes.py"
LEADERSHIP = "raftx/node/leadership.py"
SENDERS = "raftx/node/senders.py"
DRIVER = "raftx/consensus/driver.py"
STATE = "raftx/consensus/state.py"
WAL = "raftx/storage/wal_writer.py"
FILE = "raftx/storage/file.py"

NODES = "simulation/test_nodes.py"

MUTANTS = (
    Mutant(
        "held-for-the-write-before",
        0,
        "messages leave when the write before theirs is durable",
        NODES,
        (Edit(DRIVER, "        write = self.number + 1\n", "        write = self.number\n"),),
    ),
    Mutant(
        "commit-index-rides-ahead",
        0,
        "the disk is told that everything in the log is committed",
        NODES,
        (
            Edit(
                DRIVER,
                "        self.write_commit = self.raft.committed\n",
                "        self.write_commit = self.raft.log.last\n",
            ),
        ),
    ),
    Mutant(
        "last-entry-of-a-batch-again",
        0,
        "the last entry of a batch is handed to the state machine with the next one once more",
        NODES,
        (
            Edit(
                DRIVER,
                "        self.raft.applying = high\n",
                "        self.raft.applying = max(high - 1, self.raft.applying)\n",
            ),
        ),
    ),
    Mutant(
        "outcome-lost-at-a-stop",
        0,
        "what is open when a node stops never ends",
        NODES,
        (
            Edit(
                OUTCOMES,
                "            self.give_up(number, item, reason_of(cause), cause)\n        for sequence",
                "            del number, item\n        for sequence",
            ),
        ),
    ),
    Mutant(
        "overdue-is-not-done",
        0,
        "what has no outcome in time is reported as not done, and may be applied",
        NODES,
        (
            Edit(
                OUTCOMES,
                "            self.fail_future(item, unknown(reason, cause))\n",
                "            self.fail_future(item, NotDone(reason))\n",
            ),
        ),
    ),
    Mutant(
        "replaced-within-its-term",
        0,
        "what was handed over in a term is reported as not done when the log comes to that term",
        NODES,
        (
            Edit(
                OUTCOMES,
                "        for earlier in [t for t in self.last_sequence_by_term if t < term]:\n",
                "        for earlier in [t for t in self.last_sequence_by_term if t <= term]:\n",
            ),
        ),
    ),
    Mutant(
        "batch-ends-too-early",
        0,
        "a batch ends when one of its proposals is still open",
        NODES,
        (Edit(OUTCOMES, "        if missing:\n", "        if missing > 1:\n"),),
    ),
    Mutant(
        "earlier-life-in-the-log",
        0,
        "an entry that an earlier life of this member proposed ends a request of this one",
        NODES,
        (
            Edit(
                APPLY,
                "            if c.origin & NUMBER_MAX == self.id and c.incarnation == self.incarnation:\n",
                "            if c.origin & NUMBER_MAX == self.id:\n",
            ),
        ),
    ),
    Mutant(
        "repeated-proposals-are-appended",
        0,
        "a frame that the network repeats appends its proposals again",
        NODES,
        (
            Edit(
                SENDERS,
                "            if self.forwarded[at] == sequence:\n                return False\n",
                "            if self.forwarded[at] == sequence:\n                return True\n",
            ),
        ),
    ),
    Mutant(
        "passed-on-in-another-term",
        0,
        "a leader appends proposals that were passed on in an earlier term",
        "node/test_stepped.py",
        (
            Edit(
                ENGINE,
                "        if self.core.role == LEADER and self.message.log_term == self.core.term:\n",
                "        if self.core.role == LEADER:\n",
            ),
        ),
    ),
    Mutant(
        "refusals-of-an-earlier-life",
        0,
        "a leader's refusal of what an earlier life proposed ends a request of this one",
        "node/test_stepped.py",
        (
            Edit(
                ENGINE,
                "        if self.message.log_term != self.codec.incarnation:\n",
                "        if self.message.log_term > self.codec.incarnation:\n",
            ),
        ),
    ),
    Mutant(
        "refused-by-who-was-restarted",
        0,
        "a leader that was restarted refuses what its earlier life has appended, and it is reported as not done",
        "node/test_stepped.py",
        (
            Edit(
                ENGINE,
                "            if not self.core.is_of_this_life(self.message.log_term):\n",
                "            if False:\n",
            ),
        ),
    ),
    Mutant(
        "refused-after-a-doubt",
        0,
        "a member that has lost what it appended, and its term with it, refuses it",
        "node/test_stepped.py",
        (
            Edit(
                STATE,
                "        return not self.in_doubt and term > self.lived_term\n",
                "        return term > self.lived_term\n",
            ),
        ),
    ),
    Mutant(
        "refused-and-still-open",
        0,
        "a refused proposal stays open, and ends once more",
        NODES,
        (
            Edit(
                OUTCOMES,
                "self.finish_other(each, self.take(each), error(reason))",
                "self.finish_other(each, self.pending.get(each) or self.take(each), error(reason))",
            ),
        ),
    ),
    Mutant(
        "done-whoever-leads",
        0,
        "a campaign or a transfer is reported as done when any member leads",
        NODES,
        (Edit(LEADERSHIP, "            if change.leader == to:\n", "            if change.leader:\n"),),
    ),
    Mutant(
        "asked-and-so-done",
        0,
        "a campaign or a transfer is reported as done when the core was asked",
        NODES,
        (
            Edit(
                LEADERSHIP,
                "            self.waiting[request] = (to, term)\n            self.seen(now)\n",
                "            self.outcomes.settle(request, now)\n",
            ),
        ),
    ),
    Mutant(
        "overdue-at-once",
        0,
        "a request that is no proposal is overdue at the next look",
        NODES,
        (Edit(OUTCOMES, "self.timed.append((now + self.timeout_ns, ", "self.timed.append((now, "),),
    ),
    Mutant(
        "result-in-a-batch-lost",
        0,
        "what the state machine returned does not reach the future of a batch",
        NODES,
        (
            Edit(
                OUTCOMES,
                "            self.settle_batch(item, sequence, Done(index, term, result, self))\n",
                "            self.settle_batch(item, sequence, Done(index, term, None, self))\n",
            ),
        ),
    ),
    Mutant(
        "leader-not-told",
        0,
        "the stream of state changes does not tell that a leader was found or lost within a term and a role",
        NODES,
        (Edit(ENGINE, "            and self.core.lead == self.shown_lead\n", ""),),
    ),
    Mutant(
        "given-back-though-handed-over",
        0,
        "a node that stops gives back the last proposal that was handed over, too",
        "node/test_stepped.py",
        (
            Edit(
                ENGINE,
                "            self.refuse_own(self.proposals.taken_sequence, count, REFUSED_STOPPED)\n",
                "            self.refuse_own(self.proposals.taken_sequence - 1, count + 1, REFUSED_STOPPED)\n",
            ),
        ),
    ),
    Mutant(
        "doubt-ends-with-the-life",
        0,
        "a member that is in doubt and is started again does not know it any more",
        NODES,
        (
            Edit(WAL, "            BATCH_IN_DOUBT if self.queue.in_doubt(row) else 0,\n", "            0,\n"),
            Edit(FILE, "            flags = BATCH_IN_DOUBT if self.doubt else 0\n", "            flags = 0\n"),
        ),
    ),
    Mutant(
        "lost-where-the-stream-is-full",
        0,
        "entries are given to the state machine while the stream has no room for them, which never tells them",
        NODES,
        (
            Edit(
                APPLY,
                "            while not self.given_up and (committed is None or committed.has_room(self.gathered)):\n",
                "            while True:\n",
            ),
        ),
    ),
    Mutant(
        "nodes-on-any-python",
        0,
        "a node is made on a Python that changes threads where what is interpreted does not expect it",
        "node/test_contracts.py",
        (
            Edit(
                "raftx/node/contracts.py",
                '    if sys.implementation.name != "cpython" or not hasattr(os, "eventfd"):\n',
                '    if not hasattr(os, "eventfd"):\n',
            ),
        ),
    ),
)
