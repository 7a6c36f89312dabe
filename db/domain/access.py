"""Who calls, what they may do, and what is kept of what they did."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self, cast
from uuid import UUID


class Scope(StrEnum):
    """What a token may do: look, change, operate the server, and approve what goes out. None contains another."""

    READ = "read"
    WRITE = "write"
    OPS = "ops"
    APPROVE = "approve"


PROGRAM_SCOPES = frozenset(Scope) - {Scope.APPROVE}
"""What whoever needs no token of their own may do. To approve is for a person: it has to be given by name."""


# The names of callers who have no stored token, so that no token can pass for one of them.
ACTOR_LOCAL = "local"
ACTOR_STDIO = "stdio"
ACTOR_DEFAULT_TOKEN = "default"  # noqa: S105  the name of SALES_AUTOMATION_TOKEN, not what stands in it
ACTOR_WORKER = "worker"
RESERVED_ACTORS = (ACTOR_DEFAULT_TOKEN, ACTOR_LOCAL, ACTOR_STDIO, ACTOR_WORKER)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call. `id` stays the same for as long as the token does, and is another one's never."""

    name: str
    scopes: frozenset[Scope]
    id: str = ""


class AuditOutcome(StrEnum):
    OK = "ok"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One write, as it is kept. It holds nothing that tells of a person but ids.

    digest: SHA-256 of the arguments; what is kept is a keyed hash of it, since arguments can be guessed.
    """

    at: datetime
    actor: str
    tool: str
    request_id: str | None
    digest: bytes | None
    ids: Mapping[str, Sequence[str]]
    is_cut: bool
    outcome: AuditOutcome
    error: str | None = None

    @classmethod
    def of_server(cls, tool: str, ids: Mapping[str, Sequence[str]], now: datetime) -> Self:
        """Returns what the server did by itself, by the tool that would have done it."""
        return cls.done("server", tool, ids, now)

    @classmethod
    def done(
        cls, actor: str, tool: str, ids: Mapping[str, Sequence[str]], now: datetime, request_id: str | None = None
    ) -> Self:
        """Returns what was done by other means than a tool, by the tool that does the same."""
        return cls(now, actor, tool, request_id, None, ids, is_cut=False, outcome=AuditOutcome.OK)


# Argument or field -> the kind of thing that it names. Everything else of a call is left out.
_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        f"{noun}_id": noun
        for noun in (
            "action",
            "campaign",
            "contact",
            "draft",
            "enrollment",
            "event",
            "job",
            "mailbox",
            "message",
            "suppression",
            "template",
        )
    }
)
_NOUNS = frozenset(_FIELDS.values())
IDS_OF_A_KIND = 20
_JOB = re.compile(r"job_[0-9]{1,20}")


class Ids:
    """Collects the ids in arguments and answers: the first twenty of a kind, and whether there were more."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {}
        self.is_cut = False

    def look_at(self, value: object, noun: str | None = None) -> None:
        """Takes the ids from JSON of any shape. `noun`: what the value is, where its own name says so."""
        if isinstance(value, dict):
            for name, part in cast("dict[str, Any]", value).items():
                kind = _FIELDS.get(name) or (noun if name == "id" else None)
                if kind is not None:
                    self._add(kind, part)
                else:
                    self.look_at(part, _noun(name))
        elif isinstance(value, list):
            rows = cast("list[Any]", value)
            self.is_cut |= len(rows) > IDS_OF_A_KIND
            for row in rows[:IDS_OF_A_KIND]:
                self.look_at(row, noun)

    def _add(self, kind: str, value: object) -> None:
        known = self.found.setdefault(kind, [])
        id_ = _id(value)
        if id_ is None or id_ in known:
            return
        if len(known) == IDS_OF_A_KIND:
            self.is_cut = True
        else:
            known.append(id_)


def _noun(name: str) -> str | None:
    singular = name.removesuffix("s")
    return singular if singular in _NOUNS else None


def _id(value: object) -> str | None:
    """Returns the id in its usual form. A row that was refused may hold anything under that name, and is not kept."""
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, str):
        return None
    if _JOB.fullmatch(value):
        return value
    try:
        return str(UUID(value))
    except ValueError:
        return None
