"""Looking names up on a few threads, in plain Python: what ``wire.h`` does for compiled code."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

from .threads import Event

ADDRESSES = 8  # of one name
LOOKUPS = 4  # names that are looked up at a time

Address = tuple[int, Any]


def find(host: str, port: str, family: int, flags: int) -> list[Address]:
    """Up to eight addresses as (family, address). Raises socket.gaierror."""
    kind = {4: socket.AF_INET, 6: socket.AF_INET6}.get(family, socket.AF_UNSPEC)
    found = socket.getaddrinfo(host, port, kind, socket.SOCK_STREAM, 0, socket.AI_NUMERICSERV | flags)
    return [(each[0], each[4]) for each in found[:ADDRESSES]]


class Lookup:
    """A name that is to be looked up, and what came of it."""

    def __init__(self, host: str, port: str, family: int) -> None:
        self.host, self.port, self.family = host, port, family
        self.result: list[Address] | int | None = None


class Resolver:
    """Looks names up on LOOKUPS threads at most, which are there while there is something to look up.

    A lookup that hangs holds up no connection, nor the end of the process. It cannot be ended, so the threads are few,
    however many peers come and go; and more than one, so that one name does not hold up all others.
    """

    def __init__(self, event: Event) -> None:
        #: woken at the end of a lookup; None once nobody asks any more
        self._event: Event | None = event
        #: for all here. Reentrant: a signal handler may close what it has interrupted
        self._lock = threading.RLock()
        self._waiting: list[Lookup] = []
        #: what is under way and not forgotten
        self._asked: list[Lookup] = []
        #: so many threads will look at the list again
        self._busy = 0

    def begin(self, lookup: Lookup) -> None:
        """Look it up behind those that wait. Raises RuntimeError when there is no thread for it."""
        with self._lock:
            self._waiting.append(lookup)
            if self._busy >= LOOKUPS:
                return
            self._busy += 1
            try:
                threading.Thread(target=self._run, name="raftx_lookup", daemon=True).start()
            except BaseException:
                self._busy -= 1
                if not self._busy:
                    self._waiting.remove(lookup)
                    raise

    def forget(self, lookup: Lookup) -> None:
        """Its result is not wanted, or was taken: one that waits is not looked up, one under way ends unheard."""
        with self._lock:
            if lookup in self._waiting:
                self._waiting.remove(lookup)
            if lookup in self._asked:
                self._asked.remove(lookup)

    def close(self) -> None:
        """Nobody asks any more; every lookup has been forgotten."""
        with self._lock:
            self._event = None

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._busy -= 1
                    return
                lookup = self._waiting.pop(0)
                self._asked.append(lookup)
            result: list[Address] | int
            try:
                result = find(lookup.host, lookup.port, lookup.family, socket.AI_ADDRCONFIG)
            except socket.gaierror as error:
                result = error.errno or socket.EAI_FAIL
            except (OSError, UnicodeError):
                result = socket.EAI_FAIL
            with self._lock:
                if lookup in self._asked:
                    self._asked.remove(lookup)
                    lookup.result = result
                    if self._event is not None:
                        os.eventfd_write(self._event.fd, 1)
