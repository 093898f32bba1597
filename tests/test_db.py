"""The database: transactions, and that many processes can write to it at once."""

import os
import random
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, insert, inspect, select, text

from discover.db import CHECKPOINT_BYTES, Database, insert_new
from discover.errors import DiscoverError
from discover.tables import document, meta, metric, url

PROCESSES = 4
WRITES = 40
WRITER = """
import sys
from sqlalchemy import insert, select, update
from discover.db import Database
from discover.tables import meta, url
database = Database(sys.argv[1])
for n in range(int(sys.argv[3])):
    with database.write() as connection:
        count = connection.execute(select(meta.c.value).where(meta.c.key == "count")).scalar_one()
        connection.execute(update(meta).where(meta.c.key == "count").values(value=count + 1))
        connection.execute(insert(url).values(address=f"{sys.argv[2]}/{n}", host="x" * 20_000))
    with database.read() as connection:
        first = connection.execute(select(meta.c.value).where(meta.c.key == "count")).scalar_one()
        rows = connection.execute(select(url.c.id)).all()
        assert len(rows) == first, (len(rows), first)
database.close()
"""


def row(key: str) -> dict:
    return {"key": key, "value": 1}


def keys(database: Database) -> set[str]:
    with database.read() as connection:
        return set(connection.execute(select(meta.c.key)).scalars())


@pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])
def test_what_cannot_be_written_to_is_read_with_all_that_was_committed(killed: bool):
    writer = WRITER.replace("database.close()", "import os; os.kill(os.getpid(), 9)" if killed else "database.close()")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder) / "x.db"
        first = Database(path)
        with first.write() as connection:
            connection.execute(insert(meta).values(key="count", value=0))
        first.close()
        subprocess.run([sys.executable, "-c", writer, f"sqlite:///{path}", "a", "3"], check=not killed)
        assert path.with_name("x.db-wal").exists() == killed
        for file in (*Path(folder).iterdir(), Path(folder)):
            file.chmod(0o555)
        me = os.geteuid()
        if me == 0:
            os.seteuid(65534)  # root may write anywhere
        try:
            database = Database(path)
            assert database.read_only and database.noted("count") == 3
            with pytest.raises(DiscoverError, match=r"it, or its folder, is read-only here"):
                database.note("count", 4)
            database.close()
        finally:
            os.seteuid(me)
            Path(folder).chmod(0o755)


def test_wrong_sql_of_ours_stays_a_traceback(either_database: Database):
    with pytest.raises(Exception, match="nonsense") as raised, either_database.read() as connection:
        connection.execute(text("SELECT * FROM nonsense"))
    assert not isinstance(raised.value, DiscoverError)


def test_a_failed_block_leaves_nothing(either_database: Database):
    with pytest.raises(KeyError), either_database.write() as connection:
        connection.execute(insert(meta), row("lost"))
        raise KeyError
    assert "lost" not in keys(either_database)
    with either_database.write() as connection:
        connection.execute(insert(meta), row("kept"))
    assert "kept" in keys(either_database)


def test_a_write_within_a_write_is_an_error_and_not_a_hang(either_database: Database):
    with pytest.raises(RuntimeError, match="pass the connection on"), either_database.write(), either_database.write():
        pass
    with either_database.write() as connection:
        connection.execute(insert(meta), row("later"))


def test_a_read_sees_one_moment(either_database: Database):
    with either_database.read() as reader:
        before = set(reader.execute(select(meta.c.key)).scalars())
        written = threading.Thread(target=_write, args=(either_database, "meanwhile"))
        written.start()
        written.join(20)
        assert not written.is_alive()
        assert set(reader.execute(select(meta.c.key)).scalars()) == before
    assert keys(either_database) == before | {"meanwhile"}


def _write(database: Database, key: str) -> None:
    with database.write() as connection:
        connection.execute(insert(meta), row(key))


def test_processes_that_write_at_once_lose_nothing(either_database: Database):
    address = either_database.engine.url.render_as_string(hide_password=False)
    with either_database.write() as connection:
        connection.execute(insert(meta), {"key": "count", "value": 0})
    command = [sys.executable, "-c", WRITER, address]
    writers = [
        subprocess.Popen([*command, str(n), str(WRITES)], stderr=subprocess.PIPE, text=True) for n in range(PROCESSES)
    ]
    complaints = [writer.communicate()[1] for writer in writers]
    assert complaints == [""] * PROCESSES
    with either_database.read() as connection:
        assert connection.execute(select(meta.c.value).where(meta.c.key == "count")).scalar() == PROCESSES * WRITES
        assert connection.execute(select(func.count(url.c.address.distinct()))).scalar() == PROCESSES * WRITES
        if either_database.sqlite:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_processes_that_open_a_new_database_at_once(tmp_path: Path, postgres_address: str):
    for address in (f"sqlite:///{tmp_path / 'new.db'}", postgres_address):
        program = f"from discover.db import Database; Database({address!r}).close()"
        openers = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True) for _ in "abcd"]
        assert [opener.communicate()[1] for opener in openers] == [""] * 4
        database = Database(address)
        assert keys(database) == {"schema"}
        database.close()


