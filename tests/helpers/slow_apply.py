"""A member whose disk is done at once, and whose state machine only when a test says so.

Builds on core_net: no threads, clocks, disks or sockets here either.
"""

from __future__ import annotations

from typing import Any

from raftx.types import ENTRY_NORMAL, LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD
from tests.helpers.core_net import Member


class Late(Member):
    """A Member with asynchronous writes. ``waiting`` is what its state machine was given and has not done."""

    def start(self) -> None:
        super().start()
        self.waiting: list[Any] = []
        self.node = self.impl.RawNode(
            self.impl.Config(id=self.id, **self.settings),
            log=self.node.core.log,
            hard_state=self.hard,
            conf_state=self.conf_state,
            async_storage_writes=True,
        )

    def take(self) -> list[Any]:
        sent = []
        while self.node.has_ready():
            for message in self.node.ready().messages:
                if message.to == LOCAL_APPLY_THREAD:
                    self.waiting.append(message)
                elif message.to == LOCAL_APPEND_THREAD:
                    sent += self._done(message)
                else:
                    sent.append(message)
        return sent

    def apply_all(self) -> list[Any]:
        """The state machine does all that it was given; what was sent then."""
        sent = []
        while self.waiting:
            work = self.waiting.pop(0)
            self.applied += work.entries
            for entry in work.entries:
                if entry.kind != ENTRY_NORMAL:
                    self.node.apply_conf_change(entry)
            sent += self._done(work) + self.take()
        return sent

    def _done(self, work: Any) -> list[Any]:
        """Some work is done; what others are sent for it."""
        sent = []
        for response in work.responses:
            if response.to == self.id:
                self.node.step(response)
            else:
                sent.append(response)
        return sent
