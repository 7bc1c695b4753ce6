"""Who may ask: the name a request is sent to, and the token it brings. An ASGI middleware; knows no endpoint's work.

A page of a stranger may let a browser send requests to a loopback address, by a name of its own that leads there
(DNS rebinding). Such a request names the stranger's host, so it is refused. No CORS header is ever sent: what a browser
may read is what this server's own page asks for.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import ConfigError

OPEN = frozenset(("/", "/livez", "/readyz"))  # without a token, whatever is protected
READS = frozenset(("GET", "HEAD"))
TOKEN_MIN = 8
SECURED = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
NO_TOKEN = (
    "this node is shown only: it was given no admin_token, so nothing can be changed through it. Start it with one: "
    "Node.from_file(..., admin_token=os.environ['RAFTX_TOKEN']), say, or node.admin(token)"
)
WRONG_TOKEN = "the token is missing ('Authorization: Bearer TOKEN'), or it is not the admin_token of this node"


def check_token(token: object) -> None:
    """Raise ConfigError for what is no token."""
    if token is None:
        return
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("admin_token must be a str of printable ASCII without spaces")
    if len(token) < TOKEN_MIN:
        raise ConfigError(f"admin_token must have {TOKEN_MIN} characters at least, not {len(token)}: draw a random one")


def check_hosts(hosts: object) -> frozenset[str]:
    """The names, in lower case. Raises ConfigError for what are none."""
    if isinstance(hosts, (str, bytes)) or not isinstance(hosts, Iterable):
        raise ConfigError(f"hosts must be names of hosts, such as ['raft.example.org'], not {hosts!r}")
    names = list(hosts)
    for name in names:
        if not isinstance(name, str) or not name or not name.isascii() or set(name) & set(" /:[]@"):
            raise ConfigError(f"hosts must be names of hosts, without a port, not {name!r}")
    return frozenset([name.lower() for name in names])


def host_of(header: str) -> str:
    """The host of a Host header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0] if "]" in header else header
    return header.partition(":")[0] if header.count(":") == 1 else header


def is_address(host: str) -> bool:
    """Whether it is an address, and no name: nobody can let it lead elsewhere."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Guard:
    """In front of an application."""

    def __init__(self, app: ASGIApp, token: str | None, hosts: Iterable[str], protect_reads: bool) -> None:
        check_token(token)
        self.app = app
        self.token = token
        self.hosts = check_hosts(hosts)
        self.protect_reads = protect_reads
        if protect_reads and token is None:
            raise ConfigError("protect_reads needs a token")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or what else a server has to say."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *SECURED]
            await send(message)

        refused = self.refusal(HTTPConnection(scope))
        await (refused if refused is not None else self.app)(scope, receive, secured)

    def refusal(self, request: HTTPConnection) -> PlainTextResponse | None:
        """Why it is not served; None when it is."""
        host = host_of(request.headers.get("host", "")).lower()
        if not (is_address(host) or host == "localhost" or host in self.hosts):
            text = f"this server is not asked for as {host[:100]!r}: use its address, or name the host in hosts"
            return PlainTextResponse(text + "\n", 421)
        method = request.scope["method"]
        root = request.scope.get("root_path", "")
        path = request.scope["path"].removeprefix(root) or "/"
        if method in READS and path != "/backup" and (not self.protect_reads or path in OPEN):
            return None
        if self.token is None:
            return PlainTextResponse(NO_TOKEN + "\n", 403)
        if not self.is_allowed(request.headers.get("authorization", "")):
            return PlainTextResponse(WRONG_TOKEN + "\n", 403, {"www-authenticate": "Bearer"})
        return None

    def is_allowed(self, header: str) -> bool:
        """Whether the header has the token. Takes as long whichever character is wrong."""
        kind, _, given = header.partition(" ")
        expected = (self.token or "").encode()
        return kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode("utf-8", "replace"), expected)
