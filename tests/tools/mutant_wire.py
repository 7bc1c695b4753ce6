"""Mistakes in who may connect, and for how long. A part of the list for mutants.py."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

LIMITS = "raftx/_native/limits.py"
WIRE = "raftx/_native/wire.py"
NEWS = "raftx/transport/news.py"
ASSEMBLY = "raftx/node/assembly.py"

MUTANTS = (
    Mutant(
        "crowd-keeps-others-out",
        0,
        "one stranger too many costs anybody, not one of the sender that has the most",
        "native/test_wire.py",
        (
            Edit(
                LIMITS,
                "        same = [place for place, item in there if item.source == source]\n",
                "        same = [place for place, item in there if item.source == source or there]\n",
            ),
        ),
    ),
    Mutant(
        "silent-guest-stays",
        0,
        "who connects and says nothing may stay",
        "native/test_wire.py",
        (Edit(WIRE, "if now - guest[2] >= self.guest_ns:", "if now < guest[2]:"),),
    ),
    Mutant(
        "half-a-greeting",
        0,
        "a greeting that has begun is taken for a whole one",
        "native/test_wire.py",
        (Edit(WIRE, "return 1 if len(seen) > len(GREETING) else -1 if ended else 0", "return 1"),),
    ),
    Mutant(
        "who-gave-up-is-a-stranger",
        0,
        "attempts that ended while a process was stopped crowd out those that have not",
        "native/test_wire.py",
        (Edit(WIRE, "        return 2 if ended or gone.poll(0) else 1\n", "        return 1\n"),),
    ),
    Mutant(
        "a-former-member-is-missed",
        0,
        "a warning tells that who was removed cannot be reached, as if somebody had to see to it",
        "node/test_chronicle.py",
        (Edit(NEWS, "bool(members) and peer not in members)", "False)"),),
    ),
    Mutant(
        "members-of-before-the-replay",
        0,
        "what is noted of connections in a start is judged by members of before the log",
        "node/test_chronicle.py",
        (Edit(ASSEMBLY, "    if not replays():\n", "    if True:\n"),),
    ),
    Mutant(
        "patient-dial",
        0,
        "an attempt to connect has as much time as TCP gives it",
        "native/test_wire.py",
        (Edit(WIRE, "target.deadline = now + self.dial_ns", "target.deadline = now + 600 * SECOND"),),
    ),
)
