"""Mistakes that show where members see only some of the others. A part of the list for mutants.py."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

RAFT = "raftx/consensus/raft.py"
LEASES = "raftx/node/leases.py"
UNLED = "raftx/node/unled.py"

PARTIAL = "simulation/test_partial.py"
LOOKS = "node/test_unled.py"

MUTANTS = (
    Mutant(
        "campaigns-without-asking",
        0,
        "who hears no leader raises its term with each timeout, and deposes the leader when it returns",
        PARTIAL,
        (
            Edit(
                RAFT,
                "                if self.pre_vote:\n"
                "                    return candidate.start_campaign(self, candidate.CAMPAIGN_PRE_ELECTION)\n",
                "",
            ),
        ),
    ),
    Mutant(
        "leads-whoever-answers",
        0,
        "a leader that no majority answers goes on, and keeps who hears it from electing another one",
        PARTIAL,
        (
            Edit(
                RAFT,
                "            if self.check_quorum:\n                self.step_local(MSG_CHECK_QUORUM)\n",
                "",
            ),
        ),
    ),
    Mutant(
        "followers-help-candidates",
        0,
        "who hears its leader helps a member that does not to depose it",
        PARTIAL,
        (
            Edit(
                RAFT,
                "self.check_quorum and self.lead != 0 and self.election_elapsed < self.election_timeout:\n",
                "self.term < 0:\n",
            ),
            Edit(LEASES, "        return not self.is_bound()\n", "        return True\n"),
        ),
    ),
    Mutant(
        "led-by-who-is-gone",
        0,
        "a member that does not campaign takes its last leader for one that is there",
        LOOKS,
        (
            Edit(
                "raftx/consensus/state.py",
                "self.role == LEADER or (self.lead != 0 and self.election_elapsed < self.election_timeout)\n",
                "self.role == LEADER or self.lead != 0\n",
            ),
        ),
    ),
    Mutant(
        "nobody-says-who-leads",
        0,
        "a member that its leader does not reach cannot know that there is one",
        PARTIAL,
        (Edit(UNLED, "            self.tell(m)\n            return True\n", "            return True\n"),),
    ),
    Mutant(
        "followers-complain",
        0,
        "a member says that it knows no leader when it follows one again",
        PARTIAL,
        (Edit(UNLED, "            self.without = self.gauges.unled_ms = 0\n", "            self.without = 0\n"),),
    ),
    Mutant(
        "learners-count-themselves",
        0,
        "a member that has no vote says that one answer fewer is needed to elect a leader",
        LOOKS,
        (Edit(UNLED, "voters // 2 + 1 - mine\n", "voters // 2\n"),),
    ),
)
