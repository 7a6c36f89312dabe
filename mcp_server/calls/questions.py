"""Asks the person at a stdio client before a decision that takes one, where the client can ask.

A newer client is answered with the question, and repeats the call with the answer; an older one is asked while the call
waits. Either way no transaction is open meanwhile, and an answer counts once, for the very question that was shown.
"""

import logging
from collections.abc import Mapping
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.to_thread import run_sync
from mcp.server.mcpserver import Context
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from db.domain.access import ACTOR_STDIO, Caller, Scope
from db.domain.drafts import Approval
from db.domain.errors import NotFound, Refused
from db.domain.mail.visible import visible
from db.domain.states import SettledAs
from mcp_server.process.app import App
from mcp_server.schemas.campaigns import NewApproval
from mcp_server.schemas.drafts import ApprovalIn, DraftOut, Rejection
from mcp_server.schemas.threads import Settlement

if TYPE_CHECKING:
    from uuid import UUID

    from db.services import Session
    from db.services.outgoing.settling import Unsettled

_NEWER: Final = "2026-07-28"
_ANSWER: Final = "decision"
_MOST_DRAFTS: Final = 10
_MOST_CHARACTERS: Final = 20_000
_APPROVALS: Final = TypeAdapter(list[ApprovalIn])
_ELSEWHERE: Final = (
    "`sales-automation-mcp drafts list`, `drafts approve` and `drafts reject` (or `mail settle`, `campaigns approval`),"
    " or the dashboard, which `sales-automation-mcp dashboard` opens"
)
_WAITS: Final = {
    Approval.NONE: "nothing waits for a person",
    Approval.FIRST_STEP: "the first words to each person wait for approval",
    Approval.ALL: "the words of every step wait for approval",
}
ANSWER_SECONDS: Final = 600.0
"""What a person has for an answer while the call waits."""

logger = logging.getLogger(__name__)


class Decision(BaseModel):
    """What the person fills in."""

    agreed: bool = Field(title="Yes, I have read it", default=False)


