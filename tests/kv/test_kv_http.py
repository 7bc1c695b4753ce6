"""The HTTP face: statuses, texts, absent fields, chunks; what passes is 503 with code 14 and never 500; users."""

import base64
import io
import json
import time
from types import SimpleNamespace

import pytest

from raftx.errors import Busy, DiskFull, EntryTooLarge, NotDone, Stopped, Unknown
from raftx.kv import auth, commands
from raftx.kv.errors import AUTH_FAILED, AUTH_NOT_ENABLED, INVALID_TOKEN, USER_EMPTY
from raftx.kv.machine import KeyValues
from tests.helpers.kv_direct import Direct, Exchange

pytestmark = pytest.mark.once


def b64(data):
    return base64.b64encode(data).decode()


A = b64(b"a")


@pytest.fixture
def direct():
    with Direct() as made:
        yield made


def test_zeros_are_absent_and_names_are_those_of_the_proto(direct):
    header = {"cluster_id": str(direct.service.cluster_id), "member_id": "1", "raft_term": "1"}
    assert direct.call("/kv/put", key=A) == {"header": {**header, "revision": "2"}}
    found = direct.call("/kv/range", key=A)
    kv = {"key": A, "create_revision": "2", "mod_revision": "2", "version": "1"}
    assert found == {"header": {**header, "revision": "2"}, "kvs": [kv], "count": "1"}
    assert direct.call("/kv/range", key=b64(b"x")) == {"header": {**header, "revision": "2"}}
    assert direct.call("/cluster/member/list") == {
        "header": header,
        "members": [{"ID": "1", "name": "n1", "peerURLs": ["tcp://127.0.0.1:2"], "clientURLs": ["http://127.0.0.1:1"]}],
    }
    assert direct.call("/lease/grant", TTL="5", ID=9) == {"header": {**header, "revision": "2"}, "ID": "9", "TTL": "5"}
    status = direct.call("/maintenance/status")
    assert (status["version"], status["leader"], status["raftTerm"]) == ("3.4.23", "1", "1")


def test_leases_that_are_not_known(direct):
    assert direct.call("/lease/timetolive", ID=3)["TTL"] == "-1"
    (found,) = [direct.call("/lease/keepalive", ID=3)]
    assert found["result"]["ID"] == "3" and "TTL" not in found["result"]
    assert direct.call("/lease/revoke", ID=3, _status=404)["code"] == 5
    assert direct.call("/kv/put", key=A, lease=3, _status=404)["message"] == "etcdserver: requested lease not found"


@pytest.mark.parametrize(
    ("path", "method", "status", "text"),
    [
        ("/v3/nothing", "POST", 404, b"Not Found\n"),
        ("/v3/kv/put", "GET", 405, b"Method Not Allowed\n"),
        ("/version", "POST", 405, b"Method Not Allowed\n"),
        ("/elsewhere", "GET", 404, b"404 page not found\n"),
    ],
)
def test_paths_and_methods(direct, path, method, status, text):
    found = direct.request(path, method=method)
    assert (found[0], b"".join(found[2])) == (status, text)


def test_what_is_left_out_says_so(direct):
    found = direct.call("/cluster/member/add", peerURLs=["http://a:1"], _status=501)
    assert found["code"] == 12


def test_version_and_health(direct):
    status, _, chunks = direct.request("/version", method="GET")
    assert (status, json.loads(chunks[0])) == (200, {"etcdserver": "3.4.23", "etcdcluster": "3.4.0"})
    assert direct.request("/health", method="GET")[2] == [b'{"health":"true"}']
    direct.node.leader_id = 0
    status, _, chunks = direct.request("/health", method="GET")
    assert (status, chunks) == (503, [b'{"health":"false"}'])


@pytest.mark.parametrize(
    ("failure", "leader", "text"),
    [
        (NotDone("no leader"), 0, "etcdserver: no leader"),
        (NotDone("moved"), 1, "etcdserver: request timed out"),
        (Busy("full"), 1, "etcdserver: request timed out"),
        (DiskFull("full"), 1, "etcdserver: mvcc: database space exceeded"),
        (Unknown("who knows"), 1, "etcdserver: request timed out"),
        (Stopped("closed"), 1, "etcdserver: server stopped"),
        (ZeroDivisionError("a mistake"), 1, "etcdserver: request timed out"),
    ],
)
def test_what_passes_is_503_with_code_14(direct, failure, leader, text):
    direct.node.failures, direct.node.leader_id = [failure], leader
    found = direct.call("/kv/put", key=A, _status=503)
    assert found == {"error": text, "message": text, "code": 14}
    assert direct.call("/kv/put", key=A)["header"]["revision"] == "2"


