"""Fixtures shared by the suite."""

import os
import resource
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"

from discover.db import Database
from tests import postgresql

pytest.register_assert_rewrite("tests.pages")  # what it finds wrong is shown as in a test


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes: a write past them fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def mounted(options: str) -> Iterator[Path]:
    """A file system in memory, where root may mount one."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("a file system cannot be mounted here")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)  # a command in this process still has it open


@pytest.fixture(scope="session")
def small_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder that knows nothing, for what knowledge does not change."""
    from tests.encoders import write_encoder  # most tests need no torch

    return write_encoder(tmp_path_factory.mktemp("encoders") / "small")


@pytest.fixture
def database(tmp_path: Path):
    opened = Database(f"sqlite:///{tmp_path / 'discover.db'}")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def postgres_server():
    with ExitStack() as stack:
        try:
            address = stack.enter_context(postgresql.server())
        except OSError as error:
            pytest.skip(f"POSTGRESQL IS NOT TESTED: {error}")
        yield address


@pytest.fixture
def postgres_address(postgres_server: str) -> str:
    """The address of a new, empty PostgreSQL database."""
    name = f"test_{uuid.uuid4().hex}"
    plain = postgres_server.replace("+psycopg", "")
    with psycopg.connect(plain.format("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgres_server.format(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def either_database(request: pytest.FixtureRequest, tmp_path: Path):
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path / 'discover.db'}")
    else:
        opened = Database(request.getfixturevalue("postgres_address"))
    yield opened
    opened.close()
