"""A text can't take more than its share of work: what no person's values can mend is refused, the rest is stopped."""

import tracemalloc

import pytest

from db.domain.errors import InvalidInput
from db.services.texts.liquid import OutOfBounds, check, needs, render
from db.services.texts.liquid_work import SECONDS_MAX, WORK_MAX, Work


def rounds(text: str, count: int = 1_000) -> str:
    return f"{{% for i in (1..{count}) %}}{text}{{% endfor %}}"


ENDLESS = {
    "range": "{{ (1..1000000000) | reverse | first }}",
    "sum": "{{ (1..1000000000000) | sum }}",
    "reversed": "{% for i in (1..1000000000) reversed %}{% break %}{% endfor %}",
    "offset": "{% for i in (1..10000000000) offset: 9999999990 %}{% endfor %}",
    "contains": "{% assign r = (1..1000000000000) %}{% if r contains 'x' %}{% endif %}",
    "encode": rounds("{{ first_name" + " | url_encode | url_decode" * 60 + " }}"),
    "times": "{% assign x = 12345678901 %}" + "{% assign x = x | times: x %}" * 60 + "{{ x }}",
    "nodes": rounds("{{''}}" * 6_000),
    "branches": rounds("{% if 1 == 2 %}" + "{% elsif 1 == 2 %}" * 2_500 + "{% endif %}"),
    "loops": rounds("") * 1_200,
    "rows": "{% tablerow i in (1..1000) %}{% if i %}{% endif %}{% endtablerow %}" * 800,
    "assigned": rounds("".join(f"{{% assign a{number} = 1 %}}" for number in range(1_800))),
}


@pytest.mark.parametrize("text", ENDLESS.values(), ids=ENDLESS)
def test_a_text_that_takes_too_much_work_for_anybody_is_refused(text: str) -> None:
    with pytest.raises(OutOfBounds, match="body of step 1 is too large or loops too long"):
        check(text, "body of step 1")


def test_a_range_is_refused_before_it_takes_memory() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(OutOfBounds, match="more than 1,000 elements"):
            check("{{ (1..3000000) | reverse | first }}", "body of step 1")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


VALUES = {
    "big": "a" * 60_000,
    "end": "b" + "a" * 30_000,
    "angles": "<" * 60_000 + ">",
    "tags": [f"tag {number}" for number in range(8_000)],
    "nested": [[["x"] * 50] * 20] * 20,
    "last": 100_000_000,
}
HEAVY = {
    "range": "{{ (1..last) | sum }}",
    "uniq": "{{ tags | uniq | size }}",
    "characters": "{{ big | split: '' | uniq | size }}",
    "html": "{{ angles | strip_html | size }}",
    "backwards": "{{ big | remove_last: end | size }}",
    "date": "{{ 'now' | date: big | size }}",
    "concat": "{% assign x = tags" + " | concat: tags" * 60 + " | size %}{{ x }}",
    "contains": rounds("{% if big contains end %}{% endif %}"),
    "equal": rounds("{% if nested == nested %}{% endif %}"),
    "sizes": rounds("{% assign x = nested | size %}"),
    "captured": rounds("{% capture x %}{{ big }}{% endcapture %}"),
}


@pytest.mark.parametrize("text", HEAVY.values(), ids=HEAVY)
def test_a_text_that_takes_too_much_work_for_somebody_is_stopped(text: str) -> None:
    check(text.replace("(1..last)", "(1..attributes.last)"), "body of step 1")
    with pytest.raises(OutOfBounds, match="body of step 1 is too large or loops too long"):
        render(text, VALUES, "body of step 1")


def test_a_long_text_of_a_long_list_is_rendered() -> None:
    seats = [{"name": f"Seat {number}", "price": number} for number in range(500)]
    line = "{{ forloop.index }}. {{ seat.name | upcase }}: {{ seat.price | times: 2 }} EUR\n"
    text = "{% for seat in attributes.seats %}{% if seat.price > 3 %}" + line + "{% endif %}{% endfor %}"
    assert render(text, {"attributes": {"seats": seats}}, "body").endswith("500. SEAT 499: 998 EUR\n")


def test_work_ends_when_the_processor_has_worked_on_it_too_long() -> None:
    now = [0.0]
    work = Work(clock=lambda: now[0])
    work.spend(WORK_MAX // 2)
    now[0] = SECONDS_MAX + 1
    with pytest.raises(Exception, match="takes too long"):
        work.spend(WORK_MAX // 2)


UNREADABLE = {
    "parentheses": "{{ " + "(" * 12_000 + "1 }}",
    "brackets": "{{ a" + "['" * 12_000 + " }}",
    "open": "{{" + " " * 49_000,
    "empty": "{{" + " " * 49_000 + "}}",
    "spaces": "{% endif" + " " * 49_000 + "%}",
    "lines": "{% liquid echo a" + " " * 49_000 + "b %}",
    "raw": "{% raw %}" * 5_000,
    "doc": "{% doc %}" * 5_000,
    "and": "{% if " + "a and " * 8_000 + "a %}{% endif %}",
    "blocks": "{% if a %}" * 4_000,
}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_a_text_that_is_nested_or_left_open_is_refused_before_it_is_read(text: str) -> None:
    refusal = r"body of step 1 is (not a valid Liquid template|nested too deeply)"
    with pytest.raises(InvalidInput, match=refusal):
        check(text, "body of step 1")
    with pytest.raises(InvalidInput, match=refusal):
        needs(text, "body of step 1")
    with pytest.raises(InvalidInput, match=refusal):
        render(text, {}, "body of step 1")


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("{% raw %}{{ {% ( {% endraw %}{{ 'b' }}", "{{ {% ( b"),
        ("{%- raw -%}{{{%- endraw -%}", "{{"),
        ("{% doc %} {{ {% enddoc %}a", "a"),
        ("{%   if   true   %}{{   'a'   }}{%   endif   %}", "a"),
        ("{{ a[b['c']] }} { % } }}", "e { % } }}"),
    ],
)
def test_what_is_closed_is_read(text: str, made: str) -> None:
    assert render(text, {"a": {"d": "e"}, "b": {"c": "d"}}, "body") == made


@pytest.mark.parametrize("name", ["context", "environment"])
def test_a_filter_takes_nothing_that_is_not_the_texts_to_give(name: str) -> None:
    with pytest.raises(InvalidInput, match="body of step 1 can't be rendered"):
        render(f"{{{{ 'a' | escape: {name}: 1 }}}}", {}, "body of step 1")


def test_a_refusal_quotes_little_and_nothing_that_cannot_be_kept() -> None:
    text = "{{ '%00' | url_decode | append: big | uniq: 'a' }}"
    with pytest.raises(InvalidInput) as refused:
        render(text, {"big": "a" * 50_000}, "body of step 1")
    assert "\x00" not in str(refused.value)
    assert len(str(refused.value)) < 500
