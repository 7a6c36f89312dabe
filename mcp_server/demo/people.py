"""Whom the demo writes to: the rows of the bundled file, and what becomes of each person."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from db.domain.mail.verdict import MailKind

Row = dict[str, str]


@dataclass(slots=True, eq=False)
class Person:
    """Somebody in the campaign, as the demo's own books have it.

    reference: how events name the person. variant: of the first email, once it is known. answer: what comes back to the
    first email, if anything does. status, stop_reason: how the enrollment must end.
    """

    email: str
    name: str
    reference: dict[str, str]
    variant: str = ""
    answer: MailKind | None = None
    status: str = "active"
    stop_reason: str | None = None


def rows() -> list[Row]:
    """Returns the rows of the bundled file, without empty cells."""
    text = resources.files("mcp_server.demo").joinpath("contacts.csv").read_text("utf-8")
    return [{name: value for name, value in row.items() if value} for row in csv.DictReader(text.splitlines())]


def looks_like_an_address(text: str) -> bool:
    """Returns whether the address looks valid, which is enough for the bundled file."""
    name, at, domain = text.partition("@")
    return bool(name and at and "." in domain.strip(".") and " " not in text)


def people_of(rows_: Sequence[Row]) -> dict[str, Row]:
    """Address -> the first row of each person whose address is good, in the order of the rows."""
    found: dict[str, Row] = {}
    for row in rows_:
        if looks_like_an_address(row["email"]):
            found.setdefault(row["email"].lower(), row)
    return found


def name_of(row: Row) -> str:
    """Returns the full name."""
    return f"{row.get('first_name', '')} {row.get('last_name', '')}".strip()
