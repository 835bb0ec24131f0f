"""Names that lead elsewhere, are no text, or are as long as a name can be: nothing is written outside OUT."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import tifffile

from benchmarks.soak.world import discs, run

STRANGE = {
    "line break": b"a\nb",
    "no text": b"\xff\xfe",
    "long": b"x" * 240,
    "dash": b"--overwrite",
    "dots": b"x..",
    "spaces": b" a ",
    "home": b"~",
    "percent": b"%e%fetc",
    "backslash": b"x..\\..\\y",
    "markup": b"<script>alert()<_script>",
    "quote": b"a'b\"c",
    "control": b"\x1b[J",
}  # fmt: skip


def everything(folder, but):
    found = {}
    for path in sorted(folder.rglob("*")):
        if but not in {path, *path.parents}:
            found[path] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return found


def write(path, frames=3):
    with tifffile.TiffWriter(os.fsdecode(path)) as writer:
        for image in discs(frames):
            writer.write(image, contiguous=False, metadata=None)


@pytest.fixture
def place(tmp_path):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    (tmp_path / "precious").write_text("precious")
    return inside


def test_movies_of_any_name_go_below_out(engines, place, tmp_path):
    movies = place / "movies"
    movies.mkdir()
    for name in STRANGE.values():
        write(os.fsencode(movies) + b"/" + name + b".tif")
    before, out = everything(tmp_path, place / "out"), place / "out"
    code, said = engines.call(run(movies, out))
    assert "Traceback" not in said
    assert code == 0, said
    assert everything(tmp_path, out) == before
    assert len([p for p in out.iterdir() if (p / "run.json").is_file()]) == len(STRANGE)
    assert all(p.resolve().is_relative_to(out.resolve()) for p in out.rglob("*"))


def test_links_and_detours_do_not_lead_out(engines, place, tmp_path):
    write(os.fsencode(tmp_path / "movie.tif"))
    (place / "link.tif").symlink_to(tmp_path / "movie.tif")
    (place / "up").symlink_to(tmp_path)
    sources = (place / "link.tif", place / "up" / "movie.tif", place / ".." / "b" / "link.tif")
    for k, source in enumerate(sources):
        out = place / f"out{k}"
        before = everything(tmp_path, out)
        code, said = engines.call(run(source, out))
        assert code == 0, said
        assert everything(tmp_path, out) == before


def test_overwriting_removes_a_link_and_not_what_it_points_to(engines, place, tmp_path):
    write(os.fsencode(tmp_path / "movie.tif"))
    out = place / "out"
    assert engines.call(run(tmp_path / "movie.tif", out))[0] == 0
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "thesis.pdf").write_text("precious")
    (out / "figures").symlink_to(tmp_path / "figures")
    (out / "report.html").symlink_to(tmp_path / "precious")
    arguments = [a for a in run(tmp_path / "movie.tif", out) if a != "--resume"]
    code, said = engines.call([*arguments, "--overwrite"])
    assert code == 0, said
    assert (tmp_path / "figures" / "thesis.pdf").read_text() == "precious"
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (out / "figures").exists()


def test_images_of_any_name_in_a_folder(engines, place, tmp_path):
    folder = place / "images"
    folder.mkdir()
    for k, (name, image) in enumerate(zip(STRANGE.values(), discs(len(STRANGE)), strict=True)):
        tifffile.imwrite(os.fsdecode(os.fsencode(folder) + b"/" + name + b"_%03d.tif" % k), image)
    out = place / "out"
    before = everything(tmp_path, out)
    code, said = engines.call(run(folder, out))
    assert "Traceback" not in said
    assert code in {0, 3, 5}, said
    assert everything(tmp_path, out) == before
    assert Path("/tmp").exists()
