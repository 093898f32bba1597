"""The database: engine, tables, schema version. It is the only point where crawler, trainer and queue meet.

SQLite by default, PostgreSQL by URL. SQLite before 3.51.3 can corrupt a write-ahead log when two connections write and
checkpoint at once (https://www.sqlite.org/wal.html#walresetbug), so every write and checkpoint here holds one file
lock, and SQLite never checkpoints by itself.
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    inspect,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from discover.errors import DiscoverError

SCHEMA = 1
CHECKPOINT_BYTES = 8 << 20
BUSY_SECONDS = 30

metadata = MetaData()
# SQLite gives out row ids by itself only for a column of the exact type INTEGER.
RowId = BigInteger().with_variant(Integer, "sqlite")

meta = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", JSON),
)
document = Table(
    "document",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("public_id", String(32), nullable=False, unique=True),
    Column("text", Text, nullable=False),
    Column("title", Text, nullable=False, default=""),
    Column("language", String(8), nullable=False, default=""),
    Column("date", String(32), nullable=False, default=""),
    Column("label", Text),  # as an imported file gave it; a crawl gives none
    Column("split", String(8), nullable=False, default="train"),  # train | test
    Column("state", String(12), nullable=False, default="found"),  # found | pool | duplicate | aside
    Column("reason", Text, nullable=False, default=""),
    Column("duplicate_of", BigInteger),
    Column("found", Float, nullable=False),
    Index("document_state", "state", "public_id"),
)
source = Table(
    "source",
    metadata,
    Column("document_id", ForeignKey("document.id"), primary_key=True),
    Column("address", Text, primary_key=True),
)
band = Table(  # MinHash bands, written with the document; the scheme names hash family and shape
    "band",
    metadata,
    Column("document_id", ForeignKey("document.id"), primary_key=True),
    Column("scheme", String(32), primary_key=True),
    Column("band", Integer, primary_key=True),
    Column("hash", BigInteger, nullable=False),
    Index("band_hash", "hash", "band"),
)
rejection = Table(  # what was not taken in, and why
    "rejection",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("address", Text, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("detail", Text, nullable=False, default=""),
    Column("found", Float, nullable=False),
    UniqueConstraint("address", "reason"),
)
url = Table(  # the crawl frontier
    "url",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("address", Text, nullable=False, unique=True),
    Column("host", Text, nullable=False),
    Column("depth", Integer, nullable=False, default=0),
    Column("state", String(8), nullable=False, default="new"),  # new | leased | done | failed
    Column("attempts", Integer, nullable=False, default=0),
    Column("lease_until", Float, nullable=False, default=0.0),
    Column("status", Integer),
    Column("reason", Text, nullable=False, default=""),
    Index("url_state", "state", "depth", "id"),
)
query = Table(  # one acquisition decision: the candidates' arrays lie in decisions/<id>.safetensors
    "query",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("arm", String(64), nullable=False),
    Column("round", Integer, nullable=False),
    Column("candidates", Integer, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("policy", Text),
    Column("model", Text),
    Column("temperature", Float, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("set_log_propensity", Float),
    Column("reward", Float),
    Column("reward_source", String(8)),
    UniqueConstraint("arm", "round"),
)
pick = Table(
    "pick",
    metadata,
    Column("query_id", ForeignKey("query.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("document_id", ForeignKey("document.id"), nullable=False),
    Column("kind", String(8), nullable=False),  # policy | audit
    Column("generator", String(16), nullable=False, default=""),
    Column("utility", Float),
    Column("log_propensity", Float, nullable=False),
    Column("pick_reward", Float),
)
slot = Table(  # one answer wanted of one arm about one document, and its present state
    "slot",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("arm", String(64), nullable=False),
    Column("round", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("document_id", ForeignKey("document.id"), nullable=False),
    Column("kind", String(8), nullable=False),  # policy | audit | import
    Column("part", String(8), nullable=False, default=""),  # of an audit slot: decide | report
    Column("state", String(8), nullable=False, default="open"),  # open | answered | skipped
    Column("owner", String(64), nullable=False, default=""),
    Column("lease_until", Float, nullable=False, default=0.0),
    Column("token", String(32), nullable=False, default=""),
    Column("label", Text),
    Column("annotator", String(64), nullable=False, default=""),
    Column("cost", Float, nullable=False, default=0.0),
    UniqueConstraint("arm", "document_id"),
    Index("slot_queue", "arm", "state", "round", "position"),
)
answer = Table(  # what annotators did, append-only; `slot` is its present view
    "answer",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("slot_id", ForeignKey("slot.id"), nullable=False, index=True),
    Column("annotator", String(64), nullable=False),
    Column("action", String(8), nullable=False),  # answer | skip | undo
    Column("label", Text),
    Column("created", Float, nullable=False),
    Column("idempotency_key", String(64), unique=True),
)
step = Table(  # what the loop has finished; a row here is the step's commit
    "step",
    metadata,
    Column("arm", String(64), primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("step", String(16), primary_key=True),
    Column("input_hash", String(64), nullable=False),
    Column("output", JSON, nullable=False),
    Column("seconds", Float, nullable=False),
)
metric = Table(
    "metric",
    metadata,
    Column("arm", String(64), primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("row", JSON, nullable=False),
)
model = Table(
    "model",
    metadata,
    Column("version", String(80), primary_key=True),
    Column("arm", String(64), nullable=False),
    Column("round", Integer, nullable=False),
    Column("checksum", String(64), nullable=False),
    Column("created", Float, nullable=False),
)


class Database:
    """An opened database; safe to share between threads, one instance a process.

    Args:
        address: an SQLAlchemy URL, ``sqlite:///path`` or ``postgresql+psycopg://…``.

    Raises:
        DiscoverError: the address is wrong, cannot be reached, or holds another schema version.
    """

    def __init__(self, address: str):
        try:
            parsed = make_url(address)
            self.sqlite = parsed.get_backend_name() == "sqlite"
            self.path = Path(parsed.database or "") if self.sqlite else None
            self.engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS} if self.sqlite else {})
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise DiscoverError(
                f"pool.url must be like sqlite:///runs/x/discover.db or postgresql+psycopg://user@host/name, "
                f"got {_redact(address)!r}: {error}"
            ) from error
        if self.sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        try:
            self._open_schema()
        except (OperationalError, DBAPIError) as error:
            raise DiscoverError(
                f"the database {_redact(address)} cannot be used ({_reason(error)}): check pool.url, "
                "and that the folder exists and can be written to"
            ) from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read transaction: one consistent snapshot."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A write transaction; it commits at the end of the block, or not at all.

        On SQLite one writer at a time holds the file lock, which is fairer than SQLite's own busy loop.
        """
        with self._exclusive(), self.engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Fold the write-ahead log back and let go of all connections."""
        if self.sqlite:
            with self._exclusive(limit=0):
                pass
        self.engine.dispose()

    @contextmanager
    def _exclusive(self, limit: int = CHECKPOINT_BYTES) -> Iterator[None]:
        if not self.path:
            yield
            return
        with self.path.with_name(self.path.name + ".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
            log = self.path.with_name(self.path.name + "-wal")
            if log.exists() and log.stat().st_size > limit:
                raw = self.engine.raw_connection()
                try:
                    raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
                finally:
                    raw.close()

    def _open_schema(self) -> None:
        with self.write() as connection:
            tables = inspect(connection).get_table_names()
            if "meta" not in tables:
                metadata.create_all(connection)
                connection.execute(meta.insert().values(key="schema", value=SCHEMA))
                return
            found = connection.execute(select(meta.c.value).where(meta.c.key == "schema")).scalar()
        if found != SCHEMA:
            raise DiscoverError(
                f"this version of Discover reads schema {SCHEMA}, the run has schema {found}: "
                "open it with the version that made it, or start a new run with --run"
            )


def insert_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert the rows that break no uniqueness rule; the others are left as they stand."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        connection.execute(sqlite_insert(table).on_conflict_do_nothing(), rows)
    else:
        from sqlalchemy.dialects.postgresql import insert as postgresql_insert

        connection.execute(postgresql_insert(table).on_conflict_do_nothing(), rows)


def _prepare_sqlite(raw: Any, _record: Any) -> None:
    raw.isolation_level = None  # SQLAlchemy's explicit BEGIN below makes reads snapshots too
    cursor = raw.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # an acknowledged label survives a power cut
        "wal_autocheckpoint=0",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _redact(address: str) -> str:
    try:
        return make_url(address).render_as_string(hide_password=True)
    except ArgumentError:
        return address


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", error)).strip().splitlines()[0]


def now() -> float:
    """Seconds since the epoch; the one clock of leases and timestamps."""
    return time.time()
