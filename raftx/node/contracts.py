"""What a node is given, judged before it starts: mistakes that can be seen without opening or sending anything.

Settings, storage and transport of one node. What can never work is a ConfigError of the constructor. What works with
less is said at the start, by the name of the method that is missing.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from typing import Any

from .. import _core
from .._native.layout import FRAME_OVERHEAD
from ..config import Config
from ..errors import ConfigError, StorageError, UsageError
from ..interpreted import why as why_interpreted
from ..report import report
from ..types import NUMBER_MAX, ConfState, is_id
from .machines import said_by
from .unfinished import is_async, is_generator

# What is called while a node runs; the protocols have more, which not everybody needs.
STORAGE_METHODS = ("open", "append", "sync", "close")
TRANSPORT_METHODS = ("start", "send", "close")
#: methods that make sense together alone
STORAGE_GROUPS = (
    ("begin_snapshot", "open_snapshot", "receive_snapshot", "begin_behind"),
    ("remember", "forgotten"),
)
PEER_METHODS = ("add_peer", "remove_peer")

NO_COMPACT = (
    "node %d: the storage, %s, has no compact(): the log stays on disk for ever, and is shorter in memory alone "
    "(raftx.Storage)"
)
NO_ADDRESSES = (
    "node %d: the storage, %s, has no keep_addresses(): once its log was made shorter without a snapshot, this member "
    "does not know any more where members are reached that its transport was not told of, and takes a member's word "
    "for which entry has added it (raftx.storage.protocol.AddressStorage)"
)
NO_MEMORY = (
    "node %d: the storage, %s, has no remember() and forgotten(): after a restart this member cannot recognise others "
    "whose storage was wiped or set back (raftx.storage.protocol.RememberingStorage)"
)


INTERPRETED = (
    "node %d: raftx runs interpreted: consensus needs the GIL, and is many times slower. %s (raftx.COMPILED is False)"
)
_told = {"mode": _core.__file__.endswith(tuple(EXTENSION_SUFFIXES))}


def tell_mode(id: int) -> None:
    """Say once in a process that nothing is compiled."""
    if _told["mode"]:
        return
    _told["mode"] = True
    wanted, what = why_interpreted(__name__.partition(".")[0])
    report(logging.INFO if wanted else logging.WARNING, INTERPRETED, id, what, event="interpreted", node=id)


def check_python() -> None:
    """Raise UsageError where no node can run: on another Python, on another system, and without the GIL.

    What is not compiled counts on CPython, which changes threads at calls and loops only. A free-threaded build turns
    the GIL on when it imports the compiled modules, which do not say that they can do without.
    """
    if sys.implementation.name != "cpython" or not hasattr(os, "eventfd"):
        raise UsageError(
            f"a node needs CPython on Linux, and this is {sys.implementation.name} on {sys.platform}: run it there. "
            "(raftx.RawNode, the core without threads, runs here, too)"
        )
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        raise UsageError(
            "a node needs the global interpreter lock, and this Python runs without it: start it with PYTHON_GIL=1, or "
            "-X gil=1. (raftx turns it on by itself where it is compiled, unless PYTHON_GIL=0 forbids it; what "
            "must not wait for the lock does not)"
        )


def has(given: object, name: str) -> bool:
    """Whether it has that method."""
    return callable(getattr(given, name, None))


def check_settings(config: Config, transport: Any) -> None:
    """Raise ConfigError for settings that do not go with the transport."""
    if not isinstance(config, Config):
        raise ConfigError(f"config must be a raftx.Config, not {type(config).__name__}")
    limit = getattr(transport, "max_frame_bytes", None)
    if limit is not None and not is_id(limit):
        raise ConfigError(f"the transport's max_frame_bytes must be a positive integer or None, not {limit!r}")
    for name in ("max_entry_bytes", "max_message_bytes"):
        value = getattr(config, name)
        if limit is not None and value + FRAME_OVERHEAD > limit:
            raise ConfigError(
                f"{name} must be at most {limit - FRAME_OVERHEAD}, what the transport's max_frame_bytes={limit} "
                f"can carry, not {value}: lower it, or raise max_frame_bytes of the transport"
            )


def check_methods_of(storage: Any, transport: Any) -> None:
    """Raise ConfigError for what is no storage or no transport, or has a half of what belongs together."""
    for name, given, methods in (
        ("storage", storage, STORAGE_METHODS),
        ("transport", transport, TRANSPORT_METHODS),
    ):
        if isinstance(given, type) or not all([has(given, method) for method in methods]):
            what = f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__
            raise ConfigError(f"{name} must be a {name} with the methods {', '.join(methods)}, not {what}")
    for name, given, groups in (("storage", storage, STORAGE_GROUPS), ("transport", transport, (PEER_METHODS,))):
        for group in groups:
            missing = [method for method in group if not has(given, method)]
            if missing and len(missing) < len(group):
                raise ConfigError(
                    f"{name} must have all of the methods {', '.join(group)}, or none, and {type(given).__name__} "
                    f"lacks {', '.join(missing)}"
                )


def check_machine_methods(machine: Any) -> None:
    """Raise ConfigError, which names the remedy, for a state machine that has half of what snapshots need.

    And for methods that nobody could call.
    """
    found = {name: getattr(machine, name, None) for name in ("apply", "apply_batch", "snapshot", "restore")}
    for name, method in found.items():
        if method is not None and not callable(method):
            raise ConfigError(f"state_machine.{name} must be a method, not {method!r}")
        if is_async(method):
            raise ConfigError(
                f"state_machine.{name} must be an ordinary function, not an `async def`: it is called on a thread of "
                "the node, and nobody would await what it returns"
            )
        if name != "snapshot" and is_generator(method):
            raise ConfigError(
                f"state_machine.{name} must be an ordinary function, without a `yield`: nobody would take anything out "
                "of the generator that it returns, and so nothing of it would run"
            )
    for name, other, why in (
        ("snapshot", "restore", "a snapshot that was made could not be given back, and the member would not start"),
        ("restore", "snapshot", "there would be no snapshot to give it, and the log would grow for ever"),
    ):
        if found[name] is not None and found[other] is None:
            raise ConfigError(
                f"state_machine has {name}() and no {other}(): {why}. Give it both, as raftx.StateMachine says, or "
                "neither"
            )
    said_by(machine, "version", ConfigError)
    try:
        version_of(machine)
    except StorageError as error:
        raise ConfigError(f"{error}: raise it by one when the format of the state changes") from error


def version_of(machine: Any) -> int:
    """That of the format of its state; 0 where it does not say. Raises StorageError for what is none."""
    version = said_by(machine, "version", StorageError)
    if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version <= NUMBER_MAX:
        raise StorageError(f"state_machine.version must be an integer in 0..2^63-1, not {version!r}")
    return version


def check_founders(id: int, storage: Any, transport: Any) -> None:
    """Raise ConfigError when a storage that no node has opened yet names first voters that cannot be reached.

    Where nobody's address is known they are told later (``add_peer``). What a storage says later on may be behind its
    log, which has not been read.
    """
    first: Callable[[], tuple[ConfState, Mapping[int, str]] | None] | None = getattr(storage, "founders", None)
    peers = getattr(transport, "peers", None)
    if first is None or not isinstance(peers, Mapping):
        return
    found = first()
    if found is None:
        return
    conf_state, addresses = found
    known = {*peers, *addresses}
    missing = [voter for voter in conf_state.voters if voter != id and voter not in known]
    if missing and known - {id}:
        names = ", ".join([str(voter) for voter in missing])
        raise ConfigError(
            f"peers must have an address for each of the voters {conf_state.voters}, and has none for {names}: add it, "
            "or found the members with their addresses"
        )
    check = getattr(transport, "check_address", None)
    if check is not None:
        for member, url in addresses.items():
            if member == id:
                continue
            try:
                check(url, f"the address that member {member} was founded with")
            except ConfigError as error:
                where = getattr(storage, "path", None)
                if where is None:
                    raise
                raise ConfigError(
                    f"{error}. No node has opened {where} yet: remove it, and found member {id} again with the right "
                    "address"
                ) from error.__cause__


def tell_what_is_missing(id: int, storage: Any, makes_snapshots: bool) -> None:
    """Warn of what this node cannot do with a storage that has less than the protocols."""
    kind = type(storage).__name__
    if not has(storage, "compact"):
        report(logging.WARNING, NO_COMPACT, id, kind)
    elif not has(storage, "keep_addresses") and not makes_snapshots:
        report(logging.WARNING, NO_ADDRESSES, id, kind)
    if not has(storage, "remember"):
        report(logging.WARNING, NO_MEMORY, id, kind)
