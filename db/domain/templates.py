"""The steps of a template, as they come in."""

from dataclasses import dataclass

from db.domain.conditions import Condition
from db.domain.states import LinkedInStepType


@dataclass(frozen=True, slots=True)
class EmailStep:
    """An email of a sequence. `delay_hours` counts from the step before.

    A follow-up without a subject answers the thread before it, in its subject; `new_thread` begins another one.
    """

    step_number: int
    subject: str | None
    body: str
    delay_hours: int = 0
    a_b_variant: str | None = None
    is_active: bool = True
    new_thread: bool = False
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class LinkedInStep:
    """A LinkedIn step. `message` is what is said, where the type says anything."""

    step_number: int
    type: LinkedInStepType
    message: str | None = None
    delay_hours: int = 0
    is_active: bool = True
    condition: Condition | None = None
