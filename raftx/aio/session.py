"""A session for asyncio: proposals that are applied once, with outcomes as asyncio's futures."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, TypeVar

from ..errors import ProposalError, Stopped
from ..node.futures import Done
from ..node.futures import Future as NodeFuture
from ..node.proposer import Data
from ..node.session import TIMEOUT
from ..node.session import Session as NodeSession
from .futures import Future

R = TypeVar("R")


class Session(Generic[R]):
    """From ``Node.session``; raftx.Session says what it guarantees. In a loop.

    ``async with`` closes it at the end and waits until the cluster has forgotten it, or for ten seconds.
    """

    def __init__(self, of_node: NodeSession[R], ask: Callable[[Callable[[], NodeFuture[Any]]], Future[Any]]) -> None:
        self._of_node = of_node
        #: looks whether the loop may wait, and asks then
        self._ask = ask

    def __repr__(self) -> str:
        return repr(self._of_node).replace("raftx.Session", "raftx.aio.Session")

    @property
    def name(self) -> str | bytes | None:
        """As it was given."""
        return self._of_node.name

    @property
    def id(self) -> bytes:
        """What the cluster knows it by: 16 bytes."""
        return self._of_node.id

    async def __aenter__(self) -> Session[R]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(Stopped, ProposalError):
            closing = self.close()
            if kind is None or issubclass(kind, Exception):
                await closing
            else:
                # The task is to end now: nobody looks at what becomes of it.
                closing.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    def begin(self) -> None:
        """See raftx.Session.begin."""
        self._of_node.begin()

    def open(self, *, timeout: float = TIMEOUT) -> Future[int]:
        """See raftx.Session.open: a Future of its last sequence before our first one."""
        return self._ask(lambda: self._of_node.open(timeout=timeout))

    def propose(self, data: Data, *, timeout: float = TIMEOUT) -> Future[Done[R]]:
        """See raftx.Session.propose. Cancelling the future ends the waiting alone."""
        return self._ask(lambda: self._of_node.propose(data, timeout=timeout))

    def renew(self, *, timeout: float = TIMEOUT) -> Future[Any]:
        """See raftx.Session.renew."""
        return self._ask(lambda: self._of_node.renew(timeout=timeout))

    def has_ended(self) -> bool:
        """See raftx.Session.has_ended."""
        return self._of_node.has_ended()

    def close(self, *, timeout: float = TIMEOUT) -> Future[Done[Any]]:
        """See raftx.Session.close."""
        return self._ask(lambda: self._of_node.close(timeout=timeout))
