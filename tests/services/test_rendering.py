"""A text can't take more than its share of memory."""

import tracemalloc

import pytest

from db.domain.errors import InvalidInput
from db.services.texts.liquid import MissingVariable, OutOfBounds, check, render

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


FRIENDS = {"a": {"none": [], "some": [{"name": "Bo"}, {"nick": "Al"}], "word": "w"}}


@pytest.mark.parametrize(
    "found",
    [
        "a.none | first",
        "a.none | last",
        "a.word | first",
        "a.some | map: 'age' | first",
        "a.some | map: 'name' | last",
        "a.some | where: 'name', 'Cy' | first",
        "a.some | reject: 'name' | reject: 'nick' | last",
        "a.some | find: 'name', 'Cy'",
        "a.some | find_index: 'name', 'Cy'",
        "a.none | compact | first",
    ],
)
def test_a_filter_that_finds_nothing_leaves_no_hole(found: str) -> None:
    with pytest.raises(MissingVariable, match=r"body of step 1: the filter .* finds nothing"):
        render(f"Hello {{{{ {found} }}}}, welcome", FRIENDS, "body of step 1")
    assert render(f'{{{{ {found} | default: "you" }}}}', FRIENDS, "body") == "you"
    asked = f"{{% assign x = {found} %}}{{% if x %}}{{{{ x }}}}{{% else %}}you{{% endif %}}"
    assert render(asked, FRIENDS, "body") == "you"


@pytest.mark.parametrize("hole", ["a.some | map: 'name'", "a.some | map: 'name' | join: ', '", "b | date: '%B'"])
def test_a_filter_makes_no_text_of_what_is_not_there(hole: str) -> None:
    with pytest.raises(MissingVariable):
        render(f"Hello {{{{ {hole} }}}}, welcome", FRIENDS, "body of step 1")


def test_filters_go_on_with_what_they_find() -> None:
    text = (
        "{{ a.some | map: 'name' | compact | join }} {{ a.some | map: 'age' | compact | size }} {{ a.none | size }} "
        "{{ a.some | has: 'name', 'Cy' }} {{ a.some | find_index: 'nick' }} {{ a.some | sum: 'age' }} "
        "{% for name in names %}{{ name }}{% endfor %}{{ b | default: 'you' }}"
    )
    assert render(text, FRIENDS | {"names": []}, "body") == "Bo 0 0 false 1 0 you"


def test_a_filter_that_finds_nothing_in_a_word_hides_no_endless_loop() -> None:
    with pytest.raises(OutOfBounds, match="body of step 1"):
        check("{{ attributes.tags | first }}{% for i in (1..2000) %}{% endfor %}", "body of step 1")


ODD = {"people": [{"name": "Bo"}, {}], "word": "word", "endless": "inf", "digits": "9" * 5_000, "less": -1}


@pytest.mark.parametrize(
    "text",
    [
        "{{ people | compact: 'name' | size }}",
        "{{ word | uniq: 9 }}",
        "{{ word | sum }}",
        "{{ word | base64_decode }}",
        "{{ endless | floor }}",
        "{{ endless | minus: endless }}",
        "{{ digits | date: '%B' }}",
        "{% for one in people limit: less %}{% endfor %}",
        "{% tablerow one in people cols: people %}{% endtablerow %}",
    ],
)
def test_a_value_that_a_filter_or_tag_fails_on_stops_its_text_alone(text: str) -> None:
    with pytest.raises(InvalidInput, match="body of step 1 can't be rendered"):
        render(text, ODD, "body of step 1")
    check(text, "body of step 1")
