"""The generated regions of the pages: between `<!-- generated: NAME -->` and `<!-- /generated -->`."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs"

_REGION = re.compile(r"<!-- generated: (?P<name>[a-z-]+) -->\n(?P<text>.*?)<!-- /generated -->\n", re.DOTALL)


def regions(page: str) -> dict[str, str]:
    """Name -> text of the regions of a page."""
    return {found["name"]: found["text"] for found in _REGION.finditer(page)}


def written_anew(page: str, texts: Mapping[str, str]) -> str:
    """The page with these texts in its regions. KeyError for a region that nobody writes."""
    return _REGION.sub(
        lambda found: f"<!-- generated: {found['name']} -->\n{texts[found['name']]}<!-- /generated -->\n", page
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
