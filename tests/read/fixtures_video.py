"""Write small videos with PyAV."""

from __future__ import annotations

import av
import numpy as np


def scene(n=40, height=48, width=64):
    """A bright square that moves over a gradient; six bright or dark fields in the top rows number the frame."""
    movie = np.tile(np.linspace(30, 120, width).astype(np.uint8), (n, height, 1))
    for k in range(n):
        movie[k, 10:20, k : k + 8] = 200
        for bit in range(6):
            movie[k, :8, 10 * bit : 10 * bit + 10] = 230 if k >> bit & 1 else 30
    return movie


def numbers(movie):
    """The numbers that the frames of a (decoded) scene carry."""
    fields = np.stack([movie[:, 2:6, 10 * bit + 3 : 10 * bit + 7].mean((1, 2)) > 130 for bit in range(6)])
    return (fields.T @ (1 << np.arange(6))).tolist()


def write(path, movie, codec="libx264", pixels="yuv420p", *, rate=25, gop=10, **options):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={k: str(v) for k, v in options.items()})
        stream.height, stream.width = movie.shape[1:3]
        stream.pix_fmt = pixels
        stream.gop_size = gop
        for image in movie:
            kind = "rgb24" if image.ndim == 3 else "gray16le" if image.dtype == np.uint16 else "gray"
            frame = av.VideoFrame.from_ndarray(image, format=kind)
            container.mux(stream.encode(frame.reformat(format=pixels)))
        container.mux(stream.encode())
    return path
