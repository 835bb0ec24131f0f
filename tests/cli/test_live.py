"""``--live``: what a user types, reads and gets."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import pytest
from cli_cases import environment

from insitu.cli.console import Console
from insitu.cli.live import place, shown
from insitu.errors import CommandError

ADDRESS = re.compile(r"live page: (http://127\.0\.0\.1:(\d+)/#token=\S{24,})")
FAST = ("--model", "classical", "--set", "store.fsync=false")


@pytest.mark.parametrize(
    ("wish", "meant"),
    [
        ("here", ("127.0.0.1", None)),
        ("8000", ("127.0.0.1", 8000)),
        ("0", ("127.0.0.1", 0)),
        ("0.0.0.0:9", ("0.0.0.0", 9)),
        ("[::1]:9", ("::1", 9)),
    ],
)
def test_a_place_is_a_port_or_host_and_port(wish, meant):
    assert place(wish) == meant


@pytest.mark.parametrize("wish", ["movie.tif", "70000", "-1", "", "a:b:1", "0.0.0.0", "8765/", "８７６５"])
def test_anything_else_is_refused_with_the_right_form(wish):
    with pytest.raises(CommandError) as refused:
        place(wish)
    assert "is not a port" in refused.value.message
    assert "--live 8765" in refused.value.hint


def test_a_path_after_live_is_taken_for_a_port_and_said_so(call, movie, tmp_path):
    message, hint = call("run", movie, "-o", tmp_path / "r", "--live", "oops").refused(2)
    assert message == "--live oops is not a port"
    assert hint == "write for example --live 8765, or --live after the other arguments"
    assert not (tmp_path / "r").exists()


def test_without_the_extra_the_hint_is_how_to_get_it(call, movie, tmp_path, monkeypatch):
    monkeypatch.setattr("insitu.live.missing", lambda: ["starlette", "uvicorn"])
    message, hint = call("run", movie, "-o", tmp_path / "r", "--live").refused(2)
    assert message == "the live page needs starlette, uvicorn, which is not installed"
    assert hint == 'pip install "insitu[live]"'
    assert not (tmp_path / "r").exists()


def test_a_run_serves_a_page_and_says_where(call, movie, tmp_path):
    done = call("run", movie, "-o", tmp_path / "r", "--live", "0", *FAST)
    assert done.code == 0
    assert ADDRESS.search(done.err)
    assert done.lines[-1] == str((tmp_path / "r").resolve())


def test_json_lines_name_the_page_too(call, movie, tmp_path):
    done = call("run", movie, "-o", tmp_path / "r", "--live", "0", "--json", *FAST)
    lines = [json.loads(line) for line in done.lines]
    (live,) = [line for line in lines if line["type"] == "live"]
    assert urlsplit(live["address"]).hostname == "127.0.0.1"
    assert done.err == ""


def test_a_page_changes_nothing_in_the_results(call, movie, tmp_path):
    for out, more in (("with", ("--live", "0")), ("without", ())):
        assert call("run", movie, "-o", tmp_path / out, *more, *FAST).code == 0
    for name in ("particles", "tracks", "events", "frames"):
        with_page, without = (tmp_path / out / f"{name}.parquet" for out in ("with", "without"))
        assert with_page.read_bytes() == without.read_bytes()


def test_without_the_option_nothing_listens_and_nothing_of_it_is_loaded(movie, tmp_path):
    code = (
        "import sys; from insitu.cli import main\n"
        f"assert main(['run', {str(movie)!r}, '-o', {str(tmp_path / 'r')!r}, *{FAST!r}]) == 0\n"
        "import psutil; assert not psutil.Process().net_connections(); assert 'starlette' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environment())


def test_a_dry_run_serves_nothing(call, movie, tmp_path):
    assert "live page" not in call("run", movie, "-o", tmp_path / "r", "--dry-run", "--live").err


class Terminal(Console):
    """A console at a terminal, whose notes are kept."""

    def __init__(self):
        super().__init__(quiet=True)
        self.terminal, self.notes = True, []

    def note(self, text):
        self.notes.append(text)


def test_watching_at_a_terminal_shows_a_page_unasked(monkeypatch):
    console = Terminal()
    with shown(None, console, usual=True):
        assert ADDRESS.search(console.notes[-1])
    with shown(None, console, usual=False):
        assert len(console.notes) == 1
    monkeypatch.setattr("insitu.live.missing", lambda: ["uvicorn"])
    with shown(None, console, usual=True):
        assert console.notes[-1] == 'a page can show how it goes: pip install "insitu[live]"'


def test_watch_shows_the_page_while_it_waits_and_ends_with_ctrl_c(tmp_path, movie):
    """The page of a folder that does not exist yet: it waits, a mark is refused, the movie comes, it is done."""
    import tifffile

    command = [
        sys.executable,
        "-m",
        "insitu",
        "watch",
        str(tmp_path / "in"),
        "-o",
        str(tmp_path / "out"),
        "--live",
        "0",
        *FAST,
    ]
    frames = tifffile.imread(movie)
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        lines = []
        reading = threading.Thread(target=lambda: lines.extend(process.stderr))
        reading.start()
        try:
            address = _until(lambda: next((found for line in list(lines) if (found := ADDRESS.search(line))), None))
            where = urlsplit(address[1])
            assert _post(where, "early") == 409
            (tmp_path / "in").mkdir()
            for k, frame in enumerate(frames):
                tifffile.imwrite(tmp_path / "in" / f"f_{k:04}.tif", frame)
            _until(lambda: _post(where, "now") == 201)
            os.kill(process.pid, signal.SIGINT)
            assert process.wait(120) == 0
        finally:
            process.kill()
            reading.join()
    (mark,) = (tmp_path / "out" / "marks.jsonl").read_text().splitlines()
    assert json.loads(mark)["note"] == "now"


def _until(look, timeout_s=120.0):
    end = time.monotonic() + timeout_s
    while not (seen := look()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return seen


def _post(where, note):
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=20)
    headers = {"X-Insitu-Token": where.fragment.removeprefix("token=")}
    connection.request("POST", "/mark", json.dumps({"note": note}), headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_an_overwritten_run_loses_its_marks_a_resumed_one_keeps_them(call, movie, tmp_path):
    out = tmp_path / "r"
    assert call("run", movie, "-o", out, *FAST).code == 0
    (out / "marks.jsonl").write_text("{}\n")
    assert call("run", movie, "-o", out, "--resume", *FAST).code == 0
    assert (out / "marks.jsonl").exists()
    assert call("run", movie, "-o", out, "--overwrite", *FAST).code == 0
    assert not (out / "marks.jsonl").exists()
