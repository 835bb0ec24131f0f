"""The order of fsync and rename as the kernel sees it: data, its name, its folder, and only then the line."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CALL = re.compile(r"(?:\d+ +)?(\w+)\((.*)\) += ")


@pytest.mark.skipif(not shutil.which("strace"), reason="NO STRACE: the order of system calls cannot be seen here")
def test_data_then_name_then_folder_then_line(tmp_path):
    out, trace = tmp_path / "run", tmp_path / "trace"
    program = "import sys; from store_cases import analyse, info; analyse(info(sys.argv[1]), frames=6, unit=3)"
    traced = "trace=fsync,fdatasync,rename,renameat,renameat2,write"
    command = ["strace", "-f", "-y", "-qq", "-e", traced, "-o", str(trace), sys.executable, "-c", program, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    if "PTRACE" in done.stderr or "ptrace" in done.stderr:
        pytest.skip(f"NO PTRACE: {done.stderr[:100]}")
    assert done.returncode == 0, done.stderr
    calls = [m.groups() for m in map(CALL.match, trace.read_text(errors="replace").splitlines()) if m]
    lines = [i for i, (name, what) in enumerate(calls) if name == "write" and "/run/commits.jsonl>" in what]
    assert len(lines) >= 3
    for first, line in zip([0, *lines], lines, strict=False):
        assert calls[line + 1][0] == "fsync"
        assert "/run/commits.jsonl>" in calls[line + 1][1]
        before = calls[first:line]
        for at, (name, what) in enumerate(before):
            if name.startswith("rename") and "/run/" in what:
                old, new = re.findall(r'"([^"]+)"', what)
                synced = [w for n, w in before[:at] if n == "fsync"]
                assert any(f"{old}>" in w for w in synced), f"{old} was renamed before it was on the disk"
                folder = new.rsplit("/", 1)[0]
                after = [w for n, w in before[at:] if n == "fsync"]
                assert any(f"{folder}>" in w for w in after), f"the name {new} was not on the disk before the line"
