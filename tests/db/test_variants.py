"""Who gets which variant: ones own where the step has it, and an even split whatever the steps call theirs."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import given, settings, strategies as st

from db.domain.scheduling import (
    Recipient,
    Step,
    choose,
    draw_variant,
    next_step,
    stage_after,
    stage_of,
    step_for,
    variants,
)
from db.domain.states import Channel

CAMPAIGN, PERSON = UUID(int=1), UUID(int=3)
PEOPLE = 1_000

quick = settings(max_examples=50, deadline=None, database=None)
campaigns = st.uuids()
names = st.lists(st.sampled_from("ABCXYZ"), min_size=1, max_size=4, unique=True)


def varied(stages: Sequence[Sequence[str]]) -> list[Step]:
    return [
        Step(number, Channel.EMAIL, 0, name) for number, stage in enumerate(stages, start=1) for name in sorted(stage)
    ]


def people(campaign: UUID, steps: Sequence[Step]) -> list[Recipient]:
    """As they are enrolled while the template has these steps."""
    contacts = [UUID(int=number) for number in range(PEOPLE)]
    return [Recipient(campaign, contact, draw_variant(variants(steps), campaign, contact)) for contact in contacts]


def assert_even(taken: Sequence[str | None], stage: Sequence[str]) -> None:
    """Eight standard deviations to either side, so chance alone never fails it."""
    assert set(taken) <= set(stage)
    share = 1 / len(stage)
    margin = 8 * (PEOPLE * share * (1 - share)) ** 0.5
    for name in stage:
        assert abs(list(taken).count(name) - PEOPLE * share) <= margin


def taken_at(steps: Sequence[Step], number: int, recipients: Sequence[Recipient]) -> list[str | None]:
    stage = stage_of(steps, number)
    return [step.a_b_variant for recipient in recipients if (step := choose(stage, recipient))]


@quick
@given(campaigns, st.lists(names, min_size=1, max_size=4))
def test_every_step_is_split_evenly_whatever_its_variants_are_called(campaign: UUID, stages: list[list[str]]) -> None:
    steps = varied(stages)
    recipients = people(campaign, steps)
    for number, stage in enumerate(stages, start=1):
        taken = taken_at(steps, number, recipients)
        assert_even(taken, stage)
        for recipient, name in zip(recipients, taken, strict=True):
            assert name == recipient.a_b_variant or recipient.a_b_variant not in stage
            step = next_step(steps, number - 1, recipient)
            assert step == step_for(steps, number, recipient)
            # Whoever is yet to be enrolled is shown what they will get.
            assert step == step_for(steps, number, Recipient(campaign, recipient.contact_id))


@quick
@given(campaigns, names, names)
def test_a_test_that_is_added_later_is_split_evenly_among_those_without_its_variants(
    campaign: UUID, before: list[str], after: list[str]
) -> None:
    steps = varied([before, after])
    assert_even(taken_at(steps, 2, [Recipient(campaign, UUID(int=number)) for number in range(PEOPLE)]), after)
    strangers = [variant for variant in after if variant not in before]
    if strangers:
        assert_even(taken_at(varied([before, strangers]), 2, people(campaign, varied([before]))), strangers)


def test_tests_of_different_names_say_nothing_of_each_other() -> None:
    steps = varied(["AB", "XY"])
    recipients = people(CAMPAIGN, steps)
    pairs = Counter(zip(taken_at(steps, 1, recipients), taken_at(steps, 2, recipients), strict=True))
    assert len(pairs) == 4
    assert all(190 < count < 310 for count in pairs.values())


def test_tests_of_the_same_names_are_taken_alike() -> None:
    steps = varied(["AB", "XY", "XY"])
    recipients = people(CAMPAIGN, steps)
    assert taken_at(steps, 2, recipients) == taken_at(steps, 3, recipients)
    assert stage_after(steps, 3) == {}


VARIED = [
    Step(1, Channel.EMAIL, 0, "A"),
    Step(1, Channel.EMAIL, 2, "B"),
    Step(3, Channel.LINKEDIN, 5),
    Step(7, Channel.EMAIL, 9, "B"),
]


@pytest.mark.parametrize(
    ("number", "variant", "delay"),
    [(1, "A", 0), (1, "B", 2), (3, "A", 5), (3, None, 5), (7, "A", 9), (7, None, 9), (2, "A", None)],
)
def test_the_step_of_a_number_is_ones_own_variant_else_the_shared_one_or_the_last_left(
    number: int, variant: str | None, delay: int | None
) -> None:
    step = step_for(VARIED, number, Recipient(CAMPAIGN, PERSON, variant))
    assert (step.delay_hours if step else None) == delay


@pytest.mark.parametrize(("current", "number"), [(0, 1), (1, 3), (2, 3), (3, 7), (6, 7), (7, None), (8, None)])
def test_the_next_step_skips_numbers_that_are_not_there(current: int, number: int | None) -> None:
    step = next_step(VARIED, current, Recipient(CAMPAIGN, PERSON, "B"))
    assert (step.step_number if step else None) == number
    assert next_step([], current, Recipient(CAMPAIGN, PERSON, "B")) is None
    assert variants(VARIED) == ("A", "B")


def test_variants_are_split_evenly_and_stay() -> None:
    people = [UUID(int=number) for number in range(6_000)]
    given_ = [draw_variant(("A", "B", "C"), CAMPAIGN, person) for person in people]
    assert all(1_850 < count < 2_150 for count in Counter(given_).values())
    assert given_ == [draw_variant(("A", "B", "C"), CAMPAIGN, person) for person in people]
    assert draw_variant((), CAMPAIGN, PERSON) is None
    assert draw_variant(("A",), CAMPAIGN, PERSON) == "A"


def test_the_variant_in_one_campaign_says_nothing_of_that_in_another() -> None:
    people = [UUID(int=number) for number in range(4_000)]
    names = ("A", "B")
    same = sum(draw_variant(names, CAMPAIGN, person) == draw_variant(names, UUID(int=9), person) for person in people)
    assert 1_850 < same < 2_150
