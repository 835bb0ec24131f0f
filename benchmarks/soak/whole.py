"""Every part of the soak, as many beside each other as there are cores, each in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

# the longest first, so that none is left alone at the end; `make coverage` does its part by itself
ORDER = ("tests", "kills", "frames", "failpoints", "fuzz", "power", "corrupt", "full")
_SLOW = ["-m", "pytest", "-m", "slow", "--timeout", "3600", "-rA"]


def whole(jobs: int) -> dict[str, int]:
    """Run all parts and print what they print, each line behind the name of its part; return how it went."""
    began = time.monotonic()
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        ends = dict(zip(ORDER, pool.map(_part, ORDER), strict=True))
    bad = [name for name, code in ends.items() if code]
    for name in bad:
        print(f"part {name} ended with exit code {ends[name]}", flush=True)
    minutes = -(-(time.monotonic() - began) // 60)
    return {"parts": len(ends), "failed parts": len(bad), "beside each other": jobs, "minutes": int(minutes)}


def slow_tests(names: list[str]) -> dict[str, int]:
    """Run the slow tests; return how many passed, failed and were skipped."""
    code, said = _told("tests", [sys.executable, *_SLOW, *names])
    counts = dict.fromkeys(("passed", "failed", "error", "skipped"), 0)
    for number, name in re.findall(r"(\d+) (passed|failed|error|skipped)", said[-1] if said else ""):
        counts[name] = int(number)
    if code == 0 and not counts["passed"]:
        raise RuntimeError("pytest passed without a test")
    wrong = counts["failed"] + counts["error"] or int(code != 0)
    return {"tests passed": counts["passed"], "tests skipped": counts["skipped"], "failed tests": wrong}


def _part(name: str) -> int:
    return _told(name, [sys.executable, "-m", "benchmarks.soak", name])[0]


def _told(name: str, command: list[str]) -> tuple[int, list[str]]:
    """Run a command; print its lines as they come, return its exit code and the lines."""
    lines = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as child:  # fmt: skip
        for line in child.stdout or ():
            lines.append(line.rstrip())
            print(f"[{name}] {lines[-1]}" if not line.startswith("[") else lines[-1], flush=True)
    return child.returncode, lines
