"""When the next action of an enrollment falls due: pure functions of the steps and of what was done.

Only `due_at` turns a delay into a moment. Windows and limits are not considered here: a window may be changed while
people wait, and limits depend on what others were handed, so both are checked when a step is claimed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

from db.domain.conditions import Condition, Otherwise
from db.domain.sending import ANYTIME, Sending
from db.domain.states import Channel, LinkedInStepType

OVERDUE: Final = timedelta(days=7)
"""How long an email may have been due when the server begins to send. It is also the longest break."""


@dataclass(frozen=True, slots=True)
class Step:
    """One active step of a template, in one variant. `delay_hours` counts from the step before."""

    step_number: int
    channel: Channel
    delay_hours: int
    a_b_variant: str | None = None
    linkedin_type: LinkedInStepType | None = None
    condition: Condition | None = None
    """What must be so for it to go out."""


Stage: TypeAlias = Mapping[str | None, Step]
"""The steps of one number, by variant: several variants, or under None the one that all share. Empty: no such step."""


class Recipient(NamedTuple):
    """The person in a campaign who gets a step. `a_b_variant` is the enrollment's own, which it has had since it was
    made."""

    campaign_id: UUID
    contact_id: UUID
    a_b_variant: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a campaign does: its active steps, and when it may send them."""

    steps: Sequence[Step]
    sending: Sending = ANYTIME
    problem: str | None = None
    """Why the settings can't be read, if they can't; nothing of the campaign is then handed out."""
    changed_at: datetime | None = None
    """When the campaign or its steps were changed last, which tells this plan from an earlier one."""
    served_since: datetime | None = None
    served_until: datetime | None = None
    """From when to when the server has looked after its emails, without a long break."""

    def being_served_since(self, now: datetime) -> datetime:
        """Returns since when the server has looked after its emails, if it does now: since now after a long break."""
        if self.served_since is None or self.served_until is None or self.served_until <= now - OVERDUE:
            return now
        return min(now, self.served_since)

    def overdue_before(self, now: datetime) -> datetime | None:
        """Returns when an email must have been due, at the latest, to be overdue; None if none is.

        That is what was due for long when the server began to send, and may be stale. Whoever waits for a limit since
        then is not overdue, however long it takes.
        """
        if self.sending.include_overdue or not self.sending.is_sent_by_server(Channel.EMAIL):
            return None
        return self.being_served_since(now) - OVERDUE


def due_at(delay_from: datetime, step: Step) -> datetime:
    """Returns the moment at which `step` falls due, when its delay counts from `delay_from`: the end of the step
    before, or the start. It goes out then, or as soon after that as the sending window is open."""
    return delay_from + timedelta(hours=step.delay_hours)


def waits_until(delay_from: datetime | None, step: Step) -> datetime | None:
    """Returns until when a step that was due waits for its condition; None if it is skipped at once. The time counts
    from the moment at which the step fell due, whatever the window and the limits."""
    condition = step.condition
    if condition is None or condition.otherwise is not Otherwise.WAIT or delay_from is None:
        return None
    return due_at(delay_from, step) + timedelta(hours=condition.wait_hours)


def choose(stage: Stage, recipient: Recipient) -> Step | None:
    """Returns the step for `recipient`: that of its own variant, else the one that all share, else one that is drawn.

    Own variants are drawn among all names of a template, so each step is split evenly, whatever names it has.
    """
    shared = stage.get(recipient.a_b_variant) or stage.get(None)
    return shared or stage.get(draw_variant(variants(stage.values()), recipient.campaign_id, recipient.contact_id))


def stage_of(steps: Sequence[Step], step_number: int) -> Stage:
    """Returns the steps of that number."""
    return {step.a_b_variant: step for step in steps if step.step_number == step_number}


def stage_after(steps: Sequence[Step], current_step: int) -> Stage:
    """Returns the steps that come after `current_step` (0 = nothing done yet); empty when all are done."""
    numbers = [step.step_number for step in steps if step.step_number > current_step]
    return stage_of(steps, min(numbers)) if numbers else {}


def step_for(steps: Sequence[Step], step_number: int, recipient: Recipient) -> Step | None:
    """Returns the step of that number for `recipient`, see `choose`."""
    return choose(stage_of(steps, step_number), recipient)


def next_step(steps: Sequence[Step], current_step: int, recipient: Recipient) -> Step | None:
    """Returns the step for `recipient` after `current_step` (0 = nothing done yet), or None when all are done."""
    return choose(stage_after(steps, current_step), recipient)


def variants(steps: Iterable[Step]) -> tuple[str, ...]:
    """Returns the names of the variants that the steps know, in order."""
    return tuple(sorted({step.a_b_variant for step in steps if step.a_b_variant is not None}))


def draw_variant(names: Iterable[str], campaign_id: UUID, contact_id: UUID) -> str | None:
    """Returns the variant of this person in this campaign among `names`: stable, and independent between campaigns.

    Each name gets a hash for a score, and the highest wins, so any set of names is split evenly. A person who is drawn
    for a name keeps it in every smaller set that has it: the same two names split all steps in the same way.
    """
    person = campaign_id.bytes + contact_id.bytes
    return max(names, key=lambda name: blake2b(person + name.encode(), digest_size=8).digest(), default=None)
