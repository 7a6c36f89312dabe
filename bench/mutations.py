"""Put the faults of bench/mutations.toml back, one at a time, and see that a test fails with each.

    python -m bench.mutations [--jobs N] [--list] [--record FILE] [PART OF A NAME OR FILE ...]

Each fault is written into a temporary copy of the tree, where the tests that concern it run. It prints a table: the
verdict (`noticed`, `SURVIVED` or `UNTRIED`), the seconds, the name, and the test that noticed it or why it could not
be tried. It ends with 1 unless all were noticed. With --record the lines go to a file too, and what is noticed there
is not tried again, so that a run that was stopped goes on.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
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


class Verdict(NamedTuple):
    """What came of a mutation: noticed, SURVIVED or UNTRIED, in how many seconds, and by which test or why."""

    word: str
    seconds: int
    name: str
    detail: str


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


def _failures(tests: Sequence[str], root: Path, *, first_only: bool) -> list[str]:
    """Those of the tests that fail in that tree, by their names. CannotTry where pytest can't run them."""
    # With bytecode of its own, since two texts of one length, written in the same second, would share it.
    bytecode = tempfile.TemporaryDirectory(prefix="bytecode-", ignore_cleanup_errors=True)
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONPYCACHEPREFIX": bytecode.name}
    environment["HYPOTHESIS_PROFILE"] = "unshrunk"
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-n", "0", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            [*command, "-x"] if first_only else command,
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_PATIENCE if first_only else None,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [f"no end within {_PATIENCE} s"]
    finally:
        bytecode.cleanup()
    if done.returncode not in (0, 1):
        raise CannotTry(f"pytest ended with {done.returncode}: {(done.stdout + done.stderr).strip().splitlines()[-1:]}")
    return re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)


def try_out(mutation: Mutation, root: Path) -> Verdict:
    """What the tests say of a mutation, in a copy of the tree that is left as it was."""
    began = time.monotonic()
    before = {edit.file: (root / edit.file).read_bytes() for edit in mutation.edits}
    try:
        apply(mutation, root)
        failures = _failures(mutation.tests, root, first_only=True)
        word, detail = ("noticed", failures[0]) if failures else ("SURVIVED", "")
    except CannotTry as error:
        word, detail = "UNTRIED", str(error)
    finally:
        for file, content in before.items():
            (root / file).write_bytes(content)
    return Verdict(word, round(time.monotonic() - began), mutation.name, detail)


def chosen_of(words: Iterable[str], table: Sequence[Mutation]) -> list[Mutation]:
    """Those whose name, or one of whose files, holds one of the words; all where no word is given."""
    given = [word.lower() for word in words]

    def is_meant(mutation: Mutation) -> bool:
        texts = [mutation.name.lower(), *(edit.file for edit in mutation.edits)]
        return any(word in text for word in given for text in texts)

    return [mutation for mutation in table if not given or is_meant(mutation)]


def noticed_in(record: Path) -> set[str]:
    """The names of the mutations that a record says were noticed."""
    lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    return {line.split("\t")[2] for line in lines if line.startswith("noticed\t")}


def _verdicts(chosen: Sequence[Mutation], jobs: int) -> Iterator[Verdict]:
    """A verdict for each, in their order. Tests that fail without any mutation say nothing with one."""
    trees = SimpleQueue[Path]()

    def work(mutation: Mutation) -> Verdict:
        if fail := [test for test in mutation.tests if any(name.startswith(test) for name in broken)]:
            return Verdict("UNTRIED", 0, mutation.name, f"fails without the mutation: {fail[0]}")
        tree = trees.get()
        try:
            return try_out(mutation, tree)
        finally:
            trees.put(tree)

    with tempfile.TemporaryDirectory(prefix="mutations-", ignore_cleanup_errors=True) as scratch:
        first, *others = [_copy_tree(Path(scratch, str(number))) for number in range(jobs)]
        broken = _failures(sorted({test for mutation in chosen for test in mutation.tests}), first, first_only=False)
        for tree in (first, *others):
            trees.put(tree)
        with ThreadPoolExecutor(jobs) as threads:
            yield from threads.map(work, chosen)


def main() -> int:
    parser = argparse.ArgumentParser(description="Put known faults back, and see that a test fails with each.")
    parser.add_argument("words", nargs="*", help="try those whose names or files hold one of these")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time, each with a PostgreSQL of its own")
    parser.add_argument("--list", action="store_true", help="name them, and try none")
    parser.add_argument("--record", type=Path, help="a file for the table; what is noticed there is not tried again")
    options = parser.parse_args()
    chosen = chosen_of(options.words, mutations())
    if options.list:
        print(*(f"{mutation.name}  ({mutation.edits[0].file})" for mutation in chosen), sep="\n")
        return 0
    known = noticed_in(options.record) if options.record else set[str]()
    told = Counter[str](noticed=sum(mutation.name in known for mutation in chosen))
    with ExitStack() as stack:
        record = stack.enter_context(options.record.open("a", encoding="utf-8")) if options.record else None
        for verdict in _verdicts([mutation for mutation in chosen if mutation.name not in known], options.jobs):
            told[verdict.word] += 1
            print(f"{verdict.word:<9}{verdict.seconds:>4} s  {verdict.name}  [{verdict.detail}]", flush=True)
            if record:
                print(*verdict, sep="\t", file=record, flush=True)
    print(*(f"{told[word]} {word}" for word in ("noticed", "SURVIVED", "UNTRIED")), sep=", ")
    return 0 if chosen and told["noticed"] == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
