"""Shows enrollments whose pause is over as what they are then, before a claim or maintenance writes that down."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, literal, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from db.domain.states import CampaignStatus, EnrollmentStatus
from db.models import CampaignEnrollment, CampaignInstance
from db.services.campaigns import campaigns

_in_draft = (
    select(CampaignInstance.id)
    .where(CampaignInstance.id == CampaignEnrollment.campaign_id, CampaignInstance.status == CampaignStatus.DRAFT)
    .exists()
)
# What becomes of a pause that is over.
_AFTER_A_PAUSE: Mapping[EnrollmentStatus, ColumnElement[bool]] = {
    EnrollmentStatus.ACTIVE: ~_in_draft,
    EnrollmentStatus.ENROLLED: _in_draft,
}


def has(status: EnrollmentStatus, now: datetime | None) -> ColumnElement[bool]:
    """Returns the condition for enrollments that have that status at `now`; without it, as they are stored."""
    # Written into the statement: the index of who is not active is of use where PostgreSQL knows that nobody else is
    # asked for.
    stored = CampaignEnrollment.status == literal(str(status), literal_execute=True)
    if now is None:
        return stored
    is_over = CampaignEnrollment.paused_until <= now
    if status is EnrollmentStatus.PAUSED:
        return stored & is_over.is_not(True)
    if status in _AFTER_A_PAUSE:
        return stored | (is_over & _AFTER_A_PAUSE[status])
    return stored


def tell(session: Session, *, enrollments: Iterable[CampaignEnrollment], now: datetime | None) -> None:
    """Shows those as active, or enrolled in a draft, whose pause was over at `now`."""
    for enrollment in enrollments:
        if now is not None and enrollment.paused_until is not None and enrollment.paused_until <= now:
            is_draft = campaigns.get(session, campaign_id=enrollment.campaign_id).status == CampaignStatus.DRAFT
            after = EnrollmentStatus.ENROLLED if is_draft else EnrollmentStatus.ACTIVE
            set_committed_value(enrollment, "status", after)
            set_committed_value(enrollment, "paused_until", None)
