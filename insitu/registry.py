"""The parts that can be exchanged: a tuple of lazy records, plus the entry points of other packages.

Nothing is imported until it is asked for. Order is preference: the first reader that claims a path gets it. A
third party registers through the entry-point groups ``insitu.readers``, ``insitu.models``, ``insitu.architectures``,
``insitu.linkers`` and ``insitu.sinks``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, Literal

Group = Literal["readers", "models", "architectures", "linkers", "sinks"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A part that can be loaded: `target` is ``module:attribute``, `needs` the modules it imports beyond the core."""

    name: str
    target: str
    about: str
    needs: tuple[str, ...] = ()
    extra: str = ""

    def missing(self) -> tuple[str, ...]:
        """Return the modules in `needs` that are not installed."""
        return tuple(m for m in self.needs if find_spec(m) is None)

    def load(self) -> Any:  # noqa: ANN401 - whatever was registered
        """Import the module and return the registered object."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)


READERS: tuple[Entry, ...] = (
    Entry("k2is", "insitu.read.k2is:K2ISReader", "Gatan K2-IS raw: .gtg and 8 sector .bin files"),
    Entry("folder", "insitu.read.folder:FolderReader", "folder of numbered images (tif, png, jpg, dm3, dm4, mrc, npy)"),
    Entry("tiff", "insitu.read.tiff:TiffReader", "TIFF, BigTIFF, OME-TIFF, ImageJ stacks"),
    Entry("mrc", "insitu.read.mrc:MrcReader", "MRC, plain and Direct Electron"),
    Entry("dm", "insitu.read.dm:DmReader", "Gatan DM3/DM4, single images and stacks"),
    Entry("ser", "insitu.read.ser:SerReader", "FEI TIA .ser series"),
    Entry("emd", "insitu.read.emd:EmdReader", "Velox and Berkeley EMD (the image stream)", ("h5py",)),
    Entry("tvips", "insitu.read.tvips:TvipsReader", "TVIPS .tvips, also split over files"),
    Entry("npy", "insitu.read.npy:NpyReader", "numpy .npy stacks"),
    Entry("picture", "insitu.read.picture:PictureReader", "single PNG, JPEG and BMP pictures"),
    Entry("raw", "insitu.read.raw:RawReader", "raw frames with a JSON sidecar"),
    Entry("zarr", "insitu.read.zarr:ZarrReader", "zarr and OME-Zarr arrays", ("zarr",)),
    Entry("hdf5", "insitu.read.hdf5:Hdf5Reader", "HDF5 stacks", ("h5py",)),
    Entry("video", "insitu.read.video:VideoReader", "MP4, MOV, AVI (lossy: not for measurement)", ("av",), "video"),
    Entry("hyperspy", "insitu.read.hyperspy:HyperspyReader", "the rest, through rosettasciio", ("rsciio",), "hyperspy"),
)

# methods without weights; trained weights are files, found by `insitu.models`
MODELS: tuple[Entry, ...] = (
    Entry("classical", "insitu.models.classical:Classical", "background-flattened, smoothed, thresholded; no weights"),
    Entry("bragg", "insitu.models.bragg:Bragg", "Bragg-peak filtering, for images with lattice fringes; no weights"),
)

# networks that weights belong to and that can be trained
ARCHITECTURES: tuple[Entry, ...] = (
    Entry("shallow", "insitu.models.shallow:Shallow", "one layer of 9×9 filters and a 1×1 (Horwath 2020)", ("torch",)),
    Entry("hourglass", "insitu.models.hourglass:Hourglass", "encoder-decoder without skips (Horwath 2020)", ("torch",)),
    Entry("unet", "insitu.models.unet:UNet", "four-level UNet 8-16-32-64 (Horwath 2020)", ("torch",)),
    Entry("light_unet", "insitu.models.light_unet:LightUNet", "light UNet 4-8-16-32 (Groschner 2021)", ("torch",)),
    Entry("resunet", "insitu.models.resunet:ResUNet", "small residual UNet (Sytwu 2022)", ("torch",)),
    Entry("fcn8s", "insitu.models.fcn8s:FCN8s", "FCN-8s on VGG-16 (Long 2015)", ("torch",)),
)

LINKERS: tuple[Entry, ...] = (
    Entry("optimal", "insitu.link.linker:OptimalLinker", "optimal assignment per subnet, streaming", ("numba",)),
)

SINKS: tuple[Entry, ...] = (
    Entry("run-folder", "insitu.store.commit:RunFolder", "run folder: parquet tables and OME-Zarr labels"),
)

_BUILT_IN: dict[Group, tuple[Entry, ...]] = {
    "readers": READERS,
    "models": MODELS,
    "architectures": ARCHITECTURES,
    "linkers": LINKERS,
    "sinks": SINKS,
}


@cache  # scanning the installed packages takes milliseconds, and every movie asks
def entries(group: Group) -> tuple[Entry, ...]:
    """Return the records of a group: built-in first, then those of installed packages."""
    plugged = (
        Entry(p.name, p.value, f"from {p.dist.name if p.dist else '?'}") for p in entry_points(group=f"insitu.{group}")
    )
    return (*_BUILT_IN[group], *plugged)
