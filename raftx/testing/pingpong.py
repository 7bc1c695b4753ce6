"""What the transport alone costs: frames to and fro between two processes, by the engine's own means.

No Raft, disk or Python object is involved once the loop runs; see bench/bench_cluster.py.
"""

from __future__ import annotations

from array import array

from .._native.threads import Clock, Event, Runner
from ..transport.link import Link

PAUSE_NS = 1_000_000


class PingPong(Runner):
    """``rounds`` frames of ``size`` bytes to member ``to`` and back; the one that is ``first`` takes the times.

    ``latencies`` (nanoseconds) has a round trip each afterwards.
    """

    def __init__(self, link: Link, event: Event, to: int, size: int, rounds: int, first: bool) -> None:
        self.link = link
        self.event = event
        self.to = to
        self.size = size
        self.rounds = rounds
        self.first = first
        self.clock = Clock()
        self.latencies = array("q", bytes(8 * rounds))

    def loop(self) -> int:
        for done in range(self.rounds):
            started = self.clock.now()
            if self.first:
                self.send()
            self.receive()
            if not self.first:
                self.send()
            self.latencies[done] = self.clock.now() - started
        return 0

    def send(self) -> int:
        """One frame, whatever its content; again until the transport takes it (a peer may not listen yet)."""
        self.link.fresh()
        while not self.link.prepare(self.to, self.size) or self.link.send() != 0:
            self.link.fresh()
            self.event.prepare()
            self.link.wait(self.event, PAUSE_NS, False)
            self.link.collect()
        return self.link.flush()

    def receive(self) -> int:
        """Wait for one frame."""
        while not self.link.next():
            self.event.prepare()
            if self.link.waiting():
                self.event.cancel()
            else:
                self.link.wait(self.event, -1, True)
            self.link.collect()
        self.link.proven()
        return 0
