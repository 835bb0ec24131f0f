from __future__ import annotations

import os
import warnings

import numpy as np
import pandas as pd
import pytest
import trackpy
from export_cases import make_run

from insitu.errors import CommandError
from insitu.export import ExportOptions, export


@pytest.mark.parametrize("table", ["particles", "tracks", "events", "frames"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_csv_reads_back_to_the_same_bits(run, tmp_path, table, decimal):
    path = export(run, "csv", tmp_path / "t.csv", ExportOptions(table=table, decimal=decimal))
    expected = getattr(run, table).to_pandas()
    separator = ";" if decimal == "," else ","
    # Read as text: whether the reader of pandas rounds is another matter.
    read = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    assert list(read.columns) == list(expected.columns)
    assert len(read) == len(expected)
    for name in expected:
        values, texts = expected[name], read[name]
        if values.dtype.kind in "iuf":
            numbers = [float(t.replace(decimal, ".")) if t else np.nan for t in texts]
            np.testing.assert_array_equal(np.array(numbers), values.to_numpy(np.float64))
        elif values.dtype.kind == "b":
            assert texts.tolist() == values.map(str).tolist()
        elif len(values) and isinstance(values[0], np.ndarray):
            assert texts.tolist() == [" ".join(map(str, v)) for v in values]
        else:
            assert texts.tolist() == values.fillna("").tolist()


def test_csv_of_a_name_in_tsv_has_tabs(run, tmp_path):
    text = export(run, "csv", tmp_path / "t.tsv").read_text(encoding="utf-8")
    assert text.splitlines()[0].startswith("frame\ttime_s\tparticle")
    assert text.count("\n") == len(run.particles) + 1


@pytest.mark.parametrize(
    ("options", "message"), [({"table": "particle"}, "no table 'particle'"), ({"decimal": ";"}, "neither a point nor")]
)
def test_csv_refuses_what_it_does_not_know(run, tmp_path, options, message):
    with pytest.raises(CommandError, match=message):
        export(run, "csv", tmp_path / "t.csv", ExportOptions(**options))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_trackpy_works_on_its_table(run, tmp_path, suffix):
    path = export(run, "trackpy", tmp_path / f"t.{suffix}")
    table = pd.read_parquet(path) if suffix == "parquet" else pd.read_csv(path)
    own = run.particles.to_pandas()
    assert list(table.columns[:7]) == ["y", "x", "mass", "size", "ecc", "frame", "particle"]
    for name in ("y", "x", "frame", "particle", "area_px", "touches_edge"):
        np.testing.assert_array_equal(table[name], own[name])
    kept = trackpy.filter_stubs(table, 5)
    assert set(kept["particle"]) == {0, 2, 3, 6}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # trackpy's own, of pandas 4
        spread = trackpy.imsd(kept, mpp=0.5, fps=10, max_lagtime=3)
    assert np.isfinite(spread.to_numpy()).all()


def test_size_is_the_radius_of_gyration_of_the_outline(run, tmp_path):
    table = pd.read_csv(export(run, "trackpy", tmp_path / "t.csv"))
    first = table[(table["frame"] == 0) & (table["particle"] == 0)].iloc[0]
    y, x = np.nonzero(run.labels_by_particle()[0] == 0)
    assert first["size"] == pytest.approx(np.sqrt(y.var() + x.var()), rel=1e-9)
    assert first["size"] == pytest.approx(9 / np.sqrt(2), rel=0.02)


def test_a_run_that_is_not_finished_gives_its_safe_rows(tmp_path):
    half = make_run(tmp_path / "half", finish=False, frames=7)
    table = pd.read_csv(export(half, "trackpy", tmp_path / "t.csv"))
    assert table["frame"].max() == 3
    for name in ("trackmate", "ctc"):
        with pytest.raises(CommandError, match="is not finished"):
            export(half, name, tmp_path / ("t.xml" if name == "trackmate" else "t"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["half", "t.csv"]


def test_names_follow_the_run(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {export(run, name).relative_to(tmp_path).as_posix() for name in ("csv", "trackpy", "trackmate", "ctc")}
    assert names == {"film.csv", "film.trackpy.csv", "film.trackmate.xml", "film.ctc"}


def test_nothing_is_replaced_without_being_told_to(run, tmp_path):
    out = tmp_path / "t.csv"
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(CommandError, match="exists"):
        export(run, "csv", out)
    assert out.read_text(encoding="utf-8") == "mine"
    export(run, "csv", out, ExportOptions(overwrite=True))
    assert out.read_text(encoding="utf-8").startswith("frame")
    with pytest.raises(CommandError, match="is a folder"):
        export(run, "csv", _folder(tmp_path / "f.csv"), ExportOptions(overwrite=True))
    with pytest.raises(CommandError, match="there is no folder"):
        export(run, "csv", tmp_path / "none" / "t.csv")


def _folder(path):
    path.mkdir()
    return path


def test_the_run_itself_is_out_of_bounds(run):
    for out in (run.path, run.path / "particles.parquet", run.path / "labels.ome.zarr" / "x.parquet"):
        with pytest.raises(CommandError, match=r"lies in the run itself|does not end with"):
            export(run, "trackpy", out, ExportOptions(overwrite=True))
    assert len(run.particles.to_pandas()) == len(run.particles)


def test_a_failure_leaves_nothing_behind(run, tmp_path, monkeypatch):
    out = tmp_path / "t.csv"
    export(run, "csv", out)
    before = out.read_bytes()

    def full(*_arguments, **_options):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(OSError, match="space"):
        export(run, "csv", out, ExportOptions(overwrite=True))
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]
    assert out.read_bytes() == before


def test_a_wrong_ending_is_refused(run, tmp_path):
    with pytest.raises(CommandError, match=r"does not end with \.csv or \.parquet"):
        export(run, "trackpy", tmp_path / "t.xlsx")
