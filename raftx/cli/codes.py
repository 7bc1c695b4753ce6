"""Exit codes, and what they mean. Imports nothing: they hold also where the command line cannot run."""

from __future__ import annotations

FINE = 0
DAMAGED = 1  # what was looked at is not as it should be
USAGE = 2
UNREADABLE = 3
REFUSED = 4
NOT_DONE = 5
UNKNOWN = 6
NOT_INSTALLED = 7
INTERRUPTED = 130
CLOSED = 141  # whoever reads the output

EXIT_CODES = {
    "0": "done, and nothing is wrong",
    "1": "something is wrong: there is damage, a member does not start with what there is, a member is down, in "
    "doubt or cannot take part, the cluster has no leader, the doctor finds a fault, the demo or the benchmark fails",
    "2": "wrong arguments",
    "3": "something cannot be read, written or reached: it is missing, is no member's directory, is in use, may not be "
    "opened by this user, has another version, does not answer",
    "4": "refused, because of what would be lost or is there already, or for want of the right token",
    "5": "the cluster has not done it and will not: it is safe to repeat",
    "6": "the cluster may have done it, or may do it yet: look before you repeat it",
    "7": "the command line is not installed: pip install 'raftx[cli]'",
    "130, 141": "interrupted; whoever reads the output has closed it",
}
