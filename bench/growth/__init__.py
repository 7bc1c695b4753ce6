"""How the durable cluster behaves as it grows: see run.py."""
