"""Clients and entries that mean harm, or do it: nothing that is asked ends a server, stalls it or fills its memory."""

import asyncio
import base64
import contextlib
import hashlib
import io
import json
import random
import socket
import sys
import threading
from types import SimpleNamespace

import pytest
import uvicorn

from raftx import web
from raftx.errors import ConfigError
from raftx.kv import auth, commands, settings, snapshots, watches
from raftx.kv import messages as m
from raftx.kv.chores import Chores
from raftx.kv.errors import AUTH_FAILED, INVALID_TOKEN
from raftx.kv.machine import KeyValues
from raftx.kv.settings import Settings
from tests.helpers.kv_direct import SECOND, Direct, Exchange
from tests.helpers.waiting import WAIT, eventually

pytestmark = pytest.mark.once

A = "YQ=="
MOST = (1 << 63) - 1


@pytest.fixture
def direct():
    with Direct() as made:
        yield made


# --- entries -------------------------------------------------------------------------------------

NUMBERS = [0, 1, -1, 2, 3, 7, 99, 1 << 31, 1 << 62, MOST, -MOST - 1]
VALUES = {
    m.BYTES: [b"a", b"b", b"a\0", b"\0", b"\xff"], m.STRING: ["", "x"], m.BOOL: [False, True],
    m.UINT64: [0, 1, (1 << 64) - 1], m.INT64: NUMBERS, m.ENUM: [-1, 0, 1, 2, 3, 4, 99],
}  # fmt: skip


def drawn(draw, type, depth):
    message = {}
    for field in type.fields:
        if (field.name != "key" and draw.random() < 0.6) or (field.kind == m.MESSAGE and not depth):
            continue
        values = [
            drawn(draw, field.type, depth - 1) if field.kind == m.MESSAGE else draw.choice(VALUES[field.kind])
            for _ in range(draw.randint(0, 3) if field.repeated else 1)
        ]
        message[field.name] = values if field.repeated else values[0]
    return message


def test_no_entry_ends_the_state_machine():
    """An exception would end every member, and again whenever it starts."""
    draw = random.Random(2)
    for _ in range(60):
        machine = KeyValues()
        for index in range(1, 60):
            kind = draw.choice([*commands.TYPES, commands.PUT, commands.TXN, commands.TXN])
            data = commands.encode(kind, drawn(draw, commands.TYPES[kind], 3))
            machine.apply_batch([SimpleNamespace(index=index, term=1, time=index * SECOND, data=data)])


def test_limits_of_any_size(direct):
    direct.call("/kv/put", key=A)
    for limit in (str(MOST), str(-MOST), "1"):
        found = direct.call("/kv/range", key=A, limit=limit)
        assert (found["count"], "more" in found) == ("1", False)
        put = {"request_put": {"key": "Yg=="}}
        done = direct.call(
            "/kv/txn", success=[put, {"request_range": {"key": "AA==", "range_end": "AA==", "limit": limit}}]
        )
        assert ("more" in done["responses"][1]["response_range"]) == (limit == "1")


# --- requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/version", "/health"])
@pytest.mark.parametrize("method", ["HEAD", "POST"])
def test_only_get_is_allowed(direct, path, method):
    status, headers, _ = direct.request(path, method=method)
    assert (status, headers[b"allow"]) == (405, b"GET")


def test_null_in_a_list_is_nothing(direct):
    watch = direct.watch({"key": A, "filters": [None]})  # NOPUT
    watch.wait(bool)
    direct.call("/kv/put", key=A)
    direct.call("/kv/deleterange", key=A)
    watch.wait(lambda told: len(told) == 2)
    assert [each["type"] for each in watch.told[1]["result"]["events"]] == ["DELETE"]


def test_a_mistake_on_a_stream_passes_as_well(direct):
    direct.node.failures = [ZeroDivisionError("a mistake")]
    assert direct.call("/lease/keepalive", ID=3, _status=503)["error"]["grpc_code"] == 14


