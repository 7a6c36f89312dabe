"""When the next action of an enrollment falls due. Pure functions of the steps and of what was done.

`due_at` is the only place that turns a delay into a moment. Limits are not its business: they depend on what others
were handed, so they are looked at when a step is claimed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from uuid import UUID

from db.domain.sending import ANYTIME, Sending
from db.domain.states import Channel


@dataclass(frozen=True, slots=True)
class Step:
    """One active step of a template, in one variant. `delay_hours` counts from the step before."""

    step_number: int
    channel: Channel
    delay_hours: int
    a_b_variant: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a campaign does: its active steps, and when it may send them."""

    steps: Sequence[Step]
    sending: Sending = ANYTIME


def due_at(after: datetime, step: Step, sending: Sending = ANYTIME, contact_zone: str | None = None) -> datetime:
    """The moment at which `step` falls due, when the step before it was done at `after`: after its delay, and then
    as soon as the sending window is open. In a window that never opens it is the end of the delay; no claim takes it.
    """
    delayed = after + timedelta(hours=step.delay_hours)
    return sending.opening(delayed, contact_zone) or delayed


def step_for(steps: Sequence[Step], step_number: int, variant: str | None) -> Step | None:
    """The step of that number that an enrollment with `variant` takes: its own variant, else the one that all share,
    else the first by name (a step that lost that variant by an edit still goes out)."""
    candidates = [step for step in steps if step.step_number == step_number]
    by_variant = {step.a_b_variant: step for step in candidates}
    return by_variant.get(variant) or by_variant.get(None) or min(candidates, key=_variant_name, default=None)


def next_step(steps: Sequence[Step], current_step: int, variant: str | None) -> Step | None:
    """The step after `current_step` (0 = nothing done yet), or None when all are done."""
    numbers = [step.step_number for step in steps if step.step_number > current_step]
    return step_for(steps, min(numbers), variant) if numbers else None


def variants(steps: Sequence[Step]) -> tuple[str, ...]:
    """The names of the variants that the steps know, in order."""
    return tuple(sorted({step.a_b_variant for step in steps if step.a_b_variant is not None}))


def assign_variant(names: Sequence[str], instance_id: UUID, contact_id: UUID) -> str | None:
    """The variant of this person in this campaign: stable, evenly split, and independent between campaigns."""
    if not names:
        return None
    digest = blake2b(instance_id.bytes + contact_id.bytes, digest_size=8).digest()
    return names[int.from_bytes(digest, "big") % len(names)]


def _variant_name(step: Step) -> str:
    return step.a_b_variant or ""
