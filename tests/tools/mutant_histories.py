"""Mistakes in the checker of histories: it would call good what is not, or the other way round. A part of the list for
mutants.py.
"""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

CHECKER = "raftx/testing/linearizable.py"

HISTORIES = "simulation/test_linearizable.py"

MUTANTS = (
    Mutant(
        "history-knows-no-overlap-at-a-moment",
        0,
        "an operation that begins at the moment at which another one ends is taken to follow it",
        HISTORIES,
        (
            Edit(
                CHECKER,
                "            rows.append((operation.returned, 1, begin.match))\n",
                "            rows.append((operation.returned, -1, begin.match))\n",
            ),
        ),
    ),
    Mutant(
        "history-forgets-the-state",
        0,
        "a set of placed operations counts as tried, whatever state they have led to",
        HISTORIES,
        (
            Edit(
                CHECKER,
                "            if fits and mark not in tried:\n                tried.add(mark)\n",
                "            if fits and (placed | event.bit, None) not in tried:\n"
                "                tried.add((placed | event.bit, None))\n",
            ),
        ),
    ),
    Mutant(
        "history-lets-the-past-change",
        0,
        "an operation may be placed after its return",
        HISTORIES,
        (
            Edit(
                CHECKER,
                "        # Somebody's return: nothing else can come before it, so one placed before was wrong.\n",
                "        if event is not None:\n            event = event.after\n            continue\n",
            ),
        ),
    ),
    Mutant(
        "history-waits-for-the-unknown",
        0,
        "what has an unknown outcome must have happened before all that follows",
        HISTORIES,
        (
            Edit(
                CHECKER,
                "        if operation.returned is not None:\n            begin.match = _Event(None, 0)\n"
                "            rows.append((operation.returned, 1, begin.match))\n",
                "        begin.match = _Event(None, 0)\n"
                "        rows.append((operation.returned or operation.invoked, 1, begin.match))\n",
            ),
        ),
    ),
    Mutant(
        "history-believes-no-failed-cas",
        0,
        "a compare-and-set that did not succeed says nothing about the value",
        HISTORIES,
        (
            Edit(
                CHECKER,
                "    if operation.succeeded is not None and operation.succeeded != equal:\n",
                "    if operation.succeeded and not equal:\n",
            ),
        ),
    ),
    Mutant(
        "history-leaves-out-too-much",
        0,
        "an explanation leaves out a write that what is left may have seen",
        HISTORIES,
        (
            Edit(
                CHECKER,
                "    return rest if not any([_could_see(each, operation) for each in rest]) else None\n",
                "    return rest\n",
            ),
        ),
    ),
)