def test_a_connection_that_was_dropped_meanwhile_is_replaced(postgres_address: str):
    database = Database(postgres_address)
    keys(database)
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(postgres_address.replace("+psycopg", "")) as other:
        dropped = other.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {others}")
        assert dropped.fetchall() == [(True,)]
    _write(database, "later")
    assert "later" in keys(database)
    database.close()


def test_a_killed_writer_leaves_no_lock_and_no_half_transaction(tmp_path: Path):
    address = f"sqlite:///{tmp_path / 'x.db'}"
    program = f"""
import os, signal
from sqlalchemy import insert
from discover.db import Database
from discover.tables import meta
database = Database({address!r})
with database.write() as connection:
    connection.execute(insert(meta), {{"key": "whole", "value": 1}})
with database.write() as connection:
    connection.execute(insert(meta), {{"key": "half", "value": 1}})
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -9
    database = Database(address)
    assert keys(database) == {"schema", "whole"}
    database.close()


def test_the_log_is_folded_back_although_readers_come_and_go(tmp_path: Path):
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    log = tmp_path / "x.db-wal"
    sizes = []
    for n in range(30):
        with database.write() as connection:
            connection.execute(insert(url).values(address=f"a{n}", host="h" * (1 << 20)))
        sizes.append(log.stat().st_size)
        keys(database)
    assert max(sizes) > CHECKPOINT_BYTES / 2
    assert max(sizes) < 2 * CHECKPOINT_BYTES
    database.close()
    assert not log.exists() or log.stat().st_size == 0


def test_a_slow_reader_in_another_process_holds_up_no_writer(tmp_path: Path):
    address = f"sqlite:///{tmp_path / 'x.db'}"
    database = Database(address)
    program = f"""
import sys
from sqlalchemy import func, select
from discover.db import Database
from discover.tables import url
with Database({address!r}).read() as connection:
    count = select(func.count()).select_from(url)
    first = connection.execute(count).scalar()
    print("reading", flush=True)
    sys.stdin.readline()
    assert connection.execute(count).scalar() == first == 0
"""
    reader = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None and reader.stdout.readline() == "reading\n"
    log = tmp_path / "x.db-wal"

    def fill() -> None:
        for n in range(20):
            with database.write() as connection:
                connection.execute(insert(url).values(address=f"a{n}", host="h" * (1 << 20)))

    writer = threading.Thread(target=fill)
    writer.start()
    writer.join(25)  # less than SQLite waits for a reader, many times over
    assert not writer.is_alive()
    assert log.stat().st_size > 2 * CHECKPOINT_BYTES
    reader.communicate("go on\n")
    assert reader.returncode == 0
    with database.write() as connection:
        connection.execute(insert(meta), row("later"))
    assert log.stat().st_size == 0
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        assert connection.execute(select(func.count()).select_from(url)).scalar() == 20
    database.close()


def test_insert_new_leaves_known_rows_as_they_are(either_database: Database):
    known = {"arm": "a", "round": 1, "step": "x"}
    with either_database.write() as connection:
        insert_new(connection, metric, [{"arm": "a", "round": 1, "row": known}])
        insert_new(connection, metric, [{"arm": "a", "round": n, "row": {}} for n in (1, 2)])
        insert_new(connection, metric, [])
        rows = connection.execute(select(metric.c.round, metric.c.row).order_by(metric.c.round)).all()
    assert rows == [(1, known), (2, {})]


def test_row_ids_are_given_out_by_both_databases(either_database: Database):
    values = [{"public_id": f"{n:032x}", "text": "a text", "found": 0.0} for n in range(3)]
    with either_database.write() as connection:
        insert_new(connection, document, values)
        insert_new(connection, document, values)
        assert connection.execute(select(func.count()).select_from(document)).scalar() == 3
        assert connection.execute(select(func.min(document.c.id))).scalar_one() >= 1


def test_a_database_of_an_earlier_version_takes_labels_too_long_for_its_index(either_database: Database):
    (index,) = (index for index in document.indexes if index.name == "document_labelled")
    with either_database.write() as connection:
        index.drop(connection)
        connection.exec_driver_sql("CREATE INDEX document_label ON document (state, split, label)")
    Database(either_database.engine.url.render_as_string(hide_password=False)).close()
    label = random.Random(0).randbytes(5000).hex()  # that no compression makes short
    with either_database.write() as connection:
        connection.execute(insert(document).values(public_id="0", text="a text", found=0.0, label=label))
        assert connection.execute(select(document.c.label)).scalar_one() == label
        names = {found["name"] for found in inspect(connection).get_indexes("document")}
    assert {found.name for found in document.indexes} <= names and "document_label" not in names


def test_a_question_mark_in_a_path_is_part_of_the_path(tmp_path: Path):
    for name in ("a?1.db", "a?2.db"):
        Database(tmp_path / name).close()
    assert sorted(path.name for path in tmp_path.glob("a*.db")) == ["a?1.db", "a?2.db"]
