"""What holds back an action. claim_due_actions acts on these rules, and explain_due shows them.

A hold with `until` ends by itself at that time. One without it needs a person: to resume, to fill in, to start.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeAlias
from uuid import UUID

from db.domain import drafts
from db.domain.enrollment import REPLIED_ELSEWHERE, Enrollment
from db.domain.scheduling import Step
from db.domain.sending import Sending, zone
from db.domain.states import CampaignStatus, Channel, EnrollmentStatus, MessageStatus
from db.domain.windows import HORIZON_DAYS

OwnCalendar: TypeAlias = tuple[Sending, str | None]
"""The rules of a campaign or of a mailbox, and the time zone in which an enrollment reads its window, if it has one."""


class HoldReason(StrEnum):
    CAMPAIGN_NOT_STARTED = "campaign_not_started"
    CAMPAIGN_PAUSED = "campaign_paused"
    CAMPAIGN_ENDED = "campaign_ended"
    ENROLLMENT_PAUSED = "enrollment_paused"
    ENROLLMENT_ENDED = "enrollment_ended"
    SUPPRESSED = "suppressed"
    ABSENT = "absent"
    CONTACT_BUSY = "contact_busy"
    NO_STEP_LEFT = "no_step_left"
    NOBODY_WAITS = "nobody_waits"
    MISSING_ADDRESS = "missing_address"
    MISSING_VARIABLE = "missing_variable"
    INVALID_TEXT = "invalid_text"
    INVALID_SETTINGS = "invalid_settings"
    INTERNAL_FAULT = "internal_fault"
    REPLY_UNSURE = "reply_unsure"
    OWNER_WROTE = "owner_wrote"
    REPLIED_ELSEWHERE = REPLIED_ELSEWHERE
    DELIVERY_UNKNOWN = "delivery_unknown"
    DEFERRED = "deferred"
    WAITING_FOR_APPROVAL = drafts.WAITING_FOR_APPROVAL
    CONDITION_WAITS = "condition_waits"
    LEASE_HELD = "lease_held"
    STEP_DELAY = "step_delay"
    OUTSIDE_WINDOW = "outside_window"
    DAILY_LIMIT = "daily_limit"
    MIN_GAP = "min_gap"
    SENDER_DAILY_LIMIT = "sender_daily_limit"
    SENDER_HOURLY_LIMIT = "sender_hourly_limit"
    SENDER_MIN_GAP = "sender_min_gap"
    MAILBOX_PAUSED = "mailbox_paused"
    MAILBOX_FAILING = "mailbox_failing"
    GUARDRAIL = "guardrail"
    DOMAIN_UNAUTHENTICATED = "domain_unauthenticated"
    OVERDUE = "overdue"
    SENT_BY_SERVER = "sent_by_server"
    NO_SENDER_RUNNING = "no_sender_running"


@dataclass(frozen=True, slots=True)
class Hold:
    """One reason why something is not handed out now. `detail` explains it in a sentence.

    position: the position in the campaign's due queue, from 1, of somebody who waits for a limit. `until` is then when
    the limit allows the next send, not the send of this person.
    """

    reason: HoldReason
    detail: str
    until: datetime | None = None
    position: int | None = None

    def behind(self, before: int) -> "Hold":
        """Returns the limit as it is explained to somebody with `before` others in front."""
        turn = f" {before:,} stand before this person: until is when the limit lets out the next." if before else ""
        return replace(self, detail=f"{self.detail}{turn}", position=before + 1)


BUSY_AGAIN: Final = timedelta(hours=1)
"""After so long a claim looks again at a step whose person is busy, if nothing wakes it before."""
_BUSY_AGAIN_MOST: Final = timedelta(days=1)
_UNTIL_A_PERSON = (
    HoldReason.REPLY_UNSURE,
    HoldReason.OWNER_WROTE,
    HoldReason.REPLIED_ELSEWHERE,
    HoldReason.DELIVERY_UNKNOWN,
    HoldReason.WAITING_FOR_APPROVAL,
)
"""What an enrollment is paused for until somebody has decided or found out. Its pause_reason begins with the word."""

ANEW = "create_campaign makes a new one of its template."
"""What the caller can do after a campaign has ended."""

_STATES = {
    CampaignStatus.DRAFT: Hold(
        HoldReason.CAMPAIGN_NOT_STARTED, "The campaign is a draft. start_campaign makes its steps fall due."
    ),
    CampaignStatus.PAUSED: Hold(HoldReason.CAMPAIGN_PAUSED, "The campaign is paused. start_campaign resumes it."),
    CampaignStatus.COMPLETED: Hold(HoldReason.CAMPAIGN_ENDED, f"The campaign is completed. {ANEW}"),
    CampaignStatus.FAILED: Hold(HoldReason.CAMPAIGN_ENDED, f"The campaign has failed. {ANEW}"),
}


def of_status(status: CampaignStatus) -> list[Hold]:
    """Returns the hold on every action of a campaign that is not active."""
    return [_STATES[status]] if status in _STATES else []


def of_campaign(status: CampaignStatus, sending: Sending, now: datetime) -> list[Hold]:
    """Returns what holds back every action of the campaign, except a window in the person's own zone: see
    `of_window`."""
    holds = of_status(status)
    if not sending.follows_contact or sending.opening(now) is None:
        holds += of_window(sending, None, now)
    return holds


def of_problem(problem: str | None) -> list[Hold]:
    """Returns the hold on a campaign that the server paused, because it can't work on it or by a guardrail; `problem`
    begins with the reason."""
    return [Hold(HoldReason(problem.partition(":")[0]), problem)] if problem else []


def of_window(sending: Sending, own_zone: str | None, now: datetime, *, mailbox: str | None = None) -> list[Hold]:
    """Returns the hold of a closed window, read in the zone of an enrollment or in the campaign's; or nothing.
    `mailbox`: the address of the mailbox whose window it is."""
    opening = sending.opening(now, own_zone)
    if opening == now:
        return []
    name = zone(own_zone or sending.zone).key
    whose, tool = (f" of {mailbox}", "update_mailbox") if mailbox else ("", "update_campaign")
    if opening is None:
        return [Hold(HoldReason.OUTSIDE_WINDOW, f"{sending.never_opens} Change it with {tool}.")]
    return [Hold(HoldReason.OUTSIDE_WINDOW, f"Outside the sending window{whose} in {name}.", opening)]


def of_enrollment(enrollment: Enrollment, lease_until: datetime | None, now: datetime) -> list[Hold]:
    """Returns what holds back the enrollment by its own state; `lease_until` is that of its next step."""
    if enrollment.paused_until is not None:
        detail = "The enrollment is paused until then. update_enrollment resumes it."
        return [Hold(HoldReason.ENROLLMENT_PAUSED, detail, enrollment.paused_until), *_delay(enrollment, now)]
    if enrollment.status is EnrollmentStatus.PAUSED:
        paused = Hold(HoldReason.ENROLLMENT_PAUSED, "The enrollment is paused. update_enrollment resumes it.")
        reason = enrollment.pause_reason or ""
        decisions = [Hold(held, reason) for held in _UNTIL_A_PERSON if reason.startswith(held)]
        if decisions:
            return decisions
        is_fault = reason.startswith(HoldReason.INTERNAL_FAULT)
        return [paused, Hold(HoldReason.INTERNAL_FAULT, reason)] if is_fault else [paused]
    if not enrollment.is_open:
        ended = f"The enrollment is {enrollment.status} ({enrollment.stop_reason})."
        return [Hold(HoldReason.ENROLLMENT_ENDED, ended)]
    if lease_until is not None and lease_until > now:
        lease = Hold(HoldReason.LEASE_HELD, "The step is claimed, and not reported yet.", lease_until)
        return [lease, *_delay(enrollment, lease_until)]
    return _delay(enrollment, now)


def _delay(enrollment: Enrollment, after: datetime) -> list[Hold]:
    return [] if enrollment.next_action_at is None else not_before(enrollment.next_action_at, after)


def of_absence(absent_until: datetime | None, now: datetime) -> list[Hold]:
    """Returns the hold on everything that goes to a person who is away, while that lasts."""
    if absent_until is None or absent_until <= now:
        return []
    return [
        Hold(HoldReason.ABSENT, "The person is away. Every campaign goes on the day after their return.", absent_until)
    ]


def of_conversation(campaign: str, campaign_id: UUID, until: datetime | None) -> Hold:
    """Returns the hold on a step whose person another campaign writes to; until: when the days between campaigns are
    over, None while that one goes on."""
    if until is None:
        detail = (
            f"Campaign {campaign} ({campaign_id}) writes to this person, and one campaign at a time does. The step is "
            "due when that one ends for them."
        )
        return Hold(HoldReason.CONTACT_BUSY, detail)
    detail = f"Campaign {campaign} ({campaign_id}) wrote to this person, and days_between_campaigns are not over."
    return Hold(HoldReason.CONTACT_BUSY, detail, until)


def of_ended_now() -> Hold:
    """Returns the hold on a step whose person has had another enrollment end in the same claim."""
    return Hold(HoldReason.CONTACT_BUSY, "Another campaign of this person has just ended. The next claim looks again.")


def of_touches(touches: int, until: datetime) -> Hold:
    """Returns the hold on a step to somebody who got as many in the last seven days as the workspace allows."""
    detail = f"The person got {touches} in the last 7 days, as many as touches_per_week allows."
    return Hold(HoldReason.CONTACT_BUSY, detail, until)


def busy_again(until: datetime | None, now: datetime) -> datetime:
    """Returns when a claim looks again at a step whose person is busy until then."""
    return now + BUSY_AGAIN if until is None else min(until, now + _BUSY_AGAIN_MOST)


def with_busy(held: Sequence[Hold], busy: Hold, *, has_waited: bool) -> list[Hold]:
    """Returns all holds. While a step waits for another campaign, that says more than when it is looked at again."""
    return [*(hold for hold in held if not has_waited or hold.reason is not HoldReason.STEP_DELAY), busy]


def of_overdue(due: datetime | None, before: datetime | None) -> list[Hold]:
    """Returns the hold on an email that was due for long when the server began to send; `before`: see
    Plan.overdue_before."""
    if due is None or before is None or due >= before:
        return []
    detail = (
        "The email was due for more than 7 days when the server began to send. update_campaign with include_overdue in "
        "settings lets it go, or mail run --include-overdue; update_enrollment with action advance passes it."
    )
    return [Hold(HoldReason.OVERDUE, detail)]


def of_server(mailbox: str | None, next_at: datetime | None, *, is_running: bool) -> Hold:
    """Returns the hold on a step that no agent may claim, since the server sends it at `next_at`; `mailbox`: from which
    address, where that is known."""
    who = f"from {mailbox}" if mailbox else "from a mailbox of the campaign"
    if is_running:
        detail = f"The server sends it {who}, and claim_due_actions passes it over."
        return Hold(HoldReason.SENT_BY_SERVER, detail, next_at)
    detail = (
        f"The server sends it {who}, and no process sends from there now: serve --send, or mail run --send, does. Or "
        "update_campaign sets sent_by to agent, and claim_due_actions hands it out."
    )
    return Hold(HoldReason.NO_SENDER_RUNNING, detail)


def of_condition(step: Step, until: datetime) -> Hold:
    """Returns the hold on a step that was due, and waits until then for its condition."""
    told = step.condition.told if step.condition is not None else ""
    detail = f"Step {step.step_number} waits for its condition: {told}. It is skipped if that is false until then."
    return Hold(HoldReason.CONDITION_WAITS, detail, until)


def with_condition(held: Sequence[Hold], waiting: Hold) -> list[Hold]:
    """Returns all holds. That of the condition says more than a delay until the same moment."""
    return [
        *(hold for hold in held if hold.reason is not HoldReason.STEP_DELAY or hold.until != waiting.until),
        waiting,
    ]


def of_fault(fault: str, what: str) -> Hold:
    """Returns the hold on one person for a fault of the server or of a row; `fault`: its id in the log."""
    detail = (
        f"{HoldReason.INTERNAL_FAULT}: {what} The server's log has the fault as {fault}. Once it is mended, "
        "update_enrollment resumes; or advance passes the step."
    )
    return Hold(HoldReason.INTERNAL_FAULT, detail)


def until_expiry(limit: Hold, lease_until: datetime) -> Hold:
    """Returns a limit that is reached, until a claimed step can go out again with its reservation."""
    detail = f"{limit.detail} A step that is claimed goes out again if its lease runs out."
    return Hold(limit.reason, detail, lease_until)


def of_address(channel: Channel, email: str | None) -> list[Hold]:
    """Returns the hold on an email to somebody without an address. A profile can be searched for by name, an address
    can't."""
    if channel is not Channel.EMAIL or email is not None:
        return []
    detail = (
        "missing_address: the step is an email, and the person has no email address. upsert_contacts gives one, and "
        "update_enrollment then resumes; or advance passes the step."
    )
    return [Hold(HoldReason.MISSING_ADDRESS, detail)]


