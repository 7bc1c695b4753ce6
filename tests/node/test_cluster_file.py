"""One file for a cluster: what it may say, what becomes of it, and how each mistake is told."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT
from tests.helpers.ports import ports
from tests.helpers.waiting import WAIT, eventually

GOOD = """\
cluster = "flags"
data = "data/{id}"
insecure = true
[config]
tick_ms = 10

[members.1]
url = "tcp://127.0.0.1:5601"
bind = "tcp://0.0.0.0:5601"
admin = "127.0.0.1:8081"
data = "/var/lib/flags"

[members.2]
url = "tcp://127.0.0.1:5602"
config.priority = 3

[members.10]
url = "tcp://127.0.0.1:5610"
join = true
"""


class Counter:
    def __init__(self):
        self.value = 0

    def apply(self, entry):
        self.value += int(entry.data)
        return self.value


def written(folder: Path, text: str) -> Path:
    path = folder / "cluster.toml"
    path.write_text(text, encoding="utf-8")
    return path


def small(numbers, extra="") -> str:
    members = [f'[members.{id}]\nurl = "tcp://127.0.0.1:{number}"\n' for id, number in enumerate(numbers, 1)]
    return f'cluster = "flags"\ndata = "data/{{id}}"\n[config]\ntick_ms = 10\n{extra}\n' + "".join(members)


def test_what_it_has(impl, tmp_path):
    file = impl.ClusterFile.load(written(tmp_path, GOOD))
    assert file.name == "flags" and file.cluster == b"flags".ljust(16, b"\0")
    assert list(file.members) == [1, 2, 10]
    first, second, _ = file.members.values()
    assert (first.url, first.bind, first.admin) == ("tcp://127.0.0.1:5601", "tcp://0.0.0.0:5601", "127.0.0.1:8081")
    assert (second.url, second.bind, second.admin) == ("tcp://127.0.0.1:5602", "tcp://127.0.0.1:5602", None)
    assert [each.data for each in file.members.values()] == [
        Path("/var/lib/flags"), tmp_path / "data" / "2", tmp_path / "data" / "10"
    ]  # fmt: skip
    assert [each.join for each in file.members.values()] == [False, False, True]
    assert [file.config(id).priority for id in file.members] == [0, 3, 0]
    assert {(file.config(id).id, file.config(id).tick_ms, file.config(id).cluster) for id in file.members} == {
        (id, 10, file.cluster) for id in file.members
    }
    transport = file.transport(1)
    assert transport.listen == "tcp://0.0.0.0:5601" and transport.peers == {}
    assert "flags" in repr(file)


def test_a_name_may_be_sixteen_bytes_in_digits(impl, tmp_path):
    text = GOOD.replace('"flags"', '"' + "00ff" * 8 + '"')
    assert impl.ClusterFile.load(written(tmp_path, text)).cluster == bytes.fromhex("00ff" * 8)


# (what is replaced, by what, the line, and what the error says of it)
WRONG = [
    ('cluster = "flags"\n', "", 0, 'cluster is missing: it must be a name such as "flags", of 1..16 bytes'),
    ('"flags"', "7", 1, 'cluster must be a name such as "flags", of 1..16 bytes, not 7'),
    ('"flags"', '"seventeen letters"', 1, "cluster must be a name of 1..16 bytes in UTF-8, or 32 hexadecimal digits"),
    ('data = "data/{id}"\n', "", 12, "members.2.data is missing: write data = \"data/{id}\" at the top"),
    ('"data/{id}"', '"data/{name}"', 2, "data may have {id} in it and no other braces, not 'data/{name}'"),
    ('"/var/lib/flags"', '"a\\u0000"', 11, "members.1.data must not have a NUL in it"),
    ('"/var/lib/flags"', "3", 11, "members.1.data must be text in quotes, not 3"),
    ("insecure = true", "", 9, "members.1.bind is 'tcp://0.0.0.0:5601', which others can reach"),
    ("insecure = true", "insecure = 1", 3, "insecure must be true or false, not 1"),
    ("insecure = true", 'tls.cert = "a"', 8, "members.1.url is 'tcp://127.0.0.1:5601': with the table [tls] it must"),
    ('"tcp://127.0.0.1:5602"', '"tls+tcp://127.0.0.1:5602"', 14, "members.2.url is 'tls+tcp://127.0.0.1:5602'"),
    ("insecure = true", "cluster_key_file = 7", 3, "cluster_key_file must be the path of a file with a key"),
    ("[config]\n", "[confg]\n", 4, "confg is not known: is it config?"),
    ("tick_ms", "tik_ms", 5, "config.tik_ms is not known: is it tick_ms?"),
    ("tick_ms = 10", "id = 10", 5, "config.id does not belong here: an id is the name of a table, [members.1]"),
    ("tick_ms = 10", "cluster = 10", 5, "config.cluster does not belong here: the cluster's name stands at the top"),
    ("tick_ms = 10", "tick_ms = 0", 5, "config.tick_ms must be an integer in 1..60000, not 0"),
    ("tick_ms = 10", "tick_ms = 10.0", 5, "config.tick_ms must be an integer in 1..60000, not 10.0"),
    ("tick_ms = 10", 'tick_ms = [\n1,\n"two"]', 5, "config.tick_ms must be an integer in 1..60000, not [1, 'two']"),
    ("tick_ms = 10", "heartbeat_ticks = 20", 4, "config.election_ticks must be an integer in 21..100000"),
    ("tick_ms = 10", "lease_reads = true\ncheck_quorum = false", 5, "config.lease_reads=True needs check_quorum=True"),
    ("config.priority = 3", "config.priority = -3", 15, "members.2.config.priority must be an integer in 0.."),
    ("config.priority = 3", "config = 3", 15, "members.2.config must be a table, [members.2.config], not 3"),
    ("config.priority = 3", 'adress = "x"', 15, "members.2.adress is not known"),
    ("config.priority = 3", "learner = 1", 15, "members.2.learner must be true or false, not 1"),
    ("config.priority = 3", "learner = true\njoin = true", 15, "members.2.learner must not be there beside join"),
    ("[members.2]", "[members.0]", 13, "members.0 must be named by the member's id, an integer in 1..2^63-1"),
    ("[members.2]", "[members.02]", 13, "members.02 must be named by the member's id"),
    ("[members.2]", f"[members.{2**63}]", 13, f"members.{2**63} must be named by the member's id"),
    ("[members.2]", "[members.two]", 13, "members.two must be named by the member's id"),
    ('url = "tcp://127.0.0.1:5602"\n', "", 13, 'members.2.url is missing: it must be an address such as "tcp://'),
    ('url = "tcp://127.0.0.1:5602"', "url = 5602", 14, 'members.2.url must be an address such as "tcp://'),
    ('"tcp://127.0.0.1:5602"', '"127.0.0.1:5602"', 14, "members.2.url is '127.0.0.1:5602': it must begin with tcp://"),
    ('"tcp://127.0.0.1:5602"', '"tcp://127.0.0.1:0"', 14, "members.2.url is 'tcp://127.0.0.1:0': the port must"),
    ('"tcp://127.0.0.1:5602"', '"tcp://127.0.0.1:5601"', 14, "members.2.url must be its own: 'tcp://127.0.0.1:5601'"),
    ('"tcp://0.0.0.0:5601"', '"tcp://0.0.0.0"', 9, "members.1.bind is 'tcp://0.0.0.0': the port is missing"),
    ('"127.0.0.1:8081"', "8081", 10, 'members.1.admin must be an address such as "127.0.0.1:8081", not 8081'),
    ("[config]", "[config", 4, "it is not TOML: "),
    ('"flags"', '"fl', 1, "it is not TOML: "),
    ("[members.10]", "[members.1]", 17, "it is not TOML: "),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "says"), WRONG, ids=[f"{row[3][:40]}-{row[1][:12]}" for row in WRONG])
def test_a_mistake_is_told_with_its_place(impl, tmp_path, old, new, line, says):
    assert GOOD.count(old) >= 1
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(impl.ConfigError) as raised:
        impl.ClusterFile.load(path)
    place = f"{path}, line {line}: " if line else f"{path}: "
    assert str(raised.value).startswith(place + says)


def test_the_line_of_a_mistake_in_a_long_file(impl, tmp_path):
    """Values of several lines, comments and empty lines in between."""
    rows = "".join(f'# {id}\n\n[members.{id}]\nurl = """\\\n  tcp://h{id}:1"""\n\n' for id in range(1, 60))
    lines = ('cluster = "x"\ndata = "d"\n' + rows).splitlines()
    at = lines.index("[members.37]") + 1
    lines[at : at + 2] = ["url = [", "", "'x',", "]"]
    with pytest.raises(impl.ConfigError, match=f"line {at + 1}: members.37.url must be an address"):
        impl.ClusterFile.load(written(tmp_path, "\n".join(lines)))


