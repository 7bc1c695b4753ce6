"""What a node asks of its transport: whole frames, to a member, best effort.

A transport may lose, delay, repeat and reorder frames; it must not change them without being
noticed (frames carry checksums) and must not block in ``send``. It may be told at any
time where a member can be reached; what a member sends is taken wherever it comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from ..errors import ConfigError
from ..types import NUMBER_MAX, is_id

# What the engine's rows for a transport written in Python ask for, in their second column; 0: a frame is to be sent.
ASK_RENEW = 1  # to: end the connection, dial again
ASK_PROVEN = 2  # source: a valid frame has come from there
ASK_REACH = 3  # to: it has just connected

FRAME_UNIT = 64 << 10  # a frame header tells the largest frame that its sender takes, in these units


def check_peer(id: object) -> None:
    """Raise ConfigError for what can be no member's id."""
    if not is_id(id):
        raise ConfigError(f"id must be an integer in 1..{NUMBER_MAX}, not {id!r}")


@runtime_checkable
class Transport(Protocol):
    """How frames reach the other members."""

    def start(self, id: int, deliver: Callable[[bytes], object]) -> None:
        """Begin to receive for node ``id``; ``deliver(frame)`` may be called from any thread, and never blocks.

        Raises ``TransportError`` when it cannot listen.
        """

    def send(self, to: int, frame: bytes) -> bool:
        """Hand over a frame for member ``to``. False: it was dropped (the node then counts the peer as unreachable)."""

    def add_peer(self, id: int, address: str) -> None:
        """Member ``id`` is to be reached at ``address`` from now on, in the transport's own form of addresses.

        Before ``start`` or later; again with the same address changes nothing. Any thread; must not wait for the
        network. Raises ``ConfigError`` for what is no id, and for an address that it cannot be.
        """

    def remove_peer(self, id: int) -> None:
        """Send nothing more to member ``id``: ``send`` returns False. Nothing when it is not there. Any thread.

        Raises ``ConfigError`` for what is no id.
        """

    def close(self) -> None:
        """Stop receiving and release sockets. May be called twice; no ``deliver`` after it returns."""


# A transport may have more methods; a node uses them where they are there.
#
#   attach(deliver_from, connected)   before start(). deliver_from(frame, source) takes the place of deliver(frame):
#                                     source is a number above 0 of the connection that the frame came over. A third
#                                     argument, if it is there and not 0, is the member whose connection that is: a
#                                     frame of another sender is dropped.
#                                     connected(id): a connection to that member is established.
#   secure(cluster, id)               before start(): the 16 bytes of the cluster and the member that this node is
#   reload_tls()                      read the files of keys and certificates again
#   proven(source)                    a valid frame has come over that connection
#   renew(to)                         the connection to that member is of no use: make another one
#   reach(to)                         that member has just connected: if there is no connection to it, dial now
#   expect(id, members)               whom this node wants to reach, at its start
#   notes                             a Notes (_native.limits): what people should hear of, for the node to log
#   report(id)                        called some times a second: log what else people should hear of
#   status()                          a dict of counters, shown as status().transport of the node
#   check_address(address, field)     raises ConfigError, which names the field, for what cannot be the address of a
#                                     member. With it a node refuses such an address in a change of membership.
#                                     Any thread; looks nothing up, and waits for nothing
#   peers                             a mapping of the members that it was told of to their addresses
#   cluster_keys                      keys by which the node seals frames: each has 32 bytes more then
#   max_frame_bytes                   the largest frame that it takes, without a seal
