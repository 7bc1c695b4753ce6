"""What every transport must do, as checks that a transport of your own can be held against::

    import pytest
    from raftx.testing.transport_suite import Subject, checks

    @pytest.mark.parametrize("check", checks(), ids=lambda check: check.__name__)
    def test_my_transport(check):
        check(Subject(MyTransport, {1: "tcp://127.0.0.1:5611", 2: "tcp://127.0.0.1:5612", 3: "tcp://127.0.0.1:5613"}))

A check raises AssertionError with a sentence. ``make(address)`` makes a transport that listens there and is not
started; it is called several times in a check, also with an address that was used before. The addresses are of three
ends that can reach each other, in the transport's own form. A transport may lose frames, so a check sends again until
one has arrived; nothing is asserted about how long anything takes, but that it ends within ``patience``. Opens what the
transport opens, and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..config import Config
from ..errors import ConfigError, RaftError
from ..node.node import Node
from ..storage.memory import MemoryStorage
from ..transport.protocol import Transport
from .storage_subject import expect_error

PATIENCE = 30.0  # seconds in which what should happen has happened, on the slowest machine
PAUSE = 0.01
LATE = 0.05  # seconds in which a thread that close has not waited for would deliver what it has
LARGE = 1 << 20  # bytes of a large frame: what a node with the default settings may send
FLOOD = 64 << 20  # bytes that are sent at once: more than a queue should take

__all__ = ["PATIENCE", "Subject", "checks"]


class End:
    """A transport that was started, and what has come to it."""

    def __init__(self, transport: Any, id: int) -> None:
        self.transport = transport
        self.id = id
        self.frames: list[bytes] = []
        self.closed = False
        #: how many came after ``close`` had returned
        self.late = 0
        transport.start(id, self.deliver)

    def deliver(self, frame: bytes) -> None:
        """What the transport calls."""
        self.late += self.closed
        self.frames.append(bytes(frame))

    def close(self) -> None:
        """Close it; nothing may be delivered from then on."""
        self.transport.close()
        self.closed = True


@dataclass
class Subject:
    """A transport that is looked at. See this module."""

    make: Callable[[str], Any]
    addresses: Mapping[int, str]
    patience: float = PATIENCE
    ends: list[End] = field(default_factory=list)

    def start(self, id: int, at: int = 0) -> End:
        """One end, which knows the others; ``at``: at the address of which one, itself unless said otherwise."""
        transport = self.make(self.addresses[at or id])
        for other, address in self.addresses.items():
            if other not in (id, at):
                transport.add_peer(other, address)
        end = End(transport, id)
        self.ends.append(end)
        return end

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Closes what was started."""
        try:
            yield
        finally:
            for end in self.ends:
                end.close()
            self.ends.clear()

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something. Raises AssertionError when it does not happen."""
        deadline = time.monotonic() + self.patience
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: it did not happen within {self.patience:g} s")
            time.sleep(PAUSE)

    def arrives(self, sender: End, receiver: End, frame: bytes, what: str) -> None:
        """Send a frame until it has arrived."""

        def there() -> bool:
            if frame in receiver.frames:
                return True
            sender.transport.send(receiver.id, frame)
            return False

        self.until(there, what)


Check: TypeAlias = Callable[[Subject], None]


# --- frames ----------------------------------------------------------------------------------------


def it_has_the_methods_of_a_transport(subject: Subject) -> None:
    """``start``, ``send``, ``add_peer``, ``remove_peer`` and ``close``."""
    transport = subject.make(subject.addresses[1])
    if not isinstance(transport, Transport):
        raise AssertionError("it lacks a method of raftx.Transport")
    transport.close()


def frames_arrive_as_they_were_sent(subject: Subject) -> None:
    """Whole, of any content and of any size that a node may send, both ways."""
    with subject.at_work():
        first, second = subject.start(1), subject.start(2)
        frames = [b"a", bytes(range(256)), b"\0" * 4096, b"\n" * 70_000, bytes(range(256)) * (LARGE // 256)]
        for number, frame in enumerate(frames):
            subject.arrives(first, second, frame, f"a frame of {len(frame)} bytes from 1 to 2")
            subject.arrives(second, first, bytes([number]) + frame, f"a frame of {len(frame) + 1} bytes from 2 to 1")
        for end, sent in ((second, set(frames)), (first, {bytes([n]) + frame for n, frame in enumerate(frames)})):
            for each in end.frames:
                if each not in sent:
                    raise AssertionError(f"{len(each)} bytes came to {end.id} that nobody has sent")


def many_frames_stay_apart(subject: Subject) -> None:
    """A thousand small ones sent in a row: what arrives is whole frames of these, and most of them at last."""
    with subject.at_work():
        first, second = subject.start(1), subject.start(2)
        subject.arrives(first, second, b"hello", "the first frame")
        wanted = {b"%d." % number * (1 + number % 50) for number in range(1000)}

        def all_there() -> bool:
            missing = wanted.difference(second.frames)
            for frame in missing:
                first.transport.send(2, frame)
            return not missing

        subject.until(all_there, "a thousand frames")
        odd = set(second.frames) - wanted - {b"hello"}
        if odd:
            raise AssertionError(f"a frame came that nobody has sent: {min(odd)[:60]!r}")


def whoever_is_not_known_gets_nothing(subject: Subject) -> None:
    """``send`` to a member without an address is False, and raises nothing."""
    with subject.at_work():
        first = subject.start(1)
        if first.transport.send(99, b"x") is not False:
            raise AssertionError("send to a member that was never added: must be False")


def sending_never_waits(subject: Subject) -> None:
    """More than any queue takes, to a member that reads and to one that is not there: frames are dropped."""
    with subject.at_work():
        first, second = subject.start(1), subject.start(2)
        subject.arrives(first, second, b"x", "the first frame")
        piece, done = bytes(LARGE), threading.Event()

        def send() -> None:
            for _ in range(FLOOD // LARGE):
                first.transport.send(2, piece)
                first.transport.send(3, piece)
            done.set()

        sender = threading.Thread(target=send, name="transport-suite", daemon=True)
        sender.start()
        if not done.wait(subject.patience):
            raise AssertionError("send waits for a member that is slow, or not there: it must drop frames")
        sender.join()


# --- peers -----------------------------------------------------------------------------------------


def peers_may_be_added_at_any_time(subject: Subject) -> None:
    """Before the start, or later; a second time changes nothing."""
    with subject.at_work():
        second = subject.start(2)
        first = End(subject.make(subject.addresses[1]), 1)
        subject.ends.append(first)
        for _ in range(2):
            first.transport.add_peer(2, subject.addresses[2])
            subject.arrives(first, second, b"added", "a frame to a member that was added after the start")


def a_peer_that_moves_is_reached_elsewhere(subject: Subject) -> None:
    """``add_peer`` with another address."""
    with subject.at_work():
        first, second = subject.start(1), subject.start(2)
        subject.arrives(first, second, b"here", "a frame to where it was")
        second.close()
        moved = subject.start(2, at=3)
        first.transport.add_peer(2, subject.addresses[3])
        subject.arrives(first, moved, b"there", "a frame to where it is now")


def a_peer_that_comes_back_is_reached_again(subject: Subject) -> None:
    """One that was closed and is started again at the same place, without anybody being told."""
    with subject.at_work():
        first, second = subject.start(1), subject.start(2)
        subject.arrives(first, second, b"one", "a frame to its first life")
        second.close()
        again = subject.start(2)
        subject.arrives(first, again, b"two", "a frame to its second life")


def a_peer_that_is_removed_gets_nothing(subject: Subject) -> None:
    """``send`` is False from then on; removing it again changes nothing, and it may be added again."""
    with subject.at_work():
        first, second = subject.start(1), subject.start(2)
        subject.arrives(first, second, b"before", "a frame")
        for _ in range(2):
            first.transport.remove_peer(2)
            if first.transport.send(2, b"removed") is not False:
                raise AssertionError("send to a member that was removed: must be False")
        first.transport.remove_peer(99)
        first.transport.add_peer(2, subject.addresses[2])
        subject.arrives(first, second, b"again", "a frame after it was added again")
        if b"removed" in second.frames:
            raise AssertionError("a frame arrived although send was False, and the member was removed")


def what_is_no_id_is_refused(subject: Subject) -> None:
    """``add_peer`` and ``remove_peer`` raise ConfigError."""
    transport = subject.make(subject.addresses[1])
    try:
        for id in (0, -1, 1 << 63, True, None, "1", 1.0):
            expect_error(ConfigError, f"add_peer with the id {id!r}", transport.add_peer, id, subject.addresses[2])
            expect_error(ConfigError, f"remove_peer with the id {id!r}", transport.remove_peer, id)
    finally:
        transport.close()


# --- begin and end ---------------------------------------------------------------------------------


def a_place_that_is_taken_is_an_error(subject: Subject) -> None:
    """``start`` raises a RaftError, TransportError best, and the one that is there goes on."""
    with subject.at_work():
        first, second = subject.start(1), subject.start(2)
        other = subject.make(subject.addresses[2])
        try:
            other.start(2, lambda frame: None)
        except RaftError:
            pass
        else:
            raise AssertionError("start where another one listens: TransportError must be raised")
        finally:
            other.close()
        subject.arrives(first, second, b"still", "a frame to the one that was there")


def nothing_comes_after_it_is_closed(subject: Subject) -> None:
    """``close`` ends the delivery before it returns, also amid frames, and may be called twice."""
    with subject.at_work():
        for _ in range(3):
            first, second = subject.start(1), subject.start(2)
            subject.arrives(first, second, b"one", "a frame")
            for number in range(200):
                first.transport.send(2, b"%d" % number * 1000)
            second.close()
            second.close()
            for number in range(50):
                first.transport.send(2, b"%d" % number)
            time.sleep(LATE)
            first.close()
            if second.late:
                raise AssertionError(f"{second.late} frames were delivered after close had returned")
        subject.make(subject.addresses[1]).close()  # one that was never started


def nodes_agree_over_it(subject: Subject) -> None:
    """A cluster of three elects a leader, writes, loses the leader, and goes on."""

    class Total:
        value = 0

        def apply(self, entry: Any) -> int:
            """Add."""
            self.value += int(entry.data)
            return self.value

    def member(id: int) -> Node[int]:
        transport = subject.make(subject.addresses[id])
        for other, address in subject.addresses.items():
            if other != id:
                transport.add_peer(other, address)
        return Node(Config(id=id), MemoryStorage(voters=[*subject.addresses]), transport, Total())

    nodes = {id: member(id) for id in subject.addresses}
    try:
        for node in nodes.values():
            node.start()
        nodes[1].wait_ready(subject.patience)
        total = nodes[1].propose(b"5", timeout=subject.patience).result(2 * subject.patience).result
        nodes.pop(nodes[1].leader_id or 1).close()
        node = next(iter(nodes.values()))
        total += node.propose(b"2", timeout=subject.patience).result(2 * subject.patience).result
    finally:
        for node in nodes.values():
            node.close()
    if total != 12:
        raise AssertionError(f"three members over this transport have counted wrong: {total}, must be 12")


CHECKS: tuple[Check, ...] = (
    it_has_the_methods_of_a_transport,
    frames_arrive_as_they_were_sent,
    many_frames_stay_apart,
    whoever_is_not_known_gets_nothing,
    sending_never_waits,
    peers_may_be_added_at_any_time,
    a_peer_that_moves_is_reached_elsewhere,
    a_peer_that_comes_back_is_reached_again,
    a_peer_that_is_removed_gets_nothing,
    what_is_no_id_is_refused,
    a_place_that_is_taken_is_an_error,
    nothing_comes_after_it_is_closed,
    nodes_agree_over_it,
)


def checks() -> tuple[Check, ...]:
    """All of them."""
    return CHECKS