def test_a_stream_that_fails_before_it_begins_says_so_in_its_status(direct):
    direct.node.failures = [NotDone("no leader")]
    found = direct.call("/lease/keepalive", ID=3, _status=503)
    assert found == {
        "error": {
            "grpc_code": 14, "http_code": 503, "message": "etcdserver: request timed out",
            "http_status": "Service Unavailable",
        }
    }  # fmt: skip


def test_a_read_waits_for_a_leader_and_gives_up_in_time():
    with Direct(request_timeout=0.1) as direct:
        direct.node.failures, direct.node.leader_id = [None], 0  # a read that never ends
        assert direct.call("/kv/range", key=A, _status=503)["message"] == "etcdserver: no leader"
        assert direct.call("/kv/range", key=A, serializable=True)["header"]["revision"] == "1"
        direct.node.failures = [NotDone("moved"), NotDone("moved")]
        assert direct.call("/kv/range", key=A)["header"]["revision"] == "1"


def test_too_large():
    with Direct(max_request_bytes=2000) as direct:
        for size in (2000, 200_000):
            found = direct.call("/kv/put", key=A, value=b64(b"x" * size), _status=400)
            assert found["message"] == "etcdserver: request is too large"
        direct.call("/kv/put", key=A, value=b64(b"x" * 1900))
        direct.node.failures = [EntryTooLarge("too large")]
        assert direct.call("/kv/put", key=A, _status=400)["code"] == 3


def test_a_body_may_come_in_pieces(direct):
    body = json.dumps({"key": A, "value": A}).encode()
    assert direct.request("/v3/kv/put", parts=[body[:3], body[3:9], body[9:]])[0] == 200


def test_terms_never_go_back_or_ahead_of_a_leader(direct):
    direct.service.led_term = 4
    direct.node.term = 9  # a candidate's
    assert direct.call("/cluster/member/list")["header"]["raft_term"] == "4"
    direct.call("/kv/put", key=A)
    assert direct.call("/cluster/member/list")["header"]["raft_term"] == "9"


# --- watches -------------------------------------------------------------------------------------


def test_each_document_of_a_stream_is_a_chunk(direct):
    watch = direct.watch({"key": A})
    watch.wait(bool)
    for _ in range(3):
        direct.call("/kv/put", key=A)
        direct.call("/kv/deleterange", key=A)
    watch.wait(lambda told: sum(len(each["result"].get("events", ())) for each in told) == 6)
    assert dict(watch.exchange.headers)[b"content-type"] == b"application/json"
    assert all(chunk.count(b"\n") == 1 and chunk.endswith(b"\n") for chunk in watch.exchange.chunks)
    watch.leave()
    assert not direct.service.watches.streams and not direct.service.watches._by_key


def test_a_watch_from_the_past_has_everything_once(direct):
    for at in range(30):
        direct.call("/kv/put", key=A, value=b64(b"%d" % at))
    watch = direct.watch({"key": A, "start_revision": "5"})
    for at in range(30, 60):
        direct.call("/kv/put", key=A, value=b64(b"%d" % at))

    def revisions(told):
        return [int(event["kv"]["mod_revision"]) for each in told for event in each["result"].get("events", ())]

    watch.wait(lambda told: 61 in revisions(told))
    assert revisions(watch.told) == list(range(5, 62))


def test_a_watch_behind_what_was_compacted_is_canceled_and_the_stream_stays(direct):
    for _ in range(9):
        direct.call("/kv/put", key=A)
    direct.call("/kv/compaction", revision=8)
    watch = direct.watch({"key": A, "start_revision": "7"})
    watch.wait(lambda told: len(told) == 2)
    canceled = watch.told[1]["result"]
    assert (canceled["canceled"], canceled["compact_revision"]) == (True, "8") and "revision" not in canceled["header"]
    assert not watch.task.done()


