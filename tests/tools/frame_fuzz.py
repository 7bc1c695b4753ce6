"""Frames with right checksums that no honest member can have sent, for a running cluster.

    python -m tests.tools.frame_fuzz [--frames 1000000] [--seed N]

Three nodes of one process, with threads and a network in memory, replicate commands; the frames of lies.py go to all of
them meanwhile, in the name of members and of strangers. None may move a term, end a node, be believed, or keep one
from committing; each must be counted by its reason. Prints what happened; exits with 1 when this does not hold.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tests.helpers import lies
from tests.helpers.lies import LIES, View
from tests.helpers.meetings import begun, life
from tests.helpers.waiting import eventually

STRANGER = 77
STRANGE_LIFE = 1000  # of a sender that is no member
QUEUE = 512  # frames that may wait for a node: more than that would be dropped before anybody looks
WAIT = 60.0


class Machine:
    """Keeps what it was given."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    def apply(self, entry: Any) -> int:
        self.commands.append(entry.data)
        return len(self.commands)


class Tapped:
    """A transport of a MemoryNetwork whose receiving end can be given other frames, too."""

    max_frame_bytes = 1 << 30

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.deliver: Callable[[bytes], object] = lambda frame: None

    def start(self, id: int, deliver: Callable[[bytes], object]) -> None:
        self.deliver = deliver
        self.transport.start(id, deliver)

    def send(self, to: int, frame: bytes) -> bool:
        return bool(self.transport.send(to, frame))

    def close(self) -> None:
        self.transport.close()


