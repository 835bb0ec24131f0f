from __future__ import annotations

import errno
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from cli_cases import environment
from PIL import Image

from insitu.cli import run as run_module
from insitu.cli.run import worst
from insitu.cli.sources import movies_of, natural, stem, targets
from insitu.errors import InputError
from insitu.progress import RunSummary
from insitu.results import open_run
from insitu.settings import read_file

FAST = ("--set", "store.fsync=false", "--set", "prepare.reference_frames=2")


@pytest.fixture
def faked(monkeypatch):
    """Replace the pipeline; the calls it got."""
    calls = []

    def process(source, out, settings, **options):
        calls.append((str(source), Path(out), settings, options))
        outcome = faked_outcomes.get(Path(source).name, 0)
        if isinstance(outcome, BaseException):
            raise outcome
        Path(out).mkdir(parents=True)
        return RunSummary(Path(out), outcome, 3, 3 - (outcome == 5), int(outcome == 5), 0, 7, 1, 0.5, 0)

    faked_outcomes = {}
    monkeypatch.setattr("insitu.pipeline.process", process)
    calls_and_outcomes = type("Faked", (), {"calls": calls, "outcomes": faked_outcomes})
    return calls_and_outcomes()


@pytest.fixture
def many(tmp_path):
    """A folder of three small movies and something else."""
    folder = tmp_path / "day"
    folder.mkdir()
    for name in ("run10.tif", "run2.tif", "run1.tif"):
        tifffile.imwrite(folder / name, np.zeros((3, 16, 16), np.uint8), photometric="minisblack")
    (folder / "notes.txt").write_text("beam off at 12", encoding="utf-8")
    return folder


def test_a_run_writes_its_folder_and_ends_with_its_absolute_path(spawn, movie, tmp_path):
    done = spawn("run", movie, "-o", "out", *FAST, cwd=tmp_path)
    assert done.code == 0, done.err
    assert done.lines[-1] == str(tmp_path / "out")
    assert "12 of 12 frames used" in done.lines[-2]
    assert "\r" not in done.out + done.err
    assert "\x1b" not in done.out + done.err
    assert "0.2 nm/px (ImageJ" in done.err.splitlines()[0]
    run = open_run(tmp_path / "out")
    assert run.finished
    assert len(run.particles) > 12
    assert read_file(tmp_path / "out" / "settings.toml").prepare.reference_frames == 2


def test_quiet_leaves_stderr_empty(call, movie, tmp_path):
    done = call("run", movie, "-o", tmp_path / "out", "--quiet", *FAST)
    assert (done.code, done.err) == (0, "")
    assert done.lines[-1] == str(tmp_path / "out")


def test_json_is_one_object_a_line_from_start_to_end(call, movie, tmp_path):
    done = call("run", movie, "-o", tmp_path / "out", "--json", *FAST)
    assert done.code == 0
    lines = [json.loads(line) for line in done.lines]
    assert {line["schema"] for line in lines} == {"insitu.cli/1"}
    assert lines[0]["type"] == "start"
    assert lines[0]["nm_source"].startswith("ImageJ")
    assert lines[-1]["type"] == "end"
    assert lines[-1]["exit_code"] == 0
    assert lines[-1]["out"] == str(tmp_path / "out")
    assert lines[-1]["events"] == sum(line["type"] == "event" for line in lines)
    progress = [line for line in lines if line["type"] == "progress"]
    assert progress[-1]["done"] == 12
    assert {"total", "frames_per_s", "eta_s", "particles", "events"} <= set(progress[-1])
    assert done.err == ""


