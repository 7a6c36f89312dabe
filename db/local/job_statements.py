"""The statements of the job queue, as constants: no statement is put together at run time.

`jobs.slot` is explained in schema.py. Times are microseconds since 1970. JSON is read as a BLOB, so that a row whose
text is not UTF-8 does not break a read.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, LiteralString

from db.domain.jobs import JobStatus

INSERT: Final = """
    INSERT INTO jobs (type, priority, status, slot, run_at, max_attempts, dedupe_key, created_at, updated_at)
    VALUES (?1, ?2, 'pending', ?3, ?4, ?5, ?6, ?7, ?7)
    ON CONFLICT (dedupe_key) WHERE dedupe_key IS NOT NULL AND status IN ('pending', 'processing') DO NOTHING
    RETURNING id
"""
INSERT_PARAMETERS: Final = "INSERT INTO job_parameters (job_id, parameters) VALUES (?1, ?2)"
LIVE_WITH_KEY: Final = "SELECT id FROM jobs WHERE dedupe_key = ?1 AND status IN ('pending', 'processing')"

# One index serves all of it: first a check whether anything must be settled (?13 asks for it; it costs four probes);
# then the head of each wanted type's lanes (?6 to ?12 are where they start, or NULL; the layout has room for seven).
# Masking the type away leaves priority and time.
CLAIM: Final = """
    UPDATE jobs
    SET status = 'processing', slot = ?1, lease_token = ?2, lease_seconds = ?3, worker_id = ?4, started_at = ?5,
        updated_at = ?5, attempts = attempts + 1
    WHERE id = (
        SELECT CASE
            WHEN ?13 AND (
                EXISTS (SELECT 1 FROM jobs WHERE slot <= ?5)
                OR EXISTS (SELECT 1 FROM jobs WHERE slot BETWEEN (32 << 56) AND (32 << 56) + ?5)
                OR EXISTS (SELECT 1 FROM jobs WHERE slot BETWEEN (33 << 56) AND (33 << 56) + ?5)
                OR EXISTS (SELECT 1 FROM jobs WHERE slot BETWEEN (34 << 56) AND (34 << 56) + ?5)
            ) THEN NULL
            ELSE (
                SELECT id FROM (
                    SELECT * FROM (
                        SELECT slot & ((4 << 56) - 1) AS turn, id FROM jobs
                        WHERE slot >= ?6 AND slot < ?6 + (4 << 56) ORDER BY slot, id LIMIT 1
                    )
                    UNION ALL SELECT * FROM (
                        SELECT slot & ((4 << 56) - 1) AS turn, id FROM jobs
                        WHERE slot >= ?7 AND slot < ?7 + (4 << 56) ORDER BY slot, id LIMIT 1
                    )
                    UNION ALL SELECT * FROM (
                        SELECT slot & ((4 << 56) - 1) AS turn, id FROM jobs
                        WHERE slot >= ?8 AND slot < ?8 + (4 << 56) ORDER BY slot, id LIMIT 1
                    )
                    UNION ALL SELECT * FROM (
                        SELECT slot & ((4 << 56) - 1) AS turn, id FROM jobs
                        WHERE slot >= ?9 AND slot < ?9 + (4 << 56) ORDER BY slot, id LIMIT 1
                    )
                    UNION ALL SELECT * FROM (
                        SELECT slot & ((4 << 56) - 1) AS turn, id FROM jobs
                        WHERE slot >= ?10 AND slot < ?10 + (4 << 56) ORDER BY slot, id LIMIT 1
                    )
                    UNION ALL SELECT * FROM (
                        SELECT slot & ((4 << 56) - 1) AS turn, id FROM jobs
                        WHERE slot >= ?11 AND slot < ?11 + (4 << 56) ORDER BY slot, id LIMIT 1
                    )
                    UNION ALL SELECT * FROM (
                        SELECT slot & ((4 << 56) - 1) AS turn, id FROM jobs
                        WHERE slot >= ?12 AND slot < ?12 + (4 << 56) ORDER BY slot, id LIMIT 1
                    )
                ) ORDER BY turn, id LIMIT 1
            )
        END
    )
    RETURNING id, type, priority, attempts, max_attempts, CAST(progress AS BLOB), error, created_at,
        (SELECT CAST(parameters AS BLOB) FROM job_parameters WHERE job_id = jobs.id)
