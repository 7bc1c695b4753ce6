"""What transports over sockets have in common: settings, members that come and go, what people should know.

Opens nothing. A subclass dials and listens; it says how in ``_dial``, ``_dial_no_more`` and ``_check_process``.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from .._native.limits import Arrivals, Notes
from .._native.threads import Event
from .._native.wire import Wire
from ..errors import ConfigError, TransportError, UsageError
from ..report import report
from ..types import MEMBERS_MAX, NUMBER_MAX, is_id
from .address import EXAMPLE, NAMED, Address, is_loopback, parse
from .protocol import FRAME_UNIT, check_peer

KEY_BYTES = 32
SEAL_BYTES = 32  # behind a frame: see _native/seal.py
REMEDY = (
    "give all members tls=raftx.Tls(...), or a cluster_key; or say insecure=True if only members can reach the network "
    "(in cluster.toml: the table [tls], cluster_key_file or insecure = true)"
)
#: one key, or the present one and another that is taken as well
Keys: TypeAlias = "bytes | Sequence[bytes] | None"

GUESTS = 4  # connections that have not greeted, for each stranger that is allowed
PLACE_SECONDS = 2.0  # until the place of a peer that was removed is free, at most


class SocketTransport:
    """A transport that dials each peer and is dialled by each. The settings are described in the subclasses."""

    def __init__(
        self,
        listen: str,
        peers: Mapping[int, str],
        *,
        max_frame_bytes: int,
        reconnect_ms: tuple[int, int],
        dial_ms: int,
        unacknowledged_ms: int,
        max_connections: int,
        max_strangers: int,
        stranger_ms: int,
        insecure: bool = False,
        cluster_key: Keys = None,
        sealed_otherwise: bool = False,
    ) -> None:
        if not isinstance(peers, Mapping):
            raise ConfigError(f"peers must be a mapping of ids to addresses, such as {{2: {EXAMPLE!r}}}, not {peers!r}")
        self._listen_at = self._parse(listen, "listen", listen=True)
        self._dial_at: dict[int, Address] = {}
        for id, address in peers.items():
            if not is_id(id):
                raise ConfigError(f"peers: an id must be in 1..{NUMBER_MAX}, not {id!r}")
            # If all members are given the same list, this node's own address is in it.
            self._dial_at[id] = self._parse(address, f"peers: {id}", listen=address == listen)
        if len(peers) > MEMBERS_MAX:
            raise ConfigError(f"peers: at most {MEMBERS_MAX}, not {len(peers)}")
        in_range("max_frame_bytes", max_frame_bytes, 64 << 10, 1 << 30)
        try:
            low, high = reconnect_ms
            good = is_id(low) and is_id(high) and low <= high <= 600_000
        except (TypeError, ValueError):
            good = False
        if not good:
            raise ConfigError(
                f"reconnect_ms must be two integers, 1 <= shortest <= longest <= 600000, not {reconnect_ms!r}"
            )
        in_range("dial_ms", dial_ms, 10, 60_000)
        in_range("unacknowledged_ms", unacknowledged_ms, 100, 600_000)
        in_range("max_connections", max_connections, 2, 4096)
        most = min(max_connections - 1, 1024)
        in_range("max_strangers", max_strangers, 1, most, "less than max_connections, and at most 1024")
        in_range("stranger_ms", stranger_ms, 10, 600_000)
        self.cluster_keys = checked_keys(cluster_key)
        if not isinstance(insecure, bool):
            raise ConfigError(f"insecure must be True or False, not {insecure!r}")
        self.insecure = insecure
        if not (insecure or sealed_otherwise or self.cluster_keys or is_local(self._listen_at)):
            raise ConfigError(
                f"listen has the address {listen!r}, which others can reach, and whoever reaches it could speak in any "
                f"member's name: {REMEDY}"
            )
        self.listen = listen
        self.peers = dict(peers)
        self.max_frame_bytes = -(-max_frame_bytes // FRAME_UNIT) * FRAME_UNIT
        #: of what comes over a connection: with the seal behind a frame
        self._largest = self.max_frame_bytes + (SEAL_BYTES if self.cluster_keys else 0)
        self.reconnect_ms = (low, high)
        self.dial_ms = dial_ms
        self.unacknowledged_ms = unacknowledged_ms
        self.max_connections = max_connections
        self.max_strangers = max_strangers
        self.stranger_ms = stranger_ms
        self.address = listen
        self._pid = os.getpid()
        #: what has happened to the connections: for the node that uses this, which logs it
        self.notes = Notes()
        self._wire: Wire | None = None
        self._arrivals: Arrivals | None = None
        self._closed = False
        self._id = 0
        #: held by callers that add, remove and start; never by the threads that run the connections
        self._changing = threading.RLock()

    def _parse(self, url: object, field: str, *, listen: bool) -> Address:
        """An address that this transport can use. Raises ConfigError, which names ``field``."""
        return parse(url, field, listen=listen)

    def _make_wire(self) -> Wire:
        """Who may stay, and who accepts and dials; nothing listens yet."""
        self._arrivals = Arrivals(self.max_connections, self.max_strangers, self.stranger_ms)
        self._wire = Wire(
            Event(),
            self.notes,
            GUESTS * self.max_strangers,
            self.stranger_ms,
            self.dial_ms,
            *self.reconnect_ms,
            self.unacknowledged_ms,
        )
        return self._wire

    # --- peers that come and go ------------------------------------------------------------------

    def _dial(self, peer: int, at: Address) -> None:
        """Begin to dial a member, unless it is this one. Raises ValueError when there are too many."""
        raise NotImplementedError

    def _dial_no_more(self, peer: int) -> None:
        """Nothing is dialled of this member any more."""
        raise NotImplementedError

    def _check_process(self) -> None:
        """Raise UsageError in a forked child, which does not own the transport."""
        raise NotImplementedError

    def _check_keys(self) -> None:
        """Raise UsageError for a transport that works without a node and would have to seal frames."""
        if self.cluster_keys:
            raise UsageError(
                "cluster_key works in a node only: it is the node that makes frames and looks at them. A transport of "
                "your own that has this one inside has to hand on its attach() and cluster_keys"
            )

    def _dial_all(self, id: int) -> None:
        """Begin to dial everybody but node ``id`` itself."""
        self._id = id
        for peer in sorted(self._dial_at):
            self._dial(peer, self._dial_at[peer])

    def check_address(self, address: str, field: str = "address") -> None:
        """Raise ConfigError, which names ``field``, for what cannot be dialled. Any thread; looks no name up."""
        self._parse(address, field, listen=False)

    def add_peer(self, id: int, address: str) -> None:
        """Dial this member from now on; at another address than before, if it was there. Any thread.

        Raises ConfigError for what is no id or no address, and when there are 64 already; UsageError when the transport
        is closed; TransportError, after 2 seconds, when the place of one that was removed does not become free. When it
        raises, there is no such peer; after a ConfigError or UsageError all is as before.
        """
        check_peer(id)
        at = self._parse(address, f"the address of {id}", listen=address == self.listen)
        # In a forked child the lock may be held for ever.
        self._check_process()
        deadline = time.monotonic() + PLACE_SECONDS
        while not self._try_to_add(id, address, at):
            # One that was removed a moment ago still has its place. Others may add and remove meanwhile.
            if time.monotonic() >= deadline:
                raise TransportError(
                    f"member {id} was not added: the place of a peer that was removed is not free after "
                    f"{PLACE_SECONDS:g} s; call add_peer again"
                )
            time.sleep(0.002)

    def _try_to_add(self, id: int, address: str, at: Address) -> bool:
        """Add a peer, or move it; False when there is no place for it yet. It is entered once it is dialled."""
        with self._changing:
            if self._closed:
                raise UsageError("the transport is closed")
            if self.peers.get(id) == address:
                return True
            if id not in self.peers and len(self.peers) >= MEMBERS_MAX:
                raise ConfigError(f"there are {MEMBERS_MAX} peers, as many as there may be: remove one before {id}")
            self.remove_peer(id)
            try:
                self._dial(id, at)
            except ValueError:
                return False
            self._dial_at[id] = at
            self.peers = {**self.peers, id: address}
            return True

    def remove_peer(self, id: int) -> None:
        """Dial this member no more and end the connection to it; nothing when there is no such peer. Any thread.

        What it sends is received as before: ``peers`` does not say which members may connect. Raises ConfigError for
        what is no id.
        """
        check_peer(id)
        if os.getpid() != self._pid:
            return
        with self._changing:
            if id in self.peers:
                self._dial_no_more(id)
                self._dial_at.pop(id)
                self.peers = {peer: address for peer, address in self.peers.items() if peer != id}

    # --- what people should know -----------------------------------------------------------------

    def expect(self, id: int, members: Iterable[int]) -> None:
        """The members are these: warn of those without an address, which can never be reached from here."""
        missing = sorted(set(members) - set(self.peers) - {id})
        if missing:
            names = ", ".join([str(member) for member in missing])
            text = "node %d: peers has no address for %s: nothing can be sent there from here"
            report(logging.WARNING, text, id, names)

    def _status(self, connected: int, renewals: int) -> dict[str, int]:
        """Connections and what was refused; counters begin at 0 with the start. Any thread."""
        wire, arrivals = self._wire, self._arrivals
        if wire is None or arrivals is None:
            return {}
        return {
            "connections": arrivals.py_count(),
            "strangers": arrivals.py_count(True) + wire.py_waiting(),
            "refused": wire.refused + arrivals.refused,
            "dials": wire.dials,
            "dial_failures": wire.failures,
            "connected": connected,
            "renewals": renewals,
            "shortages": wire.shortages,
        }


def is_local(at: Address) -> bool:
    """Whether nobody on another machine can connect there."""
    return at.scheme in NAMED or is_loopback(at.host)


def checked_keys(given: Keys) -> tuple[bytes, ...]:
    """The keys of a cluster, the one that seals first. Raises ConfigError, which shows none of them."""
    if given is None:
        return ()
    keys = (given,) if isinstance(given, bytes) else tuple(given) if isinstance(given, (list, tuple)) else ()
    if not 1 <= len(keys) <= 2 or any(type(key) is not bytes or len(key) != KEY_BYTES for key in keys):
        raise ConfigError(
            f"cluster_key must be {KEY_BYTES} bytes, from secrets.token_bytes({KEY_BYTES}), say, or two such keys "
            "while one takes the other's place"
        )
    if len(set(keys)) != len(keys):
        raise ConfigError("cluster_key must be two different keys, or one")
    return keys


def in_range(name: str, value: object, low: int, high: int, why: str = "") -> None:
    """Raise ConfigError unless ``value`` is an integer within; ``why``: where ``high`` comes from."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        reason = f" ({why})" if why else ""
        raise ConfigError(f"{name} must be an integer in {low}..{high}{reason}, not {value!r}")
