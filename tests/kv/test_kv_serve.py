"""``raftx serve``: from a cluster's file and with etcd's flags; three servers as programs; its chores; its refusals."""

import asyncio
import contextlib
import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

from raftx.cli import serve
from raftx.config import Config
from raftx.errors import ConfigError, NotDone
from raftx.kv import settings
from raftx.kv.chores import Chores
from raftx.kv.settings import Settings
from raftx.transport.nng import NngTransport
from raftx.transport.tcp import TcpTransport
from tests.helpers.commands import ran
from tests.helpers.keys import Named
from tests.helpers.kv_direct import Direct
from tests.helpers.paths import ROOT
from tests.helpers.ports import ports
from tests.helpers.waiting import WAIT, eventually

KEY = "YQ=="
TLS_FILES = ("--peer-cert-file", "a", "--peer-key-file", "b", "--peer-trusted-ca-file", "c")


class Program:
    """``raftx serve`` in a process of its own."""

    def __init__(self, port, *arguments, secure=None):
        self.port, self.secure = port, secure
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "raftx", "serve", *map(str, arguments)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        #: what it wrote to standard error
        self.errors = []
        self._reader = threading.Thread(target=lambda: self.errors.extend(self.process.stderr), daemon=True)
        self._reader.start()

    def ask(self, path, method="POST", headers=(), **request):
        """Status and body; (0, None) where nobody answers."""
        body = json.dumps(request).encode() if method == "POST" else None
        try:
            if self.secure is not None:
                connection = http.client.HTTPSConnection("localhost", self.port, timeout=WAIT, context=self.secure)
            else:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)
            with contextlib.closing(connection):
                connection.request(method, path, body, dict(headers))
                response = connection.getresponse()
                return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException):
            return 0, None

    def is_healthy(self):
        assert self.process.poll() is None, self.errors
        return self.ask("/health", "GET")[0] == 200

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(WAIT)
        self._reader.join(WAIT)
        self.process.stdout.close()
        self.process.stderr.close()
        return code


@pytest.fixture
def programs():
    made = []
    yield made
    for each in made:
        if not each.process.stdout.closed:
            each.end(signal.SIGKILL)


def cluster_file(directory, server=""):
    free = ports(6)
    lines = ['cluster = "served"', 'data = "data/{id}"', "[config]", "tick_ms = 20", "[server]", server]
    for at in range(3):
        lines += [f"[members.{at + 1}]", f'url = "tcp://127.0.0.1:{free[at]}"', f'name = "n{at + 1}"']
        lines += [f'client = "http://127.0.0.1:{free[at + 3]}"']
    (directory / "cluster.toml").write_text("\n".join(lines) + "\n")
    return free[3:]


@pytest.mark.once
@pytest.mark.slow  # programs are started, and one of them anew
def test_three_servers(tmp_path, programs):
    clients = cluster_file(tmp_path)
    for id, port in enumerate(clients, 1):
        programs.append(Program(port, "--config", tmp_path / "cluster.toml", "--id", id, "--create"))
    for each in programs:
        eventually(each.is_healthy)
    status, found = programs[0].ask("/v3/kv/put", key=KEY, value=KEY)
    assert (status, found["header"]["revision"]) == (200, "2")
    for each in programs:
        assert each.ask("/v3/kv/range", key=KEY)[1]["kvs"][0]["value"] == KEY

    def names():
        found = programs[2].ask("/v3/cluster/member/list")[1]["members"]
        return [(each["name"], each["clientURLs"]) for each in found if "name" in each]

    wanted = [(f"n{id}", [f"http://127.0.0.1:{port}"]) for id, port in enumerate(clients, 1)]
    eventually(lambda: names() == wanted)
    assert programs[1].ask("/v3beta/kv/range", key=KEY)[0] == 200
    # The leader ends: it hands over first, closes watches, and nothing is refused meanwhile.
    leader = int(programs[0].ask("/v3/maintenance/status")[1]["leader"]) - 1
    watch = http.client.HTTPConnection("127.0.0.1", clients[leader], timeout=WAIT)
    watch.request("POST", "/v3/watch", json.dumps({"create_request": {"key": KEY}}).encode())
    told = watch.getresponse()
    assert json.loads(told.readline())["result"]["created"] is True
    other = programs[(leader + 1) % 3]
    code = []
    ending = threading.Thread(target=lambda: code.append(programs[leader].end()))
    ending.start()
    while ending.is_alive():
        assert other.ask("/v3/kv/put", key=KEY)[0] == 200
    assert code == [0]
    told.read()  # to the end of the stream, which would raise if it were cut off
    assert told.isclosed()
    watch.close()

    # Its data are there when it comes again.
    programs[leader] = Program(clients[leader], "--config", tmp_path / "cluster.toml", "--id", leader + 1)
    eventually(programs[leader].is_healthy)
    version = int(programs[leader].ask("/v3/kv/range", key=KEY)[1]["kvs"][0]["version"])
    assert version > 1


