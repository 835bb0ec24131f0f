from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import click
import pytest
from cli_cases import environment

from insitu import errors
from insitu.cli import verbs
from insitu.cli.failures import Terminated, guarded, say

HEAVY = ("torch", "pandas", "pyarrow", "zarr", "matplotlib", "scipy", "numba", "skimage", "pydantic", "h5py", "numpy")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"], [], ["rnu"]])
def test_the_front_door_imports_nothing_heavy(arguments):
    code = (
        "import sys\nfrom insitu.cli import main\n"
        f"main({arguments!r})\nprint('heavy:', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.splitlines()[-1] == "heavy: []"


@pytest.mark.parametrize("verb", ["info", "config", "models"])
def test_reading_verbs_do_not_import_torch(verb, movie):
    arguments = {"info": ["info", str(movie)], "config": ["config", "show"], "models": ["models", "list"]}[verb]
    code = f"import sys\nfrom insitu.cli import main\nassert main({arguments!r}) == 0\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.splitlines()[-1] == "False"


def test_a_bare_insitu_prints_the_few_commands_people_need(call):
    done = call()
    assert done.code == 0
    assert done.err == ""
    assert "insitu run MOVIE -o OUT" in done.out
    assert len(done.lines) < 12


def test_help_lists_every_verb_and_every_verb_has_help(call):
    listed = call("--help").out
    for verb in verbs.VERBS:
        assert f"  {verb}" in listed
        done = call(verb, "--help")
        assert done.code == 0
        assert f"Usage: insitu {verb}" in done.out


def test_version(call):
    import insitu

    assert call("--version").lines == [f"insitu {insitu.__version__}"]


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["rnu"], "unknown command 'rnu'", "did you mean 'run'?"),
        (["simualte"], "unknown command 'simualte'", "did you mean 'simulate'?"),
        (["qqqq"], "unknown command 'qqqq'", "commands are: demo, info, run"),
        (["config", "explan"], "unknown command 'config explan'", "did you mean 'explain'?"),
        (["models", "lst"], "unknown command 'models lst'", "did you mean 'list'?"),
        (["config"], "insitu config needs a command: show, explain, check", "see: insitu config --help"),
        (["run"], "insitu run needs PATH...", "see: insitu run --help"),
        (["config", "explain"], "insitu config explain needs KEY", "see: insitu config explain --help"),
        (["run", "m.tif", "--nm-per-pixel", "1"], "unknown option --nm-per-pixel", "did you mean --nm-per-px?"),
        (["run", "m.tif", "--fsp", "1"], "unknown option --fsp", "did you mean --fps?"),
        (
            ["run", "m.tif", "--search-range", "4"],
            "unknown option --search-range",
            "did you mean --set link.search_range",
        ),
        (["run", "m.tif", "--qqqq"], "unknown option --qqqq", "see: insitu run --help"),
        (["run", "m.tif", "--set"], "option '--set' requires an argument", "see: insitu"),
        (["run", "m.tif", "--on-bad", "ignore"], "--on-bad: 'ignore' is not one of 'skip', 'stop'", "see: insitu run"),
        (["run", "m.tif", "--nm-per-px", "x"], "--nm-per-px x is not a number", "write for example --nm-per-px"),
        (["run", "m.tif", "--fps", "0"], "--fps 0 is not above zero", "write for example --fps"),
        (["run", "m.tif", "--fps", "inf"], "--fps inf is not above zero", "write for example --fps"),
        (["run", "m.tif", "--fps", "nan"], "--fps nan is not above zero", "write for example --fps"),
        (["run", "m.tif", "--frames", "7"], "--frames 7 is not a:b:step", "write for example --frames 0:2000"),
        (["run", "m.tif", "--frames", "-3:"], "--frames -3: is not a:b:step", "write for example"),
        (["run", "m.tif", "--frames", "9:9"], "--frames 9:9 selects no frame", "start must lie below stop"),
        (["run", "m.tif", "--frames", "::0"], "--frames ::0 selects no frame", "start must lie below stop"),
        (
            ["run", "m.tif", "--set", "link.max_stp=2"],
            "unknown setting 'link.max_stp'",
            "did you mean 'link.search_range_px'?",
        ),
        (["run", "m.tif", "--set", "link.memory_frames"], "'link.memory_frames' is not key=value", "write for example"),
        (["run", "m.tif", "--preset", "fats"], "unknown preset 'fats'", "did you mean 'fast'?"),
        (["run", "m.tif", "--config", "no.toml"], "no settings file", "start one with: insitu config show"),
        (["run", "m.tif", "--resume", "--overwrite"], "--resume and --overwrite exclude each other", "give one"),
        (["evaluate", "r"], "a run is compared with the truth of its simulation", "add --truth FOLDER"),
        (["models", "show", "clasical"], "no model 'clasical'", "did you mean 'classical'?"),
        (["simulate"], "insitu simulate needs OUT", "name the folder"),
        (["simulate", "s", "--shape", "3,4,5"], "--shape 3,4,5 is not height×width", "write for example --shape"),
        (["simulate", "s", "--set", "frmes=3"], "unknown setting 'frmes' of the simulation", "did you mean 'frames'?"),
        (["simulate", "s", "--set", "frames"], "'frames' is not name=value", "write for example"),
        (["simulate", "s", "--set", "mode=x"], 'mode = "x" (--set) is not allowed', "it must be one of bright-field"),
        (["simulate", "s", "--frames", "0"], "--frames: 0 is not in the range x>=1", "see: insitu simulate --help"),
    ],
)
def test_a_wrong_command_ends_with_two_lines_and_exit_2(call, tmp_path, arguments, message, hint):
    said, hinted = call(*arguments).refused(2)
    assert said.startswith(message)
    assert hinted.startswith(hint)
    assert list(tmp_path.iterdir()) == []


