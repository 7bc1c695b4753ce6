"""Threads of tests. Not a test."""

import threading

LIMIT_S = 20  # until which a thread that was woken must have ended; never reached unless something is broken


def start(body, *args):
    """A thread that a defect may leave hanging without holding up the test run."""
    thread = threading.Thread(target=body, args=args, daemon=True)
    thread.start()
    return thread


def ends(*threads):
    """All of them end."""
    for thread in threads:
        thread.join(LIMIT_S)
    return not any(thread.is_alive() for thread in threads)
