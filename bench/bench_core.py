"""The core alone, one voter, 256 bytes an entry: propose, hand over the write, commit, apply.

By the loop that an engine runs (compiled without the GIL; interpreted, the same source), and through
RawNode from Python, as somebody who drives the core himself would. core_compare.py has more, beside other libraries.
"""

from __future__ import annotations

import pytest

SIZE = 256
ROUNDS = {"compiled": 1_000, "interpreted": 10}
GROUP = 256  # entries a round
KEEP = 4096
PYTHON_ROUNDS = {("compiled", 1): 5_000, ("compiled", 64): 200, ("interpreted", 1): 1_000, ("interpreted", 64): 30}


@pytest.mark.parametrize("batch", [1, 64])
def test_core_loop(measure, mod, mode, batch):
    rounds = ROUNDS[mode]
    drive = mod("testing.drive")
    entries = rounds * GROUP
    measure(f"core, engine's loop, {batch} a Ready", entries, lambda: drive.Alone(rounds, SIZE, batch, KEEP).run)


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


def test_ready(measure, mod, mode):
    """RawNode from Python: a heartbeat to a follower, its Ready with the answer, advance."""
    rounds = PYTHON_ROUNDS[mode, 1]
    rawnode, types, config, outbox = mod("consensus.rawnode"), mod("types"), mod("config"), mod("_native.outbox")

    def setup():
        node = rawnode.RawNode(config.Config(id=1, seed=1), conf_state=types.ConfState(voters=(1, 2, 3)))
        message = outbox.Message(types.MSG_HEARTBEAT, to=1, sender=2, term=1)

        def body():
            for _ in range(rounds):
                node.step(message)
                node.ready()
                node.advance()

        return body

    measure("ready, an answer to a heartbeat, from Python", rounds, setup)
