"""A divided run by hand and by a queue: the bytes of one process; nothing that a user wrote is run by a shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from distributed_cases import SETTINGS, digest, write_movie

from insitu.cli import main
from insitu.distributed.slurm import Script
from insitu.pipeline import process

SBATCH = """#!/usr/bin/env python3
import json, os, subprocess, sys
with open(os.environ["QUEUE"], "a") as queue:
    queue.write(json.dumps(sys.argv[1:]) + "\\n")
script = next(k for k, word in enumerate(sys.argv) if word.endswith(".slurm.sh"))
array = next((w.partition("=")[2] for w in sys.argv if w.startswith("--array=")), "0-0")
first, last = array.partition("%")[0].split("-")
for task in range(int(first), int(last) + 1):
    subprocess.run(["bash", *sys.argv[script:]], check=True, env=os.environ | {"SLURM_ARRAY_TASK_ID": str(task)})
print(f"{100 + sum(1 for _ in open(os.environ['QUEUE']))};cluster")
"""
PROGRAM = """#!/usr/bin/env python3
import json, os, sys
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a movie and a settings file whose names a careless script would run; a queue that runs at once."""
    for name, text in (("sbatch", SBATCH), ("program", PROGRAM)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("QUEUE", str(tmp_path / "queue"))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    here = tmp_path / "it's $(touch pwned) @runs@"
    here.mkdir()
    monkeypatch.chdir(here)
    Path("own.toml").write_text(SETTINGS.to_toml())
    write_movie(Path("a b.tif"))
    write_movie(Path("c;d.tif"), frames=9, seed=1)
    return here


def calls(folder):
    return [json.loads(line) for line in (folder.parent / "calls").read_text().splitlines()]


def test_the_script_does_what_one_process_does(folder, monkeypatch, capfd):
    real = sys.executable
    monkeypatch.setattr("insitu.distributed.slurm.sys.executable", str(folder.parent / "bin" / "program"))
    arguments = ["a b.tif", "c;d.tif", "-o", "out $HOME", "--config", "own.toml", "--range-frames", "8", "--tasks", "3"]
    assert main(["slurm", *arguments, "--sbatch", "--partition=gpu --time='1 day'", "--at-once", "2"]) == 0
    monkeypatch.setattr("insitu.distributed.slurm.sys.executable", real)
    script = Path(capfd.readouterr().out.strip())
    assert script == folder / "out $HOME.slurm.sh"
    done = subprocess.run(["bash", script], capture_output=True, text=True, cwd="/", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "submitted: plan 101, analyse 102, link 103\n"
    queued = [json.loads(line) for line in (folder.parent / "queue").read_text().splitlines()]
    assert all(words[words.index("--partition=gpu") :][:2] == ["--partition=gpu", "--time=1 day"] for words in queued)
    assert "--array=0-2%2" in queued[1]
    assert "--dependency=afterok:101" in queued[1]
    assert "--array=0-1" in queued[2]
    assert "--dependency=afterok:102" in queued[2]
    assert not list(folder.parent.rglob("pwned"))
    stages = calls(folder)
    assert [words[3] for words in stages] == ["plan", *["analyse"] * 3, *["link"] * 2]
    codes = [main(words[2:]) for words in stages]
    assert codes == [0, 0, 0, 0, 5, 0]  # the first movie has a bad frame
    for movie in ("a b", "c;d"):
        process(f"{movie}.tif", folder / "one" / movie, SETTINGS)
        assert digest(folder / "out $HOME" / movie) == digest(folder / "one" / movie)
    # submitted again after all is done: nothing happens
    capfd.readouterr()
    assert [main(words[2:]) for words in stages] == codes
    assert digest(folder / "out $HOME" / "a b") == digest(folder / "one" / "a b")


def test_without_options_of_sbatch_the_script_is_valid(folder):
    script = folder / "x.slurm.sh"
    script.write_text(Script(script, folder, ["-o", "x", "--", "m"], ["x"], 1).text())
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    wrong = subprocess.run(["bash", script, "plot"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("usage:")


def refused(capfd, *arguments):
    assert main([str(a) for a in arguments]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", "hint"], lines
    return lines[0].removeprefix("error: "), lines[1].removeprefix("hint:  ")


def test_what_is_missing_is_named(folder, capfd):
    assert main(["ranges", "plan", "a b.tif", "-o", "out", "--config", "own.toml", "--range-frames", "16"]) == 0
    capfd.readouterr()
    message, hint = refused(capfd, "ranges", "link", "out", "--quiet")
    assert message == "of 'out' 3 of 3 ranges are not analysed, the first: planes 0…15"
    assert hint == "insitu ranges analyse out"
    capfd.readouterr()
    assert main(["ranges", "analyse", "out", "--share", "1/2", "--quiet"]) == 0
    assert capfd.readouterr().out == "1 range analysed, 0 found from before\n"
    assert "2 of 3 ranges" in refused(capfd, "ranges", "link", "out", "--quiet")[0]
    assert main(["ranges", "analyse", "out", "--json"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["found"] for line in lines] == [False, True, False]
    assert main(["ranges", "link", "out", "--quiet"]) == 5
    process("a b.tif", "one", SETTINGS)
    assert digest(Path("out")) == digest(Path("one"))


def test_bad_commands_are_refused(folder, capfd):
    assert "not a planned run" in refused(capfd, "ranges", "analyse", "nowhere")[0]
    assert "--share 3/3 is not K/N" in refused(capfd, "ranges", "analyse", "nowhere", "--share", "3/3")[0]
    assert "--tasks 0 is not a whole number" in refused(capfd, "slurm", "a b.tif", "-o", "x", "--tasks", "0")[0]
    assert "--jobs 0 is not a whole number" in refused(capfd, "run", "a b.tif", "-o", "x", "--jobs", "0")[0]
    assert "--jobs two is not" in refused(capfd, "run", "a b.tif", "-o", "x", "--jobs", "two")[0]
    dask = "tcp://127.0.0.1:1"
    assert "--jobs is for workers" in refused(capfd, "run", "a b.tif", "-o", "x", "--jobs", "2", "--dask", dask)[0]
    assert "--live" in refused(capfd, "run", "a b.tif", "-o", "x", "--jobs", "2", "--live", "0")[0]
    assert "would both be written" in refused(capfd, "slurm", "a b.tif", folder / "a b.tif", "-o", "x")[0]
    assert "can be divided" in refused(capfd, "slurm", "a b.tif", "-o", "x", "--frames", "400:")[0]
    assert not Path("x").exists()
    Path("x.slurm.sh").write_text("mine")
    assert "exists" in refused(capfd, "slurm", "a b.tif", "-o", "x")[0]
    assert Path("x.slurm.sh").read_text() == "mine"
