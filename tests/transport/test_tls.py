"""Mutual TLS between members: who may connect, whose frames are taken, and what the files must be. Loopback only."""

import contextlib
import gc
import logging
import os
import socket
import ssl
import time

import pynng
import pytest

from tests.helpers.implementations import module
from tests.helpers.keys import Files, Named
from tests.helpers.ports import ports
from tests.helpers.sockets import CLUSTER, Cluster, Machine
from tests.helpers.waiting import WAIT, eventually

WAYS = ("direct", "use_gil")


@pytest.fixture
def files(impl, tmp_path):
    return Files(impl, tmp_path)


@pytest.fixture(params=WAYS)
def cluster(request, impl, files):
    made = Cluster(impl, request.param, keys=files, stranger_ms=300)
    yield made
    made.close()


def stranger(impl, keys, to, id, port, **settings):
    """A node of a cluster of its own that dials another one's member."""
    transport = impl.NngTransport(f"tls+tcp://127.0.0.1:{port}", to, tls=keys.tls(id, **settings))
    config = impl.Config(id=id, cluster=CLUSTER, tick_ms=20)
    return impl.Node(config, impl.MemoryStorage(voters=[id, *to]), transport, Machine()).start()


def test_a_cluster_works_and_knows_whose_connection_is_whose(cluster, impl):
    for number in range(20):
        assert cluster.propose(b"%d" % number).result == number + 1
    large = os.urandom(900_000)
    assert cluster.propose(large).result == 21
    for machine in cluster.machines.values():
        eventually(lambda machine=machine: len(machine.commands) == 21)
        assert machine.commands[-1] == large
    for node in cluster.nodes.values():
        eventually(lambda node=node: node.status().transport["connections"] == 2)
        status = node.status()
        assert status.transport["unnamed"] == 0
        assert 29 * 86_400 < status.transport["tls_expires"] - time.time() <= 30 * 86_400
        assert status.frames_rejected["identity"] == 0


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors are found under /proc")
def test_a_connection_that_ends_unnoticed_is_closed(cluster, impl):
    """NNG does not notice every end of a connection with TLS: here its socket is exchanged for one that has ended."""
    assert cluster.propose(b"before").result == 1
    node = cluster.nodes[3]
    eventually(lambda: node.status().transport["connections"] == 2)
    silent, port = module(impl, "transport.silent"), int(cluster.urls[3].rpartition(":")[2])

    def pipes():
        return {pipe for pipe, _ in cluster.transports[3]._arrivals.py_pipes()}

    def came():
        found = []
        for fd, inode in silent._sockets():
            with contextlib.suppress(OSError), silent._copy([fd], inode) or contextlib.nullcontext() as made:
                if made and made.getsockname()[1] == port and made.getpeername():
                    found.append(fd)
        return found

    before = pipes()
    with socket.socket() as ended:
        os.dup2(ended.fileno(), came()[0], inheritable=False)
    # Whose it was connects again, and what has ended does not stay.
    eventually(lambda: not before <= pipes() and node.status().transport["connections"] == 2)
    assert cluster.propose(b"after").result == 2
    eventually(lambda: cluster.machines[3].commands == [b"before", b"after"])


