"""Durable Raft consensus that runs without the GIL and can be single-stepped, simulated and replayed.

This file holds the public names and nothing else. ``COMPILED`` says whether the compiled modules
are in use; ``RAFTX_PURE=1`` in the environment, set before the first import, forces the interpreted
ones ("" and "0" mean off).
"""

from __future__ import annotations

import importlib
import os
from importlib.machinery import EXTENSION_SUFFIXES
from typing import TYPE_CHECKING, Any

from . import _pure

# Before any other import of the package: what is imported once stays as it is.
if os.environ.get("RAFTX_PURE", "") not in ("", "0"):
    _pure.install(__name__)

from . import _core
from ._native.memory import Entry
from ._native.outbox import Message
from .errors import (
    AlreadyFounded,
    ApplyError,
    Busy,
    ConfChangeError,
    ConfChangeRefused,
    ConfigError,
    Corruption,
    DiskFull,
    EntryTooLarge,
    FrameError,
    LossNotAccepted,
    MemoryLost,
    NotDone,
    NotFounded,
    ProposalDropped,
    ProposalError,
    RaftError,
    ReadDropped,
    Removed,
    SessionEnded,
    SessionExpired,
    SessionFenced,
    SnapshotDamaged,
    SnapshotFailed,
    SnapshotRequestDropped,
    StepLocalMessage,
    Stopped,
    StorageError,
    StorageFailed,
    TransportError,
    Unknown,
    UnknownPeer,
    UsageError,
    WalDamaged,
    WrongDirectory,
)
from .types import (
    ConfChange,
    ConfChangeKind,
    ConfChangeSingle,
    ConfState,
    HardState,
    ReadState,
    RefusedChange,
    Role,
    Snapshot,
    StateChange,
    Timing,
)

if TYPE_CHECKING:
    from . import aio as aio
    from ._native.threads import Clock, ManualClock
    from .cluster_file import ClusterFile, ClusterMember
    from .config import Config
    from .consensus.rawnode import RawNode, Ready
    from .node.changer import ChangeProgress
    from .node.cluster_view import ClusterStatus, MemberView
    from .node.futures import Done, Future
    from .node.machines import BatchStateMachine, StateMachine
    from .node.members import Membership
    from .node.node import Node
    from .node.session import Session
    from .node.status import (
        DiskStatus,
        Histogram,
        LatencyStatus,
        Member,
        QueueStatus,
        SnapshotStatus,
        Status,
        TransferStatus,
    )
    from .node.timeline import Event
    from .storage.file import FileStorage
    from .storage.memory import MemoryStorage
    from .storage.protocol import Loaded, Storage
    from .transport.memory import MemoryNetwork
    from .transport.nng import NngTransport
    from .transport.protocol import Transport
    from .transport.tcp import TcpTransport
    from .transport.tls import Tls

__version__ = "0.1.0"

#: True when the compiled modules are in use. They are built all or none, so one of them speaks for all.
COMPILED: bool = _core.__file__.endswith(tuple(EXTENSION_SUFFIXES))

__all__ = [
    "AlreadyFounded",
    "ApplyError",
    "BatchStateMachine",
    "Busy",
    "COMPILED",
    "ChangeProgress",
    "Clock",
    "ClusterFile",
    "ClusterMember",
    "ClusterStatus",
    "ConfChange",
    "ConfChangeError",
    "ConfChangeKind",
    "ConfChangeRefused",
    "ConfChangeSingle",
    "ConfState",
    "Config",
    "ConfigError",
    "Corruption",
    "DiskFull",
    "DiskStatus",
    "Done",
    "Entry",
    "EntryTooLarge",
    "Event",
    "FileStorage",
    "FrameError",
    "Future",
    "HardState",
    "Histogram",
    "LatencyStatus",
    "Loaded",
    "LossNotAccepted",
    "ManualClock",
    "Member",
    "MemberView",
    "Membership",
    "MemoryLost",
    "MemoryNetwork",
    "MemoryStorage",
    "Message",
    "NngTransport",
    "Node",
    "NotDone",
    "NotFounded",
    "ProposalDropped",
    "ProposalError",
    "QueueStatus",
    "RaftError",
    "RawNode",
    "ReadDropped",
    "ReadState",
    "Ready",
    "RefusedChange",
    "Removed",
    "Role",
    "Session",
    "SessionEnded",
    "SessionExpired",
    "SessionFenced",
    "Snapshot",
    "SnapshotDamaged",
    "SnapshotFailed",
    "SnapshotRequestDropped",
    "SnapshotStatus",
    "StateChange",
    "StateMachine",
    "Status",
    "StepLocalMessage",
    "Stopped",
    "Storage",
    "StorageError",
    "StorageFailed",
    "TcpTransport",
    "Timing",
    "Tls",
    "TransferStatus",
    "Transport",
    "TransportError",
    "Unknown",
    "UnknownPeer",
    "UsageError",
    "WalDamaged",
    "WrongDirectory",
]

# Where the other names are, as type checkers read it above. Nodes, their storage and transports are most of the package
# and of what it takes from Python's library: a process that asks a cluster, or only has raftx installed, needs none.
_LATER = {
    "BatchStateMachine": "node.machines",
    "ChangeProgress": "node.changer",
    "Clock": "_native.threads",
    "ClusterFile": "cluster_file",
    "ClusterMember": "cluster_file",
    "ClusterStatus": "node.cluster_view",
    "Config": "config",
    "DiskStatus": "node.status",
    "Done": "node.futures",
    "Event": "node.timeline",
    "FileStorage": "storage.file",
    "Future": "node.futures",
    "Histogram": "node.status",
    "LatencyStatus": "node.status",
    "Loaded": "storage.protocol",
    "ManualClock": "_native.threads",
    "Member": "node.status",
    "MemberView": "node.cluster_view",
    "Membership": "node.members",
    "MemoryNetwork": "transport.memory",
    "MemoryStorage": "storage.memory",
    "NngTransport": "transport.nng",
    "Node": "node.node",
    "QueueStatus": "node.status",
    "RawNode": "consensus.rawnode",
    "Ready": "consensus.rawnode",
    "Session": "node.session",
    "SnapshotStatus": "node.status",
    "StateMachine": "node.machines",
    "Status": "node.status",
    "Storage": "storage.protocol",
    "TcpTransport": "transport.tcp",
    "Tls": "transport.tls",
    "TransferStatus": "node.status",
    "Transport": "transport.protocol",
}


def __getattr__(name: str) -> Any:
    """Import what has that name, when it is first named; from then on it is a name like any other."""
    if name == "aio":
        return importlib.import_module(".aio", __name__)
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, "aio"})