def test_a_range_is_not_given_up_when_a_question_for_health_is():
    with Direct(request_timeout=10) as direct:
        direct.node.failures = [None]

        async def both():
            healthy = asyncio.ensure_future(direct.service.is_healthy())
            found = asyncio.ensure_future(direct.service.range({"key": b"a"}))
            assert not await healthy
            return found.done(), found.cancel()

        from raftx.kv import service

        before, service.HEALTH_SECONDS = service.HEALTH_SECONDS, 0.05
        try:
            assert direct.run(both()) == (False, True)
        finally:
            service.HEALTH_SECONDS = before


def test_memory_has_an_end():
    """What takes room is refused; what makes some, and what keeps a lease alive, is done."""
    with Direct(quota_bytes=1 << 20) as direct:
        direct.call("/lease/grant", TTL=60, ID=1)
        big = base64.b64encode(bytes(300_000)).decode()
        for key in (A, "Yg==", "Yw=="):
            direct.call("/kv/put", key=key, value=big)
        put = [{"request_put": {"key": A, "value": big}}]
        nested = [{"request_txn": {"failure": put}}]
        for path, request in (
            ("/kv/put", put[0]["request_put"]), ("/kv/txn", {"success": put}), ("/kv/txn", {"failure": nested}),
        ):  # fmt: skip
            found = direct.call(path, _status=429, **request)
            assert (found["code"], found["message"]) == (8, "etcdserver: mvcc: database space exceeded")
        assert direct.call("/lease/keepalive", ID=1)["result"]["TTL"] == "60"
        direct.call("/kv/txn", success=[{"request_delete_range": {"key": A}}])
        direct.call("/kv/deleterange", key="Yg==")
        direct.call("/kv/put", key=A, value=big, _status=429)  # the history has it
        direct.call("/kv/compaction", revision=6)
        direct.call("/kv/put", key=A, value=big)
        for id in range(2, 5000):
            if direct.request("/v3/lease/grant", json.dumps({"ID": id, "TTL": 60}).encode())[0] == 429:
                break
        assert 100 < id < 4999


# --- watches -------------------------------------------------------------------------------------


def test_a_watch_of_a_server_that_ends_is_refused(direct):
    """A client whose watch was ended comes back at once, while the server still listens."""
    direct.service.watches.close()
    status, _, chunks = direct.request("/v3/watch", json.dumps({"create_request": {"key": A}}).encode())
    assert status == 503 and json.loads(chunks[0])["error"]["message"] == "etcdserver: server stopped"
    assert not direct.service.watches.streams


def test_a_client_that_asks_and_does_not_read(direct):
    """Its answers are not kept without an end: no more is taken from it."""
    taken = []

    class Deaf(Exchange):
        async def _receive(self):
            await asyncio.sleep(0)
            taken.append(1)
            return {"type": "http.request", "body": b'{"progress_request":{}}', "more_body": True}

        async def _send(self, message):
            await self.gone.wait()

    exchange = Deaf(direct.face, "/v3/watch", [])

    async def some_time():
        task = asyncio.ensure_future(exchange.run())
        for _ in range(20 * watches.ANSWERS_MAX):
            await asyncio.sleep(0)
        (stream,) = direct.service.watches.streams
        assert len(stream._answers) <= watches.ANSWERS_MAX and len(taken) <= watches.ANSWERS_MAX + 2
        stream.close()
        exchange.gone.set()
        await task

    direct.run(some_time())


def test_a_long_history_without_anything_for_a_watch_leaves_others_their_turn(direct, monkeypatch):
    monkeypatch.setattr(watches, "REVISIONS_MAX", 10)
    for _ in range(200):
        direct.call("/kv/put", key="Yg==")
    direct.call("/kv/put", key=A)
    stream = direct.service.watch()
    stream.ask({"create_request": {"key": b"a", "start_revision": 2}})
    (watch,) = stream.watches.values()
    assert direct.service.watches.pull(watch) is None and watch.next == 12
    turns = []

    async def others():
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    async def told():
        other = asyncio.ensure_future(others())
        created, event = await stream.next(), await stream.next()
        other.cancel()
        return created["created"], event["events"][0]["kv"]["mod_revision"]

    assert direct.run(told()) == (True, 202)
    assert len(turns) >= 18
    stream.close()


