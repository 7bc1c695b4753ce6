"""A cluster whose members have admin servers, and a client for them. Not a test."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

from tests.helpers.ports import ports
from tests.helpers.waiting import WAIT, eventually

TOKEN = "a token of 20 letters"[:20].replace(" ", "-")


class Machine:
    """A sum, which can be asked for snapshots and told to wait."""

    def __init__(self):
        self.total = 0

    def apply(self, entry):
        self.total += len(entry.data)
        return self.total

    def snapshot(self):
        return b"%d" % self.total

    def restore(self, reader):
        self.total = int(reader.read())


class Answer:
    """What a server said."""

    def __init__(self, response):
        self.code = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


def ask(url, path, method="GET", body=None, token=None, **headers):
    """One request. Headers: with _ for -, None for one that is left out."""
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=WAIT)
    try:
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = json.dumps(body).encode() if body is not None and not isinstance(body, bytes) else body
        connection.request(method, path, data, sent)
        return Answer(connection.getresponse())
    finally:
        connection.close()


class Group:
    """Members on loopback, in directories or in memory, each with an admin server."""

    def __init__(self, impl, count=3, token=TOKEN, **settings):
        self.impl = impl
        self.urls = {id: f"tcp://127.0.0.1:{port}" for id, port in zip(range(1, count + 2), ports(count + 1))}
        self.token = token
        self.settings = settings
        self.machines, self.nodes = {}, {}
        self.first = tuple(range(1, count + 1))
        for id in self.first:
            self.start(id, impl.MemoryStorage(voters=self.first))

    def start(self, id, storage):
        config = self.impl.Config(id=id, **{"tick_ms": 20, **self.settings})
        self.machines[id] = Machine()
        transport = self.impl.NngTransport(self.urls[id], peers=self.urls)
        self.nodes[id] = self.impl.Node(
            config, storage, transport, self.machines[id], admin="127.0.0.1:0", admin_token=self.token
        ).start()
        return self.nodes[id]

    def leader(self):
        def agreed():
            led = {self.nodes[id].leader_id for id in self.first}
            return len(led) == 1 and self.nodes.get(led.pop())

        return eventually(agreed)

    def get(self, path, id=None, **more):
        node = self.nodes[id] if id is not None else self.leader()
        return ask(node.admin_url, path, **more)

    def post(self, path, body, id=None, token=TOKEN, **more):
        node = self.nodes[id] if id is not None else self.leader()
        return ask(node.admin_url, path, "POST", body, token, **more)

    def close(self):
        for node in self.nodes.values():
            node.close()
