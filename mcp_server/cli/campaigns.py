"""`campaigns list | approval`: shows the ids that other commands need; and the person at the machine says which steps
wait for a person."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from db.domain.access import ACTOR_LOCAL, AuditEntry, AuditOutcome
from db.domain.drafts import Approval
from db.domain.states import CampaignStatus
from mcp_server.cli.output import print_table
from mcp_server.cli.session import EXIT_CODES, AsJson, Home, opened, settings_of
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.services import Session
    from mcp_server.schemas.campaigns import CampaignLine

_LIMIT_MAX = 1_000

cli = typer.Typer(
    add_completion=False,
    rich_markup_mode="markdown",
    no_args_is_help=True,
    help="Look up campaigns, and say which of their steps a person approves.",
    epilog=EXIT_CODES,
)


@cli.command("list", epilog=EXIT_CODES)
def list_(
    status: Annotated[CampaignStatus | None, typer.Option(help="Only campaigns of this status.")] = None,
    limit: Annotated[int, typer.Option(help="The latest campaigns, as many as this.", min=1, max=_LIMIT_MAX)] = 50,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """List campaigns with their ids, newest first."""
    with opened(settings_of(home=home)) as app:
        lines, has_more = app.run("campaigns", lambda session: _lines(session, status, limit), read_only=True)
    if as_json:
        from pydantic_core import to_json  # noqa: PLC0415  `--help` needs none of it

        shown = [line.model_dump(mode="json", exclude_none=True) for line in lines]
        typer.echo(to_json({"campaigns": shown, "has_more": has_more}))
        return
    if not lines:
        typer.echo("No campaigns.")
        return
    print_table(("Id", "Name", "Status", "Started", "Sent"), map(_cells, lines))
    if has_more:
        typer.echo(f"... and older ones. --limit shows up to {_LIMIT_MAX:,}.")


@cli.command("approval", epilog=EXIT_CODES)
def set_approval(
    campaign: Annotated[UUID, typer.Argument(help="Id of the campaign.")],
    approval: Annotated[Approval, typer.Argument(help="Which steps wait.")],
    home: Home = None,
) -> None:
    """Say which steps of a campaign wait for a person, more than before or less."""
    with opened(settings_of(home=home)) as app:
        before = app.run("approval", lambda session: _set(session, app, campaign, approval))
    then = "as before" if before is approval else f"not {before} as before"
    typer.echo(f"The campaign asks for {approval}, {then}.")


def _set(session: "Session", app: App, campaign: UUID, approval: Approval) -> Approval:
    from db.services.campaigns import campaigns as stored  # noqa: PLC0415  see list_
    from db.services.ops import audit  # noqa: PLC0415  see list_

    now = app.clock()
    before = stored.set_approval(session, campaign_id=campaign, approval=approval, now=now)
    ids = {"campaign": [str(campaign)]}
    entry = AuditEntry(now, ACTOR_LOCAL, "update_campaign", None, None, ids, is_cut=False, outcome=AuditOutcome.OK)
    audit.write(session, entries=[entry])
    return before


def _lines(session: "Session", status: CampaignStatus | None, limit: int) -> "tuple[list[CampaignLine], bool]":
    from db.services.campaigns import campaigns as stored  # noqa: PLC0415  see list_
    from db.services.reports import metrics  # noqa: PLC0415  see list_
    from mcp_server.schemas.campaigns import CampaignLine  # noqa: PLC0415  see list_

    page = stored.list_(session, status=status, template_id=None, limit=limit, cursor=None)
    counted = metrics.totals(session, campaign_ids=[campaign.id for campaign in page.rows])
    lines = [CampaignLine.of(campaign, "concise").with_rates(counted.get(campaign.id)) for campaign in page.rows]
    return lines, page.next_cursor is not None


def _cells(line: "CampaignLine") -> tuple[object, ...]:
    started = None if line.started_at is None else f"{line.started_at:%Y-%m-%d %H:%M}Z"
    return (line.id, line.name, line.status, started, line.sent)
