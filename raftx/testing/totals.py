"""What happened in simulated schedules, counted: so that a run shows what it reached and cannot go blind."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..types import ConfState


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
    strangers_refused: int = 0
    damages: int = 0
    doubts_ended: int = 0
    rescues: int = 0
    longest_recovery: int = 0

    def configured(self, before: ConfState, conf: ConfState, fits: bool, empty: bool, insiders: set[int]) -> set[int]:
        """Count a configuration that is applied for the first time. Returns the members that join.

        ``insiders`` have been members before.
        """
        self.configurations_applied += 1
        self.changes_that_did_not_fit += not fits
        self.joint_entered += bool(conf.voters_outgoing and not before.voters_outgoing)
        if before.voters_outgoing and not conf.voters_outgoing:
            self.joint_left += 1
            self.joint_left_by_themselves += before.auto_leave and empty
        voters, learners = {*before.voters, *before.voters_outgoing}, set(before.learners)
        known = voters | learners
        now = {*conf.voters, *conf.voters_outgoing}
        self.learners_promoted += len(learners & now)
        self.voters_demoted += len(voters & {*conf.learners})
        self.voters_added += len(now - known)
        self.learners_added += len({*conf.learners} - known)
        self.voters_removed += len(voters - now - {*conf.learners})
        joined = (now | {*conf.learners}) - known
        self.members_that_came_back += len(joined & insiders)
        self.new_ids += len(joined - insiders)
        return joined

    def add(self, other: Totals) -> None:
        """Sum up."""
        longest = max(self.longest_recovery, other.longest_recovery)
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
        self.longest_recovery = longest

    def __str__(self) -> str:
        return ", ".join([f"{getattr(self, f.name):,} {f.name.replace('_', ' ')}" for f in fields(self)])
