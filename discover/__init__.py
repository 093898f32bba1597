"""Discover turns a growing crawl into knowledge with as few human labels as possible.

``discover.open`` is the Python interface; it is loaded on first use, so that ``import discover`` loads no torch.
"""

import os
from typing import Any

# Threads that wait for each other spin, by default for so long that one other busy process (a crawl, a queue) makes
# torch three times slower. Read when torch loads; measured in runs/LOG.md; whoever sets it otherwise is heard.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

__version__ = "0.1.0"
__all__ = ["__version__", "open"]


def __getattr__(name: str) -> Any:
    if name == "open":
        from discover.campaign import open_run

        return open_run
    raise AttributeError(f"module 'discover' has no attribute {name!r}: it offers {', '.join(__all__)}")
