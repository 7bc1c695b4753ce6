"""Mistakes in reads of whole nodes, in refusals and in deadlines. A part of the list for mutants.py."""

from __future__ import annotations

from tests.tools import mutant_leading
from tests.tools.mutant_kinds import Edit, Mutant

APPLY = "raftx/node/apply.py"
ELECTIONS = "raftx/node/elections.py"
LEADER = "raftx/consensus/leader.py"
PATIENCE = "raftx/node/patience.py"
READERS = "raftx/node/readers.py"
READS = "raftx/node/reads.py"
OUTCOMES = "raftx/node/outcomes.py"

NODES = "simulation/test_nodes.py"
TESTS = "node/test_node_reads.py"
REFUSED = "node/test_apply_errors.py"
PATIENT = "node/test_patience.py"

MUTANTS = (
    Mutant(
        "read-before-it-is-applied",
        0,
        "a read is done when its index is known",
        NODES,
        (
            Edit(
                READERS,
                "        while self.indexed and self.indexed[0][0] <= index:\n",
                "        while self.indexed:\n",
            ),
        ),
    ),
    Mutant(
        "answer-for-later-reads",
        0,
        "an answer serves reads that were asked for after its question",
        TESTS,
        (
            Edit(
                READERS,
                "        while queue and queue[0][0] <= newest:\n",
                "        while queue:\n",
            ),
        ),
    ),
    Mutant(
        "slow-reader-is-forgotten",
        0,
        "a read that comes behind the answer for its own ticket waits for ever",
        TESTS,
        (Edit(READERS, "        ticket: int = next(self.tickets)\n", "        ticket: int = self.waiting[-1][0]\n"),),
    ),
    Mutant(
        "answer-to-another-life",
        0,
        "an answer to an earlier life of a member serves reads of this one",
        TESTS,
        (
            Edit(
                READS,
                "        if records.u64(self.message.body, ENTRY_HEADER + 8) != self.life or number > self.wanted:\n",
                "        if number > self.wanted:\n",
            ),
        ),
    ),
    Mutant(
        "question-lost-for-ever",
        0,
        "a question whose message was lost is not asked again",
        TESTS,
        (
            Edit(
                READS,
                "        return self.core.role != LEADER and self.ticks > 2 * self.core.heartbeat_timeout + 2\n",
                "        return False\n",
            ),
        ),
    ),
    Mutant(
        "question-to-a-leader-of-before",
        0,
        "a question is not asked again when another member leads",
        TESTS,
        (
            Edit(
                READS,
                "        if self.leader != self.core.lead or self.term != self.core.term:\n            return True\n",
                "",
            ),
            Edit(READS, "self.ticks > 2 * self.core.heartbeat_timeout + 2", "self.ticks > 1_000_000"),
        ),
    ),
    Mutant(
        "reads-without-a-quorum",
        0,
        "a leader answers reads without asking whether it still leads",
        TESTS,
        (Edit(LEADER, "    if answers_alone(r):\n        if origin", "    if r.role:\n        if origin"),),
    ),
    Mutant(
        "reads-passed-on-for-ever",
        0,
        "a member that does not lead passes the reads of others on",
        TESTS,
        (Edit(ELECTIONS, "        return core.role == LEADER\n", "        return True\n"),),
    ),
    Mutant(
        "callbacks-at-the-end-of-a-node",
        0,
        "whoever notices that a node has failed runs the callbacks of what was proposed with a timeout",
        PATIENT,
        (
            Edit(
                PATIENCE, "            self.outcomes.wake_one(patient.future)\n", "            patient.future.wake()\n"
            ),
        ),
    ),
    Mutant(
        "unknown-is-proposed-again",
        0,
        "what may be done is proposed once more",
        PATIENT,
        (
            Edit(
                PATIENCE,
                "        again = again or (repeats and isinstance(error, Unknown))\n",
                "        again = again or isinstance(error, Unknown)\n",
            ),
        ),
    ),
    Mutant(
        "deadline-is-left-to-the-attempt",
        0,
        "a proposal with a timeout ends when its attempt does",
        PATIENT,
        (
            Edit(
                PATIENCE,
                "            elif now >= patient.deadline:\n",
                "            elif now >= patient.deadline and not patient.under_way:\n",
            ),
        ),
    ),
    Mutant(
        "refusal-ends-the-node",
        0,
        "a state machine that refuses a command ends its node",
        REFUSED,
        (
            Edit(
                APPLY,
                "                if self.is_for_the_proposer(error):\n",
                "                if self.returns_errors:\n",
            ),
        ),
    ),
    Mutant(
        "lack-of-memory-is-an-outcome",
        0,
        "a member that has no memory for a command goes on with another state than the others",
        REFUSED,
        (
            Edit(
                APPLY,
                "isinstance(error, Exception) and not isinstance(error, MemoryError)\n",
                "isinstance(error, Exception)\n",
            ),
        ),
    ),
    Mutant(
        "refusals-of-a-batch-are-unknown",
        0,
        "what was applied and refused is told as unknown where others of its batch were done",
        REFUSED,
        (
            Edit(
                OUTCOMES,
                "        if not any([isinstance(e, ProposalError) for e in errors]):\n",
                "        if not errors:\n",
            ),
        ),
    ),
    Mutant(
        "reads-that-are-unknown",
        0,
        "a read that nobody answers ends as unknown",
        TESTS,
        (
            Edit(
                OUTCOMES,
                "        elif number // KIND_UNIT in (KIND_READ, KIND_APPLIED):\n",
                "        elif number < 0:\n",
            ),
        ),
    ),
    *mutant_leading.MUTANTS,
)