"""
MUST_SETTLE: Final = """
    SELECT EXISTS (SELECT 1 FROM jobs WHERE slot <= ?1)
        OR EXISTS (SELECT 1 FROM jobs WHERE slot BETWEEN (32 << 56) AND (32 << 56) + ?1)
        OR EXISTS (SELECT 1 FROM jobs WHERE slot BETWEEN (33 << 56) AND (33 << 56) + ?1)
        OR EXISTS (SELECT 1 FROM jobs WHERE slot BETWEEN (34 << 56) AND (34 << 56) + ?1)
        OR EXISTS (SELECT 1 FROM jobs WHERE slot > ?1 AND slot < (1 << 56) AND slot > ?1 + lease_seconds * 1000000)
"""

EXPIRED_EXISTS: Final = "SELECT 1 FROM jobs WHERE slot <= ?1 LIMIT 1"
EXPIRED: Final = """
    SELECT id, type, priority, slot, attempts, max_attempts, cancel_requested, worker_id, started_at FROM jobs
    WHERE slot <= ?1 ORDER BY slot, id LIMIT ?2
"""
# A lease that ends later than it could if it had begun now was given before the clock was set back. It gets the latest
# end that is possible now, so that the job of a dead holder does not wait for the hour that the clock was set back.
SHORTEN_LEASES: Final = """
    UPDATE jobs SET slot = ?1 + lease_seconds * 1000000
    WHERE slot > ?1 AND slot < (1 << 56) AND slot > ?1 + lease_seconds * 1000000
"""
DUE: Final = """
    SELECT id, type, priority, run_at FROM jobs
    WHERE slot BETWEEN (?1 << 56) AND (?1 << 56) + ?2 ORDER BY slot, id LIMIT ?3
"""
MAKE_READY: Final = "UPDATE jobs SET slot = ?2 WHERE id = ?1"

HEARTBEAT: Final = """
    UPDATE jobs SET slot = ?3 + lease_seconds * 1000000, updated_at = ?3, progress = coalesce(?4, progress)
    WHERE id = ?1 AND lease_token = ?2 AND slot > ?3
    RETURNING slot, cancel_requested
"""
COMPLETE: Final = """
    UPDATE jobs
    SET status = 'completed', slot = NULL, lease_token = NULL, finished_at = ?3, updated_at = ?3, error = NULL
    WHERE id = ?1 AND lease_token = ?2 AND slot > ?3
"""
# A job that failed with a result may be retried, and then reports another result.
INSERT_RESULT: Final = """
    INSERT INTO job_results (job_id, result) VALUES (?1, ?2) ON CONFLICT (job_id) DO UPDATE SET result = excluded.result
"""
HELD: Final = """
    SELECT id, type, priority, slot, attempts, max_attempts, cancel_requested, worker_id, started_at FROM jobs
    WHERE id = ?1 AND lease_token = ?2 AND slot > ?3
"""
INSERT_ATTEMPT: Final = """
    INSERT INTO job_attempts (job_id, number, worker_id, outcome, error, started_at, ended_at)
    SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4, ?5, ?6 FROM job_attempts WHERE job_id = ?1
"""
END_ATTEMPT: Final = """
    UPDATE jobs
    SET status = ?2, slot = ?3, run_at = coalesce(?4, run_at), lease_token = NULL, error = ?5, updated_at = ?6,
        worker_id = CASE WHEN ?3 IS NULL THEN worker_id END, finished_at = CASE WHEN ?3 IS NULL THEN ?6 END
    WHERE id = ?1
"""

STATUS: Final = "SELECT status FROM jobs WHERE id = ?1"
CANCEL_PENDING: Final = """
    UPDATE jobs SET status = 'cancelled', slot = NULL, finished_at = ?2, updated_at = ?2
    WHERE id = ?1 AND status = 'pending'
"""
ASK_TO_STOP: Final = "UPDATE jobs SET cancel_requested = 1, updated_at = ?2 WHERE id = ?1 AND status = 'processing'"
RIVAL: Final = """
    SELECT id FROM jobs
    WHERE dedupe_key = (SELECT dedupe_key FROM jobs WHERE id = ?1) AND status IN ('pending', 'processing')
"""
RETRY: Final = """
    UPDATE jobs
    SET status = 'pending', slot = ?2, run_at = ?3, attempts = 0, cancel_requested = 0, worker_id = NULL,
        finished_at = NULL, updated_at = ?3
    WHERE id = ?1 AND status = 'failed'