def test_names_of_trustme_are_told_apart(impl, tmp_path):
    made = Cluster(impl, keys=Named(impl, tmp_path))
    try:
        assert made.propose(b"named").result == 1
        for machine in made.machines.values():
            eventually(lambda machine=machine: machine.commands == [b"named"])
    finally:
        made.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_certificate_of_another_cluster_or_authority_or_none_is_not_let_in(impl, tmp_path, files, way):
    """Before its first message: nothing of it is counted as a frame."""
    port, other = ports(2)
    url = f"tls+tcp://127.0.0.1:{port}"
    config = impl.Config(id=1, cluster=CLUSTER, tick_ms=20)
    transport = impl.NngTransport(url, tls=files.tls(1), use_gil=way == "use_gil")
    with impl.Node(config, impl.MemoryStorage(voters=[1, 2]), transport, Machine()) as node:
        files.issue(2, cluster=b"another cluster!")
        for authority in (files, Files(impl, tmp_path / "another", b"another cluster!")):
            before = node.status()
            foreign = impl.NngTransport(f"tls+tcp://127.0.0.1:{other}", {1: url}, tls=authority.tls(2), dial_ms=40)
            foreign.secure(b"another cluster!", 2)
            foreign.start(2, lambda frame: None)
            try:
                # Both sides close it: the one that answers has no name that the one that dials knows.
                eventually(lambda foreign=foreign: foreign.status()["dial_failures"] >= 3)
            finally:
                foreign.close()
            after = node.status()
            assert after.frames_in == before.frames_in and sum(after.frames_rejected.values()) == 0
        context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        context.check_hostname = False
        with socket.create_connection(("127.0.0.1", port)) as bare, pytest.raises(OSError):  # noqa: SIM117
            with context.wrap_socket(bare) as wrapped:
                wrapped.sendall(b"\0SP\0\0\x50\0\0")
                if not wrapped.recv(8):  # with TLS 1.3 the refusal comes after the client's part
                    raise OSError("closed")
        assert node.status().frames_in == before.frames_in


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["raftx://nng-test-cluster/2", "raftx://nng-test-cluster/77"])
def test_who_has_a_good_name_is_counted_and_who_has_none_is_not_let_in(impl, files, way, name):
    """The client here is OpenSSL's: it takes any answer."""
    (port,) = ports(1)
    config = impl.Config(id=1, cluster=CLUSTER, tick_ms=20)
    transport = impl.NngTransport(
        f"tls+tcp://127.0.0.1:{port}", tls=files.tls(1), use_gil=way == "use_gil", stranger_ms=60_000
    )
    cluster = b"nng-test-cluster" if name.endswith("/2") else b"not that cluster"
    files.issue(2, cluster=cluster)
    cert, key = files.authority.paths(2)
    context = ssl.create_default_context(cafile=files.directory / "ca.pem")
    context.check_hostname = False
    context.load_cert_chain(cert, key)
    frames = [module(impl, "_core").Codec(CLUSTER, sender, 2**33).encode(1, []) for sender in (2, 3)]
    with impl.Node(config, impl.MemoryStorage(voters=[1, 2, 3]), transport, Machine()) as node:
        bare = socket.create_connection(("127.0.0.1", port))
        with context.wrap_socket(bare) as wrapped:
            good = name.endswith("/2")
            # Who has no good name may find that it was hung up on already.
            with contextlib.nullcontext() if good else contextlib.suppress(ssl.SSLError, ConnectionError):
                wrapped.sendall(b"\0SP\0\0\x50\0\0")
                for frame in frames:
                    wrapped.sendall(len(frame).to_bytes(8, "big") + frame)
            if good:
                # Its own frame is taken; the one in another member's name is dropped, and counted.
                eventually(lambda: node.status().frames_rejected["identity"] == 1)
                eventually(lambda: node.status().frames_in == 2)
            else:
                eventually(lambda: node.status().transport["unnamed"] == 1)
                assert node.status().frames_in == 0
            assert node.status().transport["connections"] == (1 if good else 0)


@pytest.mark.parametrize("way", WAYS)
def test_who_answers_must_be_the_member_that_was_dialled(impl, files, way):
    """Where member 2 should be, there is member 3: nothing is sent to it."""
    here, there = ports(2)
    nodes = {}
    try:
        for id, port, voters, peers in (
            (1, here, [1, 2], {2: f"tls+tcp://127.0.0.1:{there}"}),
            (3, there, [3], {}),
        ):
            transport = impl.NngTransport(
                f"tls+tcp://127.0.0.1:{port}", peers, tls=files.tls(id), use_gil=way == "use_gil", dial_ms=40
            )
            config = impl.Config(id=id, cluster=CLUSTER, tick_ms=20)
            nodes[id] = impl.Node(config, impl.MemoryStorage(voters=voters), transport, Machine()).start()
        eventually(lambda: nodes[1].status().transport["dial_failures"] >= 3)
        assert nodes[3].status().frames_in == 0 and nodes[1].status().transport["connected"] == 0
    finally:
        for node in nodes.values():
            node.close()


