"""``raftx wal info|dump|verify``: what they say of a directory, and that they change nothing, whatever its state."""

import json
import random
import shutil

import pytest

from tests.helpers.commands import ran, spawned
from tests.helpers.directories import URLS, member, picture
from tests.helpers.implementations import module
from tests.helpers.wal import CLUSTER, SMALL, damage, records, segment

LOOKS = (["wal", "info"], ["wal", "info", "--json"], ["wal", "dump", "--data"], ["wal", "verify"])


@pytest.fixture
def whole(impl, tmp_path):
    """A member with several segments and two snapshots."""
    return member(impl, tmp_path / "n", entries=50, snapshots=(10, 20, 30))


# --- what they say ---------------------------------------------------------------------------------------


def test_info_says_whose_it_is_and_what_is_in_it(impl, whole):
    done = ran(impl, "wal", "info", whole)
    assert done.code == 0 and done.err == ""
    for text in (
        f"directory      {whole}\n",
        f"({CLUSTER.decode()!r})\n",
        "member         1\n",
        f"founded with   1 {URLS[1]}\n               2 {URLS[2]}\n",
        "log begins     behind entry 20 of term 1\n",
        "log ends       with entry 50 of term 1\n",
        "in doubt       no\n",
    ):
        assert text in done.out, text
    lines = done.out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("segment  "))
    table = lines[at : lines.index("", at)]
    # Every row ends where the others end: the last column is of numbers.
    assert len({len(line) for line in table}) == 1 and len(table) > 2


def test_info_for_programs(impl, whole):
    """These keys stay; docs/cli.md has them."""
    found = ran(impl, "wal", "info", "--json", whole).json()
    assert set(found) == {
        "directory", "in_use", "founding", "log", "segments", "snapshots", "skips", "in_doubt", "mends", "damage",
        "notes",
    }  # fmt: skip
    assert set(found["founding"]) == {
        "cluster", "id", "store", "segment_bytes", "members", "rebuilt", "restored", "base_index", "base_term",
        "origin",
    }  # fmt: skip
    assert set(found["log"]) == {
        "term", "vote", "commit", "incarnation", "base_index", "base_term", "first_index", "last_index", "last_term",
        "members", "batches", "marked",
    }  # fmt: skip
    log = found["log"]
    assert (log["base_index"], log["first_index"], log["last_index"], log["last_term"]) == (20, 21, 50, 1)
    assert (log["term"], log["vote"], log["commit"], log["incarnation"]) == (1, 1, 49, 1)
    assert log["batches"] == log["marked"] == 51
    assert found["founding"]["cluster"] == CLUSTER.hex()
    assert found["founding"]["members"]["addresses"] == {str(id): url for id, url in URLS.items()}
    assert [each["index"] for each in found["snapshots"]] == [30, 20]
    assert all(each["counts"] and not each["damage"] for each in found["snapshots"])
    last = found["segments"][-1]
    assert set(last) == {"name", "number", "size", "end", "first_batch", "last_batch", "base"}
    assert last["last_batch"] == 51 and last["size"] == SMALL and last["end"] <= SMALL
    assert not found["in_use"] and found["damage"] == [] and found["in_doubt"] == ""


def test_dump_has_the_entries_that_count(impl, tmp_path):
    """Those that were replaced do not; ``--from`` and ``--to`` are part of what is shown."""
    storage = impl.FileStorage.create(tmp_path / "n", id=1, members=[1], cluster=CLUSTER, segment_bytes=SMALL)
    storage.open(1, CLUSTER)
    envelope = b"".join(number.to_bytes(8, "little") for number in (3, 7, 12))
    h = impl.HardState
    for hard_state, first, items in (
        (h(1, 1, 0), 1, [(1, b""), (1, envelope + b"one\xff"), (1, b"two"), (1, b"three")]),
        (h(2, 1, 0), 3, [(2, b"replaced"), (2, b"four")]),
        (h(3, 1, 0), 4, [(3, b"again")]),
    ):
        storage.append(hard_state, [records(impl, first, items)])
        storage.sync()
    storage.close()
    rows = [json.loads(line) for line in ran(impl, "wal", "dump", "--json", "--data", tmp_path / "n").out.splitlines()]
    assert [(row["index"], row["term"]) for row in rows] == [(1, 1), (2, 1), (3, 2), (4, 3)]
    assert rows[0] == {
        "index": 1, "term": 1, "kind": "empty", "member": None, "life": None, "proposal": None, "bytes": 0, "data": "",
    }  # fmt: skip
    named = (rows[1][key] for key in ("kind", "member", "life", "proposal", "bytes", "data"))
    assert tuple(named) == ("command", 3, 7, 12, 4, b"one\xff".hex())
    assert bytes.fromhex(rows[2]["data"]) == b"replaced"
    some = ran(impl, "wal", "dump", "--from", "2", "--to", "3", tmp_path / "n").out.splitlines()
    assert [line.split()[0] for line in some] == ["index", "2", "3"]
    assert "data" not in some[0]
    shown = ran(impl, "wal", "dump", "--data", "--from", "2", "--to", "2", tmp_path / "n").out.splitlines()
    assert shown[1].endswith(r"  one\xff")
    assert ran(impl, "wal", "dump", "--from", "5", tmp_path / "n").out.splitlines() == some[:1]


