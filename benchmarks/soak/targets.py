"""What arbitrary bytes are given to: every reader, the settings, weights, the commit log, a run folder.

A target takes bytes and returns; anything but the errors of the house that leaves it is a finding. Files are written
to memory, into one folder a target, and are as small as the format allows.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
import warnings
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from insitu.errors import BadFrame, EndOfSource, InsituError

if TYPE_CHECKING:
    from collections.abc import Callable

CORPUS = Path(__file__).parents[2] / "tests" / "reliability" / "corpus"
MOST_FRAME_BYTES = 1 << 28  # a file of a few kB may not make the engine allocate more than this a frame
_MOST_FRAMES_READ = 4
_BLOCK = 0x5758


@cache
def place(name: str) -> Path:
    """Return a folder in memory for the files of one target; the process that ends leaves nothing behind."""
    memory = Path("/dev/shm")
    folder = tempfile.TemporaryDirectory(prefix=f"insitu-{name}-", dir=memory if memory.is_dir() else None)
    _folders.append(folder)
    return Path(folder.name)


_folders: list[tempfile.TemporaryDirectory] = []


def forget() -> None:
    """Remove the files of all targets."""
    while _folders:
        _folders.pop().cleanup()
    place.cache_clear()


@cache
def reader(name: str):
    """Return the class of a registered reader."""
    from insitu.registry import READERS

    return next(entry for entry in READERS if entry.name == name).load()


def look(opener, path: Path) -> None:
    """Open and read a file as the engine does; only what the engine handles may be raised."""
    claim = opener.claims(path)
    if not isinstance(claim, (bool, str)):
        raise TypeError(f"claims gave {claim!r}")
    try:
        movie = opener(path)
    except InsituError as refusal:
        if not (refusal.message and refusal.hint):
            raise TypeError("a refusal without a reason") from refusal
        return
    try:
        info = movie.info
        size = info.height * info.width * info.dtype.itemsize
        if size > MOST_FRAME_BYTES:
            return
        slot = np.empty(info.shape, info.dtype)
        for index in range(min(_MOST_FRAMES_READ, _MOST_FRAMES_READ if info.n_frames is None else info.n_frames)):
            with contextlib.suppress(BadFrame):
                movie.header(index)
            with contextlib.suppress(BadFrame, InsituError, EndOfSource):
                movie.read_into(index, slot)
    finally:
        movie.close()


def read_file(name: str, suffix: str, data: bytes) -> None:
    """Give `data` as one file to a reader."""
    path = place(name) / f"movie{suffix}"
    path.write_bytes(data)
    look(reader(name), path)


def read_raw(data: bytes) -> None:
    """Give `data` as the JSON beside a raw file of 4 kB."""
    path = place("raw") / "movie.raw"
    if not path.exists():
        path.write_bytes(bytes(range(256)) * 16)
    path.with_suffix(".json").write_bytes(data)
    look(reader("raw"), path)


def read_zarr(data: bytes) -> None:
    """Give `data` as the metadata, a zero byte, and the first chunk of a zarr array."""
    root = place("zarr") / "movie.zarr"
    metadata, _, chunk = data.partition(b"\0")
    for name in ("c/0/0/0", "0.0.0"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(chunk)
    form2 = b'"zarr_format":2' in metadata.replace(b" ", b"")
    for name in ("zarr.json", ".zarray"):
        (root / name).unlink(missing_ok=True)
    (root / (".zarray" if form2 else "zarr.json")).write_bytes(metadata)
    look(reader("zarr"), root)


def read_k2is(data: bytes) -> None:
    """Give pieces of `data` as the headers of successive blocks of the eight sectors of a K2-IS movie."""
    folder = place("k2is")
    (folder / "movie_.gtg").write_bytes(b"gtg")
    heads = [data[at : at + 40] for at in range(0, min(len(data), 320), 40)] or [b""]
    for sector in range(1, 9):
        with (folder / f"movie_{sector}.bin").open("wb") as file:
            file.truncate(33 * _BLOCK)  # sparse: costs nothing
            for block in range(33):
                file.seek(block * _BLOCK)
                file.write(heads[(block + sector) % len(heads)])
    look(reader("k2is"), folder / "movie_.gtg")


def read_folder(data: bytes) -> None:
    """Give the lines of `data` as the names of images in a folder."""
    folder = place("folder") / "movie"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    image = _small_image()
    for line in data.split(b"\n")[:24]:
        name = line.replace(b"\0", b"").replace(b"/", b"")[:200]
        if name not in {b"", b".", b".."}:
            with open(os.fsencode(folder) + b"/" + name, "wb") as file:  # noqa: PTH123 - a name of any bytes
                file.write(image)
    look(reader("folder"), folder)


@cache
def _small_image() -> bytes:
    return (CORPUS / "tiff" / "plain.tif").read_bytes()


def load_settings(data: bytes) -> None:
    """Give `data` as a settings file, and its lines as ``--set``."""
    from insitu import settings

    path = place("settings") / "my.toml"
    path.write_bytes(data)
    with contextlib.suppress(InsituError):
        settings.load(config=path)
    lines = data.decode("utf-8", "replace").splitlines()[:4]
    with contextlib.suppress(InsituError):
        settings.load(overrides=lines)


def load_weights(data: bytes) -> None:
    """Give `data` as weights, a zero line before it as their card."""
    from insitu.models.checkpoint import load_network, read_tensors, unpacked

    path = place("weights") / "mine.safetensors"
    card, mark, weights = data.partition(b"\0\0\n")
    path.write_bytes(weights if mark else data)
    path.with_suffix(".json").write_bytes(card if mark else b'{"architecture": "shallow"}')
    for load in (load_network, read_tensors, lambda p: unpacked(p.read_bytes(), p)):
        with contextlib.suppress(InsituError):
            load(path)


def load_pickle(data: bytes) -> None:
    """Give `data` as a ``.pt`` file."""
    from insitu import models

    path = place("pickle") / "mine.pt"
    path.write_bytes(data)
    path.with_suffix(".json").write_bytes(b'{"architecture": "shallow"}')
    with contextlib.suppress(InsituError):
        models.load(str(path))


def import_foreign(data: bytes) -> None:
    """Give `data` as weights of another program."""
    from insitu.models.importing import import_weights

    path = place("importing") / "theirs.pt"
    path.write_bytes(data)
    with contextlib.suppress(InsituError):
        import_weights(path)


def read_commits(data: bytes) -> None:
    """Give `data` as the commit log of a run."""
    from insitu.store.log import read_log

    out = place("commits")
    (out / "commits.jsonl").write_bytes(data)
    with contextlib.suppress(InsituError):
        log = read_log(out)
        log.parts("particles")
        if not (isinstance(log.planes, int) and all(isinstance(n, int) for n in log.counts.values())):
            raise TypeError("numbers of the log that are no numbers")


def open_run(data: bytes) -> None:
    """Give `data` as the ``run.json``, a zero byte, and the commit log of a run, and look at all it promises."""
    import insitu

    out = place("run")
    about, _, commits = data.partition(b"\0")
    (out / "run.json").write_bytes(about)
    (out / "commits.jsonl").write_bytes(commits)
    with contextlib.suppress(InsituError):
        run = insitu.open(out)
        repr(run)
        for table in (run.frames, run.particles, run.events, run.tracks):
            with contextlib.suppress(InsituError):
                table.to_arrow()


TARGETS: dict[str, Callable[[bytes], None]] = {
    **{
        name: partial(read_file, name, suffix)
        for name, suffix in {
            "tiff": ".tif", "mrc": ".mrc", "dm": ".dm4", "ser": ".ser", "emd": ".emd", "tvips": "_000.tvips",
            "npy": ".npy", "picture": ".png", "hdf5": ".h5", "video": ".avi",
        }.items()
    },
    "raw": read_raw,
    "zarr": read_zarr,
    "k2is": read_k2is,
    "folder": read_folder,
    "settings": load_settings,
    "weights": load_weights,
    "pickle": load_pickle,
    "importing": import_foreign,
    "commits": read_commits,
    "run": open_run,
}  # fmt: skip


def quiet() -> None:
    """Keep libraries from writing about every damaged file."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)


def seeds(name: str) -> list[Path]:
    """Return the files of a target's corpus."""
    return sorted(p for p in (CORPUS / name).iterdir() if p.is_file())


def strange(error: BaseException) -> str:
    """Return where an error that should not leave came from, in one line: what is mended once is found once."""
    import traceback

    steps = traceback.extract_tb(error.__traceback__)
    ours = [s for s in steps if "insitu/" in s.filename] or steps
    return json.dumps(f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}: {error}"[:300])
