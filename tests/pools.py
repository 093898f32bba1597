"""Pools and texts for them, for the tests of the pool."""

import random

import pytest

from discover.db import Database
from discover.pool.config import PoolConfig
from discover.pool.pool import Pool

TEXT = "a text that is clearly long enough to keep"


@pytest.fixture
def pool(either_database: Database) -> Pool:
    return Pool(either_database, PoolConfig())


@pytest.fixture
def fast_pool(database: Database) -> Pool:
    return Pool(database, PoolConfig())


def hold_out(pool: Pool, n: int, seed: int) -> list[str]:
    """Have n test documents; returns their public ids."""
    drawn = pool.draw_test(n, seed)
    with pool.database.write() as connection:
        pool.hold_out(connection, drawn)
    return pool.ids("test")[1]


def sentence(rng: random.Random, n: int) -> list[str]:
    return [f"w{rng.randrange(50_000)}" for _ in range(n)]
