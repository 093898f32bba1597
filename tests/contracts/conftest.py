"""A user's own file, and every strategy there is: in the package, of modAL, and of that file."""

from pathlib import Path

import pytest

from discover.query.strategy import Strategy, load_strategy, names
from tests.own_strategies import STOCK, USER_FILE


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(USER_FILE, encoding="utf-8")
    return path


@pytest.fixture(params=[*names(), STOCK, "user file"])
def strategy(request, user_file) -> Strategy:
    return load_strategy(f"{user_file}:rarest" if request.param == "user file" else request.param)


@pytest.fixture(params=[*names(), "user file"])
def drawing(request, user_file) -> Strategy:
    """Those that draw; modAL's do not."""
    return load_strategy(f"{user_file}:rarest" if request.param == "user file" else request.param)
