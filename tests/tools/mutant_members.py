"""Mistakes in changes of membership of whole nodes. A part of the list for mutants.py."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

OPENING = "raftx/node/opening.py"
CHANGER = "raftx/node/changer.py"
CHANGES = "raftx/node/changes.py"
ENGINE = "raftx/node/engine.py"
FILE = "raftx/storage/file.py"
LEDGER = "raftx/storage/ledger.py"
MEETINGS = "raftx/node/meetings.py"
MEMBERS = "raftx/node/members.py"
PEERS = "raftx/node/peers.py"
STATE = "raftx/consensus/state.py"

TESTS = "node/test_membership_changes.py"
CONTRACTS = "node/test_contracts.py"
HISTORY = "node/test_member_history.py"
REBUILT = "node/test_rebuilt_under_a_newcomer.py"
OVER_SOCKETS = "node/test_members_over_sockets.py"

MUTANTS = (
    Mutant(
        "two-at-one-address",
        0,
        "a member gets the address of another one",
        "node/test_overtaken_changes.py",
        (Edit(CHANGER, "            if other != id:\n", "            if other == 0:\n"),),
    ),
    Mutant(
        "any-address",
        0,
        "a leader takes a change with an address that its transport cannot dial, because another member asked for it",
        CONTRACTS,
        (
            Edit(
                CHANGES,
                "        elif commands.number(row, 4) != 0:\n",
                "        elif commands.number(row, 4) < 2:\n",
            ),
        ),
    ),
    Mutant(
        "membership-of-a-gap",
        0,
        "the log is forgotten up to an entry whose membership is not known any more, with an older one",
        HISTORY,
        (
            Edit(
                MEMBERS,
                "        if there.index not in self.gaps or there.index == index:\n",
                "        if there.index >= 0:\n",
            ),
        ),
    ),
    Mutant(
        "late-change",
        0,
        "a change is taken from who has not applied the changes before it: a late copy is made once more",
        TESTS,
        (
            Edit(
                CHANGES,
                "        if m.index < max(self.index, self.core.conf_index):\n",
                "        if m.index + self.index == 0:\n",
            ),
        ),
    ),
    Mutant(
        "voter-that-is-behind",
        0,
        "a learner becomes a voter although it has not caught up, or never started",
        TESTS,
        (
            Edit(
                CHANGES,
                "                if (voters >> slot) & 1 == 0 and not self.has_caught_up(slot):\n",
                "                if (voters >> slot) & 1 == 0 and slot > 99:\n",
            ),
        ),
    ),
    Mutant(
        "no-majority-after",
        0,
        "a change is made that leaves no majority of living voters",
        TESTS,
        (Edit(CHANGES, "        return 2 * there > total\n", "        return there > 0\n"),),
    ),
    Mutant(
        "goal-as-seen-here",
        0,
        "a goal counts as reached, or as impossible, by what a member that is behind sees",
        TESTS,
        (
            Edit(
                CHANGER,
                "            if not self._is_fresh(op, present, now):\n",
                "            if now < 0 and not self._is_fresh(op, present, now):\n",
            ),
        ),
    ),
    Mutant(
        "removal-undone",
        0,
        "an addition that waits for its learner adds it again when it was removed meanwhile",
        "node/test_overtaken_changes.py",
        (Edit(CHANGER, "        elif op.lost:\n", "        elif op.lost == op.goal.text:\n"),),
    ),
    Mutant(
        "founders-are-not-said",
        0,
        "nobody says who the first members are: one that joins with an empty log does not know them",
        TESTS,
        (Edit(CHANGER, "        if not present.founded:\n", "        if not present.ids():\n"),),
    ),
    Mutant(
        "commit-of-a-change-is-not-written",
        0,
        "that a change is committed is not written: a group that shrank needs the vote of who is gone",
        TESTS,
        (
            Edit(
                CHANGES,
                "            self.driver.wanted_commit = self.unsure = self.arriving.index\n",
                "            self.unsure = self.arriving.index\n",
            ),
        ),
    ),
    Mutant(
        "removed-is-not-told",
        0,
        "who was down when it was removed is not told",
        TESTS,
        (
            Edit(
                MEETINGS,
                "        if m.context != 0 and m.context - 1 <= self.core.applied:\n",
                "        if m.context > 2**62:\n",
            ),
        ),
    ),
    Mutant(
        "told-by-who-is-behind",
        0,
        "a member is told that it was removed by one that has not applied its addition",
        "node/test_peers.py",
        (Edit(MEETINGS, "m.context != 0 and m.context - 1 <= self.core.applied:\n", "m.context != 0:\n"),),
    ),
    Mutant(
        "old-directory-comes-back",
        0,
        "the directory of a member that was removed is taken for that of the one that has its id now",
        TESTS,
        (
            Edit(
                LEDGER,
                "            return REMOVED if self.stores0[row] == word0 and self.stores1[row] == word1 else 0\n",
                "            return 0\n",
            ),
            Edit(
                MEETINGS,
                "            return self.answer(m.sender, life, REMOVED_LIFE, REMOVED) if m.context <= "
                "self.peers.joined[place] else 0\n",
                "            pass\n",
            ),
        ),
    ),
    Mutant(
        "earlier-life-of-an-id",
        0,
        "a member that was founded anew is judged by the life of the one that had its id before",
        TESTS,
        (Edit(PEERS, "        self.joined[place] = joined\n        self.senders.forget(place)\n", ""),),
    ),
    Mutant(
        "snapshot-without-this-member",
        0,
        "a member that joins takes no snapshot from before its addition",
        TESTS,
        (
            Edit(
                STATE,
                "        if self.arriving.slot_of(self.id) < 0 and (self.self_slot >= 0 or not self.joins):\n",
                "        if self.arriving.slot_of(self.id) < 0:\n",
            ),
        ),
    ),
    Mutant(
        "addresses-are-forgotten",
        0,
        "a log that is compacted without a snapshot forgets the addresses of members",
        OVER_SOCKETS,
        (
            Edit(
                FILE,
                "        if kept is not None and kept.index >= base:\n",
                "        if kept is not None and base < 0:\n",
            ),
        ),
    ),
    Mutant(
        "addresses-are-not-followed",
        0,
        "a member that moves is dialled at its old address",
        OVER_SOCKETS,
        (
            Edit(
                MEMBERS,
                "            if id != self.id and self.known.get(id) != url and self._add(id, url):\n",
                "            if id != self.id and id not in self.known and self._add(id, url):\n",
            ),
        ),
    ),
    Mutant(
        "snapshots-are-taken-for-the-founding",
        0,
        "an old address that a transport is told comes before one that a change has set, behind a snapshot",
        OVER_SOCKETS,
        (Edit(OPENING, "            return self.loaded.founded\n", "            return self.first.addresses\n"),),
    ),
    Mutant(
        "who-leads-stays-unknown",
        0,
        "a rebuilt member is never told where a leader is that was added after the founding",
        REBUILT,
        (Edit(ENGINE, "                self.meetings.unanswered(slot)\n", "                pass\n"),),
    ),
    Mutant(
        "told-members-for-founders",
        0,
        "a rebuilt member believes that all whom it was told founded the cluster, and listens to nobody who came later",
        REBUILT,
        (Edit(OPENING, "if loaded.rebuilt and self.applied == 0:\n", "if loaded.rebuilt and self.applied < 0:\n"),),
    ),
)
