"""The steps of a template, as they come in."""

from dataclasses import dataclass

from db.domain.states import LinkedInStepType


@dataclass(frozen=True, slots=True)
class EmailStep:
    """An email of a sequence. `delay_hours` counts from the step before."""

    step_number: int
    subject: str
    body: str
    delay_hours: int = 0
    a_b_variant: str | None = None
    is_active: bool = True


@dataclass(frozen=True, slots=True)
class LinkedInStep:
    """A LinkedIn step. `message` is what is said, where the type says anything."""

    step_number: int
    type: LinkedInStepType
    message: str | None = None
    delay_hours: int = 0
    is_active: bool = True
