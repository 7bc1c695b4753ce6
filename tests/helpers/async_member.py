"""A RawNode with asynchronous writes whose storage the test plays. Not a test."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from raftx.types import LEADER, LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, MSG_APP, MSG_VOTE_RESP


class AsyncMember:
    """A RawNode whose disk and state machine answer when the test says so."""

    def __init__(self, impl: ModuleType, voters: tuple[int, ...] = (1, 2, 3), **settings: Any) -> None:
        self.impl = impl
        settings = {"pre_vote": False, "check_quorum": False, "seed": 7, **settings}
        self.node = impl.RawNode(
            impl.Config(id=1, **settings), conf_state=impl.ConfState(voters=voters), async_storage_writes=True
        )
        self.core = self.node.core
        self.writes: list[Any] = []
        self.applies: list[Any] = []

    def work(self) -> list[Any]:
        """Take what is ready: work goes to the queues, messages to peers are returned."""
        sent = []
        while self.node.has_ready():
            for m in self.node.ready().messages:
                if m.to == LOCAL_APPEND_THREAD:
                    self.writes.append(m)
                elif m.to == LOCAL_APPLY_THREAD:
                    self.applies.append(m)
                else:
                    sent.append(m)
        return sent

    def _finish(self, queue: list[Any], count: int) -> list[Any]:
        sent = []
        for m in [queue.pop(0) for _ in range(min(count, len(queue)))]:
            for response in m.responses:
                if response.to == 1:
                    self.node.step(response)
                else:
                    sent.append(response)
        return sent + self.work()

    def written(self, count: int = 1) -> list[Any]:
        """The disk has done this many writes; what may be sent now."""
        return self._finish(self.writes, count)

    def was_applied(self, count: int = 1) -> list[Any]:
        """The state machine has done this many batches."""
        return self._finish(self.applies, count)

    def step(self, kind: int, sender: int = 2, **fields: Any) -> list[Any]:
        self.node.step(self.impl.Message(kind, sender=sender, **{"term": self.core.term, **fields}))
        return self.work()

    def append(self, terms: list[int], index: int = 0, log_term: int = 0, **fields: Any) -> list[Any]:
        entries = [self.impl.Entry(index + n, term, b"%d" % term) for n, term in enumerate(terms, 1)]
        return self.step(MSG_APP, index=index, log_term=log_term, entries=entries, **fields)

    def lead(self) -> None:
        self.node.campaign()
        self.work()
        self.written()
        self.step(MSG_VOTE_RESP, 2)
        assert self.core.role == LEADER
