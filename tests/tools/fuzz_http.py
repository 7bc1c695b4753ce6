"""Requests for the key-value server and for the admin server, as targets of coverage_fuzz.py. No socket is opened.

A text becomes requests as servers read them, and these go to the ASGI application: requests are separated by lines of
``====``; each has a line, headers, and behind an empty line a body, in parts that are separated by lines of ``--``. A
part that begins with ``@N `` comes N times. TOKEN in a header is a token that counts. What no server would hand on is
left out.

A finding: an exception, an answer with 500 or none at all, one that is not what its head says, memory that grows with
what is sent, and a node that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import resource
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock
from urllib.parse import unquote

from tests.helpers.admin import TOKEN, Machine
from tests.helpers.kv_direct import Direct
from tests.helpers.waiting import eventually
from tests.tools.fuzz_target import Finding, Target

REQUESTS_MAX = 8
PARTS_MAX = 32
REPEATS_MAX = 4096
SENT_MAX = 64 << 20  # bytes of a body
GROWTH_MAX = 48 << 10  # KiB by which a process may grow in one run
ANSWER_SECONDS = 30.0  # nothing that is asked here takes longer, on the slowest machine
NODE_RUNS = 500  # after which there is a new node
NODE_SECONDS = 0.05  # that it has for what is asked of it

NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
SEEN = re.compile(rb"[\x21-\x7e]+")
REPEATED = re.compile(rb"@([0-9]{1,4}) ", re.ASCII)


class Request:
    """One request as an ASGI application gets it."""

    def __init__(self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        path, _, query = target.partition(b"?")
        self.scope: dict[str, Any] = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method.decode("ascii"),
            "path": unquote(path.decode("ascii")), "raw_path": path, "root_path": "", "query_string": query,
            "headers": headers, "scheme": "http", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8080),
        }  # fmt: skip
        #: pieces of the body, and how often each comes
        self.parts: list[tuple[bytes, int]] = []
        left = SENT_MAX
        for part in body.split(b"\n--\n")[:PARTS_MAX]:
            times, found = 1, REPEATED.match(part)
            if found:
                part, times = part[found.end() :], min(int(found[1]), REPEATS_MAX)
            times = min(times, left // max(len(part), 1))
            left -= times * len(part)
            if times:
                self.parts.append((part, times))


def read(data: bytes, token: bytes) -> list[Request]:
    """The requests of a text."""
    found = []
    for text in data.split(b"\n====\n")[:REQUESTS_MAX]:
        head, _, body = text.partition(b"\n\n")
        line, *lines = head.split(b"\n")
        method, _, target = line.partition(b" ")
        if not NAME.fullmatch(method) or not SEEN.fullmatch(target):
            continue
        headers = []
        for each in lines:
            name, colon, value = each.partition(b":")
            if colon and NAME.fullmatch(name) and VALUE.fullmatch(value):
                headers.append((name.lower(), value.strip().replace(b"TOKEN", token)))
        if not any(name == b"host" for name, _ in headers):
            headers.append((b"host", b"127.0.0.1"))
        found.append(Request(method, target, headers, body))
    return found


class Exchange:
    """One request, and what is answered."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.waiting = [list(each) for each in request.parts]
        self.begun: dict[str, Any] = {}
        self.body = bytearray()
        self.complete = False
        #: whether the application was told that the client has gone, and need not answer any more
        self.gone = False

    async def receive(self) -> dict[str, Any]:
        """The next part; when all have come, the client goes."""
        while self.waiting and self.waiting[0][1] == 0:
            self.waiting.pop(0)
        if self.gone or not self.waiting:
            if not self.request.parts and not self.gone:
                self.gone = True
                return {"type": "http.request", "body": b"", "more_body": False}
            self.gone = True
            return {"type": "http.disconnect"}
        self.waiting[0][1] -= 1
        more = self.waiting[0][1] > 0 or len(self.waiting) > 1
        return {"type": "http.request", "body": self.waiting[0][0], "more_body": more}

    async def send(self, message: dict[str, Any]) -> None:
        """A piece of the answer."""
        if message["type"] == "http.response.start":
            if self.begun:
                raise Finding("an answer begins twice")
            self.begun = message
            return
        if not self.begun or self.complete:
            raise Finding("a piece of an answer comes before its head, or after its end")
        self.body += message.get("body", b"")
        self.complete = not message.get("more_body", False)

    def judge(self) -> None:
        """Whether there is an answer, and what its head says."""
        status = self.begun.get("status", 0)
        if not self.complete:
            if self.gone:
                return
            raise Finding("there is no answer, or it has no end")
        # 500 with code 2 is what etcd's gateway answers to a stream that begins with no request.
        if not 200 <= status < 600 or (status == 500 and not self.body.endswith(b',"code":2}')):
            raise Finding(f"answered with {status}: {bytes(self.body[:500])!r}")
        headers = dict(self.begun["headers"])
        length = headers.get(b"content-length")
        if length is not None and int(length) != len(self.body) and self.request.scope["method"] != "HEAD":
            raise Finding(f"{len(self.body)} bytes came, and {length!r} were announced")
        if headers.get(b"content-type", b"").startswith(b"application/json"):
            for line in self.body.splitlines():
                json.loads(line)


