"""Placeholders of other programs are seen in a text, and what only looks like one to a machine is not."""

import pytest

from db.domain.placeholders import foreign_placeholders

FOREIGN = [
    "[Name]", "[First Name]", "[FIRST_NAME]", "[firstname,fallback=there]", "[subscriber:name | default:reader]",
    "{first_name}", "{First Name}", "{$first_name}", "{!Contact.FirstName}", "{Hi|Hello|Hey there}", "${first_name}",
    "*|FNAME|*", "*|IF:FNAME|*", "%FIRSTNAME%", "%NAME%", "%ADDRESS%", "%%first_name%%", "%recipient.first_name%",
    "%%=v(@FirstName)=%%", "<<Name>>", "<< First Name >>", "<First Name>", "<%= first_name %>", "[%name%]", "[[name]]",
    "##NAME##", "#name#", "__FIRST_NAME__", "@@name@@", "$FNAME", "$first_name$", "«Name»", "« First Name »",
]  # fmt: skip
PLAIN = [
    "See [our site](https://example.com), [1] and [sic], or [...]", "array[i] = x[0]", "[a link][1] [note]: x",
    "50% off, and 20% of it; we grew 20%, then 30% more", "https://example.com/?q=%C3%BCber%20us&b=%E4bel%20",
    "M%C3%BCller%2C", "a <b>bold</b> <a href='x'>word</a> <ann@example.com>", "price $5, or 20$, or US$ 7",
    "C# and #1, #fun and #name", "« bonjour » «mot»", "body {color: red;}", '{"a": 1} {}', "x__init__ and __all__",
    "the name (first name last) and (title)", "100%sure%",
    "Hi {{ first_name }}, {{ company | default: '[your team]' }}{% if title == '{x}' %}, {{ title }}{% endif %}.",
]  # fmt: skip


@pytest.mark.parametrize("placeholder", FOREIGN)
def test_a_placeholder_of_another_program_is_seen(placeholder: str) -> None:
    (found,) = foreign_placeholders(f"{{{{ company }}}}: Hi {placeholder}, a note {{% if title %}}for you{{% endif %}}")
    assert found == placeholder


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_no_placeholder_is_left_alone(text: str) -> None:
    assert foreign_placeholders(text) == []


def test_each_is_told_once_and_five_at_most() -> None:
    assert foreign_placeholders("[Name] {city}, " * 3) == ["[Name]", "{city}"]
    assert len(foreign_placeholders(" ".join(f"{{field_{number}}}" for number in range(9)))) == 5


def test_a_tag_that_is_not_closed_hides_nothing() -> None:
    assert foreign_placeholders("{{ a }} {% raw %} {{ {name}") == ["{name}"]
