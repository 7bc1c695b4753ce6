"""Mistakes in leases, in stale reads, in who leads and in what a member that is behind does. A part of the list.

For mutants.py.
"""

from __future__ import annotations

from tests.tools import mutant_held
from tests.tools.mutant_kinds import Edit, Mutant

APPLY = "raftx/node/apply.py"
ENGINE = "raftx/node/engine.py"
LAG = "raftx/node/lag.py"
LEASES = "raftx/node/leases.py"
ORDERS = "raftx/node/orders.py"
PATIENCE = "raftx/node/patience.py"
PREFERENCE = "raftx/node/preference.py"
PROPOSER = "raftx/node/proposer.py"
READERS = "raftx/node/readers.py"
READS = "raftx/node/reads.py"
REQUESTS = "raftx/node/requests.py"
STAMPS = "raftx/node/stamps.py"

LEASED = "node/test_lease_reads.py"
STALE = "node/test_stale_reads.py"
LEADING = "node/test_leading_requests.py"
DEADLINES = "node/test_deadlines.py"
LAGS = "node/test_lag.py"
PREFERRED = "node/test_preference.py"
TIMES = "node/test_stamps.py"
RELIEF = "node/test_relief.py"

MUTANTS = (
    *mutant_held.MUTANTS,
    # --- leaders that are behind, and priorities in elections ------------------------------------------------
    Mutant(
        "leader-that-stays-behind",
        0,
        "a leader that is far behind in applying goes on leading, and refuses proposals, though another could lead",
        RELIEF,
        (Edit(PREFERENCE, "self.preferred(-1 if relief else self.priority)", "self.preferred(self.priority)"),),
    ),
    Mutant(
        "leader-that-is-asked-back",
        0,
        "a leader that was relieved is asked to lead again as soon as it has caught up, and is behind again at once",
        RELIEF,
        (Edit(LAG, "        return self.is_far() or self.tired > 0\n", "        return self.is_far()\n"),),
    ),
    Mutant(
        "priority-of-one-that-cannot-lead",
        0,
        "a voter that may not campaign refuses its vote to all of lower priority: nobody is elected",
        RELIEF,
        (
            Edit(
                PREFERENCE,
                "        return self.room.full or not self.core.promotable() or self.core.has_unapplied",
                "        return self.room.full and self.core.has_unapplied",
            ),
        ),
    ),
    Mutant(
        "priority-for-ever",
        0,
        "a voter whose campaigns reach nobody refuses its vote to all of lower priority: nobody is elected",
        RELIEF,
        (Edit(PREFERENCE, "self.leaderless > YIELD_TIMEOUTS * self.core.election_timeout or ", ""),),
    ),
    # --- leases ---------------------------------------------------------------------------------------
    Mutant(
        "lease-after-a-pause",
        0,
        "a leader that was stopped answers from the lease that it had before",
        LEASED,
        (
            Edit(
                LEASES,
                "        return self.since + self.length() * MS - self.clock.boot()\n",
                "        return self.length() * MS\n",
            ),
        ),
    ),
    Mutant(
        "lease-in-ticks-of-the-leader",
        0,
        "a lease begins when the answers come, not when the question was sent",
        LEASED,
        (
            Edit(
                READS,
                "            self.leases.confirmed(since, records",
                "            self.leases.confirmed(self.leases.clock.boot(), records",
            ),
        ),
    ),
    Mutant(
        "lease-that-ignores-a-transfer",
        0,
        "a lease goes on although another member was asked to take over",
        LEASED,
        (
            Edit(
                LEASES,
                "        if self.core.lease_ended or self.core.transferee != 0 or self.installs",
                "        if self.installs",
            ),
        ),
    ),
    Mutant(
        "lease-without-promises",
        0,
        "a leader has a lease although a voter promises nothing",
        LEASED,
        (Edit(LEASES, "self.core.tracker.peers) & CHECK_QUORUM == 0:\n", "self.core.tracker.peers) < 0:\n"),),
    ),
    Mutant(
        "lease-of-ones-own-length",
        0,
        "a lease is as long as the leader's own election timeout, whatever the voters' are",
        LEASED,
        (
            Edit(
                LEASES,
                "                shortest = min(shortest, lease_ms(min(election, LONG_MS), min(heartbeat, LONG_MS)))\n",
                "                pass\n",
            ),
        ),
    ),
    Mutant(
        "voter-that-forgets-its-promise",
        0,
        "a voter that was restarted helps a candidate within the lease of the leader that it had",
        LEASED,
        (
            Edit(
                LEASES,
                "        self.quiet = 0 if core.term else core.election_timeout\n",
                "        self.quiet = core.election_timeout\n",
            ),
        ),
    ),
    Mutant(
        "voter-without-a-leader",
        0,
        "a voter that knows no leader helps a candidate, whatever it has promised",
        LEASED,
        (Edit(LEASES, "        return not self.is_bound()\n", "        return True\n"),),
    ),
    Mutant(
        "candidate-on-request",
        0,
        "a member campaigns on request although its leader may rely on it",
        "node/test_requests.py",
        (
            Edit(
                ORDERS,
                "        if self.leases.is_bound() and not self.core.tracker.is_singleton():\n",
                "        if self.leases.quiet < 0:\n",
            ),
        ),
    ),
    Mutant(
        "lease-that-binds-the-transferee",
        0,
        "a candidate that its leader has asked to take over is not helped",
        LEASED,
        (
            Edit(
                LEASES,
                "        if m.flags & FLAG_TRANSFER or m.term < self.core.term:\n",
                "        if m.term < self.core.term:\n",
            ),
        ),
    ),
    # --- stale reads -----------------------------------------------------------------------------------
    Mutant(
        "stale-without-bound",
        0,
        "a stale read is done however old what is here may be",
        STALE,
        (Edit(READERS, "        elif since != 0 and age <= most_ns:\n", "        elif since != 0:\n"),),
    ),
    Mutant(
        "stale-before-it-is-applied",
        0,
        "what is here counts as new as soon as the answer to a question is here",
        STALE,
        (
            Edit(
                READERS,
                "        while self.answers and self.answers[0][0] <= index:\n",
                "        while self.answers:\n",
            ),
        ),
    ),
    Mutant(
        "stale-since-the-answer",
        0,
        "what is here counts as new since the answer, not since the question",
        STALE,
        (
            Edit(
                READS,
                "            self.asked_at = max(self.asked_at, since)\n",
                "            self.asked_at = self.leases.clock.boot()\n",
            ),
        ),
    ),
    Mutant(
        "stale-for-ever",
        0,
        "a stale read of a member without a leader waits for one",
        STALE,
        (Edit(APPLY, "        if leader == 0:\n            self.readers.leaderless()\n", ""),),
    ),
    Mutant(
        "question-that-waits-for-a-tick",
        0,
        "reads that came while a question was under way are asked for with the next tick",
        "node/test_node_reads.py",
        (
            Edit(
                READS,
                "        return self.asked == 0 and self.wanted > self.answered and (",
                "        return False and (",
            ),
        ),
    ),
    # --- who leads -------------------------------------------------------------------------------------
    Mutant(
        "preferred-and-behind",
        0,
        "leadership is handed to a member that lacks what is committed",
        PREFERRED,
        (Edit(PREFERENCE, " or self.core.tracker.peers.match[slot] < self.committed:\n", ":\n"),),
    ),
    Mutant(
        "preferred-and-slow",
        0,
        "leadership is handed to a member whose state machine is far behind",
        PREFERRED,
        (Edit(PREFERENCE, " and self.lag.others[place] == 0\n", "\n"),),
    ),
    Mutant(
        "preferred-and-full",
        0,
        "leadership is handed to a member whose disk is full",
        PREFERRED,
        (Edit(PREFERENCE, "        return self.room.others[place] == 0 and", "        return"),),
    ),
    Mutant(
        "preferred-again-and-again",
        0,
        "a member that does not take over is asked again at once",
        PREFERRED,
        (Edit(PREFERENCE, " or self.pause > 0 or", " or"),),
    ),
    Mutant(
        "nobody-is-preferred-to-oneself",
        0,
        "a leader hands leadership to members of its own priority",
        PREFERRED,
        (Edit(PREFERENCE, "        best, to = least, 0\n", "        best, to = -1, 0\n"),),
    ),
    # --- who is behind ---------------------------------------------------------------------------------
    Mutant(
        "behind-and-first",
        0,
        "a member that is far behind campaigns as soon as the others do",
        LAGS,
        (Edit(LAG, "            self.core.randomized_timeout += 1\n", ""),),
    ),
    Mutant(
        "behind-and-never",
        0,
        "a member that is far behind never campaigns, though nobody else can",
        LAGS,
        (Edit(LAG, " and self.held < HOLD_TIMEOUTS * self.core.election_timeout:\n", ":\n"),),
    ),
    Mutant(
        "behind-and-unaware",
        0,
        "a proposal is taken whose outcome cannot be known in time",
        LAGS,
        (
            Edit(
                PROPOSER,
                "            return future\n"
                "        if self.lag_ms() > self.patience_ms:\n"
                "            future.settle_error(Busy(self.too_far_behind()))\n"
                "            return future\n"
                "        future._owner = self.outcomes\n"
                "        sequence",
                "            return future\n        future._owner = self.outcomes\n        sequence",
            ),
        ),
    ),
    Mutant(
        "behind-without-bound",
        0,
        "a member takes entries without bound although its state machine does not",
        LAGS,
        (Edit(LAG, "<= self.most_bytes:\n", ">= 0:\n"),),
    ),
    # --- requests --------------------------------------------------------------------------------------
    Mutant(
        "barrier-for-state-machines",
        0,
        "state machines are given barriers",
        LEADING,
        (Edit(APPLY, "            if c.origin >> BARRIER_BIT == 0 and (", "            if ("),),
    ),
    Mutant(
        "barrier-of-nobody",
        0,
        "a barrier is not known again by the member that made it",
        LEADING,
        (
            Edit(
                APPLY,
                "            if c.origin & NUMBER_MAX == self.id",
                "            if c.origin == self.id",
            ),
        ),
    ),
    Mutant(
        "waits-that-pile-up",
        0,
        "waits for entries that were given up stay for ever",
        LEADING,
        (
            Edit(
                READERS,
                "                if len(self.awaited) > 2 * len(self.outcomes.asked) + LEFT:\n",
                "                if len(self.awaited) < 0:\n",
            ),
        ),
    ),
    Mutant(
        "several-in-vain",
        0,
        "more proposals than can ever be open are tried again until their deadline",
        DEADLINES,
        (
            Edit(
                PATIENCE,
                "        again = isinstance(error, NotDone) and not error.reason.endswith(NEVER)\n",
                "        again = isinstance(error, NotDone)\n",
            ),
        ),
    ),
    Mutant(
        "standstill-as-a-pace",
        0,
        "a state machine that stood still counts as so slow for another election timeout",
        LAGS,
        (Edit(LAG, " or (applied > self.marked and self.is_faster(applied)):\n", ":\n"),),
    ),
    Mutant(
        "behind-until-the-next-tick",
        0,
        "a member that has caught up refuses proposals until the next tick",
        LAGS,
        (Edit(PROPOSER, "self.gauges.lag_ms == 0 or self.behind() == 0:\n", "self.gauges.lag_ms == 0:\n"),),
    ),
    Mutant(
        "handed-over-in-vain",
        0,
        "a proposal is handed over although its deadline comes before it could be applied",
        LAGS,
        (
            Edit(
                PATIENCE,
                "        if self.clock.py_now() + lag > patient.deadline:\n",
                "        if self.clock.py_now() > patient.deadline:\n",
            ),
        ),
    ),
    Mutant(
        "timing-of-another-term",
        0,
        "how long an entry took is told of one that stood in its place before",
        TIMES,
        (
            Edit(
                STAMPS,
                "            if self.term[at] != term or not self.first",
                "            if not self.first",
            ),
        ),
    ),
)
