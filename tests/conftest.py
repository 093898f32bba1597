"""Fixtures shared by the suite."""

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"

from discover.db import Database


@pytest.fixture
def database(tmp_path: Path):
    opened = Database(f"sqlite:///{tmp_path / 'discover.db'}")
    yield opened
    opened.close()
