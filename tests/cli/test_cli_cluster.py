"""Commands for a cluster that runs, against a server that speaks the HTTP of admin pages: output, requests, codes."""

import json
import os
import re
import shutil
import socket
import threading
import time

import pytest

from tests.helpers.admin_server import TOKEN, Made, serving
from tests.helpers.commands import ran, spawned
from tests.helpers.directories import descriptor, state
from tests.helpers.implementations import module
from tests.helpers.ports import ports

CHANGES = {
    "add": (["add", "4=d:5601", "--learner"], "/members/add", {"id": 4, "url": "tcp://d:5601", "learner": True},
            "member 4 is a learner at tcp://d:5601\n"),
    "promote": (["promote", "3"], "/members/promote", {"id": 3}, "member 3 is a voter\n"),
    "demote": (["demote", "3"], "/members/demote", {"id": 3}, "member 3 is a learner\n"),
    "remove": (["remove", "3"], "/members/remove", {"id": 3}, "member 3 is removed\n"),
    "move": (["move", "3=tcp://e:1"], "/members/move", {"id": 3, "url": "tcp://e:1"}, "member 3 is at tcp://e:1\n"),
    "replace": (["replace", "3=e:1"], "/members/replace", {"id": 3, "url": "tcp://e:1", "learner": True},
                "member 3 is replaced by the one at tcp://e:1\n"),
    "transfer": (["transfer", "2"], "/transfer", {"to": 2}, "member 2 leads\n"),
    "transfer to any": (["transfer"], "/transfer", {"to": 2}, "member 2 leads\n"),
    "snapshot save": (["snapshot", "save"], "/snapshot", {}, "the member has taken a snapshot\n"),
}  # fmt: skip


