"""Rows of one call that are about one person, and rows that contradict each other.

A row names a person by up to three keys: a contact's id, an email, a profile. Rows that share a key are about one
person, and are merged in the order of the call. Whoever would then have two emails, or be two contacts, is not merged:
those rows alone are refused that would join the two.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from uuid import UUID

from db.domain.contacts import CONTACT_TEXTS, ContactFields

TWO_CONTACTS = "email and linkedin_url belong to two contacts: give one"
_TWO_OWNERS = "{field} is that of another person in row {other} of this call: give it to one of them"
_TWO_EMAILS = "this call names another email for this person in row {other}: give one"


class Known(NamedTuple):
    """The contacts that a row's keys belong to."""

    by_id: UUID | None = None
    by_email: UUID | None = None
    by_profile: UUID | None = None

    @property
    def contacts(self) -> set[UUID]:
        """They are one where the row is about one person."""
        return {contact_id for contact_id in self if contact_id is not None}


@dataclass(slots=True)
class Person:
    """What a call says of one person: its rows in order, and their fields merged. A new one has no `contact_id`."""

    rows: list[int]
    contact_id: UUID | None
    fields: ContactFields
    addresses: set[str] = field(default_factory=set[str])
    """Every address that a row names, in lower case."""


def merge(
    rows: Mapping[int, ContactFields], known: Mapping[int, Known], *, later_wins: bool
) -> tuple[list[Person], dict[int, str]]:
    """Returns the people of a call, and the reasons of the rows that are refused. If two rows fill one field, the later
    wins, or the earlier."""
    refused = {row: TWO_CONTACTS for row in sorted(rows) if len(known[row].contacts) > 1}
    left = {row: rows[row] for row in sorted(rows) if row not in refused}
    for claims in (_claims_on_profiles(left, known), _claims_on_emails(left, known)):
        refused |= _contested(*claims)
    left = {row: fields for row, fields in left.items() if row not in refused}
    for group in _groups(left, known):
        refused |= _torn(group, left, known)
    left = {row: fields for row, fields in left.items() if row not in refused}
    return [_person(group, left, known, later_wins=later_wins) for group in _groups(left, known)], refused


_Claims = tuple[str, dict[str, dict[object, list[int]]]]
"""The field, and address -> who claims it -> in which rows."""


def _claims_on_profiles(rows: Mapping[int, ContactFields], known: Mapping[int, Known]) -> _Claims:
    claims: dict[str, dict[object, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, fields in rows.items():
        owner = known[row].by_id or known[row].by_email or fields.email
        if fields.linkedin_url is not None and owner is not None:
            claims[fields.linkedin_url.lower()][owner].append(row)
    return "linkedin_url", claims


def _claims_on_emails(rows: Mapping[int, ContactFields], known: Mapping[int, Known]) -> _Claims:
    claims: dict[str, dict[object, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, fields in rows.items():
        owner = known[row].by_id or known[row].by_profile
        if fields.email is not None and owner is not None:
            claims[fields.email][owner].append(row)
    return "email", claims


def _contested(name: str, claims: Mapping[str, Mapping[object, Sequence[int]]]) -> dict[int, str]:
    refused: dict[int, str] = {}
    for owners in claims.values():
        if len(owners) > 1:
            first, second, *_ = (min(rows) for rows in owners.values())
            for rows in owners.values():
                for row in rows:
                    refused[row] = _TWO_OWNERS.format(field=name, other=second if first in rows else first)
    return refused


def _torn(group: Sequence[int], rows: Mapping[int, ContactFields], known: Mapping[int, Known]) -> dict[int, str]:
    """Returns the rows that join a group that would be two people: row -> reason."""
    contacts = set[UUID]().union(*(known[row].contacts for row in group))
    emails: dict[str, int] = {}
    for row in group:
        email = rows[row].email
        if email is not None:
            emails.setdefault(email, row)
    if len(contacts) <= 1 and len(emails) <= 1:
        return {}
    return {
        row: _TWO_EMAILS.format(other=next((at for at in emails.values() if at != row), group[0]))
        for row in group
        if len(_keys(rows[row], known[row].by_id)) > 1
    }


def _keys(fields: ContactFields, contact_id: UUID | None) -> list[object]:
    profile = fields.linkedin_url and fields.linkedin_url.lower()
    return [key for key in (contact_id, fields.email, profile) if key is not None]


def _groups(rows: Mapping[int, ContactFields], known: Mapping[int, Known]) -> list[list[int]]:
    """Returns the rows that are about one person, by any chain of shared keys; in the order of the call."""
    parents = {row: row for row in rows}

    def top(row: int) -> int:
        while parents[row] != row:
            parents[row] = row = parents[parents[row]]
        return row

    first: dict[object, int] = {}
    for row, fields in rows.items():
        for key in (*known[row].contacts, *_keys(fields, None)):
            one, other = sorted((top(first.setdefault(key, row)), top(row)))
            parents[other] = one
    groups: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        groups[top(row)].append(row)
    return list(groups.values())


def _person(
    group: list[int], rows: Mapping[int, ContactFields], known: Mapping[int, Known], *, later_wins: bool
) -> Person:
    contacts = set[UUID]().union(*(known[row].contacts for row in group))
    fields = [rows[row] for row in group]
    return Person(
        group,
        next(iter(contacts), None),
        fields[0] if len(fields) == 1 else _merged(fields if later_wins else fields[::-1]),
        {address.lower() for given in fields for address in (given.email, given.linkedin_url) if address},
    )


def _merged(fields: Iterable[ContactFields]) -> ContactFields:
    """Returns the merged fields. The last row that gives a field wins."""
    values: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    for given in fields:
        values |= {name: said for name in CONTACT_TEXTS if (said := getattr(given, name)) is not None}
        attributes |= given.attributes
    return replace(ContactFields(attributes=attributes), **values)
