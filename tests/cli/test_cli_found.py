"""``raftx init|create|join``: the file of a cluster, directories of members, and what is refused."""

import os

import pytest

from tests.helpers.commands import ran
from tests.helpers.directories import picture
from tests.helpers.wal import CLUSTER

THREE = ("1=a:5601", "2=b:5601", "3=tcp://c:5601")
CONTENT = """cluster = "flags"
data = "data/{id}"
insecure = true

[members.1]
url = "tcp://a:5601"
admin = "a:8080"

[members.2]
url = "tcp://b:5601"
admin = "b:8080"

[members.3]
url = "tcp://c:5601"
admin = "c:8080"
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_init_writes_the_file(impl, here):
    done = ran(impl, "init", *THREE, "--insecure", "--cluster", "flags")
    assert (done.code, done.err) == (0, "") and "raftx create --config cluster.toml --id 1" in done.out
    assert (here / "cluster.toml").read_text() == CONTENT
    file = impl.ClusterFile.load("cluster.toml")
    assert file.cluster == b"flags".ljust(16, b"\0") and sorted(file.members) == [1, 2, 3]
    again = ran(impl, "init", "1=x:1", "--insecure", "--cluster", "other")
    assert again.code == 4 and "--force" in again.err and (here / "cluster.toml").read_text() == CONTENT
    found = ran(impl, "init", "1=x:1", "--insecure", "--cluster", "other", "--force", "--json").json()
    assert found == {
        "file": "cluster.toml", "cluster": b"other".ljust(16, b"\0").hex(), "name": "other",
        "members": {"1": {"url": "tcp://x:1", "admin": "x:8080", "learner": False}},
    }  # fmt: skip
    assert ran(impl, "init", *THREE, "--insecure", "--cluster", "flags", "-o", "-").out == CONTENT
    assert [each.name for each in here.iterdir()] == ["cluster.toml"]


def test_init_writes_nothing_beside_what_a_member_has(impl, here):
    impl.FileStorage.create(here / "member", id=1, members=[1])
    before = picture(here / "member")
    for more in ([], ["--force"]):
        done = ran(impl, "init", *THREE, "--insecure", "--cluster", "flags", "-o", "member/founding", *more)
        assert done.code == 4 and "directory of a member" in done.err
    assert picture(here / "member") == before


def test_init_on_one_machine(impl):
    """Members of one host do not take the same port for their admin pages."""
    members = ("1=127.0.0.1:5601", "2=127.0.0.1:5602", "3=[::1]:5601")
    arguments = ("--cluster", 'a"\\\u00fc', "--learner", "3", "--admin-port", "9000", "--data", "/srv/{id}")
    done = ran(impl, "init", *members, *arguments)
    assert done.code == 0, done.err
    file = impl.ClusterFile.load("cluster.toml")
    assert [each.admin for each in file.members.values()] == ["127.0.0.1:9000", "127.0.0.1:9001", "[::1]:9000"]
    assert [each.learner for each in file.members.values()] == [False, False, True]
    assert file.name == 'a"\\\u00fc' and str(file.member(2).data) == "/srv/2"
    assert ran(impl, "init", *members, "--cluster", "x", "--admin-port", "0", "--force").code == 0
    assert impl.ClusterFile.load("cluster.toml").member(1).admin is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*THREE], "--cluster"),
        (["--cluster", "x"], "Missing argument"),
        (["1", "--cluster", "x"], "must be an id and an address, such as 4=host:5600"),
        (["0=a:1", "--cluster", "x"], "must be an integer"),
        (["1=a:1", "1=b:1", "--cluster", "x"], "must be named once"),
        (["1=a:1", "--learner", "2", "--cluster", "x"], "--learner must be one of the members, 1, not 2"),
        (["1=a:1", "--learner", "1", "--cluster", "x"], "somebody has to vote first"),
        (["1=a:1", "2=a:1", "--cluster", "x"], "'tcp://a:1' is that of member 1"),
        (["1=a", "--cluster", "x"], "port"),
        (["1=a:1", "--cluster", "x" * 17], "cluster must be a name of 1..16 bytes"),
        (["1=a:1", "--cluster", ""], "cluster must be"),
        (["1=a:1", "--cluster", "x", "--data", "{no}"], "may have {id} in it"),
        (["1=a:1", "--cluster", "x"], "raftx init writes them with --tls and --insecure"),
        (["1=a:1", "--cluster", "x", "--admin-port", "70000"], "--admin-port"),
    ],
    ids=repr,
)
def test_what_is_no_cluster(impl, here, arguments, said):
    done = ran(impl, "init", *arguments)
    assert done.code == 2 and said in done.err and done.err.count("\n") == 1, done.err
    assert "cluster.toml" not in done.err and list(here.iterdir()) == []


def test_create_founds_a_member_once(impl, here):
    assert ran(impl, "init", *THREE, "--insecure", "--cluster", "flags").code == 0
    done = ran(impl, "create", "--id", "2")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == f"founded  {here / 'data' / '2'}"
    found = ran(impl, "wal", "info", "--json", here / "data" / "2").json()["founding"]
    assert found["id"] == 2 and found["members"]["voters"] == [1, 2, 3]
    assert found["members"]["addresses"]["3"] == "tcp://c:5601"
    before = picture(here)
    again = ran(impl, "create", "--id", "2", "--config", "cluster.toml")
    assert again.code == 4 and "holds a member already" in again.err and picture(here) == before
    wrong = ran(impl, "create", "--id", "4")
    assert wrong.code == 2 and "one of 1, 2, 3, not 4" in wrong.err
    found = ran(impl, "create", "--id", "1", "--json").json()
    assert found == {"directory": str(here / "data" / "1"), "id": 1, "cluster": found["cluster"], "waits": False}
    missing = ran(impl, "create", "--id", "1", "--config", "missing.toml")
    assert missing.code == 2 and "missing.toml cannot be read" in missing.err


def test_create_of_a_member_that_waits(impl, here):
    (here / "cluster.toml").write_text(CONTENT + '[members.4]\nurl = "tcp://d:5601"\njoin = true\n')
    done = ran(impl, "create", "--id", "4")
    assert done.code == 0 and "raftx add 4=d:5601\n" in done.out
    found = ran(impl, "wal", "info", "--json", here / "data" / "4").json()["founding"]
    assert found["id"] == 4 and found["members"]["voters"] == []


def test_join(impl, here):
    """A member that is in no file waits, too."""
    (here / "cluster.toml").write_text(CONTENT)
    done = ran(impl, "join", "d", "--id", "4", "--config", "cluster.toml")
    assert (done.code, done.err) == (0, "") and "It waits to be added" in done.out
    assert "raftx add 4=HOST:PORT\n" in done.out and "raftx replace 4=HOST:PORT\nfirst" in done.out
    assert ran(impl, "join", "d", "--id", "4").code == 4
    hexed = CLUSTER.hex()
    found = ran(impl, "join", "e", "--id", "5", "--peer", "a:1", "--cluster", hexed, "--json").json()
    assert found == {"directory": "e", "id": 5, "cluster": hexed, "waits": True}
    for directory, id in (("d", 4), ("e", 5)):
        founding = ran(impl, "wal", "info", "--json", here / directory).json()["founding"]
        assert founding["id"] == id and founding["members"]["voters"] == []
    for arguments, said in (
        (["f", "--peer", "a:1"], "say which cluster it is"),
        (["f", "--cluster", hexed], "say which cluster it is"),
        (["--peer", "a:1", "--cluster", hexed], "say which cluster it is"),
        (["f", "--config", "cluster.toml", "--cluster", hexed], "must be that of cluster.toml"),
        (["f", "--peer", "ftp://a:1", "--cluster", hexed], "--peer"),
        (["f", "--peer", "a:1", "--cluster", hexed, "--url", "f:1"], "--url is written into the file"),
        ([], "has no member 6: say where it will be"),
        (["--url", "a:5601"], "'tcp://a:5601' is that of member 1"),
        (["--url", "f"], "port"),
    ):
        done = ran(impl, "join", "--id", "6", *arguments)
        assert done.code == 2 and said in done.err and done.err.count("\n") == 1, done.err
    assert not (here / "f").exists() and (here / "cluster.toml").read_text() == CONTENT
    (here / "cluster.toml").unlink()
    assert "say which cluster it is" in ran(impl, "join", "f", "--id", "6").err


def test_join_writes_the_member_into_the_file(impl, here):
    """So its program finds it there, and whoever adds it is told the whole command."""
    assert ran(impl, "init", "1=a:5601", "2=d:5602", "--insecure", "--cluster", "flags").code == 0
    before = (here / "cluster.toml").read_text()
    os.chmod(here / "cluster.toml", 0o640)
    done = ran(impl, "join", "--id", "4", "--url", "d:5604")
    assert (done.code, done.err) == (0, "") and done.out.endswith("then: raftx add 4=d:5604\n")
    text = (here / "cluster.toml").read_text()
    assert text.startswith(before) and (here / "cluster.toml").stat().st_mode & 0o777 == 0o640
    member = impl.ClusterFile.load("cluster.toml").member(4)
    assert (member.url, member.admin, member.join) == ("tcp://d:5604", "d:8081", True)
    assert member.data == here / "data" / "4" and (member.data / "founding").is_file()
    # A second time nothing is written, and another address is not taken for a move.
    assert ran(impl, "join", "--id", "4", "--url", "d:5604").code == 4
    assert "has member 4 at tcp://d:5604" in ran(impl, "join", "--id", "4", "--url", "d:5605").err
    assert (here / "cluster.toml").read_text() == text
    assert sorted(each.name for each in here.iterdir()) == ["cluster.toml", "data"]


def test_join_of_a_member_whose_disk_is_lost(impl, here):
    """One of the first members cannot be added again: it is replaced."""
    (here / "cluster.toml").write_text(CONTENT)
    done = ran(impl, "join", "--id", "2")
    assert done.code == 0 and "this is to take its place.\nFirst: raftx replace 2=b:5601\nThen start" in done.out
    assert "raftx add" not in done.out
