"""Campaigns: made of a template, started, paused, completed."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Text, TextClause, func, select, text
from sqlalchemy.orm import Session

from db.domain import campaign_settings
from db.domain.access import AuditEntry
from db.domain.drafts import Approval
from db.domain.errors import NotFound, Refused
from db.domain.field_limits import PAUSE_REASON_MAX
from db.domain.guardrails import is_guardrail
from db.domain.scheduling import Plan, Recipient, Stage, Step, due_at, next_step, stage_after, variants
from db.domain.searching import words_of
from db.domain.sending import Sending, of_settings
from db.domain.states import CampaignCommand, CampaignStatus, EnrollmentStatus, move_campaign
from db.models import CampaignInstance, CampaignTemplate, Mailbox
from db.postgres import faults
from db.postgres.json import rows_parameter
from db.services.campaigns import approvals, plans, step_texts, zones
from db.services.ops import audit, settings as workspace
from db.services.paging import Page, page
from db.services.state import conversation_rows, counters

# Large enough to make round trips cheap, and small enough to stay far from statement_timeout.
_CHUNK = 20_000


def create(
    session: Session, *, name: str, template_id: UUID, settings: dict[str, Any], provider_config: dict[str, Any]
) -> CampaignInstance:
    """Makes a draft campaign, in the zone of the workspace if its settings name none. Refused for a template that is
    archived or has no active step."""
    template = session.get(CampaignTemplate, template_id, with_for_update={"read": True})
    if template is None:
        raise NotFound("template", template_id)
    if not template.is_active:
        raise Refused("This template is archived. Choose another with list_templates, or create_template.")
    campaign = CampaignInstance(
        name=name,
        template_id=template_id,
        settings=_checked(session, settings),
        provider_config=provider_config,
        status=CampaignStatus.DRAFT,
    )
    session.add(campaign)
    session.flush()  # the steps are read through the campaign
    if not plans.of_campaign(session, campaign_id=campaign.id).steps:
        raise _no_step()
    return campaign


def get(session: Session, *, campaign_id: UUID) -> CampaignInstance:
    """Returns one campaign. NotFound if there is none."""
    campaign = session.get(CampaignInstance, campaign_id)
    if campaign is None:
        raise _not_found(campaign_id)
    return campaign


def list_(
    session: Session,
    *,
    status: CampaignStatus | None,
    template_id: UUID | None,
    search: str | None = None,
    limit: int,
    cursor: str | None,
) -> Page[CampaignInstance]:
    """Returns campaigns, newest first: those in whose name each word of `search` is a part, in any order."""
    statement = select(CampaignInstance)
    name = func.normalize(CampaignInstance.name, type_=Text)  # names are kept as they were typed
    for word in words_of(search):
        statement = statement.where(name.icontains(word, autoescape=True))
    if status is not None:
        statement = statement.where(CampaignInstance.status == status)
    if template_id is not None:
        statement = statement.where(CampaignInstance.template_id == template_id)
    return page(session, statement, by=[CampaignInstance.id], limit=limit, cursor=cursor, listing="campaigns")


def update(
    session: Session, *, campaign_id: UUID, fields: dict[str, Any], now: datetime, may_ask_less: bool = False
) -> CampaignInstance:
    """Changes `fields` (name, settings, provider_config) as long as the campaign has not ended. Settings that name no
    zone are in that of the workspace; those that name no approval leave it as it is.

    may_ask_less: whether the caller may lower the approval, which a person alone decides. Refused otherwise, and for an
    active campaign whose sending window would never open.
    """
    campaign = _lock(session, campaign_id)
    if campaign.status in (CampaignStatus.COMPLETED, CampaignStatus.FAILED):
        raise Refused(
            f"This campaign is {campaign.status} and can't be changed. Create a new one with create_campaign."
        )
    asked = Approval.of_settings(campaign.settings)
    followed = campaign.settings.get("use_contact_timezone")  # unreadable settings are checked for nothing else
    if "settings" in fields:
        before, given = campaign.settings, fields["settings"]
        given = approvals.kept(campaign_id, before=before, given=given, may_ask_less=may_ask_less)
        fields = {**fields, "settings": _checked(session, given)}
    for name, value in fields.items():
        setattr(campaign, name, value)
    session.flush()  # updated_at is the database's
    if "settings" not in fields:
        return campaign
    after = of_settings(campaign.settings)
    if asked is not after.approval:
        approvals.ask_anew(session, campaign_ids=[campaign_id])
    if campaign.status == CampaignStatus.ACTIVE:
        _check_window(after, now)
    if followed or after.follows_contact:
        zones.of_campaign(session, campaign_id=campaign_id, sending=after)
    return campaign


def set_approval(session: Session, *, campaign_id: UUID, approval: Approval, now: datetime) -> Approval:
    """Lets a campaign ask for this approval from now on, less than before or more: the caller speaks for a person.
    Returns what it asked for before. Refused if it has ended, or can't be read."""
    before = _lock(session, campaign_id).settings
    problem = campaign_settings.problem({**before, "approval": approval})
    if problem is not None:
        raise Refused(problem)
    fields = {"settings": {**before, "approval": approval}}
    update(session, campaign_id=campaign_id, fields=fields, now=now, may_ask_less=True)
    return Approval.of_settings(before)


