"""``python -m raftx``: the command ``raftx``."""

import sys

from .cli.main import main

sys.exit(main())
