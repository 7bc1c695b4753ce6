"""The HTTP face: etcd's JSON gateway as an ASGI application. It turns requests into calls of the service, and back.

A response of one document has a length; a stream is chunked, one document and a newline a chunk, each sent as soon as
it is there. What an application answers beside it (the admin pages) gets every other path.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from ..report import report
from . import json_format as js
from . import messages as m
from .errors import INVALID_ARGUMENT as INVALID
from .errors import PHRASES, SERVER_STOPPED, TIMED_OUT, TOO_LARGE, UNKNOWN, UNSUPPORTED, KvError
from .service import CALLS, CLUSTER_VERSION, LEFT_OUT, VERSION, Service

PREFIXES = ("/v3/", "/v3beta/")
WATCH, KEEP_ALIVE = "/watch", "/lease/keepalive"
#: bytes of JSON for a byte of a request: base64, and what stands around it
EXPANSION = 2
SMALL = 4096  # characters of a request on a stream that are looked at as soon as they come
TOKENS = (b"grpc-metadata-token", b"authorization", b"grpc-metadata-authorization")
JSON = (b"content-type", b"application/json")
PLAIN = (b"content-type", b"text/plain; charset=utf-8")


class Gone(Exception):
    """The client has gone."""


class Face:
    """The application. ``beside``: answers what is not etcd's; None: nobody does."""

    def __init__(self, service: Service, beside: ASGIApp | None = None) -> None:
        self.service = service
        self.beside = beside
        self._body_max = service.settings.max_request_bytes * EXPANSION + 65_536

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        for prefix in PREFIXES:
            if path.startswith(prefix):
                with contextlib.suppress(Gone):
                    await self._call(path[len(prefix) - 1 :], scope, receive, send)
                return
        if path in ("/version", "/health") and scope["method"] != "GET":
            await _respond(send, 405, b"Method Not Allowed\n", PLAIN, (b"allow", b"GET"))
        elif path == "/version":
            body = {"etcdserver": VERSION, "etcdcluster": CLUSTER_VERSION}
            await _respond(send, 200, js.text_of(body), JSON)
        elif path == "/health":
            healthy = await self.service.is_healthy()
            body = {"health": "true" if healthy else "false"}
            await _respond(send, 200 if healthy else 503, js.text_of(body), JSON)
        elif self.beside is not None:
            await self.beside(scope, receive, send)
        else:
            await _respond(send, 404, b"404 page not found\n", PLAIN)

    # --- calls ---------------------------------------------------------------------------------------

    async def _call(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        call = CALLS.get(path)
        known = call is not None or path in (WATCH, KEEP_ALIVE) or path in LEFT_OUT
        if not known:
            await _respond(send, 404, b"Not Found\n", PLAIN)
        elif scope["method"] != "POST":
            await _respond(send, 405, b"Method Not Allowed\n", PLAIN)
        elif call is not None:
            await self._unary(call, scope, receive, send)
        elif path in LEFT_OUT:
            await _fail(send, UNSUPPORTED())
        else:
            await self._stream(path, scope, receive, send)

    async def _unary(self, call: Any, scope: Scope, receive: Receive, send: Send) -> None:
        method, request_type, response_type, guarded = call
        try:
            body = await self._body(receive)
            found, _ = js.document(body.decode("utf-8", "replace"))
            request = js.decode(request_type, found)
            if guarded:
                self.service.users.check(_token(scope))
            done = await method(self.service, request)
        except js.JsonError as error:
            await _fail(send, KvError(INVALID, str(error)))
        except KvError as error:
            await _fail(send, error)
        except Gone:
            raise
        except asyncio.CancelledError:
            await _fail(send, SERVER_STOPPED())  # it stops, and could wait no longer
        except Exception as error:
            await _fail(send, _mistaken(scope, error))
        else:
            await _respond(send, 200, js.text_of(js.encode(response_type, done)), JSON)

    async def _body(self, receive: Receive) -> bytes:
        message = await receive()
        first: bytes = message.get("body", b"")
        if not message.get("more_body"):
            if message["type"] == "http.disconnect":
                raise Gone
            return first
        parts, size = [first], len(first)
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            part = message.get("body", b"")
            size += len(part)
            if size <= self._body_max:
                parts.append(part)
        if size > self._body_max:
            raise TOO_LARGE
        return b"".join(parts)

    # --- streams -------------------------------------------------------------------------------------

    async def _stream(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        out = _Documents(send)
        try:
            self.service.users.check(_token(scope))
            if path == WATCH:
                await self._watch(receive, out)
            else:
                await self._keep_alive(receive, out)
        except js.JsonError as error:
            if not out.begun:
                await _fail(send, KvError(UNKNOWN, str(error)))
                return
        except KvError as error:
            await out.fail(error)
        except Gone:
            raise
        except asyncio.CancelledError:
            if out.begun:
                raise
            await out.fail(SERVER_STOPPED())
        except Exception as error:
            await out.fail(_mistaken(scope, error))
        await out.end()

    async def _keep_alive(self, receive: Receive, out: _Documents) -> None:
        async for request in self._documents(receive, m.LEASE_ID, out):
            await out.send(m.KEEP_DONE, await self.service.keep_alive(request))

    async def _watch(self, receive: Receive, out: _Documents) -> None:
        stream = self.service.watch()
        asking = asyncio.ensure_future(self._ask(receive, stream, out))
        try:
            while (told := await self._next(stream, asking)) is not None:
                await out.send(m.WATCH_DONE, told)
        finally:
            stream.close()
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError, Gone, js.JsonError):
                await asking

    @staticmethod
    async def _next(stream: Any, asking: asyncio.Future[None]) -> m.Message | None:
        told: m.Message | None = await stream.next()
        if told is None and asking.done():
            asking.result()  # raises what has ended it
        return told

    async def _ask(self, receive: Receive, stream: Any, out: _Documents) -> None:
        """Hand over what the client wants, until it has gone."""
        try:
            async for request in self._documents(receive, m.WATCH, out):
                stream.ask(request)
                await stream.room()
                if stream.closed:
                    return
            while (await receive())["type"] != "http.disconnect":
                pass
            raise Gone
        finally:
            stream.close()

    async def _documents(self, receive: Receive, type: m.Type, out: _Documents) -> AsyncIterator[m.Message]:
        """The requests in a body, as they come. What is malformed behind an answer ends them, as in etcd."""
        text, more, first, ends = "", True, True, True
        while True:
            try:
                # One that is cut goes on until a brace at least: to try it at every byte would take its square.
                found, at = js.document(text) if ends or not more else (None, -1)
                if at >= 0:
                    text = text[at:]
                    yield js.decode(type, found)
                    first = False
                    continue
            except js.JsonError as error:
                if not (more and isinstance(error, js.Ends)):
                    if first:
                        raise
                    return
            if not more:
                return
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            part: bytes = message.get("body", b"")
            text += part.decode("utf-8", "replace")
            ends = b"}" in part or len(text) < SMALL
            more = message.get("more_body", False)
            if len(text) > self._body_max:
                raise TOO_LARGE


class _Documents:
    """What is sent on a stream: a document a chunk. The head goes with the first one."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def _begin(self, status: int) -> None:
        if not self.begun:
            self.begun = True
            await self._send({"type": "http.response.start", "status": status, "headers": [JSON]})

    async def send(self, type: m.Type, message: m.Message) -> None:
        """A result."""
        await self._begin(200)
        body = js.text_of({"result": js.encode(type, message)}) + b"\n"
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def fail(self, error: KvError) -> None:
        """Tell what has ended it; also as the status, where nothing was sent."""
        await self._begin(error.status)
        what = {
            "grpc_code": error.code,
            "http_code": error.status,
            "message": error.text,
            "http_status": PHRASES[error.status],
        }
        body = js.text_of({"error": what}) + b"\n"
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self) -> None:
        """It is over."""
        await self._begin(200)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _token(scope: Scope) -> str | None:
    """As etcd's gateway takes it: the first one, that of ``grpc-metadata-token`` before others."""
    found = None
    for name, value in scope["headers"]:
        if name in TOKENS and (found is None or name == TOKENS[0]):
            token: str = value.decode("latin-1").strip()
            if name == TOKENS[0]:
                return token
            found = token
    return found


def _mistaken(scope: Scope, error: Exception) -> KvError:
    """A mistake here; for the client it passes, as far as anybody knows."""
    report(logging.ERROR, "the key-value server could not answer %s:", scope["path"], error=error)
    return TIMED_OUT()


async def _fail(send: Send, error: KvError) -> None:
    body = {"error": error.text, "message": error.text, "code": error.code}
    await _respond(send, error.status, js.text_of(body), JSON)


async def _respond(send: Send, status: int, body: bytes, *more: tuple[bytes, bytes]) -> None:
    headers = [*more, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
