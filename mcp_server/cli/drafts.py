"""`drafts list | approve | reject`: the person at the machine decides what goes out."""

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from db.domain.access import ACTOR_LOCAL, AuditEntry, AuditOutcome
from db.domain.drafts import DraftStatus, DraftVerdict, RejectThen
from db.domain.errors import NotFound
from db.domain.field_limits import DRAFTS_MAX, REJECT_REASON_MAX
from mcp_server.cli.output import plain
from mcp_server.cli.session import EXIT_CODES, PARTLY, AsJson, Home, complain, opened, settings_of, unusable
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.services import Session
    from db.services.consent.decisions import Decided
    from mcp_server.schemas.drafts import DraftOut

_LIMIT_MAX = 500
_CODES = "Exit codes: 0 done, 1 failed, 2 the command or what it was given can't be used, 3 some were refused."

cli = typer.Typer(
    add_completion=False,
    rich_markup_mode="markdown",
    no_args_is_help=True,
    help="Decide what goes out.",
    epilog=EXIT_CODES,
)


@cli.command("list", epilog=EXIT_CODES)
def list_(
    campaign: Annotated[UUID | None, typer.Option(help="Id of a campaign; left out, of all.")] = None,
    status: Annotated[DraftStatus, typer.Option(help="Drafts of this state.")] = DraftStatus.WAITING,
    limit: Annotated[int, typer.Option(help="The latest drafts, as many as this.", min=1, max=_LIMIT_MAX)] = 50,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show drafts with their words, newest first."""
    with opened(settings_of(home=home)) as app:
        shown, has_more = app.run("drafts", lambda session: _page(session, campaign, status, limit), read_only=True)
    if as_json:
        from pydantic_core import to_json  # noqa: PLC0415  `--help` needs none of it

        rows = [draft.model_dump(mode="json", exclude_none=True) for draft in shown]
        typer.echo(to_json({"drafts": rows, "has_more": has_more}))
        return
    if not shown:
        typer.echo("No drafts.")
    for draft in shown:
        typer.echo(_told(draft))
    if has_more:
        typer.echo(f"... and older ones. --limit shows up to {_LIMIT_MAX}.")


@cli.command("approve", epilog=_CODES)
def approve(
    draft_ids: Annotated[list[UUID], typer.Argument(help="Ids, as `drafts list` shows them.")],
    yes: Annotated[bool, typer.Option("--yes", help="Approve them as they are now, and ask nothing.")] = False,
    home: Home = None,
) -> None:
    """Let drafts go out as they are. Each is shown, and asked about."""
    if len(draft_ids) > DRAFTS_MAX:
        raise unusable(f"Give at most {DRAFTS_MAX} drafts at once.")
    if not yes and not sys.stdin.isatty():
        raise unusable("Nobody can be asked here: run it in a terminal, or give --yes.")
    with opened(settings_of(home=home)) as app:
        shown = app.run("drafts", lambda session: _some(session, draft_ids), read_only=True)
        chosen = [draft for draft in shown if yes or _is_confirmed(draft)]
        if not chosen:
            typer.echo("Nothing was approved.")
            return
        decided = app.run("approve drafts", lambda session: _approve(session, app, chosen))
    refused = [one for one in decided if one.verdict is DraftVerdict.REFUSED]
    typer.echo(f"{len(decided) - len(refused)} approved, {len(refused)} refused.")
    for one in refused:
        complain(f"{one.draft_id}: {one.reason}")
    if refused:
        raise typer.Exit(PARTLY)


@cli.command("reject", epilog=EXIT_CODES)
def reject(
    draft_id: Annotated[UUID, typer.Argument(help="As `drafts list` shows it.")],
    reason: Annotated[str, typer.Option(help="What is wrong with it.")],
    then: Annotated[RejectThen, typer.Option(help="Pause the enrollment, or skip the step.")] = RejectThen.PAUSE,
    home: Home = None,
) -> None:
    """Keep a draft from going out."""
    if not reason.strip() or len(reason) > REJECT_REASON_MAX:
        raise unusable(f"--reason: give 1 to {REJECT_REASON_MAX:,} characters.")
    with opened(settings_of(home=home)) as app:
        step_number = app.run("reject a draft", lambda session: _reject(session, app, draft_id, reason, then))
    typer.echo(f"The draft is rejected. {_follows(step_number, then)}".strip())


def _follows(step_number: int | None, then: RejectThen) -> str:
    if step_number is None:  # nothing waits for a reply
        return ""
    return "The step is skipped." if then is RejectThen.SKIP else "Its enrollment is paused."


def _page(session: "Session", campaign: UUID | None, status: DraftStatus, limit: int) -> "tuple[list[DraftOut], bool]":
    from db.services.consent import drafts  # noqa: PLC0415  `--help` needs none of it
    from mcp_server.schemas.drafts import DraftOut  # noqa: PLC0415  as above

    page = drafts.list_(session, campaign_id=campaign, status=status, limit=limit, cursor=None)
    return [DraftOut.of(one) for one in drafts.show(session, drafts=page.rows)], page.next_cursor is not None


def _some(session: "Session", draft_ids: Sequence[UUID]) -> "list[DraftOut]":
    from db.services.consent import drafts  # noqa: PLC0415  see _page
    from mcp_server.schemas.drafts import DraftOut  # noqa: PLC0415  see _page

    found = drafts.find(session, draft_ids=draft_ids)
    missing = [id_ for id_ in draft_ids if id_ not in found]
    if missing:
        raise NotFound("draft", missing[0], hint="`drafts list` shows those that wait.")
    return [DraftOut.of(one) for one in drafts.show(session, drafts=[found[id_] for id_ in dict.fromkeys(draft_ids)])]


def _approve(session: "Session", app: App, chosen: "Sequence[DraftOut]") -> "list[Decided]":
    from db.services.consent import decisions  # noqa: PLC0415  see _page

    now = app.clock()
    given = [decisions.Given(draft.id, draft.fingerprint) for draft in chosen]
    decided = decisions.approve(session, given=given, by=ACTOR_LOCAL, now=now, public_url=app.settings.public_base)
    _note(session, "approve_drafts", [draft.id for draft in chosen], now)
    return decided


def _reject(session: "Session", app: App, draft_id: UUID, reason: str, then: RejectThen) -> int | None:
    """Returns the number of its step; None of a reply."""
    from db.services.enrollments import rejecting  # noqa: PLC0415  see _page

    now = app.clock()
    draft = rejecting.reject(session, draft_id=draft_id, reason=reason, then=then, by=ACTOR_LOCAL, now=now)
    _note(session, "reject_draft", [draft_id], now)
    return draft.step_number


def _note(session: "Session", tool: str, draft_ids: Sequence[UUID], now: datetime) -> None:
    from db.services.ops import audit  # noqa: PLC0415  see _page

    ids = {"draft": [str(id_) for id_ in draft_ids[:20]]}
    is_cut = len(draft_ids) > len(ids["draft"])
    entry = AuditEntry(now, ACTOR_LOCAL, tool, None, None, ids, is_cut=is_cut, outcome=AuditOutcome.OK)
    audit.write(session, entries=[entry])


def _is_confirmed(draft: "DraftOut") -> bool:
    typer.echo(_told(draft))
    return typer.confirm("Approve it?", default=False)


def _told(draft: "DraftOut") -> str:
    """Returns all that an approval is of, safe for a terminal."""
    whom = draft.contact.email if draft.channel == "email" else draft.contact.linkedin_url
    sender = f" from {draft.mailbox}" if draft.mailbox else ""
    what = "reply" if draft.step_number is None else f"step {draft.step_number}"
    head = f"{draft.id}  {draft.status}, {what}, {draft.channel} to {whom or draft.contact.name}{sender}"
    said = [*(draft.body or "").splitlines(), *(["--", *draft.signature.splitlines()] if draft.signature else [])]
    copies = [f"Cc: {', '.join(draft.cc)}"] if draft.cc else []
    lines = [head, *copies, *([f"Subject: {draft.subject}"] if draft.subject else []), *said]
    lines += [f"! {warning}" for warning in draft.lint]
    first, *rest = map(plain, lines)
    return "\n".join([first, *(f"    {line}" for line in rest), ""])
