"""The statements of an erasure in the local store, as constants. Texts are read as BLOBs, as in job_statements.py."""

from typing import Final

PARAMETERS: Final = """
    SELECT job_id, CAST(parameters AS BLOB) FROM job_parameters WHERE job_id > ?1 ORDER BY job_id LIMIT ?2
"""
SET_PARAMETERS: Final = "UPDATE job_parameters SET parameters = ?2 WHERE job_id = ?1"
RESULTS: Final = "SELECT job_id, CAST(result AS BLOB) FROM job_results WHERE job_id > ?1 ORDER BY job_id LIMIT ?2"
SET_RESULT: Final = "UPDATE job_results SET result = ?2 WHERE job_id = ?1"
JOBS: Final = """
    SELECT id, CAST(progress AS BLOB), CAST(error AS BLOB), CAST(dedupe_key AS BLOB), CAST(worker_id AS BLOB) FROM jobs
    WHERE id > ?1 AND (progress IS NOT NULL OR error IS NOT NULL OR dedupe_key IS NOT NULL OR worker_id IS NOT NULL)
    ORDER BY id LIMIT ?2
"""
SET_JOB: Final = "UPDATE jobs SET progress = ?2, error = ?3, dedupe_key = ?4, worker_id = ?5 WHERE id = ?1"
ATTEMPTS: Final = """
    SELECT job_id, number, CAST(error AS BLOB), CAST(worker_id AS BLOB) FROM job_attempts
    WHERE (job_id, number) > (?1, ?2) ORDER BY job_id, number LIMIT ?3
"""
SET_ATTEMPT: Final = "UPDATE job_attempts SET error = ?3, worker_id = ?4 WHERE job_id = ?1 AND number = ?2"
CACHED: Final = """
    SELECT id, CAST(namespace AS BLOB), CAST(key AS BLOB), CAST(value AS BLOB) FROM cache
    WHERE id > ?1 ORDER BY id LIMIT ?2
"""
DELETE_CACHED: Final = "DELETE FROM cache WHERE id = ?1"