def start(session: Session, *, campaign_id: UUID, now: datetime) -> CampaignInstance:
    """Starts a draft or resumes a paused campaign. Its enrollments become active, and their first steps fall due. After
    a guardrail has paused it, the guardrails count what happens from now on.

    Refused if its sending window never opens, and for a draft whose template has no active step any more.
    """
    campaign = _lock(session, campaign_id)
    is_draft = campaign.status == CampaignStatus.DRAFT
    campaign.status = move_campaign(CampaignStatus(campaign.status), CampaignCommand.START)
    if campaign.started_at is None:
        campaign.started_at = now
    if is_guardrail(campaign.pause_reason):
        campaign.guarded_since = now
    campaign.paused_at = campaign.pause_reason = None
    session.flush()  # the enrollments are moved by a statement of their own
    plan = plans.of_campaign(session, campaign_id=campaign_id)
    problem = plan.problem or step_texts.problem(session, campaign_id=campaign_id)
    if problem is not None:
        raise Refused(problem)
    if is_draft and not plan.steps:  # a resumed one finishes those who waited
        raise _no_step()
    _check_window(plan.sending, now)
    _activate(session, campaign_id, plan, now)
    return campaign


def pause(session: Session, *, campaign_id: UUID, now: datetime) -> CampaignInstance:
    """Stops handing out actions. No scheduled time changes."""
    campaign = _lock(session, campaign_id)
    campaign.status = move_campaign(CampaignStatus(campaign.status), CampaignCommand.PAUSE)
    campaign.paused_at = now
    session.flush()  # updated_at is the database's
    return campaign


_PAUSE_UNREADABLE = text("""
    UPDATE campaign_instances SET status = 'paused', paused_at = :now, pause_reason = :reason, updated_at = now()
    WHERE id = (SELECT id FROM campaign_instances WHERE id = :id AND status = 'active' FOR NO KEY UPDATE SKIP LOCKED)
    RETURNING id
""")


def pause_unreadable(session: Session, *, reasons: Mapping[UUID, str], now: datetime) -> None:
    """Pauses active campaigns that can't be worked on, each with its reason, and notes that in the log and the audit
    log. A campaign that another transaction holds is left to the next claim."""
    for id_, reason in sorted(reasons.items()):
        values = {"id": id_, "reason": reason[:PAUSE_REASON_MAX], "now": now}
        if session.scalar(_PAUSE_UNREADABLE, values) is not None:
            faults.note("a campaign can't be read, and is paused", None, campaign=str(id_), reason=reason.split(":")[0])
            audit.write(session, entries=[AuditEntry.of_server("pause_campaign", {"campaign": [str(id_)]}, now)])


_PAUSE_ALL = text("""
    UPDATE campaign_instances SET status = 'paused', paused_at = :now, pause_reason = :reason, updated_at = now()
    WHERE status = 'active' RETURNING id
""")


def pause_all(session: Session, *, reason: str, now: datetime) -> int:
    """Pauses every active campaign, each with a row of the audit log. Returns how many there were."""
    ids = session.scalars(_PAUSE_ALL, {"reason": reason[:PAUSE_REASON_MAX], "now": now}).all()
    audit.write(session, entries=[AuditEntry.of_server("pause_campaign", {"campaign": [str(id_)]}, now) for id_ in ids])
    return len(ids)


