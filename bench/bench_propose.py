"""Python's side of a proposal: from the call to the future. No engine.

A Proposer with the queue to an engine that nobody empties, and the table of open requests. What the engine and the
disk do beside it needs no GIL; this does, so it bounds what one process can propose.
"""

from __future__ import annotations

import pytest

SIZE = 100
ENTRIES = 1_024
ROUNDS = 60  # short ones: on a machine that does other things, half of them are not interrupted
ROOM = 64 << 20


def proposer(mod):
    threads = mod("_native.threads")
    outcomes = mod("node.outcomes").Outcomes(10**10)
    queue = threads.ProposalQueue(threads.Event(), 1, 1, ROOM)
    return mod("node.proposer").Proposer(queue, outcomes, 1 << 20, ROOM, 1 << 24)


def test_propose(measure, mod):
    data = bytes(SIZE)

    def setup():
        made = proposer(mod)

        def body():
            futures = [made.propose(data) for _ in range(ENTRIES)]
            assert made.outcomes.count() == len(futures) == ENTRIES

        return body

    measure("propose", ENTRIES, setup, ROUNDS)


@pytest.mark.parametrize("count", [16, 64, 256, 1024])
def test_propose_many(measure, mod, count):
    datas = [bytes(SIZE)] * count

    def setup():
        made = proposer(mod)

        def body():
            futures = [made.propose_many(datas) for _ in range(ENTRIES // count)]
            assert made.outcomes.count() == ENTRIES == len(futures) * count

        return body

    measure(f"propose_many, {count} at once", ENTRIES, setup, ROUNDS)
