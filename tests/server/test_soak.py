"""Three minutes of all work at once: see bench/soak.py."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_nothing_is_lost_doubled_or_miscounted_under_all_work_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.soak", "3"], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "yes  counters equal a recount" in done.stdout
