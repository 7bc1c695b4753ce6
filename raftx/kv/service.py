"""What clients may ask, on a node: each call is a coroutine from a request to a response. In one event loop.

Knows no HTTP. Writes go through the log, and are repeated only while they were certainly not done. Reads wait until a
quorum has confirmed the leader, unless they are serializable: these, watches and the list of members are answered from
what is here.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from typing import Any

from ..aio import Node
from ..errors import DiskFull, EntryTooLarge, NotDone, Stopped, Unknown
from . import commands, txn
from . import messages as m
from .auth import Users
from .errors import (
    LEASE_EXISTS,
    NO_LEADER,
    NO_SPACE,
    QUOTA_EXCEEDED,
    SERVER_STOPPED,
    TIMED_OUT,
    TOO_LARGE,
    KvError,
)
from .leases import SECOND
from .machine import KeyValues
from .messages import Message
from .settings import Settings
from .watches import Watches, WatchStream

#: the etcd whose API this is
VERSION = "3.4.23"
CLUSTER_VERSION = "3.4.0"
AGAIN_SECONDS = 0.02  # before a read that was not done is asked for again
HEALTH_SECONDS = 1.0
LEASE_BYTES = 350  # of memory, about
LEASE_ID_MAX = (1 << 63) - 1


class Service:
    """The calls. In the loop in which it is made."""

    def __init__(self, node: Node[Any], machine: KeyValues, settings: Settings) -> None:
        self.node, self.machine, self.settings = node, machine, settings
        self.users = Users(settings.users, settings.token_secret, settings.token_seconds)
        name = node.config.cluster
        assert isinstance(name, bytes)
        #: the same on all members, and never 0
        self.cluster_id = int.from_bytes(hashlib.sha256(b"raftx kv\0" + name).digest()[:8], "big") or 1
        #: the newest term in which a leader was seen
        self.led_term = 0
        self.watches = Watches(machine, self.header)
        self._confirming: asyncio.Future[None] | None = None

    # --- headers -----------------------------------------------------------------------------------

    @property
    def term(self) -> int:
        """Of the last leader that is known, never that of a candidate: clients leave a server whose term is behind."""
        return max(self.led_term, self.machine.term)

    def header(self, revision: int | None = None) -> Message:
        """Of a response."""
        header = {"cluster_id": self.cluster_id, "member_id": self.node.id}
        if revision is not None:
            header["revision"] = revision
        header["raft_term"] = self.term
        return header

    def _answer(self, done: Message) -> Message:
        """A response, from what the state machine has returned."""
        revision = done.pop("revision")
        own = done.get("header")
        done["header"] = self.header(own["revision"] if own else revision)
        return done

    # --- through the log ---------------------------------------------------------------------------

    async def propose(self, kind: bytes, request: Message, timeout: float | None = None) -> Message:
        """Have a command applied; what came of it. Raises KvError."""
        data = commands.encode(kind, request)
        if len(data) > self.settings.max_request_bytes:
            raise TOO_LARGE
        if self.size + len(data) > self.settings.quota_bytes and _takes_room(kind, request):
            raise QUOTA_EXCEEDED
        try:
            done = await self.node.propose(data, timeout=self.settings.request_timeout if timeout is None else timeout)
        except DiskFull as error:
            raise NO_SPACE from error
        except NotDone as error:
            raise self._passing() from error
        except Unknown as error:
            raise TIMED_OUT from error
        except EntryTooLarge as error:
            raise TOO_LARGE from error
        except Stopped as error:
            raise SERVER_STOPPED from error
        result = done.result
        if isinstance(result, KvError):
            raise result
        return dict(result)

    @property
    def size(self) -> int:
        """Bytes of memory that the state takes here, about."""
        return self.machine.store.size + LEASE_BYTES * len(self.machine.leases.by_id)

    def _passing(self) -> KvError:
        """Something was not done, and will be if it is asked for later."""
        return TIMED_OUT() if self.node.leader_id else NO_LEADER()

    async def confirm(self) -> None:
        """Wait until what was acknowledged before this call is here. Requests that come together share a read."""
        if self._confirming is None:
            loop = asyncio.get_running_loop()
            self._confirming = loop.create_future()
            loop.call_soon(self._ask, self._confirming)
        await asyncio.shield(self._confirming)

    def _ask(self, asked: asyncio.Future[None]) -> None:
        """Whoever comes from now on shares the next one."""
        self._confirming = None
        loop = asyncio.get_running_loop()
        until = loop.time() + self.settings.request_timeout

        def ask() -> None:
            if asked.done():
                return
            try:
                read = self.node.read()
            except Stopped:
                self._fail(asked, SERVER_STOPPED())
                return
            late = loop.call_later(max(0.0, until - loop.time()), give_up, read)
            read.add_done_callback(lambda _: end(read, late))

        def give_up(read: asyncio.Future[int]) -> None:
            read.cancel()
            self._fail(asked, self._passing())

        def end(read: asyncio.Future[int], late: asyncio.TimerHandle) -> None:
            late.cancel()
            if read.cancelled() or asked.done():
                return
            error = read.exception()
            if error is None:
                asked.set_result(None)
            elif isinstance(error, NotDone) and loop.time() + AGAIN_SECONDS < until:
                loop.call_later(AGAIN_SECONDS, ask)
            elif isinstance(error, Stopped):
                self._fail(asked, SERVER_STOPPED())
            else:
                self._fail(asked, self._passing())

        ask()

    @staticmethod
    def _fail(asked: asyncio.Future[None], error: KvError) -> None:
        if not asked.done():
            asked.set_exception(error)
            asked.exception()  # whoever waited may be gone

    # --- keys --------------------------------------------------------------------------------------

    async def range(self, request: Message) -> Message:
        """A range."""
        txn.check_range(request)
        if not request.get("serializable"):
            await self.confirm()
        with self.machine.lock:
            done = txn.Work(self.machine.store).range(request)
        done["header"] = self.header(done["header"]["revision"])
        return done

    async def put(self, request: Message) -> Message:
        """A put."""
        txn.check_put(request)
        return self._answer(await self.propose(commands.PUT, request))

    async def delete_range(self, request: Message) -> Message:
        """A deletion."""
        txn.check_delete(request)
        return self._answer(await self.propose(commands.DELETE, request))

    async def txn(self, request: Message) -> Message:
        """A transaction. One that only has ranges is a read."""
        txn.check_txn(request, self.settings.max_txn_ops)
        if not txn.only_reads(request):
            return self._answer(await self.propose(commands.TXN, request))
        if not txn.is_serializable(request):
            await self.confirm()
        with self.machine.lock:
            done = txn.Work(self.machine.store).txn(request)
        done["header"] = self.header(done["header"]["revision"])
        return done

    async def compact(self, request: Message) -> Message:
        """Forget old revisions."""
        return self._answer(await self.propose(commands.COMPACT, request))

    # --- leases ------------------------------------------------------------------------------------

    async def grant(self, request: Message) -> Message:
        """A new lease."""
        if request.get("ID"):
            return self._answer(await self.propose(commands.GRANT, request))
        while True:
            try:
                drawn = {**request, "ID": random.SystemRandom().randint(1, LEASE_ID_MAX)}
                return self._answer(await self.propose(commands.GRANT, drawn))
            except LEASE_EXISTS:
                continue

    async def revoke(self, request: Message) -> Message:
        """End a lease."""
        return self._answer(await self.propose(commands.REVOKE, request))

    async def keep_alive(self, request: Message) -> Message:
        """Renew a lease. It is in the log before it is acknowledged: no later leader ends the lease too early."""
        return self._answer(await self.propose(commands.KEEP, request))

    async def time_to_live(self, request: Message) -> Message:
        """What is left of a lease."""
        await self.confirm()
        id = request.get("ID", 0)
        with self.machine.lock:
            leases = self.machine.leases
            done: Message = {"header": self.header(self.machine.store.revision), "ID": id}
            lease = leases.by_id.get(id)
            if lease is None:
                return {**done, "TTL": -1}
            left = max(0, min(leases.remaining(id) // SECOND, lease.ttl))
            done |= {"TTL": left, "grantedTTL": lease.ttl}
            if request.get("keys"):
                done["keys"] = sorted(lease.keys)
        return done

    async def leases(self, request: Message) -> Message:
        """All leases, the one that runs out first in front."""
        await self.confirm()
        with self.machine.lock:
            by_id = self.machine.leases.by_id
            ids = sorted(by_id, key=lambda id: (by_id[id].seen + by_id[id].ttl * SECOND, id))
            return {"header": self.header(self.machine.store.revision), "leases": [{"ID": id} for id in ids]}

    # --- watches -----------------------------------------------------------------------------------

    def watch(self) -> WatchStream:
        """The watches of one client."""
        return WatchStream(self.watches, self.settings.progress_seconds)

    # --- the cluster ---------------------------------------------------------------------------------

    def own(self) -> Message:
        """What this member says of itself."""
        advertised = self.settings.advertise or self.settings.listen
        return {"ID": self.node.id, "name": self.settings.name, "clientURLs": list(advertised)}

    async def member_list(self, request: Message) -> Message:
        """The members. From what is here: it needs no quorum."""
        said = {**self.machine.members, self.node.id: self.own()}
        members = []
        for each in self.node.members:
            member: Message = {"ID": each.id, **said.get(each.id, {})}
            member["peerURLs"] = [each.url] if each.url else []
            member["isLearner"] = each.role == "learner"
            members.append(member)
        return {"header": self.header(), "members": members}

    async def status(self, request: Message) -> Message:
        """How this member is."""
        store, size = self.machine.store, self.size
        done = {
            "header": self.header(store.revision),
            "version": VERSION,
            "dbSize": size,
            "leader": self.node.leader_id,
            "raftIndex": self.node.commit_index,
            "raftTerm": self.term,
            "raftAppliedIndex": self.node.applied_index,
            "dbSizeInUse": size,
            "isLearner": self.node.id in self.node.configuration.learners,
        }
        if not self.node.leader_id:
            done["errors"] = ["etcdserver: no leader"]
        return done

    async def authenticate(self, request: Message) -> Message:
        """A token for a name and its password."""
        loop = asyncio.get_running_loop()
        name, password = request.get("name", ""), request.get("password", "")
        token = await loop.run_in_executor(None, self.users.authenticate, name, password)
        return {"header": self.header(self.machine.store.revision), "token": token}

    async def is_healthy(self) -> bool:
        """Whether requests are answered."""
        if not self.node.leader_id:
            return False
        try:
            await asyncio.wait_for(self.confirm(), HEALTH_SECONDS)
        except (KvError, asyncio.TimeoutError):
            return False
        return True


def _takes_room(kind: bytes, request: Message) -> bool:
    """Whether more is kept afterwards. Where there is no room, what makes some can be done."""
    return kind in (commands.PUT, commands.GRANT) or (kind == commands.TXN and txn.puts(request))


#: calls with one answer, by their path behind the prefix: method, request, response, whether a token is needed
CALLS: dict[str, tuple[Any, m.Type, m.Type, bool]] = {
    "/kv/range": (Service.range, m.RANGE, m.RANGE_DONE, True),
    "/kv/put": (Service.put, m.PUT_ONE, m.PUT_DONE, True),
    "/kv/deleterange": (Service.delete_range, m.DELETE_RANGE, m.DELETE_DONE, True),
    "/kv/txn": (Service.txn, m.TXN, m.TXN_DONE, True),
    "/kv/compaction": (Service.compact, m.COMPACT, m.HEADER_ONLY, True),
    "/lease/grant": (Service.grant, m.GRANT, m.GRANT_DONE, True),
    "/lease/revoke": (Service.revoke, m.LEASE_ID, m.HEADER_ONLY, True),
    "/kv/lease/revoke": (Service.revoke, m.LEASE_ID, m.HEADER_ONLY, True),
    "/lease/timetolive": (Service.time_to_live, m.TIME_TO_LIVE, m.TIME_TO_LIVE_DONE, True),
    "/kv/lease/timetolive": (Service.time_to_live, m.TIME_TO_LIVE, m.TIME_TO_LIVE_DONE, True),
    "/lease/leases": (Service.leases, m.EMPTY, m.LEASES_DONE, True),
    "/kv/lease/leases": (Service.leases, m.EMPTY, m.LEASES_DONE, True),
    "/cluster/member/list": (Service.member_list, m.EMPTY, m.MEMBERS_DONE, False),
    "/maintenance/status": (Service.status, m.EMPTY, m.STATUS_DONE, False),
    "/auth/authenticate": (Service.authenticate, m.AUTHENTICATE, m.AUTHENTICATE_DONE, False),
}
#: what etcd has and this server does not
LEFT_OUT = frozenset(
    [f"/cluster/member/{each}" for each in ("add", "remove", "update", "promote")]
    + [f"/maintenance/{each}" for each in ("alarm", "defragment", "hash", "snapshot", "transfer-leadership")]
    + [f"/auth/{each}" for each in ("enable", "disable")]
    + [f"/auth/user/{each}" for each in ("add", "get", "list", "delete", "changepw", "grant", "revoke")]
    + [f"/auth/role/{each}" for each in ("add", "get", "list", "delete", "grant", "revoke")]
    + ["/lock/lock", "/lock/unlock"]
    + [f"/election/{each}" for each in ("campaign", "proclaim", "leader", "observe", "resign")]
)
