"""A key-value server that clients of etcd's v3 JSON API can use, on a cluster of raftx. Needs the extra ``server``.

``raftx serve`` runs it; ``KeyValues`` is its state machine, ``Server`` the server of one member. Built on the public
interface of raftx alone. docs/server.md says what it has and what it leaves out.
"""

from __future__ import annotations

from .machine import KeyValues
from .server import Server
from .settings import Settings

__all__ = ["KeyValues", "Server", "Settings"]
