"""Small files of every format, the seeds of the fuzzing: `python -m benchmarks.soak corpus` writes them anew."""

from __future__ import annotations

import io
import json
import pickle
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile

from benchmarks.soak.targets import CORPUS

sys.path.insert(0, str(CORPUS.parents[1] / "read"))  # the writers of the tests

MOVIE = np.random.default_rng(3).integers(0, 4000, (3, 6, 7)).astype(np.uint16)
BYTES = (MOVIE % 251).astype(np.uint8)


def tiff() -> dict[str, bytes]:
    """Return TIFF files of every layout the reader has a path for."""

    def one(array=MOVIE, **how) -> bytes:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, array, **how)
        return buffer.getvalue()

    found = {f"{c}.tif": one(compression=c) for c in ("zlib", "lzw", "zstd", "packbits")}
    return found | {
        "plain.tif": one(MOVIE[0]),
        "stack.tif": one(metadata=None),
        "big.tif": one(bigtiff=True),
        "imagej.tif": one(imagej=True, resolution=(5.0, 5.0), metadata={"unit": "nm", "finterval": 0.0025}),
        "ome.tif": one(ome=True, metadata={"axes": "TYX", "PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "nm"}),
        "tiles.tif": one(np.zeros((16, 32), np.uint8), tile=(16, 16)),
        "rgb.tif": one(np.zeros((4, 5, 3), np.uint8), photometric="rgb"),
        "predictor.tif": one(compression="zlib", predictor=True),
        "motorola.tif": one(byteorder=">"),
        "bits.tif": one(BYTES > 100),
    }


def vendors(folder: Path) -> dict[str, dict[str, bytes]]:
    """Return files of the microscope makers' formats, and of HDF5."""
    import fixtures_dm as dm
    import fixtures_emd as emd
    import fixtures_k2is as k2is
    import fixtures_ser as ser
    import fixtures_tvips as tvips
    import h5py
    import mrcfile

    axes = [(0.2, "nm"), (0.2, "nm"), (0.5, "s")]
    tree = dm.document(dm.thumbnail(2), dm.image(MOVIE, axes))
    head, records = tvips.encode(MOVIE)
    with mrcfile.new(folder / "a.mrc") as file:
        file.set_data(MOVIE)
        file.voxel_size = 2.0
    dims = ((np.arange(3) * 0.5, "t", "s"), (np.arange(6) * 0.2, "y", "nm"), (np.arange(7) * 0.2, "x", "nm"))
    emd.write_berkeley(folder / "b.emd", MOVIE, dims)
    emd.write_velox(folder / "v.emd", {"s": MOVIE}, {"s": emd.metadata(frame_time="0.5")}, spectrum=False)
    for name, how in {"plain.h5": {}, "gzip.h5": {"chunks": (1, 6, 7), "compression": "gzip"}}.items():
        with h5py.File(folder / name, "w") as file:
            file.create_dataset("movie", data=MOVIE, **how).attrs["nm_per_px"] = 0.2
    blocks = [k2is.blocks(np.zeros((1860, 2048), np.uint16), 0, 10 + k, 32 * k)[n][:40] for k in (0, 1) for n in (0, 1)]
    return {
        "dm": {f"v{v}{o}.dm4".replace("<", "l").replace(">", "b"): dm.encode(tree, v, o) for v in (3, 4) for o in "<>"},
        "ser": {"old.ser": ser.encode(MOVIE), "new.ser": ser.encode(MOVIE, version=0x0220)},
        "tvips": {"v2.tvips": head + b"".join(records)},
        "mrc": {"a.mrc": (folder / "a.mrc").read_bytes()},
        "emd": {n: (folder / n).read_bytes() for n in ("b.emd", "v.emd")},
        "hdf5": {n: (folder / n).read_bytes() for n in ("plain.h5", "gzip.h5")},
        "k2is": {"heads": b"".join(blocks)},
    }


def pictures(folder: Path) -> dict[str, dict[str, bytes]]:
    """Return pictures, videos, and what numpy and zarr write."""
    import fixtures_video as video
    import zarr
    from PIL import Image

    for suffix in ("png", "jpg", "bmp"):
        Image.fromarray(BYTES[0]).save(folder / f"a.{suffix}")
    video.write(folder / "ffv1.avi", video.scene(3, 16, 64), "ffv1", "gray")
    video.write(folder / "mpeg4.avi", video.scene(3, 16, 64), "mpeg4", "yuv420p")
    arrays = {}
    for version, chunk in ((2, "0.0.0"), (3, "c/0/0/0")):
        zarr.create_array(str(folder / f"z{version}"), data=MOVIE, chunks=(1, 6, 7), zarr_format=version)
        text = (folder / f"z{version}" / ("zarr.json" if version == 3 else ".zarray")).read_text()
        small = json.dumps(json.loads(text), separators=(",", ":")).encode()
        arrays[f"format{version}"] = small + b"\0" + (folder / f"z{version}" / chunk).read_bytes()
    numpy = {}
    for name, array in {"stack.npy": MOVIE, "image.npy": MOVIE[0], "float.npy": MOVIE.astype(np.float32)}.items():
        np.save(folder / name, array)
        numpy[name] = (folder / name).read_bytes()
    return {
        "picture": {f"a.{s}": (folder / f"a.{s}").read_bytes() for s in ("png", "jpg", "bmp")},
        "video": {n: (folder / n).read_bytes() for n in ("ffv1.avi", "mpeg4.avi")},
        "npy": numpy,
        "zarr": arrays,
    }


def words() -> dict[str, dict[str, bytes]]:
    """Return texts: sidecars, names, settings, weights, logs."""
    from insitu.models.checkpoint import build, save_network
    from insitu.settings import Settings

    raw = {"shape": [6, 7], "dtype": "uint16", "offset": 2, "gap": 4, "n_frames": 20, "nm_per_px": 0.2, "fps": 400}
    names = "a_0001.tif\na_0002.tif\na_0004.tif\nb-3.tif\nx/y\n"
    gatan = "M_Hour_00_Minute_00_Second_00_Frame_0000.tif\nM_Hour_00_Minute_00_Second_00_Frame_0001.tif\n"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.safetensors"
        save_network(build("shallow"), file, {"architecture": "shallow"})
        card, weights = file.with_suffix(".json").read_bytes(), file.read_bytes()
    head = 8 + int.from_bytes(weights[:8], "little")
    stored = {"bytes": 3, "sha256": "0" * 64}
    unit = {
        "schema": 1, "first": 0, "planes": 4, "counts": {"ok": 4, "bad": 0, "missing": 0, "particles": 9, "events": 0},
        "rows": {"frames": 4, "particles": 9}, "files": {"parts/frames-00000000.parquet": stored}, "problems": 0,
        "closing": None,
    }  # fmt: skip
    log = json.dumps(unit).encode() + b"\n" + json.dumps(unit | {"first": 4, "planes": 8, "closing": {}}).encode()
    log += b"\n" + json.dumps({"schema": 1, "finished": True, "files": {"frames.parquet": stored}}).encode() + b"\n"
    known = {"nm_per_px": 0.2, "nm_source": "t", "s_per_frame": 0.0025, "s_source": "t"}
    about = {"schema": 1, "insitu": "0.1.0", "status": "running", "calibration": known, "counts": {}}
    return {
        "raw": {"side.json": json.dumps(raw).encode()},
        "folder": {"numbers": names.encode(), "seconds": gatan.encode(), "odd": b"\xff\xfe1.tif\na\n1 2.tif\n"},
        "settings": {
            "all.toml": Settings().to_toml().encode(),
            "small.toml": b'extends = "fast"\n[link]\nmemory_frames = 2\n',
            "lines": b"link.memory_frames=2\nprepare.crop=[0,0,9,9]\nsegment.threshold=0.5\n",
        },
        "weights": {"head": weights[: head + 64], "card": card + b"\0\0\n" + weights[: head + 64]},
        "pickle": {"plain": pickle.dumps({"a": [1, 2.5, "x"]}, 2), "list": pickle.dumps([b"1"] * 3, 4)},
        "importing": foreign(),
        "commits": {"log.jsonl": log},
        "run": {"both": json.dumps(about).encode() + b"\0" + log},
    }


def foreign() -> dict[str, bytes]:
    """Return a state dict in both forms that torch writes, and Keras' HDF5."""
    import h5py
    import torch

    found = {}
    for name, new in {"new.pt": True, "old.pt": False}.items():
        buffer = io.BytesIO()
        torch.save({"head.weight": torch.ones(2, 3)}, buffer, _use_new_zipfile_serialization=new)
        found[name] = buffer.getvalue()
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("model_weights/conv2d/conv2d/kernel:0", data=np.ones((3, 3, 1, 2), np.float32))
    return found | {"keras.h5": buffer.getvalue()}


def write() -> None:
    """Write the corpus of every target."""
    with tempfile.TemporaryDirectory() as folder:
        found = {"tiff": tiff(), **vendors(Path(folder)), **pictures(Path(folder)), **words()}
    for target, files in found.items():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (CORPUS / target / name).write_bytes(data)
    sizes = [len(data) for files in found.values() for data in files.values()]
    print(f"{len(sizes)} files, {sum(sizes)} bytes")


if __name__ == "__main__":
    write()
