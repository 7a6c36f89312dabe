"""A person approves drafts. What goes out then is what they saw, or it waits for them again."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.domain.drafts import DraftCommand, DraftStatus, DraftVerdict, move_draft
from db.domain.enrollment import Enrollment
from db.domain.scheduling import next_step
from db.models import ActionDraft
from db.postgres.json import rows_parameter
from db.services.campaigns import plans
from db.services.consent import drafting, replies, wordings
from db.services.consent.drafting import Undecided
from db.services.consent.replies import NotReady, Ready
from db.services.consent.wordings import DraftedStep, Wordings
from db.services.state import draft_rows, enrollment_rows


class Given(NamedTuple):
    """An approval of one draft. fingerprint: of the words that the person saw, in hexadecimal digits."""

    draft_id: UUID
    fingerprint: str


class Decided(NamedTuple):
    """What became of one approval. reason: why it was refused."""

    draft_id: UUID
    verdict: DraftVerdict
    reason: str | None = None


_LOCK_CAMPAIGNS = text("""
    SELECT count(*) FROM (
        SELECT 1 FROM campaign_instances
        WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
        ORDER BY id FOR SHARE
    ) locked
""")


def approve(
    session: Session, *, given: Sequence[Given], by: str, now: datetime, public_url: str | None
) -> list[Decided]:
    """Approves drafts in the name of `by`, each if it waits, is what the person saw, and would go out so now. Those
    that would read otherwise are drafted again. Whoever waited for the approval goes on. One that is given twice is
    answered twice, with the same."""
    drafts, enrollments = _lock(session, {one.draft_id for one in given})
    open_ones = [draft for draft in drafts.values() if draft.status == DraftStatus.WAITING]
    to_come = [
        (enrollments[draft.enrollment_id], draft.step_number)
        for draft in open_ones
        if draft.step_number is not None and _is_to_come(enrollments[draft.enrollment_id], draft.step_number)
    ]
    ready = {draft.id: replies.ready(session, draft=draft) for draft in open_ones if draft.thread_id is not None}
    words = wordings.read(session, wanted=to_come, public_url=public_url)
    decided: list[Decided] = []
    changed: dict[DraftedStep, Undecided] = {}
    fresh: list[Ready] = []
    for one in given:
        reason = _why_not(one, drafts.get(one.draft_id), enrollments, words, changed, ready)
        if reason is None:
            draft = drafts[one.draft_id]
            if draft.status == DraftStatus.WAITING:
                draft.status = move_draft(DraftStatus(draft.status), DraftCommand.APPROVE)
                draft.decided_at, draft.decided_by = now, by
                fresh += [reply] if isinstance(reply := ready.get(draft.id), Ready) else []
            decided.append(Decided(one.draft_id, DraftVerdict.APPROVED))
        else:
            decided.append(Decided(one.draft_id, DraftVerdict.REFUSED, reason))
    session.flush()  # before statements that read them
    for reply in fresh:
        replies.send(session, approved=reply, now=now)
    before = enrollment_rows.snapshot(enrollments.values())
    _draft_anew(session, [*changed.values()], now)
    approved = {drafts[one.draft_id] for one in decided if one.verdict is DraftVerdict.APPROVED}
    _go_on(session, approved, enrollments)
    enrollment_rows.save(session, before=before, after=enrollments.values())
    return decided


def _lock(session: Session, draft_ids: Collection[UUID]) -> tuple[dict[UUID, ActionDraft], dict[UUID, Enrollment]]:
    """Returns the drafts, and their enrollments locked, in the order in which everybody locks them."""
    places = session.execute(
        select(ActionDraft.campaign_id, ActionDraft.enrollment_id).where(ActionDraft.id.in_(draft_ids))
    ).all()
    session.execute(_LOCK_CAMPAIGNS, rows_parameter(sorted({campaign_id for campaign_id, _ in places})))
    locked = enrollment_rows.lock_some(session, enrollment_ids={enrollment_id for _, enrollment_id in places})
    statement = select(ActionDraft).where(ActionDraft.id.in_(draft_ids)).execution_options(populate_existing=True)
    return {draft.id: draft for draft in session.scalars(statement)}, {one.id: one for one in locked}


def _is_to_come(enrollment: Enrollment, step_number: int) -> bool:
    return enrollment.is_open and enrollment.current_step < step_number


_LOOK = "list_drafts shows what waits now."


def _why_not(
    one: Given,
    draft: ActionDraft | None,
    enrollments: Mapping[UUID, Enrollment],
    words: Wordings,
    changed: dict[DraftedStep, Undecided],
    ready: Mapping[UUID, Ready | NotReady],
) -> str | None:
    """Returns why a draft can't be approved; notes those whose words are others now. ready: of replies, see
    replies.ready."""
    if draft is None:
        return f"There is no draft of this id. {_LOOK}"
    if draft.fingerprint.hex() != one.fingerprint.lower():
        return f"fingerprint is not that of this draft, so other words were looked at. {_LOOK}"
    if draft.id in ready:
        return _why_no_reply(draft, ready[draft.id])
    if draft.status == DraftStatus.WAITING:
        return _why_not_now(draft, enrollments[draft.enrollment_id], words, changed)
    is_done = draft.status == DraftStatus.APPROVED and draft.decided_by is not None
    return None if is_done else f"The draft is {draft.status}. {_LOOK}"


def _why_no_reply(draft: ActionDraft, found: Ready | NotReady) -> str | None:
    """Returns why the draft of a reply can't go out as it is. One that has changed is stale."""
    if isinstance(found, Ready):
        return None
    if found.is_for_good and draft.status == DraftStatus.WAITING:
        draft.status = move_draft(DraftStatus(draft.status), DraftCommand.REPLACE)
    return found.why


