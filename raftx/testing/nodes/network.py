"""The network of simulated nodes: frames that are lost, delayed, repeated, reordered, or cut off in one direction.

In some worlds they are bytes of streams, which come in pieces (pipes.py). Time is the world's, faults are drawn from
its random source. Frames that are on their way outlive the nodes that sent them and those they are for, as they do in
real networks. Nothing here knows Raft.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable

from .pipes import Pipe

FRAME_BYTES_MAX = 1 << 20


class Network:
    """Connects the transports of nodes by id. ``seen`` is called with each frame that a node sends."""

    def __init__(
        self,
        rng: random.Random,
        totals: Counter[str],
        seen: Callable[[int, int, bytes], None],
        pieces: random.Random | None = None,
    ) -> None:
        self.rng = rng
        #: where frames are bytes of streams: what their pieces are drawn from
        self.pieces = pieces
        #: (sender, recipient): the connection, and to which life of the recipient
        self.pipes: dict[tuple[int, int], tuple[Pipe, Transport]] = {}
        self.totals = totals
        self.seen = seen
        self.nodes: dict[int, Transport] = {}
        #: (sender, recipient) between which nothing arrives
        self.cuts: set[tuple[int, int]] = set()
        self.loss = self.repeat = 0.0
        #: nanoseconds that a frame takes, from .. to: those of different length overtake each other
        self.delay = (0, 0)
        #: (due, order, sender, recipient, frame)
        self.waiting: list[tuple[int, int, int, int, bytes]] = []
        self.order = 0
        self.now = 0

    def heal(self) -> None:
        """No faults from now on; what is on its way arrives."""
        self.cuts.clear()
        self.loss = self.repeat = 0.0
        self.delay = (0, 0)

    def send(self, sender: int, to: int, frame: bytes) -> bool:
        """Take a frame; False when it was dropped and the sender knows it."""
        self.seen(sender, to, frame)
        rng = self.rng
        if (sender, to) in self.cuts:
            self.totals["frames cut off"] += 1
            return rng.random() < 0.5
        if self.loss and rng.random() < self.loss:
            self.totals["frames dropped"] += 1
            return rng.random() < 0.8
        copies = 1
        if self.repeat and rng.random() < self.repeat:
            self.totals["frames repeated"] += 1
            copies = 2
        for _ in range(copies):
            self.order += 1
            low, high = self.delay
            due = self.now + (rng.randint(low, high) if high else 0)
            heapq.heappush(self.waiting, (due, self.order, sender, to, frame))
        return True

    def deliver(self, now: int) -> None:
        """What is due by now arrives, where somebody listens."""
        self.now = now
        newest = 0
        while self.waiting and self.waiting[0][0] <= now:
            _, order, sender, to, frame = heapq.heappop(self.waiting)
            self.totals["frames reordered"] += order < newest
            newest = max(newest, order)
            transport = self.nodes.get(to)
            if transport is None or (sender, to) in self.cuts:
                self.totals["frames lost on their way"] += 1
            elif self.pieces is None:
                transport.receive(sender, frame)
            else:
                self._put(sender, to, transport, frame)
        if self.pieces is not None:
            self._arrive(self.pieces)

    def _put(self, sender: int, to: int, transport: Transport, frame: bytes) -> None:
        """Into the connection of the two; a new one where there is none to this life."""
        assert self.pieces is not None
        pipe, other = self.pipes.get((sender, to), (None, None))
        if pipe is None or other is not transport:
            pipe = Pipe(FRAME_BYTES_MAX, self.pieces.random() < 0.5)
            self.pipes[sender, to] = pipe, transport
        if not pipe.put(frame):
            self.totals["frames dropped"] += 1

    def _arrive(self, draw: random.Random) -> None:
        """What comes of each stream by now. One that was cut off is over, with what was in it."""
        for (sender, to), (pipe, transport) in list(self.pipes.items()):
            if self.nodes.get(to) is not transport or (sender, to) in self.cuts:
                self.totals["streams cut off in a frame"] += bool(pipe.expected)
                del self.pipes[sender, to]
                continue
            # Without faults everything that was sent arrives.
            for frame in pipe.arrive(draw, not (self.cuts or self.loss or self.repeat or self.delay[1])):
                transport.receive(sender, frame)
            self.totals["frames that came in part"] += bool(pipe.expected)


class Transport:
    """One node's end of the network: what raftx.Node takes as its transport."""

    max_frame_bytes = FRAME_BYTES_MAX

    def __init__(self, network: Network, members: tuple[int, ...]) -> None:
        self._network = network
        self._members = members
        self._id = 0
        self._deliver: Callable[[bytes, int], object] | None = None
        self._connected: Callable[[int], object] | None = None

    def attach(self, deliver_from: Callable[[bytes, int], object], connected: Callable[[int], object]) -> None:
        """What to call with a frame, and with a member to which a connection has come to stand."""
        self._deliver = deliver_from
        self._connected = connected

    def start(self, id: int, deliver: Callable[[bytes], object]) -> None:
        """Receive from now on, and be connected with everybody."""
        self._id = id
        self._network.nodes[id] = self
        for member in self._members:
            if member != id and self._connected is not None:
                self._connected(member)

    def receive(self, sender: int, frame: bytes) -> None:
        """A frame arrives."""
        if self._deliver is not None:
            self._deliver(frame, sender)

    def send(self, to: int, frame: bytes) -> bool:
        """Send a frame, as the network lets it; False for an id that is no peer's."""
        return to in self._members and self._network.send(self._id, to, frame)

    def add_peer(self, id: int, address: str) -> None:
        """Be connected with this member, too. The address is not looked at."""
        if id not in self._members:
            self._members = (*self._members, id)
            if self._id and self._connected is not None:
                self._connected(id)

    def remove_peer(self, id: int) -> None:
        """Send nothing more to this member."""
        self._members = tuple([member for member in self._members if member != id])

    def renew(self, to: int) -> None:
        """The connection is of no use: there is a new one at once."""
        if self._connected is not None:
            self._connected(to)

    def close(self) -> None:
        """Receive nothing any more."""
        if self._network.nodes.get(self._id) is self:
            del self._network.nodes[self._id]
        self._deliver = self._connected = None