@pytest.mark.once
@pytest.mark.slow  # a program is started, and a lease runs out
def test_a_server_with_flags_of_etcd(tmp_path, programs):
    port, peer = ports(2)
    began = time.monotonic()
    programs.append(
        Program(
            port, "--name", "one", "--data-dir", tmp_path / "one", "--listen-client-urls", f"http://127.0.0.1:{port}",
            "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}", "--enable-v2=true",
            "--initial-cluster", f"one=http://127.0.0.1:{peer}", "--auto-compaction-retention", "0",
            "--max-request-bytes", 6 << 20,  # more than a frame has by itself
        )
    )  # fmt: skip
    (one,) = programs
    eventually(one.is_healthy)
    assert one.ask("/v3/kv/put", key="Yg==", value="YWFh" * (5 << 18))[0] == 200
    assert one.ask("/version", "GET")[1]["etcdcluster"] == "3.4.0"
    # A lease ends after its time, and not before; what it held goes, and a watch is told at once.
    assert one.ask("/v3/lease/grant", TTL=2, ID=7)[1]["TTL"] == "2"
    assert one.ask("/v3/kv/put", key=KEY, lease=7)[0] == 200
    watch = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
    watch.request("POST", "/v3/watch", json.dumps({"create_request": {"key": KEY}}).encode())
    told = watch.getresponse()
    told.readline()
    renewed = time.monotonic()
    assert one.ask("/v3/lease/keepalive", ID=7)[1]["result"]["TTL"] == "2"
    (event,) = json.loads(told.readline())["result"]["events"]
    assert event["type"] == "DELETE" and time.monotonic() - renewed >= 2.0
    watch.close()
    assert one.end() == 0
    assert time.monotonic() - began < WAIT


@pytest.mark.once
@pytest.mark.slow  # a program is started, and openssl makes certificates
def test_certificates_and_users(tmp_path, programs):
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca",
            "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    (tmp_path / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=localhost")
    openssl("x509", "-req", "-in", "own.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out", "own.pem", "-days", "2",
            "-extfile", "names")  # fmt: skip
    client, peer = ports(2)
    (tmp_path / "cluster.toml").write_text(
        'cluster = "served"\ndata = "data/{id}"\n[server]\ncert_file = "own.pem"\nkey_file = "own.key"\n'
        'client_ca_file = "ca.pem"\n[server.users]\nann = "secret"\n'
        f'[members.1]\nurl = "tcp://127.0.0.1:{peer}"\nclient = "https://localhost:{client}"\n'
        f'client_bind = "https://127.0.0.1:{client}"\n'
    )
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    context.load_cert_chain(tmp_path / "own.pem", tmp_path / "own.key")
    arguments = ("--config", tmp_path / "cluster.toml", "--id", 1, "--create")
    programs.append(Program(client, *arguments, secure=context))
    (one,) = programs
    eventually(one.is_healthy)
    assert one.ask("/v3/kv/put", key=KEY)[1]["message"] == "etcdserver: user name is empty"
    token = one.ask("/v3/auth/authenticate", name="ann", password="secret")[1]["token"]
    assert one.ask("/v3/kv/put", key=KEY, headers={"authorization": token}.items())[0] == 200
    one.secure = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))  # it shows no certificate
    assert one.ask("/version", "GET") == (0, None)


