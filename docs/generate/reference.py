"""Writes the generated regions of docs/ again: `python -m docs.generate.reference --write`."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from docs.generate import commands, tables, tools
from docs.generate.regions import PAGES, regions, written_anew

WRITERS: Mapping[str, Callable[[], str]] = {
    "toolsets": tools.overview,
    "presets": tools.presets,
    "tools": tools.reference,
    "prompts": tables.prompts,
    "resources": tables.resources,
    "counters": tables.counters,
    "rates": tables.rates,
    "events": tables.events,
    "prometheus": tables.prometheus,
    "settings": tables.settings,
    "commands": commands.overview,
    "command-reference": commands.reference,
    "webhooks": tables.webhooks,
    "tables": tables.schema,
}
"""Region -> what writes it."""

COMMAND = "python -m docs.generate.reference --write"


def stale() -> dict[Path, str]:
    """The pages whose regions the code no longer agrees with, as they should be."""
    texts = {name: f"\n{write()}\n" for name, write in WRITERS.items()}
    pages = {path: path.read_text("utf-8") for path in sorted(PAGES.glob("*.md"))}
    again = {path: written_anew(page, texts) for path, page in pages.items()}
    return {path: page for path, page in again.items() if page != pages[path]}


def shown() -> set[str]:
    """The regions that some page has."""
    return {name for path in PAGES.glob("*.md") for name in regions(path.read_text("utf-8"))}


def main() -> int:
    """Write what is stale, or say it; 1 if something was stale and is so still."""
    pages = stale()
    writes = sys.argv[1:] == ["--write"]
    for path, page in pages.items():
        if writes:
            path.write_text(page, "utf-8")
        sys.stdout.write(f"{path.relative_to(PAGES.parent)} {'written' if writes else f'is stale: run {COMMAND}'}\n")
    return 1 if pages and not writes else 0


if __name__ == "__main__":
    raise SystemExit(main())
