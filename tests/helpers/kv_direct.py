"""The key-value server without a cluster: what is proposed is applied at once, and requests go to the application.

A client for the sequences of interop/etcd_kv, and for tests of calls and watches. Not a test.
"""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

from raftx.kv.http import Face
from raftx.kv.machine import KeyValues
from raftx.kv.service import Service
from raftx.kv.settings import Settings
from tests.helpers.waiting import WAIT

SECOND = 1_000_000_000
QUIET = 2.0  # seconds in which a watch that is served in this process is told something, if it ever is


def settings(**more):
    return Settings(name="n1", advertise=("http://127.0.0.1:1",), listen=("http://127.0.0.1:1",), **more)


class DirectNode:
    """What the service needs of a node. ``now``: the time that entries get, in nanoseconds."""

    def __init__(self, machine):
        self.machine = machine
        self.id = 1
        self.term = 1
        self.leader_id = 1
        self.is_leader = True
        self.now = SECOND
        self.commit_index = self.applied_index = 0
        self.config = SimpleNamespace(cluster=b"direct".ljust(16, b"\0"), election_ticks=10, tick_ms=50)
        self.configuration = SimpleNamespace(learners=(), voters=(1,))
        self.members = [SimpleNamespace(id=1, url="tcp://127.0.0.1:2", role="voter")]
        #: what the next proposals and reads end with, in place of being done
        self.failures = []
        self.entries = []

    def propose(self, data, *, timeout=None):
        if self.failures:
            return self._ended(self.failures.pop(0))
        self.applied_index += 1
        self.commit_index = self.applied_index
        entry = SimpleNamespace(index=self.applied_index, term=self.term, time=self.now, data=data)
        self.entries.append(entry)
        (result,) = self.machine.apply_batch([entry])
        return self._ended(SimpleNamespace(result=result))

    def read(self, **more):
        return self._ended(self.failures.pop(0) if self.failures else self.applied_index)

    @staticmethod
    def _ended(value):
        future = asyncio.get_running_loop().create_future()
        if isinstance(value, BaseException):
            future.set_exception(value)
        elif value is not None:  # None: it never ends
            future.set_result(value)
        return future


class Direct:
    """A server, and its client, in a loop of their own that runs only while somebody waits."""

    def __init__(self, **more):
        self.loop = asyncio.new_event_loop()
        self.machine = KeyValues()
        self.node = DirectNode(self.machine)
        self.watches = []

        async def made():
            return Service(self.node, self.machine, settings(**more))

        self.service = self.loop.run_until_complete(made())
        self.face = Face(self.service)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.run(self._close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    async def _close(self):
        self.service.watches.close()
        await asyncio.gather(*[watch.task for watch in self.watches])

    def run(self, coroutine):
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, WAIT))

    def ask(self, step):
        """Status and body of a request, as interop/etcd_kv has them."""
        status, _, chunks = self.request(step["path"], step["body"].encode())
        lines = b"".join(chunks).decode("utf-8", "replace").splitlines()
        try:
            found = [json.loads(line) for line in lines if line]
        except ValueError:
            return status, "\n".join(lines)
        return status, found[0] if len(found) == 1 else found

    def call(self, path, _status=200, **request):
        """The answer to a call, which must have that status."""
        status, body = self.ask({"path": f"/v3{path}", "body": json.dumps(request)})
        assert status == _status, body
        return body

    def request(self, path, body=b"", *, method="POST", headers=(), parts=None):
        """Status, headers and chunks."""
        exchange = Exchange(self.face, path, parts if parts is not None else [body], method, headers)
        self.run(exchange.run())
        return exchange.status, dict(exchange.headers), [chunk for chunk in exchange.chunks if chunk]

    def watch(self, request):
        watch = DirectWatch(self, {"create_request": request})
        self.watches.append(watch)
        return watch


class Exchange:
    """One request to an ASGI application."""

    def __init__(self, app, path, parts, method="POST", headers=()):
        self.app = app
        self.scope = {
            "type": "http", "method": method, "path": path, "headers": list(headers), "root_path": "",
            "query_string": b"", "client": ("127.0.0.1", 1),
        }  # fmt: skip
        self.parts = list(parts)
        self.status, self.headers, self.chunks = 0, [], []
        self.gone = asyncio.Event()
        self.bell = asyncio.Event()

    async def run(self):
        await self.app(self.scope, self._receive, self._send)

    async def _receive(self):
        if self.parts:
            part = self.parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self.parts)}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], message["headers"]
        else:
            self.chunks.append(message["body"])
        self.bell.set()


class DirectWatch:
    """One watch."""

    def __init__(self, direct, request):
        self._direct = direct
        self.exchange = Exchange(direct.face, "/v3/watch", [json.dumps(request).encode()])
        self.task = direct.loop.create_task(self.exchange.run())

    @property
    def told(self):
        return [json.loads(chunk) for chunk in self.exchange.chunks if chunk]

    def wait(self, condition):
        """Until what it was told fulfils a condition, or nothing more will come; whether it does."""

        async def until():
            while not condition(self.told):
                self.exchange.bell.clear()
                await asyncio.wait_for(self.exchange.bell.wait(), QUIET)

        try:
            self._direct.run(until())
        except asyncio.TimeoutError:
            return False
        return True

    def leave(self):
        """The client goes."""
        self.exchange.gone.set()
        self._direct.run(self.task)
