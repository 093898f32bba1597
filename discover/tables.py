"""The database's tables, and the version of their schema."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

SCHEMA = 4  # a run of another is refused
REMOVED = "removed"  # the state of a document that has left for good, and of the questions about it

metadata = MetaData()
# SQLite gives out row ids by itself only for a column of the exact type INTEGER.
RowId = BigInteger().with_variant(Integer, "sqlite")
LABELLED = text("label IS NOT NULL")

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
    Column("state", String(12), nullable=False, default="found"),  # found | pool | duplicate | aside | removed
    Column("reason", Text, nullable=False, default=""),
    Column("duplicate_of", BigInteger),
    Column("found", Float, nullable=False),
    Index("document_split", "state", "split", "public_id"),
    Index("document_new", "state", "id"),
    Index("document_labelled", "state", "split", sqlite_where=LABELLED, postgresql_where=LABELLED),
)
source = Table(
    "source",
    metadata,
    Column("document_id", ForeignKey("document.id"), primary_key=True),
    Column("address", Text, primary_key=True),
    Column("given_id", Text, nullable=False, default=""),  # what an imported row calls it
    sqlite_with_rowid=False,
)
band = Table(  # MinHash bands, written with the document; the scheme names hash family and shape
    "band",
    metadata,
    Column("document_id", ForeignKey("document.id"), primary_key=True),
    Column("scheme", String(32), primary_key=True),
    Column("band", Integer, primary_key=True),
    Column("hash", BigInteger, nullable=False),
    Index("band_hash", "hash"),
    sqlite_with_rowid=False,
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
    Index("url_level", "state", "host", "depth", "id"),  # the frontier makes it where an earlier version did not
)
visit = Table(  # the last one of an address, and what the page called the version that was read
    "visit",
    metadata,
    Column("url_id", ForeignKey("url.id"), primary_key=True),
    Column("fetched", Float, nullable=False),
    Column("etag", Text, nullable=False, default=""),
    Column("modified", Text, nullable=False, default=""),
    sqlite_with_rowid=False,
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
    Column("chooser", String(8)),  # policy | auto, where a strategy shares its batch
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
    Column("state", String(8), nullable=False, default="open"),  # open | answered | skipped | removed
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