def not_before(due: datetime, now: datetime) -> list[Hold]:
    """Returns the hold of a delay that ends at `due`, while it lasts."""
    return [Hold(HoldReason.STEP_DELAY, "The step is not due yet.", due)] if due > now else []


def can_move_at(holds: Sequence[Hold], calendars: Sequence[OwnCalendar], now: datetime) -> datetime | None:
    """Returns the next moment at which none of `holds` applies and all `calendars` are open; None if that needs a
    person."""
    if any(hold.until is None for hold in holds):
        return None
    moment, last = latest(holds, now), now + timedelta(days=HORIZON_DAYS)
    while moment <= last:
        openings = [sending.opening(moment, own_zone) for sending, own_zone in calendars]
        if None in openings:
            return None
        opening = max((opening for opening in openings if opening is not None), default=moment)
        if opening == moment:
            return moment
        moment = opening
    return None


def latest(holds: Iterable[Hold], now: datetime) -> datetime:
    """Returns when the last hold that ends by itself has ended; `now` if there is none."""
    return max(_untils(holds), default=now)


def _untils(holds: Iterable[Hold]) -> list[datetime]:
    return [hold.until for hold in holds if hold.until is not None]


def of_unsure_reply(sender: str) -> Hold:
    """Returns the hold on an enrollment to whose person a mail seems to belong, by its address alone."""
    detail = (
        f"reply_unsure: a mail of {sender} may answer this campaign, but refers to none of its mails. get_thread shows "
        "it; sort_reply says what it is, and the enrollment goes on."
    )
    return Hold(HoldReason.REPLY_UNSURE, detail)


