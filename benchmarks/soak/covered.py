"""How much of what must not lose a frame the tests go through: statements and branches of the store, loop and readers.

Engines that tests start are measured too; one that is killed with ``kill -9`` tells nothing. Functions compiled by
numba are left out, because nothing can trace them: tests compare each with a slow reference.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / ".coverage"
ROOMS = {"insitu/store": "insitu/store/*", "insitu/pipeline.py": "insitu/pipeline.py", "insitu/read": "insitu/read/*"}
LEAST = 95.0
TESTS = (
    "tests/store", "tests/read", "tests/watch", "tests/coarsening/test_study.py", "tests/test_pipeline.py",
    "tests/test_results.py", "tests/test_check_reader.py", "tests/test_intake.py", "tests/test_sensor_join.py",
    "tests/distributed/test_slurm.py", "tests/distributed/test_team.py", "tests/cli/test_watch.py",
    "tests/cli/test_log.py", "tests/reliability",
)  # fmt: skip


def covered(tests: list[str] | None = None, *, more: bool = False) -> dict[str, float]:
    """Run the tests under coverage and return the per cent of each room; `more`: on top of what was run before."""
    if not more:
        _coverage("erase")
    tested = _coverage("run", "-m", "pytest", "-m", "not slow", *(tests or TESTS), check=False)
    _coverage("combine", "--append", "--quiet", check=False)  # nothing to combine where a test run left one file
    return {"failed test runs": int(tested != 0)} | {f"{room}, %": _per_cent(files) for room, files in ROOMS.items()}


def _per_cent(files: str) -> float:
    report = DATA.with_name(".coverage.json")
    _coverage("json", "--quiet", "--include", files, "-o", str(report))
    found = json.loads(report.read_text(encoding="utf-8"))["totals"]["percent_covered"]
    report.unlink()
    return round(float(found), 2)


def _coverage(*arguments: str, check: bool = True) -> int:
    environment = os.environ | {"COVERAGE_FILE": str(DATA), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "coverage", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=check).returncode