def test_dump_of_what_sessions_propose(impl):
    """Their header is not taken for data; what is too short to have one is not taken for theirs."""
    wal, form = module(impl, "cli.wal"), module(impl, "node.session_format")
    envelope = b"".join([number.to_bytes(8, "little") for number in (3, 7, 9)])
    header = form.HEADER.pack(b"s" * 16, 1, 2, 2, form.COMMAND)
    assert wal.entry(impl.Entry(5, 2, envelope + header + b"data", 4), True) == {
        "index": 5, "term": 2, "kind": "session", "member": 3, "life": 7, "proposal": 9, "bytes": 4,
        "data": b"data".hex(),
    }  # fmt: skip
    assert wal.entry(impl.Entry(6, 2, envelope + header[:-1], 4), False)["member"] is None


def test_dump_goes_over_segments_and_begins_behind_the_base(impl, whole):
    rows = ran(impl, "wal", "dump", whole).out.splitlines()[1:]
    assert [int(row.split()[0]) for row in rows] == list(range(21, 51))


def test_a_fresh_directory(impl, tmp_path):
    """It was founded and never opened."""
    impl.FileStorage.create(tmp_path / "n", id=2, members=URLS, cluster=CLUSTER)
    before = picture(tmp_path / "n")
    found = ran(impl, "wal", "info", "--json", tmp_path / "n").json()
    assert (found["log"]["last_index"], found["segments"], found["log"]["incarnation"]) == (0, [], 0)
    assert ran(impl, "wal", "verify", tmp_path / "n").out.startswith("whole: 0 segments, 0 batches")
    assert len(ran(impl, "wal", "dump", tmp_path / "n").out.splitlines()) == 1
    assert picture(tmp_path / "n") == before


# --- that they change nothing ----------------------------------------------------------------------------


def torn(impl, path):
    """The last batch was not written whole, and its mark not at all."""
    format = module(impl, "storage.wal_format")
    from tests.helpers.wal import marks, put_mark

    known = marks(impl, path)
    data = bytearray(segment(path).read_bytes())
    at = known[-2].position
    data[at + 512 : at + 4096] = bytes(4096 - 512)
    segment(path).write_bytes(data)
    put_mark(impl, path, known[-2], known[-2])
    assert format.BLOCK == 4096


def without_mark(impl, path):
    (path / "wal.mark").unlink()


def with_leftovers(impl, path):
    """Files that the next opening removes."""
    (path / "wal.spare").write_bytes(bytes(100))
    (path / f"snapshot-{1:016x}-{9:016x}.raftx.new").write_bytes(b"x")
    (path / f"snapshot-{1:016x}-{99:016x}.raftx.part").write_bytes(b"x")
    (path / "notes.txt").write_text("mine")


def with_half_a_segment(impl, path):
    """The header of the next segment was not written whole."""
    name = sorted(path.glob("wal-*.log"))[-1].name
    number = int(name[4:20], 16) + 1
    head = bytearray(sorted(path.glob("wal-*.log"))[-1].read_bytes()[:4096])
    head[:512] = bytes(512)
    head[600] = 1
    segment(path, number).write_bytes(bytes(head) + bytes(SMALL - 4096))