@pytest.mark.once
@pytest.mark.slow  # a program is started
def test_members_that_prove_who_they_are(tmp_path, programs):
    """By certificates of their hosts, as members of etcd do; somebody without one is not let in."""
    port, peer = ports(2)
    keys = Named(None, tmp_path)
    keys.issue(1, "localhost")
    cert, key, ca = *keys.paths(1), tmp_path / "ca.pem"
    url = f"https://localhost:{peer}"
    programs.append(
        Program(
            port, "--data-dir", tmp_path / "one", "--listen-client-urls", f"http://127.0.0.1:{port}",
            "--initial-advertise-peer-urls", url, "--initial-cluster", f"default={url}",
            "--peer-cert-file", cert, "--peer-key-file", key, "--peer-trusted-ca-file", ca, "--peer-client-cert-auth",
            # A member that is alone leads without waiting for this.
            "--election-timeout", 600_000,
        )
    )  # fmt: skip
    eventually(programs[0].is_healthy)
    context = ssl.create_default_context(cafile=ca)
    with pytest.raises((ssl.SSLError, ConnectionError)), socket.create_connection(("localhost", peer), WAIT) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as end:
            assert end.recv(1) == b""
        raise ConnectionError("it was closed")


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--config", "cluster.toml"], "--id"),
        (["--id", "1"], "--config"),
        (["--config", "cluster.toml", "--id", "1", "--name", "x"], "--name does not go with --config"),
        (["--name", "x", "--initial-cluster", "y=http://127.0.0.1:1"], "must have this member, x"),
        (["--initial-cluster", "default"], "NAME=URL"),
        (["--initial-advertise-peer-urls", "https://a:1"], "--peer-cert-file"),
        (["--initial-advertise-peer-urls", "http://a:1", *TLS_FILES], "https in the url of each member"),
        (["--initial-advertise-peer-urls", "https://10.0.0.1:1", *TLS_FILES], "a host name of its own"),
        (["--initial-advertise-peer-urls", "http://10.0.0.1:1"], "or --insecure"),
        (["--initial-advertise-peer-urls", "http://10.0.0.1:1", "--cluster-key-file", "none"], "cluster_key_file"),
        (["--auto-compaction-retention", "soon"], "30m or 8h"),
        (["--client-cert-auth"], "--trusted-ca-file"),
        (["--listen-client-urls", "nowhere"], "http://10.0.0.1:2379"),
        (["--log-level", "loud"], "--log-level"),
        (["--cert-file", "a.pem"], "key_file"),
    ],
)
def test_what_is_refused(impl_free, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    cluster_file(tmp_path)
    done = ran(impl_free, "serve", *arguments)
    assert done.code != 0 and says in done.err
    assert [each.name for each in tmp_path.iterdir()] == ["cluster.toml"]


@pytest.fixture
def impl_free(monkeypatch):
    """The package as it is imported; logging as it was."""
    import logging

    import raftx

    logger = logging.getLogger("raftx")
    before, level = list(logger.handlers), logger.level
    yield raftx
    logger.handlers[:] = before
    logger.setLevel(level)


@pytest.mark.once
def test_a_member_without_a_place_for_clients(tmp_path, impl_free):
    cluster_file(tmp_path)
    text = (tmp_path / "cluster.toml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("client")]
    (tmp_path / "cluster.toml").write_text("\n".join(lines))
    done = ran(impl_free, "serve", "--config", tmp_path / "cluster.toml", "--id", "1", "--create")
    assert done.code == 2 and "members.1.client is missing" in done.err
    (tmp_path / "cluster.toml").write_text(text.replace("[server]", "[server]\nnothing = 1"))
    done = ran(impl_free, "serve", "--config", tmp_path / "cluster.toml", "--id", "1", "--create")
    assert done.code == 2 and "server.nothing is not known" in done.err


@pytest.mark.once
@pytest.mark.parametrize(
    ("text", "seconds"), [("8", 28800), ("30m", 1800), ("1h30m", 5400), ("90s", 90), ("1.5h", 5400), ("500ms", 0.5)]
)
def test_times_are_those_of_etcd(text, seconds):
    assert settings.seconds_of(text, "it") == seconds


@pytest.mark.once
@pytest.mark.parametrize("text", ["", "h", "1x", "-1h", "1h30", "0s"])
def test_what_is_no_time(text):
    with pytest.raises(ConfigError, match="such as 30m"):
        settings.seconds_of(text, "it")


@pytest.mark.once
@pytest.mark.parametrize(
    ("bind", "kind"),
    [("tcp://127.0.0.1:5", TcpTransport), ("ipc:///run/x", TcpTransport), ("inproc://x", NngTransport)],
)
def test_members_are_reached_without_threads_where_that_can_be(bind, kind):
    config = Config(id=1, cluster=b"c".ljust(16), max_entry_bytes=9 << 20, max_waiting_bytes=72 << 20)
    made = serve._transport(bind, None, False, None, config)
    try:
        assert type(made) is kind and made.max_frame_bytes > 9 << 20
    finally:
        made.close()


@pytest.mark.once
def test_ids_of_members_come_from_their_names():
    ids = {serve.member_id("token", f"n{at}") for at in range(1000)}
    assert len(ids) == 1000 and all(0 < id < 1 << 63 for id in ids)
    assert serve.member_id("token", "n1") in ids and serve.member_id("other", "n1") not in ids


@pytest.mark.once
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"listen": ()}, "listen"), ({"listen": ("http://a",)}, "host and port"), ({"name": ""}, "name"),
        ({"request_timeout": 0}, "request_timeout"), ({"compaction": "some"}, "compaction"),
        ({"users": {"a": ""}}, "users"), ({"client_ca_file": "x"}, "cert_file"), ({"cert_file": "x"}, "key_file"),
        ({"listen": ("https://a:1",)}, "https"), ({"users": 3}, "users must be a table"),
        ({"token_secret": 3}, "token_secret"), ({"admin_token": 3}, "admin_token"), ({"cert_file": []}, "cert_file"),
        ({"max_request_bytes": 2048.5}, "whole number"), ({"quota_bytes": 1e9}, "quota_bytes"),
    ],
)  # fmt: skip
def test_settings_are_checked(wrong, says):
    with pytest.raises(ConfigError, match=says):
        Settings(**{"name": "n", "advertise": (), "listen": ("http://a:1",), **wrong})


