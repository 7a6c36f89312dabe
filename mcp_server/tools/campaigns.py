"""Templates and campaigns."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, WithJsonSchema

from db.domain.access import Scope
from db.domain.errors import InvalidInput
from db.domain.field_limits import DESCRIPTION_MAX, PAGE_DEFAULT
from db.domain.states import CampaignStatus, PathType, TemplateType
from db.services.campaigns import campaigns, positions, templates
from db.services.dispatch import lint
from db.services.reports import metrics
from mcp_server.calls import toolsets
from mcp_server.calls.call import Call
from mcp_server.schemas import undo
from mcp_server.schemas.base import Cursor, Detail, Limit, Name, OpenObject, Prose, Search, given, spelled
from mcp_server.schemas.campaigns import CampaignAnswer, CampaignLine, CampaignList, CampaignOut, CampaignSettings
from mcp_server.schemas.templates import (
    AffectedOut,
    EmailStepIn,
    LinkedInStepIn,
    TemplateAnswer,
    TemplateLine,
    TemplateList,
    TemplateOut,
)

if TYPE_CHECKING:
    from db.models import CampaignTemplate

Description = Annotated[Prose | None, Field(max_length=DESCRIPTION_MAX)]
EmailSteps = Annotated[list[EmailStepIn], Field(max_length=500)]
LinkedInSteps = Annotated[list[LinkedInStepIn], Field(max_length=500)]

# Who changes them has read them, with get_template or get_campaign, so that their long shapes are told once. Of a list
# it is told that it holds objects: where that lacks, Visual Studio Code leaves the tool out, and OpenAI's models all.
_as_in_template = WithJsonSchema({"type": "array", "items": {"type": "object"}, "description": "As in create_template"})
ChangedEmailSteps = Annotated[EmailSteps, _as_in_template]
ChangedLinkedInSteps = Annotated[LinkedInSteps, _as_in_template]
ChangedSettings = Annotated[
    CampaignSettings,
    WithJsonSchema(
        {"type": "object", "description": "As in create_campaign; all of them, but approval stays if left out"}
    ),
]


@toolsets.campaigns.write("Create a template")
def create_template(
    call: Call,
    name: Name,
    type: TemplateType,
    path_type: PathType = PathType.STRUCTURED,
    description: Description = None,
    settings: OpenObject | None = None,
    email_steps: EmailSteps | None = None,
    linkedin_steps: LinkedInSteps | None = None,
) -> TemplateAnswer:
    """Create a template with all its steps, or nothing.

    Steps go in the order of step_number, from 1; each number has one channel. Emails with one step_number and different
    a_b_variant are an A/B test, split evenly. Texts are Liquid: {{ first_name }}, {{ attributes.city }} of the contact,
    {{ campaign.offer }} of the campaign's settings.variables. A variable without value or default stops the step.
    """
    template = templates.create(
        call.session,
        name=name,
        type=type,
        path_type=path_type,
        description=description,
        settings=settings or {},
        email_steps=[step.to_step() for step in email_steps or ()],
        linkedin_steps=[step.to_step() for step in linkedin_steps or ()],
    )
    return TemplateAnswer(
        template=TemplateOut.model_validate(template),
        warnings=_warnings(call, template),
        undo=spelled("archive_template", template_id=template.id),
    )


@toolsets.campaigns.read("Get a template")
def get_template(call: Call, template_id: UUID) -> TemplateAnswer:
    """Show one template with all its steps."""
    template = templates.get(call.session, template_id=template_id)
    return TemplateAnswer(template=TemplateOut.model_validate(template))


@toolsets.campaigns.read("List templates")
def list_templates(
    call: Call,
    type: TemplateType | None = None,
    include_archived: bool = False,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
    detail: Detail = "concise",
) -> TemplateList:
    """List templates, newest first; full adds the steps. Next: get_template or create_campaign."""
    page = templates.list_(
        call.session,
        type=type,
        include_archived=include_archived,
        limit=limit,
        cursor=cursor,
        with_texts=detail == "full",
    )
    lines = [TemplateLine.of(template, detail) for template in page.rows]
    return TemplateList(templates=lines, next_cursor=page.next_cursor)


@toolsets.campaigns.write("Change a template", idempotent=True)
def update_template(
    call: Call,
    template_id: UUID,
    name: Name | None = None,
    description: Description = None,
    settings: OpenObject | None = None,
    email_steps: ChangedEmailSteps | None = None,
    linkedin_steps: ChangedLinkedInSteps | None = None,
    is_active: Annotated[bool | None, Field(description="true: out of the archive")] = None,
    clear: Annotated[list[Literal["description"]] | None, Field(description="Fields to empty")] = None,
) -> TemplateAnswer:
    """Change fields of a template, and add or replace steps by step_number (and a_b_variant); the rest stays.

    is_active=false takes a step out of use. Running campaigns follow, and people who wait for a step get its new delay.
    Refused where a new step would come before one that somebody has done.
    """
    if clear and description is not None:
        raise InvalidInput("description is given, and in clear: do one of the two.")
    before = templates.lock_steps(call.session, template_id=template_id)
    former = TemplateOut.model_validate(templates.get(call.session, template_id=template_id))
    fields = {
        **given(name=name, description=description, settings=settings, is_active=is_active),
        **dict.fromkeys(clear or ()),
    }
    template = templates.update(
        call.session,
        template_id=template_id,
        fields=fields,
        email_steps=[step.to_step() for step in email_steps or ()],
        linkedin_steps=[step.to_step() for step in linkedin_steps or ()],
    )
    affected = positions.affected(call.session, template_id=template_id, before=before)
    return TemplateAnswer(
        template=TemplateOut.model_validate(template),
        warnings=_warnings(call, template),
        affects=[AffectedOut.model_validate(step) for step in affected],
        undo=undo.of_template(
            former, fields=fields, email_steps=email_steps or (), linkedin_steps=linkedin_steps or ()
        ),
    )


@toolsets.campaigns.write("Archive a template", idempotent=True)
def archive_template(call: Call, template_id: UUID) -> TemplateAnswer:
    """Retire a template. Its campaigns go on, but no new ones can be made from it; nothing is deleted.
    update_template(is_active=true) brings it back."""
    template = templates.archive(call.session, template_id=template_id)
    back = spelled("update_template", template_id=template_id, is_active=True)
    return TemplateAnswer(template=TemplateOut.model_validate(template), undo=back)


@toolsets.campaigns.write("Create a campaign")
def create_campaign(
    call: Call,
    name: Name,
    template_id: UUID,
    settings: CampaignSettings | None = None,
    provider_config: OpenObject | None = None,
) -> CampaignAnswer:
    """Create a draft campaign from a template. Nothing is sent until it is started.

    provider_config is for whoever sends; put no secrets in it. Next: enroll_contacts, then start_campaign.
    """
    campaign = campaigns.create(
        call.session,
        name=name,
        template_id=template_id,
        settings=_settings(settings) or {},
        provider_config=provider_config or {},
    )
    return _answer(campaign, lint.of_accounts(call.session, campaign=campaign))


@toolsets.campaigns.read("Get a campaign")
def get_campaign(call: Call, campaign_id: UUID) -> CampaignAnswer:
    """Show one campaign. For its numbers call get_metrics, for its people list_enrollments."""
    return _answer(campaigns.get(call.session, campaign_id=campaign_id))


@toolsets.campaigns.read("List campaigns")
def list_campaigns(
    call: Call,
    status: CampaignStatus | None = None,
    template_id: UUID | None = None,
    search: Search = None,
    rates: bool = False,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
    detail: Detail = "concise",
) -> CampaignList:
    """List campaigns, newest first, or those with each word of search in the name; rates=true compares their results.
    Next: get_campaign or get_metrics."""
    page = campaigns.list_(
        call.session, status=status, template_id=template_id, search=search, limit=limit, cursor=cursor
    )
    lines = [CampaignLine.of(campaign, detail) for campaign in page.rows]
    if rates:
        counted = metrics.totals(call.session, campaign_ids=[line.id for line in lines])
        lines = [line.with_rates(counted.get(line.id)) for line in lines]
    return CampaignList(campaigns=lines, next_cursor=page.next_cursor)


@toolsets.campaigns.write("Change a campaign", idempotent=True)
def update_campaign(
    call: Call,
    campaign_id: UUID,
    name: Name | None = None,
    settings: ChangedSettings | None = None,
    provider_config: OpenObject | None = None,
) -> CampaignAnswer:
    """Replace name, settings or provider_config, each as a whole, of a campaign that has not ended. start_campaign and
    others change its state.
    """
    fields = given(name=name, settings=_settings(settings), provider_config=provider_config)
    before = CampaignOut.model_validate(campaigns.get(call.session, campaign_id=campaign_id))
    campaign = campaigns.update(
        call.session,
        campaign_id=campaign_id,
        fields=fields,
        now=call.now,
        may_ask_less=Scope.APPROVE in call.invocation.caller.scopes,
    )
    back = undo.of_campaign(before, CampaignOut.model_validate(campaign), changed=fields)
    return _answer(campaign, lint.of_accounts(call.session, campaign=campaign), back)


@toolsets.campaigns.write("Start or resume a campaign")
def start_campaign(call: Call, campaign_id: UUID) -> CampaignAnswer:
    """Start a draft or resume a paused campaign: its enrollments become active and their steps fall due.

    warnings name variables in its texts that have no value. Next: claim_due_actions, and get_metrics to follow it.
    """
    campaign = campaigns.start(call.session, campaign_id=campaign_id, now=call.now)
    warnings = lint.of_campaign(
        call.session,
        campaign=campaign,
        public_url=call.app.settings.public_base,
        hears_webhooks=call.app.settings.hears_webhooks,
    )
    warnings += lint.of_accounts(call.session, campaign=campaign) + lint.of_mailboxes(call.session, campaign=campaign)
    return _answer(campaign, warnings, spelled("pause_campaign", campaign_id=campaign_id))


@toolsets.campaigns.write("Pause a campaign")
def pause_campaign(call: Call, campaign_id: UUID) -> CampaignAnswer:
    """Hand out no further step of a campaign; events are still recorded. start_campaign resumes it."""
    paused = campaigns.pause(call.session, campaign_id=campaign_id, now=call.now)
    return _answer(paused, back=spelled("start_campaign", campaign_id=campaign_id))


@toolsets.campaigns.write("Complete a campaign", destructive=True)
def complete_campaign(call: Call, campaign_id: UUID) -> CampaignAnswer:
    """End a campaign, with every enrollment in it. Can't be undone; pause_campaign can."""
    return _answer(campaigns.complete(call.session, campaign_id=campaign_id, now=call.now))


def _warnings(call: Call, template: "CampaignTemplate") -> list[str]:
    settings = call.app.settings
    return lint.of_template(template, public_url=settings.public_base, hears_webhooks=settings.hears_webhooks)


def _answer(campaign: object, warnings: Sequence[str] = (), back: str | None = None) -> CampaignAnswer:
    return CampaignAnswer(campaign=CampaignOut.model_validate(campaign), warnings=list(warnings), undo=back)


def _settings(settings: CampaignSettings | None) -> dict[str, Any] | None:
    return None if settings is None else settings.to_json()
