"""The admin server of a node: made when a node asks for one, started and ended with it.

What serves is raftx.admin, which stands above the nodes and needs an extra. So it is imported here by its name, and
only where somebody wants it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

EXTRA = "service"


class Server(Protocol):
    """What raftx.admin makes."""

    url: str

    def start(self) -> None:
        """Listen, and serve on a thread of its own. Raises TransportError when it cannot listen."""

    def close(self, timeout: float) -> bool:
        """End it; False when it has not ended within ``timeout`` seconds."""


def admin_module() -> Any:
    """raftx.admin. Raises ConfigError when what it needs is not installed."""
    try:
        return importlib.import_module("..admin", __package__)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(__name__.partition(".")[0]):
            raise
        raise ConfigError(
            f"admin needs the extra {EXTRA!r}, and {error.name} is not installed: pip install 'raftx[{EXTRA}]'"
        ) from error


def make_server(node: Any, address: str | None, token: str | None, insecure: bool) -> Server | None:
    """The server of a node; None where none is wanted. Raises ConfigError, which names the field."""
    if address is None:
        for name, value in (("admin_token", token), ("admin_insecure", insecure or None)):
            if value is not None:
                raise ConfigError(f"{name} is for a node with an admin server: give admin='127.0.0.1:8080', say, too")
        return None
    make: Callable[..., Server] = admin_module().server
    return make(node, address, token=token, insecure=insecure)
