"""Which addresses a text mentions, and which it only seems to."""

import base64
import json

import pytest
from email_validator import validate_email
from hypothesis import given, strategies as st

from db.domain.addresses import (
    addresses_in,
    domain_in_ascii,
    domain_in_unicode,
    normalise_email,
    normalise_linkedin_url,
)
from db.domain.contacts import CONSENT, strength
from db.domain.errors import InvalidInput
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


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("https://www.linkedin.com/in/jose\u0301", "jos\u00e9"),
        ("linkedin.com/in/jos%C3%A9/", "jos\u00e9"),
        ("linkedin.com/in/jose%CC%81", "jos\u00e9"),
        ("LINKEDIN.COM/IN/JOS\u00c9", "jos\u00e9"),
        ("de.linkedin.com/in/jane-doe.", "jane-doe"),
        ("(https://www.linkedin.com/in/jane-doe),", "jane-doe"),
        ("<linkedin.com/in/jane-doe>", "jane-doe"),
        ("linkedin.com/in/jane-doe&trk=1", "jane-doe"),
        ("linkedin.com/in/jane-doe/&trk=1", "jane-doe"),
        ("https://www.linkedin.com/comm/in/jane-doe?trk=x", "jane-doe"),
        ("https://www.linkedin.com/mwlite/in/jane-doe/en", "jane-doe"),
        ("https://www.linkedin.com./in/jane-doe\u200b", "jane-doe"),
        ("linkedin.com/in/ACoAABcD_eF-9", "ACoAABcD_eF-9"),
        ("linkedin.com/in/acoaabcd", "acoaabcd"),
    ],
)
def test_a_profile_has_one_spelling(spelling: str, name: str) -> None:
    normal = normalise_linkedin_url(spelling)
    assert normal == f"https://www.linkedin.com/in/{name}"
    assert normalise_linkedin_url(normal) == normal
    assert addresses_in(f"see {normal}, please") == {normal.lower()}


@pytest.mark.parametrize(
    "url", ["linkedin.com/in/.", "linkedin.com/in/&x", "linkedin.com/comm/jane", "linkedin.com/in"]
)
def test_no_profile_is_made_of_what_stands_around_one(url: str) -> None:
    with pytest.raises(InvalidInput, match="person's profile"):
        normalise_linkedin_url(url)


@pytest.mark.parametrize(
    ("spelling", "normal"),
    [
        ("Jose\u0301@Fa\u00df.example", "jos\u00e9@fa\u00df.example"),
        ("jos\u00e9@XN--FA-HIA.example", "jos\u00e9@fa\u00df.example"),
        ("a@xn--ff.example", "a@xn--ff.example"),
        # Composed only in lower case.
        ("J\u030co@example.com", "\u01f0o@example.com"),
    ],
)
def test_an_email_has_one_spelling(spelling: str, normal: str) -> None:
    assert normalise_email(spelling) == normal
    assert normalise_email(normal) == normal
    assert normal in addresses_in(f"to <{spelling}>!")


@pytest.mark.parametrize("domain", ["fa\u00df.example", "b\u00fccher.example", "\u03b5\u03c2.example", "plain.example"])
def test_a_domain_in_punycode_is_as_other_programs_write_it(domain: str) -> None:
    assert (
        domain_in_ascii(domain)
        == validate_email(f"a@{domain}", check_deliverability=False, test_environment=True).ascii_domain
    )
    assert domain_in_unicode(domain_in_ascii(domain)) == domain


@pytest.mark.parametrize("host", ["evil-linkedin.com", "notlinkedin.com", "linkedin.com.example.com", "linkedin.co"])
def test_a_profile_of_another_site_is_refused(host: str) -> None:
    with pytest.raises(InvalidInput, match="must be a person's profile"):
        normalise_linkedin_url(f"https://{host}/in/jane-doe")


@pytest.mark.parametrize("text", ["linkedin.com", "linkedin.com/in/", "linked.example/in/jane", "linkedin.com/x/y"])
def test_what_is_no_profile_is_not_found(text: str) -> None:
    assert addresses_in(text) == set()


@given(st.text(), st.from_regex(r"[a-z0-9]{1,20}@[a-z0-9]{1,20}\.example", fullmatch=True), st.text())
def test_an_address_between_spaces_is_always_found(before: str, email: str, after: str) -> None:
    assert email in addresses_in(f"{before} {email} {after}")


def test_a_wish_outweighs_a_bounce_and_a_bounce_a_note_by_hand() -> None:
    assert sorted(SuppressionReason, key=strength)[:2] == [SuppressionReason.MANUAL, SuppressionReason.BOUNCED]
    assert {strength(reason) for reason in CONSENT} == {2}


ENCODED = {
    "line break": "Hi\\nmia@k.example",
    "tab": "a\\tmia@k.example",
    "JSON in JSON": json.dumps(json.dumps({"t": "Hi\nmia@k.example"})),
    "escapes": "mia\\u0040k.example",
    "percent": "mia%40k.example",
    "percent twice": "mia%2540k.example",
    "HTML": "&lt;mia&#64;k.example&gt;",
    "base64": base64.b64encode(b"to: mia@k.example\n").decode(),
    "base64 for URLs": base64.urlsafe_b64encode("\u00ff\u00fe mia@k.example>".encode()).decode().rstrip("="),
    "base64 in lines": json.dumps(
        base64.encodebytes(b"To: somebody who reads all of their mail by evening, mia@k.example").decode()
    ),
    "base64 before a line": base64.b64encode(b"to mia@k.example").decode() + "\nAnother",
    "base64 in a path": "https://l.example/stop/" + base64.urlsafe_b64encode(b"mia@k.example").decode(),
    "percent in base64": base64.b64encode(b"to=mia%40k.example").decode(),
    "quoted-printable": "mia=40k.example",
    "a line that goes on": "to mia@k.exa=\r\nmple",
    "a line of JSON that goes on": json.dumps(json.dumps("to mia@=\r\nk.example")),
    "quoted-printable in base64": base64.b64encode(b"to <mia@k.e=\nxample>").decode(),
    "italics": "_mia@k.example_",
    "list": "-mia@k.example",
    "name behind": "mia@k.example-Mia",
    "query": "x?to=mia@k.example&y",
}


@pytest.mark.parametrize("text", ENCODED.values(), ids=ENCODED.keys())
def test_an_address_is_found_in_every_encoding(text: str) -> None:
    assert "mia@k.example" in addresses_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "Met linkedin.com/in/mia.",
        "https:\\/\\/www.linkedin.com\\/in\\/mia",
        "linkedin.com%2Fin%2Fmia",
        "_linkedin.com/in/mia_",
        base64.b64encode(b"see https://linkedin.com/in/mia").decode(),
        "see <linked=\r\nin.com/in/mia>",
    ],
)
def test_a_profile_is_found_in_every_encoding(text: str) -> None:
    assert "https://www.linkedin.com/in/mia" in addresses_in(text)
