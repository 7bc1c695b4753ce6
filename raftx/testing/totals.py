"""What happened in simulated schedules, counted: so that a run shows what it reached and cannot go blind."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass
class Totals:
    """Sums over schedules; ``longest_recovery`` is the largest, in ticks."""

    schedules: int = 0
    steps: int = 0
    elections: int = 0
    crashes: int = 0
    crashes_with_lost_writes: int = 0
    crashes_within_a_ready: int = 0
    restarts_from_snapshot: int = 0
    restarts_of_kept_state: int = 0
    truncations: int = 0
    acknowledged: int = 0
    proposals_refused: int = 0
    messages_lost: int = 0
    messages_repeated: int = 0
    configurations_applied: int = 0
    joint_entered: int = 0
    joint_left: int = 0
    joint_left_by_themselves: int = 0
    changes_refused: int = 0
    changes_that_did_not_fit: int = 0
    changes_overtaken: int = 0
    voters_added: int = 0
    voters_removed: int = 0
    voters_demoted: int = 0
    learners_added: int = 0
    learners_promoted: int = 0
    leaders_removed: int = 0
    members_that_came_back: int = 0
    new_ids: int = 0
    snapshots_taken: int = 0
    snapshots_sent: int = 0
    snapshots_lost: int = 0
    snapshots_restored: int = 0
    snapshots_requested: int = 0
    snapshot_reports: int = 0
    compactions: int = 0
    reads_asked: int = 0
    reads_asked_before_a_commit: int = 0
    reads_served_by_leader: int = 0
    reads_served_by_follower: int = 0
    reads_served_by_learner: int = 0
    repeated_contexts_served: int = 0
    reads_by_lease: int = 0
    transfers_asked: int = 0
    transfers_completed: int = 0
    leaders_forgotten: int = 0
    leaders_stepped_down: int = 0
    full_windows: int = 0
    split_applies: int = 0
    rescues: int = 0
    longest_recovery: int = 0

    def add(self, other: Totals) -> None:
        """Sum up."""
        longest = max(self.longest_recovery, other.longest_recovery)
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
        self.longest_recovery = longest

    def __str__(self) -> str:
        return ", ".join([f"{getattr(self, f.name):,} {f.name.replace('_', ' ')}" for f in fields(self)])
