"""Mistakes about members that have lost their memory. A part of the list for mutants.py."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

ENGINE = "raftx/node/engine.py"
FILE = "raftx/storage/file.py"
LEDGER = "raftx/storage/ledger.py"
MEETINGS = "raftx/node/meetings.py"
MEMORY = "raftx/node/memory.py"
REBUILD = "raftx/storage/rebuild.py"
SENDERS = "raftx/node/senders.py"

STORAGE = "storage/test_lives.py"
NODE = "node/test_meetings.py"
APART = "node/test_founded_apart.py"

MUTANTS = (
    Mutant(
        "said-of-a-former-member",
        0,
        "what was remembered of a member that was removed since is said of the one that has its id now",
        "node/test_added_again.py",
        (Edit(MEETINGS, "        if joined != self.peers.joined[place]:\n", "        if joined != joined:\n"),),
    ),
    Mutant(
        "any-reason-of-a-refusal",
        0,
        "a member can say that this node was stopped before it handed a proposal over",
        "node/test_senders.py",
        (Edit(SENDERS, "reason <= REFUSED_UNCOMMITTED else ODD_ANSWER", "reason else ODD_ANSWER"),),
    ),
    Mutant(
        "unmet-life-counts",
        0,
        "what a life sends counts before it is met: votes and acknowledgements of one that has forgotten, too",
        "node/test_senders.py",
        (
            Edit(
                SENDERS,
                "        return SENDER_UNMET if member else SENDER_PRESENT\n",
                "        return SENDER_PRESENT\n",
            ),
        ),
    ),
    Mutant(
        "newcomer-believed-by-who-is-behind",
        0,
        "a member that does not know what added it is believed on any store, by a member that may be behind",
        NODE,
        (Edit(MEMORY, "        if self.queue.flags(self.row) & MET_STORE != 0 and not ", "        if False and not "),),
    ),
    Mutant(
        "newcomer-believed-by-leaders-alone",
        0,
        "two members that need each other never meet when one has forgotten which entry has added it",
        "node/test_membership_changes.py",
        (
            Edit(
                MEETINGS,
                "            return self.put_meet(m, life, MET_STORE, self.peers.joined[place])\n",
                "            return 0\n",
            ),
        ),
    ),
    Mutant(
        "half-is-enough",
        0,
        "a life takes part that half of the others know: two such halves may have nobody in common",
        NODE,
        (Edit(MEETINGS, "known > others // 2", "known >= others // 2"),),
    ),
    Mutant(
        "every-start-of-a-cluster-alarms",
        0,
        "who starts members one after the other is warned of lost memory each time, and stops to read warnings",
        NODE,
        (Edit(MEETINGS, "            self.untold = 0\n            return False\n", "            pass\n"),),
    ),
    Mutant(
        "another-store-is-believed",
        0,
        "a directory that was founded anew passes for a later life of the one before",
        STORAGE,
        (
            Edit(
                LEDGER,
                "            return 0 if rebuilt and lives > before else OTHER_STORE\n",
                "            return 0 if lives > before else OTHER_STORE\n",
            ),
        ),
    ),
    Mutant(
        "twin-is-believed",
        0,
        "a directory that was set back by a life passes for the present one",
        NODE,
        (Edit(LEDGER, "            return TWIN\n", "            return 0\n"),),
    ),
    Mutant(
        "life-is-said-to-be-known-and-is-not-written",
        0,
        "after a restart nobody knows whom this member had met",
        NODE,
        (
            Edit(
                MEMORY,
                "        self.unwritten = True\n        code = self.ledger.write()\n",
                "        return self.say(0, 0)\n        code = self.ledger.write()\n",
            ),
        ),
    ),
    Mutant(
        "opening-does-not-count",
        0,
        "only the log counts lives: when its end is gone, two lives have the same number",
        STORAGE,
        (Edit(FILE, "            ledger.py_begin(wal.incarnation)\n", ""),),
    ),
    Mutant(
        "early-life-hears",
        0,
        "a life takes part in the algorithm before it is known",
        NODE,
        (
            Edit(
                ENGINE,
                "        if not self.meetings.begun:\n            self.gauges.unmet += 1\n            return 0\n",
                "",
            ),
        ),
    ),
    Mutant(
        "strange-leader-is-not-met",
        0,
        "a newcomer does not introduce itself to a leader that it does not know, which drops its answers for ever",
        "node/test_peers.py",
        (Edit(MEETINGS, "            self.stranger = sender\n", "            pass\n"),),
    ),
    Mutant(
        "unknown-life-does-not-doubt",
        0,
        "a life that too few know votes as it likes, though a leader does without it",
        NODE,
        (Edit(MEETINGS, "            self.core.in_doubt = self.doubted = True\n", "            pass\n"),),
    ),
    Mutant(
        "unknown-life-doubts-for-ever",
        0,
        "two of three members stop when the third has gone while one of them was in doubt for want of answers",
        NODE,
        (
            Edit(
                MEETINGS,
                "            self.core.in_doubt = self.doubted = False\n",
                "            self.unhelped = 0\n",
            ),
        ),
    ),
    Mutant(
        "doubt-of-a-life-is-kept",
        0,
        "a doubt for want of answers outlives its life, as one of the disk: two of three members stop for good",
        NODE,
        (
            Edit(
                ENGINE,
                "            self.driver.write_in_doubt and not self.meetings.doubted,\n",
                "            self.driver.write_in_doubt,\n",
            ),
        ),
    ),
    Mutant(
        "lost-memory-is-forgotten",
        0,
        "a member that was told that it has forgotten starts again as if nothing had happened",
        NODE,
        (Edit(MEMORY, "            self.ledger.lost = life\n", ""),),
    ),
    Mutant(
        "one-slot-is-written",
        0,
        "what a node learns is in one slot alone: a bit of damage, and whom it met last is forgotten",
        NODE,
        (Edit(MEMORY, "            self.single = True\n", "            self.single = False\n"),),
    ),
    Mutant(
        "failed-write-goes-to-the-other-slot",
        0,
        "a write is half done, and made again over the only whole slot",
        STORAGE,
        (
            Edit(
                LEDGER,
                "        self.written = self.number + 1\n",
                "        self.written = self.number = self.number + 1\n",
            ),
        ),
    ),
    Mutant(
        "rebuilt-below-the-lost-life",
        0,
        "a rebuilt member's lives are below the one that others have met, and are refused again",
        STORAGE,
        (
            Edit(
                REBUILD,
                "    return max(opened, lives.count, lives.lost >> COUNT_SHIFT), lives.met\n",
                "    return max(opened, lives.count), lives.met\n",
            ),
        ),
    ),
    Mutant(
        "founded-apart-is-not-seen",
        0,
        "members take part together that were founded with other members than each other, or with another state",
        APART,
        (Edit(MEETINGS, "origin != 0 and self.origin != 0 and origin != self.origin", "origin != origin"),),
    ),
    Mutant(
        "a-group-ends-for-who-is-apart",
        0,
        "a group that has committed something ends because of one that was founded otherwise",
        APART,
        (Edit(MEETINGS, "        if self.core.committed <= self.origin_index:\n", "        if m.sender != 0:\n"),),
    ),
)
