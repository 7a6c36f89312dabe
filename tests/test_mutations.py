"""The faults of bench/mutations.toml can still be put back, so that the table says something."""

from pathlib import Path

import pytest

from bench.mutations import ROOT, CannotTry, Mutation, apply, mutations

MUTATIONS = mutations()


def copy_files(mutation: Mutation, target: Path) -> None:
    for edit in mutation.edits:
        path = target / edit.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((ROOT / edit.file).read_text(encoding="utf-8"), encoding="utf-8")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_finds_its_text_once_and_changes_it(mutation: Mutation, tmp_path: Path) -> None:
    copy_files(mutation, tmp_path)
    apply(mutation, tmp_path)
    for edit in mutation.edits:
        assert (tmp_path / edit.file).read_text(encoding="utf-8") != (ROOT / edit.file).read_text(encoding="utf-8")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_names_tests_that_exist(mutation: Mutation) -> None:
    assert mutation.tests
    for test in mutation.tests:
        file, *names = test.split("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert all(f"def {name.split('[')[0]}(" in text for name in names), test


def test_no_two_mutations_share_a_name() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


def test_a_mutation_whose_text_is_gone_is_told(tmp_path: Path) -> None:
    mutation = MUTATIONS[0]
    copy_files(mutation, tmp_path)
    apply(mutation, tmp_path)
    with pytest.raises(CannotTry, match="0 times instead of once"):
        apply(mutation, tmp_path)