def test_dry_run_says_what_would_be_done_and_writes_nothing(call, movie, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call("run", movie, "--dry-run", "--fps", 10, "--set", "link.memory_frames=9", "--frames", "2:9:3")
    assert done.code == 0
    for part in (
        "ImageJ TIFF",
        "3 of 12 frames",
        "96×112 px, uint16",
        "0.2 nm/px (ImageJ",
        "0.1 s/frame (given: --fps)",
        "link.memory_frames = 9  (--set)",
        "cpu",
        str(tmp_path / "movie.insitu"),
        "free)",
    ):
        assert part in done.out
    assert list(tmp_path.iterdir()) == []
    plan = json.loads(call("run", movie, "--dry-run", "--json").out)
    assert (plan["type"], plan["frames"], plan["device"]) == ("plan", 12, "cpu")
    assert 0 < plan["expected_bytes"] < plan["free_bytes"]


def test_the_estimate_of_bytes_is_right_within_a_factor_of_ten(call, movie, tmp_path):
    plan = json.loads(call("run", movie, "--dry-run", "--json").out)
    call("run", movie, "-o", tmp_path / "out", "--quiet", *FAST)
    names = ("particles.parquet", "labels.ome.zarr")
    files = [p for n in names for p in [tmp_path / "out" / n, *(tmp_path / "out" / n).rglob("*")] if p.is_file()]
    # a parquet file of a few rows is mostly its schema
    written = sum(p.stat().st_size for p in files) - 15_000
    assert written / 10 < plan["expected_bytes"] < written * 10


def test_a_run_that_exists_is_refused_before_anything_else(call, movie, tmp_path):
    out = tmp_path / "out"
    assert call("run", movie, "-o", out, "--quiet", *FAST).code == 0
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    message, hint = call("run", movie, "-o", out).refused(2)
    assert message.startswith(f"'{out}' exists (finished")
    assert "--resume" in hint
    assert "--overwrite" in hint
    assert call("run", movie, "-o", out, "--dry-run").code == 2
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
    assert call("run", movie, "-o", out, "--overwrite", "--quiet", *FAST).code == 0


def test_a_folder_that_is_no_run_is_never_overwritten(call, movie, tmp_path):
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter1.tex").write_text("words", encoding="utf-8")
    for option in ((), ("--overwrite",)):
        done = call("run", movie, "-o", out, "--quiet", *option)
        assert done.code == 2
        assert "is not an insitu run" in done.err
    assert [p.name for p in out.iterdir()] == ["chapter1.tex"]


def test_a_missing_movie_names_the_nearest_file(call, movie, tmp_path):
    message, hint = call("run", movie.with_name("movi.tif"), "-o", tmp_path / "out").refused(3)
    assert "movi.tif" in message
    assert hint == f"did you mean '{movie}'?"
    assert not (tmp_path / "out").exists()


def test_implausible_calibration_ends_with_4(call, movie, tmp_path):
    message, hint = call("run", movie, "-o", tmp_path / "out", "--nm-per-px", 5000).refused(4)
    assert "5000 nm/px lies outside" in message
    assert "--nm-per-px" in hint


def test_a_wrong_device_or_model_ends_with_2(call, movie, tmp_path):
    said = call("run", movie, "-o", tmp_path / "out", "--device", "gpu", "--quiet").refused(2)[0]
    assert said == "no device 'gpu'"
    said, hint = call("run", movie, "-o", tmp_path / "out", "--model", "clasical", "--quiet").refused(2)
    assert said == "no model 'clasical'"
    assert "did you mean 'classical'?" in hint
    assert not (tmp_path / "out").exists()


def test_frames_that_do_not_exist_end_with_2(call, movie, tmp_path):
    done = call("run", movie, "-o", tmp_path / "out", "--frames", "50:", "--quiet")
    assert done.code == 2
    assert not (tmp_path / "out").exists()


def test_options_reach_the_pipeline(call, faked, movie, tmp_path):
    options = "--nm-per-px 0.3 --fps 50 --model classical --device cpu --on-bad stop --preset fast --frames 1:9:2"
    done = call("run", movie, "-o", tmp_path / "out", *options.split(), "--set", "link.memory_frames=4", "--resume")
    assert done.code == 0
    [(source, out, settings, options)] = faked.calls
    assert (source, out) == (str(movie), tmp_path / "out")
    assert (settings.calibration.nm_per_px, settings.calibration.fps) == (0.3, 50.0)
    assert (settings.segment.model, settings.segment.device, settings.read.on_bad) == ("classical", "cpu", "stop")
    assert (settings.prepare.bin, settings.link.memory_frames) == (2, 4)
    assert (options["resume"], options["overwrite"]) == (True, False)
    selection = options["selection"]
    assert (selection.start, selection.stop, selection.step) == (1, 9, 2)


def test_several_movies_go_into_folders_of_their_own(call, faked, many, tmp_path):
    out = tmp_path / "results"
    done = call("run", many, "-o", out)
    assert done.code == 0
    assert [c[1] for c in faked.calls] == [out / "run1", out / "run2", out / "run10"]
    assert done.lines[-1] == str(out)
    assert str(out / "run10") in done.lines


@pytest.mark.parametrize("how", ["paths", "pattern", "one-match", "folder-of-one"])
def test_whatever_may_be_many_goes_to_out_stem(many, tmp_path, how):
    if how == "folder-of-one":
        (many / "run2.tif").unlink()
        (many / "run10.tif").unlink()
    paths = {
        "paths": (str(many / "run1.tif"), str(many / "run2.tif")),
        "pattern": (str(many / "run*.tif"),),
        "one-match": (str(many / "run10*"),),
        "folder-of-one": (str(many),),
    }[how]
    found, root = targets(paths, str(tmp_path / "o"))
    assert root == tmp_path / "o"
    expected = {"paths": [1, 2], "pattern": [1, 2, 10], "one-match": [10], "folder-of-one": [1]}[how]
    assert [t.out for t in found] == [tmp_path / "o" / f"run{k}" for k in expected]
    assert [Path(t.source).stem for t in found] == [t.out.name for t in found]


def test_one_movie_goes_into_out_itself_or_beside_the_user(movie, tmp_path):
    [one], root = targets((str(movie),), str(tmp_path / "o"))
    assert (one.out, root) == (tmp_path / "o", None)
    [one], root = targets((str(movie),), None)
    assert (one.out, root) == (Path("movie.insitu"), None)
    several, root = targets((str(movie), "x.tif"), None)
    assert [t.out for t in several] == [Path("movie.insitu"), Path("x.insitu")]


def test_equal_stems_are_refused_naming_both(call, many, tmp_path):
    other = many / "sub" / "run1.tif"
    other.parent.mkdir()
    other.write_bytes((many / "run1.tif").read_bytes())
    message, _ = call("run", many / "run1.tif", other, "-o", tmp_path / "o").refused(2)
    assert str(other) in message
    assert str(many / "run1.tif") in message
    assert not (tmp_path / "o").exists()


def test_a_pattern_or_folder_without_movies_is_refused(call, tmp_path):
    (tmp_path / "empty").mkdir()
    assert call("run", tmp_path / "q*.tif").refused(3)[0] == f"no file matches '{tmp_path / 'q*.tif'}'"
    assert "holds no images" in call("run", tmp_path / "empty").refused(3)[0]


def test_an_empty_path_is_refused(call, movie):
    for arguments in (("",), (movie, ""), (movie, "-o", "")):
        assert call("run", *arguments).refused(2)[0] == "an empty text is no path"


def test_one_bad_movie_does_not_stop_the_others_and_the_worst_code_wins(call, faked, many, tmp_path):
    faked.outcomes |= {"run1.tif": InputError("broken", "mend it"), "run2.tif": 5, "run10.tif": ValueError("a bug")}
    done = call("run", many, "-o", tmp_path / "o", "--quiet")
    assert [Path(c[0]).name for c in faked.calls] == ["run1.tif", "run2.tif", "run10.tif"]
    assert done.code == 1
    assert done.err.splitlines()[0] == "error: broken"
    assert "Traceback" not in done.err
    assert done.lines[-1] == str(tmp_path / "o")
    assert str(tmp_path / "o" / "run2") in done.lines


def test_a_full_disk_ends_the_whole_command(call, faked, many, tmp_path):
    faked.outcomes["run1.tif"] = OSError(28, "No space left on device")
    done = call("run", many, "-o", tmp_path / "o")
    assert done.code == 6
    assert len(faked.calls) == 1
    assert done.err.splitlines()[-1].endswith(f"{many / 'run1.tif'} ended with 6; 2 not begun")


def test_several_movies_are_counted_and_summed_up(call, faked, many, tmp_path):
    faked.outcomes |= {"run1.tif": InputError("broken", "mend it"), "run10.tif": 5}
    lines = call("run", many, "-o", tmp_path / "o").err.splitlines()
    assert [line for line in lines if line.startswith("movie ")] == [f"movie {k} of 3" for k in (1, 2, 3)]
    ended = f"{many / 'run1.tif'} ended with 3; {many / 'run10.tif'} ended with 5"
    assert lines[-1] == f"1 of 3 movies done without remark; {ended}"


@pytest.mark.parametrize(
    ("codes", "code"),
    [([0, 5], 5), ([5, 3], 3), ([3, 2], 2), ([2, 6], 6), ([6, 1], 1), ([0, 0], 0), ([], 0), ([4, 5], 4)],
)
def test_the_worst_of_several_codes(codes, code):
    assert worst(codes) == worst(codes[::-1]) == code


def test_bad_frames_end_with_5_and_are_told(call, movie, tmp_path):
    images = tifffile.imread(movie)
    images[4] = 0
    tifffile.imwrite(tmp_path / "holed.tif", images, photometric="minisblack", metadata={"axes": "TYX"})
    done = call("run", tmp_path / "holed.tif", "-o", tmp_path / "out", *FAST)
    assert done.code == 5
    assert "(1 bad, 0 missing)" in done.out
    assert "frame 4 cannot be used: all zero" in done.err
    lines = call("run", tmp_path / "holed.tif", "-o", tmp_path / "out2", "--json", *FAST).lines
    [problem] = [json.loads(line) for line in lines if '"problem"' in line]
    assert (problem["frame"], "all zero" in problem["reason"]) == (4, True)
    message, hint = call("run", tmp_path / "holed.tif", "-o", tmp_path / "o3", "--quiet", "--on-bad", "stop").refused(3)
    assert message.startswith("frame 4 of")
    assert "--on-bad skip" in hint


def test_little_disk_is_said_early(call, faked, movie, tmp_path, monkeypatch):
    monkeypatch.setattr("insitu.cli.preview.free_bytes", lambda place: 1000)
    done = call("run", movie, "-o", tmp_path / "out")
    assert done.code == 0
    assert "1 kB are free" in done.err
    lines = [json.loads(line) for line in call("run", movie, "-o", tmp_path / "o2", "--json").lines]
    assert [line["type"] for line in lines] == ["start", "problem", "end"]


def test_what_a_user_must_know_is_said_before_the_run(call, faked, movie, many, tmp_path):
    done = call("run", movie, "-o", tmp_path / "a")
    assert "note:" not in done.err
    done = call("run", movie, "-o", tmp_path / "b", "--nm-per-px", "20")
    assert "note: 20 nm/px is unusual for electron microscopy" in done.err
    done = call("run", many / "run1.tif", "-o", tmp_path / "c")
    assert "note: no pixel size is known: results are in px only" in done.err
    start = json.loads(call("run", many / "run1.tif", "-o", tmp_path / "d", "--json").lines[0])
    assert any("no pixel size" in note for note in start["notes"])


def test_a_finished_run_that_is_resumed_says_that_nothing_is_left_to_do(call, movie, tmp_path):
    assert call("run", movie, "-o", tmp_path / "out", "--quiet", *FAST).code == 0
    done = call("run", movie, "-o", tmp_path / "out", "--resume", *FAST)
    assert done.code == 0
    assert "note: " in done.err
    assert "resumed after 12 frames" in done.out
    assert done.lines[-1] == str(tmp_path / "out")


def test_asked_to_stop_a_run_stores_what_is_done_and_can_be_resumed(call, movie, tmp_path, monkeypatch):
    class Stops(run_module.Meter):
        def __call__(self, progress):
            super().__call__(progress)
            if progress.done == 5:
                os.kill(os.getpid(), signal.SIGTERM)

    out = tmp_path / "out"
    settings = (*FAST, "--set", "store.unit_frames=2")
    with monkeypatch.context() as patched:
        patched.setattr(run_module, "Meter", Stops)
        done = call("run", movie, "-o", out, *settings)
    assert done.code == 143
    assert done.err.splitlines()[-2] == f"error: terminated: results in '{out}' are valid to frame 4"
    assert "--resume" in done.err.splitlines()[-1]
    done = call("run", movie, "-o", out, "--resume", *settings)
    assert done.code == 0
    assert "resumed after 5 frames" in done.out
    whole = tmp_path / "whole"
    assert call("run", movie, "-o", whole, "--quiet", *settings).code == 0
    for name in ("particles", "events", "tracks", "frames"):
        assert (out / f"{name}.parquet").read_bytes() == (whole / f"{name}.parquet").read_bytes()


@pytest.mark.parametrize(
    ("number", "ends"), [(signal.SIGINT, (130, "interrupted")), (signal.SIGTERM, (143, "terminated"))]
)
def test_a_second_signal_stops_at_once(call, movie, monkeypatch, number, ends):
    def process(*arguments, stop, **options):
        os.kill(os.getpid(), number)
        assert stop.is_set()
        os.kill(os.getpid(), number)
        time.sleep(30)

    monkeypatch.setattr("insitu.pipeline.process", process)
    done = call("run", movie, "-o", "out", "--quiet")
    assert done.code == ends[0]
    assert done.err.startswith(f"error: {ends[1]}: nothing is stored")


def test_ctrl_c_in_a_real_process(movie, tmp_path):
    images = np.concatenate([tifffile.imread(movie)] * 40)
    tifffile.imwrite(tmp_path / "long.tif", images, photometric="minisblack")
    command = [sys.executable, "-m", "insitu", "run", "long.tif", "-o", "out", "--json", *FAST]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    assert process.stdout is not None
    while b'"progress"' not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert re.search(rb"error: interrupted: results in 'out' are valid to frame \d+\n", err)
    assert b"Traceback" not in err
    end = json.loads(out.splitlines()[-1])
    assert (end["type"], end["exit_code"], end["interrupted"]) == ("end", 130, True)
    assert open_run(tmp_path / "out").counts["ok"] == end["total"] > 0


def test_on_a_terminal_one_line_is_redrawn(movie, tmp_path):
    command = [sys.executable, "-m", "insitu", "run", str(movie), "-o", str(tmp_path / "out"), *FAST]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment())
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 4096):
            seen += piece
    except OSError:
        pass  # the terminal is gone when the process has ended
    os.close(ours)
    out, _ = process.communicate()
    assert process.returncode == 0, seen
    text = seen.decode()
    assert "\ranalyse  " in text
    assert "━" in text
    assert "12/12 frames" in text
    assert "\x1b" not in text
    assert out.decode().splitlines()[-1] == str(tmp_path / "out")