"""
QUEUED: Final = "SELECT type, priority, run_at, attempts FROM jobs WHERE id = ?1"
# The columns that an update may change, each with its statement; db.domain.jobs.UPDATABLE names the same, and the
# parameters, which have a table of their own.
SET: Final[Mapping[str, LiteralString]] = MappingProxyType(
    {
        "priority": "UPDATE jobs SET priority = ?2, slot = ?3, updated_at = ?4 WHERE id = ?1 AND status = 'pending'",
        "run_at": "UPDATE jobs SET run_at = ?2, slot = ?3, updated_at = ?4 WHERE id = ?1 AND status = 'pending'",
        "max_attempts": """
            UPDATE jobs SET max_attempts = ?2, slot = ?3, updated_at = ?4 WHERE id = ?1 AND status = 'pending'
        """,
    }
)

SET_PARAMETERS: Final = """
    INSERT INTO job_parameters (job_id, parameters) VALUES (?1, ?2)
    ON CONFLICT (job_id) DO UPDATE SET parameters = excluded.parameters
"""
TOUCH: Final = "UPDATE jobs SET updated_at = ?2 WHERE id = ?1"

ROWS: Final = """
    SELECT id, type, priority, status, attempts, max_attempts, run_at, dedupe_key, worker_id, slot, cancel_requested,
        CAST(progress AS BLOB), error, created_at, updated_at, started_at, finished_at
    FROM jobs WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id DESC
"""
PAYLOAD: Final = """
    SELECT (SELECT CAST(parameters AS BLOB) FROM job_parameters WHERE job_id = ?1),
        (SELECT CAST(result AS BLOB) FROM job_results WHERE job_id = ?1)
"""
HISTORY: Final = """
    SELECT number, worker_id, outcome, error, started_at, ended_at FROM job_attempts
    WHERE job_id = ?1 ORDER BY number DESC LIMIT ?2
"""

ANY_STATUS: Final = """
    SELECT id FROM jobs
    WHERE id < ?1 AND (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR type = ?3) ORDER BY id DESC LIMIT ?4
"""
_STOPPED: Final = """
    SELECT id FROM jobs INDEXED BY jobs_stopped
    WHERE id < ?1 AND status IN ('failed', 'cancelled') AND status = ?2 AND (?3 IS NULL OR type = ?3)
    ORDER BY id DESC LIMIT ?4
"""
# Statuses that an index finds without reading the rest of a long table.
WITH_STATUS: Final[Mapping[JobStatus, LiteralString]] = MappingProxyType(
    {
        JobStatus.FAILED: _STOPPED,
        JobStatus.CANCELLED: _STOPPED,
        JobStatus.PROCESSING: """
            SELECT id FROM jobs INDEXED BY jobs_queue
            WHERE slot < (1 << 56) AND id < ?1 AND status = ?2 AND (?3 IS NULL OR type = ?3) ORDER BY id DESC LIMIT ?4
        """,
    }
)

COUNTS: Final = """
    SELECT type, status, total FROM job_totals
    UNION ALL
    SELECT type, status, count(*) FROM jobs INDEXED BY jobs_queue WHERE slot IS NOT NULL GROUP BY type, status
"""
READY: Final = """
    SELECT count(*), min(slot & ((1 << 56) - 1)) FROM jobs WHERE slot BETWEEN (4 << 56) AND (32 << 56) - 1
"""
# A scheduled job that has fallen due counts as ready, though the next claim has yet to move it.
SCHEDULED: Final = """
    SELECT count(*) FILTER (WHERE time <= ?1), min(time) FILTER (WHERE time <= ?1),
        count(*) FILTER (WHERE time > ?1), min(time) FILTER (WHERE time > ?1)
    FROM (SELECT slot & ((1 << 56) - 1) AS time FROM jobs WHERE slot >= (32 << 56))
"""

# The newest job always stays, so that its id is not given to another job.
FINISHED: Final = """
    SELECT id FROM jobs
    WHERE id > ?1 AND finished_at <= ?2 AND id < (SELECT max(id) FROM jobs) ORDER BY id LIMIT ?3
"""
DELETE_FINISHED: Final = """
    DELETE FROM jobs WHERE id IN (SELECT value FROM json_each(?1)) AND finished_at <= ?2
"""

CURSOR_KEY: Final = "SELECT value FROM secrets WHERE name = 'cursor'"
