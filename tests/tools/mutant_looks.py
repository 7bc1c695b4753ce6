"""Mistakes in what members tell one another of themselves, and in who may change them. Part of mutants.py's list."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

LOOKS = "raftx/node/looks.py"
LOOKOUT = "raftx/node/lookout.py"
STATUS = "raftx/node/status.py"
TIMELINE = "raftx/node/timeline.py"
GUARD = "raftx/admin/guard.py"
STAMPS = "raftx/node/stamps.py"

ASKED = "node/test_cluster_status.py"
GUARDED = "admin/test_admin_guard.py"

MUTANTS = (
    Mutant(
        "looks-without-pause",
        0,
        "a member answers another one as often as that one asks",
        ASKED,
        (Edit(LOOKS, "self.ticks - self.asked[place] < self.pause", "self.ticks - self.asked[place] < 0"),),
    ),
    Mutant(
        "looks-of-strangers",
        0,
        "who is no member is told how a node is",
        ASKED,
        (
            Edit(
                LOOKS,
                "        if self.core.tracker.peers.slot_of(m.sender) < 0:\n            return 0\n        if m.kind",
                "        if m.kind",
            ),
        ),
    ),
    Mutant(
        "look-of-an-earlier-life",
        0,
        "an answer to a question of an earlier life counts",
        ASKED,
        (Edit(LOOKS, "        if m.log_term != self.life or m.count != 1:\n", "        if m.count != 1:\n"),),
    ),
    Mutant(
        "look-at-another",
        0,
        "a member's answer may be about another one",
        ASKED,
        (Edit(LOOKOUT, "            if status.id != member:\n", "            if status.id == -member:\n"),),
    ),
    Mutant(
        "look-to-any-question",
        0,
        "an answer to another question counts",
        ASKED,
        (Edit(LOOKOUT, "        if open is None or open[0] != number:\n", "        if open is None:\n"),),
    ),
    Mutant(
        "look-is-not-asked-again",
        0,
        "a question that was lost is not asked again",
        ASKED,
        (Edit(LOOKOUT, "(open is not None and now - open[1] < AGAIN_NS)", "open is not None"),),
    ),
    Mutant(
        "long-answers",
        0,
        "an answer is as long as it likes",
        ASKED,
        (Edit(LOOKOUT, "            if len(data) <= self.most:\n", "            if len(data) <= ANSWER_BYTES:\n"),),
    ),
    Mutant(
        "followers-are-lost",
        0,
        "two followers count as cut off between their greetings",
        "node/test_status.py",
        (Edit(STATUS, "HEARD_OTHERS = 11.0", "HEARD_OTHERS = 3.0"),),
    ),
    Mutant(
        "stages-in-one-bucket-too-low",
        0,
        "what takes just as long as a bucket's bound is in that bucket",
        ASKED,
        (
            Edit(
                STAMPS,
                "        rest = (nanoseconds // 1000) >> LEAST_BITS\n",
                "        rest = (nanoseconds // 1001) >> LEAST_BITS\n",
            ),
        ),
    ),
    Mutant(
        "events-from-the-oldest",
        0,
        "a time line that is full keeps what it has, and takes no more",
        "node/test_timeline.py",
        (Edit(TIMELINE, "        self._kept.append(\n", "        len(self._kept) < KEPT and self._kept.append(\n"),),
    ),
    Mutant(
        "any-host",
        0,
        "a page of a stranger may ask, by a name of its own",
        GUARDED,
        (
            Edit(
                GUARD,
                'if not (is_address(host) or host == "localhost" or host in self.hosts):',
                'if not (is_address(host) or host == "localhost" or self.token is None or host in self.hosts or host):',
            ),
        ),
    ),
    Mutant(
        "prefix-of-a-token",
        0,
        "the beginning of the token is enough",
        GUARDED,
        (
            Edit(
                GUARD,
                'hmac.compare_digest(given.strip().encode("utf-8", "replace"), expected)',
                'expected.startswith(given.strip().encode("utf-8", "replace"))',
            ),
        ),
    ),
    Mutant(
        "backup-without-token",
        0,
        "a backup, which has the state, needs no token",
        GUARDED,
        (Edit(GUARD, ' and path != "/backup"', ""),),
    ),
)
