"""A cache that agent loops share."""

from typing import Annotated

from pydantic import Field, JsonValue

from db.local.contract import MAX_KEY_CHARACTERS, MAX_NAMESPACE_CHARACTERS, MAX_TTL_SECONDS
from mcp_server.calls import toolsets
from mcp_server.calls.call import Call
from mcp_server.schemas.base import Line, no_flag
from mcp_server.schemas.jobs import CacheDeleteAnswer, CacheGetAnswer, CacheSetAnswer, CacheStatsAnswer

Namespace = Annotated[Line, Field(min_length=1, max_length=MAX_NAMESPACE_CHARACTERS)]
Key = Annotated[Line, Field(min_length=1, max_length=MAX_KEY_CHARACTERS)]


@toolsets.cache.read("Get from the cache")
def cache_get(call: Call, namespace: Namespace, key: Key) -> CacheGetAnswer:
    """Get a cached value that has not expired; hit=false if there is none, or it can't be read."""
    entry = call.cache.get(namespace, key, now=call.now)
    if entry is None:
        return CacheGetAnswer(hit=False, value=None)
    return CacheGetAnswer.model_validate({"hit": entry.is_hit, **entry._asdict()})


@toolsets.cache.write("Put into the cache", is_audited=False, idempotent=True)
def cache_set(
    call: Call,
    namespace: Namespace,
    key: Key,
    value: JsonValue,
    ttl_seconds: Annotated[int, Field(ge=1, le=MAX_TTL_SECONDS), no_flag] = 3600,
) -> CacheSetAnswer:
    """Cache a value of up to 1 MiB for ttl_seconds; a full cache drops it earlier."""
    return CacheSetAnswer(expires_at=call.cache.set(namespace, key, value, ttl_seconds=ttl_seconds, now=call.now))


@toolsets.cache.write("Delete from the cache", is_audited=False, destructive=True, idempotent=True)
def cache_delete(call: Call, namespace: Namespace, key: Key | None = None) -> CacheDeleteAnswer:
    """Delete one cached value or, without key, a whole namespace."""
    return CacheDeleteAnswer(deleted=call.cache.delete(namespace, key))


@toolsets.cache.read("Count the cache")
def cache_stats(call: Call) -> CacheStatsAnswer:
    """Show how full the cache is, and how often it was hit."""
    return CacheStatsAnswer.model_validate(call.cache.stats(now=call.now))
