"""``raftx certs``, and ``raftx init --tls``: files with which a cluster starts."""

import json
import stat
from pathlib import Path

import pytest

from tests.helpers.commands import ran
from tests.helpers.ports import ports
from tests.helpers.waiting import WAIT


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Last:
    data = b""

    def apply(self, entry):
        self.data = entry.data


def test_a_cluster_of_such_files(impl):
    members = [f"{id}=127.0.0.1:{port}" for id, port in enumerate(ports(2), 1)]
    assert ran(impl, "init", *members, "--tls", "--admin-port", "0", "--cluster", "flags").code == 0
    done = ran(impl, "certs", "1", "2", "--cluster", "flags")
    assert done.code == 0 and "raftx://flags/2" in done.out and "Keep ca.key away" in done.out
    for name in ("ca.key", "1.key", "2.key"):
        assert stat.S_IMODE(Path("certs", name).stat().st_mode) == 0o600
    assert sorted(path.name for path in Path("certs").iterdir()) == [
        "1.key",
        "1.pem",
        "2.key",
        "2.pem",
        "ca.key",
        "ca.pem",
    ]
    nodes = [impl.Node.from_file("cluster.toml", id=id, state_machine=Last(), create=True).start() for id in (1, 2)]
    try:
        nodes[0].wait_ready(timeout=WAIT)
        nodes[1].propose(b"5", timeout=WAIT).result(WAIT)
    finally:
        for node in nodes:
            node.close()


def test_nothing_is_replaced_unasked(impl):
    assert ran(impl, "certs", "1", "--cluster", "flags", "--out", "keys").code == 0
    before = {path.name: path.read_bytes() for path in Path("keys").iterdir()}
    done = ran(impl, "certs", "1", "2", "--cluster", "flags", "--out", "keys")
    assert done.code == 4 and "--force" in done.err
    assert {path.name: path.read_bytes() for path in Path("keys").iterdir()} == before
    done = ran(impl, "certs", "2", "--cluster", "flags", "--out", "keys", "--json")
    assert json.loads(done.out) == {"directory": "keys", "authority_made": False, "names": {"2": "raftx://flags/2"}}
    assert ran(impl, "certs", "1", "--cluster", "flags", "--out", "keys", "--force").code == 0
    after = {path.name: path.read_bytes() for path in Path("keys").iterdir()}
    assert after["ca.key"] == before["ca.key"] and after["1.key"] != before["1.key"]
    Path("keys/ca.key").unlink()
    done = ran(impl, "certs", "3", "--cluster", "flags", "--out", "keys")
    assert done.code == 4 and "ca.key is missing beside its other half" in done.err and not Path("keys/3.key").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["1"], "--cluster"),
        (["--cluster", "x"], "Missing argument"),
        (["0", "--cluster", "x"], "must be an integer"),
        (["1", "--cluster", ""], "--cluster"),
        (["1", "--cluster", "x", "--days", "0"], "--days"),
    ],
)
def test_wrong_arguments(impl, here, arguments, said):
    done = ran(impl, "certs", *arguments)
    assert done.code == 2 and said in done.err and list(here.iterdir()) == []
