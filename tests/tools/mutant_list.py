"""Mistakes that Raft implementations have made, as small changes of raftx's source: the list for mutants.py.

Each is one that a test or a schedule has to see. Numbers are those of HISTORY.md; 0: it stands for no known mistake.
"""

from __future__ import annotations

from tests.tools import (
    mutant_aio,
    mutant_apply,
    mutant_commands,
    mutant_crashes,
    mutant_crew,
    mutant_divergence,
    mutant_histories,
    mutant_kv,
    mutant_life,
    mutant_lives,
    mutant_looks,
    mutant_members,
    mutant_moves,
    mutant_nodes,
    mutant_partial,
    mutant_reads,
    mutant_recipes,
    mutant_room,
    mutant_safe,
    mutant_sessions,
    mutant_snapshots,
    mutant_storage,
    mutant_tcp,
    mutant_waits,
    mutant_wire,
)
from tests.tools.mutant_kinds import DoesNotApply, Edit, Mutant, mutated

__all__ = ["MUTANTS", "DoesNotApply", "Edit", "Mutant", "mutated"]

STATE = "raftx/consensus/state.py"
RAFT = "raftx/consensus/raft.py"
LEADER = "raftx/consensus/leader.py"
FOLLOWER = "raftx/consensus/follower.py"
CANDIDATE = "raftx/consensus/candidate.py"
TRACKER = "raftx/consensus/tracker.py"
QUORUM = "raftx/consensus/quorum.py"
READS = "raftx/consensus/reads.py"
RELEASE = "raftx/consensus/release.py"
FLOW = "raftx/_twins/flow.py"
ADMISSION = "raftx/consensus/admission.py"
DOUBT = "raftx/consensus/doubt.py"
WAL = "raftx/storage/wal_writer.py"
RECOVERY = "raftx/storage/recovery.py"
FILE = "raftx/storage/file.py"
CONTACT = "raftx/node/contact.py"

