"""The faults of bench/mutations.toml can still be put back, so that the table says something."""

from pathlib import Path

import pytest

from bench.mutations import ROOT, CannotTry, Edit, Mutation, apply, chosen_of, mutations, noticed_in, try_out

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


@pytest.mark.parametrize(
    ("edit", "test", "word", "detail"),
    [
        (("1", "2"), "test_it.py", "noticed", "test_it.py::test_one"),
        (("a remark", "the same"), "test_it.py", "SURVIVED", ""),
        (("2", "3"), "test_it.py", "UNTRIED", "0 times instead of once"),
        (("1", "2"), "test_gone.py", "UNTRIED", "pytest ended with 4"),
    ],
)
def test_a_mutation_is_noticed_survives_or_can_not_be_tried(
    tmp_path: Path, edit: tuple[str, str], test: str, word: str, detail: str
) -> None:
    text = "def one():\n    return 1  # a remark\n"
    (tmp_path / "it.py").write_text(text, encoding="utf-8")
    (tmp_path / "test_it.py").write_text("import it\ndef test_one():\n    assert it.one() == 1\n", encoding="utf-8")
    verdict = try_out(Mutation("a fault", (Edit("it.py", *edit),), (test,)), tmp_path)
    assert (verdict.word, verdict.name) == (word, "a fault")
    assert detail in verdict.detail
    assert (tmp_path / "it.py").read_text(encoding="utf-8") == text


def test_a_run_takes_those_that_are_meant_and_were_not_noticed_before(tmp_path: Path) -> None:
    names = [mutation.name for mutation in chosen_of(["local/job_", "Jitter"], MUTATIONS)]
    assert "pauses before a further try have no jitter" in names
    assert "a job fails on a lease that ran out" in names
    assert "lists show archived templates" not in names
    record = tmp_path / "record.tsv"
    assert noticed_in(record) == set()
    record.write_text("noticed\t3\tone\ttests/a.py::test\nSURVIVED\t2\ttwo\t\n", encoding="utf-8")
    assert noticed_in(record) == {"one"}
