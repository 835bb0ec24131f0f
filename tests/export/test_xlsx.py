from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from export_cases import make_run

from insitu.errors import CommandError
from insitu.export import ExportOptions, export, xlsx
from insitu.types import Calibration


def read(path, sheet):
    return pd.read_excel(path, sheet_name=sheet, header=1)


@pytest.mark.parametrize("table", ["particles", "tracks", "events", "frames"])
def test_every_value_comes_back_as_a_number(run, tmp_path, table):
    path = export(run, "xlsx", tmp_path / "t.xlsx")
    found, expected = read(path, table), getattr(run, table).to_pandas()
    assert list(found.columns) == list(expected.columns)
    assert len(found) == len(expected)
    for name, values in expected.items():
        if values.dtype.kind in "iufb":
            # a workbook holds 16 digits
            np.testing.assert_allclose(found[name].to_numpy(float), values.to_numpy(float), rtol=1e-15, atol=0)
        elif len(values) and isinstance(values[0], np.ndarray):
            texts = pd.read_excel(path, sheet_name=table, header=1, dtype=str, keep_default_na=False)[name]
            assert texts.tolist() == [" ".join(map(str, v)) for v in values]


def test_units_stand_above_the_names_and_meanings_in_their_own_sheet(run, tmp_path):
    book = openpyxl.load_workbook(export(run, "xlsx", tmp_path / "t.xlsx"))
    assert book.sheetnames == ["about", "columns", "frames", "tracks", "events", "particles"]
    names = [c.value for c in book["particles"][2]]
    units = dict(zip(names, [c.value for c in book["particles"][1]], strict=True))
    assert (units["y"], units["area_nm2"], units["frame"]) == ("px", "nm²", "")
    assert book["particles"].freeze_panes == "A3"
    told = {(r[0], r[1]): r[2:] for r in book["columns"].iter_rows(min_row=2, values_only=True)}
    assert told["particles", "time_s"] == ("s", "start of exposure since frame 0")
    assert {c for t, c in told if t == "events"} == set(run.events.columns)
    about = dict(book["about"].iter_rows(values_only=True))
    assert (about["pixel size in nm"], about["pixel size from"]) == (0.5, "test")
    assert (about["frames ok"], about["frames bad"]) == (9, 1)


def test_what_is_unknown_is_said_and_has_no_columns(tmp_path):
    bare = make_run(tmp_path / "bare", calibration=Calibration())
    path = export(bare, "xlsx", tmp_path / "t.xlsx")
    about = dict(openpyxl.load_workbook(path)["about"].iter_rows(values_only=True))
    assert about["pixel size in nm"] == about["frame time in s"] == "unknown"
    assert not [c for c in read(path, "particles") if c.endswith(("_nm", "_nm2", "_s"))]


def test_a_text_is_never_a_formula_or_a_link(tmp_path):
    from types import SimpleNamespace

    written = []
    sheet = SimpleNamespace(write_string=lambda *a: written.append(a[2]))
    xlsx._put(sheet, 0, 0, "x" * 40_000)
    assert len(written[0]) <= 32_767
    folder = tmp_path / "run" / "coarsening"
    run = make_run(tmp_path / "run")
    folder.mkdir()
    unit = pa.field("note", pa.string(), metadata={"unit": "", "meaning": "a remark"})
    texts = ["=1+1", "http://example.org", "12"]
    pq.write_table(pa.table([texts], schema=pa.schema([unit])), folder / "remarks.parquet")
    book = openpyxl.load_workbook(export(run, "xlsx", tmp_path / "t.xlsx"))
    cells = [c[0] for c in book["remarks"].iter_rows(min_row=3)]
    assert [c.value for c in cells] == texts
    assert {c.data_type for c in cells} == {"s"}
    assert not any(c.hyperlink for c in cells)


def test_statistics_in_the_run_get_sheets_and_findings(tmp_path):
    run = make_run(tmp_path / "run")
    folder = run.path / "coarsening"
    folder.mkdir()
    field = pa.field("mean_radius_nm", pa.float64(), metadata={"unit": "nm", "meaning": "⟨r⟩"})
    pq.write_table(pa.table([[2.5, None]], schema=pa.schema([field])), folder / "kinetics.parquet")
    said = {
        "headline": {"K": {"value": 3.5, "low": 3.0, "high": 4.0, "unit": "nm³/s"}, "r": {"value": 1.0, "unit": "nm"}},
        "verdict": {"n": None, "sentence": "Not decided."},
        "caveats": ["few"],
        "not_computed": [{"what": "g(r)", "why": "one particle"}],
    }
    (folder / "summary.json").write_text(json.dumps(said), encoding="utf-8")
    book = openpyxl.load_workbook(export(run, "xlsx", tmp_path / "t.xlsx"))
    assert book.sheetnames[2:] == ["findings", "frames", "tracks", "events", "particles", "kinetics"]
    assert list(book["findings"].iter_rows(min_row=2, values_only=True)) == [
        ("K", 3.5, 3, 4, "nm³/s"),
        ("r", 1, None, None, "nm"),
        ("verdict", "Not decided.", None, None, None),
        ("caveat", "few", None, None, None),
        ("not computed", "g(r): one particle", None, None, None),
    ]
    assert [row[0].value for row in book["kinetics"]] == ["nm", "mean_radius_nm", 2.5]
    assert ("kinetics", "mean_radius_nm", "nm", "⟨r⟩") in set(book["columns"].iter_rows(values_only=True))
    assert (
        "findings"
        not in openpyxl.load_workbook(
            export(run, "xlsx", tmp_path / "u.xlsx", ExportOptions(table="tracks"))
        ).sheetnames
    )


