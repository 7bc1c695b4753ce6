"""A small server that speaks the HTTP of a member's admin pages, with a made-up cluster behind it. Not a test."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "s3cret"
CHANGES = ("add", "promote", "demote", "remove", "move", "replace")


class Made:
    """A cluster of three members, of which the third is behind."""

    def __init__(self) -> None:
        self.cluster = "flags"
        self.leader, self.term = 1, 7
        self.events = [{"n": 1, "time": 1764460000.0, "event": "leader_elected", "text": "leads in term 7"}]
        self.members: dict[int, dict[str, Any]] = {}
        for id in (1, 2, 3):
            self.put(id, f"tcp://127.0.0.1:{5600 + id}", learner=False)
        self.members[1]["status"]["latency"]["wal"] = {"counts": [900, 95, 5, 0], "seconds": 1.1}
        self.members[3] |= {"seen_ms": 41_000, "reachable": True}
        self.members[3]["status"] |= {"commit": 118_002, "applied": 118_002}
        #: what the next requests are answered with, instead of being done: (status, document)
        self.instead: list[tuple[int, Any]] = []
        self.requests: list[tuple[str, str, dict[str, Any] | None]] = []
        self.backup = b""
        self.cut = 0  # bytes of the backup that are not sent

    def put(self, id: int, url: str, learner: bool) -> None:
        status = {
            "id": id, "state": "running", "failure": None, "life": 1, "term": self.term, "commit": 120_441,
            "applied": 120_441, "last": 120_441,
            "diverged": "", "role": "leader" if id == self.leader else "follower", "leader": self.leader,
            "disk": {"used": 12_400_000, "full": False, "syncs": 1_000, "sync_ns": 1_800_000_000},
            "latency": {"bounds": [0.001024, 0.002048, 0.004096], "wal": {"counts": [0, 0, 0, 0], "seconds": 0.0}},
        }  # fmt: skip
        self.members[id] = {
            "id": id, "url": url, "role": status["role"], "voter": not learner, "learner": learner, "reachable": True,
            "error": "", "seen_ms": 0 if id == self.leader else 20, "status": status,
        }  # fmt: skip

    def down(self, id: int) -> None:
        self.members[id] |= {"reachable": False, "error": "connection refused", "role": "", "status": None}

    def happened(self, event: str, text: str) -> None:
        self.events.append({"n": len(self.events) + 1, "time": time.time(), "event": event, "text": text})

    def document(self) -> dict[str, Any]:
        return {
            "cluster": self.cluster, "id": 1, "leader": self.leader, "term": self.term,
            "members": list(self.members.values()),
        }  # fmt: skip

    def change(self, what: str, body: dict[str, Any]) -> tuple[int, Any]:
        id = body["id"]
        if what == "add":
            self.put(id, body["url"], body["learner"])
        elif id not in self.members:
            members = ", ".join([str(each) for each in self.members])
            return 409, {"outcome": "not done", "reason": f"{what}({id}): there is no member {id}, only {members}"}
        elif what == "remove":
            del self.members[id]
        elif what in ("move", "replace"):
            self.members[id]["url"] = body["url"]
        else:
            self.members[id] |= {"voter": what == "promote", "learner": what == "demote"}
        voters = [each["id"] for each in self.members.values() if each["voter"]]
        return 200, {"outcome": "done", "result": {"voters": voters}}

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if self.instead:
            return self.instead.pop(0)
        if path.startswith("/members/") and path.removeprefix("/members/") in CHANGES:
            return self.change(path.removeprefix("/members/"), body)
        if path == "/transfer":
            to = body["to"]
            self.leader, self.term = to, self.term + 1
            for id, each in self.members.items():
                each["role"] = "leader" if id == to else "follower"
            led = "leads" if to == 1 else f"follows member {to}, which leads"
            self.happened("leader_elected", f"{led} in term {self.term}")
            return 200, {"outcome": "done", "result": {"leader": to}}
        if path == "/snapshot":
            return 200, {"outcome": "done", "result": {"index": 120_441}}
        return 404, {"error": "no such page"}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    made: Made

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.made.requests.append(("GET", parts.path, None))
        if parts.path == "/cluster":
            self.send(200, self.made.document())
        elif parts.path == "/events":
            after = int(parse_qs(parts.query)["after"][0])
            self.send(200, [each for each in self.made.events if each["n"] > after])
        elif parts.path == "/livez":
            self.send(200, b"livez check passed\n")
        elif parts.path == "/backup":
            if self.allowed():
                data = self.made.backup
                self.head(200, len(data), "application/octet-stream")
                self.wfile.write(data[: len(data) - self.made.cut])
        else:
            self.send(404, {"error": "no such page"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.made.requests.append(("POST", self.path, body))
        if self.allowed():
            answer = self.made.post(self.path, body)
            if answer[0]:
                self.send(*answer)
            else:
                self.close_connection = True  # no answer at all

    def allowed(self) -> bool:
        if self.headers["Authorization"] == f"Bearer {TOKEN}":
            return True
        self.send(403, b"the token is not the one that was given\n")
        return False

    def send(self, status: int, document: Any) -> None:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.head(status, len(data), "application/json")
        self.wfile.write(data)

    def head(self, status: int, length: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextlib.contextmanager
def serving(made: Made) -> Iterator[str]:
    """Its url, while it is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"made": made}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