def test_a_folder_of_numbered_images_is_one_movie_and_a_folder_of_such_folders_are_many(tmp_path):
    for name in ("b", "a"):
        (tmp_path / "day" / name).mkdir(parents=True)
        for k in range(3):
            tifffile.imwrite(tmp_path / "day" / name / f"f_{k:03}.tif", np.zeros((8, 8), np.uint8))
    (tmp_path / "day" / "log").mkdir()
    [one], root = targets((str(tmp_path / "day" / "a"),), str(tmp_path / "o"))
    assert (one.out, root) == (tmp_path / "o", None)
    found, root = targets((str(tmp_path / "day"),), str(tmp_path / "o"))
    assert [t.out.name for t in found] == ["a", "b"]


def test_pictures_beside_movies_do_not_become_a_movie(many, tmp_path):
    for name in ("overview.png", "holder.png", "me.png", "us.png"):
        Image.new("L", (8, 8)).save(many / name)
    assert [Path(m).name for m in movies_of(str(many))] == ["run1.tif", "run2.tif", "run10.tif"]
    for k in range(3):
        Image.new("L", (8, 8)).save(many / f"snap_{k}.jpg")
    assert [Path(m).name for m in movies_of(str(many))] == ["run1.tif", "run2.tif", "run10.tif"]