def _why_not_now(
    draft: ActionDraft, enrollment: Enrollment, words: Wordings, changed: dict[DraftedStep, Undecided]
) -> str | None:
    """Returns why a draft that waits can't go out as it is."""
    if draft.step_number is None or not _is_to_come(enrollment, draft.step_number):
        return "The enrollment has ended, or is past this step: nothing of it goes out any more."
    key = (draft.enrollment_id, draft.step_number)
    if key in words.problems:
        return words.problems[key]
    now = words.of(key)
    if now is not None and now.fingerprint == draft.fingerprint:
        return None
    changed[key] = words.steps[key]
    return f"The text, the recipient or the mailbox has changed since it was drafted: it was drafted again. {_LOOK}"


def _draft_anew(session: Session, changed: Sequence[Undecided], now: datetime) -> None:
    if not changed:
        return
    campaigns = {undecided.enrollment.campaign_id for undecided in changed}
    known = plans.of_campaigns(session, campaign_ids=campaigns)
    silent = [undecided for undecided in changed if undecided.text.body is None]
    draft_rows.drop(session, steps=[(it.enrollment.id, it.step.step_number) for it in silent])
    for undecided in silent:
        undecided.enrollment.end_wait()
    worded = [undecided for undecided in changed if undecided not in silent]
    drafting.keep(session, steps=worded, plans=known, now=now)


def _go_on(session: Session, approved: Iterable[ActionDraft], enrollments: Mapping[UUID, Enrollment]) -> None:
    """Lets those go on who were paused until their next step is approved, and whose next step is."""
    waiting = [
        (draft, enrollment) for draft in approved if (enrollment := enrollments[draft.enrollment_id]).waits_for_approval
    ]
    known = plans.of_campaigns(session, campaign_ids={draft.campaign_id for draft, _ in waiting}) if waiting else {}
    for draft, enrollment in waiting:
        step = next_step(known[draft.campaign_id].steps, enrollment.current_step, enrollment.recipient)
        if step is not None and step.step_number == draft.step_number:
            enrollment.end_wait()
