"""Mistakes in the threads that helpers share, and in what wakes them. A part of the list for mutants.py."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

CREW = "raftx/node/crew.py"
OUTCOMES = "raftx/node/outcomes.py"
PATIENCE = "raftx/node/patience.py"
RENEWALS = "raftx/node/renewals.py"
WATCH = "raftx/node/watch.py"
PERIODIC = "raftx/node/periodic.py"
TESTS = "node/test_crew.py"

MUTANTS = (
    Mutant(
        "helper-woken-too-early",
        0,
        "what wakes a helper between its last look and its sleep is lost",
        TESTS,
        (
            Edit(
                CREW,
                "        nap = worker.nap = next(self._naps)\n",
                "        worker.event.py_wait(0)\n        nap = worker.nap = next(self._naps)\n",
            ),
        ),
    ),
    Mutant(
        "helper-run-twice",
        0,
        "a helper is run by two threads at once",
        TESTS,
        (Edit(CREW, "        if worker.nap:\n", "        if worker.event:\n"),),
    ),
    Mutant(
        "helper-not-handed-back",
        0,
        "a helper that cannot be watched, for want of memory say, does nothing any more",
        TESTS,
        (Edit(CREW, "            self._look_in(AGAIN_NS, nap, worker)\n", "            pass\n"),),
    ),
    Mutant(
        "dispatcher-sleeps-too-long",
        0,
        "a helper that is due before all others is looked at when the others are",
        TESTS,
        (Edit(CREW, "        if when < self._until:\n", "        if when < 0:\n"),),
    ),
    Mutant(
        "helper-waits-for-another",
        0,
        "a helper waits for one that is held up, in a logging handler say",
        TESTS,
        (Edit(CREW, "(SOON_NS if self._call() else AGAIN_NS)", "(FAR if self._call() else FAR)"),),
    ),
    Mutant(
        "helper-joins-too-late",
        0,
        "a helper joins threads that have ended",
        TESTS,
        (Edit(CREW, "        if self._closed:\n", "        if self._closed and worker.nap:\n"),),
    ),
    Mutant(
        "helper-begins-too-late",
        0,
        "a helper begins although its node was closed by a signal handler that interrupted its start",
        TESTS,
        (Edit(CREW, "            if not worker.settle():\n", "            if not worker.settle() and worker.nap:\n"),),
    ),
    Mutant(
        "helper-threads-stay",
        0,
        "threads that nobody needs any more stay",
        TESTS,
        (Edit(CREW, "            if self._staying:\n", "            if not called:\n"),),
    ),
    Mutant(
        "watch-not-called",
        0,
        "what is proposed while the watch thread sleeps never becomes overdue",
        TESTS,
        (
            Edit(
                OUTCOMES,
                "            self.call_watch()\n\n    def register_many",
                "            self.unwatched = True\n\n    def register_many",
            ),
        ),
    ),
    Mutant(
        "watch-never-rests",
        0,
        "a node that does nothing is looked at four times a second",
        TESTS,
        (Edit(WATCH, "if self.outcomes.is_quiet() else 0", "if not self.outcomes else 0"),),
    ),
    Mutant(
        "watch-sleeps-past-a-deadline",
        0,
        "a proposal with a deadline of its own, or a renewal, waits until something else is open",
        TESTS,
        (
            Edit(PATIENCE, " or self.outcomes.unwatched:", ":"),
            Edit(RENEWALS, " or self.asleep():", ":"),
        ),
    ),
    Mutant(
        "wake-in-a-round-lost",
        0,
        "what wakes a worker during its round is lost",
        TESTS,
        (Edit(PERIODIC, "self.stopping or self.wanted or", "self.stopping or"),),
    ),
    Mutant(
        "snapshot-that-wakes-nobody",
        0,
        "a snapshot is asked for, and its sleeping writer is not woken",
        "simulation/test_nodes.py",
        (
            Edit(
                "raftx/node/snapshots.py",
                "        self._job = Job(descriptor, state, make, ended, own)\n        self.event.py_wake()\n",
                "        self._job = Job(descriptor, state, make, ended, own)\n",
            ),
        ),
    ),
)
