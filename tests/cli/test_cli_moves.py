"""``raftx restore``, ``raftx wal rebuild``, ``raftx recover`` and ``raftx snapshot``: arguments, output, exit codes."""

import pytest

from tests.helpers.commands import ran
from tests.helpers.directories import URLS, descriptor, member, picture, state
from tests.helpers.implementations import module
from tests.helpers.wal import CLUSTER, damage

MEMBERS = ",".join(f"{id}={url}" for id, url in URLS.items())


@pytest.fixture
def backup(impl, tmp_path):
    """A backup's file."""
    writer = module(impl, "storage.snapshot_copy").BackupWriter(tmp_path / "backup", descriptor(impl, 7, 2), False)
    writer.write(state(7))
    writer.finish()
    return tmp_path / "backup"


# --- snapshot ----------------------------------------------------------------------------------------------


def test_snapshot_info_and_verify(impl, backup):
    before = picture(backup.parent)
    found = ran(impl, "snapshot", "info", "--json", backup)
    assert found.code == 0
    assert {key: found.json()[key] for key in ("cluster", "index", "term", "version", "size", "compressed")} == {
        "cluster": CLUSTER.hex(), "index": 7, "term": 2, "version": 2, "size": len(state(7)), "compressed": False,
    }  # fmt: skip
    assert set(found.json()) == {
        "cluster", "index", "term", "members", "version", "incarnation", "size", "stored", "compressed", "chunk_bytes",
        "chunks", "digest",
    }  # fmt: skip
    text = ran(impl, "snapshot", "info", backup).out
    assert "after entry     7 of term 2\n" in text and f"members         1 {URLS[1]}\n" in text
    assert ran(impl, "snapshot", "verify", backup).out == "whole: the state after entry 7, 56 bytes\n"
    verified = ran(impl, "snapshot", "verify", "--json", backup).json()
    assert verified["whole"] and verified["file"] == str(backup) and verified["index"] == 7
    assert picture(backup.parent) == before


def test_a_snapshot_that_is_damaged(impl, backup):
    whole = backup.read_bytes()
    for at in (0, 20, 60, 4096, len(whole) - 1):
        data = bytearray(whole)
        data[at] ^= 1
        backup.write_bytes(data)
        done = ran(impl, "snapshot", "verify", backup)
        assert done.code == 1 and str(backup) in done.err and "take another backup" in done.err
        assert done.err.count("\n") == 1
        found = ran(impl, "snapshot", "verify", "--json", backup)
        assert found.code == 1 and not found.json()["whole"] and found.json()["reason"] and found.json()["remedy"]
    for name, code, said in (
        ("missing", 3, "No such file or directory"),
        (".", 3, "is no file"),
        ("backup/x", 3, "Not a directory"),
    ):
        done = ran(impl, "snapshot", "info", backup.parent / name)
        assert (done.code, said in done.err, done.err.count("\n")) == (code, True, 1), done.err


def test_several_snapshots_at_once(impl, tmp_path, backup):
    """Each is told; one that cannot be read keeps the others from nothing."""
    other = tmp_path / "other"
    other.write_bytes(backup.read_bytes())
    text = ran(impl, "snapshot", "info", backup, other)
    assert text.code == 0 and text.out.count("after entry     7 of term 2\n") == 2
    blocks = [block.splitlines()[0].split() for block in text.out.split("\n\n")]
    assert blocks == [["file", str(backup)], ["file", str(other)]]
    one = ran(impl, "snapshot", "info", "--json", backup).json()
    found = ran(impl, "snapshot", "info", "--json", backup, other).json()
    assert found == {"snapshots": [{"file": str(each), **one} for each in (backup, other)]}
    backup.write_text("x" * 9000)
    for files, code in (((backup, other), 1), ((tmp_path / "missing", other), 3)):
        done = ran(impl, "snapshot", "info", "--json", *files)
        assert done.code == code and str(files[0]) in done.err
        assert [each["file"] for each in done.json()["snapshots"]] == [str(other)]


# --- restore -----------------------------------------------------------------------------------------------


