"""A simulator of whole nodes: engine, log, apply thread, futures and streams, in one thread, from one seed.

For a state machine of your own: ``run(seed, application=Application(machine, command))`` is one schedule of a cluster
that replicates it, and raises ``Violation``, whose text begins with the seed. ``machines.py`` says what is asked of it.
"""

from ..invariants import Violation
from .machines import Application, StateMachine
from .schedule import Result, run

__all__ = ["Application", "Result", "StateMachine", "Violation", "run"]
