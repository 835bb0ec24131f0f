from __future__ import annotations

import subprocess
import sys
import warnings
from collections import Counter

import numpy as np
import pytest
from mutations import frames, mutations, outcome

from insitu.errors import InputError
from insitu.read import open_source
from insitu.read.hyperspy import FORMATS, HyperspyReader
from insitu.registry import READERS
from insitu.types import Reader

pytest.importorskip("rsciio", reason="ROSETTASCIIO ABSENT: pip install 'insitu[hyperspy]' to test the fallback reader")

MOVIE = np.random.default_rng(0).integers(0, 1000, (4, 5, 6)).astype(np.uint16)
OWN = {
    ".tif",
    ".tiff",
    ".mrc",
    ".dm3",
    ".dm4",
    ".ser",
    ".emi",
    ".emd",
    ".tvips",
    ".npy",
    ".h5",
    ".hdf5",
    ".zarr",
    ".mp4",
}


def axes(*rows):
    keys = ("name", "units", "scale", "size", "navigate")
    return [{**dict(zip(keys, row, strict=True)), "offset": 0.0, "index_in_array": i} for i, row in enumerate(rows)]


def signal(data=MOVIE, rows=None):
    rows = rows or [("t", "ms", 2.5, 4, True), ("y", "nm", 0.2, 5, False), ("x", "nm", 0.2, 6, False)]
    metadata = {"General": {"title": "m"}, "Signal": {}}
    empty: dict = {k: {} for k in ("original_metadata", "tmp_parameters", "learning_results", "models")}
    plain = {"package_info": {"package": "", "package_version": ""}, "attributes": {"_lazy": False, "ragged": False}}
    return {"data": data, "axes": axes(*rows), "metadata": metadata, **plain, **empty}


def write(path, written=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from rsciio.hspy import file_writer

        file_writer(str(path), written or signal())
    return path


def test_real_block_file_agrees_with_rosettasciio(samples):
    path = samples / "readers" / "blockfile" / "test2.blo"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from rsciio.blockfile import file_reader

        theirs = file_reader(str(path))[0]["data"]
    assert HyperspyReader.claims(path) is True
    reader = HyperspyReader(path)
    assert isinstance(reader, Reader)
    np.testing.assert_array_equal(frames(reader), theirs.reshape(6, 5, 5))
    assert any("2 × 3 scan positions" in note for note in reader.info.notes)


def test_written_stack_with_time(tmp_path):
    reader = HyperspyReader(write(tmp_path / "a.hspy"))
    np.testing.assert_array_equal(frames(reader), MOVIE)
    calibration = reader.info.calibration
    assert calibration.nm_per_px == pytest.approx(0.2)
    assert calibration.s_per_frame == pytest.approx(0.0025)
    assert not any("memory" in note for note in reader.info.notes)
    reader.close()
    reader.close()


def test_hspy_is_not_taken_for_plain_hdf5_without_calibration(tmp_path):
    info = open_source(write(tmp_path / "a.hspy")).info
    assert info.format == "hspy (rosettasciio)"
    assert info.calibration.nm_per_px == pytest.approx(0.2)


def test_undefined_units_are_unknown(tmp_path):
    rows = [("z", "nm", 1.0, 4, True), ("y", None, 1.0, 5, False), ("x", None, 1.0, 6, False)]
    calibration = HyperspyReader(write(tmp_path / "a.hspy", signal(rows=rows))).info.calibration
    assert (calibration.nm_per_px, calibration.s_per_frame) == (None, None)
    assert "in nm, not a time" in calibration.s_source


def test_spectra_and_complex_are_refused(tmp_path):
    rows = [("y", "nm", 1.0, 4, True), ("x", "nm", 1.0, 5, True), ("E", "eV", 1.0, 6, False)]
    with pytest.raises(InputError, match="no images"):
        HyperspyReader(write(tmp_path / "a.hspy", signal(rows=rows)))
    with pytest.raises(InputError, match="complex"):
        HyperspyReader(write(tmp_path / "b.hspy", signal(MOVIE.astype(np.complex64))))


def test_formats_that_cannot_be_read_in_pieces_say_so(tmp_path, monkeypatch):
    import rsciio.semper

    def whole(path, **options):
        if options:
            raise NotImplementedError
        return [signal()]

    monkeypatch.setattr(rsciio.semper, "file_reader", whole)
    reader = HyperspyReader(tmp_path / "a.unf")
    assert "the whole file is held in memory" in reader.info.notes
    np.testing.assert_array_equal(frames(reader), MOVIE)


def test_it_is_asked_last_and_claims_no_format_of_ours():
    assert READERS[-1].name == "hyperspy"
    assert READERS[-1].extra == "hyperspy"
    assert not OWN & set(FORMATS)


def test_every_format_is_one_of_rosettasciio():
    from rsciio import IO_PLUGINS

    known = {plugin["api"].removeprefix("rsciio."): plugin["file_extensions"] for plugin in IO_PLUGINS}
    for suffix, module in FORMATS.items():
        assert suffix[1:] in known[module]


def test_gpl_code_is_not_imported_before_a_file_needs_it(tmp_path):
    program = (
        "import sys, pathlib; import insitu.read.hyperspy as h; "
        f"h.HyperspyReader.claims(pathlib.Path({str(tmp_path / 'a.blo')!r})); "
        "sys.exit(any(m.split('.')[0] == 'rsciio' for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_without_rosettasciio_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rsciio", None)
    monkeypatch.setitem(sys.modules, "rsciio.blockfile", None)
    with pytest.raises(InputError) as caught:
        HyperspyReader(tmp_path / "a.blo")
    assert caught.value.hint == 'pip install "insitu[hyperspy]"'


def test_damaged_files_raise_only_the_errors_of_the_house(samples, tmp_path):
    data = (samples / "readers" / "blockfile" / "test2.blo").read_bytes()
    path = tmp_path / "a.blo"
    seen = Counter()
    for copy in mutations(data, 200, head=600):
        path.write_bytes(copy)
        seen[outcome(HyperspyReader, path)] += 1
    assert sum(seen.values()) == 200
    assert seen["frames"] > 5