def test_a_long_table_goes_on_in_further_sheets_and_says_so(run, tmp_path, monkeypatch):
    monkeypatch.setattr(xlsx, "MOST_ROWS", 20)
    path = export(run, "xlsx", tmp_path / "t.xlsx", ExportOptions(table="particles"))
    book = openpyxl.load_workbook(path)
    n = len(run.particles)
    assert 36 < n <= 54
    assert book.sheetnames == ["about", "columns", "particles", "particles 2", "particles 3"]
    whole = pd.concat([read(path, name) for name in book.sheetnames[2:]])
    np.testing.assert_allclose(whole["y"], run.particles.to_pandas()["y"], rtol=1e-15)
    assert all(book[name].max_row <= 20 for name in book.sheetnames[2:])
    assert "particles 3" in dict(book["about"].iter_rows(values_only=True))["sheets of particles"]


def test_a_table_that_fills_its_sheet_exactly_needs_no_other(run, tmp_path, monkeypatch):
    monkeypatch.setattr(xlsx, "MOST_ROWS", len(run.particles) + 2)
    path = export(run, "xlsx", tmp_path / "t.xlsx", ExportOptions(table="particles"))
    assert openpyxl.load_workbook(path).sheetnames == ["about", "columns", "particles"]
    assert len(read(path, "particles")) == len(run.particles)


def test_more_than_a_program_opens_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr(xlsx, "MOST_ROWS", 6)
    with pytest.raises(CommandError, match="more than 8 sheets of 6 hold") as error:
        export(run, "xlsx", tmp_path / "t.xlsx", ExportOptions(table="particles"))
    assert "csv" in error.value.hint
    assert list(tmp_path.iterdir()) == []


def test_one_table_alone(run, tmp_path):
    path = export(run, "xlsx", tmp_path / "t.xlsx", ExportOptions(table="tracks"))
    assert openpyxl.load_workbook(path).sheetnames == ["about", "columns", "tracks"]
    with pytest.raises(CommandError, match="no table 'trucks'"):
        export(run, "xlsx", tmp_path / "u.xlsx", ExportOptions(table="trucks"))


def test_a_run_without_particles_has_empty_sheets(tmp_path, monkeypatch):
    import export_cases

    monkeypatch.setattr(export_cases, "PARTICLES", {0: ((30.0, 30.0), 9.0, set())})
    monkeypatch.setattr(export_cases, "EVENTS", ())
    path = export(make_run(tmp_path / "none"), "xlsx", tmp_path / "t.xlsx")
    assert len(read(path, "particles")) == 0
    assert len(read(path, "frames")) == 10


def test_a_failure_leaves_nothing_behind(run, tmp_path, monkeypatch):
    def full(*_arguments):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(xlsx, "_put", full)
    with pytest.raises(OSError, match="space"):
        export(run, "xlsx", tmp_path / "t.xlsx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_libreoffice_opens_it_in_a_language_with_decimal_commas(run, tmp_path):
    import shutil

    office = shutil.which("soffice")
    if office is None:
        pytest.skip("LIBREOFFICE ABSENT: apt-get install libreoffice-calc to run this test")
    path = export(run, "xlsx", tmp_path / "t.xlsx", ExportOptions(table="frames"))
    # sheet 3 as csv, every cell as its value (not as shown)
    form = "csv:Text - txt - csv (StarCalc):59,34,76,1,,0,false,false,false,false,false,3"
    profile = f"-env:UserInstallation=file://{tmp_path}/profile"
    command = [office, profile, "--headless", "--convert-to", form, "--outdir", tmp_path, path]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (text,) = tmp_path.glob("t*.csv")
    table = pd.read_csv(text, sep=";", header=1)
    np.testing.assert_allclose(table["area_fraction"], run.frames.to_pandas()["area_fraction"], rtol=1e-12)