@pytest.fixture
def made(monkeypatch, tmp_path):
    """A cluster whose address is in the environment, and a directory without a cluster.toml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAFTX_TOKEN", TOKEN)
    cluster = Made()
    with serving(cluster) as url:
        monkeypatch.setenv("RAFTX_ADMIN", url)
        cluster.url = url
        yield cluster


# --- looking ---------------------------------------------------------------------------------------------


def test_status_has_a_row_for_each_member(impl, made):
    done = ran(impl, "status")
    assert (done.code, done.err) == (0, "")
    rows = [re.split(r"  +", line.strip()) for line in done.out.splitlines()]
    assert rows == [
        ["ID", "ROLE", "TERM", "COMMIT", "APPLIED", "LAG", "PEER", "DISK", "FSYNC-p99", "SEEN"],
        ["1", "leader", "7", "120,441", "120,441", "0", "up", "12 MB", "2.0 ms", "now"],
        ["2", "follower", "7", "120,441", "120,441", "0", "up", "12 MB", "~1.8 ms", "20 ms"],
        ["3", "follower", "7", "118,002", "118,002", "2,439", "up", "12 MB", "~1.8 ms", "41 s"],
    ]
    assert len({len(line) for line in done.out.splitlines()}) == 1 and "\x1b" not in done.out


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ([100, 0, 0, 0], "1.0 ms"), ([99, 1, 0, 0], "2.0 ms"), ([100, 1, 0, 0], "1.0 ms"), ([0, 0, 0, 1], ">4.1 ms"),
        ([980, 9, 11, 0], "4.1 ms"), ([0, 0, 0, 0], "~1.8 ms"), ([], "~1.8 ms"),
    ],
)  # fmt: skip
def test_the_99th_percentile_of_buckets(impl, made, counts, shown):
    status = made.members[1]["status"]
    status["latency"]["wal"]["counts"] = counts
    assert module(impl, "cli.cluster").sync_shown(status) == shown
    assert module(impl, "cli.cluster").sync_shown({"disk": {"syncs": 0, "sync_ns": 0}}) == "?"


def test_status_of_a_cluster_that_is_not_well(impl, made):
    made.down(3)
    made.members[2]["status"] |= {"failure": "StorageFailed: the disk"}
    made.leader = 0
    done = ran(impl, "status")
    assert done.code == 1
    assert done.err.splitlines() == [
        "raftx: there is no leader: nothing is acknowledged",
        "raftx: member 2 has failed: StorageFailed: the disk",
        "raftx: member 3 is down: connection refused",
    ]
    assert re.search(r"^ *3  \? +\? +\? +\? +\?  down +\? +\? +41 s$", done.out, re.MULTILINE), done.out
    found = ran(impl, "status", "--json")
    assert found.code == 1 and len(found.json()["problems"]) == 3 and found.json()["members"][2]["status"] is None


@pytest.mark.parametrize(
    ("fields", "shown", "said"),
    [
        ({"in_doubt": True}, "in doubt", "is in doubt: it does not vote"),
        ({"in_doubt": True, "failure": "StorageFailed: the disk"}, "failed", "has failed: StorageFailed: the disk"),
        ({"waits_for": [1, 3]}, "ill", "takes no part yet: it waits for members 1, 3, who do not know yet"),
        ({"stuck": "it has no room"}, "ill", "cannot catch up: it has no room"),
        ({"diverged": "entry 7 differs"}, "ill", "contradicts its leader: entry 7 differs"),
        ({"disk": {"full": True}}, "ill", "has no room on its disk"),
    ],
)
def test_a_member_that_answers_and_is_not_counted(impl, made, fields, shown, said):
    """A script that waits for a cluster to be well must not go on while a member gives it no safety."""
    made.members[2]["status"] |= fields
    done = ran(impl, "status")
    assert done.code == 1 and done.err.startswith(f"raftx: member 2 {said}") and done.err.count("\n") == 1
    assert f"  {shown}  " in done.out.splitlines()[2]
    (problem,) = ran(impl, "status", "--json").json()["problems"]
    assert problem.startswith(f"member 2 {said}")
    watched = ran(impl, "watch", "--count", "1")
    assert f"member 2: follower, {shown}\n" in watched.out


def test_a_member_that_was_removed_is_not_believed(impl, made, monkeypatch):
    """It goes on answering while its service does; whoever runs tells how the cluster is."""
    removed = Made()
    removed.leader = 0
    removed.members[1]["status"] |= {"state": "failed", "failure": "Removed: member 1 was removed"}
    with serving(removed) as url:
        monkeypatch.setenv("RAFTX_ADMIN", f"{url} {made.url}")
        done = ran(impl, "status")
        assert (done.code, done.err) == (0, "") and len(made.requests) == 1
        # Where nobody else answers, it is told for what it is.
        monkeypatch.setenv("RAFTX_ADMIN", f"{url} http://127.0.0.1:{ports(1)[0]}")
        done = ran(impl, "status")
        assert done.code == 1 and "member 1 has failed: Removed: member 1 was removed" in done.err
        del removed.members[1]
        done = ran(impl, "status")
        assert done.code == 1 and "member 1, which was asked, is in no cluster" in done.err


def test_status_for_programs(impl, made):
    found = ran(impl, "status", "--json").json()
    assert found == {**made.document(), "problems": []}


@pytest.mark.parametrize("odd", [[], {"cluster": "x"}, "members", "a member", 7])
def test_somebody_else_answers(impl, made, odd, monkeypatch):
    """What has not the shape of a cluster is told, in one line."""
    document = made.document()
    if odd == "members":
        odd = {**document, "members": 1}
    elif odd == "a member":
        del document["members"][1]["status"]
        odd = document
    monkeypatch.setattr(made, "document", lambda: odd)
    for arguments in (["status"], ["members"], ["watch", "--count", "1"]):
        done = ran(impl, *arguments)
        assert done.code == (0 if arguments[0] == "watch" else 3)
        assert "something else than a member" in done.err and done.err.count("\n") == 1 and done.out == ""


def test_a_look_is_less_patient_than_a_change(impl, made):
    remote = module(impl, "cli.remote")
    assert (remote.Admin([], "", None).patience, remote.Admin([], "", None).timeout) == (10, 60)
    assert (remote.Admin([], "", 3).patience, remote.Admin([], "", 3).timeout) == (3, 3)
    assert ran(impl, "snapshot", "save").code == 0
    assert made.requests[-1] == ("POST", "/snapshot", {"timeout": 60.0})


def test_members(impl, made):
    made.put(4, "tcp://d:5601", learner=True)
    done = ran(impl, "members")
    assert done.out.splitlines()[0].split() == ["ID", "KIND", "URL"]
    assert done.out.splitlines()[4].split() == ["4", "learner", "tcp://d:5601"]
    found = ran(impl, "members", "--json").json()
    assert found["members"][3] == {"id": 4, "url": "tcp://d:5601", "voter": False, "learner": True}
    assert found["cluster"] == made.cluster


# --- changing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHANGES)
def test_changes(impl, made, name):
    arguments, path, body, said = CHANGES[name]
    done = ran(impl, *arguments, "--timeout", "2.5")
    assert (done.code, done.out, done.err) == (0, said, "")
    assert [each for each in made.requests if each[0] == "POST"] == [("POST", path, {**body, "timeout": 2.5})]
    made.put(3, "tcp://c:1", learner=False)
    found = ran(impl, *arguments, "--json")
    assert found.code == 0 and found.json()["outcome"] == "done" and set(found.json()) == {"outcome", "result"}


@pytest.mark.parametrize(
    ("status", "document", "code", "said"),
    [
        (409, {"outcome": "not done", "reason": "no leader"}, 5, "not done: no leader. It is safe to repeat it"),
        (504, {"outcome": "unknown", "reason": "timed out"}, 6, "unknown: timed out. Look (raftx status)"),
        (400, {"error": "id must be an integer"}, 2, "id must be an integer"),
        (0, None, 6, "after the request was sent: it may have been done"),
        (500, {"error": "x"}, 6, "answers 500"),
        (503, b"full", 3, "answers 503 Service Unavailable: full"),
        (421, b"another name", 3, "another name"),
        (404, {"error": "nothing here"}, 3, "is it the address of admin pages?"),
        (200, b"<html>", 6, "something else than a member of raftx"),
    ],
    ids=["not done", "unknown", "wrong", "no answer", "500", "full", "name", "page", "odd"],
)
def test_outcomes(impl, made, status, document, code, said):
    made.instead = [(status, document)] * 2
    done = ran(impl, "transfer", "2")
    assert done.code == code and said in done.err and done.err.count("\n") == 1 and done.out == ""
    if status in (409, 504):
        found = ran(impl, "transfer", "2", "--json")
        assert found.code == code and found.json() == document


def test_who_is_no_member_is_told(impl, made):
    """A slip of the finger must not look as if it had done something: not done, and who the members are."""
    for command in ("remove", "promote", "demote"):
        done = ran(impl, command, "77")
        assert (done.code, done.out) == (5, "")
        assert f"not done: {command}(77): there is no member 77, only 1, 2, 3. It is safe" in done.err
        found = ran(impl, command, "77", "--json")
        assert found.code == 5 and found.json()["outcome"] == "not done" and "no member 77" in found.json()["reason"]


def test_progress_does_not_look_like_an_error(impl, made):
    """It is on standard error, so that the output is the result alone, and has a form of its own."""
    for removed, said in ((True, "and the old one is removed"), (False, "and no other one was removed")):
        learns = {"conf_state": {"learners": [3]}, "removed": removed}
        made.instead = [(200, {"outcome": "done", "result": learns})]
        done = ran(impl, "replace", "3=e:1")
        assert (done.code, done.out) == (0, "member 3 is replaced by the one at tcp://e:1\n"), done.err
        assert done.err.startswith(f"progress: member 3 is a learner at tcp://e:1, {said}. Start the new one now")
        assert done.err.count("\n") == 1 and "raftx: " not in done.err


def test_who_leads_next(impl, made):
    """The voter that has most of the log, of those that answer; the first one of equals."""
    successor = module(impl, "cli.cluster").successor
    made.put(4, "tcp://d:1", learner=True)
    assert successor(made.document()) == 2
    made.members[3]["status"]["last"] = 200_000
    assert successor(made.document()) == 3
    made.down(3)
    assert successor(made.document()) == 2
    made.down(2)
    done = ran(impl, "transfer")
    assert done.code == 5 and "no other voter" in done.err
    assert ran(impl, "transfer", "--json").json()["outcome"] == "not done"


def test_a_life_of_its_own_begins_at_the_first_event(impl, made):
    """A member that was restarted counts anew: nothing is missed, nothing told twice."""
    watch, remote = module(impl, "cli.watch"), module(impl, "cli.remote")
    watcher = watch.Watcher(remote.Admin([made.url], "", 5))
    made.happened("snapshot", "a snapshot was taken")
    assert [each["n"] for each in watcher.look().events] == [1, 2]
    assert watcher.look().events == []
    old, made.events = made.events, []
    made.members[1]["status"]["life"] = 2
    made.happened("start", "it began again")
    made.events[0]["time"] += 1
    assert [each["text"] for each in watcher.look().events] == ["it began again"]
    made.events = old + made.events  # what was told in the life before
    made.members[1]["status"]["life"] = 3
    assert watcher.look().events == []


def test_without_the_right_token(impl, made, monkeypatch):
    for token in (None, "", "wrong"):
        arguments = [] if token is None else ["--token", token]
        monkeypatch.delenv("RAFTX_TOKEN", raising=False)
        done = ran(impl, "transfer", "2", *arguments)
        assert done.code == 4 and "--token or in RAFTX_TOKEN" in done.err and done.err.count("\n") == 1
    assert made.leader == 1
    assert ran(impl, "transfer", "2", "--token", "w\u00f6rd").code == 2


# --- which member ----------------------------------------------------------------------------------------


def test_a_request_goes_on_only_while_nothing_was_sent(impl, made):
    """A member that is not there is passed over; one that took the request and went is not."""
    gone = f"http://127.0.0.1:{ports(1)[0]}"
    assert ran(impl, "transfer", "2", "--url", gone, "--url", made.url).code == 0
    assert made.leader == 2
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take():
            connection, _ = server.accept()
            connection.recv(1000)
            connection.close()

        thread = threading.Thread(target=take)
        thread.start()
        mute = f"http://127.0.0.1:{server.getsockname()[1]}"
        done = ran(impl, "transfer", "3", "--url", mute, "--url", made.url)
        thread.join()
    assert done.code == 6 and made.leader == 2
    # A question is asked again.
    assert ran(impl, "status", "--url", gone, "--url", made.url).code == 0


def test_nobody_answers(impl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAFTX_ADMIN", raising=False)
    gone = f"http://127.0.0.1:{ports(1)[0]}"
    for arguments in (["status"], ["transfer"], ["backup", "b"]):
        done = ran(impl, *arguments, "--url", gone)
        assert done.code == 3 and gone in done.err and done.err.count("\n") == 1
        done = ran(impl, *arguments)
        assert done.code == 2 and "--url http://HOST:PORT" in done.err
    assert list(tmp_path.iterdir()) == []
    for url in ("ftp://a", "http://", "http://a:x", "http://a:99999"):
        assert ran(impl, "status", "--url", url).code == 2


def test_members_of_the_file_are_tried(impl, made, tmp_path, monkeypatch):
    """--config, or cluster.toml in the directory; the environment comes before the latter."""
    port = made.url.rpartition(":")[2]
    arguments = ["init", "1=a:1", "2=b:1", "--insecure", "--cluster", "flags", "--admin-port"]
    assert ran(impl, *arguments, str(ports(1)[0]), "-o", "first.toml").code == 0
    text = (tmp_path / "first.toml").read_text().replace('admin = "a', 'admin = "127.0.0.1')
    text = re.sub(r'admin = "b:\d+"', f'admin = "127.0.0.1:{port}"', text)
    (tmp_path / "cluster.toml").write_text(text)
    monkeypatch.setenv("RAFTX_ADMIN", f"127.0.0.1:{ports(1)[0]}")
    assert ran(impl, "status").code == 3
    assert ran(impl, "status", "--config", "cluster.toml").code == 0
    monkeypatch.delenv("RAFTX_ADMIN")
    assert ran(impl, "status").code == 0
    assert ran(impl, *arguments, "0", "-o", "none.toml").code == 0
    done = ran(impl, "status", "--config", "none.toml")
    assert done.code == 2 and "says of no member where its admin pages are" in done.err


# --- backups ---------------------------------------------------------------------------------------------


def test_backup(impl, made, tmp_path):
    writer = module(impl, "storage.snapshot_copy").BackupWriter(tmp_path / "whole", descriptor(impl, 7, 2), False)
    writer.write(state(7))
    writer.finish()
    made.backup = (tmp_path / "whole").read_bytes()
    done = ran(impl, "backup", "flags.snap")
    assert (done.code, done.err) == (0, "") and "after entry  7 of term 2\n" in done.out
    assert (tmp_path / "flags.snap").read_bytes() == made.backup
    again = ran(impl, "backup", "flags.snap")
    assert again.code == 4 and "--force" in again.err
    found = ran(impl, "backup", "flags.snap", "--force", "--json").json()
    assert found == {
        "file": "flags.snap", "bytes": len(made.backup), "index": 7, "term": 2, "cluster": found["cluster"],
    }  # fmt: skip
    impl.FileStorage.create("member", id=1, members=[1])
    before = sorted((tmp_path / "member").iterdir())
    for more in ([], ["--force"]):
        refused = ran(impl, "backup", "member/lives", *more)
        assert refused.code == 4 and "directory of a member" in refused.err
    assert sorted((tmp_path / "member").iterdir()) == before
    shutil.rmtree(tmp_path / "member")
    # What is cut off, or damaged on the way, is not kept.
    made.cut = 5
    done = ran(impl, "backup", "other")
    assert done.code == 3 and "of " in done.err and done.err.count("\n") == 1
    made.cut, made.backup = 0, made.backup[:-1] + b"?"
    done = ran(impl, "backup", "other")
    assert done.code == 1 and "damaged" in done.err
    assert ran(impl, "backup", "other", "--token", "wrong").code == 4
    assert sorted(each.name for each in tmp_path.iterdir()) == ["flags.snap", "whole"]


# --- watch -----------------------------------------------------------------------------------------------


def test_watch_tells_what_happens(impl, made):
    """Elsewhere than on a terminal: a line for what is new, nothing twice."""
    done = {}

    def watch():
        done["it"] = spawned("watch", "--interval", "0.05", "--count", "40", env=dict(os.environ))

    thread = threading.Thread(target=watch)
    thread.start()
    deadline = time.monotonic() + 30
    while not made.requests and time.monotonic() < deadline:
        time.sleep(0.01)
    made.post("/transfer", {"to": 3})
    made.down(1)
    thread.join()
    assert done["it"].returncode == 0, done["it"].stderr
    lines = [line[10:] for line in done["it"].stdout.decode().splitlines()]
    assert lines.count("member 1: leads in term 7") == 1
    assert lines.count("member 1: follows member 3, which leads in term 8") == 1
    assert lines.count("term 8, leader 3") == 1 and lines.count("member 1: unknown, down") == 1
    assert lines.index("term 8, leader 3") > 0


def test_watch_for_programs(impl, made):
    done = ran(impl, "watch", "--json", "--interval", "0.05", "--count", "3")
    looks = [json.loads(line) for line in done.out.splitlines()]
    assert len(looks) == 3 and all(set(each) == {"cluster", "events", "error"} for each in looks)
    assert [len(each["events"]) for each in looks] == [1, 0, 0]
    assert looks[0]["cluster"] == made.document() and looks[0]["events"] == [{"node": 1, **made.events[0]}]


def test_events_are_those_of_who_tells_of_the_cluster(impl, made, monkeypatch):
    """A member that has failed goes on answering: what it says of itself is not said of another one."""
    failed = Made()
    failed.members[2]["status"] |= {"state": "failed", "failure": "Removed: member 2 was removed"}
    failed.happened("failed", "has ended: Removed")
    monkeypatch.setattr(failed, "document", lambda: {**Made.document(failed), "id": 2})
    with serving(failed) as url:
        monkeypatch.setenv("RAFTX_ADMIN", f"{url} {made.url}")
        done = ran(impl, "watch", "--count", "1")
        assert "member 1: leads in term 7" in done.out and "has ended" not in done.out, done.out
        # Where it alone answers, it is named as well.
        monkeypatch.setenv("RAFTX_ADMIN", url)
        done = ran(impl, "watch", "--count", "1")
        assert [line[10:] for line in done.out.splitlines()][-1] == "member 2: has ended: Removed"


def test_watch_goes_on_when_nobody_answers(impl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gone = f"http://127.0.0.1:{ports(1)[0]}"
    done = ran(impl, "watch", "--url", gone, "--count", "3", "--interval", "0.05")
    assert done.code == 0 and done.out == "" and done.err.count("no member answers") == 1
    looks = ran(impl, "watch", "--url", gone, "--count", "2", "--interval", "0.05", "--json").out.splitlines()
    assert all(json.loads(each)["cluster"] is None and json.loads(each)["error"] for each in looks)


@pytest.mark.once
@pytest.mark.parametrize("no_color", [False, True])
def test_on_a_terminal(made, no_color):
    """Colours, unless NO_COLOR is set; the window's width is kept."""
    import pty
    import subprocess
    import sys

    from tests.helpers.paths import ROOT

    for command in (["status"], ["watch", "--count", "2", "--interval", "0.05"]):
        ours, theirs = pty.openpty()
        environment = {**os.environ, "COLUMNS": "90", "TERM": "xterm-256color"}
        environment.pop("NO_COLOR", None)
        if no_color:
            environment["NO_COLOR"] = "1"
        try:
            subprocess.run(
                [sys.executable, "-m", "raftx", *command],
                stdout=theirs,
                cwd=ROOT,
                env=environment,
                timeout=60,
                check=True,
            )
            text = os.read(ours, 1 << 16).decode()
        finally:
            os.close(ours)
            os.close(theirs)
        assert "leader" in text and "120,441" in text
        assert ("\x1b[32m" in text) is not no_color, text
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
        assert max(len(line) for line in plain.splitlines()) <= 90
