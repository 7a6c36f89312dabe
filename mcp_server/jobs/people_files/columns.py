"""The target of each column of a file: a field of a person, or an attribute.

A mapping, field -> column, has priority over headings. `column` is a heading, or the number of a column from 1.
"""

from collections.abc import Collection, Iterator, Mapping as MappingOf, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from db.domain.contacts import CONTACT_ADDRESSES, CONTACT_TEXTS
from db.domain.errors import InvalidInput
from mcp_server.jobs.people_files.headings import DOMAIN, FULL_NAME, Place, key, places

Mapping = MappingOf[str, str | int]
"""Field, or name of an attribute, -> heading or number of its column."""

COLUMNS_MAX: Final = 1_000
FIELDS: Final = (*CONTACT_TEXTS, FULL_NAME, DOMAIN)
_NAME_MAX: Final = 100
_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Columns:
    """`fields`: field -> its columns; the first of them that is not empty gives the value. `attributes`: each other
    column -> the name of its attribute. Columns are counted from 0."""

    headings: Sequence[str]
    fields: MappingOf[str, Sequence[int]]
    attributes: MappingOf[int, str]
    others: MappingOf[int, str] = field(default_factory=dict[int, str])
    """Columns that only stand in for a field -> the attribute that they become where they don't."""

    @property
    def mapping(self) -> dict[str, str | int]:
        """Returns the mapping that describes these columns."""
        return {name: self._shown(columns[0]) for name, columns in self.fields.items()}

    def _shown(self, column: int) -> str | int:
        heading = self.headings[column].strip()
        alike = [other for other in self.headings if other.strip() == heading]
        return heading if heading and len(alike) == 1 else column + 1

    def report(self) -> dict[str, Any]:
        """Returns {"mapping": field -> column, "stand_ins": address -> columns for where it is empty, "attributes": the
        attributes}."""
        stand_ins = {
            name: [self._shown(column) for column in columns[1:]]
            for name, columns in self.fields.items()
            if columns[1:]
        }
        told = {"mapping": self.mapping, "attributes": [*self.attributes.values()]}
        return {**told, "stand_ins": stand_ins} if stand_ins else told


def arrange(
    headings: Sequence[str], mapping: Mapping, *, sample: Sequence[Sequence[str]], takes_domains: bool = False
) -> Columns:
    """Returns the targets of the columns with these headings. `sample` has the first rows. InvalidInput if the mapping
    names an unknown column, or no column gives an address."""
    if len(headings) > COLUMNS_MAX:
        raise InvalidInput(f"csv: the first line names {len(headings):,} columns, and may name {COLUMNS_MAX:,}.")
    known = FIELDS if takes_domains else tuple(name for name in FIELDS if name != DOMAIN)
    mapped = dict(_mapped(headings, mapping, known))
    given = {column: name for name, column in mapped.items()}
    fields: dict[str, list[int]] = {name: [column] for name, column in mapped.items() if name in known}
    for column, (_, name) in _by_rank(headings, sample, takes_domains=takes_domains):
        if column in given or name in mapped:
            continue
        if name not in fields or name in CONTACT_ADDRESSES:
            fields.setdefault(name, []).append(column)
    if not fields.keys() & {*CONTACT_ADDRESSES, *((DOMAIN,) if takes_domains else ())}:
        raise InvalidInput(no_address(headings, sample))
    names = _attributes(headings, {name for name in mapped if name not in known})
    taken = {columns[0] for columns in fields.values()}
    stand_ins = {column for columns in fields.values() for column in columns[1:]}
    attributes = {column: given.get(column, names[column]) for column in range(len(headings)) if column not in taken}
    return Columns(
        headings,
        {name: fields[name] for name in FIELDS if name in fields},
        {column: name for column, name in attributes.items() if column not in stand_ins},
        {column: names[column] for column in [*stand_ins, *taken]},
    )


