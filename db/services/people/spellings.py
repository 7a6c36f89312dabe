"""Contacts whose address stands in another spelling than its normal form, as an earlier version or SQL has written it.

Nobody finds them by what is given, which is put into the normal form first. Alone they get it. Where another contact
has it already, neither is changed, since nobody can tell here which of them is right: each is kept the other's
addresses besides, so that a wish of one holds both (db.services.people.opt_outs), and what suppresses the address that
they share, for any reason, does so in both spellings.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.addresses import PROFILE_PREFIX, normalise_email, normalise_linkedin_url
from db.domain.contacts import strength
from db.domain.errors import InvalidInput
from db.domain.field_limits import EMAIL_MAX, EMAIL_PATTERN
from db.domain.states import SuppressionReason
from db.postgres.json import rows_parameter
from db.services.people import opt_outs, suppressions
from db.services.people.opt_outs import ANOTHER_ADDRESS

_SOURCE: Final = "another spelling of the address"

# Of the keys alone, so that a table of any size costs little.
_START = text("""
    SELECT id FROM contacts ORDER BY id
    OFFSET (SELECT :turn * CAST(:limit AS bigint) % (greatest(count(*) - 1, 0) / :limit * :limit + :limit)
            FROM contacts)
    LIMIT 1
""")
_PLAIN_PROFILE: Final = f"^{re.escape(PROFILE_PREFIX)}([a-z0-9-]([a-z0-9._-]*[a-z0-9-])?|AC[ow]AA[A-Za-z0-9_-]+)$"
# Most are plain, and are left out here: what stays is looked at one by one.
_LOOK = text("""
    WITH looked AS MATERIALIZED (
        SELECT id, email, linkedin_url, row_number() OVER (ORDER BY id) > :limit AS is_next
        FROM contacts WHERE id >= :start ORDER BY id LIMIT :limit + 1
    )
    SELECT id, email, linkedin_url, is_next FROM looked
    WHERE is_next OR email !~ '^[!-~]+$' OR email LIKE '%xn--%'
       OR linkedin_url !~ :plain_profile
    ORDER BY id
""")
_OWNERS = text("""
    SELECT c.id FROM jsonb_array_elements_text(CAST(:rows AS jsonb)) AS n(address)
    JOIN contacts c ON lower(c.email) = n.address
    UNION
    SELECT c.id FROM jsonb_array_elements_text(CAST(:rows AS jsonb)) AS n(address)
    JOIN contacts c ON lower(c.linkedin_url) = n.address
""")
_RESPELL = text("""
    WITH given AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(id uuid, email text, linkedin_url text)
        WHERE email IS NULL OR email = lower(email)
    )
    UPDATE contacts c SET email = coalesce(g.email, c.email), linkedin_url = coalesce(g.linkedin_url, c.linkedin_url),
        updated_at = now()
    FROM given g WHERE c.id = g.id AND c.erased_at IS NULL
    RETURNING c.id
""")
# Locked in the order of their keys. One that is there in the normal form already stays as it is.
_MOVE = """
    WITH given AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(was text, address text)
    ), held AS MATERIALIZED (
        SELECT s.id, g.address FROM given g JOIN suppressions s ON {column} = g.was
        WHERE NOT EXISTS (SELECT FROM suppressions o WHERE {other} = lower(g.address))
        ORDER BY s.id FOR UPDATE OF s
    )
    UPDATE suppressions s SET {target} = h.address FROM held h WHERE s.id = h.id