MUTANTS = (
    # --- what honest members can have sent -----------------------------------------------------------
    Mutant(
        "no-term-passes-for-local",
        0,
        "a message without a term from the network is taken for one of the member's own",
        "consensus/test_admission.py",
        (
            Edit(
                ADMISSION,
                "        return ADMITTED if m.kind == MSG_PRE_VOTE_RESP and m.flags & FLAG_REJECT != 0 else TERM\n",
                "        return ADMITTED\n",
            ),
        ),
    ),
    Mutant(
        "any-term-is-followed",
        0,
        "one message raises the term as far as the wire can carry",
        "consensus/test_admission.py",
        (Edit(ADMISSION, "        return TERM\n    if answers_us(m):\n", "        pass\n    if answers_us(m):\n"),),
    ),
    Mutant(
        "honest-heartbeats-are-refused",
        0,
        "a heartbeat that commits all that we acknowledged is refused: a rule that is too strict",
        "consensus/test_admission.py",
        (Edit(ADMISSION, "m.commit > r.log.last and", "m.commit >= r.log.last and m.commit and"),),
    ),
    Mutant(
        "later-terms-are-not-told",
        0,
        "a leader of before does not let itself be told of a later term: a rule that is too strict",
        "consensus/test_admission.py",
        (
            Edit(
                ADMISSION,
                "        return m.index != 0 or m.flags != 0 or m.hint != 0\n",
                "        return True\n",
            ),
        ),
    ),
    # --- in doubt ------------------------------------------------------------------------------------
    Mutant(
        "doubt-ignored",
        0,
        "a member whose disk lost what was durable goes on as if it had not",
        "consensus/test_doubt.py",
        (Edit(STATE, "        self.in_doubt = bool(hard_state.in_doubt)\n", "        self.in_doubt = False\n"),),
    ),
    Mutant(
        "doubt-votes",
        0,
        "a member in doubt votes",
        "consensus/test_doubt.py",
        (Edit(RAFT, "        if not self.in_doubt and self.can_vote(m)", "        if self.can_vote(m)"),),
    ),
    Mutant(
        "doubt-acknowledges",
        0,
        "a member in doubt acknowledges entries to a leader that nobody has confirmed",
        "consensus/test_doubt.py",
        (
            Edit(
                FOLLOWER,
                "    if r.in_doubt and r.doubt_term != r.term:\n        return 0\n    if m.index < r.committed:\n",
                "    if m.index < r.committed:\n",
            ),
        ),
    ),
    Mutant(
        "doubt-believes-heartbeats",
        0,
        "a member in doubt commits what its leader believes it to have",
        "consensus/test_doubt.py",
        (
            Edit(
                FOLLOWER,
                "    r.commit_to(min(m.commit, r.doubt_match))\n",
                "    r.commit_to(min(m.commit, r.log.last))\n",
            ),
        ),
    ),
    Mutant(
        "doubt-confirmed-by-nobody",
        0,
        "a leader answers a member in doubt without having been confirmed",
        "consensus/test_doubt.py",
        (
            Edit(
                DOUBT,
                "        return count >= _core.popcount(voters) // 2 + 1 or count == others != 0\n",
                "        return True\n",
            ),
        ),
    ),
    Mutant(
        "doubt-ends-early",
        0,
        "the doubt ends before the member has what its leader had",
        "consensus/test_doubt.py",
        (Edit(FOLLOWER, "        r.doubt_floor = m.index\n", "        r.doubt_floor = 0\n"),),
    ),
    # --- what is durable, and when ------------------------------------------------------------------
    Mutant(
        "vote-before-durable",
        4,
        "a vote leaves before it is on disk, and is given again after a power cut",
        "conformance/history/test_history_storage.py",
        (
            Edit(
                STATE,
                "        if kind in (MSG_APP_RESP, MSG_VOTE_RESP, MSG_PRE_VOTE_RESP):\n",
                "        if kind in (MSG_APP_RESP, MSG_PRE_VOTE_RESP) or to == self.id:\n",
            ),
            Edit(
                RELEASE,
                "    return kind in (MSG_APP_RESP, MSG_VOTE_RESP, MSG_PRE_VOTE_RESP, MSG_VOTE)\n",
                "    return kind in (MSG_APP_RESP, MSG_PRE_VOTE_RESP, MSG_VOTE)\n",
            ),
        ),
    ),
    Mutant(
        "vote-request-before-durable",
        64,
        "the request for votes leaves before term and vote are on disk",
        "consensus/test_release_rule.py",
        (
            Edit(
                RELEASE,
                "    return kind in (MSG_APP_RESP, MSG_VOTE_RESP, MSG_PRE_VOTE_RESP, MSG_VOTE)\n",
                "    return kind in (MSG_APP_RESP, MSG_VOTE_RESP, MSG_PRE_VOTE_RESP)\n",
            ),
        ),
    ),
    Mutant(
        "own-disk-not-waited-for",
        5,
        "a leader counts its own entries before its disk has them",
        "conformance/history/test_history_storage.py",
        (
            Edit(
                STATE,
                "        return self.send(MSG_APP_RESP, self.id, self.term, self.log.last, 0, 0, 0, 0, 0)\n",
                "        if self.self_slot >= 0 and self.tracker.maybe_update(self.self_slot, self.log.last):\n"
                "            self.maybe_commit()\n"
                "        return self.send(MSG_APP_RESP, self.id, self.term, self.log.last, 0, 0, 0, 0, 0)\n",
            ),
        ),
    ),
    Mutant(
        "append-aba",
        1,
        "the answer to the write of an entry counts for another one that has replaced it",
        "conformance/history/test_history_storage.py",
        (
            Edit(
                STATE,
                "        if index > self.stable and index > self.rewrite and self.log.match(index, term):\n",
                "        if index > self.stable and self.rewrite < index <= self.log.last:\n",
            ),
        ),
    ),
    Mutant(
        "mark-before-durable",
        0,
        "the mark names a batch that is not durable yet, and after a power cut the log looks damaged",
        "conformance/history/test_history_storage.py",
        (
            Edit(
                WAL,
                "            code = self.file.datasync()\n"
                "            if code == 0:\n"
                "                self.write_offset += self.batch.size\n",
                "            if code == 0:\n                self.write_offset += self.batch.size\n",
            ),
            Edit(
                WAL,
                "            code = self.put_mark(self.batch_number % MARK_SLOTS)\n",
                "            code = self.put_mark(self.batch_number % MARK_SLOTS) or self.file.datasync()\n",
            ),
        ),
    ),
    Mutant(
        "doubt-forgotten",
        0,
        "a member that was in doubt is sure again after a restart",
        "storage/test_wal_doubt.py",
        (
            Edit(
                FILE,
                "        if not doubt and recovery.reader.in_doubt:\n",
                "        if not doubt and recovery.reader.in_doubt and self.repaired:\n",
            ),
        ),
    ),
    # --- the log --------------------------------------------------------------------------------------
    Mutant(
        "majority-minus-one",
        0,
        "half of the voters commit",
        "consensus/test_quorum.py",
        (
            Edit(
                QUORUM,
                "    need = _core.popcount(voters) // 2 + 1\n    best = 0\n",
                "    need = _core.popcount(voters) // 2\n    best = 0\n",
            ),
        ),
    ),
    Mutant(
        "old-term-by-count",
        18,
        "an entry of an earlier term is committed because a majority has it",
        "conformance/history/test_history_log.py",
        (
            Edit(
                STATE,
                "        if index > self.committed and self.term != 0 and self.log.match(index, self.term):\n",
                "        if index > self.committed and self.term != 0 and index <= self.log.last:\n",
            ),
        ),
    ),
    Mutant(
        "stale-acknowledgement",
        19,
        "an acknowledgement of an earlier term is counted",
        "conformance/history/test_history_log.py",
        (
            Edit(
                RAFT,
                "        elif m.term != 0 and m.term < self.term:\n",
                "        elif m.term != 0 and m.term < self.term and m.kind != MSG_APP_RESP:\n",
            ),
        ),
    ),
    Mutant(
        "stale-append-truncates",
        15,
        "an append that came late removes what stands behind its entries",
        "conformance/history/test_history_log.py",
        (
            Edit(
                FOLLOWER,
                "    conflict = r.log.find_conflict(m.body, m.body_size) if m.count else 0\n",
                "    conflict = m.index + 1 if m.count else 0\n",
            ),
        ),
    ),
    Mutant(
        "next-behind-match",
        20,
        "a late refusal takes the next index of a peer back to what it has acknowledged",
        "conformance/history/test_history_log.py",
        (
            Edit(
                TRACKER,
                "            self.peers.next[slot] = max(min(rejected, hint + 1), self.peers.match[slot] + 1)\n",
                "            self.peers.next[slot] = max(min(rejected, hint + 1), 1)\n",
            ),
        ),
    ),
    # --- elections and transfers ------------------------------------------------------------------------
    Mutant(
        "length-decides",
        17,
        "logs are compared by their length, whatever the term of the last entry is",
        "consensus/test_raft.py",
        (
            Edit(
                STATE,
                "        return term > ours or (term == ours and index >= self.log.last)\n",
                "        return term >= ours or index >= self.log.last\n",
            ),
        ),
    ),
    Mutant(
        "pre-vote-raises-term",
        0,
        "the question whether somebody would be elected makes its term everybody's",
        "conformance/history/test_history_elections.py",
        (
            Edit(
                RAFT,
                "            if m.kind == MSG_PRE_VOTE or (m.kind == MSG_PRE_VOTE_RESP and m.flags",
                "            if (m.kind == MSG_PRE_VOTE_RESP and m.flags",
            ),
        ),
    ),
    Mutant(
        "low-term-unheard",
        23,
        "a pre-vote of a lower term is not answered, and its sender never learns the term",
        "conformance/history/test_history_elections.py",
        (
            Edit(
                RAFT,
                "        if m.kind == MSG_PRE_VOTE:\n            # Tell",
                "        if m.kind == MSG_PRE_VOTE and self.role == LEADER:\n            # Tell",
            ),
        ),
    ),
    Mutant(
        "campaign-before-applied",
        29,
        "a member campaigns before it has applied a change of membership that is committed",
        "conformance/history/test_history_elections.py",
        (
            Edit(
                CANDIDATE,
                "    if r.role == LEADER or not r.promotable() or r.has_unapplied_conf_change():\n",
                "    if r.role == LEADER or not r.promotable():\n",
            ),
        ),
    ),
    Mutant(
        "priority-blocks",
        33,
        "a member of low priority is not elected even where nobody else can be",
        "conformance/history/test_history_elections.py",
        (
            Edit(
                RAFT,
                " or m.log_term > self.log.last_term() or m.index > self.log.last\n",
                "\n",
            ),
        ),
    ),
    Mutant(
        "lease-outlives-transfer",
        32,
        "reads rely on the lease although an heir has been told to campaign",
        "conformance/history/test_history_elections.py",
        (Edit(LEADER, "    r.lease_ended = True\n", "    r.lease_ended = False\n"),),
    ),
    # --- membership -----------------------------------------------------------------------------------
    Mutant(
        "learner-commits",
        0,
        "what a learner acknowledges counts for the quorum",
        "consensus/test_membership.py",
        (
            Edit(
                TRACKER,
                "        return quorum.joint_committed_index(self.voters, self.outgoing, self.peers)\n",
                "        return quorum.joint_committed_index(self.voters | self.learners, self.outgoing, self.peers)\n",
            ),
        ),
    ),
    Mutant(
        "half-leaves-joint",
        38,
        "one half of a joint configuration commits without the other",
        "conformance/history/test_history_membership.py",
        (
            Edit(
                QUORUM,
                "    return min(committed_index(voters, peers), committed_index(outgoing, peers))\n",
                "    return committed_index(voters, peers)\n",
            ),
        ),
    ),
    Mutant(
        "auto-leave-lost",
        34,
        "a joint configuration is left only by whoever led when it was entered",
        "conformance/history/test_history_membership.py",
        (
            Edit(
                LEADER,
                "    if r.applied < r.pending_conf_index or r.role != LEADER:\n",
                "    if r.applied != r.pending_conf_index or r.role != LEADER:\n",
            ),
        ),
    ),
    Mutant(
        "votes-stay-in-their-slots",
        0,
        "when the members change, a vote counts for whoever has its slot now",
        "consensus/test_configuration.py",
        (
            Edit(
                TRACKER,
                "            place = self.places[slot]\n            vote = 0\n",
                "            place, vote = slot, 0\n",
            ),
        ),
    ),
    Mutant(
        "votes-leave-with-their-members",
        0,
        "a member that is removed and comes back within the term is asked for its vote, and counted, again",
        "consensus/test_configuration.py",
        (
            Edit(
                TRACKER, "                vote = self.departed_votes.take(to.ids[slot])\n", "                vote = 0\n"
            ),
        ),
    ),
    Mutant(
        "outgoing-mask-of-the-old-slots",
        0,
        "the outgoing voters of a joint configuration are the voters of before, by the slots that they had",
        "consensus/test_configuration.py",
        (
            Edit(
                TRACKER,
                "        self.voters = to.voters\n        self.outgoing = to.outgoing\n",
                "        self.outgoing = self.voters if to.outgoing else 0\n        self.voters = to.voters\n",
            ),
        ),
    ),
    Mutant(
        "acknowledged-reads-stay-in-their-slots",
        0,
        "when the members change, the acknowledgement of a read counts for whoever has its slot now",
        "consensus/test_configuration.py",
        (Edit(READS, "            place = peers.slot_of(to.ids[slot])\n", "            place = slot\n"),),
    ),
    Mutant(
        "progress-outlives-its-member",
        0,
        "a member that was removed and added in one change is taken to have what it had before",
        "consensus/test_configuration.py",
        (
            Edit(
                TRACKER,
                "-1 if (to.anew >> slot) & 1 else self.places[slot]\n",
                "self.places[slot]\n",
            ),
        ),
    ),
    Mutant(
        "overtaken-change-installed",
        0,
        "a change of membership is installed on top of the snapshot that has it in it",
        "consensus/test_configuration.py",
        (Edit(RAFT, "        if to.index != 0 and to.index <= self.conf_index:\n            return 0\n", ""),),
    ),
    Mutant(
        "configuration-of-another-installed",
        0,
        "what a change leads to is installed although the membership is not the one that it was computed from",
        "consensus/test_configuration.py",
        (Edit(TRACKER, "        return to.base == 0 or to.base == self.present.digest()\n", "        return True\n"),),
    ),
    Mutant(
        "damaged-change-proposed",
        0,
        "a proposal of another member is taken for a change of membership although it cannot be decoded",
        "consensus/test_admission.py",
        (
            Edit(
                ADMISSION,
                "        return REQUEST if changes.unfit_kind(m) != 0 else ADMITTED\n",
                "        return ADMITTED\n",
            ),
        ),
    ),
    # --- snapshots --------------------------------------------------------------------------------------
    Mutant(
        "stuck-snapshot",
        43,
        "a peer whose snapshot was lost is sent nothing any more",
        "conformance/history/test_history_snapshots.py",
        (
            Edit(
                LEADER,
                "    if r.tracker.peers.state[slot] == SNAPSHOT:\n        r.tracker.snapshot_ended",
                "    if r.tracker.peers.state[slot] == SNAPSHOT and m.flags & FLAG_REJECT == 0:\n"
                "        r.tracker.snapshot_ended",
            ),
        ),
    ),
    Mutant(
        "snapshot-without-membership",
        47,
        "the membership of a snapshot is not taken over",
        "conformance/history/test_history_snapshots.py",
        (Edit(STATE, "        self.tracker.install(self.arriving, self.log.last)\n", ""),),
    ),
    # --- flow control -----------------------------------------------------------------------------------
    Mutant(
        "window-exceeded",
        51,
        "one more append is sent into a window that is full",
        "native/test_flow.py",
        (
            Edit(
                FLOW,
                "        return self.count[slot] >= self.limit[slot] or 0 < self.max_bytes <= self.total[slot]\n",
                "        return self.count[slot] > self.limit[slot] or 0 < self.max_bytes <= self.total[slot]\n",
            ),
        ),
    ),
    Mutant(
        "inflight-bytes-leak",
        50,
        "a window that is emptied keeps its bytes",
        "conformance/history/test_history_flow.py",
        (
            Edit(
                FLOW,
                "        self.count[slot] = self.total[slot] = 0\n",
                "        self.count[slot] = 0\n",
            ),
        ),
    ),
    # --- reads ------------------------------------------------------------------------------------------
    Mutant(
        "stale-read-context",
        56,
        "the answer to a heartbeat of before a read confirms the read",
        "conformance/history/test_history_reads.py",
        (
            Edit(
                READS,
                "            self.positions[slot] = max(self.positions[slot], position)\n",
                "            self.positions[slot] = self.last()\n",
            ),
        ),
    ),
    Mutant(
        "read-before-first-commit",
        55,
        "a new leader answers reads before it knows what is committed",
        "conformance/history/test_history_reads.py",
        (
            Edit(
                LEADER,
                "    if not r.committed_in_term():\n        # What is",
                "    if r.committed == 0:\n        # What is",
            ),
        ),
    ),
    Mutant(
        "batched-reads-share",
        59,
        "reads that are confirmed together are answered with the index of the oldest",
        "conformance/history/test_history_reads.py",
        (
            Edit(
                LEADER,
                "        answer_row(r, r.reads.unconfirmed, row, r.reads.unconfirmed.index_at(row))\n",
                "        answer_row(r, r.reads.unconfirmed, row, r.reads.unconfirmed.index_at(0))\n",
            ),
        ),
    ),
    # --- more members than a narrow integer has bits ----------------------------------------------------
    Mutant(
        "mask-of-32-bits",
        0,
        "a set of members has no room for those in slots 32 to 63",
        "consensus/test_slots.py",
        (Edit(FLOW, "    return 1 << slot\n", "    return 1 << slot & 0xFFFFFFFF\n"),),
    ),
    Mutant(
        "vote-for-another-slot",
        0,
        "a vote of slot 32 and up is that of another member, as a shift of 32 bits makes it",
        "consensus/test_slots.py",
        (
            Edit(
                TRACKER,
                "        if granted:\n            self.votes_granted |= _core.bit(slot)\n",
                "        if granted:\n            self.votes_granted |= _core.bit(slot % 32)\n",
            ),
        ),
    ),
    Mutant(
        "read-confirmed-by-one-of-many",
        0,
        "the acknowledgement of slot 31 counts for all above it",
        "consensus/test_slots.py",
        (
            Edit(
                READS,
                "                    behind &= ~_core.bit(other)\n",
                "                    behind &= ~(_core.bit(other) if other < 31 else -1 << 31)\n",
            ),
        ),
    ),
    # --- connections ----------------------------------------------------------------------------------
    Mutant(
        "silence-for-ever",
        0,
        "a member that answers nothing is sent to over the same connection for ever",
        "node/test_contact.py",
        (Edit(CONTACT, "if self.unanswered[place] <= self.limit:", "if self.unanswered[place] >= 0:"),),
    ),
    Mutant(
        "renewed-for-ever",
        0,
        "two members renew each other's connections in turn",
        "node/test_contact.py",
        (
            Edit(
                CONTACT,
                "            return False\n        self.age[place] = 0\n        return True\n\n    def tick",
                "            return False\n        return True\n\n    def tick",
            ),
        ),
    ),
    *mutant_wire.MUTANTS,
    *mutant_life.MUTANTS,
    *mutant_crew.MUTANTS,
    *mutant_tcp.MUTANTS,
    *mutant_waits.MUTANTS,
    *mutant_safe.MUTANTS,
    *mutant_nodes.MUTANTS,
    *mutant_partial.MUTANTS,
    *mutant_storage.MUTANTS,
    *mutant_crashes.MUTANTS,
    *mutant_snapshots.MUTANTS,
    *mutant_moves.MUTANTS,
    *mutant_lives.MUTANTS,
    *mutant_looks.MUTANTS,
    *mutant_members.MUTANTS,
    *mutant_reads.MUTANTS,
    *mutant_recipes.MUTANTS,
    *mutant_kv.MUTANTS,
    *mutant_apply.MUTANTS,
    *mutant_commands.MUTANTS,
    *mutant_divergence.MUTANTS,
    *mutant_histories.MUTANTS,
    *mutant_sessions.MUTANTS,
    *mutant_room.MUTANTS,
    *mutant_aio.MUTANTS,
)
