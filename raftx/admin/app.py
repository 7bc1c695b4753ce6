"""The ASGI application of one node: what may be asked, and who answers it. docs/admin.md has the endpoints."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..report import report
from .actions import Actions, Wrong, wrong
from .guard import Guard
from .health import Health, text_of
from .metrics import exposition
from .pages import PAGE, POLICY

LOOK_SECONDS = 1.0  # that other members have to answer in, where a request does not say
LOOK_SECONDS_MAX = 30.0
NUMBER_DIGITS = 18

Endpoint = Callable[[Request], Awaitable[Response]]


class Admin:
    """The endpoints that only look."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.health = Health(node)

    async def page(self, request: Request) -> Response:
        """GET /"""
        headers = {"content-security-policy": POLICY, "cache-control": "no-cache"}
        return Response(PAGE, media_type="text/html", headers=headers)

    async def livez(self, request: Request) -> Response:
        """GET /livez"""
        return self._checks(request, "livez", await run_in_threadpool(self.health.live))

    async def readyz(self, request: Request) -> Response:
        """GET /readyz"""
        return self._checks(request, "readyz", await run_in_threadpool(self.health.ready))

    def _checks(self, request: Request, name: str, found: dict[str, str]) -> Response:
        left_out = request.query_params.getlist("exclude")
        code, text = text_of(name, found, "verbose" in request.query_params, left_out)
        return PlainTextResponse(text, code, {"cache-control": "no-store"})

    async def status(self, request: Request) -> Response:
        """GET /status"""
        status = await run_in_threadpool(self.node.status)
        return _fresh(status.to_dict())

    async def cluster(self, request: Request) -> Response:
        """GET /cluster"""
        try:
            seconds = float(request.query_params.get("timeout", LOOK_SECONDS))
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= LOOK_SECONDS_MAX:
            return wrong(f"timeout must be a number of seconds in 0..{LOOK_SECONDS_MAX:g}")
        return _fresh((await run_in_threadpool(self.node.cluster_status, seconds)).to_dict())

    async def events(self, request: Request) -> Response:
        """GET /events"""
        after = request.query_params.get("after", "0")
        if not after.isascii() or not after.isdigit() or len(after) > NUMBER_DIGITS:
            return wrong("after must be the number of an event, or 0")
        return _fresh([vars(each) for each in self.node.events(int(after))])

    async def metrics(self, request: Request) -> Response:
        """GET /metrics"""
        data, kind = await run_in_threadpool(exposition, self.node, request.headers.get("accept", ""))
        return Response(data, media_type=kind, headers={"cache-control": "no-store"})


def _fresh(found: object) -> JSONResponse:
    return JSONResponse(found, headers={"cache-control": "no-store"})


async def _not_found(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "there is nothing here; docs/admin.md has the endpoints"}, 404)


async def _not_so(request: Request, error: Exception) -> Response:
    allowed = getattr(error, "headers", None) or {}
    return JSONResponse({"error": f"not with {request.method} here"}, 405, allowed)


async def _wrong(request: Request, error: Exception) -> Response:
    return wrong(str(error))


class Told:
    """In front of all: a line for the log for each request, without what it brings."""

    def __init__(self, app: ASGIApp, id: int) -> None:
        self.app = app
        self.id = id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        code = 500

        async def seen(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, seen)
        finally:
            client = scope.get("client") or ("?", 0)
            report(
                logging.DEBUG,
                "node %d: admin: %s %s from %s: %d",
                *(self.id, scope["method"], scope["path"][:100], client[0], code),
            )


def application(
    node: Any, token: str | None = None, *, hosts: Iterable[str] = (), protect_reads: bool = False
) -> ASGIApp:
    """The application of a node. See Node.admin. Raises ConfigError."""
    looks, acts = Admin(node), Actions(node)
    asked: dict[str, Endpoint] = {
        "/": looks.page,
        "/livez": looks.livez,
        "/readyz": looks.readyz,
        "/status": looks.status,
        "/cluster": looks.cluster,
        "/events": looks.events,
        "/metrics": looks.metrics,
        "/backup": acts.backup,
    }
    done: dict[str, Endpoint] = {
        "/members/add": acts.add,
        "/members/promote": acts.promote,
        "/members/demote": acts.demote,
        "/members/remove": acts.remove,
        "/members/move": acts.move,
        "/members/replace": acts.replace,
        "/transfer": acts.transfer,
        "/snapshot": acts.snapshot,
    }
    routes = [Route(path, endpoint, methods=["GET"]) for path, endpoint in asked.items()]
    routes += [Route(path, endpoint, methods=["POST"]) for path, endpoint in done.items()]
    handlers = {404: _not_found, 405: _not_so, Wrong: _wrong}
    inner = Starlette(routes=routes, exception_handlers=handlers)
    return Told(Guard(inner, token, hosts, protect_reads), node.id)
