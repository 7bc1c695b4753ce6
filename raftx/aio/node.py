"""Node for asyncio: the methods of raftx.Node, as futures of the loop and coroutines. The public face.

Starts nothing and decides nothing by itself: each method hands over to the raftx.Node beneath, and brings what becomes
of it to the loop that is running. What each promises and raises stands in raftx.Node, under the same name.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from .._native.memory import Entry
from .._native.threads import Clock
from ..config import Config
from ..errors import NotDone, UsageError
from ..node.executor import Executor
from ..node.futures import Done
from ..node.futures import Future as NodeFuture
from ..node.machines import BatchStateMachine, StateMachine
from ..node.member_requests import TIMEOUT
from ..node.node import JOIN_SECONDS
from ..node.node import Node as SyncNode
from ..node.proposer import Data
from ..node.requests import PAUSE_SECONDS, no_leader
from ..node.session import TTL
from ..node.timeline import Event
from ..report import report
from ..storage.protocol import Storage
from ..transport.protocol import Transport
from ..types import ConfChangeSingle, ConfState, Role, StateChange, check_timeout
from .futures import Future, Mail
from .session import Session
from .streams import Stream
from .waiting import deadline_of, finished, in_thread, rest_of, wait_for

if TYPE_CHECKING:
    from ..node.cluster_view import ClusterStatus
    from ..node.members import Membership
    from ..node.status import Member, Status
    from ..storage.snapshot_format import Descriptor

R = TypeVar("R")
R_new = TypeVar("R_new")
T = TypeVar("T")


class Node(Generic[R]):
    """One member of a Raft cluster, for asyncio. Generic in what ``apply`` of its state machine returns.

    ``async with node:`` starts and closes it. A method that asks for something returns a Future (an
    ``asyncio.Future``) at once; what waits is a coroutine; streams are for ``async for``. All of them, but for the
    properties, ``status`` and ``stage_times``, are called where a loop runs (RuntimeError elsewhere), and any loop will
    do. The state machine is called on a thread of the node, not in the loop.

    ``node`` is the raftx.Node beneath, for threads and signal handlers. As there, the end of the block raises nothing
    of a failure before it: ``await node.wait()`` does.
    """

    @overload
    def __init__(
        self: Node[None],
        config: Config,
        storage: Storage,
        transport: Transport,
        state_machine: None = None,
        *,
        clock: Clock | None = None,
        executor: Executor | None = None,
        admin: str | None = None,
        admin_token: str | None = None,
        admin_insecure: bool = False,
    ) -> None: ...

    @overload
    def __init__(
        self,
        config: Config,
        storage: Storage,
        transport: Transport,
        state_machine: StateMachine[R] | BatchStateMachine[R],
        *,
        clock: Clock | None = None,
        executor: Executor | None = None,
        admin: str | None = None,
        admin_token: str | None = None,
        admin_insecure: bool = False,
    ) -> None: ...

    def __init__(
        self,
        config: Config,
        storage: Storage,
        transport: Transport,
        state_machine: Any = None,
        *,
        clock: Clock | None = None,
        executor: Executor | None = None,
        admin: str | None = None,
        admin_token: str | None = None,
        admin_insecure: bool = False,
    ) -> None:
        self._use(
            SyncNode(
                config, storage, transport, state_machine, clock=clock, executor=executor,
                admin=admin, admin_token=admin_token, admin_insecure=admin_insecure,
            )
        )  # fmt: skip

    def _use(self, node: SyncNode[Any]) -> None:
        self.node: SyncNode[R] = node
        self._mail: Mail | None = None

    @classmethod
    def of(cls, node: SyncNode[R_new]) -> Node[R_new]:
        """The asyncio face of a raftx.Node, which may have been started and goes on as it is. Any thread."""
        made: Node[R_new] = Node.__new__(cls)  # type: ignore[arg-type]
        made._use(node)
        return made

    @overload
    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, id: int, state_machine: None = None, create: bool = False,
        admin_token: str | None = None, admin_insecure: bool = False,
    ) -> Node[None]: ...  # fmt: skip

    @overload
    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, id: int, state_machine: StateMachine[R_new] | BatchStateMachine[R_new],
        create: bool = False, admin_token: str | None = None, admin_insecure: bool = False,
    ) -> Node[R_new]: ...  # fmt: skip

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, id: int, state_machine: Any = None, create: bool = False,
        admin_token: str | None = None, admin_insecure: bool = False,
    ) -> Node[Any]:  # fmt: skip
        """See raftx.Node.from_file. It reads the file now, in the loop or before there is one."""
        return cls.of(
            SyncNode.from_file(
                path, id=id, state_machine=state_machine, create=create,
                admin_token=admin_token, admin_insecure=admin_insecure,
            )
        )  # fmt: skip

    # --- life ------------------------------------------------------------------------------------

    async def start(self) -> Node[R]:
        """See raftx.Node.start. On a thread of its own: the loop goes on meanwhile.

        When it is cancelled, what was taken is released before the cancellation is raised, for which it waits five
        seconds at most; a start that is slower ends by itself then. The node cannot be started again.
        """
        try:
            await in_thread(self.node.start, f"raftx-start-{self.id}")
        except asyncio.CancelledError:
            try:
                await self.close()
            except Exception as error:
                report(logging.ERROR, "node %d: its start was cancelled; closing it:", self.id, error=error)
            raise
        return self

    async def close(self, timeout: float = JOIN_SECONDS) -> None:
        """See raftx.Node.close. On a thread of its own: the loop goes on meanwhile.

        A cancellation does not interrupt it: it is raised when the node is closed, or after ``timeout`` seconds.
        """
        await finished(in_thread(lambda: self.node.close(timeout), f"raftx-close-{self.id}"))

    async def __aenter__(self) -> Node[R]:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it. What ended it before is not raised here: ``wait()`` does that, and ``failure`` has it."""
        await self.close()

    async def wait(self, timeout: float | None = None) -> bool:
        """See raftx.Node.wait: until the node has ended; raises what ended it."""
        check_timeout(timeout)
        self.node._check_wait()
        ended = self.node._life.ended
        if not await wait_for(ended.bell, ended.is_open, timeout):
            return False
        return self.node.wait(0)

    # --- streams ---------------------------------------------------------------------------------

    def state_changes(self) -> Stream[StateChange]:
        """See raftx.Node.state_changes: a new stream of every change, the newest 1,024 of which are kept."""
        return Stream(self.node.state_changes)

    def configurations(self) -> Stream[Membership]:
        """See raftx.Node.configurations: a new stream of every membership, the newest 1,024 of which are kept."""
        return Stream(self.node.configurations)

    def committed(self) -> Stream[Entry]:
        """See raftx.Node.committed: entries, shared by all readers. Ask for it before ``start``."""
        return Stream(self.node.committed)

    # --- requests --------------------------------------------------------------------------------

    def _future(self, ask: Callable[[], NodeFuture[T]]) -> Future[T]:
        """Ask for something; what becomes of it, in the loop that runs. Raises before anything is asked for."""
        loop = asyncio.get_running_loop()
        if threading.get_ident() in self.node._outcomes.threads:
            raise UsageError(
                "this loop runs on a thread that ends the futures of its node, in apply() or in a callback, and would "
                "wait for ever: propose there through the raftx.Node beneath (node.node), without waiting"
            )
        if self._mail is None or self._mail.loop is not loop:
            self._mail = Mail(loop)
        return self._mail.future(ask())

    def propose(self, data: Data, *, timeout: float | None = None) -> Future[Done[R]]:
        """See raftx.Node.propose. Cancelling the future, or the task that awaits it, does not undo the proposal."""
        return self._future(lambda: self.node.propose(data, timeout=timeout))

    def propose_many(self, datas: Iterable[Data], *, timeout: float | None = None) -> Future[list[Done[R]]]:
        """See raftx.Node.propose_many."""
        return self._future(lambda: self.node.propose_many(datas, timeout=timeout))

    def session(self, name: str | bytes | None = None, *, ttl: float = TTL, keep_alive: bool = True) -> Session[R]:
        """See raftx.Node.session. Returns at once."""
        asyncio.get_running_loop()
        return Session(self.node.session(name, ttl=ttl, keep_alive=keep_alive), self._future)

    def barrier(self) -> Future[Done[None]]:
        """See raftx.Node.barrier."""
        return self._future(self.node.barrier)

    def read(self, *, level: str = "linearizable", max_staleness: float | None = None) -> Future[int]:
        """See raftx.Node.read."""
        return self._future(lambda: self.node.read(level=level, max_staleness=max_staleness))

    def query(
        self,
        function: Callable[[Any], T],
        *,
        level: str = "linearizable",
        max_staleness: float | None = None,
    ) -> Future[T]:
        """See raftx.Node.query. The function is called on a thread of the node, not in the loop."""
        return self._future(lambda: self.node.query(function, level=level, max_staleness=max_staleness))

    async def wait_leader(self, timeout: float | None = None) -> int:
        """See raftx.Node.wait_leader."""
        self.node._check_running()
        check_timeout(timeout)
        deadline = deadline_of(timeout)
        changes = self.state_changes()
        while not (leader := self.leader_id):  # asked for after the stream: a change in between is in it
            try:
                await changes.next(rest_of(deadline))
            except StopAsyncIteration:
                self.node._refuse()
            except TimeoutError:
                raise no_leader(timeout, self.node) from None
        return leader

    async def wait_ready(self, timeout: float | None = None) -> int:
        """See raftx.Node.wait_ready."""
        check_timeout(timeout)
        deadline = deadline_of(timeout)
        while True:
            try:
                leader = await self.wait_leader(rest_of(deadline))
            except TimeoutError:
                assert timeout is not None
                raise no_leader(timeout, self.node) from None
            read = self.read()
            try:
                if await _ends(read, rest_of(deadline)):
                    read.result()
                    return leader
            except NotDone:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            raise self.node._not_ready(timeout)

    async def wait_applied(self, index: int, timeout: float | None = None) -> int:
        """See raftx.Node.wait_applied."""
        check_timeout(timeout)
        asked = self.node._ask_applied(index)
        if asked is None:
            return self.applied_index
        ended, request = asked
        try:
            future = self._future(lambda: ended)
            if not await _ends(future, timeout):
                raise self.node._not_applied(index, timeout)
            future.result()
        except NotDone:
            self.node._cause.check()
            self.node._refuse()
        finally:
            self.node._outcomes.drop(request)
        return self.applied_index

    def campaign(self) -> Future[StateChange]:
        """See raftx.Node.campaign."""
        return self._future(self.node.campaign)

    def step_down(self) -> Future[StateChange]:
        """See raftx.Node.step_down."""
        return self._future(self.node.step_down)

    def transfer_leadership(self, to: int | None = None) -> Future[StateChange]:
        """See raftx.Node.transfer_leadership."""
        return self._future(lambda: self.node.transfer_leadership(to))

    def snapshot(self) -> Future[Descriptor]:
        """See raftx.Node.snapshot."""
        return self._future(self.node.snapshot)

    def backup(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Future[Descriptor]:
        """See raftx.Node.backup."""
        return self._future(lambda: self.node.backup(path, overwrite=overwrite))

    def reload_tls(self) -> bool:
        """See raftx.Node.reload_tls. Reads three small files, at once."""
        return self.node.reload_tls()

    def compact(self, index: int) -> Future[int]:
        """See raftx.Node.compact."""
        return self._future(lambda: self.node.compact(index))

    # --- members ---------------------------------------------------------------------------------

    def add_learner(self, id: int, url: str = "", *, timeout: float = TIMEOUT) -> Future[Membership]:
        """See raftx.Node.add_learner. Cancelling the future ends the work at it, as of all changes of membership."""
        return self._future(lambda: self.node.add_learner(id, url, timeout=timeout))

    def add_voter(self, id: int, url: str = "", *, timeout: float = TIMEOUT) -> Future[Membership]:
        """See raftx.Node.add_voter."""
        return self._future(lambda: self.node.add_voter(id, url, timeout=timeout))

    def promote(self, id: int, *, timeout: float = TIMEOUT) -> Future[Membership]:
        """See raftx.Node.promote."""
        return self._future(lambda: self.node.promote(id, timeout=timeout))

    def demote(self, id: int, *, timeout: float = TIMEOUT) -> Future[Membership]:
        """See raftx.Node.demote."""
        return self._future(lambda: self.node.demote(id, timeout=timeout))

    def remove(self, id: int, *, missing_ok: bool = True, timeout: float = TIMEOUT) -> Future[Membership]:
        """See raftx.Node.remove."""
        return self._future(lambda: self.node.remove(id, missing_ok=missing_ok, timeout=timeout))

    def move(self, id: int, url: str, *, timeout: float = TIMEOUT) -> Future[Membership]:
        """See raftx.Node.move."""
        return self._future(lambda: self.node.move(id, url, timeout=timeout))

    def change_configuration(
        self,
        changes: Iterable[ConfChangeSingle],
        addresses: Mapping[int, str] | None = None,
        *,
        timeout: float = TIMEOUT,
    ) -> Future[Membership]:
        """See raftx.Node.change_configuration."""
        return self._future(lambda: self.node.change_configuration(changes, addresses, timeout=timeout))

    # --- what it is ------------------------------------------------------------------------------

    @property
    def id(self) -> int:
        """This member's id."""
        return self.node.id

    @property
    def config(self) -> Config:
        """The settings it was made with."""
        return self.node.config

    @property
    def leader_id(self) -> int:
        """The leader this member knows of; 0 for none, and while the node does not run."""
        return self.node.leader_id

    @property
    def term(self) -> int:
        """The present term."""
        return self.node.term

    @property
    def role(self) -> Role:
        """See raftx.Node.role."""
        return self.node.role

    @property
    def is_leader(self) -> bool:
        """Whether this member believes that it leads. Another may have been elected since."""
        return self.node.is_leader

    @property
    def commit_index(self) -> int:
        """The last index known to be committed."""
        return self.node.commit_index

    @property
    def applied_index(self) -> int:
        """The last index that the state machine has."""
        return self.node.applied_index

    @property
    def configuration(self) -> ConfState:
        """The members' ids."""
        return self.node.configuration

    @property
    def members(self) -> list[Member]:
        """See raftx.Node.members."""
        return self.node.members

    @property
    def failure(self) -> BaseException | None:
        """What ended the node, if something did."""
        return self.node.failure

    def status(self) -> Status:
        """See raftx.Node.status."""
        return self.node.status()

    async def cluster_status(self, timeout: float = 1.0) -> ClusterStatus:
        """See raftx.Node.cluster_status."""
        return await in_thread(lambda: self.node.cluster_status(timeout), f"raftx-look-{self.id}")

    def events(self, after: int = 0) -> list[Event]:
        """See raftx.Node.events."""
        return self.node.events(after)

    def admin(self, token: str | None = None, *, hosts: Iterable[str] = (), protect_reads: bool = False) -> Any:
        """See raftx.Node.admin."""
        return self.node.admin(token, hosts=hosts, protect_reads=protect_reads)

    @property
    def admin_url(self) -> str:
        """See raftx.Node.admin_url."""
        return self.node.admin_url

    def stage_times(self) -> list[tuple[int, int, int, int, int, int]]:
        """See raftx.Node.stage_times."""
        return self.node.stage_times()

    def __repr__(self) -> str:
        return repr(self.node).replace("raftx.Node", "raftx.aio.Node", 1)


async def _ends(future: Future[Any], timeout: float | None) -> bool:
    """Whether a future of our own ends within that time; it is cancelled otherwise, and when the task is."""
    try:
        await asyncio.wait([future], timeout=timeout)
        return future.done()
    finally:
        future.cancel()