def test_members_are_one_at_least_and_not_too_many(impl, tmp_path):
    for text, says in (
        ('cluster = "x"\n', "members must name at least one member"),
        ('cluster = "x"\nmembers = 3\n', "members must be a table"),
        ('cluster = "x"\ndata = "d"\n[members.1]\nurl = "tcp://a:1"\njoin = true\n', "members must have one"),
        ('cluster = "x"\ndata = "d"\n' + "".join(f'[members.{id}]\nurl = "tcp://a:{id}"\n' for id in range(1, 66)),
         "members must be at most 64, not 65"),
    ):  # fmt: skip
        with pytest.raises(impl.ConfigError, match=says):
            impl.ClusterFile.load(written(tmp_path, text))


def test_what_is_no_file_or_no_text_is_said(impl, tmp_path):
    with pytest.raises(impl.ConfigError, match="cannot be read: No such file"):
        impl.ClusterFile.load(tmp_path / "none.toml")
    with pytest.raises(impl.ConfigError, match="path must be the path of a file"):
        impl.ClusterFile.load(3)
    path = tmp_path / "cluster.toml"
    path.write_bytes(GOOD.encode() + b"# \xff\n")
    with pytest.raises(impl.ConfigError, match="line 20: it must be text in UTF-8"):
        impl.ClusterFile.load(path)


