"""Mistakes in sessions, and in the time of entries. A part of the list for mutants.py."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

APPLY = "raftx/node/apply.py"
CLOCKS = "raftx/node/clocks.py"
LOG = "raftx/_twins/log.py"
PATIENCE = "raftx/node/patience.py"
SESSION = "raftx/node/session.py"
TABLE = "raftx/node/session_table.py"

SESSIONS = "node/test_sessions.py"
TIMES = "node/test_clocks.py"

MUTANTS = (
    Mutant(
        "cancelled-while-it-is-entered",
        0,
        "a proposal that is cancelled while its entry is made ends the node",
        SESSIONS,
        (Edit(SESSION, "        return min([number, *list(self._open)", "        return min([*list(self._open)"),),
    ),
    Mutant(
        "bytes-of-lost-results-count",
        0,
        "results that are lost count as if they were kept",
        "node/test_session_table.py",
        (Edit(TABLE, "                self.count(state, -kept.size())\n", ""),),
    ),
    Mutant(
        "results-are-not-in-snapshots",
        0,
        "behind a snapshot nobody knows what came of a session's commands",
        SESSIONS,
        (
            Edit(
                TABLE,
                "                encoded = data[at : at + size] if how != LOST else None\n",
                "                how, encoded = LOST, None\n",
            ),
        ),
    ),
    Mutant(
        "sessions-are-not-in-snapshots",
        0,
        "behind a snapshot no session is known",
        SESSIONS,
        (Edit(APPLY, "            self.time, self.sessions = decode(own, newest.index)\n", "            pass\n"),),
    ),
    Mutant(
        "retry-is-applied-again",
        0,
        "a command that comes again is applied again",
        SESSIONS,
        (
            Edit(TABLE, "        if sequence <= state.last:\n            return state.results[sequence].kept()\n", ""),
            Edit(TABLE, "        if sequence != state.last + 1:\n", "        if sequence > state.last + 1:\n"),
        ),
    ),
    Mutant(
        "what-was-given-up-is-applied",
        0,
        "a copy of what its client has given up is applied when it comes late",
        SESSIONS,
        (
            Edit(TABLE, "        if sequence < state.acknowledged:\n            raise Unknown(FORGOTTEN)\n", ""),
            Edit(
                TABLE,
                "        if sequence <= state.last:\n            return state.results[sequence].kept()\n",
                "        if sequence in state.results:\n            return state.results[sequence].kept()\n"
                "        if sequence <= state.last:\n            return None\n",
            ),
        ),
    ),
    Mutant(
        "order-is-not-kept",
        0,
        "a command is applied although the one before it is missing",
        SESSIONS,
        (Edit(TABLE, "        if sequence != state.last + 1:\n", "        if sequence < state.last:\n"),),
    ),
    Mutant(
        "sessions-do-not-expire",
        0,
        "what a client says who was away for longer than the time-to-live is applied",
        SESSIONS,
        (
            Edit(
                TABLE,
                "        while self.due and self.due[0][0] < time:\n",
                "        while self.due and self.due[0][0] < 0:\n",
            ),
        ),
    ),
    Mutant(
        "expired-session-is-made-anew",
        0,
        "a command of a session that nobody knows opens it again",
        SESSIONS,
        (
            Edit(
                TABLE,
                "        if state is None:\n            raise SessionExpired(NOT_KNOWN)\n",
                "        if state is None:\n"
                "            self.sessions[id] = state = State(opening, b'', MS, time, sequence - 1)\n",
            ),
        ),
    ),
    Mutant(
        "fencing-is-ignored",
        0,
        "who had a session before goes on in it beside its new owner",
        SESSIONS,
        (Edit(TABLE, "        if state.opening != opening:\n            raise SessionFenced(FENCED)\n", ""),),
    ),
    Mutant(
        "late-opening-fences",
        0,
        "a copy of an opening that comes late takes the session from who opened it since",
        SESSIONS,
        (
            Edit(
                TABLE,
                "        if (state.opening if state is not None else 0) != expected:\n",
                "        if state is not None and expected > state.opening:\n",
            ),
        ),
    ),
    Mutant(
        "acknowledged-too-early",
        0,
        "a proposal tells that nobody waits for one that is open",
        SESSIONS,
        (
            Edit(
                SESSION,
                "        return min([number, *list(self._open), *entering])\n",
                "        return max([number, *list(self._open), *entering])\n",
            ),
        ),
    ),
    Mutant(
        "unknown-attempt-is-forgotten",
        0,
        "a proposal ends as not done although an attempt before may be applied",
        SESSIONS,
        (
            Edit(
                PATIENCE,
                "            patient.maybe = patient.maybe or isinstance(error, Unknown)\n",
                "            patient.maybe = False\n",
            ),
        ),
    ),
    Mutant(
        "time-goes-back",
        0,
        "a leader whose clocks are behind stamps less than its log has",
        TIMES,
        (
            Edit(
                LOG,
                "        before = self.last\n        time = max(self.time, self.last_time())\n",
                "        before = self.last\n        time = self.time\n",
            ),
            Edit(
                LOG,
                "        time = max(self.time, self.last_time())\n        return",
                "        time = self.time\n        return",
            ),
        ),
    ),
    Mutant(
        "leaders-own-clock",
        0,
        "a leader goes by its own clock",
        TIMES,
        (
            Edit(
                CLOCKS,
                "        to = self.reached(self.core.tracker.voters)\n",
                "        to = self.column[self.core.self_slot]\n",
            ),
        ),
    ),
    Mutant(
        "time-jumps",
        0,
        "time jumps with the wall clock while a member leads",
        TIMES,
        (
            Edit(
                CLOCKS, "            self.offset = min(to, self.offset + self.step)\n", "            self.offset = to\n"
            ),
        ),
    ),
    Mutant(
        "table-behind-the-state-machine",
        0,
        "where the state machine has more than the newest snapshot, its sessions are those of the snapshot",
        SESSIONS,
        (Edit(APPLY, "            self.look_ahead()\n", ""),),
    ),
)
