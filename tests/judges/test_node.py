"""How the judges come, and what is said when they can't."""

from pathlib import Path

import pytest

from tests.support.judges.node import PACKAGES, Unavailable, node


def test_without_the_registry_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(Unavailable, match=r"^npm can't install the judges: .*$"):
        node()
    assert [path for path in tmp_path.rglob("node_modules") if path.is_dir()] == []


def test_every_judge_is_pinned_to_one_version() -> None:
    assert all(version[0].isdigit() and not set(version) & set("^~*x ") for version in PACKAGES.values())