class Questions:
    """The questions of one stdio server. A caller over another transport is asked nothing."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._open: dict[str, str] = {}
        """What was asked under which state, until it is answered."""

    async def ask(
        self, tool: str, arguments: Mapping[str, Any], context: "Context[Any, Any] | None", who: Caller
    ) -> Caller | InputRequiredResult:
        """Returns who decides: `who`, or the person behind them once they have agreed; or the question. Refused if the
        person has not."""
        if who.name != ACTOR_STDIO or Scope.APPROVE in who.scopes or context is None or not _can_ask(context):
            return who
        question = await run_sync(self._question, tool, arguments)
        if question is None:  # the tool says what is wrong with the arguments
            return who
        if (context.protocol_version or "") < _NEWER:
            has_agreed = await _asked_now(context, question)
        else:
            state, answer = context.request_state, (context.input_responses or {}).get(_ANSWER)
            if state is None or self._open.pop(state, None) != question or not isinstance(answer, ElicitResult):
                return self._asking(question)
            has_agreed = answer.action == "accept" and (answer.content or {}).get("agreed") is True
        if not has_agreed:
            raise Refused(f"The person did not agree, so nothing was done. They can decide later: {_ELSEWHERE}.")
        return Caller(who.name, who.scopes | {Scope.APPROVE}, who.id)

    def _asking(self, question: str) -> InputRequiredResult:
        if len(self._open) >= 100:  # of questions that nobody has answered
            self._open.clear()
        state = token_urlsafe(16)
        self._open[state] = question
        form = ElicitRequestFormParams(message=question, requested_schema=_FORM)
        return InputRequiredResult(input_requests={_ANSWER: ElicitRequest(params=form)}, request_state=state)

    def _question(self, tool: str, arguments: Mapping[str, Any]) -> str | None:
        """Returns what the person is asked; None for arguments that name no drafts, no mail to settle, or nothing that
        needs a decision. Refused for more than they can read."""
        try:
            if tool == "update_campaign":
                return self._about_approval(NewApproval.model_validate(arguments, extra="ignore"))
            if tool == "settle_message":
                return self._about_settling(Settlement.model_validate(arguments, extra="ignore"))
            if tool == "reject_draft":
                return self._about_rejection(Rejection.model_validate(arguments, extra="ignore"))
            return self._about_drafts(_APPROVALS.validate_python(arguments.get("drafts")))
        except ValidationError:
            return None

    def _about_rejection(self, rejection: Rejection) -> str | None:
        (shown,) = self._shown([rejection.draft_id]) or (None,)
        if shown is None:
            return None
        what = "Reject this draft, and skip its step?" if rejection.then == "skip" else "Reject this draft?"
        return f"{what} Reason: {visible(rejection.reason)}\n\n{_told(shown)}"

    def _about_drafts(self, given: list[ApprovalIn]) -> str | None:
        prints = {approval.draft_id: approval.fingerprint for approval in given}
        drafts = self._shown(list(prints))
        if len(drafts) < len(prints) or any(prints[draft.id] != draft.fingerprint for draft in drafts):
            return None
        question = "\n\n".join([_asked(len(drafts)), *map(_told, drafts)])
        if len(drafts) > _MOST_DRAFTS or len(question) > _MOST_CHARACTERS:
            raise Refused(
                f"That is more than a person can be asked here: approve fewer at once, at most {_MOST_DRAFTS}, or let "
                f"them decide by {_ELSEWHERE}."
            )
        return question

    def _about_settling(self, given: Settlement) -> str | None:
        def work(session: "Session") -> "Unsettled | None":
            from db.services.outgoing import settling  # noqa: PLC0415  a client is answered without it

            return settling.unsettled(session, message_id=given.message_id)

        mail = self._app.run("ask a person", work, read_only=True)
        if mail is None or (mail.is_queued and given.outcome is SettledAs.SENT):
            return None
        lines = [
            _about_mail(mail, given.outcome),
            "",
            f"To: {mail.recipient or 'nobody who is known'}",
            f"From: {mail.sender or 'a mailbox that was removed'}",
            f"Subject: {mail.subject or ''}",
            f"{'Written' if mail.is_queued else 'Begun'}: {mail.began_at:%Y-%m-%d %H:%M:%S}Z",
            f"Message-ID: <{mail.internet_message_id}>",
        ]
        return visible("\n".join(lines))

    def _about_approval(self, given: NewApproval) -> str | None:
        """Returns what the person is asked about a campaign that would ask them less; None if it would not."""

        def work(session: "Session") -> tuple[str, Approval] | None:
            from db.services.campaigns import campaigns  # noqa: PLC0415  a client is answered without it

            try:
                campaign = campaigns.get(session, campaign_id=given.campaign_id)
            except NotFound:
                return None
            return campaign.name, Approval.of_settings(campaign.settings)

        found, wanted = self._app.run("ask a person", work, read_only=True), given.settings.approval
        if found is None or not wanted.asks_less_than(found[1]):
            return None
        return (
            f"Let the campaign {visible(found[0])} send with fewer approvals? Now {_WAITS[found[1]]}; from then on "
            f"{_WAITS[wanted]}."
        )

    def _shown(self, draft_ids: "list[UUID]") -> list[DraftOut]:
        def work(session: "Session") -> list[DraftOut]:
            from db.services.consent import drafts  # noqa: PLC0415  a client is answered without it

            found = drafts.find(session, draft_ids=draft_ids)
            there = [found[id_] for id_ in draft_ids if id_ in found]
            return [DraftOut.of(shown) for shown in drafts.show(session, drafts=there)]

        return self._app.run("ask a person", work, read_only=True)


_FORM: Final = {
    "type": "object",
    "properties": {"agreed": {"type": "boolean", "title": "Yes, I have read it", "default": False}},
    "required": ["agreed"],
}


async def _asked_now(context: "Context[Any, Any]", question: str) -> bool:
    """Asks while the call waits. Returns whether the person agrees; Refused if they could not be asked."""
    try:
        with anyio.fail_after(ANSWER_SECONDS):
            asked = await context.elicit(question, Decision)
    except Exception as error:
        # Whatever the client makes of the question, no one has agreed.
        logger.info("a person could not be asked: %s", type(error).__name__)
        raise Refused(
            f"The client did not bring an answer of the person, so nothing was done. They can decide by {_ELSEWHERE}."
        ) from error
    return asked.action == "accept" and asked.data.agreed


def _can_ask(context: "Context[Any, Any]") -> bool:
    """Returns whether the client shows forms. One that names no mode shows them."""
    capabilities = context.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def _about_mail(mail: "Unsettled", outcome: SettledAs) -> str:
    if mail.is_queued:
        return "Withdraw this reply? It does not go out then."
    if outcome is SettledAs.SENT:
        asked = "Did this mail go out?" if mail.is_reply else "Did this mail go out? Its step is done then."
    else:
        asked = "Did this mail not go out?" if mail.is_reply else "Did this mail not go out? It is sent again then."
    return f"{asked} Look into its mailbox first."


def _asked(drafts: int) -> str:
    return "Let this go out as it is?" if drafts == 1 else f"Let these {drafts} go out as they are?"


def _told(draft: DraftOut) -> str:
    """Returns all that an approval is of, without characters that nobody sees."""
    whom = draft.contact.email if draft.channel == "email" else draft.contact.linkedin_url
    lines = [
        f"To: {whom or draft.contact.name}",
        *([f"Cc: {', '.join(draft.cc)}"] if draft.cc else []),
        *([f"From: {draft.mailbox}"] if draft.mailbox else []),
        *([f"Subject: {draft.subject}"] if draft.subject else []),
        "",
        draft.body or "",
        *(["", draft.signature] if draft.signature else []),
        *([""] if draft.lint else []),
        *(f"! {warning}" for warning in draft.lint),
    ]
    return visible("\n".join(lines))