def of_owner(mailbox: str) -> Hold:
    """Returns the hold on an enrollment whose person somebody has written to by hand."""
    detail = (
        f"owner_wrote: somebody has written to this person by hand, from {mailbox}. update_enrollment with action "
        "resume goes on with the next step; with action complete it ends."
    )
    return Hold(HoldReason.OWNER_WROTE, detail)


def of_reply_elsewhere(who: str, campaign_id: UUID, enrollment_id: UUID) -> Hold:
    """Returns the hold on an enrollment while somebody has answered another one; `who`: the person, or a colleague."""
    detail = (
        f"{REPLIED_ELSEWHERE}: {who} has answered campaign {campaign_id} (enrollment {enrollment_id}). "
        "update_enrollment with action resume goes on with the next step; with action complete it ends."
    )
    return Hold(HoldReason.REPLIED_ELSEWHERE, detail)


def of_mail(status: MessageStatus | None, next_attempt_at: datetime | None, now: datetime) -> list[Hold]:
    """Returns the hold on a step whose mail this server has begun to send, or is to try again later."""
    if status in (MessageStatus.SENDING, MessageStatus.UNKNOWN):
        return [of_unknown_delivery()]
    if next_attempt_at is None or next_attempt_at <= now:
        return []
    return [Hold(HoldReason.DEFERRED, "The mail server did not take the mail yet. It is tried again.", next_attempt_at)]


