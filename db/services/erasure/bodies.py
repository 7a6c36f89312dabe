"""Deletes the bodies of webhook requests that mention an erased person. They are deleted whole; their rows stay.

A body is a provider's, in any spelling: JSON with escapes, JSON within JSON, a URL, or a mail in base64 or
quoted-printable. One too many is deleted if a longer address contains this one. A waiting request keeps its body until
its events are recorded, and loses it then, because by that time the person is known to be erased.
"""

import json
from collections.abc import Collection, Iterator
from typing import Final
from urllib.parse import quote
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.addresses import domain_in_ascii, lowered
from db.domain.encodings import is_quoted, readings, resolved, runs
from db.postgres.json import rows_parameter

# A shorter id would occur in anybody's text.
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
    UNION ALL
    SELECT w.internet_message_id FROM campaign_enrollments e JOIN messages w ON w.enrollment_id = e.id
    WHERE e.contact_id = :contact AND w.internet_message_id IS NOT NULL
""")
# Waiting requests are updated as well, so this waits for the transactions that record them, and sees their result.
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
    """Deletes the bodies that mention one of these addresses, or an id of the person's enrollments or messages."""
    ids = [str(contact_id), *session.scalars(_IDS, {"contact": contact_id})]
    mentions = {_as_encoded(spelling) for address in addresses for spelling in spellings(address)}
    mentions |= {_as_encoded(id_) for id_ in ids if len(id_) >= _SHORTEST_ID}
    return sum(session.scalars(_DROP, rows_parameter(sorted(mentions)))) + _drop_coded(session, addresses)


# Encoded mails are decoded here: PostgreSQL would take ten times as long.
_BODIES = text("SELECT id, body FROM webhook_deliveries WHERE body IS NOT NULL")
_DROP_CODED = text("""
    UPDATE webhook_deliveries d
    SET body = CASE WHEN d.status = 'waiting' THEN d.body END, updated_at = now()
    WHERE d.id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
      AND d.body IS NOT NULL
    RETURNING d.body IS NULL
""")
_READ_AT_ONCE: Final = 100
# If base64 holds one of these, the address in it may be encoded once more.
_TWICE: Final = (b"%40", b"%2f", b"=40", b"=\r\n", b"=\n")


def _drop_coded(session: Session, addresses: Collection[str]) -> int:
    forms = {lowered(form) for address in addresses for form in _forms(address)}
    rows = session.execute(_BODIES).yield_per(_READ_AT_ONCE)
    found = [id_ for id_, body in rows if _holds(body.decode(errors="replace"), forms)]
    return sum(session.scalars(_DROP_CODED, rows_parameter(found))) if found else 0


def _holds(body: str, forms: Collection[str]) -> bool:
    plain = resolved(body)
    raws = [raw.lower() for raw in runs(plain)]
    if any(form.encode() in raw for raw in raws for form in forms):
        return True
    if not is_quoted(plain) and not any(mark in raw for raw in raws for mark in _TWICE):
        return False
    return any(form in reading for reading in map(lowered, readings(body)) for form in forms)


def _forms(address: str) -> Iterator[str]:
    """Returns the address as a text may spell it, its domain in Unicode or in punycode; a profile without the host."""
    plain = address.removeprefix("https://www.")
    yield plain
    mailbox, at, domain = plain.rpartition("@")
    if at and not domain.isascii():
        yield f"{mailbox}@{domain_in_ascii(domain)}"
    if not at:
        yield plain.replace("linkedin.com/in/", "linkedin.com/comm/in/")


def spellings(address: str) -> Iterator[str]:
    """Returns the address as JSON, JSON in JSON or a URL may spell it; in capitals as well."""
    forms = set(_forms(address))
    variants = {*forms, *(form.upper() for form in forms)}
    for variant in variants:
        escaped = json.dumps(variant)[1:-1]
        # Some writers escape more than they must: / in PHP, + in .NET.
        for spelling in {variant, escaped, escaped.replace("/", "\\/"), escaped.replace("+", "\\u002b")}:
            yield spelling
            yield json.dumps(spelling)[1:-1]
        yield quote(variant)
        yield quote(variant, safe="")


def _as_encoded(spelling: str) -> str:
    """Returns the text as PostgreSQL's encode(..., 'escape') writes it, in lower case."""
    return "".join(_shown(byte) for byte in spelling.encode()).lower()


def _shown(byte: int) -> str:
    if byte == 0x5C:
        return "\\\\"
    return chr(byte) if 0 < byte < 0x80 else f"\\{byte:03o}"
