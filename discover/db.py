"""The database that is opened: transactions and locks. It is the only point where crawler, trainer and queue meet.

SQLite by default, PostgreSQL by URL. SQLite before 3.51.3 can corrupt a write-ahead log when two connections write and
checkpoint at once (https://www.sqlite.org/wal.html#walresetbug), so every write and checkpoint here holds one file
lock, and SQLite never checkpoints by itself.
"""

import fcntl
import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Table, create_engine, delete, event, func, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError

from discover.errors import DiscoverError, Unavailable
from discover.tables import SCHEMA, document, meta, metadata

CHECKPOINT_BYTES = 8 << 20
BUSY_SECONDS = 30
SNAPSHOT = "REPEATABLE READ"
ADVISORY_LOCK = 0x646973636F766572  # "discover"


class Database:
    """An opened database; safe to share between threads, one instance a process.

    An SQLite file that cannot be written to, as on a read-only medium, is opened for reading.

    Args:
        address: an SQLite file, or an SQLAlchemy URL, ``sqlite:///path`` or ``postgresql+psycopg://…``.

    Raises:
        DiscoverError: the address is wrong, cannot be reached, or holds another schema version or other tables.
    """

    def __init__(self, address: str | Path):
        self.name = _redact(address) if isinstance(address, str) else str(address)
        try:
            file = URL.create("sqlite", database=str(address))  # a path may hold a question mark
            parsed = make_url(address) if isinstance(address, str) else file
            self.sqlite = parsed.get_backend_name() == "sqlite"
            if self.sqlite and (not parsed.database or parsed.database.startswith((":memory:", "file:"))):
                raise ArgumentError("several processes share it, so it must be a file")
            if not self.sqlite and parsed.get_backend_name() != "postgresql":
                raise ArgumentError("SQLite and PostgreSQL are what Discover runs on")
            self.path = Path(parsed.database or "") if self.sqlite else None
            self.read_only = self.path is not None and self.path.is_file() and not _writable(self.path)
            opened = _read_only(self.path) if self.path and self.read_only else parsed
            options = {"connect_args": {"timeout": BUSY_SECONDS}} if self.sqlite else {"pool_pre_ping": True}
            self.engine = create_engine(opened, **options)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError) as error:
            raise DiscoverError(
                f"pool.url must be like sqlite:///runs/x/discover.db or postgresql+psycopg://user@host/name, "
                f"got {self.name!r}: {_reason(error)}"
            ) from error
        self._writing = threading.local()
        if self.sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite if not self.read_only else _prepare_reading)
            event.listen(self.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        self._snapshots = self.engine if self.sqlite else self.engine.execution_options(isolation_level=SNAPSHOT)
        try:
            self._open_schema()
        except BaseException:
            self.engine.dispose()
            raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read transaction: one consistent snapshot.

        Raises:
            Unavailable: the database fails, as when it cannot be reached.
        """
        with self._translated(), self._snapshots.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A write transaction; it commits at the end of the block, or not at all.

        There is one writer at a time: on SQLite it holds a file lock, which is fairer than SQLite's own busy loop, on
        PostgreSQL an advisory lock. So what a block reads cannot change before it writes.

        Raises:
            Unavailable: the database fails, as on a full disk; nothing of the block is kept.
        """
        if getattr(self._writing, "now", False):
            raise RuntimeError("write() within write() would wait for itself: pass the connection on")
        if self.read_only:
            raise Unavailable(self._complaint("it, or its folder, is read-only here"))
        self._writing.now = True
        try:
            with self._translated(), self._exclusive(), self.engine.begin() as connection:
                if not self.sqlite:
                    connection.execute(select(func.pg_advisory_xact_lock(ADVISORY_LOCK)))
                yield connection
        finally:
            self._writing.now = False

    def noted(self, key: str) -> Any:
        """The value of a note, such as which crawl has ended; None before there is one."""
        with self.read() as connection:
            return connection.execute(select(meta.c.value).where(meta.c.key == key)).scalar()

    def note(self, key: str, value: Any) -> None:
        """Put a note, in place of the one before."""
        with self.write() as connection:
            connection.execute(delete(meta).where(meta.c.key == key))
            connection.execute(meta.insert().values(key=key, value=value))

    def fold(self, patience: float = 0.0) -> bool:
        """Move the write-ahead log into the file now, so that what was written over is in neither.

        Args:
            patience: seconds to wait for readers that are in the way; writers wait meanwhile. What they still read
                then is moved after a later write.

        Returns:
            Whether all of it was moved.
        """
        with self._exclusive():
            return not self._log_bytes() or self._checkpoint(patience)

    def close(self) -> None:
        """Fold the write-ahead log back and let go of all connections."""
        if not self.read_only:
            with suppress(DiscoverError):
                self.fold()
        self.engine.dispose()

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        if not self.path:
            yield
            return
        try:
            handle = self.path.with_name(self.path.name + ".lock").open("a")
        except OSError as error:
            raise Unavailable(self._complaint(error.strerror or str(error))) from error
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
            if self._log_bytes() > CHECKPOINT_BYTES:
                self._checkpoint(0.0)

    def _log_bytes(self) -> int:
        """Size of the write-ahead log; 0 where there is none."""
        log = self.path and self.path.with_name(self.path.name + "-wal")
        return log.stat().st_size if log and log.exists() else 0

    def _checkpoint(self, patience: float) -> bool:
        """Move the log into the database as far as readers let us; what stays is moved after a later write.

        Returns:
            Whether all of it was moved.
        """
        with suppress(OperationalError, sqlite3.OperationalError):  # the write before it is committed all the same
            raw = self.engine.raw_connection()
            try:
                cursor = raw.cursor()
                # With SQLite's own patience a slow reader would hold up every writer.
                cursor.execute(f"PRAGMA busy_timeout={int(patience * 1000)}")
                try:
                    return cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
                finally:
                    cursor.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
            finally:
                raw.close()
        return False

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The database's own failures become one line; wrong SQL of ours stays a traceback."""
        try:
            yield
        except DatabaseError as error:
            mistake = getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
            if mistake or type(error) not in (OperationalError, DatabaseError):
                raise
            reached = error.connection_invalidated or getattr(error.orig, "sqlstate", None) is not None
            raise Unavailable(self._complaint(_reason(error), reached)) from error

    def _complaint(self, reason: str, reached: bool = False) -> str:
        # SQLite calls it an I/O error where a full disk has no room for what readers share.
        if any(sign in reason.lower() for sign in ("full", "no space", "i/o error")):
            advice = (
                "free some space, or see to the disk if there is enough, then give the same command again; "
                "what was committed before is safe"
            )
        elif "malformed" in reason or "not a database" in reason:
            advice = "put a sound copy in its place, or start a new run with --run"
        elif reached:
            advice = (
                "see to the server, whose log may say more, then give the same command again; "
                "what was committed before is safe"
            )
        elif not self.sqlite:
            advice = "check pool.url, and that the server runs and lets you in"
        else:
            advice = "check pool.url, and that its folder exists and can be written to"
        return f"the database {self.name} cannot be used ({reason}): {advice}"

    def _open_schema(self) -> None:
        if self.path and not self.path.parent.is_dir():
            raise DiscoverError(self._complaint(f"no folder {self.path.parent}"))
        if self.path and self.path.is_dir():
            raise DiscoverError(self._complaint("a folder, where a file is expected"))
        with self.read() if self.read_only else self.write() as connection:
            present = set(inspect(connection).get_table_names())
            if not present & set(metadata.tables) and not self.read_only:
                metadata.create_all(connection)
                connection.execute(meta.insert().values(key="schema", value=SCHEMA))
                return
            ours = "meta" in present and {c["name"] for c in inspect(connection).get_columns("meta")} == {
                "key",
                "value",
            }
            if not ours:
                raise DiscoverError(f"the database {self.name} holds another program's tables: choose another pool.url")
            found = connection.execute(select(meta.c.value).where(meta.c.key == "schema")).scalar()
            if found == SCHEMA and not self.read_only:
                # Of an earlier version: PostgreSQL cannot index a long label, such as a document's many entities.
                connection.exec_driver_sql("DROP INDEX IF EXISTS document_label")
                for index in document.indexes:
                    index.create(connection, checkfirst=True)
        if found != SCHEMA:
            raise DiscoverError(
                f"this version of Discover reads schema {SCHEMA}, {self.name} has schema {found}: "
                "open it with the version that made it, or start a new run with --run"
            )


def insert_into(connection: Connection, table: Table) -> Any:
    """An INSERT that can say what to do on a conflict, in the words of the database that is connected."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        return sqlite_insert(table)
    from sqlalchemy.dialects.postgresql import insert as postgresql_insert

    return postgresql_insert(table)


def insert_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert the rows that break no uniqueness rule; the others are left as they stand."""
    if rows:
        connection.execute(insert_into(connection, table).on_conflict_do_nothing(), rows)


def _prepare_sqlite(raw: Any, _record: Any) -> None:
    raw.isolation_level = None  # SQLAlchemy's explicit BEGIN below makes reads snapshots too
    cursor = raw.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # an acknowledged label survives a power cut
        "wal_autocheckpoint=0",
        "foreign_keys=ON",
        "secure_delete=ON",  # else what is removed would stay readable in the file
        "cache_size=-65536",  # KiB a connection: bands are looked up all over their index
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _prepare_reading(raw: Any, _record: Any) -> None:
    raw.isolation_level = None


def _writable(file: Path) -> bool:
    """Whether SQLite could write: its logs lie beside the file."""
    return all(os.access(path, os.W_OK, effective_ids=True) for path in (file, file.parent))


def _read_only(file: Path) -> URL:
    """Where a process has the file open, or died over it, its log is read too; else SQLite must not look for one.

    https://www.sqlite.org/wal.html#readonly
    """
    log = file.with_name(file.name + "-wal")
    query = {"uri": "true", "mode": "ro"} | ({} if log.exists() else {"immutable": "1"})
    return URL.create("sqlite", database=f"file:{quote(str(file.resolve()))}", query=query)


def _redact(address: str) -> str:
    try:
        return make_url(address).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return re.sub(r":[^:@/]*@", ":***@", address)


def _reason(error: Exception) -> str:
    lines = str(getattr(error, "orig", error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def now() -> float:
    """Seconds since the epoch; the one clock of leases and timestamps."""
    return time.time()
