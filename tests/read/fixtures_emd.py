"""Write small Velox and Berkeley EMD files."""

from __future__ import annotations

import json

import h5py
import numpy as np

MOVIE = np.random.default_rng(0).integers(0, 1000, (4, 5, 6)).astype(np.uint16)


def metadata(*, size=("2e-10", "2e-10"), unit="m", frame_time=None, exposure="0.5"):
    told = {
        "BinaryResult": {
            "Detector": "BM-Ceta", "DetectorIndex": "0", "PixelSize": {"height": size[0], "width": size[1]},
            "PixelUnitX": unit, "PixelUnitY": unit,
        },
        "Scan": {} if frame_time is None else {"FrameTime": frame_time},
        "Detectors": {"Detector-0": {"ExposureTime": exposure}},
    }  # fmt: skip
    return json.dumps(told)


def write_velox(path, streams, texts=None, *, spectrum=True, **options):
    """`streams`: dict id → (N, H, W) array."""
    with h5py.File(path, "w") as file:
        for key, movie in streams.items():
            group = file.create_group(f"Data/Image/{key}")
            stack = np.moveaxis(movie, 0, -1)
            group.create_dataset("Data", data=stack, chunks=(*stack.shape[:2], 1), **options)
            text = (texts or {}).get(key, metadata()).encode()
            column = np.zeros((2000, stack.shape[2]), np.uint8)
            column[: len(text)] = np.frombuffer(text, np.uint8)[:, None]
            group.create_dataset("Metadata", data=column)
        if spectrum:
            file.create_dataset("Data/SpectrumStream/s/Data", data=np.arange(100, dtype=np.uint16))
            file.create_dataset("Data/Spectrum/s/Data", data=np.zeros((4096, 1), np.uint32))
    return path


def write_berkeley(path, data, dims, *, name="movie"):
    """`dims`: (vector, name, units) for each axis of `data`."""
    with h5py.File(path, "w") as file:
        file.attrs["version_major"], file.attrs["version_minor"] = 0, 2
        group = file.create_group(f"data/{name}")
        group.attrs["emd_group_type"] = 1
        group.create_dataset("data", data=data)
        for k, (vector, axis, units) in enumerate(dims):
            dim = group.create_dataset(f"dim{k + 1}", data=vector)
            dim.attrs["name"] = np.bytes_(axis)
            dim.attrs["units"] = np.bytes_(units)
    return path