def test_a_watch_of_a_slow_client_ends_when_its_place_is_compacted(direct):
    """What it was not told is not kept for it beyond the store's own history."""
    watch = direct.watch({"key": A})
    watch.wait(bool)
    (held,) = [each for stream in direct.service.watches.streams for each in stream.watches.values()]

    async def behind():
        for _ in range(20):
            direct.machine.store.write()
            await direct.service.put({"key": b"a"})
        await direct.service.compact({"revision": 15})

    stream, held.stream.wake = held.stream, lambda: None  # nobody reads meanwhile
    direct.run(behind())
    del stream.wake
    stream.wake()
    watch.wait(lambda told: any(each["result"].get("canceled") for each in told))


def test_several_watches_of_one_stream(direct):
    parts = [
        json.dumps({"create_request": {"key": A, "watch_id": 4}}).encode() + b'{"create_',
        b'request":{"key":"' + b64(b"b").encode() + b'","watch_id":"4"}}',
        b'{"progress_request":{}}{"cancel_request":{"watch_id":"4"}}',
    ]
    exchange = Exchange(direct.face, "/v3/watch", parts)
    task = direct.loop.create_task(exchange.run())

    async def told():
        while len(exchange.chunks) < 4:
            exchange.bell.clear()
            await exchange.bell.wait()

    direct.run(told())
    first, second, third, fourth = [json.loads(chunk)["result"] for chunk in exchange.chunks]
    assert (first["watch_id"], first["created"]) == ("4", True)
    assert (second["watch_id"], second["canceled"]) == ("-1", True) and "duplicate" in second["cancel_reason"]
    assert third["watch_id"] == "-1" and (fourth["watch_id"], fourth["canceled"]) == ("4", True)
    exchange.gone.set()
    direct.run(task)


def test_progress_is_told_where_it_is_wanted():
    with Direct(progress_seconds=0.1) as direct:
        direct.call("/kv/put", key=A)
        watch = direct.watch({"key": A, "progress_notify": True})
        watch.wait(lambda told: len(told) > 1)
        assert "events" not in watch.told[1]["result"] and watch.told[1]["result"]["header"]["revision"] == "2"


def test_a_server_that_stops_ends_its_streams(direct):
    watch = direct.watch({"key": A})
    watch.wait(bool)

    async def stop():
        direct.service.watches.close()
        await watch.task

    direct.run(stop())
    assert watch.exchange.chunks[-1] == b""


# --- users ---------------------------------------------------------------------------------------


def test_without_users_nobody_is_asked(direct):
    found = direct.call("/auth/authenticate", name="a", password="b", _status=400)
    assert (found["code"], found["message"]) == (9, "etcdserver: authentication is not enabled")


def test_users_and_tokens():
    users = {"ann": "secret one", "bob": auth.scrypt_of("secret two")}
    with Direct(users=users) as direct, Direct(users=users) as other:
        assert direct.call("/kv/put", key=A, _status=400)["message"] == "etcdserver: user name is empty"
        assert direct.call("/cluster/member/list")["members"]
        for name, password in (("ann", "secret two"), ("bob", users["bob"]), ("eve", "secret one")):
            found = direct.call("/auth/authenticate", name=name, password=password, _status=400)
            assert found["code"] == 3 and "authentication failed" in found["message"]
        for name, password in (("ann", "secret one"), ("bob", "secret two")):
            token = direct.call("/auth/authenticate", name=name, password=password)["token"]
            for server in (direct, other):
                headers = [(b"authorization", token.encode())]
                assert server.request("/v3/kv/put", json.dumps({"key": A}).encode(), headers=headers)[0] == 200
        status, _, chunks = direct.request("/v3/kv/put", b"{}", headers=[(b"authorization", b"a.1.b")])
        assert status == 401 and json.loads(chunks[0])["code"] == 16
        assert direct.request("/v3/watch", b"{}")[0] == 400