def test_old_tls_is_refused_where_1_3_is_wanted(impl, files):
    (port,) = ports(1)
    transport = impl.NngTransport(f"tls+tcp://127.0.0.1:{port}", tls=files.tls(1, min_version="1.3"))
    config = impl.Config(id=1, cluster=CLUSTER, tick_ms=20)
    files.issue(2)
    with impl.Node(config, impl.MemoryStorage(voters=[1, 2]), transport, Machine()):
        for version, good in ((ssl.TLSVersion.TLSv1_2, False), (ssl.TLSVersion.TLSv1_3, True)):
            context = ssl.create_default_context(cafile=files.directory / "ca.pem")
            context.check_hostname = False
            context.load_cert_chain(*files.authority.paths(2))
            context.maximum_version = version
            with socket.create_connection(("127.0.0.1", port)) as bare:
                try:
                    with context.wrap_socket(bare) as wrapped:
                        assert good and wrapped.version() == "TLSv1.3"
                except OSError:
                    assert not good


@pytest.mark.parametrize("count", [5, 100])
def test_connections_that_say_nothing_are_ended(cluster, count):
    """Fewer than a hundred at once, and none for long; a member is not delayed."""
    assert cluster.propose(b"before").result == 1
    node = cluster.leader()
    port = int(cluster.urls[node.id].rpartition(":")[2])
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    try:
        assert cluster.propose(b"meanwhile").result == 2
        for each in silent:
            each.settimeout(20)
            assert each.recv(1) == b""
        eventually(lambda: node.status().transport["refused"] >= count)
        eventually(lambda: node.status().transport["strangers"] == 0)
        eventually(lambda: node.status().transport["connections"] == 2)
    finally:
        for each in silent:
            each.close()
    assert cluster.propose(b"after").result == 3


def connected(at, context):
    with socket.create_connection(at) as bare:
        return context.wrap_socket(bare)


# Python leaves a socket open that is reset before its handshake.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_connections_that_are_reset_after_their_handshake_keep_no_descriptor(impl, tmp_path):
    """By a member: NNG forgets some of them and keeps their descriptors until it listens anew."""
    files = Files(impl, tmp_path)
    made = Cluster(impl, keys=files, stranger_ms=200, max_strangers=1)
    try:
        made.propose(b"before")
        node = made.leader()
        at = ("127.0.0.1", int(made.urls[node.id].rpartition(":")[2]))
        context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        context.check_hostname = False
        context.load_cert_chain(*files.authority.paths(1 if node.id != 1 else 2))
        before = len(os.listdir("/proc/self/fd"))
        through = 0
        for _ in range(40):
            # One that is slow, or is there when the node listens anew, does not get through.
            with contextlib.suppress(ssl.SSLError, ConnectionError), contextlib.closing(connected(at, context)):
                through += 1
        assert through > 10
        eventually(lambda: len(os.listdir("/proc/self/fd")) <= before + 6)
        assert made.propose(b"after").result == 2
    finally:
        made.close()


# --- files -------------------------------------------------------------------------------------------


def refused(impl, tls, id=1):
    transport = impl.NngTransport("tls+tcp://127.0.0.1:0", tls=tls)
    with pytest.raises(impl.ConfigError) as error:
        transport.secure(CLUSTER, id)
    return str(error.value)


def test_the_key_is_its_owners_alone(impl, files):
    tls = files.tls(1)
    for mode in (0o640, 0o604, 0o620):
        os.chmod(tls.key, mode)
        assert f"can be read or written by others (mode {mode:o}): chmod 600" in refused(impl, tls)