def test_writes_do_not_wake_a_loop_that_has_no_watch(direct, monkeypatch):
    woken = []
    of = direct.service.watches
    monkeypatch.setattr(of, "_loop", SimpleNamespace(call_soon_threadsafe=woken.append))
    direct.call("/kv/put", key=A)
    assert not woken and not of._news
    monkeypatch.undo()
    # Who comes later misses nothing, of before and of after.
    watch = direct.watch({"key": A, "start_revision": 2})
    direct.call("/kv/put", key=A)
    watch.wait(lambda told: sum(len(each["result"].get("events", ())) for each in told) == 2)
    watch.leave()
    direct.call("/kv/put", key=A)
    late = direct.watch({"key": A})
    late.wait(bool)
    direct.call("/kv/put", key=A)
    late.wait(lambda told: len(told) == 2)
    assert [each["kv"]["mod_revision"] for each in late.told[1]["result"]["events"]] == ["5"]


def test_a_request_on_a_stream_is_not_read_anew_with_every_byte(direct, monkeypatch):
    from raftx.kv import http

    tried = []
    document = http.js.document
    monkeypatch.setattr(http.js, "document", lambda text: tried.append(len(text)) or document(text))
    body = b'{"create_request":{"key":"' + b"YWFh" * 20_000 + b'"}}'
    parts = [body[at : at + 100] for at in range(0, len(body), 100)]
    exchange = Exchange(direct.face, "/v3/watch", parts)

    async def served():
        task = asyncio.ensure_future(exchange.run())
        while not exchange.chunks:
            exchange.bell.clear()
            await exchange.bell.wait()
        exchange.gone.set()
        await task

    direct.run(served())
    assert b'"created":true' in exchange.chunks[0]
    assert sum(tried) < 10 * len(body)


# --- snapshots and leases ------------------------------------------------------------------------


def test_whoever_looks_does_not_wait_while_a_snapshot_is_read():
    full = KeyValues()
    file = io.BytesIO()
    for index in range(1, 30):
        data = commands.encode(commands.PUT, {"key": b"a"})
        full.apply(SimpleNamespace(index=index, term=1, time=1, data=data))
    full.snapshot().write(file)
    file.seek(0)
    taking = KeyValues()
    looks = []

    def look():
        looks.append(taking.lock.acquire(blocking=False))
        if looks[-1]:
            taking.lock.release()

    class Slow:
        def read(self, size):
            looker = threading.Thread(target=look)
            looker.start()
            looker.join(WAIT)
            return file.read(size)

    taking.restore(Slow())
    assert looks and all(looks) and taking.store.revision == 30


def test_what_is_left_of_a_lease_over_a_snapshot_and_under_a_new_leader(monkeypatch):
    now = [100 * SECOND]
    monkeypatch.setattr("raftx.kv.leases.boot", lambda: now[0])
    monkeypatch.setattr(snapshots, "boot", lambda: now[0])
    full = KeyValues()
    for index, kind, request in ((1, commands.GRANT, {"ID": 5, "TTL": 60}), (2, commands.PUT, {"key": b"a"})):
        data = commands.encode(kind, request)
        full.apply(SimpleNamespace(index=index, term=1, time=index * 20 * SECOND, data=data))
    file = io.BytesIO()
    full.snapshot().write(file)
    file.seek(0)
    with Direct() as direct:
        direct.machine.restore(file)
        assert direct.machine.leases.remaining(5) == 40 * SECOND
        assert direct.call("/lease/timetolive", ID=5)["TTL"] == "40"

        class Changes:
            def __init__(self):
                self.told = [SimpleNamespace(leader=2, term=7)]

            def __aiter__(self):
                return self

            async def __anext__(self):
                if not self.told:
                    raise StopAsyncIteration
                return self.told.pop()

        direct.node.state_changes = Changes
        direct.run(Chores(direct.service)._follow_leaders())
        assert direct.service.term == 7
        assert direct.call("/lease/timetolive", ID=5)["TTL"] == "60"


