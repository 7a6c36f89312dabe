"""A text can't take more than its share of memory."""

import tracemalloc

import pytest

from db.domain.errors import InvalidInput
from db.services.rendering import OutOfBounds, check, render

Y = "a" * 400


@pytest.mark.parametrize(
    "text",
    [
        '{{ y | replace: "a", y | replace: "a", y }}',
        '{{ y | split: "" | join: y | split: "" | join: y }}',
        "{{ y" + " | base64_encode" * 40 + " }}",
    ],
    ids=["replace", "join", "encode"],
)
def test_a_chain_of_filters_is_stopped_before_it_takes_memory(text: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="too large"):
            render(text, {"y": Y}, "body of step 1")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


def test_filters_within_the_limits_do_what_they_do() -> None:
    text = '{{ y | replace: "b", "c" | split: "," | join: "-" | upcase }} {{ z | default: "none" | append: "!" }}'
    assert render(text, {"y": "a,b"}, "body") == "A-C none!"


@pytest.mark.parametrize(
    "text",
    [
        "{{ attributes.seats | plus: 1 | times: 0.5 }}",
        "{% for i in (1..attributes.seats) %}{{ i }}{% endfor %}",
        "{{ attributes }} {{ attributes.tags.first }} {{ attributes.tags | join: ', ' }} {{ attributes['a b'].c }}",
        "{% for tag in attributes.tags %}{{ tag.name | date: '%B' }}{% endfor %}{% if nick.size > 3 %}!{% endif %}",
    ],
)
def test_a_text_is_not_refused_for_what_only_a_person_can_tell(text: str) -> None:
    check(text, "body of step 1")


def test_a_text_that_passes_the_limits_for_anybody_is_refused() -> None:
    with pytest.raises(OutOfBounds, match="body of step 1"):
        check("{{ attributes.a.b }}{% for i in (1..2000) %}{% endfor %}", "body of step 1")
