"""The glossary: each word has a module that owns it, and says it."""

import re

import pytest

from docs.generate.regions import PAGES, ROOT

_ROW = re.compile(r"^\| (?P<word>[a-z -]+) \| (?P<meaning>.+) \| `(?P<module>[\w/.]+)` \|$", re.MULTILINE)
PAGE = (PAGES / "glossary.md").read_text("utf-8")
ROWS = [(found["word"], found["meaning"], found["module"]) for found in _ROW.finditer(PAGE)]


def test_every_row_is_read_and_the_words_stand_in_order() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    words = [word for word, _, _ in ROWS]
    assert len(words) == len(lines) - 2 > 40
    assert words == sorted(set(words))


@pytest.mark.parametrize(("word", "meaning", "module"), ROWS, ids=[word for word, _, _ in ROWS])
def test_a_word_has_a_module_that_says_it(word: str, meaning: str, module: str) -> None:
    assert meaning.endswith((".", "..."))
    assert word.replace("-", " ") in _words(f"{module} {(ROOT / module).read_text('utf-8')}")


def _words(text: str) -> str:
    """The words of a text, those of names too, in lower case."""
    return " ".join(re.findall(r"[A-Z]?[a-z]+", text)).lower()