# --- users ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("authorization", "T")], 200),
        ([("grpc-metadata-authorization", "T")], 200),
        ([("grpc-metadata-token", "T")], 200),
        ([("authorization", "x"), ("grpc-metadata-token", "T")], 200),
        ([("authorization", "T"), ("grpc-metadata-token", "x")], 401),
        ([("authorization", "x"), ("authorization", "T")], 401),
        ([("authorization", "Bearer T")], 401),
        ([("authorization", "")], 401),
        ([("authorization", "é.ü.x")], 401),
        ([("token", "T")], 400),
    ],
)  # fmt: skip
def test_headers_of_tokens_are_those_of_etcd(headers, status):
    with Direct(users={"ann": "secret"}, token_secret="s") as direct:
        direct.service.users._key = b"k"
        token = direct.service.users.token("ann")
        raw = [(name.encode(), value.replace("T", token).encode("latin-1")) for name, value in headers]
        assert direct.request("/v3/kv/range", json.dumps({"key": A}).encode(), headers=raw)[0] == status


def test_a_token_is_over_when_its_user_or_password_is():
    token = auth.Users({"ann": "one", "bob": "x"}, "the same", 100).token("ann")
    auth.Users({"ann": "one"}, "the same", 100).check(token)
    for users in ({"ann": "two"}, {"bob": "x"}):
        with pytest.raises(INVALID_TOKEN):
            auth.Users(users, "the same", 100).check(token)


def test_time_does_not_tell_which_names_there_are(monkeypatch):
    slow = []
    scrypt = hashlib.scrypt
    monkeypatch.setattr(auth.hashlib, "scrypt", lambda *a, **k: slow.append(1) or scrypt(*a, **{**k, "n": 2}))
    users = auth.Users({"plain": "secret", "hashed": auth.scrypt_of("secret")}, "s", 100)
    for name in ("plain", "hashed", "nobody"):
        slow.clear()
        with pytest.raises(AUTH_FAILED):
            users.authenticate(name, "wrong")
        assert len(slow) == 1
    assert users.authenticate("hashed", "secret") and users.authenticate("plain", "secret")


def test_tokens_tell_nothing_by_which_passwords_could_be_tried_fast(monkeypatch):
    slow = []
    scrypt = hashlib.scrypt
    monkeypatch.setattr(auth.hashlib, "scrypt", lambda *a, **k: slow.append(a) or scrypt(*a, **k))
    users = auth.Users({"ann": "secret"}, "", 100)
    users.check(users.token("ann"))
    assert len(slow) == 1  # the key, once


@pytest.mark.parametrize("password", ["scrypt$", "scrypt$x$y", "scrypt$AAAA", f"scrypt$AAA${'A' * 43}="])
def test_what_is_no_scrypt_is_refused_when_the_server_starts(password):
    with pytest.raises(ConfigError, match="SALT"):
        Settings(name="n", advertise=(), listen=("http://a:1",), users={"ann": password})
    Settings(name="n", advertise=(), listen=("http://a:1",), users={"ann": auth.scrypt_of("x")})


@pytest.mark.parametrize("text", ["1.2.3h", "²h", ".h", "1e3s"])
def test_numbers_in_times(text):
    with pytest.raises(ConfigError, match="such as 30m"):
        settings.seconds_of(text, "it")


# --- sockets -------------------------------------------------------------------------------------


