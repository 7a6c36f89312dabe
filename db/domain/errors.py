"""Every refusal of this system, one class per decision the caller can take.

An error's text is read by a person or a model that must correct itself from it: it names the argument or the state,
the rule, and what to call next. It never carries SQL, a parameter value of a statement, or a stack trace.
"""

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from types import MappingProxyType
from typing import Final, Self


class SalesAutomationError(Exception):
    """Base of every error that a client may read as it is.

    One object is raised once: each raise adds to its traceback, which would grow, and mix the calls of threads.
    """

    def again(self) -> Self:
        """Returns a copy for another caller."""
        # Not through __init__, whose arguments are not kept.
        copy = type(self).__new__(type(self), *self.args)
        vars(copy).update(vars(self))
        copy.__cause__ = self
        return copy

    @property
    def for_clients(self) -> str:
        """Returns the text for remote callers, without what only the operator may see."""
        return str(self)


class InvalidInput(SalesAutomationError):
    """An argument breaks a rule that its schema cannot express. Correct the argument and call again."""


FOUND_BY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "campaign": "list_campaigns shows those that exist.",
        "template": "list_templates shows those that exist.",
        "enrollment": "list_enrollments shows those of a campaign.",
        "contact": "find_contacts shows them.",
        "action": "claim_due_actions hands actions out.",
    }
)
"""noun -> how its ids are found"""


class NotFound(SalesAutomationError):
    """No such row. Look the id up and call again. `hint`: how; of the nouns of FOUND_BY it is known."""

    def __init__(self, noun: str, identity: object, *, hint: str | None = None) -> None:
        super().__init__(f"No {noun} {identity}. {FOUND_BY.get(noun, '') if hint is None else hint}".strip())


class InvalidTransition(SalesAutomationError):
    """The row's state does not allow the command. Call one of those that it allows."""

    def __init__(self, noun: str, state: str, command: str, allowed: tuple[str, ...]) -> None:
        able = ", ".join(allowed) if allowed else "nothing: this state is final"
        super().__init__(f"The {noun} is {state}, which {command} can't change. Allowed from {state}: {able}.")


class Refused(SalesAutomationError):
    """A rule of the campaign forbids it. The text says which, and what would lift it."""


class MailboxUnusable(Refused):
    """A mailbox can't be used now: its server, its credentials or its key. The text says why and what to do; the other
    mailboxes go on."""


class NotPermitted(Refused):
    """The database does not take it from this server: it is read-only, or the role of its URL lacks a right."""


class Conflict(SalesAutomationError):
    """Another row or call already holds what this one wants. Use the other, or choose another name or key."""


class LeaseLost(SalesAutomationError):
    """The lease token is not the current one. The work belongs to somebody else now: claim again."""


class StoreUnavailable(SalesAutomationError):
    """The database or the local store can't be used now. The text says why and what an operator can do.

    `places`: paths that the text names, of which clients get the last part; `log`: the end of a log, which they don't.
    """

    def __init__(self, text: str, *, places: Iterable[PurePath] = (), log: str = "") -> None:
        super().__init__(text + log)
        for place in places:
            text = text.replace(str(place), place.name)
        self._for_clients = f"{text} The server's log says more." if log else text

    @property
    def for_clients(self) -> str:
        return self._for_clients


class Busy(StoreUnavailable):
    """No connection or lock came free in time, after the bounded retries. Nothing was done: call again later."""


class Outdated(Busy):
    """Somebody changed a campaign after this work had read it. The same work, done again, goes by what it is now."""

    def __init__(self) -> None:
        super().__init__("Others kept changing the campaign. Nothing was done: call again.")


class OutcomeUnknown(StoreUnavailable):
    """The connection was lost while the commit was under way, so the work may or may not be done."""

    def __init__(self, reference: str = "") -> None:
        """`reference`: what an operator finds it by in the log."""
        text = (
            "The database went away during the commit, so this call may or may not have been done. "
            "Look before you repeat it, or repeat it with the idempotency_key it had."
        )
        super().__init__(f"{text} {reference}".strip())
