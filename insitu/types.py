"""The values that flow through the engine, and the protocols of its replaceable parts.

Everything here is frozen and made of numpy arrays and plain values: no torch, no pandas, no behaviour beyond what a
value knows about itself. Lengths are camera pixels of the full frame unless a name says otherwise; pixel centres lie at
integers, `y` points down, `x` right, boxes are half-open.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

Status = Literal["ok", "bad", "missing"]
EventKind = Literal[
    "appearance", "nucleation", "coalescence", "splitting", "dissolution", "entering", "leaving", "lost", "mark"
]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Pixel size and frame time, each with where it came from; unknown is None, never 1.0.

    Attributes
    ----------
    nm_per_px : float or None
        Side of a camera pixel in nm.
    nm_source : str
        Where `nm_per_px` came from, in words for the user: ``"--nm-per-px"``, ``"ImageJ tags"``, ``"unknown"``.
    s_per_frame : float or None
        Time from the start of one exposure to the start of the next, in s.
    s_source : str
        Where `s_per_frame` came from.
    exposure_s : float or None
        Exposure time of one frame in s, where the source knows it.
    nm_per_px_y : float or None
        Pixel size along y in nm, only where the source states another one than along x (`nm_per_px`).
    """

    nm_per_px: float | None = None
    nm_source: str = "unknown"
    s_per_frame: float | None = None
    s_source: str = "unknown"
    exposure_s: float | None = None
    nm_per_px_y: float | None = None


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a source says about itself before any frame is read.

    `n_frames` counts missing frames too and is None while unknown; `notes` are sentences a user must see (``"RGB
    averaged to grey"``, ``"lossy video: not for measurement"``).
    """

    path: str
    format: str
    height: int
    width: int
    dtype: np.dtype[Any]
    n_frames: int | None
    calibration: Calibration = field(default_factory=Calibration)
    notes: tuple[str, ...] = ()
    lossy: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a frame in px."""
        return self.height, self.width


@dataclass(frozen=True, slots=True)
class Header:
    """What is known about one frame without reading its pixels.

    `source` is the file the frame lies in (relative to the source's folder), `source_number` the number in the file
    name or the page; `time_s` the start of exposure since frame 0, only when the source records it frame by frame.
    """

    source: str
    source_number: int
    status: Literal["ok", "missing"] = "ok"
    time_s: float | None = None
    timestamp_utc: str | None = None
    exposure_s: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame of the source's timeline: pixels where it could be read, a reason where it could not.

    Attributes
    ----------
    index : int
        0-based position in the source's timeline, missing frames included.
    image : ndarray of shape (H, W), camera dtype, or None
        None unless `status` is ``"ok"``. Owned by the batch slot: copy it to keep it.
    flags : tuple of str
        Reasons and remarks: ``"truncated"``, ``"all zero"``, ``"not finite"``, …; `detail` says it in a sentence.
    """

    index: int
    image: NDArray[Any] | None
    status: Status
    flags: tuple[str, ...]
    header: Header
    time_s: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """A mask as its row runs, in raster order; the currency between device and host.

    Attributes
    ----------
    shape : tuple of int
        Height and width of the mask in (binned) px.
    row, start, stop : int32 arrays of shape (R,)
        Row of each run and its half-open column range.
    label : int32 array of shape (R,)
        Component of each run, 1…`n_labels` in raster order of the first pixel; 0 before `components` has run.
    intensity_sum : int64 or float64 array of shape (R,), or None
        Sum of raw counts over the run (float64 only for float cameras).
    probability_sum : int64 array of shape (R,), or None
        Sum over the run of ``round(65535 p)``; integers, so that no order of summation changes it.
    origin : tuple of int
        Camera pixel (y, x) of the region's first pixel; `bin` is the side of a mask pixel in camera pixels.
    """

    shape: tuple[int, int]
    row: NDArray[np.int32]
    start: NDArray[np.int32]
    stop: NDArray[np.int32]
    label: NDArray[np.int32]
    n_labels: int = 0
    intensity_sum: NDArray[Any] | None = None
    probability_sum: NDArray[np.int64] | None = None
    origin: tuple[int, int] = (0, 0)
    bin: int = 1

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> Self:
        """Return the runs of a mask without a single pixel."""
        none = np.empty(0, np.int32)
        return cls(shape, none, none, none, none)


@dataclass(frozen=True, slots=True)
class Reference:
    """Whole-movie quantities, taken once from the first `prepare.reference_frames` usable frames by index, then frozen.

    Stored in ``run.json`` and given to every worker: no frame ever depends on frames yet to come.

    Attributes
    ----------
    polarity : {"dark", "bright"}
        Particles darker or brighter than the support.
    level, scale : float
        Median and robust spread of the support in raw counts.
    saturation : float
        Largest count the camera can give (what "all saturated" means).
    frames : tuple of int
        Indices the values were taken from.
    """

    polarity: Literal["dark", "bright"]
    level: float
    scale: float
    saturation: float
    frames: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A batch on the device: what the model sees, and the raw counts that are measured.

    Attributes
    ----------
    input : torch.Tensor of shape (B, H, W), float32
        Normalised so that the support is about 0 and particles are positive whatever their polarity.
    counts : ndarray or tensor of shape (B, H, W)
        Raw counts of the analysed region (summed over bin×bin pixels), int or float; never normalised.
    origin, bin
        As in `Runs`.
    """

    input: Any
    counts: Any
    origin: tuple[int, int] = (0, 0)
    bin: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Segmented:
    """The unlabelled runs of one frame, with their sums, and the threshold that made them."""

    runs: Runs
    threshold: float | None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Labelled runs without the small components, their particles, and what was left out."""

    runs: Runs
    particles: Particles
    n_small: int
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Particles:
    """The particles of one frame as columns of equal length n, in `label` order; units and meaning stand in `schema`.

    float64 unless noted: `label` uint16, `area_px` int32, `bbox_*` int32, `touches_edge` and `composite` bool.
    """

    label: NDArray[np.uint16]
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    area_px: NDArray[np.int32]
    equivalent_diameter_px: NDArray[np.float64]
    major_axis_px: NDArray[np.float64]
    minor_axis_px: NDArray[np.float64]
    eccentricity: NDArray[np.float64]
    orientation_rad: NDArray[np.float64]
    perimeter_px: NDArray[np.float64]
    circularity: NDArray[np.float64]
    bbox_y0: NDArray[np.int32]
    bbox_x0: NDArray[np.int32]
    bbox_y1: NDArray[np.int32]
    bbox_x1: NDArray[np.int32]
    mean_intensity: NDArray[np.float64]
    mean_probability: NDArray[np.float64]
    touches_edge: NDArray[np.bool_]
    composite: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def empty(cls) -> Self:
        """Return the particles of a frame that has none."""
        dtypes = {"label": np.uint16, "area_px": np.int32, "touches_edge": np.bool_, "composite": np.bool_}
        names = [f.name for f in fields(cls)]
        boxes = dict.fromkeys((n for n in names if n.startswith("bbox_")), np.int32)
        return cls(*(np.empty(0, (dtypes | boxes).get(n, np.float64)) for n in names))


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to particles; one row of ``events.parquet`` (units and meaning in `schema.EVENTS`).

    `frame` is when it happened, `decided_frame` when enough had been seen to say so.
    """

    kind: EventKind
    frame: int
    decided_frame: int
    y: float
    x: float
    parents: tuple[int, ...] = ()
    children: tuple[int, ...] = ()
    parent_areas_px: tuple[int, ...] = ()
    child_areas_px: tuple[int, ...] = ()
    contact_frame: int | None = None
    gap_px: float | None = None
    approach_px_per_frame: float | None = None
    volume_balance: float | None = None
    touches_edge: bool = False
    confidence: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """All that the engine knows about one frame: the only thing a sink, the live page or a `stream` user sees.

    Attributes
    ----------
    frame : Frame
        Without its pixels once it has left the pipeline.
    runs : Runs
        Labelled runs of the particles that were kept; `label` equals ``particles.label``.
    ids : int64 array of shape (n,)
        Track id (column ``particle``) of each row of `particles`.
    events : tuple of Event
        Events decided by this frame (their `frame` may lie earlier).
    n_small : int
        Components below ``measure.min_area_px``, left out.
    threshold : float or None
        Probability that was the threshold.
    drift_px : tuple of float
        Cumulative stage shift (y, x) to subtract.
    flags : tuple of str
        Flags of the frame and of every stage.
    """

    frame: Frame
    runs: Runs
    particles: Particles
    ids: NDArray[np.int64]
    events: tuple[Event, ...] = ()
    n_small: int = 0
    threshold: float | None = None
    drift_px: tuple[float, float] = (0.0, 0.0)
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a sink is told before the first result: where to write, what the numbers mean; `region` in camera px."""

    out: Path
    source: SourceInfo
    calibration: Calibration
    region: tuple[int, int]
    first_frame: int = 0
    step: int = 1
    origin: tuple[int, int] = (0, 0)
    bin: int = 1


@runtime_checkable
class Reader(Protocol):
    """A movie, opened. Random access by frame; fills a slot it is given, never holds the stack."""

    @property
    def info(self) -> SourceInfo:
        """Shape, dtype, length and calibration."""

    def header(self, index: int) -> Header:
        """Tell what is known of frame `index` without its pixels; `status` is ``"missing"`` in a gap."""

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` (H, W, the source's dtype) with frame `index`; return flags.

        Raises
        ------
        BadFrame
            The frame exists but cannot be used.
        EndOfSource
            There is no such frame and never will be (only when ``info.n_frames`` is None).
        """

    def close(self) -> None:
        """Release files."""


@runtime_checkable
class Linker(Protocol):
    """Gives particles their identity over time; all state is small and serialisable."""

    def step(self, index: int, positions: NDArray[np.float64]) -> NDArray[np.int64]:
        """Link the (n, 2) positions (y, x) of used frame `index`; return n track ids."""

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Everything needed to go on, as arrays."""

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from `state`."""


@runtime_checkable
class Model(Protocol):
    """Frames → particle probability."""

    @property
    def name(self) -> str:
        """Name and version."""

    def probabilities(self, images: Any) -> Any:  # noqa: ANN401 - a torch tensor; types.py must not import torch
        """Tensor (B, H, W) of normalised float32 → tensor (B, H, W) of probabilities in 0…1."""


@runtime_checkable
class Sink(Protocol):
    """Where results go. A lossless sink blocks the pipeline rather than lose a frame."""

    def write(self, result: FrameResult) -> None:
        """Take the next result, in frame order."""

    def close(self) -> None:
        """Finish; everything given is durable afterwards."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...
