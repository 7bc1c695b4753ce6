"""The admin server of a node: uvicorn on a thread of its own, with a socket that is bound before it starts."""

from __future__ import annotations

import email.utils
import ipaddress
import socket
import threading
import time
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import web
from ..errors import ConfigError
from ..transport.address import is_loopback
from .app import application
from .guard import check_token

GRACE_SECONDS = 1  # for requests that are under way when it ends
POLL_SECONDS = 0.01
BACKLOG = 128
CONNECTIONS = 64  # that are served at once; more are answered with 503
KEEP_ALIVE_SECONDS = 10

now = time.time


def parse(address: object) -> tuple[str, int]:
    """Host and port of an address. Raises ConfigError."""
    if isinstance(address, str):
        host, _, port = address.rpartition(":")
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if host and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535:
            return host, int(port)
    raise ConfigError(f"admin must be an address with a port, such as '127.0.0.1:8080', not {address!r}")


def server(node: Any, address: object, *, token: str | None, insecure: bool) -> AdminServer:
    """The server of a node. Raises ConfigError, which names the field."""
    host, port = parse(address)
    check_token(token)
    if not isinstance(insecure, bool):
        raise ConfigError(f"admin_insecure must be True or False, not {insecure!r}")
    outside = not is_loopback(host)
    if outside and token is None and not insecure:
        raise ConfigError(
            f"admin={address!r} can be reached from other machines: give an admin_token, which everything then needs, "
            "or say admin_insecure=True, and anybody may look"
        )
    return AdminServer(node, host, port, token, protect_reads=outside and not insecure)


class AdminServer:
    """Serves one node. ``start`` and ``close`` may be called from any thread."""

    def __init__(self, node: Any, host: str, port: int, token: str | None, protect_reads: bool) -> None:
        self.host = host
        self.port = port
        self.name = f"raftx-admin-{node.id}"
        app = application(node, token, hosts=() if is_address_like(host) else (host,), protect_reads=protect_reads)
        config = web.config(
            Dated(app),
            date_header=False,
            loop="asyncio",
            http="h11",
            limit_concurrency=CONNECTIONS,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    @property
    def url(self) -> str:
        """Where it is reached; "" before it listens."""
        if self._socket is None:
            return ""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Listen, and serve. Raises TransportError when it cannot listen."""
        made = web.listening(self.host, self.port, BACKLOG, "the admin server")
        self.port = made.getsockname()[1]
        self._socket = made
        self._thread = threading.Thread(target=self._serve, name=self.name, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._socket] if self._socket is not None else [])
        finally:
            if self._socket is not None:
                self._socket.close()

    def close(self, timeout: float) -> bool:
        """End it; False when it has not ended within ``timeout`` seconds. May be called twice."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return True
        until = time.monotonic() + timeout
        self._server.should_exit = True
        if thread.ident is not None:
            thread.join(timeout)
        if thread.is_alive():
            self._server.force_exit = True
            thread.join(max(POLL_SECONDS, until - time.monotonic()))
        return not thread.is_alive()


class Dated:
    """Gives each answer the second in which it was made, by which ``raftx doctor`` compares clocks.

    uvicorn looks at the clock once a second: what it tells may be the second before.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""

        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = email.utils.formatdate(now(), usegmt=True).encode()
                message["headers"] = [*message.get("headers", []), (b"date", date)]
            await send(message)

        await self.app(scope, receive, dated)


def is_address_like(host: str) -> bool:
    """Whether it is an address or "localhost", which may be asked for in any case."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True