"""
_MOVE_EMAILS = text(_MOVE.format(target="email", column="s.email", other="o.email"))
_MOVE_PROFILES = text(
    _MOVE.format(target="linkedin_url", column="lower(s.linkedin_url)", other="lower(o.linkedin_url)")
)


class _Addresses(NamedTuple):
    email: str | None
    linkedin_url: str | None


@dataclass(frozen=True, slots=True)
class Mended:
    """How many contacts got the normal form, how many share it with another, the pairs that nobody knew of, and where
    to go on; None at the end."""

    respelled: int
    shared: int
    new_pairs: Sequence[tuple[UUID, UUID]]
    next: UUID | None


def start_of(session: Session, *, turn: int, limit: int) -> UUID | None:
    """The contact with which a turn of `limit` contacts begins: another at each turn, until all had theirs. None where
    there is nobody."""
    return session.scalar(_START, {"turn": turn, "limit": limit})


def mend_some(session: Session, *, start: UUID, limit: int) -> Mended:
    """Look at `limit` contacts from this one on, in the order of their ids, and mend those in another spelling."""
    looked = session.execute(_LOOK, {"start": start, "limit": limit, "plain_profile": _PLAIN_PROFILE}).all()
    after = next((id_ for id_, _, _, is_next in looked if is_next), None)
    seen = {id_: _Addresses(email, url) for id_, email, url, is_next in looked if not is_next}
    normal = {id_: changed for id_, had in seen.items() if any(changed := _Addresses(_email(had), _profile(had)))}
    if not normal:
        return Mended(0, 0, (), after)
    locked = _lock(session, normal)
    normal = {id_: changed for id_, changed in normal.items() if locked.get(id_) == seen[id_]}
    alone, pairs = _parted(normal, locked)
    respelled = _respell(session, alone, locked)
    new = _keep_each_other(session, pairs)
    held = opt_outs.of_people(session, contact_ids=[*respelled, *{id_ for pair in pairs for id_ in pair}])
    opt_outs.add_for_contacts(session, reasons=held, source=ANOTHER_ADDRESS)
    return Mended(len(respelled), len({id_ for id_, _ in pairs}), new, after)


def _email(had: _Addresses) -> str | None:
    """The normal form, where it is another and can stand in its place."""
    if had.email is None:
        return None
    normal = normalise_email(had.email)
    return normal if normal != had.email and len(normal) <= EMAIL_MAX and re.match(EMAIL_PATTERN, normal) else None


def _profile(had: _Addresses) -> str | None:
    if had.linkedin_url is None:
        return None
    with suppress(InvalidInput):  # of a company, or of what no form knows
        normal = normalise_linkedin_url(had.linkedin_url)
        return normal if normal != had.linkedin_url else None
    return None


def _lock(session: Session, normal: Mapping[UUID, _Addresses]) -> dict[UUID, _Addresses]:
    """These contacts and those that have what is theirs in the normal form, locked in the order of their ids."""
    wanted = sorted({address.lower() for changed in normal.values() for address in changed if address})
    owners = session.scalars(_OWNERS, rows_parameter(wanted))
    locked = opt_outs.lock_addresses(session, contact_ids={*normal, *owners})
    return {id_: _Addresses(*addresses) for id_, addresses in locked.items()}


def _parted(
    normal: Mapping[UUID, _Addresses], locked: Mapping[UUID, _Addresses]
) -> tuple[dict[UUID, _Addresses], list[tuple[UUID, UUID]]]:
    """What can be changed, and who shares an address with whom: of two with the same one the first gets it."""
    owner = {address.lower(): id_ for id_, addresses in locked.items() for address in addresses if address}
    alone: dict[UUID, _Addresses] = {}
    pairs: dict[tuple[UUID, UUID], None] = {}
    for id_, changed in normal.items():
        free: list[str | None] = []
        for address in changed:
            first = id_ if address is None else owner.setdefault(address.lower(), id_)
            free.append(address if first == id_ else None)
            if first != id_:
                pairs[id_, first] = None
        if any(free):
            alone[id_] = _Addresses(*free)
    return alone, list(pairs)


def _respell(session: Session, alone: Mapping[UUID, _Addresses], locked: Mapping[UUID, _Addresses]) -> Sequence[UUID]:
    """Who got the normal form. What held them by the old one holds them by this one; that is kept besides."""
    if not alone:
        return []
    now = datetime.now(UTC)
    before = suppressions.of_contacts(session, contact_ids=list(alone), now=now)
    rows = [{"id": id_, **changed._asdict()} for id_, changed in alone.items()]
    done = list(session.scalars(_RESPELL, rows_parameter(rows)))
    for statement, index in ((_MOVE_EMAILS, 0), (_MOVE_PROFILES, 1)):
        moved = [
            {"was": was.lower(), "address": address}
            for id_ in done
            if (address := alone[id_][index]) and (was := locked[id_][index])
        ]
        if moved:
            session.execute(statement, rows_parameter(moved))
    kept = {id_: _lowered(locked[id_]) - _lowered(alone[id_]) for id_ in done}
    opt_outs.keep_besides(session, addresses=kept)
    _hold_as_before(session, done, before, now)
    return done


def _lowered(addresses: Iterable[str | None]) -> set[str]:
    return {address.lower() for address in addresses if address}


def _hold_as_before(
    session: Session, contact_ids: Sequence[UUID], before: Mapping[UUID, SuppressionReason], now: datetime
) -> None:
    """What held somebody by the domain in its old spelling, or for a better reason, holds them by their addresses."""
    after = suppressions.of_contacts(session, contact_ids=contact_ids, now=now)
    lost = {
        id_: before[id_]
        for id_ in contact_ids
        if id_ in before and (id_ not in after or strength(after[id_]) < strength(before[id_]))
    }
    opt_outs.add_for_contacts(session, reasons=lost, source=_SOURCE)


def _keep_each_other(session: Session, pairs: Sequence[tuple[UUID, UUID]]) -> list[tuple[UUID, UUID]]:
    """Each of a pair is kept the other's addresses besides. Returns the pairs of which one was new."""
    theirs: dict[UUID, set[str]] = {id_: set() for pair in pairs for id_ in pair}
    own: dict[UUID, set[str]] = {id_: set() for id_ in theirs}
    if theirs:
        for id_, address, is_present in opt_outs.addresses_of(session, contact_ids=theirs):
            theirs[id_].add(address.lower())
            if is_present:
                own[id_].add(address.lower())
    besides: dict[UUID, set[str]] = {id_: set() for id_ in theirs}
    for first, second in pairs:
        besides[first] |= theirs[second]
        besides[second] |= theirs[first]
    new = opt_outs.keep_besides(session, addresses={id_: kept - own[id_] for id_, kept in besides.items()})
    _note_shared(session, pairs, own)
    return [pair for pair in pairs if not new.isdisjoint(pair)]


_NOTE_SHARED = text("""
    UPDATE contact_addresses a SET same_as = n.same_as
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS n(contact_id uuid, address text, same_as text)
    WHERE a.contact_id = n.contact_id AND a.address = n.address AND a.same_as IS DISTINCT FROM n.same_as
""")


def _note_shared(session: Session, pairs: Sequence[tuple[UUID, UUID]], own: Mapping[UUID, set[str]]) -> None:
    """Notes which address of the other is one's own in another spelling."""
    rows = [
        {"contact_id": id_, "address": theirs, "same_as": mine}
        for first, second in pairs
        for id_, twin in ((first, second), (second, first))
        for mine in own[id_]
        for theirs in own[twin] - own[id_]
        if _normal(mine) == _normal(theirs)
    ]
    if rows:
        session.execute(_NOTE_SHARED, rows_parameter(rows))


def _normal(address: str) -> str:
    had = _Addresses(None, address) if address.startswith(PROFILE_PREFIX) else _Addresses(address, None)
    return (_email(had) or _profile(had) or address).lower()
