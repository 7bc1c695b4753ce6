"""raftx's transports and the one of the examples, held against what every transport must do; and wrong ones."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time

import pytest
import trustme

import raftx
from examples.tls_transport import TlsTransport, contexts
from raftx.testing import transport_suite
from raftx.testing.transport_suite import Subject, checks
from tests.helpers.implementations import module
from tests.helpers.paths import ROOT
from tests.helpers.ports import ports
from tests.helpers.waiting import WAIT


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Certificates and keys of a member, and of a stranger, who has another authority's."""
    directory = tmp_path_factory.mktemp("tls")
    for name in ("member", "stranger"):
        authority = trustme.CA()
        if name == "member":
            authority.cert_pem.write_to_path(str(directory / "ca.pem"))
        made = authority.issue_cert(f"{name}.example")
        made.cert_chain_pems[0].write_to_path(str(directory / f"{name}.pem"))
        made.private_key_pem.write_to_path(str(directory / f"{name}.key"))
    return directory


def urls():
    return {id: f"tcp://127.0.0.1:{port}" for id, port in enumerate(ports(3), 1)}


def tls_of(files, name):
    return contexts(files / "ca.pem", files / f"{name}.pem", files / f"{name}.key")


def subject_of(impl, kind):
    """A transport of one kind. In memory an address is nothing: whoever moves goes on where it was."""
    suite = module(impl, "testing.transport_suite")
    if kind == "memory":
        network = impl.MemoryNetwork()
        return suite.Subject(lambda address: network.transport(), dict.fromkeys((1, 2, 3), ""))
    made = {"nng": impl.NngTransport, "tcp": impl.TcpTransport}[kind]
    return suite.Subject(made, urls())


@pytest.mark.parametrize("kind", ["nng", "tcp", "memory"])
@pytest.mark.parametrize("check", checks(), ids=lambda check: check.__name__)
def test_a_transport_of_raftx(impl, kind, check):
    getattr(module(impl, "testing.transport_suite"), check.__name__)(subject_of(impl, kind))


@pytest.mark.parametrize("tls", [None, "member"], ids=["plain", "tls"])
@pytest.mark.parametrize("check", checks(), ids=lambda check: check.__name__)
def test_the_example(files, check, tls):
    both = tls and tls_of(files, tls)
    check(Subject(lambda address: TlsTransport(address, both), urls()))


def test_the_example_counts_over_tls(files):
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / "tls_transport.py"), str(files)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=2 * WAIT)
    assert (done.returncode, done.stdout) == (0, "3 members count 3 over TLSv1_3\n"), done.stderr


def test_strangers_are_not_heard(files):
    """Who has another authority's certificate, none, or sends what is no frame."""
    where = urls()
    came = []
    with contextlib.closing(TlsTransport(where[1], tls_of(files, "member"))) as end:
        end.start(1, came.append)
        with contextlib.closing(TlsTransport(where[2], tls_of(files, "stranger"))) as stranger:
            stranger.start(2, lambda frame: None)
            stranger.add_peer(1, where[1])
            with contextlib.closing(TlsTransport(where[3])) as plain:
                plain.start(3, lambda frame: None)
                plain.add_peer(1, where[1])
                with contextlib.closing(
                    TlsTransport(f"tcp://127.0.0.1:{ports(1)[0]}", tls_of(files, "member"))
                ) as member:
                    member.start(4, lambda frame: None)
                    member.add_peer(1, where[1])
                    host, port = where[1].removeprefix("tcp://").split(":")
                    with socket.create_connection((host, int(port)), WAIT) as odd:
                        odd.sendall(bytes(1000))
                        with contextlib.suppress(ConnectionResetError):
                            while odd.recv(1000):
                                pass  # until it is hung up on
                    subject = Subject(lambda address: None, where)

                    def there():
                        stranger.send(1, b"stranger")
                        plain.send(1, b"plain")
                        member.send(1, b"member")
                        return b"member" in came

                    subject.until(there, "a member's frame")
    assert set(came) == {b"member"}


class Wrong:
    """An end of a memory network with a mistake."""

    def __init__(self, network, wrong):
        self.end = network.transport()
        self.wrong = wrong
        self.go = threading.Event()
        self.deliver = None

    def start(self, id, deliver):
        self.deliver = deliver
        if self.wrong == "cuts":
            self.end.start(id, lambda frame: deliver(frame[:1000]))
        elif self.wrong == "joins":
            self.end.start(id, lambda frame: [deliver(frame), len(frame) < 100 and deliver(frame + frame)])
        else:
            self.end.start(id, deliver)

    def send(self, to, frame):
        if self.wrong == "waits" and to == 3:
            self.go.wait()
        return self.end.send(to, frame) or self.wrong == "hopes"

    def add_peer(self, id, address):
        if self.wrong != "takes any":
            self.end.add_peer(id, address)

    def remove_peer(self, id):
        if self.wrong != "forgets nobody":
            self.end.remove_peer(id)

    def close(self):
        self.go.set()
        self.end.close()


WRONG = {
    "cuts": ("frames_arrive_as_they_were_sent", "did not happen|nobody has sent"),
    "joins": ("many_frames_stay_apart", "nobody has sent"),
    "waits": ("sending_never_waits", "send waits"),
    "hopes": ("whoever_is_not_known_gets_nothing", "must be False"),
    "takes any": ("what_is_no_id_is_refused", "add_peer with the id 0: ConfigError"),
    "forgets nobody": ("a_peer_that_is_removed_gets_nothing", "was removed: must be False"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_found(wrong):
    check, said = WRONG[wrong]
    network = raftx.MemoryNetwork()
    subject = Subject(lambda address: Wrong(network, wrong), dict.fromkeys((1, 2, 3), ""), patience=0.5)
    with pytest.raises(AssertionError, match=said):
        getattr(transport_suite, check)(subject)


def test_what_comes_late_is_found():
    """A transport whose close does not wait for its threads."""
    network = raftx.MemoryNetwork()

    class Late(Wrong):
        def close(self):
            super().close()
            if self.deliver is not None:
                # Another thread of it, as if it had been in the middle of this.
                later = threading.Thread(target=lambda: [time.sleep(0.01), self.deliver(b"late")])
                later.start()
                threads.append(later)

    threads = []
    subject = Subject(lambda address: Late(network, ""), dict.fromkeys((1, 2, 3), ""))
    with pytest.raises(AssertionError, match="after close had returned"):
        transport_suite.nothing_comes_after_it_is_closed(subject)
    for thread in threads:
        thread.join()
