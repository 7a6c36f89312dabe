"""What reads text from outside takes a time that grows with the text: a long word must not hold the interpreter."""

import gc
import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from db.domain import texts
from db.domain.addresses import addresses_in, normalise_linkedin_url
from db.domain.encodings import runs
from db.domain.errors import InvalidInput
from db.domain.placeholders import foreign_placeholders
from db.local.redaction import Redactor
from db.services.texts import liquid
from mcp_server.jobs import people_files
from mcp_server.process.logs import JsonLines
from mcp_server.schemas.faults import explain
from mcp_server.webhooks.parsing import parse

SIZE = 2_000
# Ten times the text takes ten times the time, and a hundred times where it is read again from each of its characters.
MOST = 30
ROUNDS = 10


def log(text: str) -> str:
    return JsonLines().format(logging.makeLogRecord({"msg": text, "args": (), "fact": text}))


def redact(text: str) -> object:
    return Redactor({"ann@example.com", "https://www.linkedin.com/in/ann"}).redact([text, {text: f"a,b\nann,{text}"}])


def check(text: str) -> object:
    try:
        return liquid.check(text, "body")
    except InvalidInput as error:
        return error


def needs(text: str) -> object:
    try:
        return liquid.needs(text, "body")
    except InvalidInput as error:
        return error


def read_table(text: str) -> object:
    try:
        return people_files.read_table(text)
    except InvalidInput as error:
        return error


def profile(text: str) -> object:
    try:
        return normalise_linkedin_url(text)
    except InvalidInput as error:
        return error


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


def refuse(text: str) -> str:
    with pytest.raises(ValidationError) as refused:
        Strict.model_validate_json(text)
    return "\n".join(explain(refused.value))


