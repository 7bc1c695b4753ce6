"""The log lines of a node's threads, under the name that the node's modules use."""

from ..report import Lines, logger, report

__all__ = ["Lines", "logger", "report"]