def test_what_is_wrong_with_the_files_is_told(impl, files, tmp_path):
    files.issue(2)
    tls = files.tls(1)
    assert "it must have the URI raftx://nng-test-cluster/1" in refused(impl, files.tls(1, who=2))
    assert "do not belong together" in refused(impl, impl.Tls(cert=tls.cert, key=tmp_path / "2.key", ca=tls.ca))
    assert "cannot be read: No such file" in refused(impl, impl.Tls(cert=tls.cert, key=tls.key, ca=tmp_path / "no"))
    empty = tmp_path / "empty"
    empty.write_text("nothing")
    assert "has no certificate in it" in refused(impl, impl.Tls(cert=tls.cert, key=tls.key, ca=empty))
    broken = tmp_path / "broken"
    broken.write_text("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")
    assert "certificate" in refused(impl, impl.Tls(cert=tls.cert, key=tls.key, ca=broken))
    named = impl.Tls(cert=tls.cert, key=tls.key, ca=tls.ca, names={1: "one.example"})
    assert "the DNS name one.example as a subject alternative name" in refused(impl, named)
    assert "names has no name of this member, 3" in refused(impl, named, 3)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"cert": 7}, "cert must be the path of a file"),
        ({"min_version": "1.1"}, 'min_version must be "1.2" or "1.3"'),
        ({"names": {1: "a", 2: "A"}}, "two members have the same"),
        ({"names": {0: "a"}}, "DNS names by ids"),
        ({"names": {1: "a b"}}, "DNS names by ids"),
        ({"names": ["a"]}, "names must be a mapping"),
        ({"renew_s": 0}, "renew_s must be an integer"),
        ({"renew_s": True}, "renew_s must be an integer"),
    ],
)
def test_settings_are_checked(impl, given, what):
    with pytest.raises(impl.ConfigError, match=what):
        impl.Tls(**{"cert": "a", "key": "b", "ca": "c", **given})


def test_addresses_and_tls_belong_together(impl, files):
    with pytest.raises(impl.ConfigError, match="give the transport tls"):
        impl.NngTransport("tls+tcp://127.0.0.1:0")
    with pytest.raises(impl.ConfigError, match=r"with tls it must be tls\+tcp"):
        impl.NngTransport("tcp://127.0.0.1:0", tls=files.tls(1))
    with pytest.raises(impl.ConfigError, match=r"peers: 2 has the address .*with tls it must be"):
        impl.NngTransport("tls+tcp://127.0.0.1:0", {2: "tcp://127.0.0.1:1"}, tls=files.tls(1))
    with pytest.raises(impl.ConfigError, match=r"must be a raftx\.Tls"):
        impl.NngTransport("tls+tcp://127.0.0.1:0", tls="certs")
    with pytest.raises(impl.UsageError, match="a transport is a node's"):
        impl.NngTransport("tls+tcp://127.0.0.1:0", tls=files.tls(1)).start(1, print)
    shown = repr(files.tls(1)) + repr(impl.NngTransport("tls+tcp://127.0.0.1:0", tls=files.tls(1)))
    assert "PRIVATE" not in shown


# --- names -------------------------------------------------------------------------------------------


