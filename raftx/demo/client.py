"""The client of a replicated text, and the protocol it speaks with a node: frames over plain TCP.

A frame is the length of its body (4 bytes, big-endian), its kind (1 byte) and the body:

    COMMANDS  several commands, each behind its length (4 bytes)      answered by ANSWER, in order
    ANSWER    last sequence number applied, term of its entry (8 bytes each), then why not, if not all were done
    STATUS    empty; answered by STATUS with a JSON object
    LINES     position (8 bytes); answered by LINES: sequence number (8), length (4), bytes of each line
    STOP      empty; the node stops cleanly and answers STOP with its last status as JSON

``Sender`` shows what a client of a replicated service has to do: keep many commands in flight, in
order; when an outcome is unknown, or a node is gone, begin again behind the last one acknowledged.
Nothing here imports raftx: a client needs no part of it.
"""

from __future__ import annotations

import json
import math
import os
import select
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import IO, Any

from .store import COMMAND, Text

COMMANDS, ANSWER, STATUS, LINES, STOP = range(1, 6)
FRAME = struct.Struct(">IB")
SIZE = struct.Struct(">I")
OUTCOME = struct.Struct(">QQ")
POSITION = struct.Struct(">Q")
HELD = struct.Struct(">QI")
MAX_BODY = 64 << 20

BATCH_LINES = 128
BATCH_BYTES = 256 << 10
WINDOW_LINES = 1024
WINDOW_BYTES = 4 << 20
STALL_S = 1.0  # no answer for so long: ask another node, with twice the patience
STALL_MAX_S = 8.0
PAUSE_S = 0.02
GIVE_UP_S = 60.0  # no progress for so long: the cluster is broken


class GaveUp(Exception):
    """Nothing has been acknowledged for GIVE_UP_S seconds."""


def readable(source: int | socket.socket | IO[bytes] | IO[str], timeout: float | None) -> bool:
    """Whether there is something to read, or the other end is gone, within ``timeout`` seconds; None waits for ever.

    Not select(), which takes no descriptor above 1,023.
    """
    poll = select.poll()
    poll.register(source, select.POLLIN)
    return bool(poll.poll(None if timeout is None else math.ceil(timeout * 1000)))


class Connection:
    """Frames over one TCP connection. Raises OSError when it is lost. For one thread at each end of it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = bytearray()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def open(cls, port: int, timeout: float = 2.0) -> Connection:
        """Connect to a node on this machine."""
        sock = socket.create_connection(("127.0.0.1", port), timeout)
        sock.settimeout(5.0)
        return cls(sock)

    def send(self, kind: int, body: bytes = b"") -> None:
        self.sock.sendall(FRAME.pack(len(body), kind) + body)

    def receive(self, timeout: float | None = None) -> tuple[int, bytes] | None:
        """The next frame; None when it is not here after ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            frame = self._next()
            if frame is not None:
                return frame
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not readable(self.sock, left):
                return None
            piece = self.sock.recv(1 << 18)
            if not piece:
                raise ConnectionError("the other end has closed the connection")
            self.buffer += piece

    def _next(self) -> tuple[int, bytes] | None:
        if len(self.buffer) < FRAME.size:
            return None
        size, kind = FRAME.unpack_from(self.buffer)
        if size > MAX_BODY:
            raise ConnectionError(f"a frame of {size} bytes")
        end = FRAME.size + size
        if len(self.buffer) < end:
            return None
        body = bytes(memoryview(self.buffer)[FRAME.size : end])
        del self.buffer[:end]
        return kind, body

    def request(self, kind: int, body: bytes = b"", timeout: float = 5.0) -> bytes:
        """Send a frame and wait for the answer of the same kind."""
        self.send(kind, body)
        frame = self.receive(timeout)
        if frame is None or frame[0] != kind:
            raise ConnectionError("no answer" if frame is None else f"an answer of kind {frame[0]}")
        return frame[1]

    def status(self, timeout: float = 2.0) -> dict[str, Any]:
        """The node's status, as it describes it."""
        described: dict[str, Any] = json.loads(self.request(STATUS, b"", timeout))
        return described

    def close(self) -> None:
        self.sock.close()


def pack_commands(commands: list[bytes]) -> bytes:
    """The body of a COMMANDS frame."""
    return b"".join([SIZE.pack(len(command)) + command for command in commands])


def unpack_commands(body: bytes) -> list[bytes]:
    """The commands of a COMMANDS frame. Raises ValueError."""
    commands = []
    at = 0
    while at < len(body):
        if at + SIZE.size > len(body):
            raise ValueError("a command without its length")
        (size,) = SIZE.unpack_from(body, at)
        at += SIZE.size
        if size < COMMAND.size or at + size > len(body):
            raise ValueError("a command that is too short")
        commands.append(body[at : at + size])
        at += size
    return commands


def pack_lines(lines: list[tuple[int, bytes]]) -> bytes:
    """The body of an answer to LINES."""
    return b"".join([HELD.pack(sequence, len(line)) + line for sequence, line in lines])


def unpack_lines(body: bytes) -> list[tuple[int, bytes]]:
    """The (sequence number, line) of an answer to LINES; none at the end of the text."""
    lines = []
    at = 0
    while at < len(body):
        sequence, size = HELD.unpack_from(body, at)
        at += HELD.size
        lines.append((sequence, body[at : at + size]))
        at += size
    return lines


