"""Put the faults of bench/mutations.toml back, one at a time, and see that a test fails with each.

    python -m bench.mutations [--jobs N] [PART OF A NAME ...]

Each fault is written into a temporary copy of the tree, where the tests that concern it run. It prints `noticed` or
`SURVIVED` for each, and a total; it ends with 1 if one survived, or could not be tried.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
TABLE = Path(__file__).with_suffix(".toml")
# Long enough for the slowest of the tests; what hangs because of a fault has noticed it.
_PATIENCE = 600
_TOP = ("db", "mcp_server", "migrations", "release", "tests", "bench", "docs")


class Edit(NamedTuple):
    """A text of one file, and what stands there instead."""

    file: str
    old: str
    new: str


class Mutation(NamedTuple):
    """A fault by its name: the edits that make it, and the tests one of which fails with it."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


class CannotTry(Exception):
    """The mutation says nothing: its text is gone, or the tests don't run with it."""


def mutations(table: Path = TABLE) -> list[Mutation]:
    """All mutations, in the order of the table."""
    return [_mutation(entry) for entry in tomllib.loads(table.read_text(encoding="utf-8"))["mutation"]]


def _mutation(entry: dict[str, Any]) -> Mutation:
    edits = [Edit(edit["file"], edit["old"], edit["new"]) for edit in (entry, *entry.get("also", []))]
    return Mutation(entry["name"], tuple(edits), tuple(entry["tests"]))


def apply(mutation: Mutation, root: Path) -> None:
    """Write the fault into the tree under `root`. CannotTry where an old text does not stand there exactly once."""
    for edit in mutation.edits:
        path = root / edit.file
        before = path.read_text(encoding="utf-8")
        count = before.count(edit.old)
        if count != 1:
            raise CannotTry(f"{edit.file} has the old text {count} times instead of once: {edit.old!r}")
        path.write_text(before.replace(edit.old, edit.new), encoding="utf-8")


def _copy_tree(target: Path) -> Path:
    for name in _TOP:
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copy2(path, target / path.name)
    return target


def _fails(tests: Sequence[str], root: Path) -> bool:
    """Whether one of the tests fails in that tree."""
    # Without bytecode, since two texts of one length, written in the same second, would share it.
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return True
    if done.returncode not in (0, 1):
        raise CannotTry(f"the tests can't be run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 1


def try_out(mutation: Mutation, root: Path) -> str:
    """What the tests say of a mutation, in a copy of the tree that is left as it was."""
    before = {edit.file: (root / edit.file).read_bytes() for edit in mutation.edits}
    try:
        apply(mutation, root)
        return "noticed" if _fails(mutation.tests, root) else "SURVIVED"
    except CannotTry as error:
        return f"CAN'T BE TRIED: {error}"
    finally:
        for file, content in before.items():
            (root / file).write_bytes(content)


def _chosen(words: Iterable[str]) -> list[Mutation]:
    given = [word.lower() for word in words]
    return [each for each in mutations() if not given or any(word in each.name.lower() for word in given)]


def main() -> int:
    parser = argparse.ArgumentParser(description="Put known faults back, and see that a test fails with each.")
    parser.add_argument("words", nargs="*", help="try those whose names hold one of these")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time, each with a PostgreSQL of its own")
    options = parser.parse_args()
    chosen = _chosen(options.words)
    trees = SimpleQueue[Path]()

    def work(mutation: Mutation) -> str:
        tree = trees.get()
        try:
            return try_out(mutation, tree)
        finally:
            trees.put(tree)

    told = Counter[str]()
    with tempfile.TemporaryDirectory(prefix="mutations-", ignore_cleanup_errors=True) as scratch:
        for number in range(options.jobs):
            trees.put(_copy_tree(Path(scratch, str(number))))
        first = trees.get()
        if _fails(sorted({test for mutation in chosen for test in mutation.tests}), first):
            print("The tests fail without any mutation. Mend them first.")
            return 1
        trees.put(first)
        with ThreadPoolExecutor(options.jobs) as threads:
            for mutation, verdict in zip(chosen, threads.map(work, chosen), strict=True):
                print(f"{verdict:<9} {mutation.name}", flush=True)
                told[verdict] += 1
    print(f"{told['noticed']} of {len(chosen)} were noticed, {told['SURVIVED']} survived.")
    return 0 if chosen and told["noticed"] == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