def complete(session: Session, *, campaign_id: UUID, now: datetime) -> CampaignInstance:
    """Ends a campaign for good, and every enrollment of it that has not ended."""
    campaign = _lock(session, campaign_id)
    campaign.status = move_campaign(CampaignStatus(campaign.status), CampaignCommand.COMPLETE)
    campaign.paused_at = campaign.pause_reason = None
    campaign.completed_at = now
    session.flush()  # the enrollments are moved by a statement of their own
    moved = _in_chunks(session, _END, {"campaign": campaign_id})
    conversation_rows.wake_besides(session, campaign_id=campaign_id)
    _count_moves(session, campaign_id, moved, EnrollmentStatus.COMPLETED)
    return campaign


def lock_for_enrollment(session: Session, *, campaign_id: UUID) -> CampaignInstance:
    """Returns the campaign, locked so that it neither starts nor ends while people are enrolled. Refused if it has
    ended."""
    campaign = session.get(CampaignInstance, campaign_id, with_for_update={"read": True}, populate_existing=True)
    if campaign is None:
        raise _not_found(campaign_id)
    if campaign.status in (CampaignStatus.COMPLETED, CampaignStatus.FAILED):
        raise Refused(f"This campaign is {campaign.status} and takes nobody in. Create a new one with create_campaign.")
    return campaign


def lock_for_command(session: Session, *, campaign_id: UUID) -> CampaignStatus:
    """Returns the status of a campaign that exists, locked so that it stays while people are moved by hand. It is
    locked before the enrollments, in the same order as when a campaign starts or ends."""
    statement = select(CampaignInstance.status).where(CampaignInstance.id == campaign_id).with_for_update(read=True)
    return CampaignStatus(session.scalars(statement).one())


def _checked(session: Session, settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings, in the zone of the workspace if they name none. NotFound for a mailbox that is not
    connected."""
    named = settings.get("mailboxes", ())
    known = set(session.scalars(select(Mailbox.address).where(Mailbox.address.in_(named)))) if named else set[str]()
    unknown = next((address for address in named if address not in known), None)
    if unknown is not None:
        raise NotFound("mailbox", unknown, hint="list_mailboxes shows those there are; connect_mailbox adds one.")
    return settings if "timezone" in settings else {"timezone": workspace.get(session).timezone, **settings}


def _no_step() -> Refused:
    return Refused("This template has no active step. Add steps with update_template first.")


def _check_window(sending: Sending, now: datetime) -> None:
    if sending.opening(now) is None:
        raise Refused(f"{sending.never_opens} Change settings with update_campaign first.")


def _lock(session: Session, campaign_id: UUID) -> CampaignInstance:
    campaign = session.get(CampaignInstance, campaign_id, with_for_update={"key_share": True}, populate_existing=True)
    if campaign is None:
        raise _not_found(campaign_id)
    return campaign


def _not_found(campaign_id: UUID) -> NotFound:
    return NotFound("campaign", campaign_id)


# In the order of ids, as everybody locks enrollments, and by key from chunk to chunk, so that no chunk reads again what
# earlier ones have moved. The counters come last, so that nobody waits for a transaction that waits for them.
_PICKED = """
    picked AS MATERIALIZED (
        SELECT id, status FROM campaign_enrollments
        WHERE instance_id = :campaign AND id > :after AND {which}
        ORDER BY id LIMIT :chunk FOR NO KEY UPDATE
    )
"""
_LAST = """
    SELECT (SELECT jsonb_object_agg(status, total) FROM (SELECT status, count(*) AS total FROM picked GROUP BY 1) t),
           (SELECT count(*) FROM moved), (SELECT id FROM picked ORDER BY id DESC LIMIT 1)
"""
_OPEN = "status IN ('enrolled', 'active', 'paused')"
# An enrollment that was paused before the first start has no due time yet. Who is active has one, and is not asked for:
# a campaign that goes on does not read all of its people.
_TO_START = "status IN ('enrolled', 'paused') AND (status = 'enrolled' OR next_action_at IS NULL)"
# A due time for every variant of the first step, and for enrollments that have none of these.
_DUE = """
    (SELECT due FROM dues
     WHERE dues.variant IS NOT DISTINCT FROM (CASE WHEN e.a_b_variant = ANY (:names) THEN e.a_b_variant END))
"""
_FROM = "delay_from = coalesce(e.delay_from, CAST(:now AS timestamptz))"
_ACTIVATE = text(f"""
    WITH dues AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS f(variant text, due timestamptz)
    ), {_PICKED.format(which=_TO_START)}, moved AS (
        UPDATE campaign_enrollments e
        SET status = CASE e.status WHEN 'enrolled' THEN 'active' ELSE e.status END,
            next_action_at = coalesce(e.next_action_at, {_DUE}), {_FROM}, updated_at = now()
        WHERE e.instance_id = :campaign AND e.id = ANY (ARRAY(SELECT id FROM picked)) RETURNING 1
    ) {_LAST}
