"""What the database refuses, or cannot do: one clear line each, and nothing lost."""

import os
import random
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, update

from discover.config import Config
from discover.db import Database
from discover.errors import DiscoverError, Unavailable
from discover.start import start_run
from discover.tables import SCHEMA, meta, url
from tests.test_db import keys, row


@pytest.mark.parametrize(
    "address",
    [
        "",
        "discover.db",
        "sqlite",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x.db?uri=true",
        "sqlite+nothing:///x.db",
        "mysql://user:secret@host/name",
        "postgresql+nothing://user:secret@host/name",
        "postgresql://user:secret@host:port/name",
        "postgres//user:secret@host/name",
        "http://[::1/x",
    ],
)
def test_a_wrong_address_is_one_line_that_shows_a_right_one(address: str):
    with pytest.raises(DiscoverError, match=r"pool\.url must be like sqlite:///") as refused:
        Database(address)
    assert "secret" not in str(refused.value) and "\n" not in str(refused.value)


def test_a_server_that_cannot_be_reached_is_one_line_without_the_password():
    with pytest.raises(DiscoverError, match=r"cannot be used .*: check pool\.url, and that the server runs") as refused:
        Database("postgresql+psycopg://ada:secret@127.0.0.1:9/discover")
    assert "secret" not in str(refused.value) and "\n" not in str(refused.value)


def test_what_a_server_refuses_is_not_blamed_on_its_address(postgres_address: str):
    database = Database(postgres_address)
    long = random.Random(0).randbytes(5000).hex()
    with (
        pytest.raises(Unavailable, match=r"\(index row .*\): see to the server") as refused,
        database.write() as connection,
    ):
        connection.execute(insert(url).values(address=long, host="h"))
    assert "\n" not in str(refused.value) and long not in str(refused.value)
    lost = pytest.raises(Unavailable, match=r"\(terminating connection .*\): see to the server")
    with lost, database.read() as connection:
        connection.execute(select(func.pg_terminate_backend(func.pg_backend_pid())))
    database.close()


def test_a_folder_that_is_missing_or_a_file_or_the_database_itself(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "missing" / "x.db", tmp_path / "file" / "x.db", tmp_path):
        with pytest.raises(DiscoverError, match="cannot be used"):
            Database(f"sqlite:///{path}")


def test_a_read_only_folder_is_one_line():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # the suite's own folders are closed to other users
        Path(folder).chmod(0o555)
        me = os.geteuid()
        if me == 0:
            os.seteuid(65534)  # root may write anywhere
        try:
            with pytest.raises(DiscoverError, match=r"Permission denied.*can be written to"):
                Database(f"sqlite:///{folder}/x.db")
        finally:
            os.seteuid(me)
            Path(folder).chmod(0o755)


def test_a_file_that_is_no_database(tmp_path: Path):
    path = tmp_path / "x.db"
    path.write_text("this is a letter, not a database\n" * 100)
    with pytest.raises(DiscoverError, match=r"file is not a database.*put a sound copy"):
        Database(f"sqlite:///{path}")
    assert path.read_text().startswith("this is a letter")


def test_a_damaged_database_is_one_line(tmp_path: Path):
    path = tmp_path / "x.db"
    database = Database(f"sqlite:///{path}")
    with database.write() as connection:
        connection.execute(insert(url), [{"address": f"a{n}", "host": "h" * 500} for n in range(500)])
    database.close()
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(DiscoverError, match=r"malformed.*put a sound copy"):
        damaged = Database(f"sqlite:///{path}")
        with damaged.read() as connection:
            connection.execute(select(url)).all()


def test_another_programs_database_is_left_alone(tmp_path: Path):
    for statement in ("CREATE TABLE document (x)", "CREATE TABLE meta (x)", "CREATE TABLE metric (x)"):
        path = tmp_path / f"{statement.split()[2]}.db"
        with sqlite3.connect(path) as raw:
            raw.execute(statement)
        raw.close()
        with pytest.raises(DiscoverError, match="another program's tables"):
            Database(f"sqlite:///{path}")
        raw = sqlite3.connect(path)
        assert len(raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()) == 1
        raw.close()


