"""Mistakes in what a member does about a history that contradicts its own. A part of the list."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

DIVERGENCE = "raftx/node/divergence.py"
ENGINE = "raftx/node/engine.py"

CONTRADICTED = "node/test_divergence.py"

MUTANTS = (
    Mutant(
        "contradictions-answered-for-ever",
        0,
        "a member whose history is another one than its leader's answers each append, and looks healthy",
        CONTRADICTED,
        (
            Edit(
                ENGINE,
                "        if self.message.kind in (MSG_APP, MSG_SNAP) and self.divergence.contradicts(self.message):\n",
                "        if self.message.kind == MSG_HELLO:\n",
            ),
        ),
    ),
    Mutant(
        "one-contradiction-ends-a-node",
        0,
        "a single forged append ends a member",
        CONTRADICTED,
        (Edit(DIVERGENCE, "        elif self.count >= EVIDENCE_MIN and self.since", "        elif self.since"),),
    ),
    Mutant(
        "entries-of-an-append-are-not-compared",
        0,
        "a leader whose log is a part of the member's, and goes on otherwise, contradicts nothing",
        CONTRADICTED,
        (
            Edit(
                DIVERGENCE,
                "        while m.index < self.core.committed and at < m.body_size:\n",
                "        while at < 0:\n",
            ),
        ),
    ),
    Mutant(
        "what-agreed-is-contradicted",
        0,
        "forged appends end a member whose leader's log has agreed with its own",
        CONTRADICTED,
        (Edit(DIVERGENCE, "        if index <= self.vouched:\n            return\n", ""),),
    ),
    Mutant(
        "contradictions-that-stay-when-the-leader-agrees",
        0,
        "what was forged before the leader's first append counts after it",
        CONTRADICTED,
        (Edit(DIVERGENCE, "            if self.index <= self.vouched:\n                self.index = 0\n", ""),),
    ),
    Mutant(
        "contradictions-without-an-end",
        0,
        "three forged appends, an hour apart, end a member",
        CONTRADICTED,
        (
            Edit(
                DIVERGENCE,
                "        if self.silent > EXPIRE_TIMEOUTS",
                "        if self.silent > 1000 * EXPIRE_TIMEOUTS",
            ),
        ),
    ),
    Mutant(
        "all-that-is-committed-is-acknowledged",
        0,
        "a leader is told that a member has all of its log, of which only the beginning was compared",
        CONTRADICTED,
        (
            Edit(
                DIVERGENCE,
                "        if m.index < committed and end < committed and",
                "        if m.index < committed and end < 0 and",
            ),
        ),
    ),
    Mutant(
        "a-lost-end-of-the-log-is-borne",
        0,
        "a member that has lost what it had acknowledged goes on without a leader",
        CONTRADICTED,
        (Edit(ENGINE, "            self.divergence.refused(self.message, reason)\n", ""),),
    ),
    Mutant(
        "a-forged-heartbeat-counts-on",
        0,
        "forged heartbeats end a member, whatever its leader says",
        CONTRADICTED,
        (Edit(ENGINE, "            self.divergence.beat(self.message)\n", "            pass\n"),),
    ),
)
