"""Of an erasure, the bodies of webhook requests that mention the person. They are deleted whole; their rows stay.

A body is a provider's, in whatever spelling: JSON with escapes, JSON within JSON, or a URL. One too many is deleted
where a longer address contains this one. A request that waits keeps its body until its events are recorded, and loses
it then, since by that time the person is known to be erased.
"""

import json
from collections.abc import Collection, Iterator
from typing import Final
from urllib.parse import quote
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.addresses import domain_in_ascii
from db.postgres.json import rows_parameter

# A shorter id would be found in anybody's text.
_SHORTEST_ID: Final = 8

_IDS = text("""
    SELECT e.id::text AS id FROM campaign_enrollments e WHERE e.contact_id = :contact
    UNION ALL
    SELECT a.provider_message_id FROM campaign_enrollments e
    JOIN campaign_actions a ON a.instance_id = e.instance_id AND a.enrollment_id = e.id
    WHERE e.contact_id = :contact AND a.provider_message_id IS NOT NULL
    UNION ALL
    SELECT m.provider_message_id FROM campaign_enrollments e
    JOIN campaign_messages m ON m.instance_id = e.instance_id AND m.enrollment_id = e.id
    WHERE e.contact_id = :contact
""")
# Those that wait are touched as well: so this waits for whoever records them now, and sees what they have become.
_DROP = text("""
    WITH sought AS MATERIALIZED (SELECT jsonb_array_elements_text(CAST(:rows AS jsonb)) AS mention),
    kept AS (
        SELECT id, lower(encode(body, 'escape')) AS body FROM webhook_deliveries WHERE body IS NOT NULL OFFSET 0
    )
    UPDATE webhook_deliveries d
    SET body = CASE WHEN d.status = 'waiting' THEN d.body END, updated_at = now()
    WHERE d.id IN (SELECT id FROM kept WHERE EXISTS (SELECT FROM sought WHERE position(mention in kept.body) > 0))
    RETURNING d.body IS NULL
""")


def drop_bodies(session: Session, *, contact_id: UUID, addresses: Collection[str]) -> int:
    """Delete the bodies that mention one of these addresses, or an id of the person's enrollments or messages."""
    ids = [str(contact_id), *session.scalars(_IDS, {"contact": contact_id})]
    mentions = {_as_encoded(spelling) for address in addresses for spelling in _spellings(address)}
    mentions |= {_as_encoded(id_) for id_ in ids if len(id_) >= _SHORTEST_ID}
    return sum(session.scalars(_DROP, rows_parameter(sorted(mentions))))


def _spellings(address: str) -> Iterator[str]:
    plain = address.removeprefix("https://www.")
    mailbox, at, domain = plain.rpartition("@")
    variants = {plain, plain.upper()}
    if at and not domain.isascii():
        variants.add(f"{mailbox}@{domain_in_ascii(domain)}")
    for variant in variants:
        escaped = json.dumps(variant)[1:-1]
        # Some writers escape what need not be: / in PHP, + in .NET.
        for each in {variant, escaped, escaped.replace("/", "\\/"), escaped.replace("+", "\\u002b")}:
            yield each
            yield json.dumps(each)[1:-1]
        yield quote(variant)
        yield quote(variant, safe="")


def _as_encoded(spelling: str) -> str:
    """As PostgreSQL's encode(..., 'escape') writes it, in lower case."""
    return "".join(_shown(byte) for byte in spelling.encode()).lower()


def _shown(byte: int) -> str:
    if byte == 0x5C:
        return "\\\\"
    return chr(byte) if 0 < byte < 0x80 else f"\\{byte:03o}"
