"""The commands against members that run: three nodes with their admin pages, from cluster.toml to a restore."""

import json
import re
import shutil

import pytest

from tests.helpers.commands import ran
from tests.helpers.ports import ports
from tests.helpers.waiting import eventually

TOKEN = "a-token-of-the-tests"


class Store:
    """A state machine with snapshots."""

    def __init__(self):
        self.lines = []

    def apply(self, entry):
        self.lines.append(entry.data.decode())
        return len(self.lines)

    def snapshot(self):
        return json.dumps(self.lines).encode()

    def restore(self, reader):
        self.lines = json.loads(reader.read())


@pytest.fixture
def cluster(impl, tmp_path, monkeypatch):
    """What the commands founded, started: nodes by id, and a way to start one more."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAFTX_ADMIN", raising=False)
    monkeypatch.setenv("RAFTX_TOKEN", TOKEN)
    free = ports(8)
    arguments = [f"{id}=127.0.0.1:{free[id]}" for id in (1, 2, 3)]
    assert ran(impl, "init", *arguments, "--cluster", "flags").code == 0
    # Ports that are free here, not those that are usual.
    text = (tmp_path / "cluster.toml").read_text()
    for id in (1, 2, 3):
        text = text.replace(f'"127.0.0.1:{8079 + id}"', f'"127.0.0.1:{free[id + 3]}"')
    (tmp_path / "cluster.toml").write_text(text)
    file = impl.ClusterFile.load("cluster.toml")
    nodes = {}

    def start(id, directory, url, admin=None):
        settings = {"admin": admin, "admin_token": TOKEN} if admin else {}
        config = impl.Config(id=id, cluster=file.cluster)
        node = impl.Node(config, impl.FileStorage(directory), impl.NngTransport(url), Store(), **settings)
        nodes[id] = node
        node.start()

    for id, member in file.members.items():
        assert ran(impl, "create", "--id", str(id)).code == 0
        start(id, member.data, member.bind, member.admin)
    try:
        yield nodes, start, free[7]
    finally:
        for node in nodes.values():
            node.close()


def members_of(impl):
    return {each["id"]: each for each in ran(impl, "members", "--json").json()["members"]}


@pytest.mark.slow
def test_from_founding_to_restore(impl, cluster, tmp_path):
    nodes, start, port = cluster
    eventually(lambda: all(node.leader_id for node in nodes.values()), timeout=60)
    for number in range(1, 6):
        assert nodes[1].propose(b"line %d" % number, timeout=30).result(timeout=30).result == number

    done = eventually(lambda: (seen := ran(impl, "status")).code == 0 and seen, timeout=30)
    rows = [line.split() for line in done.out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["1", "2", "3"] and [row[1] for row in rows].count("leader") == 1
    found = ran(impl, "status", "--json").json()
    assert found["leader"] == nodes[1].leader_id and len(found["members"]) == 3 and not found["problems"]
    assert found["cluster"] == "flags"

    # Leadership goes where it is told to, and elsewhere without a word.
    other = next(id for id in nodes if id != nodes[1].leader_id)
    assert ran(impl, "transfer", str(other)).out == f"member {other} leads\n"
    eventually(lambda: all(node.leader_id == other for node in nodes.values()), timeout=30)
    assert ran(impl, "transfer").code == 0
    eventually(lambda: nodes[1].leader_id not in (0, other), timeout=30)

    # A member comes, and goes.
    assert ran(impl, "join", "data/4", "--id", "4", "--config", "cluster.toml").code == 0
    start(4, tmp_path / "data" / "4", f"tcp://127.0.0.1:{port}")
    done = ran(impl, "add", f"4=127.0.0.1:{port}", "--learner")
    assert done.code == 0, done.err
    assert members_of(impl)[4]["learner"]
    assert ran(impl, "promote", "4").code == 0 and members_of(impl)[4]["voter"]
    assert ran(impl, "demote", "4").code == 0 and members_of(impl)[4]["learner"]
    assert ran(impl, "remove", "4").code == 0 and sorted(members_of(impl)) == [1, 2, 3]
    nodes.pop(4).close()

    # Without the token nothing is changed.
    refused = ran(impl, "remove", "3", "--token", "another-token")
    assert refused.code == 4 and sorted(members_of(impl)) == [1, 2, 3]
    for command in ("remove", "promote", "demote", "transfer"):
        done = ran(impl, command, "9")
        assert done.code == (2 if command == "transfer" else 5) and "1, 2, 3" in done.err, (command, done.err)
    assert sorted(members_of(impl)) == [1, 2, 3]

    # What has happened is told.
    looks = ran(impl, "watch", "--json", "--count", "1").out.splitlines()
    (seen,) = [json.loads(each) for each in looks]
    assert seen["error"] is None and any(each["event"] == "leader_elected" for each in seen["events"])
    for line in ran(impl, "watch", "--count", "1").out.splitlines():
        assert re.fullmatch(r"\d\d:\d\d:\d\d  (term \d+, leader \d|member \d: .+)", line), line

    # A snapshot, a backup, and a cluster that begins with it.
    assert ran(impl, "snapshot", "save").code == 0
    done = ran(impl, "backup", "flags.snap")
    assert done.code == 0, done.err
    assert ran(impl, "snapshot", "verify", "flags.snap").code == 0
    assert ran(impl, "restore", "flags.snap", "restored", "--id", "1", "--members", "1", "--json").code == 0
    seen = ran(impl, "wal", "info", "--json", "restored").json()
    restored = bytes.fromhex(seen["founding"]["cluster"])
    store = Store()
    network = impl.MemoryNetwork()
    with impl.Node(impl.Config(id=1, cluster=restored), impl.FileStorage("restored"), network.transport(), store):
        eventually(lambda: len(store.lines) == 5, timeout=30)
    assert store.lines == [f"line {number}" for number in range(1, 6)]

    # A member that is down is told, with the code for it; the others are asked in its place.
    nodes.pop(1).close()

    def down():
        seen = ran(impl, "status")
        return seen.code == 1 and "member 1 is down" in seen.err and seen

    done = eventually(down, timeout=60)
    assert "up" in done.out and "down" in done.out
    doctored = ran(impl, "doctor", "--id", "2", "--seconds", "0.1", "--json").json()
    levels = {each["name"]: each["level"] for each in doctored["findings"]}
    assert levels["member 1"] == "fair" and levels["member 3"] == "good" and levels["clock of member 3"] == "good"
    # It is started again; one that was removed is not.
    assert [each["standing"] for each in doctored["members"]] == ["member", "member"]
    done = ran(impl, "remove", "1")
    assert done.code == 0, done.err
    doctored = ran(impl, "doctor", "--id", "2", "--seconds", "0.1", "--json").json()
    assert [each["standing"] for each in doctored["members"]] == ["removed", "member"]


@pytest.mark.slow
def test_a_lost_member_is_replaced_at_its_own_address(impl, cluster, tmp_path):
    """In the order that join prints; who starts the new one before that is told what to do."""
    nodes, start, _ = cluster
    eventually(lambda: all(node.leader_id for node in nodes.values()), timeout=60)
    lost = next(id for id in nodes if id != nodes[1].leader_id)
    asked = next(nodes[id] for id in nodes if id != lost)
    asked.propose(b"line", timeout=30).result(timeout=30)
    member = impl.ClusterFile.load("cluster.toml").member(lost)
    place = member.url.removeprefix("tcp://")
    nodes.pop(lost).close()

    def join():
        shutil.rmtree(member.data)
        done = ran(impl, "join", "--id", str(lost))
        assert done.code == 0 and f"First: raftx replace {lost}={place}\nThen start this one" in done.out, done.err
        return done

    join()
    start(lost, member.data, member.bind)
    with pytest.raises(impl.MemoryLost, match="started after raftx replace"):
        nodes[lost].wait(30)
    nodes.pop(lost).close()
    join()
    joined = []
    for said in ("the old one is removed", "no other one was removed"):
        done = ran(impl, "replace", f"{lost}={place}", "--timeout", "5")
        assert done.code == 5 and said in done.err and done.err.endswith("says. It is safe to repeat it\n"), done.err
        assert members_of(impl)[lost]["learner"]
        joined.append(dict(asked._parts.members.now.joined))
    start(lost, member.data, member.bind)
    for _ in range(2):
        done = ran(impl, "replace", f"{lost}={place}", "--timeout", "30")
        assert (done.code, done.out) == (0, f"member {lost} is replaced by the one at {member.url}\n"), done.err
        joined.append(dict(asked._parts.members.now.joined))
    assert nodes[lost].wait_ready(30) and nodes[lost]._outside.state_machine.lines == ["line"]
    assert members_of(impl)[lost]["voter"] and all(each == joined[0] for each in joined)
