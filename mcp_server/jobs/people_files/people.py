"""Turns the cells of a row into a person.

If a cell does not fit its field, the cell is left out with a warning, as long as the row still has an address.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from db.domain import texts
from db.domain.contacts import CONTACT_ADDRESSES, ContactFields
from db.domain.field_limits import JSON_MAX_BYTES
from mcp_server.jobs.people_files import names
from mcp_server.jobs.people_files.columns import Columns
from mcp_server.jobs.people_files.headings import FULL_NAME
from mcp_server.jobs.people_files.zones import zone_of
from mcp_server.schemas.contacts import CompanyName, Domain, Email, LinkedInUrl, PersonName
from mcp_server.schemas.faults import explain

_EMAIL: Final[TypeAdapter[str]] = TypeAdapter(Email)
_PROFILE: Final[TypeAdapter[str]] = TypeAdapter(LinkedInUrl)
_DOMAIN: Final[TypeAdapter[str]] = TypeAdapter(Domain)
_TEXTS: Final[dict[str, TypeAdapter[str]]] = {
    "first_name": TypeAdapter(PersonName),
    "last_name": TypeAdapter(PersonName),
    "company": TypeAdapter(CompanyName),
    "title": TypeAdapter(CompanyName),
}
# What programs write into empty cells.
_BLANKS: Final = r"n/a #n/a n.a. #nv null (null) [null] \n nan none undefined - -- (empty) (blank) #ref! #value! #name?"
_NOTHING: Final = {*_BLANKS.split(), "[not provided]", "not provided", "\u2013", "\u2014"}
_NAMES: Final = ("first_name", "last_name")
_BETWEEN_ADDRESSES: Final = re.compile(r"[,;|\r\n]|:::| / ")
# Outlook writes addresses between apostrophes.
_AROUND: Final = " \t\r\n,;|'"
_LONGEST_CELL: Final = 20_000


class Person(NamedTuple):
    """`fields` is None if the row has no valid address; `reason` says why. `besides`: further addresses in the row."""

    fields: ContactFields | None
    reason: str | None = None
    warnings: tuple[str, ...] = ()
    besides: tuple[str, ...] = ()


class _Taken(NamedTuple):
    """The value for a field: its column, whether the column holds nothing else, further addresses, and warnings."""

    value: str | None = None
    column: int | None = None
    is_whole: bool = True
    besides: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def person_of(columns: Columns, cells: Sequence[str]) -> Person:
    """Returns the person of a row. Cells beyond the headings are ignored."""
    given = {name: _filled(cells, places) for name, places in columns.fields.items()}
    addresses = {name: _address(name, given.get(name, [])) for name in CONTACT_ADDRESSES}
    warnings = [warning for taken in addresses.values() for warning in taken.warnings]
    if all(taken.value is None for taken in addresses.values()):
        return Person(None, "; ".join(warnings) or "give email or linkedin_url")
    fields: dict[str, str] = {name: taken.value for name, taken in addresses.items() if taken.value is not None}
    for name in (*_TEXTS, "timezone"):
        for _, cell in given.get(name, []):
            value, warning = _text(name, cell)
            fields |= {name: value} if value else {}
            warnings += [warning] if warning else []
    whole = {taken.column for taken in addresses.values() if taken.is_whole}
    attributes = _attributes(columns, cells, whole)
    _name(columns, given, fields, attributes)
    warnings += _bounded(attributes)
    besides = tuple(address for taken in addresses.values() for address in taken.besides)
    return Person(ContactFields(**fields, attributes=attributes), None, tuple(warnings), besides)


class Entry(NamedTuple):
    """What a row of a list of suppressions may name instead of an email: a domain or a profile."""

    domain: str | None = None
    profile: str | None = None


def entry_of(columns: Columns, cells: Sequence[str]) -> Entry | None:
    """Returns the domain in a column of domains, or the domain (`example.com`, `@example.com`) or the profile in one of
    emails."""
    for name in ("domain", "email"):
        for _, cell in _filled(cells, columns.fields.get(name, ())):
            is_profile = "linkedin.com/in/" in cell.lower()
            try:
                if is_profile:
                    return Entry(profile=_PROFILE.validate_python(cell))
                if "@" not in cell[1:]:
                    return Entry(_DOMAIN.validate_python(cell))
            except ValidationError:
                continue
    return None


def plain(cell: str) -> str:
    """Returns the text of a cell without characters that a database can't store, and without the formula `="0012"`,
    which keeps Excel from reading a number."""
    text = texts.storable_part(cell).strip()
    return text[2:-1] if text.startswith('="') and text.endswith('"') else text


def _filled(cells: Sequence[str], columns: Sequence[int]) -> list[tuple[int, str]]:
    """Returns (column, cell) of the cells that are not empty, without characters that a database can't store."""
    found = ((column, plain(cells[column])) for column in columns if column < len(cells))
    return [(column, cell) for column, cell in found if cell and cell.casefold() not in _NOTHING]


