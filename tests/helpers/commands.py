"""The command ``raftx``, run in this process or in one of its own. Not a test."""

import contextlib
import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

from tests.helpers.implementations import module
from tests.helpers.paths import ROOT


def ran(impl, *arguments):
    """Run it here: its exit code, what it printed, and what it complained of."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = module(impl, "cli.main").main([os.fspath(each) for each in arguments])
        except SystemExit as end:  # what argparse does
            code = end.code
    out, err = (each.buffer.getvalue().decode("utf-8", "surrogateescape") for each in (out, err))
    assert "Traceback" not in out + err
    return SimpleNamespace(code=code, out=out, err=err, json=lambda: json.loads(out))


def spawned(*arguments, **settings):
    """Run it in a process of its own, which is returned once it has ended."""
    settings = {"capture_output": True, "timeout": 60, "cwd": ROOT, **settings}
    return subprocess.run([sys.executable, "-W", "error", "-m", "raftx", *map(os.fspath, arguments)], **settings)