class Sender:
    """Sends the lines of a text in order; ``acknowledged`` of them are safe.

    ``nodes`` gives id and port of the nodes that run now, ``leader`` the id of the one that is said
    to lead (0: not known); ``between`` is called every few milliseconds and may raise.
    """

    def __init__(
        self,
        text: Text,
        nodes: Callable[[], dict[int, int]],
        leader: Callable[[], int],
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self.text = text
        self.nodes = nodes
        self.leader = leader
        self.between = between
        self.client = os.urandom(8)
        self.acknowledged = 0
        self.sent = 0  # on this connection, or acknowledged
        self.ever_sent = 0
        self.retries = 0
        self.connection: Connection | None = None
        self.node = 0
        self.hint = 0  # who was said to lead when the connection was made
        self.attempt = 0
        self.patience = STALL_S
        self.last_answer = self.last_progress = time.monotonic()
        self.first_sent_at = self.last_acknowledged_at = 0.0
        self.unacknowledged: deque[tuple[int, int]] = deque()  # (last line of a batch, when first sent in ns)
        self.latencies: Counter[int] = Counter()  # microseconds to number of lines
        self.first_answer: dict[int, float] = {}  # term to the time of its first acknowledgement

    def advance(self, until: int) -> None:
        """Send until line ``until`` is acknowledged; the window reaches beyond it. Raises GaveUp."""
        self.last_progress = self.last_answer = time.monotonic()
        while self.acknowledged < until:
            self.between()
            if time.monotonic() - self.last_progress > GIVE_UP_S:
                raise GaveUp(f"line {self.acknowledged + 1:,} has not been acknowledged within {GIVE_UP_S:.0f} s")
            try:
                if self.connection is None and not self._connect():
                    time.sleep(PAUSE_S)
                    continue
                self._fill_window()
                self._take_answers(0.01)
            except OSError as error:
                self._go_back(f"connection to node {self.node}: {error}")
            if self.connection is None:
                continue
            leader = self.leader()
            if leader not in (0, self.node, self.hint):
                self._go_back(f"node {leader} leads now", pause=False)
            elif time.monotonic() - self.last_answer > self.patience:
                # A cluster that is only slow has yet more to do now; asking at once again would choke it.
                self.patience = min(2 * self.patience, STALL_MAX_S)
                self._go_back(f"node {self.node} does not answer")

    def fill(self) -> None:
        """Put as many lines in flight as the window takes, and wait for none of them."""
        try:
            if self.connection is not None:
                self._fill_window()
        except OSError as error:
            self._go_back(f"connection to node {self.node}: {error}")

    def _connect(self) -> bool:
        """To the leader if it is known, with each failure to the next node."""
        nodes, self.hint = self.nodes(), self.leader()
        order = sorted(nodes, key=lambda id: (id != self.hint, id))
        if not order:
            return False
        self.node = order[self.attempt % len(order)]
        self.connection = Connection.open(nodes[self.node])
        self.last_answer = time.monotonic()
        return True

    def _go_back(self, reason: str, pause: bool = True) -> None:
        """Whatever is in flight has an unknown outcome: send it again, on a connection of its own.

        What the old connection has left behind is told apart by the client's session.
        """
        if self.sent > self.acknowledged:
            self.retries += 1
        self.close()
        self.sent = self.acknowledged
        if pause:
            self.attempt += 1
            time.sleep(PAUSE_S)

    def _fill_window(self) -> None:
        assert self.connection is not None
        text = self.text
        while self.sent < len(text) and self.sent - self.acknowledged < WINDOW_LINES:
            if self.sent > self.acknowledged and text.size(self.acknowledged + 1, self.sent + 1) > WINDOW_BYTES:
                break
            first = last = self.sent + 1
            end = min(len(text), self.sent + BATCH_LINES, self.acknowledged + WINDOW_LINES)
            while last < end and text.size(first, last + 1) <= BATCH_BYTES:
                last += 1
            commands = [COMMAND.pack(self.client, number) + text[number] for number in range(first, last + 1)]
            if last > self.ever_sent:
                self.ever_sent = last
                self.unacknowledged.append((last, time.monotonic_ns()))
                self.first_sent_at = self.first_sent_at or time.monotonic()
            self.connection.send(COMMANDS, pack_commands(commands))
            self.sent = last

    def _take_answers(self, wait: float) -> None:
        """Every answer that is here; waits for the first of them."""
        while self.connection is not None:
            frame = self.connection.receive(wait)
            if frame is None:
                return
            wait = 0.0
            kind, body = frame
            if kind != ANSWER:
                raise ConnectionError(f"an answer of kind {kind}")
            last, term = OUTCOME.unpack_from(body)
            self.last_answer = time.monotonic()
            if last > self.acknowledged:
                self._acknowledge(last, term)
            if len(body) > OUTCOME.size:
                self._go_back(body[OUTCOME.size :].decode())

    def _acknowledge(self, last: int, term: int) -> None:
        now = time.monotonic_ns()
        while self.unacknowledged and self.acknowledged < last:
            end, sent = self.unacknowledged[0]
            reached = min(end, last)
            self.latencies[(now - sent) // 1000] += reached - self.acknowledged
            self.acknowledged = reached
            if reached == end:
                self.unacknowledged.popleft()
        self.sent = max(self.sent, self.acknowledged)
        self.attempt = 0
        self.patience = STALL_S
        self.last_progress = self.last_acknowledged_at = time.monotonic()
        if term:  # 0: an earlier connection did it
            self.first_answer.setdefault(term, self.last_progress)

    def latency(self, share: float) -> int | None:
        """Microseconds from sending a line to its acknowledgement, not exceeded by this share of the lines."""
        left = share * self.latencies.total()
        for microseconds in sorted(self.latencies):
            left -= self.latencies[microseconds]
            if left <= 0:
                return microseconds
        return None

    def close(self) -> None:
        """Drop the connection."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
