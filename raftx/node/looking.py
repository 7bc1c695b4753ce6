"""How a node and its cluster are looked at: what others say of themselves, what has happened, and over HTTP.

The part of Node that asks nothing of the engine but to pass a question on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..config import cluster_id
from ..errors import UsageError
from ..types import check_timeout, is_id
from .executor import Executor
from .member_requests import MemberRequests
from .requests import SECONDS_MAX, R
from .serving import Server, admin_module
from .timeline import Event

if TYPE_CHECKING:
    from .cluster_view import ClusterStatus
    from .lookout import Lookout
    from .status import Status


class Looking(MemberRequests[R]):
    """Any thread; also of a node that does not run any more."""

    _executor: Executor
    _admin: Server | None

    def status(self) -> Status:
        """See Node."""
        raise NotImplementedError

    def cluster_status(self, timeout: float = 1.0) -> ClusterStatus:
        """Ask every other member how it is, and return that with this node's own status.

        A member that has not answered within ``timeout`` seconds is there without its status, and with the reason; so
        this works, too, when some are down, or no leader is known. Answers that are a quarter of a second old are as
        good, and a member is asked no more often, whoever calls this. Works while ``apply`` or a callback hangs. A node
        that does not run asks nobody, and tells what it knew. Not in coroutines, whose loop it would hold up. Raises
        UsageError for what is no time, and on a thread of the node.
        """
        self._life.check_process()
        check_timeout(timeout, none=False)
        if self._life.is_mine():
            raise UsageError("a thread of the node cannot wait for the answers of others")
        parts = self._parts
        if parts is None or not self._life.is_alive():
            return self._view(None)
        lookout = parts.lookout
        since, others = parts.clock.py_now(), [id for id in parts.members.now.ids() if id != self._outside.config.id]
        lookout.forget(others)

        def answered() -> bool:
            missing = [id for id in others if not lookout.is_fresh(id, since)]
            lookout.ask(missing)
            return not missing or self._life.ended.is_open()

        seconds = min(max(timeout, 0.0), SECONDS_MAX)
        self._executor.wait_for(answered, self._executor.now() + seconds)
        return self._view(lookout, since, seconds)

    def _view(self, lookout: Lookout | None, since: int = 0, waited: float = 0.0) -> ClusterStatus:
        from .cluster_view import view_of  # here: see Node.__init__

        config, there = self._outside.config, self._outside.configuration.value
        return view_of(self.status(), cluster_id(config.cluster), self.members, there, lookout, since, waited)

    def events(self, after: int = 0) -> list[Event]:
        """What has happened lately, with a higher number than ``after``: the newest 512 events of this life, in order.

        Elections, transfers, changes of membership, snapshots, start and end. Any thread; also of a node that failed.
        Raises UsageError for what is no number.
        """
        self._life.check_process()
        if not is_id(after, 0):
            raise UsageError(f"after must be the number of an event, or 0, not {after!r}")
        return self._outside.timeline.after(after)

    # --- how it is looked after -------------------------------------------------------------------

    def reload_tls(self) -> bool:
        """Read the files of its transport's ``tls`` again, now; whether there was something new. Any thread.

        They are also looked at once a second. New connections use what is there now, those of before end after
        ``renew_s`` of raftx.Tls. Waits for the files, not for the network. Raises ConfigError when they cannot be used,
        and those of before stay in use; UsageError when the transport has no TLS, or does not run.
        """
        self._life.check_process()
        method = getattr(self._outside.transport, "reload_tls", None)
        if method is None:
            raise UsageError(f"there is no TLS to reload: {type(self._outside.transport).__name__} has none")
        return bool(method())

    def admin(self, token: str | None = None, *, hosts: Iterable[str] = (), protect_reads: bool = False) -> Any:
        """An ASGI application that shows this node and its cluster, and lets its members be changed; see docs/admin.md.

        To be mounted in a service of your own (Starlette, FastAPI), or served by any ASGI server. Needs the extra
        ``service``. token: what a request must bring to change anything (``Authorization: Bearer TOKEN``); None:
        nothing can be changed. protect_reads: everything but /livez, /readyz and the page itself needs it. hosts:
        names under which it may be asked for, besides addresses and "localhost". Raises ConfigError.
        """
        return admin_module().application(self, token, hosts=hosts, protect_reads=protect_reads)

    @property
    def admin_url(self) -> str:
        """Where its own admin server is reached, "http://127.0.0.1:8080" say; "" without one, and before the start."""
        return "" if self._admin is None else self._admin.url