def test_numbered_images_are_the_movie_although_another_lies_beside_them(tmp_path):
    for k in range(4):
        Image.new("L", (8, 8)).save(tmp_path / f"frame_{k}.png")
    np.save(tmp_path / "sum.npy", np.zeros((2, 8, 8), np.uint8))
    assert movies_of(str(tmp_path)) == [str(tmp_path)]


def test_a_run_is_no_movie_and_is_skipped_in_a_folder_of_movies(call, many, movie):
    assert call("run", movie, "-o", many / "earlier", "--frames", ":2", "--quiet", *FAST).code == 0
    Image.new("L", (8, 8)).save(many / "earlier" / "overlay.png")
    assert [Path(m).name for m in movies_of(str(many))] == ["run1.tif", "run2.tif", "run10.tif"]
    for verb in ("run", "info"):
        message, hint = call(verb, many / "earlier").refused(3)
        assert message == f"'{many / 'earlier'}' is a run of insitu, not a movie"
        assert "insitu.open" in hint


def test_images_given_one_by_one_are_pointed_to_their_folder(call, faked, tmp_path):
    for k in range(3):
        tifffile.imwrite(tmp_path / f"f_{k}.tif", np.zeros((8, 8), np.uint8))
    done = call("run", tmp_path / "f_*.tif", "-o", tmp_path / "o")
    assert f"insitu run {tmp_path}" in done.err.splitlines()[0]
    assert len(faked.calls) == 3
    assert "insitu run " not in call("run", tmp_path, "-o", tmp_path / "one").err


