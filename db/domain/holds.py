"""What holds an action back. One set of rules: claim_due_actions acts on them, and explain_due shows them.

A hold with `until` ends by itself then. One without waits for a person: to resume, to fill in, to start.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from db.domain.enrollment import Enrollment
from db.domain.sending import Day, Limits, Sending, Usage, zone
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
    """One reason why something is not handed out now. `detail` is a sentence for whoever asks.

    position: of somebody who waits for a limit, the place in the queue of the campaign, from 1. `until` is then when
    the limit lets out the next, and not yet those behind.
    """

    reason: HoldReason
    detail: str
    until: datetime | None = None
    position: int | None = None

    def behind(self, before: int) -> "Hold":
        """The limit, as it is told to somebody before whom so many stand."""
        turn = f" {before:,} stand before this person: until is when the limit lets out the next." if before else ""
        return replace(self, detail=f"{self.detail}{turn}", position=before + 1)


ANEW = "create_campaign makes a new one of its template."
"""What is left to do where a campaign has ended."""

_STATES = {
    CampaignStatus.DRAFT: Hold(
        HoldReason.CAMPAIGN_NOT_STARTED, "The campaign is a draft. start_campaign makes its steps fall due."
    ),
    CampaignStatus.PAUSED: Hold(HoldReason.CAMPAIGN_PAUSED, "The campaign is paused. start_campaign resumes it."),
    CampaignStatus.COMPLETED: Hold(HoldReason.CAMPAIGN_ENDED, f"The campaign is completed. {ANEW}"),
    CampaignStatus.FAILED: Hold(HoldReason.CAMPAIGN_ENDED, f"The campaign has failed. {ANEW}"),
}


def of_campaign(status: CampaignStatus, sending: Sending, now: datetime) -> list[Hold]:
    """What holds every action of the campaign back. A window that follows the person is left to `of_window`."""
    holds = [_STATES[status]] if status in _STATES else []
    if not sending.follows_contact or sending.opening(now) is None:
        holds += of_window(sending, None, now)
    return holds


def of_problem(problem: str | None) -> list[Hold]:
    """Why the server can't work on a campaign, and pauses it; `problem` begins with the reason."""
    return [Hold(HoldReason(problem.partition(":")[0]), problem)] if problem else []


def of_window(sending: Sending, own_zone: str | None, now: datetime) -> list[Hold]:
    """The closed window, read in the zone of an enrollment or in the campaign's; or nothing."""
    opening = sending.opening(now, own_zone)
    if opening == now:
        return []
    name = zone(own_zone or sending.zone).key
    if opening is None:
        return [Hold(HoldReason.OUTSIDE_WINDOW, f"{sending.never_opens} Change it with update_campaign.")]
    return [Hold(HoldReason.OUTSIDE_WINDOW, f"Outside the sending window in {name}.", opening)]


@dataclass(slots=True)
class Places:
    """How many more a limit lets out now, and what holds back those for whom there is no place.

    is_of_day: who was counted that day already takes no place anew; otherwise each takes one, however often.
    """

    free: int
    hold: Hold
    is_of_day: bool = False


def places(limits: Limits, usage: Usage, day: Day, now: datetime, sender: str | None = None) -> list[Places]:
    """What `limits` (the campaign's, or those of the account `sender`) leave after `usage`: of the day, of the gap."""
    who = f"The account {sender}" if sender else "The campaign"
    found: list[Places] = []
    if limits.daily is not None:
        left = max(0, limits.daily - usage.used)
        reason = HoldReason.SENDER_DAILY_LIMIT if sender else HoldReason.DAILY_LIMIT
        detail = f"{who} has reached its daily limit of {limits.daily}."
        found.append(Places(left, Hold(reason, detail, day.end), is_of_day=True))
    if limits.gap > timedelta(0):
        found.append(_waiting_for_the_gap(limits, usage, now, who, is_sender=sender is not None))
    return found


def _waiting_for_the_gap(limits: Limits, usage: Usage, now: datetime, who: str, *, is_sender: bool) -> Places:
    open_at = now if usage.last_at is None else max(now, usage.last_at + limits.gap)
    reason = HoldReason.SENDER_MIN_GAP if is_sender else HoldReason.MIN_GAP
    detail = f"{who} waits {limits.gap.total_seconds():g} s from one send to the next."
    return (
        Places(1, Hold(reason, detail, now + limits.gap))
        if open_at == now
        else Places(0, Hold(reason, detail, open_at))
    )


def of_enrollment(enrollment: Enrollment, lease_until: datetime | None, now: datetime) -> list[Hold]:
    """What holds the enrollment back by its own state; `lease_until` is that of the step that comes next."""
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
    """What the server can't do for one person by a fault of its own or of a row; `fault`: its id in the log."""
    detail = (
        f"{HoldReason.INTERNAL_FAULT}: {what} The server's log has the fault as {fault}. Once it is mended, "
        "update_enrollment resumes; or advance passes the step."
    )
    return Hold(HoldReason.INTERNAL_FAULT, detail)


def until_expiry(limit: Hold, lease_until: datetime) -> Hold:
    """A limit that is reached, until a step that is claimed can go out again on the place it has."""
    detail = f"{limit.detail} A step that is claimed goes out again if its lease runs out."
    return Hold(limit.reason, detail, lease_until)


def of_address(channel: Channel, email: str | None) -> list[Hold]:
    """An email to somebody whose address is not known. A profile can be searched for by name, and an address not."""
    if channel is not Channel.EMAIL or email is not None:
        return []
    detail = (
        "missing_address: the step is an email, and the person has no email address. upsert_contacts gives one, and "
        "update_enrollment then resumes; or advance passes the step."
    )
    return [Hold(HoldReason.MISSING_ADDRESS, detail)]


def not_before(due: datetime, now: datetime) -> list[Hold]:
    """The delay of a step that falls due at that moment, while it lasts."""
    return [Hold(HoldReason.STEP_DELAY, "The step is not due yet.", due)] if due > now else []


def can_move_at(holds: Sequence[Hold], sending: Sending, own_zone: str | None, now: datetime) -> datetime | None:
    """The next moment at which nothing of `holds` stands in the way; None if that needs a person."""
    if any(hold.until is None for hold in holds):
        return None
    return sending.opening(latest(holds, now), own_zone)


def latest(holds: Iterable[Hold], now: datetime) -> datetime:
    """When the last of them that end by themselves has ended; `now` where none holds."""
    return max(_untils(holds), default=now)


def _untils(holds: Iterable[Hold]) -> list[datetime]:
    return [hold.until for hold in holds if hold.until is not None]