@pytest.fixture(params=["httptools", "h11"])
def served(request, monkeypatch):
    """An application that tells how long a body was, behind uvicorn; its port."""
    if request.param == "h11":
        monkeypatch.setitem(sys.modules, "uvicorn.protocols.http.httptools_impl", None)
    else:
        pytest.importorskip("httptools", reason="httptools is not installed: uvicorn reads heads with h11 alone here")

    async def app(scope, receive, send):
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        text = b"%d" % size
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
        await send({"type": "http.response.body", "body": text})

    listening = web.listening("127.0.0.1", 0, 10, "the test")
    server = uvicorn.Server(web.config(app, http=web.protocol(4), timeout_graceful_shutdown=1))
    server.capture_signals = contextlib.nullcontext
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(WAIT)


def said(port, *parts):
    with socket.create_connection(("127.0.0.1", port), WAIT) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            return connection.recv(100)
        except ConnectionError:
            return b""


def test_heads_have_an_end(served):
    head = b"POST / HTTP/1.1\r\nHost: x\r\n"
    long = b"x" * 4096
    body = b"Content-Length: %d\r\n\r\n" % (1 << 20)
    assert b" 200 " in said(served, head, body, bytes(1 << 20))
    assert b" 200 " in said(served, head, b"A: " + long + b"\r\n", b"Content-Length: 0\r\n\r\n")
    assert b" 200 " not in said(served, head, b"A: ", *[long] * 200)
    assert b" 200 " not in said(served, head, *[b"A: " + long + b"\r\n"] * 200)
    assert b" 200 " not in said(served, b"POST /", *[long] * 200)
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n"
    assert b" 200 " in said(served, chunked, b"A: x\r\n\r\n")
    assert b" 200 " not in said(served, chunked, *[b"A: " + long + b"\r\n"] * 200)


def test_clients_leave_descriptors_to_others(served, monkeypatch):
    def opened():
        return socket.create_connection(("127.0.0.1", served), WAIT)

    few = [opened() for _ in range(4)]
    for each in few:
        each.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in each.recv(100)
    with opened() as more:
        assert not more.recv(100)
    few.pop().close()
    eventually(lambda: b" 200 " in said(served, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
    for each in few:
        each.close()
    resource = pytest.importorskip("resource", reason="this system has no limits of resources")
    for limit, room in ((1024, 874), (200, 100), (resource.RLIM_INFINITY, web.CONNECTIONS_MAX)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert web.room_for_clients() == room


@pytest.mark.parametrize("path", ["/kv/put", "/lease/keepalive"])
def test_a_request_that_a_server_that_stops_cannot_wait_for_is_503(direct, path):
    """uvicorn would make it 500, which clients do not repeat."""
    direct.node.failures = [None]
    exchange = Exchange(direct.face, f"/v3{path}", [json.dumps({"key": A, "ID": 3}).encode()])

    async def cut():
        task = asyncio.ensure_future(exchange.run())
        while direct.node.failures:
            await asyncio.sleep(0)
        task.cancel()
        await task

    direct.run(cut())
    assert exchange.status == 503 and b"server stopped" in exchange.chunks[0]


def test_clients_that_are_gone_without_a_word_are_noticed():
    """A watch of a client whose machine is gone is not kept for ever."""
    listening = web.listening("127.0.0.1", 0, 10, "the test")
    with listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            if hasattr(socket, "TCP_KEEPIDLE"):
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == web.ALIVE_SECONDS


def test_tokens_are_read_as_they_were_written():
    users = auth.Users({"ann.b/é": "secret"}, "s", 100)
    users.check(users.token("ann.b/é"))
    name, until, signed = users.token("ann.b/é").split(".")
    for wrong in (f"{name}.{until}", f"{name}..{signed}", f".{until}.{signed}", f"{name}.{until}.{signed}x", "=.=.="):
        with pytest.raises(INVALID_TOKEN):
            users.check(wrong)
    assert base64.urlsafe_b64decode(name).decode() == "ann.b/é"
