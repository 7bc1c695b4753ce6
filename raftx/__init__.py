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
from ._native.threads import Clock, ManualClock
from .cluster_file import ClusterFile, ClusterMember
from .config import Config
from .consensus.rawnode import RawNode, Ready
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
from .node.changer import ChangeProgress
from .node.cluster_view import ClusterStatus, MemberView
from .node.futures import Done, Future
from .node.members import Membership
from .node.node import Node, StateMachine
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

__version__ = "0.1.0"

#: True when the compiled modules are in use. They are built all or none, so one of them speaks for all.
COMPILED: bool = _core.__file__.endswith(tuple(EXTENSION_SUFFIXES))

__all__ = [
    "AlreadyFounded",
    "ApplyError",
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


def __getattr__(name: str) -> Any:
    # Imported when it is named: who does not use asyncio does not pay for it.
    if name == "aio":
        return importlib.import_module(".aio", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