def with_a_damaged_snapshot(impl, path):
    name = sorted(path.glob("snapshot-*"))[-1]
    data = bytearray(name.read_bytes())
    data[-1] ^= 1
    name.write_bytes(data)


def with_damage(impl, path):
    damage(path)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (torn, 0, "the next start repairs wal-0000000000000001.log at byte"),
        (without_mark, 0, "the member is in doubt: wal.mark is missing"),
        (with_leftovers, 0, "whole: "),
        (with_half_a_segment, 0, "its header was not written whole"),
        (with_a_damaged_snapshot, 1, "goes on with the one before or with the log"),
        (with_damage, 1, "put back the files of this directory"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_no_byte_and_no_file_is_changed(impl, tmp_path, change, code, said):
    """And what they say agrees with what an opening does afterwards."""
    path = member(impl, tmp_path / "n", entries=6, snapshots=(2, 4))
    change(impl, path)
    before = picture(path)
    for arguments in LOOKS:
        done = ran(impl, *arguments, path)
        assert done.code in ((0, 1) if code else (0,)), (arguments, done.err)
    assert done.code == code and said in done.out
    assert ran(impl, "wal", "verify", "--json", path).json()["whole"] is (code == 0)
    assert picture(path) == before
    storage = impl.FileStorage(path)
    if change is with_damage:
        with pytest.raises(impl.WalDamaged):
            storage.open(1, CLUSTER)
        assert picture(path)["founding"] == before["founding"]
    else:
        storage.open(1, CLUSTER)
        assert bool(storage.doubt) == (change is without_mark)
    storage.close()


def test_an_only_voter_in_doubt_does_not_start(impl, tmp_path):
    """Nobody could help it out of the doubt: verify and info say so, as the opening does, with the remedy."""
    path = member(impl, tmp_path / "n", entries=6, members={1: URLS[1]})
    (path / "wal.mark").unlink()
    before = picture(path)
    done = ran(impl, "wal", "verify", path)
    assert done.code == 1 and "whole" not in done.out
    rows = dict(line.split("  ", 1) for line in done.out.splitlines())
    assert rows["does not start"].strip() == "wal.mark"
    assert rows["reason"].strip().startswith("wal.mark is missing: something that was acknowledged may be missing")
    assert "FileStorage(accept_loss=True)" in rows["remedy"] and "raftx restore" in rows["remedy"]
    found = ran(impl, "wal", "verify", "--json", path)
    assert found.code == 1 and found.json()["whole"] is False and found.json()["in_doubt"]
    (damage,) = found.json()["damage"]
    assert damage["file"] == "wal.mark" and "only voter" in damage["reason"]
    told = ran(impl, "wal", "info", path)
    assert told.code == 1 and "it is the only voter" in told.err
    assert picture(path) == before
    with pytest.raises(impl.WalDamaged, match="No other voter has a copy"):
        impl.FileStorage(path).open(1, CLUSTER)
    # Both ways out work: to go on with what is there, and to accept the loss.
    assert ran(impl, "recover", "--accept-loss", path, "--json").json()["last_index"] == 6


@pytest.mark.slow
def test_verify_finds_what_an_opening_refuses(impl, tmp_path, tell):
    """Bits that are flipped anywhere: the two judge by the same code, and one changes nothing."""
    path = member(impl, tmp_path / "n", entries=12, size=900, snapshots=(4, 8))
    rng = random.Random(5)
    refused = 0
    files = [each for each in sorted(path.iterdir()) if each.suffix != ".raftx"]
    for number in range(60):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(path, copy)
        victim = copy / rng.choice(files).name
        data = bytearray(victim.read_bytes())
        end = len(data.rstrip(b"\0")) + 600
        bit = rng.randrange(8 * min(end, len(data)))
        data[bit // 8] ^= 1 << bit % 8
        victim.write_bytes(data)
        before = picture(copy)
        done = ran(impl, "wal", "verify", "--json", copy)
        assert picture(copy) == before
        storage = impl.FileStorage(copy)
        try:
            storage.open(1, CLUSTER)
            opens = True
        except (impl.WalDamaged, impl.SnapshotDamaged):
            opens = False
        finally:
            storage.close()
        assert (done.code, done.json()["whole"]) == ((0, True) if opens else (1, False)), (number, victim.name, bit)
        if not opens:
            refused += 1
            (damage,) = done.json()["damage"]
            assert damage["file"] == victim.name or victim.name in ("wal.mark", "founding"), (damage, victim.name)
            assert damage["remedy"] and damage["reason"]
            # It is near the bit, or before it where the bit belongs to a header.
            assert damage["file"] != victim.name or damage["place"] <= bit // 8
        elif storage.doubt:
            assert done.json()["in_doubt"]
    tell(f"{refused} of 60 flipped bits were refused by both")
    assert refused > 10


def test_file_place_reason_and_remedy(impl, tmp_path):
    path = member(impl, tmp_path / "n", entries=3, size=100)
    with_damage(impl, path)
    done = ran(impl, "wal", "verify", path)
    assert done.code == 1
    lines = [line.split(None, 1) for line in done.out.splitlines()]
    assert lines[0] == ["damaged", segment(path).name]
    assert done.out.splitlines()[1] == "at byte  4,096"
    assert "the header is damaged" in done.out.splitlines()[2]
    assert done.out.splitlines()[3].startswith("remedy   Nothing was changed. Look for what happened to the disk")
    # What came before the damage can be read.
    told = ran(impl, "wal", "dump", path)
    assert told.code == 1 and "wal-0000000000000001.log at byte 4,096" in told.err
    for done in (told, ran(impl, "wal", "info", path), ran(impl, "recover", path, "--accept-loss")):
        assert done.code == 1 and done.err.count("at byte 4,096") == 1, done.err


def test_a_log_whose_snapshots_are_gone(impl, whole):
    """Whether its member starts depends on the state machine: it is told, and is no damage."""
    for file in whole.glob("snapshot-*"):
        file.unlink()
    text = "the log begins behind entry 20, and no snapshot reaches so far"
    done = ran(impl, "wal", "verify", whole)
    assert done.code == 0 and done.out.startswith(f"note: {text}") and "\nwhole: " in done.out
    assert "does not start" in done.out and "raftx wal rebuild" in done.out
    for words in (["wal", "verify", "--json"], ["wal", "info", "--json"]):
        (note,) = ran(impl, *words, whole).json()["notes"]
        assert note.startswith(text)
    info = ran(impl, "wal", "info", whole)
    assert info.code == 0 and text in " ".join(info.out.split())
    # Who is told to rebuild it is not told that it is whole.
    rebuild = ran(impl, "wal", "rebuild", whole)
    assert rebuild.code == 4 and text in " ".join(rebuild.err.split()) and "is whole" not in rebuild.err
    assert text in " ".join(ran(impl, "recover", whole).err.split())


def test_a_snapshot_that_is_needed_and_missing_is_named(impl, tmp_path):
    """The founding says that there was one."""
    path = member(impl, tmp_path / "old", entries=50, snapshots=(10, 20, 30))
    file = next(iter(sorted(path.glob("snapshot-*"))))
    restored = impl.FileStorage.restore(tmp_path / "n", file, id=1, members=[1], cluster="another")
    assert restored.cluster != CLUSTER
    (tmp_path / "n" / file.name).unlink()
    done = ran(impl, "wal", "verify", tmp_path / "n")
    lines = [line.split(None, 1) for line in done.out.splitlines()]
    assert done.code == 1 and lines[0] == ["damaged", file.name]
    assert f"{file.name}, or a later one, is missing" in done.out


def test_the_end_of_a_damaged_log_can_be_read_up_to_there(impl, tmp_path):
    path = member(impl, tmp_path / "n", entries=5, size=100)
    data = bytearray(segment(path).read_bytes())
    data[4 * 4096 + 40] ^= 1  # the batch of entry 3
    segment(path).write_bytes(data)
    done = ran(impl, "wal", "dump", path)
    assert done.code == 1 and [line.split()[0] for line in done.out.splitlines()[1:]] == ["1", "2"]
    found = ran(impl, "wal", "info", "--json", path)
    assert found.code == 1 and found.json()["log"]["last_index"] == 2
    assert found.json()["damage"][0]["place"] == 4 * 4096


# --- a directory that is in use ----------------------------------------------------------------------------


def test_a_directory_that_a_node_holds(impl, whole):
    """It goes on undisturbed, and may begin while somebody looks."""
    storage = impl.FileStorage(whole)
    storage.open(1, CLUSTER)
    try:
        before = picture(whole)
        for arguments in LOOKS:
            assert ran(impl, *arguments, whole).code == 0
        assert ran(impl, "wal", "info", "--json", whole).json()["in_use"]
        said = "a node runs here now: what is shown may be behind, and counts may move while they are read"
        assert f"in use         yes: {said}\n" in ran(impl, "wal", "info", whole).out
        assert ran(impl, "wal", "verify", whole).out.startswith(f"{said}\n")
        assert picture(whole) == before
    finally:
        storage.close()
    with module(impl, "storage.look").look(whole) as seen:
        assert not seen.in_use
        storage.open(1, CLUSTER)
        storage.close()


@pytest.mark.slow
def test_looks_at_a_log_that_is_written_meanwhile(impl, tmp_path):
    """Segments are made, begun, removed and used again: nothing of that is damage."""
    path = tmp_path / "n"
    storage = impl.FileStorage.create(path, id=1, members=[1], cluster=CLUSTER, segment_bytes=SMALL)
    storage.open(1, CLUSTER)
    look = module(impl, "storage.look")
    real, at = look.Recovery.examine, [0]

    def write(count):
        for _ in range(count):
            at[0] += 1
            storage.append(impl.HardState(1, 1, at[0] - 1), [records(impl, at[0], [(1, bytes(9000))])])
            storage.sync()
        if at[0] > 20:
            storage.compact(at[0] - 10, 1, impl.ConfState(voters=(1,)))

    try:
        write(30)

        def examine(recovery):
            names = recovery.directory.names

            def listed():
                found = names()
                write(13)
                return found

            # Between the names and what is read under them.
            recovery.directory = Changing(recovery.directory, listed)
            real(recovery)

        for _ in range(8):
            look.Recovery.examine = examine
            calls = [0]

            def once(recovery, calls=calls):
                calls[0] += 1
                (examine if calls[0] < 4 else real)(recovery)

            look.Recovery.examine = once
            done = ran(impl, "wal", "verify", path)
            assert done.code == 0, done.out + done.err
            assert calls[0] > 1 or "whole" in done.out
    finally:
        look.Recovery.examine = real
        storage.close()


class Changing:
    """A directory in which something happens after its names were read."""

    def __init__(self, directory, names):
        self.directory, self.names, self.path = directory, names, directory.path

    def open_file(self, *arguments, **settings):
        return self.directory.open_file(*arguments, **settings)


# --- odd input ---------------------------------------------------------------------------------------------


def damaged_founding(impl, path):
    member(impl, path, entries=1)
    (path / "founding").write_bytes(b"RAFTXFND" + bytes(150))


def lost_founding(impl, path):
    member(impl, path, entries=1)
    (path / "founding").unlink()


def other_version(impl, path):
    import zlib

    member(impl, path, entries=1)
    data = bytearray((path / "founding").read_bytes())
    data[8] = data[20] = 9
    data[12:16] = zlib.crc32(data[16:]).to_bytes(4, "little")
    (path / "founding").write_bytes(data)


@pytest.mark.parametrize(
    ("make", "code", "said"),
    [
        (lambda impl, path: None, 3, "No such file or directory"),
        (lambda impl, path: path.write_bytes(b"x"), 3, "Not a directory"),
        (lambda impl, path: path.mkdir(), 3, "holds no member.*look whether its disk is mounted"),
        (damaged_founding, 1, "the file founding is damaged"),
        (lost_founding, 1, "the file founding is missing, and wal.mark of a member is there"),
        (other_version, 3, "format version 9; this raftx reads version 3"),
    ],
    ids=["missing", "file", "empty", "founding", "no founding", "version"],
)
def test_directories_that_cannot_be_read(impl, tmp_path, make, code, said):
    """One sentence, which names the directory, and the code that is documented."""
    import re

    path = tmp_path / "n"
    make(impl, path)
    for arguments in LOOKS:
        done = ran(impl, *arguments, path)
        text = done.out + done.err
        assert done.code == code, (arguments, text)
        assert re.search(said, text), text
        assert str(path) in text or code == 1
        if done.err:
            assert done.err.startswith("raftx: ") and done.err.count("\n") == 1


def test_what_may_not_be_read(impl, tmp_path, monkeypatch):
    path = member(impl, tmp_path / "n", entries=1)
    look = module(impl, "storage.look")

    def refuse(name, *_):
        raise PermissionError(13, "Permission denied", str(name))

    monkeypatch.setattr(look, "is_in_use", refuse)
    done = ran(impl, "wal", "info", path)
    assert (done.code, done.err) == (3, f"raftx: cannot read {path}: Permission denied\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["wal"], ["wal", "info"], ["wal", "info", ""], ["wal", "frob", "x"], ["wal", "dump", "x", "--from", "0"],
        ["wal", "dump", "x", "--to", "-1"], ["wal", "dump", "x", "--from", "1.5"], ["wal", "info", "a", "b"],
        ["wal", "dump", "--from", "7", "--to", "6", "x"], ["snapshot", "info"], ["wal", "info", "a\0b"],
    ],
    ids=repr,
)  # fmt: skip
def test_wrong_arguments(impl, arguments):
    done = ran(impl, *arguments)
    assert done.code == 2 and done.err and done.out == ""


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.once
def test_a_name_that_is_no_text(tmp_path, encoding):
    """Any bytes may be a name; any encoding a terminal's."""
    import os

    import raftx

    path = os.fsencode(tmp_path) + b"/n\xff\xc3\xa9"
    member(raftx, os.fsdecode(path), entries=1)
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for arguments in (["info"], ["info", "--json"], ["verify"], ["dump"]):
        done = spawned("wal", *arguments, path, env=environment)
        assert done.returncode == 0 and done.stderr == b"", done.stderr
    done = spawned("wal", "info", path + b"x", env=environment)
    assert done.returncode == 3 and done.stderr.count(b"\n") == 1 and b"n\\udcff" in done.stderr


@pytest.mark.once
def test_a_reader_that_has_enough(tmp_path):
    """``| head``: no traceback, and the code of a process that SIGPIPE ended."""
    import subprocess
    import sys

    import raftx
    from tests.helpers.paths import ROOT

    storage = impl_log(raftx, tmp_path / "n")
    assert storage
    command = [sys.executable, "-m", "raftx", "wal", "dump", "--data", str(tmp_path / "n")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout.readline().split()[:2] == [b"index", b"term"]
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def impl_log(impl, path):
    storage = impl.FileStorage.create(path, id=1, members=[1], cluster=CLUSTER, segment_bytes=1 << 20)
    storage.open(1, CLUSTER)
    storage.append(impl.HardState(1, 1, 0), [records(impl, 1, [(1, b"%d " % n + bytes(100)) for n in range(5000)])])
    storage.sync()
    storage.close()
    return storage


@pytest.mark.once
def test_a_terminal_that_is_narrow(tmp_path):
    """A long line of a dump ends where the window does; that of a pipe does not."""
    import os
    import pty
    import subprocess
    import sys

    import raftx
    from tests.helpers.paths import ROOT

    path = member(raftx, tmp_path / "n", entries=1, size=500)
    command = [sys.executable, "-m", "raftx", "wal", "dump", "--data", str(path)]
    ours, theirs = pty.openpty()
    try:
        environment = {**os.environ, "COLUMNS": "72", "PYTHONIOENCODING": "utf-8"}
        subprocess.run(command, stdout=theirs, cwd=ROOT, env=environment, timeout=60, check=True)
        lines = os.read(ours, 65536).decode().split("\r\n")
    finally:
        os.close(ours)
        os.close(theirs)
    assert len(lines[1]) == 72 and lines[1].endswith("…")
    assert len(spawned("wal", "dump", "--data", path).stdout.splitlines()[1]) > 500


@pytest.mark.once
def test_help_has_the_exit_codes():
    for arguments in ([], ["wal"], ["wal", "dump"], ["snapshot"]):
        done = spawned(*arguments, "--help")
        assert done.returncode == 0 and done.stdout.startswith(b"Usage: raftx")
    text = spawned("--help").stdout.decode()
    lines = [line.split(maxsplit=1) for line in text[text.index("Exit codes:") :].splitlines()[1:]]
    assert [code for code, _ in lines] == ["0", "1", "2", "3", "4", "5", "6", "7", "130,"]
    assert spawned("--version").stdout.startswith(b"raftx ")
