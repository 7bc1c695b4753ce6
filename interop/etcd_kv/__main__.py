"""Compare raftx serve with etcd: python -m interop.etcd_kv [--sequences N] [--seconds S] [--seed N] [--goldens FILE]

Each sequence goes to a fresh etcd and a fresh raftx, one client each; answers are compared in status and JSON, absent
fields included, and what watches were told. A difference is shrunk and shown, and the exit code is 1. Where there is no
etcd (in PATH, or named by ETCD in the environment) it says so and ends with 3. ``--goldens`` writes what etcd answered.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from typing import Any

from .compared import run
from .draws import sequence
from .sides import Client, Loop, etcd, etcd_binary

NOT_THERE = 3


def on_etcd(steps: list[dict[str, Any]]) -> list[Any]:
    with etcd() as port:
        client = Client(port)
        try:
            return run(client, steps)
        finally:
            client.close()


def on_raftx(loop: Loop, steps: list[dict[str, Any]]) -> list[Any]:
    with loop.server() as port:
        client = Client(port)
        try:
            return run(client, steps)
        finally:
            client.close()


def first_difference(wanted: list[Any], found: list[Any]) -> int | None:
    for at, (one, other) in enumerate(zip(wanted, found)):
        if one != other:
            return at
    return None


def shrunk(loop: Loop, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fewer steps that still differ."""
    size = max(1, len(steps) // 2)
    while True:
        at = 0
        while at < len(steps):
            fewer = steps[:at] + steps[at + size :]
            if fewer and first_difference(on_etcd(fewer), on_raftx(loop, fewer)) is not None:
                steps = fewer
            else:
                at += size
        if size == 1:
            return steps
        size //= 2


def show(loop: Loop, steps: list[dict[str, Any]]) -> None:
    wanted, found = on_etcd(steps), on_raftx(loop, steps)
    for at, step in enumerate([*steps, {"watches": "at the end"}]):
        print(json.dumps(step))
        if wanted[at] != found[at]:
            print("   etcd: ", json.dumps(wanted[at], sort_keys=True))
            print("   raftx:", json.dumps(found[at], sort_keys=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0, help="begin no sequence after that; 0: all of them")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--goldens", metavar="FILE", help="write etcd's answers there, compressed")
    parser.add_argument("--no-shrink", action="store_true")
    options = parser.parse_args()
    if etcd_binary() is None:
        print("skipped: there is no etcd. Install Debian's etcd-server, or name one by ETCD in the environment")
        return NOT_THERE
    loop = Loop()
    goldens = []
    began = time.monotonic()
    done = 0
    for seed in range(options.seed, options.seed + options.sequences):
        if 0 < options.seconds <= time.monotonic() - began:
            break
        steps = sequence(seed, options.steps)
        wanted = on_etcd(steps)
        if options.goldens:
            goldens.append({"seed": seed, "steps": options.steps, "answers": wanted})
        found = on_raftx(loop, steps)
        at = first_difference(wanted, found)
        if at is not None:
            print(f"sequence {seed} differs at step {at}: {json.dumps((steps + [0])[at])[:300]}")
            if options.no_shrink:
                print("   etcd: ", json.dumps(wanted[at], sort_keys=True))
                print("   raftx:", json.dumps(found[at], sort_keys=True))
            else:
                show(loop, shrunk(loop, steps[: at + 1]))
            return 1
        done += 1
        if done % 50 == 0:
            print(f"{done} sequences alike after {time.monotonic() - began:.0f} s", flush=True)
    if options.goldens:
        with gzip.GzipFile(options.goldens, "wb", mtime=0) as file:
            file.write(json.dumps(goldens, separators=(",", ":")).encode())
    loop.close()
    seconds = time.monotonic() - began
    print(f"{done} sequences of {options.steps} requests: no difference ({seconds:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
