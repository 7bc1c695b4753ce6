"""Comparison with other Raft libraries: runners for their test scripts, and harnesses for scenarios.

Tools, no part of the package: raftx does not import them.
"""
