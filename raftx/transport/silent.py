"""Connections that NNG has accepted and that do not come through their TLS handshake: they are ended after a while.

NNG has no time limit for a handshake and names no connection before its end, so they are found among this process's
descriptors: those that are connected where the node listens, at its address and port. Each is looked at through a copy
of its descriptor, so a number that is used again meanwhile is never taken for another socket; it is shut down, and NNG,
which notices that, closes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator

from .address import is_everywhere

Place = tuple[str, int]  # a host and a port
SOON, LATER = 0.05, 0.25  # seconds until the next look: while some are there, and otherwise


class SilentConnections:
    """Those at one address and port. For one thread.

    at: where the node listens; 0.0.0.0 and :: are every address. limit_s: how long a handshake may take. most: how many
    may be there at once; one more costs one of the host that has the most. established: where those come from that are
    through it.
    """

    def __init__(self, at: Place, limit_s: float, most: int, established: Callable[[], set[Place]]) -> None:
        self.host, self.port = place(at)
        self.limit_s = limit_s
        self.most = most
        self.established = established
        self.ended = 0
        #: by inode, when it was seen first and where it comes from; None: of no interest
        self.seen: dict[int, tuple[float, Place] | None] = {}
        #: by inode, since when those have ended that NNG has not closed: it keeps some that were reset
        self.dead: dict[int, float] = {}
        self._waiting = 0  # of ``seen``, how many are of interest: another thread asks while it changes
        #: a descriptor that is given up while it looks: a flood may have taken all others
        self._spare = _spare()

    def __repr__(self) -> str:
        return f"<SilentConnections at {self.host}, port {self.port}: {self.waiting()} wait, {self.ended} ended>"

    def waiting(self) -> int:
        """How many are in their handshake, as of the last look."""
        return self._waiting

    def look(self, now: float) -> float:
        """End those that have to go; after how many seconds to look again. now: monotonic seconds.

        Raises OSError when there is no descriptor at all: then nothing has changed, and the next look goes on.
        """
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
        try:
            return self._look(now)
        finally:
            self._spare = _spare()

    def close(self) -> None:
        """Give the spare descriptor back. May be called twice."""
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1

    def _look(self, now: float) -> float:
        there: dict[int, list[int]] = {}
        for fd, inode in _sockets():
            there.setdefault(inode, []).append(fd)
        for inode, fds in there.items():
            if inode in self.seen:
                continue
            made = _copy(fds, inode)
            if made is not None:  # else it has gone, or is looked at the next time
                with made:
                    peer = self._peer_of(made, inode, now)
                self.seen[inode] = (now, peer) if peer is not None else None
        self.seen = {inode: each for inode, each in self.seen.items() if inode in there}
        self.dead = {inode: since for inode, since in self.dead.items() if inode in there}
        waiting = {inode: each for inode, each in self.seen.items() if each is not None}
        self._waiting = len(waiting)
        if not waiting:
            return LATER
        established = self.established()
        for inode, each in list(waiting.items()):
            if each[1] in established:
                self.seen[inode] = None
                del waiting[inode]
        going = [inode for inode, each in waiting.items() if now - each[0] >= self.limit_s]
        for inode in going:
            del waiting[inode]
        while len(waiting) > self.most:
            import random  # rarely so many come at once

            most = Counter([each[1][0] for each in waiting.values()]).most_common(1)[0][0]
            # By chance: who goes must not depend on who came when.
            inode = random.choice([inode for inode, each in waiting.items() if each[1][0] == most])
            del waiting[inode]
            going.append(inode)
        for inode in going:
            self._end(there[inode], inode, now)
        self._waiting = sum([each is not None for each in self.seen.values()])
        return SOON if self._waiting else LATER

    def _peer_of(self, made: socket.socket, inode: int, now: float) -> Place | None:
        with _unless_short():
            if made.family not in (socket.AF_INET, socket.AF_INET6) or made.type != socket.SOCK_STREAM:
                return None
            # Another server of this program may have the same port at another address.
            host, port = place(made.getsockname()[:2])
            if port != self.port or (not is_everywhere(self.host) and host != self.host):
                return None
            if made.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return None
            try:
                return place(made.getpeername()[:2])
            except OSError:
                self.dead[inode] = now  # it has ended before it was seen
        return None

    def _end(self, fds: list[int], inode: int, now: float) -> None:
        made = _copy(fds, inode)
        if made is None:
            return  # it has gone, or is ended the next time
        with made, _unless_short():
            made.shutdown(socket.SHUT_RDWR)
        self.seen[inode] = None
        self.dead[inode] = now
        self.ended += 1

    def stuck(self, now: float) -> int:
        """How many have ended for a while and still have their descriptor. now: monotonic seconds."""
        return sum([now - since >= self.limit_s for since in self.dead.values()])


def place(at: tuple[str, int]) -> Place:
    """A host and a port as they are compared: an IPv4 address in an IPv6 one is the same host."""
    host = at[0].lower()
    return (host[7:] if host.startswith("::ffff:") and "." in host else host), at[1]


@contextlib.contextmanager
def _unless_short() -> Iterator[None]:
    """A socket that has gone is nothing; a shortage is, as the socket is there still. Raises OSError for that."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise


def _spare() -> int:
    """A descriptor that is of no use; -1 where there is none."""
    try:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _sockets() -> list[tuple[int, int]]:
    """Descriptors of sockets in this process, and their inodes."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            found.append((int(name), int(target[8:-1])))
    return found


def _copy(fds: list[int], inode: int) -> socket.socket | None:
    """A socket of its own for what these descriptors led to; None when none of them does any more.

    Some may have been there for a moment: copies that other nodes of this process made. Raises OSError for a shortage.
    """
    for fd in fds:
        with _unless_short():
            made = os.dup(fd)
            try:
                if os.fstat(made).st_ino == inode:
                    return socket.socket(fileno=made)
            except OSError:
                os.close(made)
                raise
            os.close(made)
    return None
