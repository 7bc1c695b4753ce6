"""The core alone, one voter, 256 bytes an entry: propose, hand over the write, commit, apply.

By the loop that an engine runs (compiled without the GIL; interpreted, the same source), and through
RawNode from Python, as somebody who drives the core himself would.
"""

from __future__ import annotations

import pytest

SIZE = 256
ROUNDS = {("compiled", 1): 100_000, ("compiled", 64): 5_000, ("interpreted", 1): 2_000, ("interpreted", 64): 60}
PYTHON_ROUNDS = {("compiled", 1): 5_000, ("compiled", 64): 200, ("interpreted", 1): 1_000, ("interpreted", 64): 30}


@pytest.mark.parametrize("batch", [1, 64])
def test_core_loop(measure, mod, mode, batch):
    rounds = ROUNDS[mode, batch]
    drive = mod("testing.drive").Drive
    measure(f"core, engine's loop, {batch} a Ready", rounds * batch, lambda: drive(batch, SIZE, rounds).run)


@pytest.mark.parametrize("batch", [1, 64])
def test_core_from_python(measure, mod, mode, batch):
    rounds = PYTHON_ROUNDS[mode, batch]
    rawnode, types, config = mod("consensus.rawnode"), mod("types"), mod("config")
    data = bytes(SIZE)

    def setup():
        node = rawnode.RawNode(config.Config(id=1, seed=1), conf_state=types.ConfState(voters=(1,)))
        node.campaign()
        while node.has_ready():
            node.ready()
            node.advance()
        target = node.core.committed + rounds * batch

        def body():
            for _ in range(rounds):
                for _ in range(batch):
                    node.propose(data)
                while node.has_ready():
                    node.ready()
                    node.advance()
            assert node.core.committed == target

        return body

    measure(f"core, RawNode from Python, {batch} a Ready", rounds * batch, setup)


STEPS = {"compiled": 100_000, "interpreted": 2_000}


@pytest.mark.parametrize("leading", [False, True], ids=["heartbeat", "acknowledgement"])
def test_step(measure, mod, mode, leading):
    rounds = STEPS[mode]
    steps = mod("testing.drive").Steps
    what = "an acknowledgement at a leader of three" if leading else "a heartbeat at a follower"
    measure(f"step, {what}", rounds, lambda: steps(3, rounds, leading).run)


@pytest.mark.parametrize("voters", [3, 5, 7])
def test_quorum(measure, mod, mode, voters):
    rounds = STEPS[mode]
    quorums = mod("testing.drive").Quorums
    measure(f"quorum, commit and vote of {voters}", rounds, lambda: quorums(voters, rounds).run)


def test_ready(measure, mod, mode):
    """RawNode from Python: a heartbeat to a follower, its Ready with the answer, advance."""
    rounds = PYTHON_ROUNDS[mode, 1]
    rawnode, types, config, core = mod("consensus.rawnode"), mod("types"), mod("config"), mod("_core")

    def setup():
        node = rawnode.RawNode(config.Config(id=1, seed=1), conf_state=types.ConfState(voters=(1, 2, 3)))
        message = core.Message(types.MSG_HEARTBEAT, to=1, sender=2, term=1)

        def body():
            for _ in range(rounds):
                node.step(message)
                node.ready()
                node.advance()

        return body

    measure("ready, an answer to a heartbeat, from Python", rounds, setup)
