"""Splits full names into first and last names.

nameparser knows titles, suffixes, particles and the comma of "Lovelace, Ada", in many languages. A split at the first
blank would greet Dr. Hans Müller as "Dr.".
"""

from typing import NamedTuple

from db.domain.field_limits import PERSON_NAME_MAX


class Names(NamedTuple):
    first_name: str
    last_name: str


def split(full_name: str) -> Names:
    """Returns the first and the last name; both are empty if the text is too long for a name. Titles, suffixes, middle
    names and nicknames are left out."""
    from nameparser import parse  # noqa: PLC0415  needed for such columns alone

    text = " ".join(full_name.split())
    if not text or len(text) > 2 * PERSON_NAME_MAX:
        return Names("", "")
    parsed = parse(text)
    return Names(parsed.given, parsed.family)
