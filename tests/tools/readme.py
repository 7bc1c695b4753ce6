"""Walk the README's quick start as a newcomer does: from a wheel that is built now, in an empty environment.

    python -m tests.tools.readme [--pure]

It needs access to a package index. Nothing is left behind.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.helpers.paths import ROOT
from tests.helpers.readme_walk import Walk, installing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pure", action="store_true", help="a wheel without compiled modules")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="raftx-readme-") as name:
        place = Path(name)
        subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
        programs = place / "venv" / "bin"
        mode = "pure" if arguments.pure else "compiled"
        subprocess.run(
            [programs / "python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", place / "dist", ROOT],
            check=True,
            env={**os.environ, "RAFTX_BUILD": mode},
        )
        (wheel,) = (place / "dist").glob("*.whl")
        line = installing().replace("'.[", f"'{wheel}[")
        subprocess.run(["sh", "-ec", line], check=True, env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"})
        print(f"installed {wheel.name} after {time.monotonic() - began:.0f} s")
        Walk(place, programs, arguments.pure).all_of_it()
    print(f"the quick start ran as printed; {time.monotonic() - began:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
