"""A key-value server: a node with its state machine, and uvicorn in front of it. One event loop runs both.

It serves as soon as it listens: ``/version`` and the like at once, everything else when there is a leader. It ends by
handing over leadership first; then watches are closed, then connections, then the node.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from .. import web
from ..aio import Node
from ..errors import ConfigError, RaftError, TransportError
from ..transport.address import is_loopback
from ..transport.tls import check_private
from ..types import Role
from .chores import Chores
from .http import Face
from .machine import KeyValues
from .service import Service
from .settings import Settings, address_of

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 3600  # of a connection without a request: clients keep theirs for long
TRANSFER_SECONDS = 2.0
GRACE_SECONDS = 2


class _Http(uvicorn.Server):
    """uvicorn, without handlers of signals of its own: whoever runs the server has them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


class Server:
    """``await start()``, then ``await serve()`` until ``stop()``, then ``await close()``. In one loop, but for stop."""

    def __init__(self, node: Node[Any], machine: KeyValues, settings: Settings) -> None:
        self.node, self.machine, self.settings = node, machine, settings
        self.service: Service
        self._http: _Http | None = None
        self._serving: asyncio.Task[None] | None = None
        self._chores: Chores | None = None
        self._sockets: list[socket.socket] = []
        self._ended = asyncio.Event()

    @property
    def urls(self) -> list[str]:
        """Where it listens."""
        scheme = "https" if self.settings.cert_file else "http"
        found = []
        for each in self._sockets:
            host, port = each.getsockname()[:2]
            found.append(f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}")
        return found

    async def start(self) -> None:
        """Listen, and start the node. Raises ConfigError, TransportError, and what Node.start raises."""
        settings = self.settings
        try:
            for url in settings.listen:
                self._sockets.append(_listening(url))
            await self.node.start()
            try:
                self._campaign_alone()
                self.service = Service(self.node, self.machine, settings)
                self._chores = Chores(self.service)
                self._http = _Http(self._config())
                self._chores.start()
                self._serving = asyncio.get_running_loop().create_task(self._http.serve(sockets=self._sockets))
                while not self._http.started:
                    if self._serving.done():
                        self._serving.result()
                        raise TransportError("the HTTP server has ended at once")
                    await asyncio.sleep(0.002)
            except BaseException:
                await self.node.close()
                raise
        except BaseException:
            for each in self._sockets:
                each.close()
            raise

    def _campaign_alone(self) -> None:
        """Where nobody else could be elected, or lead already, no election timeout need pass first."""
        if set(self.node.configuration.voters) == {self.node.id}:
            # That it leads is seen by whoever asks; that it does not yet is no matter: the timeout follows.
            self.node.campaign().add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    def _config(self) -> uvicorn.Config:
        settings = self.settings
        if settings.key_file:
            check_private(settings.key_file, "key_file")
        try:
            return web.config(
                Face(self.service, self._beside()),
                http=web.protocol(web.room_for_clients()),
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
                ssl_certfile=settings.cert_file or None,
                ssl_keyfile=settings.key_file or None,
                ssl_ca_certs=settings.client_ca_file or None,
                ssl_cert_reqs=ssl.CERT_REQUIRED if settings.client_ca_file else ssl.CERT_NONE,
            )
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"cert_file, key_file or client_ca_file cannot be used: {error}") from error

    def _beside(self) -> ASGIApp | None:
        """The admin pages, where nobody but this machine reaches them, or who has the token."""
        hosts = [address_of(url, "listen")[1] for url in (*self.settings.listen, *self.settings.advertise)]
        outside = not all(is_loopback(address_of(url, "listen")[1]) for url in self.settings.listen)
        token = self.settings.admin_token
        if outside and token is None:
            return None
        pages: ASGIApp = self.node.admin(token, hosts=hosts, protect_reads=outside)
        return pages

    async def serve(self) -> None:
        """Until ``stop``, or until the node has ended: raises what has ended it."""
        ended = asyncio.ensure_future(self.node.wait())
        stopped = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                ended.result()
        finally:
            for each in (ended, stopped):
                each.cancel()

    def stop(self) -> None:
        """Let ``serve`` return. In the loop."""
        self._ended.set()

    async def close(self) -> None:
        """Hand over, close watches and connections, and the node. May be called twice."""
        if self._chores is not None:
            await self._chores.close()
            self._chores = None
        await self._hand_over()
        if self._http is not None:
            self.service.watches.close()
            self._http.should_exit = True
            if self._serving is not None:
                await asyncio.wait([self._serving], timeout=GRACE_SECONDS + 3)
            self._http = None
        await self.node.close()

    async def _hand_over(self) -> None:
        if self.node.role != Role.LEADER or len(self.node.configuration.voters) < 2:
            return
        with contextlib.suppress(RaftError, asyncio.TimeoutError):
            await asyncio.wait_for(self.node.transfer_leadership(), TRANSFER_SECONDS)


def _listening(url: str) -> socket.socket:
    _, host, port = address_of(url, "listen")
    return web.listening(host, port, BACKLOG, "the key-value server")
