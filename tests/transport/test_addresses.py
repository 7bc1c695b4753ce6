"""Addresses of members: what is refused and how it is said, ports that the system chooses, names, dial failures."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

import raftx
from tests.helpers import networks
from tests.helpers.paths import ROOT
from tests.helpers.ports import ports
from tests.helpers.sockets import Machine
from tests.helpers.transports import WAYS, make_transport
from tests.helpers.waiting import eventually

GOOD = "tcp://127.0.0.1:0"

WRONG_PEERS = {
    "tcp://127.0.0.1": "port is missing",
    "tcp://127.0.0.1:": "port must be in 1..65535",
    "tcp://127.0.0.1:99999": "port must be in 1..65535",
    "tcp://127.0.0.1:0": "port must be in 1..65535",
    "tcp://127.0.0.1:-1": "port must be in 1..65535",
    "tcp://127.0.0.1:56o1": "port must be in 1..65535",
    "tcp://127.0.0.1:5601/x": "port must be in 1..65535",
    "tcp://127.0.0.1: 5601": "port must be in 1..65535",
    "tcp://127.0.0.1:٥٦": "port must be in 1..65535",
    "tcp://[::1]": "port is missing",
    "tcp://:5601": "host is missing",
    "tcp://*:5601": "host is missing",
    "tcp://0.0.0.0:5601": "0.0.0.0 is where a member listens, not where others reach it",
    "tcp6://[::]:5601": ":: is where a member listens, not where others reach it",
    "tcp://127.0.0.256:5601": "not an IPv4 address",
    "tcp://::1:5601": "IPv6 address in brackets",
    "tcp://[::1:5601": "host must be a name",
    "tcp://[x]:5601": "must be an IPv6 address",
    "tcp://a b:5601": "host must be a name",
    "tcp://-a:5601": "host must be a name",
    "tcp://user@host:5601": "host must be a name",
    "tcp:///x:5601": "host must be a name",
    "tcp4://[::1]:5601": "IPv4",
    "tcp6://127.0.0.1:5601": "IPv6",
    "foo://127.0.0.1:5601": "must begin with",
    "http://127.0.0.1:5601": "must begin with",
    "tcp//127.0.0.1:5601": "must begin with",
    "tcp:/127.0.0.1:5601": "must begin with",
    "TCP://127.0.0.1:5601": "must begin with",
    "127.0.0.1:5601": "must begin with",
    "socket://": "must begin with",
    "": "must begin with",
    "ipc://": "path or name",
    "inproc://": "path or name",
    "ws://host": "port is missing",
    "tls+tcp://host:0": "port must be",
}
RIGHT_PEERS = (
    "tcp://127.0.0.1:1", "tcp://localhost:65535", "tcp://[::1]:5601", "tcp://[fe80::1%eth0]:5601", "tcp4://10.0.0.1:5601",
    "tcp6://[::1]:5601", "tcp://raft-0.raft.default.svc.cluster.local:5601", "tcp://my_host:5601", "tcp://münchen.example:5601",
    "ipc:///tmp/x", "inproc://x", "ws://127.0.0.1:5601/raft",
)  # fmt: skip


@pytest.mark.parametrize("url", WRONG_PEERS)
def test_wrong_addresses_of_peers(impl, url):
    with pytest.raises(impl.ConfigError, match=r"^peers: 2 ") as caught:
        impl.NngTransport("tcp://127.0.0.1:5602", {2: url})
    assert WRONG_PEERS[url] in str(caught.value)
    assert "tcp://127.0.0.1:5601" in str(caught.value)  # the remedy
    assert repr(url) in str(caught.value)


def test_right_addresses_of_peers(impl):
    transport = impl.NngTransport(GOOD, dict(enumerate(RIGHT_PEERS, 2)))
    assert list(transport.peers.values()) == list(RIGHT_PEERS)
    impl.NngTransport(GOOD, {1: GOOD})  # its own
    for wrong in (None, 5, b"tcp://127.0.0.1:5601"):
        with pytest.raises(impl.ConfigError, match="peers: 2"):
            impl.NngTransport(GOOD, {2: wrong})
    with pytest.raises(impl.ConfigError, match="peers"):
        impl.NngTransport(GOOD, {True: "tcp://127.0.0.1:5601"})


def test_addresses_to_listen_on(impl):
    for url in ("tcp://127.0.0.1", "tcp://127.0.0.1:65536", "nowhere", "foo://x:1", "tcp://a b:1", "ipc://"):
        with pytest.raises(impl.ConfigError, match=r"^listen "):
            impl.NngTransport(url, {})
    for url in ("tcp://:0", "tcp://*:0", "tcp://0.0.0.0:5601", "tcp6://[::]:5601", "inproc://x"):
        impl.NngTransport(url, {}, insecure=True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("listen", "host"),
    [("tcp://127.0.0.1:0", "127.0.0.1"), ("tcp4://127.0.0.1:0", "127.0.0.1"), ("tcp6://[::1]:0", "[::1]"),
     ("tcp://[::1]:0", "[::1]"), ("tcp://localhost:0", "localhost"), ("tcp://*:0", "")],
)  # fmt: skip
def test_a_free_port_shows_in_the_address(impl, listen, host, way):
    if "::1" in listen and not Path("/proc/net/if_inet6").exists():
        pytest.skip("there is no IPv6 here")
    made = make_transport(impl, way, listen, insecure=True)
    node = impl.Node(impl.Config(id=1), impl.MemoryStorage(voters=[1]), made, Machine()).start()
    try:
        scheme, rest = made.address.split("://")
        assert scheme == listen.split("://")[0]
        assert rest.rsplit(":", 1)[0] == host
        assert 1 <= int(rest.rsplit(":", 1)[1]) <= 65535
        heard = []
        sender = impl.NngTransport("inproc://sender", {1: made.address.replace("://:", "://127.0.0.1:")})
        sender.start(2, heard.append)
        try:
            eventually(lambda: sender.send(1, b"x" * 100) and node.status().frames_rejected["magic"])
        finally:
            sender.close()
    finally:
        node.close()


@pytest.mark.parametrize(
    ("scheme", "way"),
    [(scheme, way) for scheme in ("ipc", "tcp://localhost") for way in WAYS]
    + [("inproc", "direct"), ("inproc", "use_gil")],
)
def test_other_kinds_of_addresses_work(impl, scheme, way, tmp_path):
    """Three members; one goes and comes back."""
    name = f"{scheme}://{tmp_path}-" if "//" not in scheme else f"{scheme}:"
    numbers = ports(3)
    urls = {id: f"{name}{numbers[id - 1] if '//' in scheme else id}" for id in (1, 2, 3)}
    storages = {id: impl.MemoryStorage(voters=[1, 2, 3]) for id in urls}
    machines, nodes = {}, {}

    def start(id):
        machines[id] = Machine()
        transport = make_transport(impl, way, urls[id], urls)
        nodes[id] = impl.Node(impl.Config(id=id, tick_ms=20), storages[id], transport, machines[id]).start()

    try:
        for id in urls:
            start(id)
        leader = eventually(lambda: next((n for n in nodes.values() if n.is_leader), None))
        leader.propose(b"1").result(timeout=20)
        victim = next(id for id in urls if id != leader.id)
        nodes[victim].close()
        leader.propose(b"2").result(timeout=20)
        start(victim)
        eventually(lambda: len(machines[victim].commands) == 2)
        # Nobody stays a stranger, and nobody is closed for being one.
        eventually(lambda: all(node.status().transport["strangers"] == 0 for node in nodes.values()))
        assert all(node.status().transport["refused"] == 0 for node in nodes.values())
    finally:
        for node in nodes.values():
            node.close()


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_dial_failures_and_missing_addresses_are_said(impl, caplog, way):
    caplog.set_level(logging.INFO, logger="raftx")
    one, two = ports(2)
    urls = {1: f"tcp://127.0.0.1:{one}", 2: f"tcp://127.0.0.1:{two}"}

    def start(id):
        transport = make_transport(impl, way, urls[id], urls, reconnect_ms=(10, 100))
        return impl.Node(
            impl.Config(id=id), impl.MemoryStorage(voters=[1, 2], learners=[3]), transport, Machine()
        ).start()

    def said(text):
        lines = [record for record in caplog.records if text in record.getMessage()]
        return [record for record in lines if not record.getMessage().endswith(" is connected")]

    node = start(1)
    try:
        missing = said("no address for 3")
        assert len(missing) == 1
        assert missing[0].levelno == logging.WARNING
        for life in (1, 2):
            eventually(lambda life=life: len(said("member 2 at")) == 2 * life - 1)
            dialled = node.status().transport["dial_failures"]
            eventually(lambda dialled=dialled: node.status().transport["dial_failures"] > dialled + 3)
            unreachable = said(f"member 2 at {urls[2]} cannot be reached")
            assert len(unreachable) == life  # once, however often it is dialled
            assert unreachable[-1].levelno == logging.WARNING
            assert "Connection refused" in unreachable[-1].getMessage()
            assert node.status().transport["dial_failures"] > 3
            other = start(2)
            try:
                eventually(lambda life=life: len(said("can be reached again")) == life)
            finally:
                other.close()
    finally:
        node.close()


EXIT = """
import sys, time
import raftx
from tests.helpers.transports import make_transport
if __name__ == "__main__":
    urls = {1: "tcp://127.0.0.1:0", 2: "tcp://no-such-host.example:5601"}
    transport = make_transport(raftx, sys.argv[1], urls[1], urls)
    node = raftx.Node(raftx.Config(id=1), raftx.MemoryStorage(voters=[1, 2]), transport).start()
    time.sleep(0.5)
    print("closing", flush=True)
    node.close()
    print("closed", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_resolver_that_hangs_holds_up_nobody(tmp_path, way):
    """A process whose lookups take 20 s ends at once."""
    if why := networks.missing():
        pytest.skip(f"there is no way to make a resolver hang: {why}")
    script = tmp_path / "script.py"
    script.write_text(EXIT)
    with networks.Network(1) as network:
        host = network.hosts[1]
        directory = Path("/etc/netns", host)
        directory.mkdir(parents=True)
        try:
            (directory / "resolv.conf").write_text("nameserver 10.99.0.200\noptions timeout:30 attempts:5\n")
            network.at(host, "ip", "neigh", "replace", "10.99.0.200", "lladdr", networks.NOWHERE, "dev", "eth0")
            done = subprocess.run(
                ["ip", "netns", "exec", host, sys.executable, str(script), way],
                capture_output=True, text=True, timeout=60, check=True, cwd=ROOT,  # the resolver would take longer
                env={**os.environ, "PYTHONPATH": f"{Path(raftx.__file__).parent.parent}:{ROOT}"},
            )  # fmt: skip
            assert done.stdout.split() == ["closing", "closed"]
        finally:
            (directory / "resolv.conf").unlink()
            directory.rmdir()


def test_the_parts_of_an_address(mod):
    parse = mod("transport.address").parse
    at = parse("tcp6://[fe80::1%eth0]:5601", "x")
    assert (at.scheme, at.host, at.port, at.family, at.is_tcp) == ("tcp6", "fe80::1%eth0", 5601, 6, True)
    assert at.with_port(7) == "tcp6://[fe80::1%eth0]:7"
    at = parse("tcp://*:0", "x", listen=True)
    assert (at.host, at.port, at.family) == ("", 0, 0)
    assert parse("ws://host:80/a/b", "x").is_tcp is False
