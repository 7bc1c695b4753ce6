"""What becomes of NNG in a forked child: nothing of it is touched there, and what it has open is closed.

NNG's threads do not exist in a child, so every call of its library waits for ever or aborts: closing a socket,
freeing one, and the library's own end at exit. But the descriptors are copies, which would keep the parent's
port taken and its connections open; those that can be told by their addresses are closed: what listens, and what was
accepted there. Copies of connections that the parent has dialled stay until the child ends: when the parent ends, the
other side notices it by what it sends, and not by the end of the connection.

In the child a transport of the parent sends nothing, knows no counters, and takes no peers; to start one, the parent's
or a new one, raises UsageError. What a node does there is the node's (node/lifecycle.py).
"""

from __future__ import annotations

import atexit
import os
import re
import socket
import sys
import weakref
from typing import Any, Protocol

from ..errors import UsageError


class Forgetful(Protocol):
    """A transport that has NNG sockets."""

    @property
    def address(self) -> str:
        """Where it listens."""

    def forget(self) -> list[Any]:
        """Let go of every object that NNG is behind, without a call, and return them. In the child."""


_transports: weakref.WeakSet[Any] = weakref.WeakSet()
_state = {"used": False, "lost": False}


def watch(transport: Forgetful) -> None:
    """Before a transport opens its first socket. Raises UsageError in a child whose parent used NNG."""
    if _state["lost"]:
        raise UsageError("NNG does not survive fork: this process was forked from one that used it; spawn instead")
    import ctypes  # noqa: F401 - here, so that the child finds it: only now is it known to be needed

    _state["used"] = True
    _transports.add(transport)


def _in_child() -> None:
    if not _state["used"]:
        return
    import ctypes

    _state["lost"] = True
    pynng = sys.modules.get("pynng.nng")
    # pynng would end the library at exit, which waits for threads that are not there.
    ends = getattr(pynng, "_pynng_atexit", None)
    if ends is not None:
        atexit.unregister(ends)
    # Nor may any of its objects, garbage included, call NNG when it is freed.
    for name in ("Socket", "Context", "Message"):
        kind: Any = getattr(pynng, name, None)
        if hasattr(kind, "__del__"):
            kind.__del__ = _nothing
    addresses = []
    for transport in list(_transports):
        addresses.append(transport.address)
        for each in transport.forget():
            # Never freed: a reference too many is the one thing that holds to the end of the interpreter.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))
    _close_sockets(addresses)


def _nothing(_: object) -> None:
    """Instead of ``__del__``."""


def _close_sockets(addresses: list[str]) -> None:
    """Close this process's copies of sockets that listen at an address or were accepted there."""
    ports = {int(found[1]) for address in addresses if (found := re.search(r"^(?!ipc|inproc).*:(\d+)", address))}
    paths = {address.split("://", 1)[1] for address in addresses if address.startswith("ipc://")}
    try:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return
    for fd in descriptors:
        try:
            probe = socket.socket(fileno=fd)
        except OSError:
            continue
        mine = False
        try:
            name = probe.getsockname()
            if probe.family in (socket.AF_INET, socket.AF_INET6):
                mine = probe.type == socket.SOCK_STREAM and name[1] in ports
            elif probe.family == socket.AF_UNIX:
                mine = name in paths
        except OSError:
            pass
        finally:
            probe.detach()
        if mine:
            os.close(fd)


os.register_at_fork(after_in_child=_in_child)
