"""A follower around a given log, and what its leader, its storage and its state machine tell it.

For tests of the log and its marks, message by message. ``marks_of`` is the interpreted core, whose functions Python can
call and whose fields it can set; everything else is for both modes.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from raftx.types import (
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    MSG_APP,
    MSG_SNAP,
    MSG_STORAGE_APPEND_RESP,
    MSG_STORAGE_APPLY_RESP,
)
from tests.helpers.core_net import SETTINGS
from tests.helpers.implementations import IMPLEMENTATIONS

PURE = IMPLEMENTATIONS["pure"]
#: Bytes of an entry without data.
RECORD = 32


def log_of(impl: ModuleType, terms: list[int], first: int = 1, base_term: int = 0) -> Any:
    """A log with entries of these terms, without data, from ``first`` on."""
    log = impl._core.EntryLog(first, base_term, 4096)
    for term in terms:
        log.py_append(term, b"")
    return log


def entries_of(impl: ModuleType, first: int, terms: list[int]) -> list[Any]:
    """Entries of these terms from ``first`` on, without data."""
    return [impl.Entry(index, term, b"") for index, term in enumerate(terms, first)]


def node_of(impl: ModuleType, log: Any, hard: tuple[int, int, int] = (0, 0, 0), *, slow: bool = True) -> Any:
    """A follower of three whose storage held ``log``; ``slow``: its writes are asynchronous."""
    return impl.RawNode(
        impl.Config(id=1, **SETTINGS),
        log=log,
        hard_state=impl.HardState(*hard),
        conf_state=impl.ConfState((1, 2, 3)),
        async_storage_writes=slow,
    )


def append(
    impl: ModuleType,
    node: Any,
    first: int,
    terms: list[int],
    *,
    prev: int | None = None,
    term: int = 9,
    commit: int = 0,
) -> None:
    """Entries of these terms from ``first`` on, from leader 2."""
    log_term = node.core.log.py_term(first - 1) if prev is None else prev
    found = entries_of(impl, first, terms)
    node.step(
        impl.Message(
            MSG_APP, to=1, sender=2, term=term, index=first - 1, log_term=log_term, commit=commit, entries=found
        )
    )


def written(impl: ModuleType, node: Any, index: int, log_term: int) -> None:
    """The storage says that everything up to there is durable."""
    node.step(
        impl.Message(
            MSG_STORAGE_APPEND_RESP,
            to=1,
            sender=LOCAL_APPEND_THREAD,
            term=node.core.term,
            index=index,
            log_term=log_term,
        )
    )


def done(impl: ModuleType, node: Any, index: int) -> None:
    """The state machine says that everything up to there is applied."""
    node.step(impl.Message(MSG_STORAGE_APPLY_RESP, to=1, sender=LOCAL_APPLY_THREAD, index=index))


def marks_of(terms: list[int], first: int = 1, base_term: int = 0, **marks: int) -> Any:
    """The interpreted core of a follower with that log, and marks as given."""
    core = node_of(PURE, log_of(PURE, terms, first, base_term)).core
    for name, value in marks.items():
        setattr(core, name, value)
    return core


def snapshot(impl: ModuleType, node: Any, index: int, its_term: int, term: int = 9) -> Any:
    """A snapshot of the three members from leader 2, who is in ``term``."""
    sent = impl.Snapshot(index, its_term, impl.ConfState((1, 2, 3)), b"")
    node.step(impl.Message(MSG_SNAP, to=1, sender=2, term=term, snapshot=sent))
    return sent
