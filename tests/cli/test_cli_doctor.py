"""``raftx doctor`` and what it decides: facts of every kind with their verdicts, and a whole examination."""

import os
import socket
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.helpers.admin_server import Made, serving
from tests.helpers.commands import ran
from tests.helpers.implementations import module
from tests.helpers.ports import ports


@pytest.fixture
def verdict(impl):
    return module(impl, "measure.verdict")


@pytest.fixture
def host(impl):
    return module(impl, "measure.host")


# --- what facts mean -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("latencies", "level"),
    [
        ([1.0] * 100, "bad"),  # memory
        ([7.9] * 100, "bad"),
        ([8.0] * 100, "good"),
        ([2000.0] * 100, "good"),
        ([2000.0] * 98 + [60_000.0] * 2, "fair"),
        ([2000.0] * 98 + [1_000_001.0] * 2, "bad"),
    ],
    ids=["memory", "nearly", "fast", "disk", "slow", "stuck"],
)
def test_syncs(verdict, latencies, level):
    found = verdict.of_sync(latencies)
    assert found.level == level and bool(found.remedy) == (level != "good")


@pytest.mark.parametrize(
    ("kind", "options", "skipper", "levels"),
    [
        ("ext4", "rw,relatime", "", ["good"]),
        ("tmpfs", "rw", "", ["bad"]),
        ("overlay", "rw", "", ["fair"]),
        ("nfs4", "rw", "", ["fair"]),
        ("ext4", "rw,nobarrier", "", ["bad"]),
        ("ext3", "rw,barrier=0", "", ["bad"]),
        ("", "", "", ["good"]),
        ("xfs", "rw", "libeatmydata.so", ["good", "bad"]),
    ],
)
def test_file_systems(verdict, host, kind, options, skipper, levels):
    found = verdict.of_file_system(host.FileSystem(kind, "dev", "/", options), skipper)
    assert [each.level for each in found] == levels
    assert all(bool(each.remedy) == (each.level != "good") for each in found)


MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:5 / /srv rw - tmpfs none rw,size=1g
24 23 0:6 / /srv/raft\040data rw,noatime - xfs /dev/sdb1 rw,nobarrier
25 22 0:7 / /over rw - ext4 /dev/sdc rw
26 22 0:8 / /over rw - overlay overlay rw
this is no line of it
"""


@pytest.mark.parametrize(
    ("path", "kind", "mount"),
    [
        ("/", "ext4", "/"), ("/home/x", "ext4", "/"), ("/srv", "tmpfs", "/srv"), ("/srvx", "ext4", "/"),
        ("/srv/raft data/1", "xfs", "/srv/raft data"), ("/over/x", "overlay", "/over"),
    ],
)  # fmt: skip
def test_which_file_system(host, path, kind, mount):
    found = host.file_system(path, MOUNTS)
    assert (found.kind, found.mount) == (kind, mount)
    assert ("nobarrier" in found.options) == (kind == "xfs")


def test_the_file_system_of_memory_is_known(host):
    assert host.file_system("/dev/shm").kind in ("tmpfs", "")
    assert host.existing("/no/such/directory") == host.Path("/")


def test_limits(impl, verdict):
    config = impl.Config(id=1)

    def levels(files, free, memory):
        return [each.level for each in verdict.of_limits(files, free, memory, config)]

    assert levels(-1, 1 << 40, 1 << 40) == ["good"] * 3
    assert levels(1023, (1 << 30) - 1, 1 << 20) == ["fair"] * 3
    assert levels(255, (256 << 20) - 1, None) == ["bad"] * 2


def test_interpreters_peers_and_clocks(verdict):
    assert verdict.of_interpreter("x", True, [90_000.0]).level == "good"
    assert verdict.of_interpreter("x", False, [10.0]).level == "fair"
    assert verdict.of_peer(2, "u", "", True, [1.5]).level == "good"
    assert verdict.of_peer(2, "u", "no answer", True, [1.5]).level == "fair"
    assert verdict.of_peer(2, "u", "a is not known", False, []).level == "bad"
    assert [verdict.of_clock(2, offset).level for offset in (-2.0, 0.5, 1.01, -2.1)] == ["good", "good", "fair", "fair"]
    assert "behind" in verdict.of_clock(2, -3.0).text and "ahead" in verdict.of_clock(2, 2.0).text


def test_who_is_a_member(verdict):
    assert verdict.standing(3, False, None) == verdict.standing(3, True, None) == ""
    assert verdict.standing(3, False, (1, 3)) == verdict.standing(3, True, (1, 3)) == verdict.MEMBER
    assert verdict.standing(3, False, (1, 2)) == verdict.REMOVED
    assert verdict.standing(3, True, (1, 2)) == verdict.NOT_ADDED


@pytest.mark.parametrize(
    ("standing", "times", "level", "text", "remedy"),
    [
        ("", [], "fair", "", "start it"),
        ("member", [], "fair", "", "start it"),
        ("removed", [], "good", "was removed", ""),
        ("not added", [], "fair", "not in the cluster", "raftx add"),
        ("removed", [1.0], "fair", "was removed", "stop what listens there"),
        ("not added", [1.0], "good", "not in the cluster", ""),
        ("member", [1.0], "good", "round trip", ""),
    ],
)
def test_one_that_is_down_and_one_that_was_removed(verdict, standing, times, level, text, remedy):
    found = verdict.of_peer(3, "tcp://h:1", "" if times else "refused", True, times, standing)
    assert found.level == level and text in found.text and remedy in found.remedy and bool(found.remedy) == bool(remedy)
    assert ("start it" in found.remedy) == (not times and standing != "removed")
    unknown = verdict.of_peer(3, "tcp://h:1", "h is not known", False, [], standing)
    assert unknown.level == ("good" if standing == "removed" else "bad")


def test_the_own_member(verdict):
    assert verdict.of_own(1, "") == verdict.of_own(1, verdict.MEMBER) == []
    (removed,), (not_added,) = verdict.of_own(1, verdict.REMOVED), verdict.of_own(1, verdict.NOT_ADDED)
    assert (removed.level, not_added.level) == ("fair", "good")
    assert "do not start it" in removed.remedy and not not_added.remedy


@pytest.mark.parametrize(
    ("syncs_us", "trips_ms", "delays_us", "timing"),
    [
        ([2000.0], [0.1], [], (50, 10)),
        ([300_000.0], [0.1], [], (50, 25)),
        ([2000.0], [40.0], [], (100, 10)),
        ([2000.0], [400.0], [], (1000, 10)),
        ([2000.0], [30_000.0], [], (60_000, 10)),
        ([2000.0], [], [20_000.0], (50, 10)),
        ([2000.0], [20.0], [40_000.0], (100, 10)),
    ],
)
def test_settings_that_fit(impl, verdict, syncs_us, trips_ms, delays_us, timing):
    """They can be given to Config, and then there is nothing to say against them."""
    found = verdict.settings(syncs_us, trips_ms, delays_us)
    assert (found.tick_ms, found.election_ticks) == timing
    config = impl.Config(id=1, tick_ms=timing[0], election_ticks=timing[1])
    assert verdict.of_settings(found, config).level == "good"
    if timing != (50, 10):
        told = verdict.of_settings(found, impl.Config(id=1))
        assert told.level == ("good" if timing == (100, 10) else "fair")


def test_the_worst_counts(verdict):
    made = [verdict.Finding("x", level, "") for level in ("good", "fair", "good")]
    assert verdict.worst([]) == "good" and verdict.worst(made) == "fair"
    assert verdict.worst([*made, verdict.Finding("x", "bad", "")]) == "bad"


# --- numbers ---------------------------------------------------------------------------------------------


def test_histograms(impl):
    figures = module(impl, "measure.figures")
    values = [1.0, 1.5, 3.0, 7.0, 10.0, 99.0, 100.0]
    found = figures.histogram(values)
    assert found == [(1, 2, 2), (2, 5, 1), (5, 10, 1), (10, 20, 1), (20, 50, 0), (50, 100, 1), (100, 200, 1)]
    assert figures.histogram([]) == [] and figures.histogram([0.0])[0][2] == 1
    wide = figures.histogram([10.0**power for power in range(10)])
    assert len(wide) <= 12 and sum(each[2] for each in wide) == 10
    assert figures.bars([0, 1, 50, 100], 10) == ["", "#", "#####", "##########"] and figures.bars([], 9) == []
    assert figures.percentile([], 0.5) == 0 and figures.percentile([3, 1, 2], 0.5) == 2


# --- the way to the others -------------------------------------------------------------------------------


class Late(BaseHTTPRequestHandler):
    """A member whose clock is 100 seconds behind."""

    def do_GET(self):
        self.send_response_only(200 if self.path == "/raft/livez" else 404)
        self.send_header("Date", formatdate(time.time() - 100, usegmt=True))
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def late():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Late)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


resolve = socket.getaddrinfo


def unknown_name(host, *arguments, **settings):
    """No name server is asked: one name is known to nobody, the others are addresses."""
    if host.endswith(".invalid"):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return resolve(host, *arguments, **settings)


def test_reach(impl, monkeypatch):
    peers = module(impl, "measure.peers")
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = peers.reach(f"tcp://127.0.0.1:{server.getsockname()[1]}", tries=3)
    assert found.addresses == ("127.0.0.1",) and len(found.round_trips_ms) == 3 and not found.error
    gone = peers.reach(f"tcp://127.0.0.1:{ports(1)[0]}")
    assert gone.addresses and not gone.round_trips_ms and "refused" in gone.error
    monkeypatch.setattr(peers.socket, "getaddrinfo", unknown_name)
    unknown = peers.reach("tcp://no-such-host.invalid:1")
    assert not unknown.addresses and "no-such-host.invalid is not known" in unknown.error


def test_clocks(impl, late):
    """Finer than the whole seconds that are told."""
    peers = module(impl, "measure.peers")
    offset = peers.clock_offset(f"http://127.0.0.1:{late}/raft")
    assert offset is not None and abs(offset + 100) < 0.2
    assert peers.clock_offset(f"http://127.0.0.1:{ports(1)[0]}") is None


# --- the whole -------------------------------------------------------------------------------------------

QUICK = ("--seconds", "0.1")


def test_doctor_of_memory(impl):
    """Nothing is as fast as memory: it is told, and nothing stays behind."""
    before = set(os.listdir("/dev/shm"))
    done = ran(impl, "doctor", "/dev/shm", *QUICK)
    assert done.code == 1 and "verdict: bad" in done.out and "tmpfs at /dev/shm" in done.out
    assert {each for each in os.listdir("/dev/shm") if "raftx-doctor" in each} <= before


def test_doctor_of_a_cluster(impl, tmp_path, monkeypatch, late):
    """Members of the file are looked for; the settings are held against what was measured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "getaddrinfo", unknown_name)
    with socket.create_server(("127.0.0.1", 0)) as server:
        here, gone = server.getsockname()[1], ports(1)[0]
        (tmp_path / "cluster.toml").write_text(
            f'cluster = "x"\ndata = "data/{{id}}"\ninsecure = true\n[config]\ntick_ms = 70\n'
            f'[members.1]\nurl = "tcp://127.0.0.1:1"\n'
            f'[members.2]\nurl = "tcp://127.0.0.1:{here}"\nadmin = "http://127.0.0.1:{late}/raft"\n'
            f'[members.3]\nurl = "tcp://127.0.0.1:{gone}"\n[members.4]\nurl = "tcp://no-such-host.invalid:1"\n'
        )
        done = ran(impl, "doctor", "--id", "1", "--json", *QUICK)
    assert done.code == 1
    found = done.json()
    assert found["directory"] == str(tmp_path) and found["compiled"] is impl.COMPILED
    assert [each["id"] for each in found["members"]] == [2, 3, 4]
    levels = {each["name"]: each["level"] for each in found["findings"]}
    assert (levels["member 2"], levels["member 3"], levels["member 4"]) == ("good", "fair", "bad")
    assert levels["clock of member 2"] == "fair" and -101 < found["members"][0]["clock_offset_s"] < -99
    assert found["verdict"] == "bad" and levels["interpreter"] == ("good" if impl.COMPILED else "fair")
    (timing,) = (each["text"] for each in found["findings"] if each["name"] == "timing")
    assert timing.startswith("tick_ms = 70, election_ticks = 10")
    assert [each.name for each in tmp_path.iterdir()] == ["cluster.toml"]


