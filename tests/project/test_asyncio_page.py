"""The code of docs/asyncio.md runs as printed, one block after the other, and its service answers."""

import re
import subprocess
import sys

import pytest

from tests.helpers.pages import code_of, ran
from tests.helpers.paths import ROOT
from tests.helpers.ports import port

PAGE = (ROOT / "docs" / "asyncio.md").read_text(encoding="utf-8")

# The server's part: the lifespan, and one request through the application as ASGI has it.
SERVES = """
async def serves():
    async with app.router.lifespan_context(app):
        await app.state.node.wait_ready(30)
        sent = []
        async def receive(): return {"type": "http.request", "body": b"4"}
        async def send(message): sent.append(message)
        scope = {"type": "http", "method": "POST", "path": "/add", "raw_path": b"/add", "query_string": b"",
                 "headers": [], "app": app, "http_version": "1.1", "scheme": "http", "root_path": ""}
        await app(scope, receive, send)
        print(sent[0]["status"], sent[1]["body"].decode())
asyncio.run(serves())
"""

pytestmark = pytest.mark.once


@pytest.mark.slow
def test_the_code_runs(tmp_path):
    (toml,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert toml.count("5631") == 1
    (tmp_path / "cluster.toml").write_text(toml.replace("5631", str(port())), encoding="utf-8")
    code = "\n".join(code_of(PAGE))
    printed = ran(code + SERVES, tmp_path).splitlines()
    assert printed[:3] == ["5", "1005", "1005"]
    assert printed[3:-2] and {*printed[3:-2]} == {"member 1 leads"}
    assert printed[-2] == "0 10"
    # 5, 1,000, 1, 10 and 4.
    assert printed[-1] == '200 {"value":1020}'


def test_the_lifespan_is_ten_lines_at_most():
    lifespan = code_of(PAGE)[1].split("@asynccontextmanager")[1].split("\n\n")[0]
    assert len(lifespan.strip().splitlines()) <= 10


def test_what_the_table_says_of_futures_is_so(tmp_path):
    """What takes coroutines alone raises TypeError; the rest has tests of its own (test_future_interop.py)."""
    code = """
import asyncio, raftx
from raftx.node.futures import Future
async def main():
    loop = asyncio.get_running_loop()
    for take in (loop.create_task, lambda future: asyncio.run_coroutine_threadsafe(future, loop)):
        try: take(Future())
        except TypeError as error: print(error)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert len(done.stdout.splitlines()) == 2