def _address(name: str, given: Sequence[tuple[int, str]]) -> _Taken:
    """Returns the first valid address in these columns; the others become `besides`."""
    valid: list[tuple[int, str]] = []
    wrong: list[str] = []
    for column, cell in given:
        found, reason = _addresses(name, cell)
        valid += [(column, address) for address in found]
        wrong += [f"{name}: {reason}"] if reason and not found else []
    if not valid:
        return _Taken(warnings=tuple(wrong))
    column, value = valid[0]
    besides = tuple(address for _, address in valid[1:] if address != value)
    in_cell = len({address for other, address in valid if other == column})
    several = (f"{name}: the cell holds {in_cell} of them, and the first was taken",) if in_cell > 1 else ()
    return _Taken(value, column, in_cell == 1, besides, (*wrong, *several))


def _addresses(name: str, cell: str) -> tuple[list[str], str | None]:
    """Returns the valid addresses in a cell, or why there is none."""
    adapter = _EMAIL if name == "email" else _PROFILE
    found: list[str] = []
    reason: str | None = None
    for part in _parts(cell[:_LONGEST_CELL], "@" if name == "email" else "linkedin.com"):
        try:
            found.append(adapter.validate_python(part))
        except ValidationError as error:
            reason = reason or "; ".join(explain(error))
    return found, reason


def _parts(cell: str, sign: str) -> Iterator[str]:
    """Yields the parts of a cell that may each be an address: the whole cell if it has one address or none."""
    cell = cell.strip(_AROUND)
    if cell.lower().count(sign) < 2:
        yield cell
        return
    for part in _BETWEEN_ADDRESSES.split(cell):
        if part.lower().count(sign) == 1 or part.rstrip().endswith(">"):
            yield part.strip(_AROUND)
        elif sign in part.lower():
            yield from (word for word in part.split() if sign in word.lower())


def _text(name: str, cell: str) -> tuple[str | None, str | None]:
    """Returns (value of the field, None), or (None, warning)."""
    if name == "timezone":
        zone = zone_of(cell)
        return zone, None if zone else "timezone: not a time zone that is known here, and left out"
    try:
        return _TEXTS[name].validate_python(cell), None
    except ValidationError as error:
        return None, f"{name}: {'; '.join(explain(error))}, and was left out"


def _attributes(columns: Columns, cells: Sequence[str], used: Collection[int | None]) -> dict[str, Any]:
    """Returns the attributes: the cells of all columns without a field, and of address columns that did not give the
    address."""
    named = dict(columns.attributes)
    for name in CONTACT_ADDRESSES:
        named |= {column: columns.others[column] for column in columns.fields.get(name, ())}
    attributes: dict[str, Any] = {}
    for column in sorted(named.keys() - used):
        text = plain(cells[column]) if column < len(cells) else ""
        if text and (column in columns.attributes or text.casefold() not in _NOTHING):
            attributes[named[column]] = text
    return attributes


def _name(
    columns: Columns, given: dict[str, list[tuple[int, str]]], fields: dict[str, str], attributes: dict[str, Any]
) -> None:
    """Fills in first and last name from a full name. Keeps the full name as an attribute if it says more."""
    for column, full in given.get(FULL_NAME, []):
        _split(full, fields)
        said = " ".join(fields[name] for name in _NAMES if name in fields)
        if said != " ".join(full.split()):
            attributes[columns.others[column]] = full
    for _, cell in given.get("email", [])[:1]:
        shown, bracket, _ = cell.partition("<")
        _split(shown.strip(" \"'") if bracket else "", fields)


def _split(full: str, fields: dict[str, str]) -> None:
    if full and "@" not in full and not any(name in fields for name in _NAMES):
        for name, text in names.split(full)._asdict().items():
            value, _ = _text(name, text) if text else (None, None)
            fields |= {name: value} if value else {}


def _bounded(attributes: dict[str, Any]) -> list[str]:
    """Removes the longest attributes until the rest fits. Returns the warnings."""
    if len(to_json(attributes)) <= JSON_MAX_BYTES:
        return []
    sizes = {name: len(to_json({name: text})) for name, text in attributes.items()}
    total = sum(sizes.values())
    warnings: list[str] = []
    for name in sorted(sizes, key=lambda name: sizes[name], reverse=True):
        if total <= JSON_MAX_BYTES:
            break
        total -= sizes[name]
        del attributes[name]
        warnings.append(f"{name[:100]}: too long to be kept beside the other attributes, and left out")
    return warnings
