"""Nodes for asyncio: every request is an ``asyncio.Future``, every wait a coroutine, every stream an ``async for``.

A layer above the node, which it wraps. It adds no thread but those that start and close a node, so the loop of events
waits for neither. Works with any loop that has ``call_soon_threadsafe``: asyncio's and uvloop's are tested. Imported
when it is named: ``raftx.aio``.
"""

from .futures import Future
from .node import Node
from .session import Session
from .streams import Stream

__all__ = ["Future", "Node", "Session", "Stream"]