def test_what_the_system_refuses_is_no_bug(call, movie, tmp_path, monkeypatch):
    long = tmp_path / ("x" * 300)
    assert call("run", long).refused(3)[0].endswith("File name too long")
    assert call("run", movie, "-o", long).refused(3)[0].endswith("File name too long")
    refused = PermissionError(errno.EACCES, "Permission denied", "locked")
    monkeypatch.setattr(Path, "exists", lambda _: (_ for _ in ()).throw(refused))
    message, hint = call("run", "locked/movie.tif").refused(3)
    assert message == "'locked/movie.tif' may not be read: Permission denied"
    assert "chmod" in hint


@pytest.mark.parametrize(
    "wrong",
    [
        (("--frames", "100:"), 2, "no frames to analyse"),
        (("--set", "prepare.crop=[0,0,500,500]"), 2, "does not lie in the frame of 96×112 px"),
        (("--model", "nope"), 2, "no model 'nope'"),
        (("--nm-per-px", "5000"), 4, "outside 0.001–1000"),
        (("-o", "."), 2, "is not an insitu run"),
    ],
    ids=lambda wrong: wrong[0][0],
)
def test_a_dry_run_is_refused_where_the_run_would_be(call, movie, tmp_path, monkeypatch, wrong):
    options, code, message = wrong
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    assert message in call("run", movie, "--dry-run", *options).refused(code)[0]
    done = call("run", movie, *options, "--quiet")
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_what_makes_a_run_doubtful_is_said_at_its_end(call, tmp_path):
    """Bright particles looked for as dark ones, and discs of which most vanish in two frames."""
    y, x = np.mgrid[:128, :128]
    discs = np.min([np.hypot(y - a, x - b) for a in range(16, 128, 32) for b in range(16, 128, 32)], axis=0) < 8
    rng = np.random.default_rng(1)
    movie = rng.normal(100.0, 3.0, (12, 128, 128)) + 80.0 * discs
    np.save(tmp_path / "bright.npy", movie.astype(np.uint8))
    done = call("run", tmp_path / "bright.npy", "-o", tmp_path / "a", "--set", "segment.polarity=dark", *FAST)
    assert (done.code, "no particle was found in any frame" in done.err) == (0, True)
    movie[5:7] -= 80.0 * discs
    np.save(tmp_path / "gaps.npy", movie.astype(np.uint8))
    done = call("run", tmp_path / "gaps.npy", "-o", tmp_path / "b", *FAST)
    flagged = open_run(tmp_path / "b").frames.to_pandas()["flags"].explode().value_counts()
    assert len(flagged)
    for flag, number in flagged.items():
        assert f"note: {number} of 12 used frames flagged '{flag}'" in done.err
    end = json.loads(call("run", tmp_path / "gaps.npy", "-o", tmp_path / "c", "--json", *FAST).lines[-1])
    assert len(end["notes"]) == len(flagged)


