"""Silent cuts of all lengths, and how soon a member is back: the long version of test_cuts.py.

    python -m tests.tools.cuts [--seconds 3,10,30,60] [--ways switch,receiver,sender] [--repeat 1] [--transport tcp]

Three members as processes in network namespaces; the leader or a follower is cut off, in one direction or both, while
proposals go on. Afterwards the leader is killed, or not. Prints a table: how long after the heal the member had
everything, or a proposal was acknowledged again. Needs root, ip and iptables. Exits with 1 when something took longer
than a second (after a kill: than a second and an election), or when a return caused an election.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile

from tests.helpers import networks
from tests.helpers.transports import WAYS

TICKS = {"tick_ms": 20, "election_ticks": 10}
ELECTION_S = 2 * TICKS["tick_ms"] * TICKS["election_ticks"] / 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", default="3,10,30,60")
    parser.add_argument("--ways", default=",".join(networks.WAYS))
    parser.add_argument("--directions", default=",".join(networks.DIRECTIONS))
    parser.add_argument("--who", default="follower,leader")
    parser.add_argument("--transport", default="direct", choices=WAYS)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds after which a case is given up")
    options = parser.parse_args()
    if why := networks.missing():
        print(why, file=sys.stderr)
        return 2
    cases = [
        (who, direction, way, float(seconds), kill)
        for seconds in options.seconds.split(",")
        for who in options.who.split(",")
        for direction in options.directions.split(",")
        for way in options.ways.split(",")
        for kill in (False, True)
        for _ in range(options.repeat)
    ]
    late = 0
    print(f"{'cut off':<9} {'direction':<10} {'lost at':<9} {'seconds':>7}  then             result", flush=True)
    for who, direction, way, seconds, kill in cases:
        with (
            tempfile.TemporaryDirectory() as directory,
            networks.Network(3) as network,
            networks.Cluster(network, pathlib.Path(directory), {"way": options.transport}, **TICKS) as cluster,
        ):
            cluster.start()
            outcome = networks.one_cut(cluster, who, direction, way, seconds, kill, options.limit)
        if outcome.served is not None:
            then, result, bad = "leader killed", f"served after {outcome.served:.2f} s", outcome.served > 1 + ELECTION_S
        elif outcome.returned is not None:
            bad = outcome.returned > 1 or bool(outcome.elections)
            then, result = "", f"back after {outcome.returned:.2f} s, elections: {outcome.elections}"
        else:
            then, result, bad = "leader killed" if kill else "", f"not within {options.limit} s", True
        late += bad
        print(f"{who:<9} {direction:<10} {way:<9} {seconds:>7.0f}  {then:<16} {result}{'  <--' * bad}", flush=True)
    print(f"{len(cases)} cases, {late} of them late or with an election")
    return 1 if late else 0


if __name__ == "__main__":
    raise SystemExit(main())
