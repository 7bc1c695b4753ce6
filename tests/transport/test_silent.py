"""Connections that are silent in their handshake are ended, also when a flood has taken every descriptor."""

import errno
import os
import socket

import pytest

from raftx.transport import silent
from raftx.transport.silent import SilentConnections

pytestmark = pytest.mark.once


@pytest.fixture
def comers():
    """Both ends of two connections to one port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ends = [socket.create_connection(server.getsockname()) for _ in range(2)]
        mine = [server.accept()[0] for _ in range(2)]
        yield server.getsockname(), ends
        for each in (*ends, *mine):
            each.close()


def test_they_are_ended_after_their_time(comers):
    at, ends = comers
    made = SilentConnections(at, 1.0, 10, set)
    made.look(0.0)
    assert (made.waiting(), made.ended) == (2, 0)
    made.look(1.5)
    assert (made.waiting(), made.ended) == (0, 2)
    assert [each.recv(1) for each in ends] == [b"", b""]
    made.close()
    made.close()


@pytest.mark.parametrize("when", [0, 1])
def test_a_shortage_of_descriptors_passes(comers, monkeypatch, when):
    """Before they are seen, or before they are ended: nobody is forgotten for it."""
    at, ends = comers
    made = SilentConnections(at, 1.0, 10, set)

    def short(fd, inode):
        raise OSError(errno.EMFILE, "no descriptors")

    for now in (0.0, 2.0)[:when]:
        made.look(now)
    with monkeypatch.context() as patch:
        patch.setattr(silent, "_copy", short)
        with pytest.raises(OSError, match="no descriptors"):
            made.look(3.0)
    assert made.ended == 0
    made.look(4.0)
    made.look(6.0)
    assert made.ended == 2 and [each.recv(1) for each in ends] == [b"", b""]
    made.close()


@pytest.mark.parametrize("all_gone", [False, True], ids=["one is there", "all gone"])
def test_a_copy_that_has_gone_since_hides_nobody(comers, monkeypatch, all_gone):
    """Another node of the process makes copies of the same descriptors while it looks, and closes them."""
    at, ends = comers
    made = SilentConnections(at, 1.0, 10, set)
    sockets = silent._sockets
    gone = os.dup(0)
    os.close(gone)

    def there():
        found = sockets()
        copies = [(gone, inode) for _, inode in found]
        return copies if all_gone else copies + found + copies

    def look(now, copied):
        with monkeypatch.context() as patch:
            if copied:
                patch.setattr(silent, "_sockets", there)
            made.look(now)

    look(0.0, True)
    if all_gone:
        assert made.waiting() == 0
        look(0.5, False)
    assert made.waiting() == 2
    look(2.0, True)
    if all_gone:
        assert (made.waiting(), made.ended) == (2, 0)
        look(2.5, False)
    assert (made.waiting(), made.ended) == (0, 2) and [each.recv(1) for each in ends] == [b"", b""]
    made.close()


def test_one_descriptor_is_kept_for_it(comers, monkeypatch):
    made = SilentConnections(comers[0], 1.0, 10, set)
    spare = made._spare
    assert spare >= 0
    sockets = silent._sockets

    def there():
        assert made._spare == -1  # it is given up meanwhile
        return sockets()

    monkeypatch.setattr(silent, "_sockets", there)
    made.look(0.0)
    assert made._spare >= 0 and made.waiting() == 2
    made.close()


@pytest.mark.parametrize(("host", "ended"), [("127.0.0.1", 1), ("0.0.0.0", 2), ("127.0.0.3", 0)])
def test_another_server_at_the_same_port_keeps_its_connections(host, ended):
    """The program may listen there too, at another address of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
        with socket.create_server(("127.0.0.2", port)) as other:
            ends = [socket.create_connection(server.getsockname()) for server in (one, other)]
            mine = [server.accept()[0] for server in (one, other)]
            made = SilentConnections((host, port), 1.0, 10, set)
            made.look(0.0)
            made.look(2.0)
            assert made.ended == ended
            for each in mine[ended:]:
                each.sendall(b"on")
            assert [end.recv(2) for end in ends] == [b""] * ended + [b"on"] * (2 - ended)
            made.close()
            for each in (*ends, *mine):
                each.close()