@pytest.mark.parametrize("id", [0, 3, "1", True, None])
def test_an_id_that_is_not_in_the_file(impl, tmp_path, id):
    path = written(tmp_path, GOOD)
    with pytest.raises(impl.ConfigError, match="id must be that of a member, one of 1, 2, 10, not"):
        impl.Node.from_file(path, id=id, state_machine=Counter())


def test_without_a_reader_of_toml_it_says_what_to_install(impl, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tomllib", None)
    path = written(tmp_path, GOOD)
    assert impl.ClusterFile.load(path).name == "flags"  # with tomli
    monkeypatch.setitem(sys.modules, "tomli", None)
    with pytest.raises(impl.UsageError, match=r"pip install 'raftx\[toml\]'"):
        impl.ClusterFile.load(path)


@pytest.mark.once
def test_nothing_is_imported_for_it_before_it_is_used():
    code = "import sys, raftx; assert not {'tomllib', 'tomli'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


def test_a_member_is_not_founded_by_the_way(impl, tmp_path):
    path = written(tmp_path, small(ports(1)))
    for make in (impl.Node.from_file, lambda *args, **more: impl.ClusterFile.load(path).storage(1)):
        with pytest.raises(impl.NotFounded, match=r"does not exist.*raftx create or with create=True"):
            make(path, id=1, state_machine=Counter())
    assert not (tmp_path / "data").exists()
    # Where a disk should be mounted, not even create founds one.
    (tmp_path / "data" / "1").mkdir(parents=True)
    for create in (False, True):
        with pytest.raises(impl.NotFounded, match=r"is empty, as one whose disk is not mounted.*raftx create"):
            impl.Node.from_file(path, id=1, state_machine=Counter(), create=create)
    assert not list((tmp_path / "data" / "1").iterdir())
    with pytest.raises(impl.UsageError, match="create must be True or False, not 'yes'"):
        impl.Node.from_file(path, id=1, state_machine=Counter(), create="yes")


def test_members_from_one_file_are_a_cluster(impl, tmp_path):
    path = written(tmp_path, small(ports(3)))
    for create, value in ((True, 5), (False, 10)):
        nodes = [impl.Node.from_file(path, id=id, state_machine=Counter(), create=create) for id in (1, 2, 3)]
        try:
            for node in nodes:
                node.start()
            for node in nodes:
                node.wait_ready(WAIT)
                assert node.configuration.voters == (1, 2, 3)
            assert nodes[0].propose(b"5", timeout=WAIT).result(WAIT).result == value
        finally:
            for node in nodes:
                node.close()
    # It is there: create does not found it again, and finds nothing to do.
    with impl.Node.from_file(path, id=1, state_machine=Counter(), create=True) as node:
        assert node.configuration.voters == (1, 2, 3)


def test_a_member_that_joins_is_added_and_the_book_has_its_address(impl, tmp_path):
    """The first member's file is older than the second member, and than its address."""
    first, second, moved = ports(3)
    older = written(tmp_path, small([first]))
    newer = tmp_path / "newer.toml"
    joining = f'[members.2]\nurl = "tcp://127.0.0.1:{second}"\njoin = true\n'
    newer.write_text(small([first]) + joining, encoding="utf-8")
    with impl.Node.from_file(older, id=1, state_machine=Counter(), create=True) as one:

        def address():
            return {each.id: each.url for each in one.members}.get(2)

        with impl.Node.from_file(newer, id=2, state_machine=Counter(), create=True):
            one.add_voter(2, f"tcp://127.0.0.1:{second}", timeout=WAIT).result(WAIT)
            change = one.move(2, f"tcp://127.0.0.1:{moved}", timeout=WAIT)
            eventually(lambda: address() == f"tcp://127.0.0.1:{moved}")
        newer.write_text(newer.read_text(encoding="utf-8").replace(str(second), str(moved)), encoding="utf-8")
        with impl.Node.from_file(newer, id=2, state_machine=Counter()) as two:
            change.result(WAIT)
            two.wait_ready(WAIT)
            assert one.propose(b"2", timeout=WAIT).result(WAIT).result == 2
    # Both again: the older file knows nothing of the second member, and need not.
    with (
        impl.Node.from_file(older, id=1, state_machine=Counter()) as one,
        impl.Node.from_file(newer, id=2, state_machine=Counter()),
    ):
        assert one.propose(b"2", timeout=WAIT).result(WAIT).result == 4
        assert address() == f"tcp://127.0.0.1:{moved}"


def test_an_address_that_is_changed_in_the_file_alone(impl, tmp_path, caplog):
    """Nobody else reads that file: the others go on looking for the member where it was, which somebody should know."""
    old, new = ports(2)
    path = written(tmp_path, small([old]))
    with impl.Node.from_file(path, id=1, state_machine=Counter(), create=True) as node:
        node.wait_ready(WAIT)
        assert node.status().disagreements == {}
    path.write_text(path.read_text(encoding="utf-8").replace(str(old), str(new)), encoding="utf-8")
    node = impl.Node.from_file(path, id=1, state_machine=Counter())
    clock = node._outside.clock = impl.ManualClock()

    def later(condition):
        clock.advance(0.1)
        return condition()

    with node:
        assert node.status().disagreements == {}  # what is replayed may change it yet
        eventually(lambda: later(lambda: "raftx move" in caplog.text))
        (sentence,) = node.status().disagreements[1]
        assert sentence.startswith("cluster.toml has this member") and f"move 1=127.0.0.1:{new})" in sentence
        assert caplog.text.count("raftx move") == 1
        moved = node.move(1, f"tcp://127.0.0.1:{new}")
        eventually(lambda: later(moved.done))
        moved.result(0)
        for _ in range(60):
            clock.advance(0.1)
            assert node.status().disagreements == {}
    assert caplog.text.count("raftx move") == 1


def test_a_learner_is_founded_as_one(impl, tmp_path):
    numbers = ports(2)
    path = written(tmp_path, small(numbers) + "learner = true\n")
    nodes = [impl.Node.from_file(path, id=id, state_machine=Counter(), create=True) for id in (1, 2)]
    try:
        for node in nodes:
            node.start()
        nodes[1].wait_ready(WAIT)
        assert (nodes[1].configuration.voters, nodes[1].configuration.learners) == ((1,), (2,))
    finally:
        for node in nodes:
            node.close()


SAFE = """\
cluster = "flags"
data = "data/{id}"

[tls]
cert = "certs/{id}.pem"
key = "certs/{id}.key"
ca = "certs/ca.pem"

[members.1]
url = "tls+tcp://127.0.0.1:5601"
bind = "tls+tcp://0.0.0.0:5601"
"""


def test_keys_and_certificates(impl, tmp_path):
    file = impl.ClusterFile.load(written(tmp_path, SAFE))
    tls = file.tls(1)
    assert (tls.cert, tls.key, tls.ca) == tuple(str(tmp_path / "certs" / name) for name in ("1.pem", "1.key", "ca.pem"))
    assert (tls.min_version, tls.renew_s, dict(tls.names)) == ("1.2", 3600, {})
    assert file.transport(1).tls == tls
    more = SAFE.replace("[members.1]", 'min_version = "1.3"\nrenew_s = 60\n[tls.names]\n1 = "a.example"\n[members.1]')
    tls = impl.ClusterFile.load(written(tmp_path, more)).tls(1)
    assert (tls.min_version, tls.renew_s, dict(tls.names)) == ("1.3", 60, {1: "a.example"})


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('cert = "certs/{id}.pem"\n', "", 4, "tls.cert is missing: it must be the path of a file in PEM"),
        ('"certs/{id}.key"', '"{name}"', 6, "tls.key may have {id} in it and no other braces"),
        ('ca = "certs/ca.pem"', 'ca = "c"\nmin_version = "1.0"', 8, 'tls.min_version must be "1.2" or "1.3"'),
        ('ca = "certs/ca.pem"', 'ca = "c"\nrenew_s = 0', 8, "tls.renew_s must be an integer in 1..10^9, not 0"),
        ('ca = "certs/ca.pem"', 'ca = "c"\nnames.x = "y"', 8, "tls.names.x must be named by a member's id"),
        ('ca = "certs/ca.pem"', 'ca = "c"\nnames.1 = 3', 8, "tls.names must be DNS names by ids"),
        ('ca = "certs/ca.pem"', 'ca = "c"\nkeys = "y"', 8, "tls.keys is not known"),
    ],
)
def test_what_is_wrong_with_keys_and_certificates(impl, tmp_path, old, new, line, said):
    path = written(tmp_path, SAFE.replace(old, new, 1))
    with pytest.raises(impl.ConfigError) as error:
        impl.ClusterFile.load(path)
    assert str(error.value).startswith(f"{path}, line {line}: {said}"), error.value


def test_a_file_with_keys_of_the_cluster(impl, tmp_path):
    """Read when a transport is made; never shown."""
    keys = tmp_path / "keys"
    file = impl.ClusterFile.load(written(tmp_path, GOOD.replace("insecure = true", 'cluster_key_file = "keys"')))
    with pytest.raises(impl.ConfigError, match=r"cluster_key_file, .*keys, cannot be read: No such file"):
        file.transport(1)
    keys.write_text(f"{'0f' * 32}\n{'f0' * 32}\n")
    keys.chmod(0o640)
    with pytest.raises(impl.ConfigError, match="can be read or written by others"):
        file.transport(1)
    keys.chmod(0o600)
    assert file.transport(1).cluster_keys == (b"\x0f" * 32, b"\xf0" * 32)
    for wrong in ("", "0f" * 31, "0f" * 33, "xy" * 32, "\u00fc", "\n".join(["0f" * 32] * 2)):
        keys.write_text(wrong, encoding="utf-8")
        with pytest.raises(impl.ConfigError, match="must have one key, or two") as error:
            file.transport(1)
        assert "0f0f" not in str(error.value) and error.value.__cause__ is None
