"""Twin of nng.pyx: from Python, NNG's functions cannot be called without the GIL, so everything here refuses."""

from __future__ import annotations

from typing import NoReturn, final

from ..errors import UsageError
from .identity import Identities
from .limits import Arrivals
from .memory import Bytes
from .threads import Event, Runner, _number, _typed
from .wire import Wire


def nng_available() -> bool:
    """False: NNG's functions can be called directly from compiled code only."""
    return False


def _no_nng() -> NoReturn:
    raise UsageError("NNG's functions cannot be called directly here")


@final
class NngReceiver:
    """Receives frames from one NNG socket. Not here: raises UsageError."""

    __slots__ = ("data", "size")

    def __init__(self, socket: int, event: Event, capacity: int = 1024, byte_limit: int = 1 << 30) -> None:
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

    def pipe(self) -> int:
        """Over which of NNG's pipes the present frame came."""
        _no_nng()

    def py_next(self) -> bytes | None:
        """The next frame, or None."""
        _no_nng()


@final
class NngWire(Runner):
    """The connections of a node: a Wire's, in NNG's hands. Not here: raises UsageError."""

    def __init__(
        self, engine: Event, wire: Wire, arrivals: Arrivals, socket: int, queue: int, names: Identities | None = None
    ) -> None:
        self.connections = self.renewals = self.unnamed = 0
        _no_nng()

    def add(self, id: int, host: str, port: str, family: int, url: str, patience: int = 1, tls: int = 0) -> None:
        """Dial member ``id``: host and port over TCP, or without a host the url by NNG itself.

        patience: how many times as long as an attempt the handshake may take. tls: NNG's configuration, which is never
        freed. Any thread, but one at a time, like ``drop``. Raises ValueError: too many.
        """
        _no_nng()

    def drop(self, id: int) -> None:
        """Dial this member no more, and end the connection to it; nothing when it is not dialled."""
        _no_nng()

    def number_of(self, id: int) -> int:
        """-1 for a member that is not dialled."""
        _no_nng()

    def watch(self) -> None:
        """Count what comes to the Pull0 socket, and close what has to go. Before it listens."""
        _no_nng()

    def renew(self, id: int) -> None:
        """End the connection to this member and dial again. Any thread."""
        _no_nng()

    def fresh(self) -> int:
        """A member to which a connection was established since the last call, 0 for none."""
        _no_nng()

    def proven(self, pipe: int) -> None:
        """A valid frame has come over this pipe."""
        _no_nng()

    def member(self, pipe: int) -> int:
        """Whom the certificate of a connection names; 0: connections have none."""
        _no_nng()

    def py_tls(self, id: int, tls: int) -> None:
        """The next connection to this member uses this configuration, which is never freed. Any thread."""
        _no_nng()

    def py_attend(self) -> None:
        """The thread that runs shall look at everything. Any thread."""
        _no_nng()

    def stop(self) -> None:
        """End ``run``. Any thread; may be called twice."""
        _no_nng()

    def py_renew(self, id: int) -> None:
        """End the connection to this member and dial again. Any thread."""
        _no_nng()

    def heard(self, id: int, anew: bool) -> None:
        """Something has come from this member: without a connection to it, dial it now. anew: it has just come."""
        _no_nng()

    def py_heard(self, id: int, anew: bool = False) -> None:
        """Something has come from this member: without a connection to it, dial it now."""
        _no_nng()

    def py_fresh(self) -> int:
        """A member to which a connection was established since the last call, 0 for none."""
        _no_nng()

    def py_ready(self, id: int) -> bool:
        """Whether a connection to this member is established."""
        _no_nng()


@final
class NngSender:
    """Sends frames to the members that a wire dials. Not here: raises UsageError."""

    __slots__ = ()

    def __init__(self, wire: NngWire) -> None:
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
