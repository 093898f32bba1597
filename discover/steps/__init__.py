"""The steps of a round, one file each, in the order in which `discover.loop` takes them.

A step reads the database, works, and returns what it leaves: an output, and the rows to commit together with it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import Connection


class Finished(NamedTuple):
    """What a step leaves: its output as JSON values, and what must be committed together with it."""

    output: dict[str, Any]
    commit: Callable[[Connection], None] = lambda connection: None