def test_tokens_end():
    users = auth.Users({"ann": "secret"}, "", 100)
    token = users.token("ann")
    users.check(token)
    with pytest.raises(INVALID_TOKEN):
        auth.Users({"ann": "another"}, "", 100).check(token)
    with pytest.raises(INVALID_TOKEN):
        users.check(auth.Users({"ann": "secret"}, "", -100).token("ann"))
    with pytest.raises(INVALID_TOKEN):
        users.check(token.replace(token.split(".")[1], str(int(time.time()) + 10_000)))
    with pytest.raises(INVALID_TOKEN):
        users.check("nonsense")
    with pytest.raises(USER_EMPTY):
        users.check(None)
    with pytest.raises(AUTH_FAILED):
        users.authenticate("ann", "wrong")
    with pytest.raises(AUTH_NOT_ENABLED):
        auth.Users({}, "", 1).authenticate("ann", "secret")


def test_transactions_nest_as_deep_as_their_operations_allow(direct):
    def nested(depth):
        request = {"success": [{"request_put": {"key": A}}]}
        for _ in range(depth - 1):
            request = {"success": [{"request_txn": request}]}
        return request

    assert direct.call("/kv/txn", **nested(128))["header"]["revision"] == "2"
    found = direct.call("/kv/txn", _status=400, **nested(129))
    assert found["message"] == "etcdserver: too many operations in txn request"
    for depth in (400, 20_000):
        body = b'{"success":[{"request_txn":' * depth + b"{}" + b"}]}" * depth
        status, _, chunks = direct.request("/v3/kv/txn", body)
        assert status == 400 and json.loads(chunks[0])["code"] == 3


# --- watches and compaction ------------------------------------------------------------------------


def events_of(watch):
    return [event for each in watch.told for event in each["result"].get("events", ())]


def applied_at_once(direct, *requests):
    """Several commands in one batch: the loop sees none of them before all are applied."""
    entries = []
    for kind, request in requests:
        direct.node.applied_index += 1
        data = commands.encode(kind, request)
        entries.append(SimpleNamespace(index=direct.node.applied_index, term=1, time=1, data=data))
    direct.machine.apply_batch(entries)


def test_a_deletion_that_is_compacted_at_once_is_told(direct):
    direct.call("/kv/put", key=A)
    watch = direct.watch({"key": A})
    other = direct.watch({"key": b64(b"b")})
    watch.wait(bool)
    other.wait(bool)
    applied_at_once(
        direct, (commands.PUT, {"key": b"c"}), (commands.DELETE, {"key": b"a"}), (commands.COMPACT, {"revision": 4})
    )
    watch.wait(lambda told: len(told) == 2)
    (event,) = events_of(watch)
    assert event == {"type": "DELETE", "kv": {"key": A, "mod_revision": "4"}}
    # Who begins there now is not told of it, as in etcd; nobody else is canceled for it.
    late = direct.watch({"key": A, "start_revision": 4})
    direct.call("/kv/put", key=A)
    direct.call("/kv/put", key=b64(b"b"))
    late.wait(lambda told: len(told) == 2)
    assert [each["kv"]["mod_revision"] for each in events_of(late)] == ["5"]
    other.wait(lambda told: len(told) == 2)
    assert [each["kv"]["mod_revision"] for each in events_of(other)] == ["6"]


def test_a_watch_over_a_snapshot_that_is_restored(direct):
    """It goes on where everything is there; it is canceled where something may be missing."""
    direct.call("/kv/put", key=A)
    kept = direct.watch({"key": A})
    kept.wait(bool)
    ahead = KeyValues()
    for index, entry in enumerate(direct.node.entries, 1):
        ahead.apply(SimpleNamespace(index=index, term=1, time=1, data=entry.data))

    def restore(*requests):
        for kind, request in requests:
            data = commands.encode(kind, request)
            ahead.apply(SimpleNamespace(index=ahead.index + 1, term=1, time=1, data=data))
        file = io.BytesIO()
        ahead.snapshot().write(file)
        file.seek(0)
        direct.machine.restore(file)

    restore((commands.PUT, {"key": b"a"}), (commands.DELETE, {"key": b"a"}))
    kept.wait(lambda told: len(events_of(kept)) == 2)
    assert [each["kv"]["mod_revision"] for each in events_of(kept)] == ["3", "4"]
    restore((commands.PUT, {"key": b"a"}), (commands.PUT, {"key": b"b"}), (commands.COMPACT, {"revision": 5}))
    kept.wait(lambda told: "canceled" in told[-1]["result"])
    assert kept.told[-1]["result"]["compact_revision"] == "5"
