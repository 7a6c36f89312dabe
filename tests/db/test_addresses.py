"""Which addresses a text mentions, and which it only seems to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.domain.contacts import CONSENT, addresses_in, strength
from db.domain.states import SuppressionReason

EMAIL = "ann.o'brien+x@mail.example.com"


@pytest.mark.parametrize(
    "text",
    [
        EMAIL,
        EMAIL.upper(),
        f"Ann <{EMAIL}>, and others",
        f"mailto:{EMAIL}?subject=x",
        f'"{EMAIL}";',
        f"({EMAIL}).",
        f"a\n{EMAIL}\tb",
        f"https://example.com/stop?email={EMAIL}&x=1",
        "https://example.com/stop?email=ann.o%27brien%2Bx%40mail.example.com",
        f"'{EMAIL}'",
    ],
)
def test_an_email_is_found_in_a_text(text: str) -> None:
    assert EMAIL in addresses_in(text)


@pytest.mark.parametrize(
    "text",
    [f"jo{EMAIL}", f"jo-{EMAIL}", f"{EMAIL}.au", "ann.o'brien+x@mail", "@mail.example.com", EMAIL[4:], "a @ b.c"],
)
def test_a_part_of_a_longer_address_is_not_found(text: str) -> None:
    assert EMAIL not in addresses_in(text)


def test_punycode_is_found_as_unicode() -> None:
    assert "a@bücher.example" in addresses_in("to a@xn--bcher-kva.example!")
    assert "a@xn--ff.example" in addresses_in("a@xn--ff.example")


@pytest.mark.parametrize(
    "text",
    [
        "https://www.linkedin.com/in/jane-doe",
        "see LinkedIn.com/in/Jane-Doe/?trk=x#y, or not",
        '{"url": "http://uk.linkedin.com/in/jane-doe"}',
    ],
)
def test_a_profile_is_found_in_a_text(text: str) -> None:
    assert addresses_in(text) == {"https://www.linkedin.com/in/jane-doe"}


@pytest.mark.parametrize("text", ["linkedin.com", "linkedin.com/in/", "linked.example/in/jane", "linkedin.com/x/y"])
def test_what_is_no_profile_is_not_found(text: str) -> None:
    assert addresses_in(text) == set()


@given(st.text(), st.from_regex(r"[a-z0-9]{1,20}@[a-z0-9]{1,20}\.example", fullmatch=True), st.text())
def test_an_address_between_spaces_is_always_found(before: str, email: str, after: str) -> None:
    assert email in addresses_in(f"{before} {email} {after}")


def test_a_wish_outweighs_a_bounce_and_a_bounce_a_note_by_hand() -> None:
    assert sorted(SuppressionReason, key=strength)[:2] == [SuppressionReason.MANUAL, SuppressionReason.BOUNCED]
    assert {strength(reason) for reason in CONSENT} == {2}
