"""The twin of ``_core.pyx``, in parts: one for each file that ``_core.pyx`` includes.

Only ``_core.py`` imports them, and everybody else from there: where the package is compiled, they stay unused.
"""