def signed_without_a_name(files, id, extension):
    """A certificate of the members' authority that names nobody: with this as its alternative names, or none at all."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    from raftx.cli import certs

    key = certs._new_key()
    made = certs._begun(certs._name("member 2"), files.authority._own.subject, key.public_key(), 30)
    if extension is not None:
        made = made.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), extension), False)
    cert, path = files.authority.paths(id)
    certs._write(path, certs._key_text(key), 0o600)
    text = certs._signed(made, files.authority._key).public_bytes(serialization.Encoding.PEM)
    certs._write(cert, text, 0o644)
    return cert, path


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("extension", [None, b"\x30\x00"], ids=["none", "empty"])
def test_a_certificate_that_names_nobody_is_not_let_in_and_costs_nothing(impl, files, way, extension):
    (port,) = ports(1)
    context = ssl.create_default_context(cafile=files.directory / "ca.pem")
    context.check_hostname = False
    context.load_cert_chain(*signed_without_a_name(files, 2, extension))
    transport = impl.NngTransport(f"tls+tcp://127.0.0.1:{port}", tls=files.tls(1), use_gil=way == "use_gil")
    config = impl.Config(id=1, cluster=CLUSTER, tick_ms=20)
    with impl.Node(config, impl.MemoryStorage(voters=[1]), transport, Machine()) as node:
        for _ in range(3):
            bare = socket.create_connection(("127.0.0.1", port))
            bare.settimeout(WAIT)
            # It is hung up on, in the handshake or right after it.
            with contextlib.suppress(OSError), context.wrap_socket(bare) as wrapped:
                wrapped.sendall(b"\0SP\0\0\x50\0\0")
                while wrapped.recv(8):
                    pass
            bare.close()
        eventually(lambda: node.status().transport["strangers"] == 0)
        assert node.status().frames_in == 0 and node.status().transport["connections"] == 0
        # Nothing goes on looking at it: the node works, and time passes for it.
        ticks = node.status().ticks
        eventually(lambda: node.status().ticks > ticks + 3)
        assert node.propose(b"goes on", timeout=WAIT).result(WAIT).result == 1


def test_what_names_members_is_of_no_interest_to_the_collector(impl):
    """NNG reads it without the GIL: a collection must not empty it before what uses it is gone."""
    made = module(impl, "_native.identity").Identities(b"raftx://c/", {})
    if impl.COMPILED:
        assert not gc.is_tracked(made)
    assert made.py_member([b"raftx://c/7"]) == 7


def test_a_name_is_one_members(impl):
    identities = module(impl, "_native.identity").Identities
    ours = identities(b"raftx://c/", {})
    for texts, id in (
        ([b"raftx://c/7"], 7),
        ([b"other", b"raftx://c/7", b"raftx://d/8"], 7),
        ([b"raftx://c/7", b"raftx://c/7"], 7),
        ([b"raftx://c/9223372036854775807"], 2**63 - 1),
        ([], 0),
        ([b"raftx://c/7", b"raftx://c/8"], 0),
        ([b"raftx://c/"], 0),
        ([b"raftx://c/0"], 0),
        ([b"raftx://c/07"], 0),
        ([b"raftx://c/7 "], 0),
        ([b"raftx://c/7/"], 0),
        ([b"raftx://c/-7"], 0),
        ([b"raftx://c/9223372036854775808"], 0),
        ([b"raftx://c/18446744073709551617"], 0),
        ([b"raftx://c/99999999999999999999999"], 0),
        ([b"raftx://c/x", b"raftx://c/7"], 0),
        ([b"xraftx://c/7"], 0),
        ([b"RAFTX://c/7"], 0),
        ([b"raftx://c/7\0/evil"], 7),
    ):
        assert ours.py_member(texts) == id, texts
    named = identities(b"raftx://c/", {1: b"one.example", 2: b"Two.Example"})
    for texts, id in (
        ([b"ONE.example"], 1),
        ([b"two.example", b"x"], 2),
        ([b"one.example", b"two.example"], 0),
        ([b"one.example.evil"], 0),
        ([b"one.exampl"], 0),
        ([b"raftx://c/1"], 0),
    ):
        assert named.py_member(texts) == id, texts
    for names in ({1: b"a\0b"}, dict.fromkeys(range(1, 66), b"a")):
        with pytest.raises(ValueError, match="name"):
            identities(b"p", names)


def test_names_of_clusters(impl):
    uri = module(impl, "transport.tls").member_uri
    assert uri(b"flags".ljust(16, b"\0"), 3) == "raftx://flags/3"
    assert uri(b"a b/c".ljust(16, b"\0"), 3) == "raftx://a%20b%2Fc/3"
    assert uri(bytes(range(240, 256)), 3) == f"raftx://{bytes(range(240, 256)).hex()}/3"


# --- rotation ----------------------------------------------------------------------------------------


def test_files_are_replaced_while_a_cluster_works(cluster, files, caplog):
    """By the times of the files, and when asked; connections of before end, and nothing is lost meanwhile."""
    caplog.set_level(logging.INFO, "raftx")
    assert cluster.propose(b"before").result == 1
    first = {id: node.status().transport["tls_expires"] for id, node in cluster.nodes.items()}
    for id in cluster.nodes:
        files.issue(id, days=60)
    for id, node in cluster.nodes.items():
        eventually(lambda id=id, node=node: node.status().transport["tls_expires"] > first[id] + 20 * 86_400)
        assert not node.reload_tls()
    assert cluster.propose(b"after").result == 2
    assert sum(record.raftx_event == "tls_reloaded" for record in caplog.records) == 3
    # A member that begins again meets those that have read the new files.
    victim = next(node for node in cluster.nodes.values() if not node.is_leader)
    victim.close()
    cluster.start(victim.id)
    eventually(lambda: len(cluster.machines[victim.id].commands) == 2)


def test_connections_with_old_files_end_after_a_while(impl, tmp_path):
    files = Files(impl, tmp_path, renew_s=1)
    made = Cluster(impl, keys=files)
    try:
        assert made.propose(b"before").result == 1
        files.issue(1)
        assert made.nodes[1].reload_tls()
        eventually(lambda: made.nodes[1].status().transport["renewals"] >= 2)
        eventually(lambda: made.nodes[1].status().transport["connections"] == 2)
        assert made.propose(b"after").result == 2
    finally:
        made.close()


def test_files_that_cannot_be_used_change_nothing(cluster, files, caplog):
    assert cluster.propose(b"before").result == 1
    node = cluster.nodes[1]
    cert, _ = files.authority.paths(1)
    was = cert.read_bytes()
    cert.write_bytes(b"no certificate")
    with pytest.raises(cluster.impl.ConfigError, match="do not belong together"):
        node.reload_tls()
    eventually(lambda: any(record.raftx_event == "tls_refused" for record in caplog.records))
    assert cluster.propose(b"after").result == 2
    cert.write_bytes(was)
    assert not node.reload_tls()


class Refusing:
    """The library of NNG, which takes no new files."""

    def __init__(self, library):
        self.library = library

    def __getattr__(self, name):
        return getattr(self.library, name)

    def nng_listener_set_ptr(self, *arguments):
        return self.library.NNG_ENOTSUP


def test_files_that_nng_refuses_change_nothing(cluster, files, monkeypatch):
    """It takes less than OpenSSL does, which reads them first."""
    node = cluster.nodes[1]
    assert cluster.propose(b"before").result == 1
    first = node.status().transport["tls_expires"]
    with monkeypatch.context() as patched:
        patched.setattr(pynng, "lib", Refusing(pynng.lib))
        files.issue(1, days=60)
        with pytest.raises(cluster.impl.ConfigError, match="NNG does not take the new files"):
            node.reload_tls()
        assert node.status().transport["tls_expires"] == first
    assert cluster.propose(b"after").result == 2
    # Those of before were kept, so these are new still.
    eventually(lambda: node.reload_tls() or node.status().transport["tls_expires"] > first)
    assert node.status().transport["tls_expires"] > first + 20 * 86_400


def test_a_certificate_that_ends_is_told_30_7_and_1_days_before(impl, files, caplog):
    keys = module(impl, "transport.tls")
    own = keys.Keys(files.tls(1), CLUSTER, 1)
    own.load()
    watch = keys.KeyWatch(own, own.load, lambda: 1.0)
    day, end = 86_400, own.not_after
    told = []
    for left in (31, 30, 29, 8, 6.9, 6, 2, 1, 0.5, -0.1, -5):
        before = len(caplog.records)
        watch.look(end - left * day)
        if len(caplog.records) > before:
            told.append(left)
    assert told == [30, 6.9, 1, -0.1]
    assert "has ended" in caplog.records[-1].getMessage() and caplog.records[0].raftx_fields["expires"] == end


def test_a_member_whose_certificate_has_ended_is_not_let_in(impl, tmp_path):
    made = Cluster(impl, keys=(named := Named(impl, tmp_path)), dial_ms=60)
    try:
        assert made.propose(b"before").result == 1
        victim = next(node for node in made.nodes.values() if not node.is_leader)
        victim.close()
        named.issue(victim.id, days=-1)
        made.start(victim.id)
        back = made.nodes[victim.id]
        eventually(lambda: back.status().transport["dial_failures"] >= 3)
        assert back.status().transport["connected"] == 0
        named.issue(victim.id)
        eventually(lambda: len(made.machines[victim.id].commands) == 1)
    finally:
        made.close()


def test_nodes_without_tls_have_nothing_to_reload(impl):
    config = impl.Config(id=1, tick_ms=20)
    node = impl.Node(config, impl.MemoryStorage(voters=[1]), impl.NngTransport("inproc://no-tls"), Machine())
    with node, pytest.raises(impl.UsageError, match="there is no TLS to reload"):
        node.reload_tls()
