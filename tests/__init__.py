"""The tests: a folder for each layer of the package, conformance for what others have that raftx is held against.

``helpers`` is what tests share, ``tools`` are programs (``make mutants``, ``make damage`` ...), ``data`` is what either
reads. No test module imports another (project/test_layout.py).
"""