class Http(Target):
    """Requests for an application."""

    def exchange(self, loop: asyncio.AbstractEventLoop, app: Any, requests: list[Request]) -> list[Exchange]:
        """One after the other."""
        done = []
        for request in requests:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            exchange = Exchange(request)
            asked = app(request.scope, exchange.receive, exchange.send)
            try:
                loop.run_until_complete(asyncio.wait_for(asked, ANSWER_SECONDS))
            except (TimeoutError, asyncio.TimeoutError) as error:
                raise Finding(f"{request.scope['path']!r} was not answered in time") from error
            exchange.judge()
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            if grown > GROWTH_MAX:
                raise Finding(f"one request to {request.scope['path']!r} took {grown >> 10} MiB")
            done.append(exchange)
        return done


class Kv(Http):
    """The key-value server, each time an empty one. Where a token is shown, or asked for, it has users."""

    def __init__(self, packages: list[ModuleType], scratch: Path) -> None:
        super().__init__(packages, scratch)
        from raftx.kv import auth, http

        self.patches = contextlib.ExitStack()
        # What it takes to guess a password is not what is looked for.
        quick = mock.patch.object(auth, "_slowly", lambda data, salt: hashlib.sha256(salt + data).digest())
        # It keeps mistakes from clients: here they are to be seen.
        seen = mock.patch.object(http, "_mistaken", mistaken)
        self.patches.enter_context(quick)
        self.patches.enter_context(seen)

    def run(self, data: bytes) -> None:
        """Requests, one after the other."""
        users = {"root": "a password"} if b"TOKEN" in data or b"authenticate" in data else {}
        with Direct(max_request_bytes=1024, users=users, token_secret="not guessed") as direct:
            token = direct.service.users.token("root").encode() if users else b""
            self.exchange(direct.loop, direct.face, read(data, token))

    def close(self) -> None:
        """The server is as it was."""
        self.patches.close()


def mistaken(scope: dict[str, Any], error: Exception) -> None:
    """A mistake in the key-value server is a finding."""
    raise Finding(f"a mistake in {scope['path']!r}: {error!r}") from error


class Admin(Http):
    """The admin server of a node that is alone, and has little time for what it is asked."""

    def __init__(self, packages: list[ModuleType], scratch: Path) -> None:
        super().__init__(packages, scratch)
        from raftx.admin import actions, app

        self.patches = contextlib.ExitStack()
        for where, names in ((actions, ("TIMEOUT", "TIMEOUT_MAX")), (app, ("LOOK_SECONDS", "LOOK_SECONDS_MAX"))):
            for name in names:
                self.patches.enter_context(mock.patch.object(where, name, NODE_SECONDS))
        self.loop = asyncio.new_event_loop()
        self.node: Any = None
        self.app: Any = None
        self.runs = 0

    def run(self, data: bytes) -> None:
        """Requests, one after the other."""
        if self.node is None or self.runs >= NODE_RUNS:
            self.begin()
        self.runs += 1
        self.exchange(self.loop, self.app, read(data, TOKEN.encode()))
        if self.node.status().failure:
            raise Finding(f"the node has ended: {self.node.status().failure}")

    def begin(self) -> None:
        """A new node."""
        self.end()
        impl = self.packages[0]
        config = impl.Config(id=1, tick_ms=10, proposal_timeout_ms=1000)
        node = impl.Node(config, impl.MemoryStorage([1]), impl.MemoryNetwork().transport(), Machine())
        self.node = node.start()
        self.app = self.node.admin(TOKEN)
        self.runs = 0
        eventually(lambda: self.node.is_leader)

    def end(self) -> None:
        """The node ends."""
        if self.node is not None:
            self.node.close()
            self.node = None

    def close(self) -> None:
        """The node ends, and the server is as it was."""
        self.end()
        self.patches.close()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