@pytest.mark.parametrize("asked", ["a member", "one that was removed", "another cluster", "nobody"])
def test_members_that_were_removed(impl, tmp_path, monkeypatch, asked):
    """A member that is in the cluster tells who else is; whoever was removed, or is elsewhere, is not believed."""
    monkeypatch.chdir(tmp_path)
    made = Made()
    down, removed, waits = ports(3)
    made.members[2]["url"] = f"tcp://127.0.0.1:{down}"
    del made.members[3]
    if asked == "one that was removed":
        del made.members[1]
    made.cluster = "other" if asked == "another cluster" else "flags"
    with serving(made) as url, socket.create_server(("127.0.0.1", 0)) as server:
        moved = server.getsockname()[1]
        made.put(5, f"tcp://127.0.0.1:{moved}", learner=False)
        admin = f"http://127.0.0.1:{ports(1)[0]}" if asked == "nobody" else url
        (tmp_path / "cluster.toml").write_text(
            f'cluster = "flags"\ndata = "data/{{id}}"\n[members.1]\nurl = "tcp://127.0.0.1:1"\nadmin = "{admin}"\n'
            f'[members.2]\nurl = "tcp://127.0.0.1:{down}"\n[members.3]\nurl = "tcp://127.0.0.1:{removed}"\n'
            f'[members.4]\nurl = "tcp://127.0.0.1:{waits}"\njoin = true\n[members.5]\nurl = "tcp://127.0.0.1:2"\n'
        )
        done = ran(impl, "doctor", "--id", "1", "--json", *QUICK).json()
        own = ran(impl, "doctor", "--id", "3", "--json", *QUICK).json()
    found = {each["name"]: each for each in done["findings"]}
    standings = [each["standing"] for each in done["members"]]
    (of_self,) = [each for each in own["findings"] if each["name"] == "member 3"] or [None]
    if asked != "a member":
        assert standings == [None] * 4 and of_self is None
        assert all("start it" in found[f"member {id}"]["remedy"] for id in (2, 3, 4, 5))
        return
    assert standings == ["member", "removed", "not added", "member"]
    assert "start it" in found["member 2"]["remedy"] and found["member 2"]["level"] == "fair"
    assert found["member 3"]["level"] == "good" and "was removed" in found["member 3"]["text"]
    assert "raftx add" in found["member 4"]["remedy"]
    assert found["member 5"]["level"] == "good" and found["address of member 5"]["level"] == "fair"
    assert of_self["level"] == "fair" and "do not start it" in of_self["remedy"]


@pytest.mark.slow
def test_exit_codes_go_by_the_verdict(impl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    doctor = module(impl, "cli.doctor")
    for level, plain, strict in (("good", 0, 0), ("fair", 0, 1), ("bad", 1, 1)):
        monkeypatch.setattr(doctor.verdict, "worst", lambda findings, level=level: level)
        assert ran(impl, "doctor", *QUICK).code == plain
        assert ran(impl, "doctor", *QUICK, "--strict").code == strict
    assert ran(impl, "doctor", "--id", "1").code == 2
