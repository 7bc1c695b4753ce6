"""What a server does without being asked: ends leases, compacts, and says who it is. In one event loop.

Members that do not lead watch alone; what is done goes through the log, so a chore that is done twice does no harm.
"""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Awaitable, Callable

from ..report import report
from . import commands
from .errors import KvError
from .leases import SECOND
from .service import Service

EXPIRY_SECONDS = 0.1  # between two looks at leases
EXPIRY_AGAIN_NS = SECOND // 2  # before an end of a lease that did not come about is tried again
EXPIRY_MAX = 1_000  # leases that are ended at once
COMPACTION_SECONDS = 1.0
SAMPLES = 20  # of revisions within the time that is kept
IDENTITY_SECONDS = 0.2


class Chores:
    """Those of one server."""

    def __init__(self, service: Service) -> None:
        self.service = service
        config = service.node.config
        self._election_ns = config.election_ticks * config.tick_ms * 1_000_000
        #: the term in which this member leads and has given each lease its time
        self._led = 0
        #: (when, revision) of times that are kept
        self._samples: collections.deque[tuple[float, int]] = collections.deque()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        for each in (self._follow_leaders, self._end_leases, self._compact, self._say_who):
            self._tasks.append(loop.create_task(self._keep_on(each)))

    async def close(self) -> None:
        """End."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @staticmethod
    async def _keep_on(chore: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await chore()
                return
            except KvError:
                pass
            except Exception as error:
                report(logging.ERROR, "a chore of the key-value server goes on after:", error=error)
            await asyncio.sleep(1.0)

    async def _follow_leaders(self) -> None:
        service = self.service
        async for change in service.node.state_changes():
            if change.leader and change.term > service.led_term:
                service.led_term = change.term
                # What is left of a lease is told by all members, and a new leader gives it more.
                with service.machine.lock:
                    service.machine.leases.restart(self._election_ns)

    # --- leases --------------------------------------------------------------------------------------

    async def _end_leases(self) -> None:
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            node, leases = self.service.node, self.service.machine.leases
            if not node.is_leader:
                self._led = 0
                continue
            if self._led != node.term:
                # It may have been long without a leader, and whoever has a lease could not renew it then.
                await self.service.confirm()
                if not node.is_leader:
                    continue
                self._led = node.term
                with self.service.machine.lock:
                    leases.restart(self._election_ns)
                continue
            with self.service.machine.lock:
                due = leases.due()
            for at in range(0, len(due), EXPIRY_MAX):
                await asyncio.gather(*[self._end_lease(*each) for each in due[at : at + EXPIRY_MAX]])

    async def _end_lease(self, id: int, renewed: int) -> None:
        expired = False
        try:
            expired = (await self.service.propose(commands.EXPIRE, {"ID": id, "renewed": renewed}))["expired"]
        except KvError:
            pass
        finally:
            if not expired:
                with self.service.machine.lock:
                    self.service.machine.leases.again(id, renewed, EXPIRY_AGAIN_NS)

    # --- compaction ----------------------------------------------------------------------------------

    async def _compact(self) -> None:
        settings, store = self.service.settings, self.service.machine.store
        loop = asyncio.get_running_loop()
        while settings.compaction != "off":
            pause = COMPACTION_SECONDS
            if settings.compaction == "periodic":
                pause = min(pause, settings.retention / SAMPLES)
            await asyncio.sleep(pause)
            to = store.revision - int(settings.retention)
            if settings.compaction == "periodic":
                to = self._old_enough(loop.time(), store.revision, settings.retention)
                least = 1
            else:
                least = max(1, int(settings.retention) // 10)  # fewer are not worth an entry
            if self.service.node.is_leader and to >= store.compacted + least and to > 1:
                await self.service.propose(commands.COMPACT, {"revision": to})

    def _old_enough(self, now: float, revision: int, seconds: float) -> int:
        """The newest revision that is older than that."""
        samples = self._samples
        if not samples or now - samples[-1][0] >= seconds / SAMPLES:
            samples.append((now, revision))
        while len(samples) > 1 and now - samples[1][0] >= seconds:
            samples.popleft()
        return samples[0][1] if now - samples[0][0] >= seconds else 0

    # --- who it is -----------------------------------------------------------------------------------

    async def _say_who(self) -> None:
        service = self.service
        while True:
            own = service.own()
            if service.machine.members.get(service.node.id) != own and service.node.leader_id:
                await service.propose(commands.MEMBER, own)
            await asyncio.sleep(IDENTITY_SECONDS)