def test_json_says_which_movie_failed_and_how(call, faked, many, tmp_path):
    faked.outcomes["run2.tif"] = InputError("broken", "mend it")
    done = call("run", many, "-o", tmp_path / "o", "--json")
    assert done.code == 3
    [failed] = [line for line in map(json.loads, done.lines) if line.get("error")]
    assert (failed["type"], failed["exit_code"], failed["error"], failed["hint"]) == ("end", 3, "broken", "mend it")
    assert (failed["source"], failed["out"]) == (str(many / "run2.tif"), str(tmp_path / "o" / "run2"))
    assert "broken" in done.err


def test_natural_order_and_stems(tmp_path):
    assert sorted(["a10", "a9", "a", "b1", "a09"], key=natural) == ["a", "a9", "a09", "a10", "b1"]
    (tmp_path / "run.3").mkdir()
    assert stem(str(tmp_path / "run.3")) == "run.3"
    (tmp_path / "a.tif").symlink_to(tmp_path / "objects" / "SHA256-1234.tif")
    assert stem(str(tmp_path / "a.tif")) == "a"
    assert stem(str(tmp_path / "run.3" / "..")) == tmp_path.name
    assert stem("x/movie.ome.tif") == "movie.ome"
    assert stem("x/data.h5::/entry/images") == "data"
