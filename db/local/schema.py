"""The two files of the store: the layout of each, and its schema as numbered upgrades.

Upgrade N takes a file from `user_version` N - 1 to N, in one transaction. A released upgrade is never edited; a change
is a new upgrade at the end.

The queue and the cache have a file each. Nearly all the cost of a claim is in the pages that it writes, so the queue
has small pages, while cached values need large ones. Writes to the cache never delay a claim, and a damaged cache can
be deleted.
"""

from dataclasses import dataclass
from typing import Final, LiteralString

Statements = tuple[LiteralString, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A file, the lock file beside it, the pragmas for a new file and for each connection, and the upgrades."""

    file_name: str
    lock_name: str
    on_create: Statements
    on_connect: Statements
    upgrades: tuple[Statements, ...]


APPLICATION_ID: Final = 0x53414D43

# jobs.slot is the queue: one index serves what is ready, what is scheduled and what is leased, so that a claim and a
# completion touch one index page each. Its upper bits are a lane, its lower 56 bits a time in microseconds:
#   lane 0                        leased, by the end of the lease
#   lanes 4 x (type + 1) + rank   ready, one lane per type and priority (type 0..6, rank 0 high, 1 normal, 2 low)
#   lanes 32 + rank               scheduled for later, by run_at
# A finished job has none, and costs the index nothing. Leases sort before the ready jobs because a claim moves an entry
# from the head of a ready lane to the leases: in a queue of one kind both are on the same page.
#
# Payloads live in tables of their own: a heartbeat must not rewrite a megabyte of parameters.
_JOBS: Final[Statements] = (
    """
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY,
        type TEXT NOT NULL,
        priority INTEGER NOT NULL,
        status TEXT NOT NULL,
        slot INTEGER,
        run_at INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        max_attempts INTEGER NOT NULL,
        dedupe_key TEXT,
        worker_id TEXT,
        lease_token TEXT,
        lease_seconds INTEGER,
        cancel_requested INTEGER NOT NULL DEFAULT 0,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        started_at INTEGER,
        finished_at INTEGER,
        progress TEXT,
        error TEXT,
        CONSTRAINT jobs_type CHECK (type IN ('import', 'enrichment', 'discovery', 'outreach', 'crm_sync')),
        CONSTRAINT jobs_priority CHECK (priority BETWEEN 0 AND 2),
        CONSTRAINT jobs_max_attempts CHECK (max_attempts BETWEEN 1 AND 100),
        CONSTRAINT jobs_cancel_requested CHECK (cancel_requested IN (0, 1)),
        CONSTRAINT jobs_state CHECK (
            CASE status
                WHEN 'pending' THEN slot >= (4 << 56) AND lease_token IS NULL
                WHEN 'processing' THEN slot < (1 << 56) AND lease_token IS NOT NULL
                WHEN 'completed' THEN slot IS NULL AND lease_token IS NULL
                WHEN 'failed' THEN slot IS NULL AND lease_token IS NULL
                WHEN 'cancelled' THEN slot IS NULL AND lease_token IS NULL
                ELSE 0
            END IS 1
        )
    ) STRICT
    """,
    "CREATE INDEX jobs_queue ON jobs (slot) WHERE slot IS NOT NULL",
    """
    CREATE UNIQUE INDEX jobs_dedupe_key ON jobs (dedupe_key)
    WHERE dedupe_key IS NOT NULL AND status IN ('pending', 'processing')
    """,
    "CREATE INDEX jobs_stopped ON jobs (status, id) WHERE status IN ('failed', 'cancelled')",
    """
    CREATE TABLE job_parameters (
        job_id INTEGER PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
        parameters TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE job_results (
        job_id INTEGER PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
        result TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE job_attempts (
        job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        worker_id TEXT NOT NULL,
        outcome TEXT NOT NULL,
        error TEXT,
        started_at INTEGER NOT NULL,
        ended_at INTEGER NOT NULL,
        PRIMARY KEY (job_id, number),
        CONSTRAINT job_attempts_outcome CHECK (outcome IN ('failed', 'expired'))
    ) STRICT, WITHOUT ROWID
    """,
    # The key that signs cursors. A cursor is opaque; one that was changed or made elsewhere is refused.
    "CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
    "INSERT INTO secrets (name, value) VALUES ('cursor', randomblob(32))",
    "PRAGMA user_version = 1",
)

# Finished jobs are counted as they finish, since there may be many; live jobs are found by the queue's own index. The
# statements of a claim and a heartbeat don't name finished_at, so SQLite compiles no trigger for them.
_JOB_TOTALS: Final[Statements] = (
    """
    CREATE TABLE job_totals (
        type TEXT NOT NULL,
        status TEXT NOT NULL,
        total INTEGER NOT NULL,
        PRIMARY KEY (type, status)
    ) STRICT, WITHOUT ROWID
    """,
    """
    INSERT INTO job_totals SELECT type, status, count(*) FROM jobs WHERE finished_at IS NOT NULL GROUP BY type, status
    """,
    """
    CREATE TRIGGER jobs_finished AFTER UPDATE OF finished_at ON jobs
    WHEN old.finished_at IS NULL AND new.finished_at IS NOT NULL BEGIN
        INSERT INTO job_totals VALUES (new.type, new.status, 1)
        ON CONFLICT (type, status) DO UPDATE SET total = total + 1;
    END
    """,
    """
    CREATE TRIGGER jobs_reopened AFTER UPDATE OF finished_at ON jobs
    WHEN old.finished_at IS NOT NULL AND new.finished_at IS NULL BEGIN
        UPDATE job_totals SET total = total - 1 WHERE type = old.type AND status = old.status;
    END
    """,
    """
    CREATE TRIGGER jobs_forgotten AFTER DELETE ON jobs WHEN old.finished_at IS NOT NULL BEGIN
        UPDATE job_totals SET total = total - 1 WHERE type = old.type AND status = old.status;
    END
    """,
    "PRAGMA user_version = 2",
)

_CACHE: Final[Statements] = (
    """
    CREATE TABLE cache (
        id INTEGER PRIMARY KEY,
        namespace TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        used_at INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE UNIQUE INDEX cache_key ON cache (namespace, key)",
    "CREATE INDEX cache_used_at ON cache (used_at)",
    "CREATE INDEX cache_expires_at ON cache (expires_at)",
    # One row, kept exact by triggers for every process, so that a set does not have to add up the whole table.
    """
    CREATE TABLE cache_totals (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        entries INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        hits INTEGER NOT NULL,
        misses INTEGER NOT NULL,
        evictions INTEGER NOT NULL
    ) STRICT
    """,
    "INSERT INTO cache_totals VALUES (1, 0, 0, 0, 0, 0)",
    """
    CREATE TRIGGER cache_inserted AFTER INSERT ON cache BEGIN
        UPDATE cache_totals SET entries = entries + 1, bytes = bytes + new.bytes WHERE one = 1;
    END
    """,
    """
    CREATE TRIGGER cache_deleted AFTER DELETE ON cache BEGIN
        UPDATE cache_totals SET entries = entries - 1, bytes = bytes - old.bytes WHERE one = 1;
    END
    """,
    """
    CREATE TRIGGER cache_resized AFTER UPDATE OF bytes ON cache WHEN new.bytes <> old.bytes BEGIN
        UPDATE cache_totals SET bytes = bytes + new.bytes - old.bytes WHERE one = 1;
    END
    """,
    "PRAGMA user_version = 1",
)

JOBS: Final = Layout(
    file_name="jobs.db",
    lock_name="jobs.lock",
    on_create=("PRAGMA page_size = 1024", "PRAGMA application_id = 0x53414D43"),
    on_connect=("PRAGMA cache_size = -16384", "PRAGMA wal_autocheckpoint = 8000"),
    upgrades=(_JOBS, _JOB_TOTALS),
)
CACHE: Final = Layout(
    file_name="cache.db",
    lock_name="cache.lock",
    on_create=("PRAGMA page_size = 4096", "PRAGMA application_id = 0x53414D43"),
    on_connect=("PRAGMA cache_size = -8192", "PRAGMA wal_autocheckpoint = 2000"),
    upgrades=(_CACHE,),
)
