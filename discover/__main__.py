"""``python -m discover``: the same as ``discover``."""

import sys

from discover.cli import main

sys.exit(main())
