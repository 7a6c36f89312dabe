"""The records behind the resources: what the tool of the same noun answers, and what is asked next."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError

from db.domain.errors import NotFound, SalesAutomationError
from db.domain.metrics import GroupBy
from db.services.campaigns import campaigns, templates
from db.services.dispatch import explain, lint
from db.services.enrollments import enrollments
from db.services.reports import metrics
from mcp_server.offers.resources.catalogue import Resource
from mcp_server.process import unexpected
from mcp_server.process.app import App
from mcp_server.schemas.actions import ExplainAnswer
from mcp_server.schemas.base import Answer
from mcp_server.schemas.campaigns import CampaignAnswer, CampaignOut
from mcp_server.schemas.enrollments import EnrollmentAnswer, EnrollmentDetail
from mcp_server.schemas.metrics import MetricsAnswer
from mcp_server.schemas.templates import TemplateAnswer, TemplateOut

if TYPE_CHECKING:
    from db.services import Session


logger = logging.getLogger(__name__)


class CampaignRecord(CampaignAnswer):
    """get_campaign, with get_metrics and explain_due of the whole campaign."""

    metrics: MetricsAnswer
    explain_due: ExplainAnswer


class EnrollmentRecord(EnrollmentAnswer):
    """get_enrollment, with explain_due."""

    explain_due: ExplainAnswer


def reader(resource: Resource, app: App) -> Callable[[str], str]:
    """Returns what the SDK calls with the id of an address that was checked. Like a tool, it reads in one
    transaction."""
    look_up = _LOOK_UPS[resource.noun]

    def read(id: str) -> str:
        def work(session: "Session") -> str:
            return look_up(session, UUID(id), app).model_dump_json()

        try:
            return app.run(f"read {resource.noun}", work, read_only=True)
        except NotFound as refusal:
            raise ResourceNotFoundError(str(refusal)) from refusal
        except SalesAutomationError as refusal:
            raise ResourceError(refusal.for_clients) from refusal
        except Exception as error:  # noqa: BLE001  the SDK would tell its words
            raise ResourceError(unexpected.told(logger, f"read {resource.noun}", error)) from None

    return read


def _campaign(session: "Session", campaign_id: UUID, app: App) -> CampaignRecord:
    campaign = campaigns.get(session, campaign_id=campaign_id)
    report = metrics.report(
        session, campaign_id=campaign_id, group_by=GroupBy.TOTAL, since=None, until=None, now=app.clock()
    )
    return CampaignRecord(
        campaign=CampaignOut.model_validate(campaign),
        warnings=lint.of_campaign(
            session,
            campaign=campaign,
            public_url=app.settings.public_base,
            hears_webhooks=app.settings.hears_webhooks,
        ),
        metrics=MetricsAnswer.of(campaign_id, report),
        explain_due=ExplainAnswer.of(
            explain.campaign(session, campaign_id=campaign_id, now=app.clock(), public_url=app.settings.public_base)
        ),
    )


def _template(session: "Session", template_id: UUID, app: App) -> TemplateAnswer:
    template = templates.get(session, template_id=template_id)
    warnings = lint.of_template(
        template, public_url=app.settings.public_base, hears_webhooks=app.settings.hears_webhooks
    )
    return TemplateAnswer(template=TemplateOut.model_validate(template), warnings=warnings)


def _enrollment(session: "Session", enrollment_id: UUID, app: App) -> EnrollmentRecord:
    details = enrollments.get(session, enrollment_id=enrollment_id, now=app.clock())
    return EnrollmentRecord(
        enrollment=EnrollmentDetail.of(details),
        explain_due=ExplainAnswer.of(
            explain.enrollment(
                session, enrollment_id=enrollment_id, now=app.clock(), public_url=app.settings.public_base
            )
        ),
    )


_LOOK_UPS: dict[str, Callable[["Session", UUID, App], Answer]] = {
    "campaign": _campaign,
    "template": _template,
    "enrollment": _enrollment,
}
