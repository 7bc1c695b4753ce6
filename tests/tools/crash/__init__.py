"""Every state that a power cut may leave of a member's directory, built and opened: ``make crash``.

runs.py writes by script on a simulated disk, which keeps a journal, and notes what was promised when. states.py builds
from the journal what a power cut may leave. judge.py opens that and holds it against the promises.
"""