# --- chores --------------------------------------------------------------------------------------


@pytest.mark.once
def test_leases_are_ended_by_the_leader_alone_and_not_before_its_own_clock_says_so(monkeypatch):
    from raftx.kv import chores, leases

    now = [1_000_000_000]
    monkeypatch.setattr(leases, "boot", lambda: now[0])
    monkeypatch.setattr(chores, "EXPIRY_SECONDS", 0.001)

    class Changes:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise StopAsyncIteration

    with Direct() as direct:
        direct.node.state_changes = Changes
        direct.node.is_leader = False
        direct.node.now = 0  # times that are not known keep no lease alive
        direct.call("/lease/grant", TTL=5, ID=7)
        direct.call("/kv/put", key=KEY, lease=7)

        async def rounds(until):
            while not until():
                await asyncio.sleep(0.002)

        async def begin():
            made = Chores(direct.service)
            made.start()
            return made

        made = direct.run(begin())
        now[0] += 100_000_000_000
        direct.run(asyncio.sleep(0.05))
        assert 7 in direct.machine.leases.by_id and made._led == 0  # nobody leads here
        direct.node.is_leader = True
        direct.run(rounds(lambda: made._led == 1))
        direct.run(asyncio.sleep(0.05))
        assert 7 in direct.machine.leases.by_id  # its whole time again
        now[0] += 5_400_000_000
        direct.run(asyncio.sleep(0.05))
        assert 7 in direct.machine.leases.by_id  # and an election timeout
        now[0] += 200_000_000
        direct.node.failures = [NotDone("moved")]
        direct.run(rounds(lambda: not direct.node.failures))
        assert 7 in direct.machine.leases.by_id
        now[0] += 600_000_000
        direct.run(rounds(lambda: 7 not in direct.machine.leases.by_id))
        assert "kvs" not in direct.call("/kv/range", key=KEY)
        direct.run(made.close())


@pytest.mark.once
@pytest.mark.parametrize(("mode", "retention"), [("revision", 10), ("periodic", 0.2)])
def test_what_is_old_is_compacted(monkeypatch, mode, retention):
    from raftx.kv import chores

    monkeypatch.setattr(chores, "COMPACTION_SECONDS", 0.001)
    with Direct() as direct:
        direct.service.settings = Settings(
            name="n1", advertise=(), listen=("http://a:1",), compaction=mode, retention=max(1, retention)
        )
        object.__setattr__(direct.service.settings, "retention", retention)
        for _ in range(30):
            direct.call("/kv/put", key=KEY)

        async def until():
            made = Chores(direct.service)
            task = asyncio.ensure_future(made._compact())
            while direct.machine.store.compacted < 20:
                await asyncio.sleep(0.002)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        direct.run(until())
        wanted = 21 if mode == "revision" else 31
        assert direct.machine.store.compacted == wanted
        assert direct.call("/kv/range", key=KEY, revision=5, _status=400)["code"] == 11


@pytest.mark.once
def test_bodies_do_not_wait_for_acknowledgements_of_heads():
    """A head and its body are two writes: with Nagle's algorithm the second waits for up to 40 ms."""
    from raftx.kv import server

    listening = server._listening("http://127.0.0.1:0")
    with listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
