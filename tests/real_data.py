"""Where real data lies: beside the project, or where `DISCOVER_DATA` says."""

import os
from pathlib import Path

DATA = Path(os.environ.get("DISCOVER_DATA", Path(__file__).parents[2] / "shared" / "data"))