def test_a_movie_given_as_a_command_is_answered_with_run(call, movie):
    assert call(movie).refused(2) == (f"unknown command '{movie}'", f"to analyse it: insitu run {movie}")


def raising(error):
    @click.command()
    @click.option("--debug", is_flag=True, expose_value=False)
    def fails():
        raise error

    return fails


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (errors.CommandError("m", "h"), 2, "m"),
        (errors.InputError("m", "h"), 3, "m"),
        (errors.CalibrationError("m", "h"), 4, "m"),
        (errors.ResourceError("m", "h"), 6, "m"),
        (errors.InsituError("m", "h"), 1, "m"),
        (errors.InsituError("m", "h", 5), 5, "m"),
        (MemoryError(), 6, "memory exhausted"),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), 6, "no space left on the disk at '/data/x'"),
        (OSError(errno.EDQUOT, "Quota exceeded"), 6, "no space left on the disk"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated(), 143, "terminated"),
        (ZeroDivisionError("by zero"), 1, "ZeroDivisionError: by zero (test_failures.py:"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 3, "'x' cannot be used: Permission denied"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x"), 3, "'x' cannot be used: File name too long"),
        (PermissionError(errno.EACCES, "Permission denied"), 1, "PermissionError"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x"), 1, "FileNotFoundError"),
    ],
)
def test_every_exception_becomes_two_lines_and_its_exit_code(capfd, error, code, message):
    assert guarded(raising(error), []) == code
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"error: {message}")
    assert lines[1].startswith("hint:  ")
    assert "Traceback" not in err


def test_a_bug_asks_for_debug_and_debug_shows_the_traceback(capfd):
    assert guarded(raising(ZeroDivisionError("by zero")), []) == 1
    assert "--debug" in capfd.readouterr().err
    assert guarded(raising(ZeroDivisionError("by zero")), ["--debug"]) == 1
    err = capfd.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-2].startswith("error: ")


def test_debug_after_two_dashes_is_an_argument(capfd):
    @click.command()
    @click.argument("word")
    def fails(word):
        raise ValueError(word)

    assert guarded(fails, ["--", "--debug"]) == 1
    assert "Traceback" not in capfd.readouterr().err


def test_an_error_stays_two_lines_whatever_is_in_it(capfd):
    say("a name with\na line break", "and\r\nanother")
    assert capfd.readouterr().err == "error: a name with a line break\nhint:  and another\n"


def test_system_exit_passes_its_code(capfd):
    assert guarded(raising(SystemExit(7)), []) == 7
    assert guarded(raising(SystemExit()), []) == 0


def test_the_signal_handler_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    guarded(raising(ValueError("x")), [])
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigterm_ends_a_verb_with_143(capfd):
    @click.command()
    def waits():
        os.kill(os.getpid(), signal.SIGTERM)

    assert guarded(waits, []) == 143
    assert capfd.readouterr().err.startswith("error: terminated")


def test_a_reader_that_goes_away_is_not_our_error():
    command = [sys.executable, "-c", "from insitu.cli import main; import sys; sys.exit(main(['config', 'show']))"]
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env=environment(), check=False)
    finally:
        os.close(write)
    assert done.stderr == b""
    assert done.returncode == 141


def test_names_that_are_no_text_do_not_spoil_the_output(tmp_path):
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.toml")
    with open(strange, "w", encoding="utf-8") as file:  # noqa: PTH123 - the name is not text
        file.write("[link]\nmemory_frames = 1\n")
    command = [sys.executable, "-m", "insitu", "config", "check", strange]
    for encoding in ("utf-8", "latin-1", "ascii"):
        env = {**environment(), "PYTHONIOENCODING": encoding}
        done = subprocess.run(command, capture_output=True, env=env, check=False)
        assert done.returncode == 0, done.stderr
        assert b"is valid" in done.stdout


def test_a_long_bug_is_cut(capfd):
    guarded(raising(RuntimeError("x" * 1000)), [])
    assert len(capfd.readouterr().err.splitlines()[0]) < 400
