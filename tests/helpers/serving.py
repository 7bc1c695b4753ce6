"""An ASGI application on loopback, on a thread of its own. Not a test."""

from __future__ import annotations

import contextlib
import socket
import threading

import uvicorn

from tests.helpers.waiting import WAIT, eventually


@contextlib.contextmanager
def served(app):
    """Its address, while the context lasts."""
    made = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [made]}, daemon=True)
    thread.start()
    try:
        eventually(lambda: server.started)
        yield f"http://127.0.0.1:{made.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(WAIT)
        made.close()
