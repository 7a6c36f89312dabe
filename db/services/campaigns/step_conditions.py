"""The conditions of a template's steps: whether the template can ever meet them."""

from collections.abc import Sequence

from db.domain import conditions
from db.domain.conditions import FROM_WEBHOOKS, OF_STEPS, Condition, Fact
from db.domain.errors import InvalidInput
from db.domain.states import LinkedInStepType
from db.domain.templates import EmailStep, LinkedInStep
from db.models import CampaignTemplate, EmailSequence, LinkedInSequence

_ASKED_OF = {
    Fact.OPENED: "an email",
    Fact.CLICKED: "an email",
    Fact.ACCEPTED: "a connection_request",
}


def check(steps: Sequence[EmailStep | LinkedInStep]) -> None:
    """Raises InvalidInput for a condition that is wrong, or that asks for what no step before it can tell. `steps`: all
    of a template."""
    for step in steps:
        if step.condition is not None:
            problem = conditions.problem(step.condition.to_json(), step.step_number)
            if problem is not None:
                raise InvalidInput(f"{problem}.")
            _check_facts(step.condition, step.step_number, steps)


def of_template(template: CampaignTemplate) -> list[EmailStep | LinkedInStep]:
    """Returns the steps of a template, without their texts."""
    emails = [
        EmailStep(row.step_number, None, "", row.delay_hours, row.a_b_variant, row.is_active, condition=_of(row))
        for row in template.email_steps
    ]
    messages = [
        LinkedInStep(row.step_number, LinkedInStepType(row.type), None, row.delay_hours, row.is_active, _of(row))
        for row in template.linkedin_steps
    ]
    return [*emails, *messages]


def _of(row: EmailSequence | LinkedInSequence) -> Condition | None:
    """Returns the condition of a step. One that can't be read pauses its campaigns, and is replaced with the step."""
    kept = row.condition
    return None if kept is None or conditions.problem(kept, row.step_number) else conditions.of_json(kept)


def _check_facts(condition: Condition, number: int, steps: Sequence[EmailStep | LinkedInStep]) -> None:
    where, fact = f"when of step {number}", condition.fact
    if fact in OF_STEPS:
        told_by = {step.step_number for step in steps if _tells(step, fact) and step.step_number < number}
        asked = condition.step_number
        if not told_by or (asked is not None and asked not in told_by):
            which = ", ".join(map(str, sorted(told_by))) or "none"
            raise InvalidInput(
                f"{where}: {fact} is asked of {_ASKED_OF[fact]} before step {number}"
                f"{'' if asked is None else f', and step {asked} is none'}. Such steps: {which}."
            )
    if fact is Fact.VARIANT:
        names = sorted({step.a_b_variant for step in steps if isinstance(step, EmailStep) and step.a_b_variant})
        if (condition.is_ or condition.not_) not in names:
            raise InvalidInput(
                f"{where}: the template has no such variant. Its variants: {', '.join(names) or 'none'}."
            )


def _tells(step: EmailStep | LinkedInStep, fact: Fact) -> bool:
    if fact is Fact.ACCEPTED:
        return isinstance(step, LinkedInStep) and step.type is LinkedInStepType.CONNECTION_REQUEST
    return isinstance(step, EmailStep)


def of_webhooks(steps: Sequence[EmailStep | LinkedInStep]) -> list[str]:
    """Returns warnings about conditions on what providers' webhooks alone tell, for a server that has none."""
    return [
        f"when of step {step.step_number}: {step.condition.fact} comes from the webhooks of a provider alone, and this "
        "server has none set up (SALES_AUTOMATION_WEBHOOK_...), so the condition counts as if nobody did."
        for step in steps
        if step.condition is not None and step.is_active and step.condition.fact in FROM_WEBHOOKS
    ]