def with_mail(held: Sequence[Hold], of_mail: Sequence[Hold]) -> list[Hold]:
    """Returns all holds. While the step is claimed, nobody asks for its mail; later that of the mail says more than a
    delay until the same moment."""
    reasons, untils = {hold.reason for hold in held}, {hold.until for hold in of_mail}
    if HoldReason.LEASE_HELD in reasons:
        return list(held)
    others = [hold for hold in held if hold.reason is not HoldReason.STEP_DELAY or hold.until not in untils]
    return [*others, *(hold for hold in of_mail if hold.reason not in reasons)]


def of_unknown_delivery() -> Hold:
    """Returns the hold on an enrollment of which nobody knows whether its last mail went out."""
    detail = (
        "delivery_unknown: the connection ended before the mail server said whether it took the last mail. It is never "
        "sent again by itself. A copy in Sent, an answer or a report settles it, or settle_message after a look at the "
        "mailbox, with the message_id that get_enrollment shows."
    )
    return Hold(HoldReason.DELIVERY_UNKNOWN, detail)


def of_approval(step_number: int) -> Hold:
    """Returns the hold on a step whose words nobody has approved."""
    detail = (
        f"{HoldReason.WAITING_FOR_APPROVAL}: nobody has approved the words of step {step_number} as they are now. "
        "list_drafts shows them; a person approves them in the dashboard or by `sales-automation-mcp drafts approve`, "
        "and the enrollment goes on."
    )
    return Hold(HoldReason.WAITING_FOR_APPROVAL, detail)


def of_approvals(people: int, most: int) -> Hold:
    """Returns the hold on a campaign in which nobody waits but for an approval; people: how many, counted up to
    `most`."""
    many = (
        f"{most:,} people or more wait"
        if people >= most
        else f"{people:,} people wait"
        if people > 1
        else "1 person waits"
    )
    detail = (
        f"{many} until somebody approves the words of the next step. list_drafts shows them; a person approves them in "
        "the dashboard or by `sales-automation-mcp drafts approve`, and the steps go out."
    )
    return Hold(HoldReason.WAITING_FOR_APPROVAL, detail)
