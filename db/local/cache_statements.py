"""The statements of the cache, as constants."""

from typing import Final

GET: Final = "SELECT id, CAST(value AS BLOB), expires_at FROM cache WHERE namespace = ?1 AND key = ?2"
PUT: Final = """
    INSERT INTO cache (namespace, key, value, bytes, expires_at, used_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (namespace, key) DO UPDATE
    SET value = excluded.value, bytes = excluded.bytes, expires_at = excluded.expires_at, used_at = excluded.used_at
"""
BYTES: Final = "SELECT bytes FROM cache_totals WHERE one = 1"
DELETE_KEY: Final = "DELETE FROM cache WHERE namespace = ?1 AND key = ?2"
DELETE_NAMESPACE: Final = "DELETE FROM cache WHERE namespace = ?1"
DELETE_EXPIRED: Final = """
    DELETE FROM cache WHERE id IN (SELECT id FROM cache WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)
"""
LEAST_RECENTLY_USED: Final = """
    SELECT id, bytes FROM cache WHERE NOT (namespace = ?1 AND key = ?2) ORDER BY used_at, id
"""
DELETE_IDS: Final = "DELETE FROM cache WHERE id IN (SELECT value FROM json_each(?1))"
TOUCH: Final = "UPDATE cache SET used_at = ?2 WHERE id = ?1 AND used_at < ?2"
COUNT: Final = """
    UPDATE cache_totals SET hits = hits + ?1, misses = misses + ?2, evictions = evictions + ?3 WHERE one = 1
"""
TOTALS: Final = "SELECT entries, bytes, hits, misses, evictions FROM cache_totals WHERE one = 1"
EXPIRED_COUNT: Final = "SELECT count(*) FROM cache WHERE expires_at <= ?1"
