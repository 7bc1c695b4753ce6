"""Twin of _nng.pyx: from Python, NNG's functions cannot be called without the GIL, so everything here refuses."""

from __future__ import annotations

from typing import NoReturn, final

from ._memory import Bytes
from ._sys import Event, Runner, _number, _typed
from .errors import UsageError


def nng_available() -> bool:
    """False: NNG's functions can be called directly from compiled code only."""
    return False


def _no_nng() -> NoReturn:
    raise UsageError("NNG's functions cannot be called directly here")


@final
class NngReceiver:
    """Receives frames from one NNG socket. Not here: raises UsageError."""

    __slots__ = ("data", "size")

    def __init__(self, socket: int, event: Event, capacity: int = 1024) -> None:
        _number(socket, 2**32)
        _typed(Event, event)
        self.data: Bytes = b""
        self.size = 0
        _no_nng()

    def start(self) -> None:
        """Begin to receive. Raises TransportError."""
        _no_nng()

    def stop(self) -> None:
        """End receiving; frees what was not taken. Not while the taker is in ``next``."""
        _no_nng()

    def waiting(self) -> bool:
        """Whether ``next`` would find a frame."""
        _no_nng()

    def next(self) -> bool:
        """Make the next frame the present one (``data``, ``size``); False when there is none."""
        _no_nng()

    def py_next(self) -> bytes | None:
        """The next frame, or None."""
        _no_nng()


@final
class NngPeer(Runner):
    """Keeps a connection to one peer. Not here: raises UsageError."""

    def __init__(self, url: str, queue: int, shortest: int, longest: int) -> None:
        self.connections = 0
        _no_nng()

    def stop(self) -> None:
        """End ``run``, also while it dials. Any thread; may be called twice."""
        _no_nng()

    def py_ready(self) -> bool:
        """Whether a connection stands."""
        _no_nng()


@final
class NngSender:
    """Sends frames to peers. Not here: raises UsageError."""

    __slots__ = ()

    def __init__(self) -> None:
        _no_nng()

    def add(self, id: int, peer: NngPeer) -> None:
        """Frames for member ``id`` go to this peer. Raises ValueError: too many."""
        _no_nng()

    def prepare(self, to: int, size: int) -> bytearray | None:
        """The memory for one frame of ``size`` bytes to ``to``; None when it could not be sent."""
        _no_nng()

    def send(self) -> int:
        """Send the prepared frame; 0, or a number when it was dropped."""
        _no_nng()

    def py_send(self, to: int, frame: bytes) -> int:
        """Send a copy; 0, or a number when it was dropped."""
        _no_nng()