def _by_rank(
    headings: Sequence[str], sample: Sequence[Sequence[str]], *, takes_domains: bool
) -> list[tuple[int, tuple[int, str]]]:
    found = [
        (column, (place.rank, place.field))
        for column, place in enumerate(places([*headings]))
        if place is not None and (place.is_sure or _holds(place, sample, column))
        if takes_domains or place.field != DOMAIN
    ]
    return sorted(found, key=lambda place: (place[1][0], place[0]))


def _holds(place: Place, sample: Sequence[Sequence[str]], column: int) -> bool:
    """Returns whether a column has an address of this kind in the first rows."""
    cells = [row[column] for row in sample if column < len(row) and row[column].strip()]
    sign = "@" if place.field == "email" else "linkedin.com/in/"
    return sum(sign in cell.lower() for cell in cells) * 2 > len(cells)


def _mapped(headings: Sequence[str], mapping: Mapping, known: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yields (field or attribute, column), with each column once. InvalidInput if a column does not exist."""
    missing: list[str] = []
    for name, wanted in mapping.items():
        columns = columns_called(headings, str(wanted))
        if len(columns) > 1:
            raise InvalidInput(
                f"mapping: {len(columns)} columns are called {str(wanted)[:_NAME_MAX]}. Say which by its number, such "
                f"as {name}={columns[0] + 1}."
            )
        if not columns:
            missing.append(str(wanted))
        else:
            yield next((field for field in known if key(field) == key(name)), name.strip()), columns[0]
    if missing:
        raise InvalidInput(
            f"mapping: no such column: {_listed(missing)}.{_swapped(headings, mapping)} {_there(headings)}"
        )


def columns_called(headings: Sequence[str], wanted: str) -> list[int]:
    """Returns the columns with this heading: in this case, or else in any case. Otherwise returns the column of this
    number."""
    exact = [column for column, heading in enumerate(headings) if heading.strip() == wanted.strip()]
    if exact:
        return exact
    alike = [column for column, heading in enumerate(headings) if key(heading) and key(heading) == key(wanted)]
    if alike:
        return alike
    number = int(wanted) if wanted.strip().isdecimal() and len(wanted) < 6 else 0
    return [number - 1] if 1 <= number <= len(headings) else []


def _swapped(headings: Sequence[str], mapping: Mapping) -> str:
    fields = {key(name) for name in FIELDS}
    if all(columns_called(headings, name) and key(str(column)) in fields for name, column in mapping.items()):
        return " A mapping goes from the field to the column, such as email=Mail."
    return ""


def no_address(headings: Sequence[str], sample: Sequence[Sequence[str]]) -> str:
    """Returns the error for a file in which no column gives an address."""
    holding = [
        column
        for column in range(len(headings))
        if any(
            column < len(row) and ("@" in row[column] or "linkedin.com/in/" in row[column].lower()) for row in sample
        )
    ]
    which = holding[0] if holding else 0
    heading = headings[which].strip()[:_NAME_MAX] if headings else ""
    example = f'email="{heading}"' if heading else f"email={which + 1}"
    return (
        "csv: no column is called email or linkedin_url. Say with mapping which one it is, by its heading or number, "
        f"such as {example}. {_there(headings)}"
    )


def _there(headings: Sequence[str]) -> str:
    return f"The columns are: {_listed([heading.strip() for heading in headings if heading.strip()])}."


def _listed(names: Collection[str]) -> str:
    """Returns the first names as a list, each cut to the length of a name."""
    shown = [name[:_NAME_MAX] for name in [*names][:_SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")


def _attributes(headings: Sequence[str], reserved: Collection[str]) -> list[str]:
    """Returns a unique name for each column: its heading, or its number if it has none."""
    names: list[str] = []
    taken = set(reserved)
    counts: dict[str, int] = {}
    for column, heading in enumerate(headings):
        plain = heading.strip()[: 2 * _NAME_MAX] or f"column {column + 1}"
        name = plain
        while name in taken:
            counts[plain] = counts.get(plain, 1) + 1
            name = f"{plain} {counts[plain]}"
        taken.add(name)
        names.append(name)
    return names