def test_restore_begins_a_cluster(impl, tmp_path, backup):
    """The name is drawn for the first member and given to the others."""
    done = ran(impl, "restore", backup, tmp_path / "1", "--id", "1", "--members", MEMBERS)
    assert done.code == 0 and "begins behind  entry 7 of term 2\n" in done.out
    (cluster,) = {line.split()[1] for line in done.out.splitlines() if line.startswith("cluster ")}
    assert f"--cluster {cluster}" in done.out and f'bytes.fromhex("{cluster}")' in done.out
    arguments = ("--id", "2", "--members", MEMBERS, "--cluster", cluster, "--json", "--segment-bytes", "65536")
    found = ran(impl, "restore", backup, tmp_path / "2", *arguments).json()
    assert found == {"directory": str(tmp_path / "2"), "id": 2, "cluster": cluster, "index": 7, "term": 2}
    seen = ran(impl, "wal", "info", "--json", tmp_path / "2").json()
    assert seen["founding"]["segment_bytes"] == 65536 and seen["founding"]["restored"]
    assert seen["founding"]["members"]["addresses"] == {str(id): url for id, url in URLS.items()}
    storage = impl.FileStorage(tmp_path / "1")
    assert storage.open(1, bytes.fromhex(cluster)).base_index == 7
    storage.close()
    again = ran(impl, "restore", backup, tmp_path / "1", "--id", "1", "--members", "1")
    assert again.code == 4 and "holds a member already" in again.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--id", "1"], 2, "--members"),
        (["--members", "1"], 2, "--id"),
        (["--id", "0", "--members", "1"], 2, "must be an integer"),
        (["--id", "x", "--members", "1"], 2, "must be an integer"),
        (["--id", "4", "--members", "1,2"], 2, "id must be one of the members"),
        (["--id", "1", "--members", "1,1"], 2, "must not name a member twice"),
        (["--id", "1", "--members", "1,2=tcp://b:1"], 2, "an address for every member, or for none"),
        (["--id", "1", "--members", "1=,2="], 2, "an address for every member, or for none"),
        (["--id", "1", "--members", ""], 2, "must be an integer"),
        (["--id", "1", "--members", "1,2", "--learners", "2"], 2, "different ids"),
        (
            ["--id", "1", "--members", "1", "--cluster", 17 * "a"],
            2,
            "must be a name of 1..16 bytes in UTF-8",
        ),
        (["--id", "1", "--members", "1", "--cluster", CLUSTER.hex()], 2, "must be another one"),
        (["--id", "1", "--members", "1", "--segment-bytes", "1"], 2, "segment_bytes must be"),
    ],
    ids=repr,
)
def test_what_cannot_be_restored(impl, tmp_path, backup, arguments, code, said):
    done = ran(impl, "restore", backup, tmp_path / "n", *arguments)
    assert done.code == code and said in done.err and not (tmp_path / "n").exists()


def test_a_damaged_backup_is_not_restored(impl, tmp_path, backup):
    backup.write_bytes(backup.read_bytes()[:-1] + b"?")
    done = ran(impl, "restore", backup, tmp_path / "n", "--id", "1", "--members", "1")
    assert done.code == 1 and "chunk 0 is damaged" in done.err and not (tmp_path / "n").exists()


# --- rebuild -----------------------------------------------------------------------------------------------


def test_rebuild(impl, tmp_path):
    path = member(impl, tmp_path / "n", entries=4)
    refused = ran(impl, "wal", "rebuild", path)
    assert refused.code == 4 and " ".join(refused.err.split()).endswith("accept that: --accept-loss")
    assert "is whole" in " ".join(refused.err.split())
    damage(path)
    done = ran(impl, "wal", "rebuild", path)
    assert done.code == 0 and "in doubt until a leader has brought it up to date" in done.out
    (aside,) = (each for each in tmp_path.iterdir() if each != path)
    assert f"what was there  {aside}\n" in done.out and aside.name.startswith("n.damaged-")
    assert ran(impl, "wal", "info", "--json", path).json()["in_doubt"]
    assert "rebuilt        with nothing" in ran(impl, "wal", "info", path).out
    assert ran(impl, "wal", "verify", aside).code == 1


def test_rebuild_of_what_is_gone(impl, tmp_path):
    done = ran(impl, "wal", "rebuild", tmp_path / "n")
    assert done.code == 3 and "say it with id, members and cluster" in done.err
    arguments = ("--id", "2", "--members", MEMBERS, "--cluster", CLUSTER.hex())
    found = ran(impl, "wal", "rebuild", tmp_path / "n", *arguments, "--json")
    assert found.code == 0
    assert {**found.json(), "members": None} == {
        "directory": str(tmp_path / "n"), "aside": None, "id": 2, "cluster": CLUSTER.hex(), "in_doubt": True,
        "members": None,
    }  # fmt: skip
    assert ran(impl, "wal", "rebuild", tmp_path / "n", "--members", "1,2").code == 2


