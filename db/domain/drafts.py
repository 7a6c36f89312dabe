"""Drafts: the words of one step for one person, which go out once a person has approved them.

An approval names the fingerprint of what goes out, so that nothing goes out that reads otherwise.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

from db.domain.errors import InvalidTransition

AHEAD_HOURS: Final = 48
"""So long before a step is due the words of its template are drafted."""

WAITING_FOR_APPROVAL: Final = "waiting_for_approval"
"""How the pause_reason of an enrollment begins that is paused until a person approves the words of its step."""


class Approval(StrEnum):
    """Which steps of a campaign wait for a person. FIRST_STEP: the first one that says something to a person."""

    NONE = "none"
    FIRST_STEP = "first_step"
    ALL = "all"

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Returns what a campaign's settings ask for. What can't be read there asks for everything."""
        asked = settings.get("approval", cls.NONE)
        return cls(asked) if asked in tuple(cls) else cls(cls.ALL)

    def asks_less_than(self, other: "Approval") -> bool:
        """Returns whether steps that wait under `other` go out by themselves under this one."""
        order = list(Approval)
        return order.index(self) < order.index(other)


class DraftSource(StrEnum):
    """Whose words they are: those of the template, filled in, or words that draft_action was given."""

    TEMPLATE = "template"
    WRITTEN = "written"


class DraftStatus(StrEnum):
    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"
    STALE = "stale"


class DraftCommand(StrEnum):
    """REPLACE: the text, the recipient, the mailbox or the step is another one now."""

    APPROVE = "approve_drafts"
    REJECT = "reject_draft"
    REPLACE = "draft_action"


class RejectThen(StrEnum):
    """What becomes of the enrollment of a rejected draft."""

    PAUSE = "pause"
    SKIP = "skip"


class DraftVerdict(StrEnum):
    """What became of one draft of an approval."""

    APPROVED = "approved"
    REFUSED = "refused"


DRAFT_TRANSITIONS: Mapping[tuple[DraftStatus, DraftCommand], DraftStatus] = MappingProxyType(
    {
        (DraftStatus.WAITING, DraftCommand.APPROVE): DraftStatus.APPROVED,
        (DraftStatus.WAITING, DraftCommand.REJECT): DraftStatus.REJECTED,
        (DraftStatus.WAITING, DraftCommand.REPLACE): DraftStatus.STALE,
        # Until it is sent, a person may change their mind.
        (DraftStatus.APPROVED, DraftCommand.REJECT): DraftStatus.REJECTED,
        (DraftStatus.APPROVED, DraftCommand.REPLACE): DraftStatus.STALE,
    }
)

LIVE_DRAFTS: Final = (DraftStatus.WAITING, DraftStatus.APPROVED)
"""Those whose words may still go out: a step has one of them at most."""


def move_draft(state: DraftStatus, command: DraftCommand) -> DraftStatus:
    """Returns the draft's state after `command`; InvalidTransition names what is allowed instead."""
    after = DRAFT_TRANSITIONS.get((state, command))
    if after is None:
        able = tuple(str(other) for at, other in DRAFT_TRANSITIONS if at is state)
        raise InvalidTransition("draft", state, command, able)
    return after


class Literal(NamedTuple):
    """Words that somebody wrote for one person, which stand as they are. A subject of None is that of the step."""

    subject: str | None
    body: str


@dataclass(frozen=True, slots=True)
class Wording:
    """All that an approval is of. unsubscribe_url: the link in the mail, whose token is left out.

    step_type: email, or the type of a LinkedIn step. mailbox: the address that a mail comes from. cc: who gets a copy.
    """

    recipient: str | None
    step_type: str
    subject: str | None
    body: str
    signature: str | None = None
    mailbox: str | None = None
    unsubscribe_url: str | None = None
    cc: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> bytes:
        """Returns the SHA-256 of it."""
        parts: list[object] = [
            self.recipient,
            self.step_type,
            self.subject,
            self._without_token,
            self.signature,
            self.mailbox,
        ]
        parts += [self.cc] if self.cc else []  # so that mails without copies keep the fingerprints they had
        return sha256(json.dumps(parts).encode()).digest()

    @property
    def _without_token(self) -> str:
        if self.unsubscribe_url is None:
            return self.body
        return self.body.replace(self.unsubscribe_url, self.unsubscribe_url.rpartition("/")[0])


@dataclass(frozen=True, slots=True)
class Consent:
    """What a campaign asks of a step, and whether it was given. fingerprint: of the words as they are now; None where
    nothing is asked. approved: of the words that a person approved last."""

    approval: Approval = Approval.NONE
    fingerprint: bytes | None = None
    approved: bytes | None = None

    @property
    def is_given(self) -> bool:
        return self.approval is Approval.NONE or (self.fingerprint is not None and self.fingerprint == self.approved)


UNASKED: Final = Consent()
"""Of a step that needs no approval."""
