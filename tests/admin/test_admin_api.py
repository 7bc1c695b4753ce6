"""What the admin server of a member answers: real nodes on loopback, asked over HTTP."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.admin import TOKEN, Group, ask
from tests.helpers.implementations import module
from tests.helpers.waiting import WAIT, eventually


@pytest.fixture(scope="module")
def group(impl):
    made = Group(impl)
    made.leader().propose(b"first").result(timeout=WAIT)
    yield made
    made.close()


def test_live_and_ready(group):
    for name in ("livez", "readyz"):
        answer = eventually(lambda name=name: (found := group.get(f"/{name}")).code == 200 and found)
        assert (answer.text, answer.headers["content-type"]) == ("ok\n", "text/plain; charset=utf-8")
    lines = group.get("/readyz?verbose").text.splitlines()
    names = ("running", "member", "leader", "doubt", "history", "snapshot", "applied", "disk")
    assert lines == [*[f"[+]{name} ok" for name in names], "readyz check passed"]
    assert group.get("/livez?verbose").text.splitlines() == ["[+]running ok", "[+]ticks ok", "livez check passed"]
    assert "[+]leader excluded: ok" in group.get("/readyz?verbose&exclude=leader").text


def test_status(group, impl):
    for id, node in group.nodes.items():
        answer = group.get("/status", id)
        assert answer.code == 200 and answer.headers["cache-control"] == "no-store"
        found = impl.Status.from_dict(answer.json)
        assert (found.id, found.life, found.state) == (id, node.status().life, "running")


def test_cluster(group, impl):
    leader = group.leader()
    found = eventually(
        lambda: (seen := group.get("/cluster").json) and all(m["reachable"] for m in seen["members"]) and seen
    )
    assert {name: found[name] for name in ("cluster", "id", "leader", "term")} == {
        "cluster": "raftx", "id": leader.id, "leader": leader.id, "term": leader.term,
    }  # fmt: skip
    assert [member["id"] for member in found["members"]] == [1, 2, 3]
    for member in found["members"]:
        assert set(member) == {"id", "url", "role", "voter", "learner", "reachable", "error", "seen_ms", "status"}
        assert (member["url"], member["voter"], member["learner"]) == (group.urls[member["id"]], True, False)
        assert member["role"] == ("leader" if member["id"] == leader.id else "follower")
        assert impl.Status.from_dict(member["status"]).id == member["id"]
    assert group.get("/cluster?timeout=-1").code == group.get("/cluster?timeout=x").code == 400


def test_events(group):
    leader = group.leader()
    found = group.get("/events").json
    assert [each["n"] for each in found] == list(range(1, len(found) + 1))
    assert {"n", "time", "event", "text"} <= set(found[0])
    assert any(each["event"] == "leader_elected" and each["member"] == leader.id for each in found)
    assert any(each["event"] == "started" for each in found)
    last = found[-1]["n"]
    assert group.get(f"/events?after={last}").json == []
    assert [each["n"] for each in group.get(f"/events?after={last - 1}").json] == [last]
    for wrong in ("x", "-1", "1e3", "9" * 30):
        assert group.get(f"/events?after={wrong}").code == 400


def test_each_answer_has_the_second_in_which_it_was_made(group, impl, monkeypatch):
    """One each: uvicorn looks at the clock once a second. By this `raftx doctor` compares clocks."""
    server = module(impl, "admin.server")
    for seconds, date in ((1e9, "Sun, 09 Sep 2001 01:46:40 GMT"), (2e9, "Wed, 18 May 2033 03:33:20 GMT")):
        monkeypatch.setattr(server, "now", lambda seconds=seconds: seconds)
        assert [group.get(path).headers["date"] for path in ("/livez", "/nothing")] == [date, date]


def test_what_is_not_there(group):
    assert group.get("/nothing").code == 404 and "docs/admin.md" in group.get("/nothing").json["error"]
    assert group.get("/members/add").code == 405
    answer = group.post("/status", {})
    assert (answer.code, sorted(answer.headers["allow"].split(", "))) == (405, ["GET", "HEAD"])


@pytest.mark.parametrize(
    ("path", "body", "names"),
    [
        ("/members/add", {"id": 0, "url": "tcp://127.0.0.1:1"}, "id must be an integer"),
        ("/members/add", {"id": True, "url": "tcp://127.0.0.1:1"}, "id must be an integer"),
        ("/members/add", {"id": 4}, "url must be an address"),
        ("/members/add", {"id": 4, "url": "x\n"}, "url must be an address"),
        ("/members/add", {"id": 4, "url": "tcp://a:1", "learner": 1}, "learner must be true or false"),
        ("/members/add", {"id": 4, "url": "tcp://a:1", "timeout": "1"}, "timeout must be a number"),
        ("/members/add", {"id": 4, "url": "tcp://a:1", "timeout": 1e9}, "timeout must be a number"),
        ("/members/add", {"id": 4, "url": "tcp://a:1", "voter": True}, "'voter' is no field"),
        ("/members/add", b"[1]", "must be a JSON object"),
        ("/members/add", b"{", "must be a JSON object"),
        ("/members/add", b"[" * 30_000, "must be a JSON object"),
        ("/members/add", b" " * 70_000, "65536 bytes at most"),
        ("/members/promote", {}, "id must be an integer"),
        ("/members/demote", {"id": "1"}, "id must be an integer"),
        ("/members/remove", {"id": None}, "id must be an integer"),
        ("/members/move", {"id": 1, "url": ""}, "url must be an address"),
        ("/members/replace", {"id": 1}, "url must be an address"),
        ("/transfer", {"to": 1.5}, "to must be an integer"),
        ("/transfer", {"to": 99}, "to must be a voter"),
        ("/snapshot", {"id": 1}, "'id' is no field"),
    ],
)
def test_what_is_no_request(group, path, body, names):
    before = group.leader().configuration
    answer = group.post(path, body)
    assert answer.code == 400 and names in answer.json["error"], answer.text
    assert group.leader().configuration == before


def test_transfer(group):
    leader = group.leader()
    to = next(id for id in group.nodes if id != leader.id)
    answer = group.post("/transfer", {"to": to})
    assert answer.code == 200 and answer.json["outcome"] == "done"
    assert answer.json["result"]["leader"] == to and eventually(lambda: group.leader().id == to)
    follower = next(id for id in group.nodes if id != to)
    answer = group.post("/transfer", {"to": None}, follower)
    assert (answer.code, answer.json["outcome"]) == (409, "not done") and "does not lead" in answer.json["reason"]
    assert group.post("/transfer", {}).code == 200
    assert any(each["event"] == "leader_elected" and each["member"] == to for each in group.get("/events", to).json)


@pytest.mark.slow
def test_members_come_and_go(group, impl, tmp_path):
    new = 4

    def founded(name):
        return impl.FileStorage.create(tmp_path / name, id=new, join=[group.urls[id] for id in group.first])

    node = group.start(new, founded("first"))
    answer = group.post("/members/add", {"id": new, "url": group.urls[new], "learner": True})
    assert answer.code == 200 and new in answer.json["result"]["conf_state"]["learners"], answer.text
    answer = group.post("/members/promote", {"id": new})
    assert answer.code == 200 and new in answer.json["result"]["conf_state"]["voters"], answer.text
    answer = group.post("/members/demote", {"id": new})
    assert answer.code == 200 and new in answer.json["result"]["conf_state"]["learners"], answer.text
    moved = group.urls[new].replace("127.0.0.1", "localhost")
    answer = group.post("/members/move", {"id": new, "url": moved})
    assert answer.code == 200 and answer.json["result"]["addresses"][str(new)] == moved
    del group.nodes[new]
    node.close()
    # A learner that is not there does not catch up.
    eventually(lambda: next(each for each in group.leader().members if each.id == new).last_heard > 1)
    answer = group.post("/members/promote", {"id": new, "timeout": 0.6})
    assert (answer.code, answer.json["outcome"]) == (409, "not done") and "promote(4)" in answer.json["reason"]
    # Its disk is lost: it goes, and comes again with an empty one.
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(group.post, "/members/replace", {"id": new, "url": group.urls[new]})
        eventually(lambda: new not in [each.id for each in group.leader().members] or asked.done())
        node = group.start(new, founded("second"))
        answer = asked.result(timeout=2 * WAIT)
    del group.nodes[new]
    assert answer.code == 200 and new in answer.json["result"]["conf_state"]["voters"], answer.text
    answer = group.post("/members/remove", {"id": new})
    assert answer.code == 200 and str(new) not in answer.json["result"]["addresses"]
    eventually(lambda: node.failure is not None)
    node.close()
    # Who is not there when it is to come again.
    answer = group.post("/members/replace", {"id": new, "url": group.urls[new], "timeout": 1.5})
    assert answer.code in (409, 504)
    assert f"member {new} was not there, and the new one does not vote yet: add_voter(4)" in answer.json["reason"]
    assert group.post("/members/move", {"id": new, "url": moved}).code == 200
    # At its old address: first the old one goes, then the new one starts. However often it is repeated meanwhile.
    body = {"id": new, "url": group.urls[new], "learner": True}
    added = [group.post("/members/replace", body).json["result"] for _ in range(2)]
    assert [each["removed"] for each in added] == [True, False] and added[0]["joined"] == added[1]["joined"]
    answer = group.post("/members/replace", {**body, "learner": False, "timeout": 1.5})
    assert (answer.code, answer.json["outcome"]) == (409, "not done")
    assert "was not removed, as it is a learner there already" in answer.json["reason"]
    node = group.start(new, founded("third"))
    eventually(lambda: group.get("/cluster").json["members"][-1]["status"])
    for id in (*group.first, group.leader().id):
        answer = group.post("/members/replace", {"id": new, "url": group.urls[new]}, id)
        assert answer.code == 200 and not answer.json["result"]["removed"], answer.text
        assert new in answer.json["result"]["conf_state"]["voters"]
        assert answer.json["result"]["joined"] == added[0]["joined"] and node.failure is None
    del group.nodes[new]
    node.close()
    assert group.post("/members/remove", {"id": new}).code == 200
    answer = group.post("/members/remove", {"id": new})
    assert (answer.code, answer.json["outcome"]) == (409, "not done")
    assert answer.json["reason"] == f"remove({new}): there is no member {new}, only 1, 2, 3"
    texts = [each["text"] for each in group.get("/events").json if each["event"] == "members_changed"]
    assert any(f"learners [{new}]" in text for text in texts)


def test_snapshot_and_backup(group, impl, tmp_path):
    answer = group.post("/snapshot", {})
    assert answer.code == 200 and answer.json["result"]["index"] == group.leader().status().snapshot.index
    assert any(each["event"].startswith("snapshot") for each in group.get("/events").json)
    refused = group.get("/backup")
    assert refused.code == 403
    answer = group.get("/backup", token=TOKEN)
    assert answer.code == 200 and answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="raftx-{group.leader().id}-')
    (tmp_path / "backup").write_bytes(answer.body)
    restored = impl.FileStorage.restore(tmp_path / "1", tmp_path / "backup", id=1, members=[1])
    node = impl.Node(impl.Config(id=1, cluster=restored.cluster), restored, impl.MemoryNetwork().transport(), _Sum())
    with node:
        node.wait_ready(WAIT)
        assert node.query(lambda machine: machine.total).result(timeout=WAIT) > 0
    assert group.get("/backup?timeout=x", token=TOKEN).code == 400


class _Sum:
    def __init__(self):
        self.total = 0

    def apply(self, entry):
        return 0

    def snapshot(self):
        return b""

    def restore(self, reader):
        self.total = int(reader.read())


def test_what_has_not_ended_in_time_is_unknown(group):
    leader = group.leader()
    machine = group.machines[leader.id]
    gate, entered = threading.Event(), threading.Event()
    machine.apply = lambda entry: entered.set() or gate.wait(WAIT)
    future = leader.propose(b"x")
    assert entered.wait(WAIT)
    answer = group.post("/snapshot", {"timeout": 0.3}, leader.id)
    gate.set()
    del machine.apply
    future.result(timeout=WAIT)
    assert (answer.code, answer.json["outcome"]) == (504, "unknown") and "goes on" in answer.json["reason"]


def test_requests_are_told_at_debug_without_what_they_bring(group, caplog):
    with caplog.at_level(logging.DEBUG, logger="raftx"):
        group.post("/members/promote", {"id": 77, "timeout": 1})
        line = eventually(lambda: next((r for r in caplog.records if "/members/promote" in r.getMessage()), None))
    assert line.levelno == logging.DEBUG and line.getMessage().endswith(
        "admin: POST /members/promote from 127.0.0.1: 409"
    )
    assert TOKEN not in caplog.text and "77" not in line.getMessage()


def test_a_member_that_has_failed_still_shows_itself(impl):
    made = Group(impl, 1)
    node = made.leader()
    url = node.admin_url
    machine = made.machines[1]

    def fails(entry):
        raise ValueError("cannot")

    machine.apply = fails
    with pytest.raises(impl.Unknown):
        node.propose(b"x").result(timeout=WAIT)
    eventually(lambda: node.failure is not None)
    for name in ("livez", "readyz"):
        answer = ask(url, f"/{name}")
        assert answer.code == 503 and "[-]running failed: the node has failed: ValueError: cannot" in answer.text
        assert answer.text.endswith(f"{name} check failed\n")
    assert ask(url, "/status").json["role"] == "none"
    assert ask(url, "/cluster").json["members"][0]["status"]["failure"] == "ValueError: cannot"
    assert ask(url, "/events").json[-1]["event"] == "failed"
    assert ask(url, "/members/remove", "POST", {"id": 2}, TOKEN).code == 409
    node.close()
    with pytest.raises(OSError):
        ask(url, "/livez")
