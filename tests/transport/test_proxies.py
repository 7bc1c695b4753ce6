"""What a proxy acknowledges and does not pass on: connections that look whole to TCP are made anew all the same."""

import contextlib
import select
import socket
import threading
import time

import pytest

from tests.helpers.ports import ports
from tests.helpers.sockets import Cluster
from tests.helpers.transports import WAYS
from tests.helpers.waiting import eventually


class Proxy:
    """Passes on what goes to one address, until told to swallow it: it still acknowledges, as a proxy does."""

    def __init__(self, port, target):
        self.server = socket.create_server(("127.0.0.1", port))
        self.target = target
        self.pairs = []
        self.stalled = set()
        self.stop = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def stall(self):
        """Swallow everything on the connections of now; new ones work."""
        self.stalled |= {id(pair) for pair in self.pairs}

    def readable(self):
        """The sockets with something to read; select() takes no descriptors above 1,023."""
        poll, sockets = select.poll(), {}
        for each in (self.server, *(side for pair in self.pairs for side in pair)):
            poll.register(each, select.POLLIN)
            sockets[each.fileno()] = each
        return [sockets[descriptor] for descriptor, _ in poll.poll(20)]

    def run(self):
        while not self.stop:
            for ready in self.readable():
                if ready is self.server:
                    inner = self.server.accept()[0]
                    try:
                        self.pairs.append((inner, socket.create_connection(("127.0.0.1", self.target))))
                    except OSError:
                        inner.close()
                    continue
                pair = next((pair for pair in self.pairs if ready in pair), None)
                if pair is None:
                    continue
                data = b""
                with contextlib.suppress(OSError):
                    data = ready.recv(1 << 16)
                if id(pair) in self.stalled and data:
                    continue
                with contextlib.suppress(OSError):
                    if data:
                        pair[pair.index(ready) ^ 1].sendall(data)
                if not data:
                    self.pairs.remove(pair)
                    for side in pair:
                        side.close()
        for side in (self.server, *(side for pair in self.pairs for side in pair)):
            side.close()

    def close(self):
        self.stop = True
        self.thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("direction", ["to", "from", "both"])
def test_what_a_proxy_swallows_is_noticed(impl, way, direction):
    """TCP acknowledges everything, and nothing arrives: connections to a follower, from it, or both are made anew."""
    proxies = []

    class Proxied(Cluster):
        def start(self, id):
            if not proxies:
                self.victim = 3
                for sender, recipient in ((1, 3), (2, 3), (3, 1), (3, 2)):
                    port = ports(1)[0]
                    proxy = Proxy(port, int(self.urls[recipient].rsplit(":", 1)[1]))
                    proxies.append((sender, recipient, port, proxy))
            urls = dict(self.urls)
            for sender, recipient, port, _ in proxies:
                if sender == id:
                    self.urls[recipient] = f"tcp://127.0.0.1:{port}"
            super().start(id)
            self.urls = urls

    made = Proxied(impl, way)
    try:
        while made.leader().id == 3:
            made.nodes[3].transfer_leadership()
            time.sleep(0.05)
        made.propose(b"before")
        eventually(lambda: len(made.machines[3].commands) == 1)
        for _, recipient, _, proxy in proxies:
            if direction == "both" or (recipient == 3) == (direction == "to"):
                proxy.stall()
        time.sleep(0.5)
        made.propose(b"after")
        total = len(made.machines[made.leader().id].commands)
        eventually(lambda: len(made.machines[3].commands) >= total)
        # It takes part again: with another one gone it is needed.
        other = next(node for node in made.nodes.values() if node.id != 3 and not node.is_leader)
        other.close()
        del made.nodes[other.id]
        made.propose(b"together")
        assert sum(node.status().transport["renewals"] for node in made.nodes.values()) > 0
    finally:
        made.close()
        for _, _, _, proxy in proxies:
            proxy.close()
