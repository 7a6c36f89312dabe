"""Works that several processes do at the same moment."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.patience import PATIENCE

ROOT = Path(__file__).parent.parent.parent


def race(database_url: str, *works: dict[str, Any], patience: float = PATIENCE) -> list[list[str]]:
    """Do all the works at the same moment, each in a process of its own; their answers."""
    command = [sys.executable, "-m", "tests.support.race_process", database_url]
    racers = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in works
    ]
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer, work in zip(racers, works, strict=True):
            assert racer.stdin is not None
            racer.stdin.write(f"{json.dumps(work)}\n")
            racer.stdin.flush()
        answers: list[list[str]] = []
        for racer in racers:
            said, _ = racer.communicate(timeout=patience)
            assert racer.returncode == 0
            answers.append(json.loads(said))
        return answers
    finally:
        for racer in racers:
            if racer.poll() is None:
                racer.kill()
                racer.communicate()
