"""Programs about the tests and about the package under them, run by make as ``python -m tests.tools.NAME``."""
