"""Files made to harm: code in checkpoints and arrays, bombs, absurd metadata, endless nesting, logs leading outside."""

from __future__ import annotations

import json
import os
import pickle
import resource

import numpy as np
import pytest

import insitu
from benchmarks.soak import targets
from insitu import models, settings
from insitu.errors import InsituError
from insitu.read import open_source
from insitu.read.hdf5 import Hdf5Reader
from insitu.read.zarr import ZarrReader
from insitu.store.log import read_log

DEEP = 100_000


class Code:
    """Runs a program when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path):
    """A folder that exists once code of a file has run."""
    return tmp_path / "PWNED"


def two_lines(error):
    assert error.message
    assert error.hint
    assert "\n" not in error.message + error.hint


def refused(opener, *args):
    with pytest.raises(InsituError) as caught:
        opener(*args)
    two_lines(caught.value)
    return caught.value


class TestCode:
    @pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
    @pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
    def test_a_pickle_with_code_as_weights(self, tmp_path, marker, suffix, protocol):
        file = tmp_path / f"evil{suffix}"
        file.write_bytes(pickle.dumps({"weight": Code(marker)}, protocol=protocol))
        file.with_suffix(".json").write_text('{"architecture": "shallow"}')
        refused(models.load, str(file))
        assert not marker.exists()

    @pytest.mark.parametrize("new", [True, False])
    def test_a_torch_file_with_code(self, tmp_path, marker, new):
        import torch

        file = tmp_path / "evil.pt"
        torch.save({"weight": torch.zeros(2), "more": Code(marker)}, file, _use_new_zipfile_serialization=new)
        file.with_suffix(".json").write_text('{"architecture": "shallow"}')
        error = refused(models.load, str(file))
        assert not marker.exists()
        assert "evil.pt" in error.message

    def test_an_array_of_objects(self, tmp_path, marker):
        file = tmp_path / "evil.npy"
        np.save(file, np.array([Code(marker)], object), allow_pickle=True)
        refused(open_source, file)
        assert not marker.exists()

    def test_the_state_of_a_run(self, tmp_path, marker):
        from insitu.store.state import unpack

        file = tmp_path / "evil.npz"
        np.savez(file, a=np.array([Code(marker)], object))
        with pytest.raises(ValueError, match="allow_pickle"):
            unpack(file)
        assert not marker.exists()

    @pytest.mark.parametrize("where", ["compressor", "filters"])
    @pytest.mark.parametrize("dtype", ["<u2", "|O"])
    def test_a_zarr_array_whose_codec_is_pickle(self, tmp_path, marker, where, dtype):
        root = tmp_path / "evil.zarr"
        root.mkdir()
        codec = {"id": "pickle", "protocol": 5}
        metadata = {"zarr_format": 2, "shape": [2, 4, 4], "chunks": [1, 4, 4], "dtype": dtype, "fill_value": 0}
        metadata |= {"order": "C", "filters": None, "compressor": None}
        metadata |= {where: codec if where == "compressor" else [codec]}
        (root / ".zarray").write_text(json.dumps(metadata))
        (root / "0.0.0").write_bytes(pickle.dumps(Code(marker)))
        error = refused(ZarrReader, root)
        assert "could run any program" in error.message
        assert not marker.exists()


class TestBombs:
    def test_nested_settings(self, tmp_path):
        (tmp_path / "deep.toml").write_text("[link]\nmemory_frames = " + "[" * DEEP)
        refused(lambda: settings.load(config=tmp_path / "deep.toml"))
        refused(lambda: settings.load(overrides=["link.memory_frames=" + "[" * DEEP]))

    @pytest.mark.parametrize("opening", ["[", '{"a":'])
    def test_nested_json_beside_raw_frames_weights_and_runs(self, tmp_path, opening):
        deep = (opening * DEEP).encode()
        targets.read_raw(deep)
        targets.load_weights(deep + b"\0\0\n" + bytes(16))
        targets.load_weights(len(deep).to_bytes(8, "little") + deep + bytes(16))
        (tmp_path / "run.json").write_bytes(deep)
        (tmp_path / "commits.jsonl").write_bytes(deep + b"\n{}\n")
        refused(insitu.open, tmp_path)
        refused(read_log, tmp_path)

    def test_zarr_that_declares_more_frames_than_it_holds(self, tmp_path):
        import zarr

        array = zarr.create_array(str(tmp_path / "a.zarr"), data=np.ones((3, 4, 5), np.uint8), chunks=(1, 4, 5))
        path = tmp_path / "a.zarr" / "zarr.json"
        path.write_text(path.read_text().replace(str(array.shape[0]), str(10**12), 1))
        metadata = json.loads(path.read_text()) | {"shape": [10**12, 4, 5]}
        path.write_text(json.dumps(metadata))
        assert "1000000000000" in refused(ZarrReader, tmp_path / "a.zarr").message

    def test_hdf5_that_declares_more_frames_than_it_holds(self, tmp_path):
        import h5py

        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("movie", shape=(10**9, 4, 5), dtype=np.uint8, chunks=(1, 4, 5))[0] = 1
        assert "1000000000" in refused(Hdf5Reader, tmp_path / "a.h5").message

    def test_zarr_and_hdf5_with_frames_yet_to_be_written_are_read(self, tmp_path):
        import h5py
        import zarr

        array = zarr.create_array(str(tmp_path / "a.zarr"), shape=(30, 4, 5), dtype="u1", chunks=(1, 4, 5))
        array[:10] = 1
        assert ZarrReader(tmp_path / "a.zarr").info.n_frames == 30
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("movie", shape=(30, 4, 5), dtype=np.uint8, chunks=(1, 4, 5))[:10] = 1
        assert Hdf5Reader(tmp_path / "a.h5").info.n_frames == 30

    def test_frames_that_unpack_to_more_than_the_first_one_cost_no_memory(self, tmp_path):
        import tifffile

        with tifffile.TiffWriter(tmp_path / "bomb.tif") as writer:
            writer.write(np.ones((8, 9), np.uint8), metadata=None, compression="zstd")
            writer.write(np.zeros((20_000, 20_000), np.uint8), metadata=None, compression="zstd")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        targets.look(targets.reader("tiff"), tmp_path / "bomb.tif")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000

    def test_weights_whose_card_asks_for_a_giant_network(self):
        weights = (targets.CORPUS / "weights" / "head").read_bytes()
        for parameters in ({"filters": 10**12}, {"filters": -1}, {"filters": "x"}, {"no_such": 1}, [1], "x"):
            card = json.dumps({"architecture": "shallow", "parameters": parameters}).encode()
            targets.load_weights(card + b"\0\0\n" + weights)

    def test_a_folder_of_very_many_files(self, tmp_path):
        folder = tmp_path / "many"
        folder.mkdir()
        for k in range(20_000):
            os.close(os.open(folder / f"x{k}.txt", os.O_CREAT | os.O_WRONLY))
        refused(open_source, folder)


class TestLogsThatLeadOutside:
    @pytest.mark.parametrize("name", ["../precious", "/etc/hostname", "state/../../precious", "parts/./a", "", "a\0b"])
    def test_a_name_outside_the_run_is_no_line(self, tmp_path, name):
        log = (targets.CORPUS / "commits" / "log.jsonl").read_text().replace("parts/frames-00000000.parquet", "NAME")
        (tmp_path / "commits.jsonl").write_text(log.replace("NAME", json.dumps(name)[1:-1]))
        error = refused(read_log, tmp_path)
        assert "line 1 of commits.jsonl" in error.message
