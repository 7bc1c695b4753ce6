"""What a node is given, and what of it users hold before it starts. Judged when the node is made.

Imports no part of a node: whoever only imports Node, or makes one, loads none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .._native.memory import Entry
from .._native.threads import Clock
from ..config import Config
from ..errors import ConfigError
from ..storage.protocol import Storage
from ..storage.writes import WRITES
from ..transport.protocol import Transport
from ..types import ConfState, StateChange
from . import contracts
from .channels import APPLY_ROWS, COMMAND_ROWS
from .events import History, Published, Stream
from .timeline import Timeline

if TYPE_CHECKING:
    from .members import Membership


@dataclass
class Rows:
    """How many rows may wait in each queue."""

    applies: int = APPLY_ROWS  # from the engine for the apply thread, 32 at least
    writes: int = WRITES  # for the disk
    commands: int = COMMAND_ROWS  # from Python for the engine


@dataclass
class Outside:
    """What a node is given, and what of it users hold before it starts."""

    config: Config
    storage: Storage
    transport: Transport
    state_machine: Any
    clock: Clock
    state_changes: History[StateChange]
    #: the membership that the node works with
    configuration: Published[ConfState]
    configurations: History[Membership]
    committed: Stream[Entry] | None = None
    rows: Rows = field(default_factory=Rows)
    #: the name of a file, and where it has each member; the membership counts
    planned: tuple[str, Mapping[int, str]] = ("", MappingProxyType({}))
    #: bytes in a chunk of the snapshots that are made; 0: as many as are of use
    chunk_bytes: int = 0
    #: whether they are this node's to close: not when they said that they are in use
    owns_storage: bool = True
    owns_transport: bool = True
    timeline: Timeline = field(init=False)

    def __post_init__(self) -> None:
        self.timeline = Timeline(self.clock)

    def check(self) -> None:
        """Raises ConfigError, which names the field; UsageError where no node can run."""
        contracts.check_python()
        contracts.check_settings(self.config, self.transport)
        if isinstance(self.state_machine, type):
            raise ConfigError(f"state_machine must be an object, not the class {self.state_machine.__name__}")
        applies = [callable(getattr(self.state_machine, name, None)) for name in ("apply", "apply_batch")]
        if self.state_machine is not None and not any(applies):
            what = type(self.state_machine).__name__
            raise ConfigError(f"state_machine must be an object with a method apply(entry), not {what}")
        contracts.check_machine_methods(self.state_machine)
        if not isinstance(self.clock, Clock):
            raise ConfigError(f"clock must be a raftx.Clock or ManualClock, not {type(self.clock).__name__}")
        contracts.check_methods_of(self.storage, self.transport)
        contracts.check_founders(self.config.id, self.storage, self.transport)
