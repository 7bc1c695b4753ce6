"""The examples run as they are printed, and say what they promise. Those of the demo have tests of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT


@pytest.mark.once
@pytest.mark.slow
def test_a_cluster_grows_and_shrinks():
    ran = subprocess.run(
        [sys.executable, "-m", "examples.growing_cluster"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[-1] == "the total is 6 on members (3, 4, 5)"
    assert [line for line in lines if "(1, 2, 3, 4, 5)" in line and line.startswith("member 4")]
    assert "Traceback" not in ran.stderr


@pytest.mark.once
@pytest.mark.slow
def test_a_lock_service_outlives_a_member():
    ran = subprocess.run(
        [sys.executable, "-m", "examples.lock_service"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines() == [
        "Ada has the printer, token 1; it asks whether that is in force: yes",
        "Bob tries: busy; now he waits",
        "Ada's member was killed; Bob has the printer soon, token 2",
        "the printer asks about token 1: no; about token 2: yes",
        "Bob gives it back: ok; then it is free",
        "Bob has taken it again, token 3, and hung up: the printer is free",
        "all went well",
    ]
    assert "Traceback" not in ran.stderr


@pytest.mark.once
@pytest.mark.parametrize(
    "command",
    [
        ("lock_service", "--help"),
        ("lock_service", "serve", "d", "1", "5601"),
        ("lock_service", "found", "d", "1"),
        ("tls_transport",),
    ],
)
def test_who_asks_wrongly_is_told_how(command, tmp_path):
    ran = subprocess.run(
        [sys.executable, ROOT / "examples" / f"{command[0]}.py", *command[1:]],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ran.returncode != 0 and f"python -m examples.{command[0]}" in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr and not list(tmp_path.iterdir())
