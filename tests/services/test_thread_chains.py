"""Whatever becomes of the steps of a person, a mail answers the mails of its thread that were sent, and no others."""

from typing import NamedTuple
from uuid import UUID

from hypothesis import given, settings, strategies as st

from db.domain import threads
from db.domain.field_limits import INTERNET_MESSAGE_ID_MAX
from db.domain.scheduling import Plan, Recipient, Step, next_step
from db.domain.states import Channel, LinkedInStepType
from db.domain.threads import SentMail
from db.models import Contact
from db.services.campaigns.step_texts import Campaign, Source, Texts
from db.services.state.message_rows import SentStep

CAMPAIGN, TEMPLATE, PERSON = UUID(int=1), UUID(int=2), UUID(int=3)


class Written(NamedTuple):
    """A step of a template, and what becomes of it."""

    channel: Channel
    variants: tuple[str | None, ...]
    has_subject: bool
    new_thread: bool
    is_sent: bool
    id_changes: bool
    is_kept: bool


STEP = st.builds(
    Written,
    channel=st.sampled_from([Channel.EMAIL, Channel.EMAIL, Channel.EMAIL, Channel.LINKEDIN]),
    variants=st.sampled_from([(None,), ("A", "B"), ("B", "X")]),
    has_subject=st.booleans(),
    new_thread=st.sampled_from([False, False, True]),
    is_sent=st.booleans(),
    id_changes=st.booleans(),
    is_kept=st.sampled_from([True, True, True, False]),
)


def texts_of(written: list[Written]) -> Texts:
    first = next((at for at, step in enumerate(written, 1) if step.channel is Channel.EMAIL), 0)
    steps: list[Step] = []
    texts = Texts({CAMPAIGN: Plan(steps)}, None)
    texts.campaigns[CAMPAIGN], texts.message_domains[CAMPAIGN] = Campaign(TEMPLATE, "C", {}), "example.com"
    for number, step in enumerate(written, 1):
        if step.channel is Channel.LINKEDIN:
            steps.append(Step(number, step.channel, 0, None, LinkedInStepType.PROFILE_VISIT))
            texts.sources[TEMPLATE, number, None] = Source(LinkedInStepType.PROFILE_VISIT, None, None, new_thread=False)
            continue
        for variant in step.variants:
            steps.append(Step(number, step.channel, 0, variant))
            says = step.has_subject or step.new_thread or number == first
            subject = f"Step {number} {variant}" if says else None
            texts.sources[TEMPLATE, number, variant] = Source("email", subject, "A text", new_thread=step.new_thread)
    return texts


@settings(max_examples=300, deadline=None)
@given(written=st.lists(STEP, min_size=1, max_size=12), own=st.sampled_from([None, "A", "B", "X"]))
def test_a_mail_answers_the_mails_of_its_thread_that_were_sent(written: list[Written], own: str | None) -> None:
    texts, recipient = texts_of(written), Recipient(CAMPAIGN, PERSON, own)
    sent: list[SentStep] = []
    chain: list[str] = []
    opening: str | None = None  # the subject of the mail that begins the thread
    has_begun = False
    number = 0
    while (step := next_step(texts.plans[CAMPAIGN].steps, number, recipient)) is not None:
        number = step.step_number
        what = written[number - 1]
        text = texts.render(recipient, None, step, Contact(email="p@example.com", attributes={}), sent)
        if step.channel is Channel.LINKEDIN:
            assert text.headers is None
            continue
        source = texts.sources[TEMPLATE, number, step.a_b_variant]
        if what.new_thread or (opening is None and not has_begun):
            chain, opening, has_begun = [], source.subject, False
        fields = text.headers or {}
        assert fields.get("References", "").split() == [f"<{id_}>" for id_ in chain]
        assert fields.get("In-Reply-To", "").split() == [f"<{id_}>" for id_ in chain[-1:]]
        if source.subject is not None:
            assert text.subject == source.subject
        else:
            assert text.subject == (f"Re: {opening}" if has_begun else opening)
        if not what.is_sent:
            continue
        id_ = f"{number}@provider.example" if what.id_changes else f"{number}@example.com"
        if not has_begun and what.is_kept:
            opening = (text.subject or "").removeprefix("Re: ")
        has_begun = True
        mail = SentMail(id_, text.subject, text.new_thread) if what.is_kept else SentMail(None, None)
        chain += [id_] if what.is_kept else []
        sent.append(SentStep(number, step.a_b_variant, what.is_kept, mail))


@given(
    lengths=st.lists(st.integers(1, INTERNET_MESSAGE_ID_MAX - 4), max_size=120),
    new=st.sets(st.integers(0, 119), max_size=2),
)
def test_a_long_thread_is_named_by_its_first_mail_and_its_latest(lengths: list[int], new: set[int]) -> None:
    mails = [SentMail(f"{at:03}@" + "x" * length, None, at in new) for at, length in enumerate(lengths)]
    thread = threads.open_thread(mails)
    whole = [mail.internet_message_id for mail in thread]
    referred = threads.references(thread)
    assert len(referred) <= threads.REFERENCES_MAX
    assert sum(map(len, referred)) <= threads.REFERENCES_CHARACTERS_MAX + INTERNET_MESSAGE_ID_MAX
    if whole:
        assert referred[0] == whole[0]
        assert list(referred[1:]) == (whole[1:][-(len(referred) - 1) :] if len(referred) > 1 else [])
        assert [*referred][-1] == whole[-1]
    if (
        len(whole) <= threads.REFERENCES_MAX
        and sum(len(id_ or "") for id_ in whole) <= threads.REFERENCES_CHARACTERS_MAX
    ):
        assert list(referred) == whole
