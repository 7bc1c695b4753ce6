"""What coverage_fuzz.py needs on a build with address sanitizer: libFuzzer has to get the counters of what is run.

The compiler's libasan has functions of the same names, which do nothing. It is loaded before atheris, so the counters
would go there, and inputs be chosen blindly. A small library before it hands them on to where they belong. Counters are
those of interpreted code; what is compiled has none.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

FORWARDING = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
static void *of_libfuzzer(const char *name) {
    void *library = dlopen(getenv("RAFTX_LIBFUZZER"), RTLD_NOLOAD | RTLD_NOW);
    return library ? dlsym(library, name) : 0;
}
#define FORWARD(name, type) \
    void name(type *begin, type *end) { \
        void (*to)(type *, type *) = (void (*)(type *, type *))of_libfuzzer(#name); \
        if (to) to(begin, end); \
    }
FORWARD(__sanitizer_cov_8bit_counters_init, uint8_t)
FORWARD(__sanitizer_cov_pcs_init, const uintptr_t)
"""


def is_sanitized() -> bool:
    """Whether this process has the sanitizer's library in front of all (debug.py)."""
    return "libasan" in os.environ.get("LD_PRELOAD", "")


def libfuzzer() -> Path:
    """The file of atheris that has libFuzzer in it. Raises OSError."""
    found = importlib.util.find_spec("atheris")
    for folder in (found.submodule_search_locations if found else None) or []:
        for path in Path(folder).glob("core_with_libfuzzer*.so"):
            return path
    raise OSError("this atheris has no core_with_libfuzzer")


def environment(folder: Path) -> dict[str, str]:
    """What a process that fuzzes needs besides. Compiles into ``folder``. Raises OSError, CalledProcessError."""
    if not is_sanitized():
        return {}
    kept = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    made = folder / "forwarding.so"
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run(
        [*compiler, "-O1", "-fPIC", "-shared", "-x", "c", "-", "-o", str(made)],
        input=FORWARDING,
        text=True,
        check=True,
        env=kept,
    )
    return {
        "RAFTX_LIBFUZZER": str(libfuzzer()),
        "LD_PRELOAD": f"{made} {os.environ['LD_PRELOAD']}",
        "ASAN_OPTIONS": f"{os.environ.get('ASAN_OPTIONS', '')}:verify_asan_link_order=0",
    }