""")
_END = text(f"""
    WITH {_PICKED.format(which=_OPEN)}, moved AS (
        UPDATE campaign_enrollments e
        SET status = 'completed', stop_reason = 'campaign_completed', next_action_at = NULL, pause_reason = NULL,
            paused_until = NULL, busy_since = NULL, updated_at = now()
        WHERE e.instance_id = :campaign AND e.id = ANY (ARRAY(SELECT id FROM picked)) RETURNING 1
    ) {_LAST}
""")


def _activate(session: Session, campaign_id: UUID, plan: Plan, now: datetime) -> None:
    stage = stage_after(plan.steps, 0)
    _schedule_one_by_one(session, campaign_id, plan, stage, now)
    names = variants(stage.values())
    # An enrollment with none of these variants and no due time yet gets a step that waits as long as the others.
    any_step = next(iter(stage.values()), None)
    dues = [{"variant": variant, "due": _due(stage.get(variant, any_step), now)} for variant in (None, *names)]
    values = {**rows_parameter(dues), "names": list(names), "now": now, "campaign": campaign_id}
    moved = _in_chunks(session, _ACTIVATE, values)
    enrolled = {EnrollmentStatus.ENROLLED: moved.get(EnrollmentStatus.ENROLLED, 0)}
    _count_moves(session, campaign_id, enrolled, EnrollmentStatus.ACTIVE)


def _count_moves(
    session: Session, campaign_id: UUID, moved: Mapping[EnrollmentStatus, int], to: EnrollmentStatus
) -> None:
    changes = {(campaign_id, status): -total for status, total in moved.items()}
    counters.add_statuses(session, {**changes, (campaign_id, to): sum(moved.values())})


_ONE_BY_ONE = text("""
    SELECT e.id, e.paused_until, e.current_step, e.contact_id, e.a_b_variant FROM campaign_enrollments e
    WHERE e.instance_id = :campaign AND e.id > :after AND e.status IN ('enrolled', 'paused')
      AND e.next_action_at IS NULL
      AND (e.current_step > 0 OR e.paused_until IS NOT NULL
           OR (CAST(:drawn AS bool) AND e.a_b_variant = ANY (:names) IS NOT TRUE))
    ORDER BY e.id LIMIT :chunk FOR NO KEY UPDATE
""")
_SCHEDULE = text("""
    UPDATE campaign_enrollments e
    SET next_action_at = n.due, delay_from = n.since, updated_at = now()
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS n(id uuid, since timestamptz, due timestamptz)
    WHERE e.instance_id = :campaign AND e.id = n.id
""")


def _schedule_one_by_one(session: Session, campaign_id: UUID, plan: Plan, stage: Stage, now: datetime) -> None:
    """Gives a due time to enrollments that passed steps before the start, to those whose delay begins when their pause
    ends, and to those whose first step is drawn among variants with different delays."""
    after = UUID(int=0)
    drawn = len({step.delay_hours for step in stage.values()}) > 1
    values = {"campaign": campaign_id, "names": list(variants(stage.values())), "drawn": drawn, "chunk": _CHUNK}
    while True:
        found = session.execute(_ONE_BY_ONE, {**values, "after": after}).all()
        if not found:
            return
        dues = [
            {
                "id": id_,
                "since": (since := max(now, paused_until or now)),
                "due": _due(next_step(plan.steps, passed, Recipient(campaign_id, *recipient)), since),
            }
            for id_, paused_until, passed, *recipient in found
        ]
        session.execute(_SCHEDULE, {**rows_parameter(dues), "campaign": campaign_id})
        after = found[-1][0]


def _due(step: Step | None, now: datetime) -> datetime:
    return due_at(now, step) if step else now


def _in_chunks(session: Session, statement: TextClause, values: dict[str, Any]) -> dict[EnrollmentStatus, int]:
    """Runs `statement` over chunks of enrollments in key order. Returns how many it changed, by their former status."""
    total, after = Counter[EnrollmentStatus](), UUID(int=0)
    while True:
        found: dict[str, int] | None
        found, moved, last = session.execute(statement, {**values, "after": after, "chunk": _CHUNK}).one()
        total.update({EnrollmentStatus(status): count for status, count in (found or {}).items()})
        if moved < _CHUNK:
            return total
        after = last