WORDS: dict[str, Callable[[int], str]] = {
    "word": lambda size: "a" * size,
    "word and address": lambda size: "a" * size + " b@example.com",
    "ats": lambda size: "@" * size,
    "addresses": lambda size: "a@b.c!" * (size // 6),
    "halves": lambda size: "a@b" * (size // 3),
    "marks": lambda size: "!a" * (size // 2) + "@example.com",
    "dots": lambda size: "a." * (size // 2) + " b@example.com linkedin",
    "domains": lambda size: "@a." + "a." * (size // 2),
    "punycode": lambda size: "b@xn--" + "a" * size + "-9999.example",
    "urls": lambda size: "://a:" * (size // 5) + " b@c",
    "passwords": lambda size: "://a:b@" * (size // 7),
    "bearers": lambda size: "Bearer " * (size // 7),
    "profiles": lambda size: "linkedin.com/in/a " * (size // 18),
    "profile": lambda size: "linkedin.com/" + "m/" * (size // 2) + "in/ann",
    "hosts": lambda size: "linkedin." * (size // 9),
    "percents": lambda size: "%41" * (size // 3) + "@",
    "accents": lambda size: "@linkedin.com/in/a" + "\u0327\u0301" * (size // 2),
    "base64": lambda size: "bWlhQGsuZXhhbXBsZQ" * (size // 18),
    "lines of base64": lambda size: ("bWlhQGsu" * 8 + "\n") * (size // 65),
    "path": lambda size: "bWlhQGsu/" * (size // 9),
    "lines that go on": lambda size: "a@=\r\n" * (size // 5),
    "quoted": lambda size: "=40" * (size // 3),
    "slashes": lambda size: "\\" * size,
    "spaces": lambda size: " " * size + "@",
    "brackets": lambda size: "]" * size + "@",
    "open brackets": lambda size: "[a" * (size // 2) + "{a" * (size // 2) + "{{" * (size // 2),
    "marks of fields": lambda size: "%a" * (size // 4) + "<<" * (size // 4) + "*|" * (size // 4) + "%%=" * (size // 4),
    "tags": lambda size: "{% a %}" * (size // 7),
}
READERS: dict[str, Callable[[str], object]] = {
    "addresses_in": addresses_in,
    "normalise_linkedin_url": profile,
    "log": log,
    "redact": redact,
    "runs": lambda text: [*runs(text)],
    "one_line": texts.one_line,
    "is_blank": texts.is_blank,
    "foreign_placeholders": foreign_placeholders,
    "parse": lambda text: parse(texts.without_halves(json.dumps([text]).encode(), b"x")),
}
TEMPLATES: dict[str, Callable[[int], str]] = {
    "parentheses": lambda size: "{{ " + "(" * size + " }}",
    "brackets": lambda size: "{{ a" + "['" * (size // 2) + " }}",
    "outputs": lambda size: "{{a}}" * (size // 5),
    "open": lambda size: "{{" + " " * size,
    "empty": lambda size: "{{" + " " * size + "}}",
    "spaces": lambda size: "{% endif" + " " * size + "%}",
    "lines": lambda size: "{% liquid echo a" + " " * size + "b %}",
    "raw": lambda size: "{% raw %}" * (size // 9),
    "whens": lambda size: "{% case a %}{% when " + "b," * (size // 2) + "c %}{% endcase %}",
}
TABLES: dict[str, Callable[[int], str]] = {
    "columns": lambda size: ",".join(["email", *(f"c{index}" for index in range(size // 5))]),
    "same": lambda size: "email" + ",a" * (size // 2),
    "rows": lambda size: "email\n" + "a@b.c\n" * (size // 6),
    "quotes": lambda size: "email\n" + '"a"""' * (size // 5),
    "cells": lambda size: "email\n" + "," * size,
    "open quotes": lambda size: "email\n" + 'x","y""\n' * (size // 2),
}
ARGUMENTS: dict[str, Callable[[int], str]] = {
    "unknown": lambda size: json.dumps({f"a{index}": index for index in range(size)}),
    "long": lambda size: json.dumps({"a" * size: 1}),
}
CASES: list[tuple[str, Callable[[str], object], str, Callable[[int], str]]] = [
    *((reader, read, word, make) for reader, read in READERS.items() for word, make in WORDS.items()),
    *(("check", check, name, make) for name, make in TEMPLATES.items()),
    *(("needs", needs, name, make) for name, make in TEMPLATES.items()),
    *(("read_table", read_table, name, make) for name, make in TABLES.items()),
    *(("explain", refuse, name, make) for name, make in ARGUMENTS.items()),
]


@pytest.fixture
def without_collections() -> Iterator[None]:
    """No garbage collection: it visits what all other tests left, and longer texts pay for it more often."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def seconds(read: Callable[[str], object], text: str) -> float:
    """Of work by this thread; a tenth of a millisecond is too little to compare."""
    begun = time.thread_time()
    read(text)
    return max(time.thread_time() - begun, 1e-4)


def growth(read: Callable[[str], object], make: Callable[[int], str]) -> float:
    """Returns how many times longer ten times the text takes.

    A busy machine makes one measurement slow, a quadratic reader all of them, so the lowest of some rounds counts.
    """
    lowest = float("inf")
    for _ in range(ROUNDS):
        short = max(seconds(read, make(SIZE)) for _ in range(2))
        lowest = min(lowest, seconds(read, make(10 * SIZE)) / short)
        if lowest <= MOST:
            break
    return lowest


@pytest.mark.usefixtures("without_collections")
@pytest.mark.parametrize("reader", sorted({case[0] for case in CASES}))
def test_ten_times_the_text_takes_no_more_than_some_ten_times_the_time(reader: str) -> None:
    slow: dict[str, Any] = {}
    for name, read, word, make in CASES:
        if name == reader and (ratio := growth(read, make)) > MOST:
            slow[word] = round(ratio)
    assert slow == {}


def test_a_refusal_of_many_arguments_names_the_first_and_counts_the_rest() -> None:
    said = refuse(json.dumps({f"argument {index}": 1 for index in range(30_000)})).splitlines()
    assert said[0] == "argument 0: is not known: take it out, or correct its name"
    assert said[-1] == "and 29,950 more faults"
    assert len(said) == 51


def test_a_csv_of_too_many_columns_is_refused_with_the_number() -> None:
    header = ",".join(["email", *(f"c{index}" for index in range(1_000))])
    with pytest.raises(InvalidInput, match="names 1,001 columns, and may name 1,000"):
        people_files.read_table(header)
    assert len(people_files.read_table(header.removesuffix(",c999")).columns) == 1_000
