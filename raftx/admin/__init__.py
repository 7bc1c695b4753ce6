"""The admin interface of a node: an ASGI application, and a server for it. Needs the extra ``service``.

``Node.admin()`` gives the application and ``Node(admin="127.0.0.1:8080")`` has a server; docs/admin.md has the
endpoints. What is here reads what a node publishes and calls its public methods, on threads of its own.
"""

from __future__ import annotations

from .app import application
from .metrics import Collector
from .server import server

__all__ = ["Collector", "application", "server"]
