"""Hands out due steps that were taken from the queue, and does with the others what holds them."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from db.domain import holds, threads
from db.domain.allowance import Allowances, Reservation
from db.domain.aside import Aside, Fate
from db.domain.drafts import UNASKED, Consent
from db.domain.enrollment import Enrollment
from db.domain.events import Stop
from db.domain.field_limits import PAUSE_REASON_MAX
from db.domain.holds import Hold, HoldReason
from db.domain.ids import new_id
from db.domain.mail import provider_headers, unsubscribe_mails
from db.domain.pools import PoolMailbox
from db.domain.scheduling import Step
from db.domain.states import ActionStatus, Channel, EnrollmentCommand, EnrollmentStatus, StopReason
from db.domain.streams import DueStream
from db.models import Contact
from db.postgres import faults
from db.services.campaigns.step_texts import Text
from db.services.dispatch import claim_rows, drafting
from db.services.dispatch.candidates import Candidate, examine
from db.services.dispatch.due_streams import finder
from db.services.mail import pools
from db.services.state import conversation_rows, enrollment_rows, message_rows
from db.services.state.message_rows import Handed
from db.services.texts import unsubscribe_links
from db.services.texts.unsubscribe_links import Link


@dataclass(slots=True)
class DueAction:
    """A step for one person, rendered, and leased to the caller."""

    action_id: UUID
    lease_token: UUID
    lease_until: datetime
    enrollment: Enrollment
    contact: Contact
    step: Step
    text: Text
    sender: str | None = None
    mailbox: str | None = None
    """The address of the mailbox that an email goes out from."""
    mailbox_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """The header fields of an email that depend on that mailbox: those in which its provider takes to whom the mail
    belongs, and where to unsubscribe if the server has no public address."""
    reserved_at: datetime | None = None
    consent: Consent = UNASKED
    """What its campaign asks of the words, and that it was given."""


@dataclass(slots=True)
class HandOut:
    """What a claim hands out, under which limits, and what it has set aside meanwhile.

    ended: the totals of pauses that have ended, which are written with the first changes. unreadable: campaign -> why
    nothing of it can be handed out. stuck: enrollments that can't even be paused, or whose person another claim takes
    at this moment. room: how many more steps may be handed out. skipped: how many were held back by a condition, or by
    another campaign of their person, so far. freed: people of whom an enrollment has ended. What else there is of them
    waits for the next claim, so that nothing depends on how many are looked at together.
    """

    streams: Sequence[DueStream]
    allowances: Allowances
    ended: Counter[tuple[UUID, EnrollmentStatus]]
    unreadable: dict[UUID, str]
    until: datetime
    now: datetime
    public_url: str | None
    unsubscribe_key: bytes | None = None
    aside: Aside = field(default_factory=Aside)
    stuck: set[UUID] = field(default_factory=set[UUID])
    room: int = 0
    skipped: int = 0
    freed: set[UUID] = field(default_factory=set[UUID])

    def settle_sound(self, session: Session, found: Sequence[Enrollment]) -> list[DueAction]:
        """Settles all of `found` at once. If that fails for some of them, settles the others without them; those are
        paused, or added to `stuck` if even that fails."""
        before, reserved = enrollment_rows.snapshot(found), self.allowances.snapshot()
        skipped = self.skipped
        try:
            with session.begin_nested():
                handed = self._settle(session, found)
        except Exception as error:
            if not faults.is_of_a_row(error):
                raise
            enrollment_rows.restore(before, found)
            self.allowances.restore(reserved)
            self.skipped = skipped
            if len(found) == 1:
                self._pause_faulty(session, found[0], error)
                return []
        else:
            self.room -= len(handed)
            return handed
        middle = len(found) // 2
        return [*self.settle_sound(session, found[:middle]), *self.settle_sound(session, found[middle:])]

    def _pause_faulty(self, session: Session, enrollment: Enrollment, error: Exception) -> None:
        """Pauses an enrollment that nothing can be handed out for, with the reason."""
        concerned = enrollment_rows.ids(enrollment)
        before = enrollment_rows.snapshot([enrollment])
        fault = faults.note("a step can't be handed out", error, **concerned)
        hold = holds.of_fault(fault, "The step can't be handed out.")
        enrollment.pause(hold.detail)
        try:
            with session.begin_nested():
                enrollment_rows.save(session, before=before, after=[enrollment])
        except DBAPIError as refusal:
            if not faults.is_of_a_row(refusal):
                raise
            faults.note("an enrollment can't be paused", refusal, **concerned)
            self.stuck.add(enrollment.id)
        else:
            self.aside.add([(Fate.PAUSED, hold)])

    def _settle(self, session: Session, found: Sequence[Enrollment]) -> list[DueAction]:
        """Hands out the steps of `found` that nothing holds back; ends, pauses or moves the others as their first hold
        says."""
        before = enrollment_rows.snapshot(found)
        candidates = examine(
            session, enrollments=found, plans=self.allowances.plans, now=self.now, public_url=self.public_url
        )
        kept = pools.kept(session, enrollments=found, plans=self.allowances.plans)
        cutoff = _fair_cutoff(candidates, self.streams, self.allowances)
        talking = self._talk(session, candidates[: cutoff + 1])
        handed, held = self._decide(candidates, cutoff, talking, kept)
        drafting.keep(session, candidates=candidates, plans=self.allowances.plans, now=self.now)
        changed = enrollment_rows.changes(before, found)
        self._write(session, handed, [row for one in held for row in one.rows], changed)
        self.freed.update(changed.ended)
        self.aside.add((one.fate, one.hold) for one in held)  # once it is written: else they are settled again
        return handed

    def _decide(
        self, candidates: Sequence[Candidate], cutoff: int, talking: Collection[UUID], kept: Mapping[UUID, str]
    ) -> "tuple[list[DueAction], list[_HeldBack]]":
        """Decides what becomes of each. Some are left to the next round."""
        handed: list[DueAction] = []
        held: list[_HeldBack] = []
        written_to, freed = set[UUID](), set(self.freed)
        for position, candidate in enumerate(candidates):
            person = candidate.enrollment.contact_id
            if candidate.is_broken and candidate.holds[0].reason is HoldReason.INVALID_TEXT:
                # The campaign's fault, not the person's.
                self.unreadable[candidate.enrollment.campaign_id] = candidate.holds[0].detail
            elif candidate.has_its_turn or (person in freed and not candidate.holds):
                # Asked in the order of the queue, and where a limit leaves a send, so that a forecast finds the same.
                is_late = position > cutoff or candidate.is_limited(self.allowances)
                if not is_late and person not in written_to:
                    held.append(self._hold_back(candidate, is_freed=person in freed))
            elif candidate.holds:
                held.append(_hold(candidate, self.now))
            elif candidate.enrollment.id in talking and len(handed) < self.room:
                # The next round finds the others again, behind those that come before them.
                handed += (taken := self._take(candidate, kept))
                written_to.update(due.enrollment.contact_id for due in taken)
            if not candidate.enrollment.is_open:
                freed.add(person)
        return handed, held

    def _talk(self, session: Session, candidates: Sequence[Candidate]) -> set[UUID]:
        """Takes the conversations of the people whose steps may be handed out now, as many as there is room for.
        Returns their enrollments. Who is in another claim at this moment is left to the next one; who is in this claim
        twice is busy in its next round."""
        able = [one.enrollment for one in candidates if not one.holds and one.skipped is None and one.step is not None]
        able = able[: self.room]
        talking = conversation_rows.take(session, enrollments=able, now=self.now)
        people = {enrollment.contact_id for enrollment in able if enrollment.id in talking}
        self.stuck |= {enrollment.id for enrollment in able if enrollment.contact_id not in people}
        return talking

    def _hold_back(self, candidate: Candidate, *, is_freed: bool) -> "_HeldBack":
        """Lets a step wait for its condition or for other campaigns, or passes it. is_freed: another enrollment of the
        person has ended in this claim."""
        enrollment, step, why = candidate.enrollment, candidate.step, candidate.skipped
        self.skipped += 1
        if is_freed and not candidate.is_busy:
            enrollment.wait_for_others(holds.busy_again(None, self.now), candidate.busy_since)
            return _HeldBack(Fate.MOVED, holds.of_ended_now())
        if why is None or step is None:
            return _hold(candidate, self.now)
        row = _action_row(enrollment, step, new_id(), ActionStatus.SKIPPED, error=why)
        enrollment.pass_step(step.step_number, self.now, self.allowances.plans[enrollment.campaign_id])
        if enrollment.is_open:
            return _HeldBack(Fate.MOVED, Hold(HoldReason.STEP_DELAY, why, enrollment.next_action_at), [row])
        return _HeldBack(Fate.ENDED, Hold(HoldReason.NO_STEP_LEFT, why), [row])

    def _take(self, candidate: Candidate, kept: Mapping[UUID, str]) -> list[DueAction]:
        """Hands out the step of a candidate, if the limits allow it."""
        enrollment, step, text, route = candidate.enrollment, candidate.step, candidate.text, candidate.route
        if step is None or text is None or route is None:
            return []
        mailbox = self.allowances.mailbox(route)
        reservation = candidate.take(self.allowances)
        if not isinstance(reservation, Reservation):
            return []
        enrollment.hand_out(step.step_number, self.until)
        address = kept.get(enrollment.id) if step.channel is Channel.EMAIL else None
        if mailbox is not None and self.allowances.plans[enrollment.campaign_id].sending.mailboxes:
            enrollment.mailbox_id, address = mailbox.id, mailbox.address
        if address is not None:
            text = replace(text, message_domain=threads.message_domain(address, self.public_url))
        own = mailbox if mailbox is not None and mailbox.address == address else None
        fields = self._headers(own, enrollment, step.step_number) if own is not None else {}
        account, at = reservation.account, reservation.at
        claimed = (new_id(), uuid4(), self.until, enrollment, candidate.contact, step, text)
        return [DueAction(*claimed, account, address, fields, at, candidate.consent)]

    def _headers(self, mailbox: PoolMailbox, enrollment: Enrollment, step_number: int) -> dict[str, str]:
        fields = provider_headers.of_host(
            mailbox.smtp_host,
            campaign_id=enrollment.campaign_id,
            enrollment_id=enrollment.id,
            step_number=step_number,
        )
        if self.unsubscribe_key is not None and self.public_url is None and mailbox.is_read:
            token = unsubscribe_links.sign(self.unsubscribe_key, Link(enrollment.id, step_number))
            fields |= unsubscribe_mails.headers(mailbox.address, token)
        return fields

    def _write(
        self,
        session: Session,
        handed: Sequence[DueAction],
        blocked: Sequence[dict[str, Any]],
        changed: enrollment_rows.Changes,
    ) -> None:
        """Writes what was decided, and gives the steps that were handed out before the ids of that time."""
        if changed.rows:
            changed.moves.update(self.ended)
        texts = {due.enrollment.id: _handed(due) for due in handed}
        rows = [*(_claimed_row(due, self.now) for due in handed), *blocked]
        written = claim_rows.write(session, rows, message_rows.rows(texts, self.now), changed)
        if changed.rows:
            self.ended.clear()
        for due in handed:
            due.action_id, message_id = written[due.enrollment.id]
            due.text = replace(due.text, internet_message_id=message_id)


def _handed(due: DueAction) -> Handed:
    mailbox_id = due.enrollment.mailbox_id if due.mailbox else None
    text = due.text
    return Handed(text.subject, text.body, text.new_thread, text.message_domain, mailbox_id, due.consent)


class _HeldBack(NamedTuple):
    """What became of an enrollment that was not handed out, and why. rows: the action to write with it, if any."""

    fate: Fate
    hold: Hold
    rows: Sequence[dict[str, Any]] = ()


def _fair_cutoff(candidates: Sequence[Candidate], streams: Sequence[DueStream], allowances: Allowances) -> int:
    """Returns the last position at which a step may be handed out in this round.

    A stream was read up to its allowance. If one of those read is held back, has a reservation, or stands behind
    another enrollment of its person, it leaves allowance over; then the next of its stream may come before enrollments
    of other streams that share the same limits.
    """
    first: dict[UUID, UUID] = {}
    for candidate in candidates:
        first.setdefault(candidate.enrollment.contact_id, candidate.enrollment.id)
    unused = {
        candidate.enrollment.id
        for candidate in candidates
        if candidate.holds
        or candidate.skipped is not None
        or candidate.has_reservation(allowances)
        or first[candidate.enrollment.contact_id] != candidate.enrollment.id
    }
    if not unused:
        return len(candidates)
    stream_of = finder(streams)
    last: dict[DueStream, int] = {}
    held = set[DueStream]()
    for position, candidate in enumerate(candidates):
        stream = stream_of(candidate.enrollment)
        last[stream] = position
        if candidate.enrollment.id in unused and stream.free(allowances):
            held.add(stream)
    return min((last[stream] for stream in held), default=len(candidates))


_ENDS = {
    HoldReason.SUPPRESSED: Stop(EnrollmentCommand.UNSUBSCRIBE, StopReason.SUPPRESSED),
    HoldReason.NO_STEP_LEFT: Stop(EnrollmentCommand.COMPLETE, StopReason.FINISHED),
}


def _hold(candidate: Candidate, now: datetime) -> _HeldBack:
    """Does what the first hold on an enrollment asks for."""
    enrollment, hold = candidate.enrollment, candidate.holds[0]
    if hold.reason in _ENDS:
        enrollment.stop(_ENDS[hold.reason])
        return _HeldBack(Fate.ENDED, hold)
    if candidate.is_busy:
        enrollment.wait_for_others(holds.busy_again(hold.until, now), candidate.busy_since)
        return _HeldBack(Fate.MOVED, hold)
    if hold.until is not None:
        enrollment.next_action_at = hold.until
        return _HeldBack(Fate.MOVED, hold)
    if hold.reason in (HoldReason.INTERNAL_FAULT, HoldReason.DELIVERY_UNKNOWN, HoldReason.WAITING_FOR_APPROVAL):
        enrollment.pause(hold.detail)
    elif candidate.step is not None:
        enrollment.pause(hold.detail[:PAUSE_REASON_MAX])
        row = _action_row(enrollment, candidate.step, new_id(), ActionStatus.FAILED, error=hold.detail)
        return _HeldBack(Fate.PAUSED, hold, [row])
    return _HeldBack(Fate.PAUSED, hold)


def _claimed_row(due: DueAction, now: datetime) -> dict[str, Any]:
    return {
        **_action_row(due.enrollment, due.step, due.action_id, ActionStatus.CLAIMED),
        "linkedin_type": due.text.step_type if due.step.channel is Channel.LINKEDIN else None,
        "lease_token": due.lease_token,
        "lease_until": due.lease_until,
        "claimed_at": now,
        "sender": due.sender,
        "sent_to": due.contact.email if due.step.channel is Channel.EMAIL else due.contact.linkedin_url,
        "reserved_at": due.reserved_at,
    }


def _action_row(
    enrollment: Enrollment, step: Step, id_: UUID, status: ActionStatus, *, error: str | None = None
) -> dict[str, Any]:
    return {
        "instance_id": enrollment.campaign_id,
        "id": id_,
        "enrollment_id": enrollment.id,
        "step_number": step.step_number,
        "channel": step.channel,
        "a_b_variant": step.a_b_variant,
        "status": status,
        "error": error,
    }
