"""uvicorn as raftx uses it: how it is set, the sockets that it is given, and what it reads at most of a head.

For the admin server of a node and for the key-value server, which say what they serve. Needs uvicorn; speaks no HTTP.
"""

from __future__ import annotations

import logging
import socket
from typing import Any

import uvicorn

from .errors import TransportError

#: bytes of a request's line and headers, and of what may follow a body, that are read before they are refused
HEAD_MAX = 64 << 10
RESERVED = 150  # descriptors that are not for clients, as in etcd
CONNECTIONS_MAX = 1 << 20
#: seconds after which a client that says nothing is asked whether it is there, and between two such questions
ALIVE_SECONDS = 30
ALIVE_TRIES = 4


def config(app: Any, **more: Any) -> uvicorn.Config:
    """Settings of a server that logs nothing, knows no WebSocket, and trusts no proxy. ``more``: as uvicorn has it."""
    given: dict[str, Any] = {
        "log_config": None,
        "log_level": logging.CRITICAL,
        "access_log": False,
        "lifespan": "off",
        "server_header": False,
        "proxy_headers": False,
        "ws": "none",
    }
    return uvicorn.Config(app, **{**given, **more})


def room_for_clients() -> int:
    """How many connections may be open, so that files and other members have descriptors left."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return CONNECTIONS_MAX
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return CONNECTIONS_MAX if limit == resource.RLIM_INFINITY else max(limit // 2, limit - RESERVED)


def protocol(most: int) -> Any:
    """What reads requests fastest, of so many connections at once: httptools where it is there, else h11."""

    class Few:
        """What comes beyond that is closed."""

        connections: set[Any]
        transport: Any

        def connection_made(self, transport: Any) -> None:
            if len(self.connections) < most:
                super().connection_made(transport)  # type: ignore[misc]
            else:
                self.transport = transport
                transport.abort()

    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ModuleNotFoundError:
        from uvicorn.protocols.http.h11_impl import H11Protocol

        return type("Plain", (Few, H11Protocol), {})  # it bounds heads by itself

    class Bounded(Few, HttpToolsProtocol):
        """With an end to heads: httptools keeps whatever comes, and its time grows with the square of it."""

        #: bytes since a head, a piece of a body or a message was complete
        _unfinished = 0

        def data_received(self, data: bytes) -> None:
            self._unfinished += len(data)
            super().data_received(data)
            if self._unfinished > HEAD_MAX and not self.transport.is_closing():
                if self.cycle is None or self.cycle.response_complete:
                    self.send_400_response("The head of the request is too large.")
                else:
                    self.transport.close()

        def on_headers_complete(self) -> None:
            self._unfinished = 0
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self._unfinished = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._unfinished = 0
            super().on_message_complete()

    return Bounded


def listening(host: str, port: int, backlog: int, who: str) -> socket.socket:
    """A socket that listens. Raises TransportError, which says who cannot."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = socket.create_server((host, port), family=family, backlog=backlog)
    except OSError as error:
        raise TransportError(f"{who} cannot listen on {host}:{port}: {error}") from error
    # Connections inherit these. Else a body waits until the client has acknowledged the head before it, ...
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # ... and what a client asked for that is gone without a word, such as a watch, is kept for ever.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", ALIVE_SECONDS),
        ("TCP_KEEPINTVL", ALIVE_SECONDS),
        ("TCP_KEEPCNT", ALIVE_TRIES),
    ):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made
