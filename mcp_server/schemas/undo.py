"""The calls that take changes back, as texts in answers. Each gives the former values of what was changed."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from db.domain.drafts import Approval
from db.domain.mailboxes import MailboxStatus
from mcp_server.schemas.base import spelled
from mcp_server.schemas.campaigns import CampaignOut
from mcp_server.schemas.mailboxes import MailboxOut, ServerOut
from mcp_server.schemas.templates import EmailStepIn, EmailStepOut, LinkedInStepIn, LinkedInStepOut, TemplateOut
from mcp_server.schemas.threads import SORTED_AS, MessageOut

MOST_CALLS: Final = 20
"""A longer list of calls would cost more tokens than it helps."""


def calls(taking_back: Iterable[str]) -> str | None:
    """Returns the calls, one a line; None for none, and for more than MOST_CALLS."""
    lines = [*taking_back]
    return "\n".join(lines) if 0 < len(lines) <= MOST_CALLS else None


def of_template(
    before: TemplateOut,
    *,
    fields: Iterable[str],
    email_steps: Sequence[EmailStepIn],
    linkedin_steps: Sequence[LinkedInStepIn],
) -> str | None:
    """Returns the call that takes back a change of these fields and steps of a template. Steps that are new go out of
    use, since none is deleted."""
    former = {field: getattr(before, field) for field in fields}
    cleared = [field for field, value in former.items() if value is None]
    arguments: dict[str, Any] = {field: value for field, value in former.items() if value is not None}
    emails = {(step.step_number, step.a_b_variant): step for step in before.email_steps}
    messages = {step.step_number: step for step in before.linkedin_steps}
    arguments["email_steps"] = [_former(step, emails.get((step.step_number, step.a_b_variant))) for step in email_steps]
    arguments["linkedin_steps"] = [_former(step, messages.get(step.step_number)) for step in linkedin_steps]
    arguments["clear"] = cleared
    changed = {name: value for name, value in arguments.items() if value != []}
    return spelled("update_template", template_id=before.id, **changed) if changed else None


def _former(given: EmailStepIn | LinkedInStepIn, before: EmailStepOut | LinkedInStepOut | None) -> dict[str, Any]:
    if before is None:
        return {**given.model_dump(mode="json", exclude_none=True), "is_active": False}
    return before.model_dump(mode="json", exclude_none=True)


def of_campaign(before: CampaignOut, after: CampaignOut, *, changed: Iterable[str]) -> str | None:
    """Returns the call that takes back a change of these fields of a campaign; None for no change. It names the former
    approval where that was another one, since it stays if it is left out."""
    former = {field: getattr(before, field) for field in changed}
    asked = Approval.of_settings(before.settings)
    if "settings" in former and asked is not Approval.of_settings(after.settings):
        former["settings"] = {**before.settings, "approval": asked}
    return spelled("update_campaign", campaign_id=before.id, **former) if former else None


def of_mailbox(before: MailboxOut, *, changed: Iterable[str]) -> str | None:
    """Returns the call that takes back a change of these arguments of update_mailbox; None where none does: an IMAP
    server that was added stays, and a mailbox becomes failing by itself alone."""
    former: dict[str, Any] = {
        **before.settings,
        "status": None if before.status is MailboxStatus.FAILING else before.status,
        "display_name": before.display_name,
        "signature": before.signature,
        "smtp": _given(before.smtp),
        "imap": None if before.imap is None else _given(before.imap),
    }
    names = sorted(set(changed))
    lost = [name for name in names if former.get(name) is None]
    if not names or {"status", "imap"} & set(lost):
        return None
    arguments = {name: former[name] for name in names if name not in lost}
    return spelled("update_mailbox", mailbox=before.address, **arguments, **({"clear": lost} if lost else {}))


def _given(server: ServerOut) -> dict[str, Any]:
    return server.model_dump(mode="json", exclude_none=True, exclude={"credentials"})


def of_sorting(before: MessageOut, after: MessageOut) -> str | None:
    """Returns the call that sorts a message as it was before. None where none does: sort_reply makes no guess, does not
    take every kind, and forgets no interest."""
    former: dict[str, Any] = {}
    if (before.kind, before.return_on, before.is_guess) != (after.kind, after.return_on, after.is_guess):
        former = {"kind": before.kind, "until": before.return_on}
    if before.interest != after.interest:
        former["interest"] = before.interest
    is_unread = "interest" in former and before.interest is None
    is_lost = is_unread or ("kind" in former and (before.is_guess or before.kind not in SORTED_AS))
    given = {name: value for name, value in former.items() if value is not None}
    return None if is_lost or not given else spelled("sort_reply", message_id=before.id, **given)