def test_rebuild_by_the_file_of_the_cluster(impl, tmp_path, monkeypatch):
    """Where nothing of the directory is left, the file has all of it; where it says something, that counts."""
    monkeypatch.chdir(tmp_path)
    for arguments, said in (([], "which member"), (["--id", "2", "--members", "1,2"], "not with both")):
        done = ran(impl, "wal", "rebuild", *arguments)
        assert done.code == 2 and said in done.err
    assert ran(impl, "wal", "rebuild", "--id", "2").code == 2  # there is no file
    members = ["1=a:1", "2=b:1", "3=c:1", "4=d:1", "--learner", "4", "--insecure"]
    assert ran(impl, "init", *members, "--cluster", CLUSTER.decode()).code == 0
    with open("cluster.toml", "a", encoding="utf-8") as file:
        file.write('[members.5]\nurl = "tcp://e:1"\njoin = true\n')
    done = ran(impl, "wal", "rebuild", "--id", "2", "--json")
    found = done.json()
    assert (done.code, found["id"], found["in_doubt"]) == (0, 2, True)
    assert found["directory"] == str(tmp_path / "data" / "2") and found["cluster"] == CLUSTER.hex()
    assert (found["members"]["voters"], found["members"]["learners"]) == ([1, 2, 3], [4])
    assert found["members"]["addresses"]["2"] == "tcp://b:1"
    other = ran(impl, "wal", "rebuild", "--id", "5", "--config", "cluster.toml", tmp_path / "else", "--json").json()
    assert (other["directory"], other["members"]["voters"]) == (str(tmp_path / "else"), [])
    assert ran(impl, "wal", "rebuild", "--id", "2", "--cluster", "other").code == 2
    assert ran(impl, "wal", "rebuild", "--id", "9").code == 2
    path = member(impl, tmp_path / "n", entries=4, members=[1, 2, 7])
    damage(path)
    kept = ran(impl, "wal", "rebuild", path, "--id", "1", "--config", "cluster.toml", "--json").json()
    assert kept["members"]["voters"] == [1, 2, 7]


def test_a_cluster_by_its_name(impl, tmp_path):
    arguments = ("--id", "2", "--members", MEMBERS, "--cluster", "flags", "--json")
    found = ran(impl, "wal", "rebuild", tmp_path / "n", *arguments).json()
    assert found["cluster"] == b"flags".ljust(16, b"\0").hex()


def test_rebuild_of_a_sole_voter(impl, tmp_path):
    path = member(impl, tmp_path / "n", entries=4, members=[1])
    damage(path)
    before = picture(path)
    done = ran(impl, "wal", "rebuild", path)
    assert done.code == 4 and "everything that was ever acknowledged is lost" in " ".join(done.err.split())
    assert "--accept-loss" in done.err and picture(path) == before
    assert "The member begins with nothing." in ran(impl, "wal", "rebuild", path, "--accept-loss").out


# --- recover -----------------------------------------------------------------------------------------------


def test_recover(impl, tmp_path):
    path = member(impl, tmp_path / "n", entries=4)
    before = picture(path)
    refused = ran(impl, "recover", path)
    assert refused.code == 4 and picture(path) == before
    for text in (
        "ends with entry 4 of term 1",
        "up to 3 to be committed",
        "is lost",
        "(raftx wal info)",
        "--accept-loss",
    ):
        assert text in " ".join(refused.err.split())
    # A paragraph for each sentence, no wider than a terminal.
    paragraphs = refused.err.split("\n\n")
    assert len(paragraphs) > 3 and paragraphs[1].startswith("To recover means")
    assert max(map(len, refused.err.splitlines())) <= 100
    done = ran(impl, "recover", path, "--accept-loss")
    assert done.code == 0 and "log ends        with entry 4 of term 1, of which 3 are known as committed" in done.out
    seen = ran(impl, "wal", "info", "--json", path).json()
    assert seen["founding"]["members"]["voters"] == [1] and seen["log"]["last_index"] == 4
    assert f'Config(cluster=bytes.fromhex("{seen["founding"]["cluster"]}"))' in done.out


def test_recover_of_two(impl, tmp_path):
    """Two of five are left: both come from their logs, and know it."""
    cluster = bytes(range(16)).hex()
    arguments = ("--members", "1,2", "--learners", "3", "--cluster", cluster, "--accept-loss")
    for id in (1, 2):
        path = member(impl, tmp_path / str(id), entries=4, members=[1, 2, 3, 4, 5], id=id)
        done = ran(impl, "recover", path, *arguments)
        assert done.code == 0 and "found none of them anew" in done.out
        found = ran(impl, "wal", "info", "--json", path).json()["founding"]
        assert (found["cluster"], found["members"]["voters"], found["members"]["learners"]) == (cluster, [1, 2], [3])
    again = ran(impl, "recover", tmp_path / "1", *arguments)
    assert again.code == 2 and "cluster must be another one than before" in again.err


def test_recover_of_what_is_damaged_or_missing(impl, tmp_path):
    path = member(impl, tmp_path / "n", entries=4)
    damage(path)
    done = ran(impl, "recover", path, "--accept-loss")
    assert done.code == 1 and "at byte 4,096" in done.err and "raftx restore" in done.err
    assert ran(impl, "recover", tmp_path / "missing", "--accept-loss").code == 3
    storage = impl.FileStorage.create(tmp_path / "used", id=1, members=[1], cluster=CLUSTER)
    storage.open(1, CLUSTER)
    for command in (["recover"], ["wal", "rebuild"]):
        done = ran(impl, *command, tmp_path / "used", "--accept-loss")
        assert done.code == 3 and "in use" in done.err
    storage.close()
