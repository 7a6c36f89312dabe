"""What holds back an action. claim_due_actions acts on these rules, and explain_due shows them.

A hold with `until` ends by itself at that time. One without it needs a person: to resume, to fill in, to start.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from db.domain.enrollment import Enrollment
from db.domain.sending import Sending, zone
from db.domain.states import CampaignStatus, Channel, EnrollmentStatus


class HoldReason(StrEnum):
    CAMPAIGN_NOT_STARTED = "campaign_not_started"
    CAMPAIGN_PAUSED = "campaign_paused"
    CAMPAIGN_ENDED = "campaign_ended"
    ENROLLMENT_PAUSED = "enrollment_paused"
    ENROLLMENT_ENDED = "enrollment_ended"
    SUPPRESSED = "suppressed"
    NO_STEP_LEFT = "no_step_left"
    NOBODY_WAITS = "nobody_waits"
    MISSING_ADDRESS = "missing_address"
    MISSING_VARIABLE = "missing_variable"
    INVALID_TEXT = "invalid_text"
    INVALID_SETTINGS = "invalid_settings"
    INTERNAL_FAULT = "internal_fault"
    LEASE_HELD = "lease_held"
    STEP_DELAY = "step_delay"
    OUTSIDE_WINDOW = "outside_window"
    DAILY_LIMIT = "daily_limit"
    MIN_GAP = "min_gap"
    SENDER_DAILY_LIMIT = "sender_daily_limit"
    SENDER_MIN_GAP = "sender_min_gap"


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


def of_campaign(status: CampaignStatus, sending: Sending, now: datetime) -> list[Hold]:
    """Returns what holds back every action of the campaign, except a window in the person's own zone: see
    `of_window`."""
    holds = [_STATES[status]] if status in _STATES else []
    if not sending.follows_contact or sending.opening(now) is None:
        holds += of_window(sending, None, now)
    return holds


def of_problem(problem: str | None) -> list[Hold]:
    """Returns the hold on a campaign that the server paused because it can't work on it; `problem` begins with the
    reason."""
    return [Hold(HoldReason(problem.partition(":")[0]), problem)] if problem else []


def of_window(sending: Sending, own_zone: str | None, now: datetime) -> list[Hold]:
    """Returns the hold of a closed window, read in the zone of an enrollment or in the campaign's; or nothing."""
    opening = sending.opening(now, own_zone)
    if opening == now:
        return []
    name = zone(own_zone or sending.zone).key
    if opening is None:
        return [Hold(HoldReason.OUTSIDE_WINDOW, f"{sending.never_opens} Change it with update_campaign.")]
    return [Hold(HoldReason.OUTSIDE_WINDOW, f"Outside the sending window in {name}.", opening)]


def of_enrollment(enrollment: Enrollment, lease_until: datetime | None, now: datetime) -> list[Hold]:
    """Returns what holds back the enrollment by its own state; `lease_until` is that of its next step."""
    if enrollment.status is EnrollmentStatus.PAUSED:
        paused = Hold(HoldReason.ENROLLMENT_PAUSED, "The enrollment is paused. update_enrollment resumes it.")
        reason = enrollment.pause_reason or ""
        is_fault = reason.startswith(HoldReason.INTERNAL_FAULT)
        return [paused, Hold(HoldReason.INTERNAL_FAULT, reason)] if is_fault else [paused]
    if not enrollment.is_open:
        ended = f"The enrollment is {enrollment.status} ({enrollment.stop_reason})."
        return [Hold(HoldReason.ENROLLMENT_ENDED, ended)]
    if lease_until is not None and lease_until > now:
        return [Hold(HoldReason.LEASE_HELD, "The step is claimed, and not reported yet.", lease_until)]
    return [] if enrollment.next_action_at is None else not_before(enrollment.next_action_at, now)


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


def can_move_at(holds: Sequence[Hold], sending: Sending, own_zone: str | None, now: datetime) -> datetime | None:
    """Returns the next moment at which none of `holds` applies; None if that needs a person."""
    if any(hold.until is None for hold in holds):
        return None
    return sending.opening(latest(holds, now), own_zone)


def latest(holds: Iterable[Hold], now: datetime) -> datetime:
    """Returns when the last hold that ends by itself has ended; `now` if there is none."""
    return max(_untils(holds), default=now)


def _untils(holds: Iterable[Hold]) -> list[datetime]:
    return [hold.until for hold in holds if hold.until is not None]