class Fuzz:
    """A cluster under fire. ``impl`` is the package under test."""

    def __init__(self, impl: ModuleType, memory: ModuleType, seed: int) -> None:
        self.impl = impl
        self.draw = random.Random(seed)
        self.network = memory.MemoryNetwork(seed=seed)
        self.machines: dict[int, Machine] = {}
        self.taps: dict[int, Tapped] = {}
        self.nodes: dict[int, Any] = {}
        self.storages: dict[int, Any] = {}
        self.codecs: dict[tuple[int, int], Any] = {}
        self.sent: dict[int, Counter[str]] = {id: Counter() for id in (1, 2, 3)}
        self.dropped: Counter[int] = Counter()
        for id in (1, 2, 3):
            self.machines[id], self.taps[id] = Machine(), Tapped(self.network.transport())
            # Nobody loses patience: whatever moves a term is a frame.
            config = impl.Config(id=id, tick_ms=20, election_ticks=50_000, pre_vote=False, check_quorum=True)
            self.storages[id] = impl.MemoryStorage(voters=[1, 2, 3])
            self.nodes[id] = impl.Node(config, self.storages[id], self.taps[id], self.machines[id]).start()

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()

    def eventually(self, condition: Callable[[], object]) -> None:
        """Wait for a condition, unless a node ends meanwhile."""

        def met() -> object:
            value = condition()
            failed = {id: node.failure for id, node in self.nodes.items() if node.failure}
            assert value or not failed, f"it did not come to that; ended: {failed}"
            return value

        eventually(met, WAIT, 0.002)

    def elect(self) -> None:
        self.eventually(lambda: begun(self.nodes.values()))
        self.lives = {id: life(node) for id, node in self.nodes.items()}
        self.nodes[1].campaign()
        self.eventually(lambda: {node.leader_id for node in self.nodes.values()} == {1})
        self.term = self.nodes[1].term
        self.commit(b"first")
        self.eventually(lambda: all(node.commit_index for node in self.nodes.values()))

    def commit(self, data: bytes) -> None:
        self.nodes[1].propose(data).result(timeout=WAIT)

    def view(self, id: int) -> View:
        """What is a lie for that node. Its log grows meanwhile, but not by as much as the lies are beyond it."""
        node = self.nodes[id]
        peer = next(other for other in (2, 3) if other != id)
        return View(self.term, node.status().last, 1, id == 1, peer, STRANGER)

    def codec(self, sender: int) -> Any:
        """Of frames in the present life of a member; a stranger's may be any."""
        key = (sender, incarnation := self.lives.get(sender, STRANGE_LIFE))
        if key not in self.codecs:
            self.codecs[key] = self.impl._core.Codec(self.nodes[1].config.cluster, sender, incarnation)
        return self.codecs[key]

    def lie(self, id: int, view: View) -> tuple[str, bytes]:
        """(reason, frame) of one lie to a node."""
        draw = self.draw
        x = draw.random()
        if x < 0.08:
            # A life that nobody has come to.
            kind = draw.choice((lies.HEARTBEAT, lies.VOTE, lies.APP_RESP))
            message = self.impl.Message(kind, term=self.term)
            life = draw.choice((0, 2**62 + 1, 2**64 - 1, draw.randrange(2**62, 2**64)))
            return "incarnation", self.codec_once(lies._sender(draw, view), life).encode(id, [message])
        if x < 0.16 and id == 1:
            fields = lies.odd_proposals(draw, view.peer, self.lives[view.peer], self.impl)
            message = self.impl.Message(fields.pop("kind"), **fields)
            return "origin", self.codec(view.peer).encode(id, [message])
        if x < 0.24 and id != 1:
            # Of proposals that were never passed on: these nodes pass none on.
            context = draw.randrange(1, 2**62)
            of = self.lives[id]
            message = self.impl.Message(lies.REFUSED, index=draw.randrange(9), log_term=of, hint=1, context=context)
            return "answer", self.codec(1).encode(id, [message])
        if x < 0.32:
            # Another entry than the first one, which everybody knows to be committed.
            sender, fields = lies.contradiction(draw, view, self.impl)
            return "contradiction", self.codec(sender).encode(id, [self.impl.Message(lies.APP, **fields)])
        row = draw.choice([lie for lie in LIES if lie.when(view)])
        sender, fields = row.make(draw, view, self.impl)
        fields = dict(fields)
        return row.reason, self.codec(sender).encode(id, [self.impl.Message(fields.pop("kind"), **fields)])

    def codec_once(self, sender: int, incarnation: int) -> Any:
        return self.impl._core.Codec(self.nodes[1].config.cluster, sender, incarnation)

    def room(self, id: int) -> None:
        """Wait until a node has looked at most of what it was sent."""
        told = sum(self.sent[id].values())
        self.eventually(lambda: told - sum(self.nodes[id].status().messages_refused.values()) < QUEUE)

    def fire(self, frames: int) -> None:
        """Send so many frames, and commit something now and then."""
        views = {id: self.view(id) for id in self.nodes}
        for number in range(frames):
            id = 1 + number % 3
            reason, frame = self.lie(id, views[id])
            self.taps[id].deliver(frame)
            self.sent[id][reason] += 1
            if number % 300 == 0:
                for each in self.nodes:
                    self.room(each)
            if number % 3000 == 0:
                self.commit(b"%d" % number)
                views = {id: self.view(id) for id in self.nodes}

    def judge(self) -> None:
        """Everything was counted by its reason, and nothing came of it. Raises AssertionError."""
        for id, node in self.nodes.items():
            expected = self.sent[id]
            self.eventually(lambda node=node, expected=expected: self.counted(node) == expected)
            status = node.status()
            assert node.failure is None, node.failure
            assert (status.term, status.leader) == (self.term, 1), status
            assert not any(status.frames_rejected.values()), status.frames_rejected
        self.commit(b"last")
        self.eventually(lambda: len({tuple(machine.commands) for machine in self.machines.values()}) == 1)
        assert b"data" not in self.machines[1].commands

    def counted(self, node: Any) -> Counter[str]:
        return Counter({reason: count for reason, count in node.status().messages_refused.items() if count})


def run(impl: ModuleType, memory: ModuleType, frames: int, seed: int) -> Counter[str]:
    """Fire at a cluster; how many frames of each reason there were. Raises AssertionError."""
    fuzz = Fuzz(impl, memory, seed)
    try:
        fuzz.elect()
        fuzz.fire(frames)
        fuzz.judge()
    finally:
        fuzz.close()
    return sum(fuzz.sent.values(), Counter())


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.frame_fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()

    import logging

    import raftx
    import raftx.transport.memory

    logging.getLogger("raftx").setLevel(logging.ERROR)
    begin = time.monotonic()
    mode = "compiled" if raftx.COMPILED else "interpreted"
    print(f"{mode}, seed {options.seed}, {options.frames:,} frames", flush=True)
    try:
        counts = run(raftx, raftx.transport.memory, options.frames, options.seed)
    except AssertionError as error:
        print(f"seed {options.seed}: {error}")
        return 1
    shown = ", ".join([f"{count:,} {reason}" for reason, count in counts.most_common()])
    print(f"no term moved, no node ended, all counted: {shown}; {time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
