"""What is taken from valgrind's report, and what is left to CPython. Runs no valgrind."""

import pytest

from tests.tools import valgrind

pytestmark = pytest.mark.once

OURS, PYTHON, LIBC = valgrind.PACKAGE + "_native/memory.so", "/usr/lib/libpython3.11.so.1.0", "/lib/libc.so.6"


def error(kind, *objects):
    frames = "".join([f"<frame><obj>{each}</obj><fn>f{number}</fn></frame>" for number, each in enumerate(objects)])
    return f"<error><kind>{kind}</kind><stack>{frames}</stack></error>"


@pytest.mark.parametrize("whole", [True, False])
def test_what_counts(tmp_path, whole):
    errors = [
        error("InvalidRead", LIBC, PYTHON, OURS),
        error("InvalidWrite", *[PYTHON] * valgrind.INNERMOST, OURS),
        error("UninitValue", LIBC, OURS, PYTHON),
        error("UninitCondition", PYTHON, OURS),
        error("Leak_DefinitelyLost", LIBC, OURS),
        error("Leak_PossiblyLost", LIBC, OURS),
        error("FishyValue", LIBC, OURS),
        error("InvalidRead", PYTHON, PYTHON),
    ]
    path = tmp_path / "1.xml"
    path.write_text("<valgrindoutput>" + "".join(errors) + ("</valgrindoutput>" if whole else "<error><ki"))
    assert dict(valgrind.findings(path)) == {
        "InvalidRead: f0 < f1 < f2": 1,
        "UninitValue: f0 < f1 < f2": 1,
        "Leak_DefinitelyLost: f0 < f1": 1,
    }


def test_a_process_that_was_killed_at_once(tmp_path):
    path = tmp_path / "1.xml"
    path.write_text("<valgrindoutput><pid>7</pid>")
    assert not valgrind.findings(path)