@pytest.mark.parametrize("found", [0, SCHEMA + 1, "new", None])
def test_another_schema_version_is_refused(found: object, either_database: Database):
    with either_database.write() as connection:
        connection.execute(update(meta).where(meta.c.key == "schema").values(value=found))
    address = either_database.engine.url.render_as_string(hide_password=False)
    with pytest.raises(DiscoverError, match=f"reads schema {SCHEMA}, .* has schema {found}"):
        Database(address)


def test_a_full_disk_is_one_line_and_keeps_what_was_committed(database: Database):
    with database.write() as connection:
        connection.execute(insert(meta), row("before"))
    with database.engine.connect() as connection:  # the one pooled connection: SQLite's own limit raises the same error
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 10}")
    with (
        pytest.raises(DiscoverError, match=r"database or disk is full.*free some space") as refused,
        database.write() as connection,
    ):
        connection.execute(insert(meta), row("during"))
        connection.execute(insert(url), [{"address": f"a{n}", "host": "h" * 3000} for n in range(100)])
    assert "\n" not in str(refused.value) and "INSERT" not in str(refused.value)
    assert keys(database) == {"schema", "before"}
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1073741823")
    with database.write() as connection:
        connection.execute(insert(meta), row("after"))
    assert keys(database) == {"schema", "before", "after"}


@pytest.fixture
def little_room() -> Iterator[Path]:
    """A real, tiny file system where root may mount one."""
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
        if mounted.returncode:
            pytest.skip("a tiny file system cannot be mounted here")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def test_a_file_system_without_room_is_one_line(little_room: Path):
    database = Database(f"sqlite:///{little_room}/x.db")
    with pytest.raises(DiscoverError, match=r"(is full|I/O error)\): free some space"):
        for n in range(100):
            with database.write() as connection:
                connection.execute(insert(url).values(address=f"a{n}", host="h" * 100_000))
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(url)).scalar_one() == n
    database.close()


def test_a_database_on_a_full_file_system_is_not_blamed_on_its_address(little_room: Path):
    Database(f"sqlite:///{little_room}/x.db").close()
    with (little_room / "fill").open("wb", buffering=0) as fill, pytest.raises(OSError, match="No space"):
        while True:
            fill.write(b"0" * 4096)
    with pytest.raises(DiscoverError, match=r"\(disk I/O error\): free some space"):
        Database(f"sqlite:///{little_room}/x.db")


def elsewhere(address: object, name: str = "tea") -> Config:
    """A config whose documents are not in the run folder."""
    sections = {"label": {"classes": ["a", "b"]}, "pool": {"url": str(address)}}
    return Config.model_validate({"name": name, **sections})


def test_two_campaigns_cannot_share_a_database(postgres_address: str, tmp_path: Path):
    start_run(elsewhere(postgres_address), tmp_path / "tea").close()
    with pytest.raises(DiscoverError, match=r"holds the campaign 'tea', this config is called 'coffee'"):
        start_run(elsewhere(postgres_address, "coffee"), tmp_path / "coffee")
    start_run(elsewhere(postgres_address), tmp_path / "tea").close()


def test_two_run_folders_cannot_share_a_database(tmp_path: Path):
    config = elsewhere(f"sqlite:///{tmp_path / 'x.db'}")
    first, other = tmp_path / "first", tmp_path / "other"
    start_run(config, first).close()
    with pytest.raises(
        DiscoverError, match=r"belongs to the run folder .*first, and .*other is another: go"
    ) as refused:
        start_run(config, other)
    assert not other.exists()
    first.rename(tmp_path / "moved")
    start_run(config, tmp_path / "moved").close()
    with pytest.raises(DiscoverError, match=r"belongs to the run folder .*moved"):
        start_run(config, other)
    words = str(refused.value).split()
    other.mkdir()
    Path(words[words.index("into") + 1]).write_text(words[words.index("write") + 1] + "\n")  # as it says
    start_run(config, other).close()


def test_a_database_of_an_earlier_version_belongs_to_the_run_folder_that_opens_it(tmp_path: Path):
    config = elsewhere(f"sqlite:///{tmp_path / 'x.db'}")
    campaign = start_run(config, tmp_path / "first")
    campaign.database.note("folder", None)
    campaign.folder.id.unlink()
    start_run(config, tmp_path / "first").close()
    assert campaign.database.noted("folder")["id"] == campaign.folder.id.read_text()
    with pytest.raises(DiscoverError, match="belongs to the run folder"):
        start_run(config, tmp_path / "other")
    campaign.close()
