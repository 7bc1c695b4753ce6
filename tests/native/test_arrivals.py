"""The table of connections that came, beside threads that ask it at any time."""

import subprocess
import sys

from tests.helpers.implementations import module

# A collection in the middle of the call runs what may give up the GIL, to a thread that asks the same table.
BESIDE = """
import gc, threading, time
from raftx._native.limits import Arrivals

made = Arrivals(256, 128, 10_000)
for number in range(1, 101):
    made.py_admit(number, number, 1)
    made.py_opened(number, number, 1)

class Left:
    def __init__(self):
        self.me = self

    def __del__(self):
        time.sleep(0.0001)

ends, kept = threading.Event(), []

def asks():
    while not ends.is_set():
        made.py_count(True)

thread = threading.Thread(target=asks)
thread.start()
gc.set_threshold(10)
for _ in range(200):
    Left()
    kept.append(made.py_pipes())
ends.set()
thread.join()
assert all(len(each) == 100 for each in kept)
print("done")
"""


def test_who_asks_what_is_there_keeps_nobody_waiting_for_ever():
    ran = subprocess.run([sys.executable, "-c", BESIDE], capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr


def test_what_is_there(impl):
    made = module(impl, "_native.limits").Arrivals(4, 2, 10)
    assert made.py_pipes() == []
    for number in (1, 2, 3):
        made.py_admit(number, number, number)
        made.py_opened(number, 10 + number, number)
        made.py_proven(10 + number, number)
    assert made.py_pipes() == [(11, 1), (12, 2), (13, 3)]
    made.py_ended(12)
    assert made.py_pipes() == [(11, 1), (13, 3)]
