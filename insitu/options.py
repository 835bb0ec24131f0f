"""What can be set, stage by stage: one frozen dataclass each, plain Python so that the device path needs no pydantic.

`settings` builds its validated models from these classes, so a default, a unit and a meaning are written once, here.
Units stand in the names (`_px`, `_frames`, `_nm`, `_s`). Lengths are camera pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal


@dataclass(frozen=True, slots=True)
class Doc:
    """Meaning of a setting, with the range that is allowed (`ge`/`le` inclusive, `gt` exclusive).

    `example` is a value, as TOML, for settings whose default says nothing to a user who gave a wrong one.
    """

    text: str
    ge: float | None = None
    le: float | None = None
    gt: float | None = None
    example: str = ""


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """From camera counts to the normalised float image that a model sees."""

    hot_pixels: Annotated[
        Literal["median", "none"], Doc("3×3 median against hot pixels, on the model's input only; counts stay raw.")
    ] = "none"
    bin: Annotated[int, Doc("Average bin×bin camera pixels before segmentation.", ge=1, le=16)] = 1
    crop: Annotated[
        tuple[int, int, int, int] | None,
        Doc("Region (y0, x0, y1, x1) in camera pixels, half-open; none = whole frame.", example="[0,0,512,512]"),
    ] = None
    reference_frames: Annotated[
        int, Doc("Frames, by index, from which whole-movie quantities are taken; then frozen.", ge=1, le=1024)
    ] = 8


@dataclass(frozen=True, slots=True)
class SegmentOptions:
    """From normalised frames to a boolean mask."""

    model: Annotated[
        str, Doc("Weights by name, a weights file, or a method without weights (`insitu models list`).")
    ] = "default"
    polarity: Annotated[
        Literal["auto", "dark", "bright"],
        Doc("Particles darker (bright field) or brighter (dark field) than the support; auto: from the first frames."),
    ] = "auto"
    threshold: Annotated[
        float | None,
        Doc(
            "Probability above which a pixel belongs to a particle; none = the model card's.",
            gt=0.0,
            le=1.0,
            example="0.5",
        ),
    ] = None
    batch: Annotated[int, Doc("Frames per network call; the tail batch is padded to it.", ge=1, le=256)] = 1
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Doc("Arithmetic of a network; auto: bfloat16 where the processor has it. What is taken is recorded."),
    ] = "auto"
    preview: Annotated[
        int,
        Doc(
            "Segment means over blocks of so many px a side: a quick look, every frame flagged, never for sizes.",
            ge=1,
            le=8,
        ),
    ] = 1
    lanes: Annotated[
        int,
        Doc(
            "Frames (batches on a GPU) worked on at a time, each on one core; 0 = as many as are of use.", ge=0, le=256
        ),
    ] = 0
    device: Annotated[str, Doc("auto, cpu, cuda or cuda:N.")] = "auto"
    reuse_memory: Annotated[
        bool, Doc("Keep freed memory in the process (glibc): 3–6 times faster on a CPU, same bits.")
    ] = True


@dataclass(frozen=True, slots=True)
class MeasureOptions:
    """From labelled runs to the particles table."""

    min_area_px: Annotated[int, Doc("Components below this area are counted in `n_small` and left out.", ge=1)] = 20
    perimeter: Annotated[bool, Doc("Measure `perimeter_px` and `circularity` (NaN otherwise).")] = True
    split: Annotated[
        Literal["none", "watershed"],
        Doc("Particles that touch: one outline, or cut apart where its neck is narrow, each frame by itself."),
    ] = "none"


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """From positions to identities."""

    search_range_px: Annotated[float, Doc("Farthest a particle may move between two used frames.", gt=0.0)] = 15.0
    memory_frames: Annotated[
        int, Doc("Used frames a particle may be unseen and still keep its identity.", ge=0, le=1000)
    ] = 3
    blank_frames: Annotated[
        int,
        Doc(
            "Frames in a row in which most particles vanish at once (beam blanked) that do not count as unseen.",
            ge=0,
            le=100000,
        ),
    ] = 20
    drift_range_px: Annotated[
        float,
        Doc("Longest sudden step of the stage that is found before linking; 0 = no drift is looked for.", ge=0.0),
    ] = 100.0
    adaptive_stop_px: Annotated[
        float | None,
        Doc(
            "Where more than 15 particles compete the range shrinks by adaptive_step until fewer do, at most to this; "
            "none = one range everywhere.",
            gt=0.0,
            example="4.0",
        ),
    ] = None
    adaptive_step: Annotated[float, Doc("Factor by which the range shrinks at a time.", ge=0.01, le=0.999)] = 0.95
    predict: Annotated[bool, Doc("Look for each particle where its recent velocity takes it.")] = False
    max_gap_s: Annotated[
        float | None,
        Doc("Longer without a used frame, all tracks end as lost; none, or time unknown: max_gap_frames.", gt=0.0),
    ] = None
    max_gap_frames: Annotated[
        int, Doc("More unusable frames in a row than this end all tracks as lost.", ge=0, le=1000000)
    ] = 100
    method: Annotated[
        Literal["optimal", "trackpy"], Doc("How subnets are solved; trackpy: slower, refuses large subnets.")
    ] = "optimal"


@dataclass(frozen=True, slots=True)
class EventOptions:
    """What is called coalescence, dissolution, entering and leaving."""

    overlap_fraction: Annotated[
        float,
        Doc("Share of a vanished particle's area that its successor must cover to count as its place.", gt=0.0, le=1.0),
    ] = 0.3
    contact_gap_px: Annotated[float, Doc("Largest gap between two outlines that counts as contact.", ge=0.0)] = 6.0
    volume_tolerance: Annotated[
        float, Doc("Largest |volume_balance| that still counts as conserved in a fast merger.", gt=0.0)
    ] = 0.5
    shrink_fraction: Annotated[
        float,
        Doc(
            "A dissolution requires the last area below this share of the largest, or a sure decline out of sight.",
            gt=0.0,
            le=1.0,
        ),
    ] = 0.7
    birth_frames: Annotated[
        int, Doc("Used frames a new particle is watched before its beginning is named.", ge=0, le=1000)
    ] = 8
    contact_frames: Annotated[
        int,
        Doc(
            "Used frames a contact must last to be a coalescence: shorter, it is one `composite` row and no event. "
            "Frames are held back this long while a contact is open.",
            ge=0,
            le=200,
        ),
    ] = 10
    in_contact: Annotated[
        Literal["composite", "split"],
        Doc("Particles that touch and have not merged: one `composite` row, or cut apart at the neck into a row each."),
    ] = "composite"
    survivor: Annotated[
        Literal["new", "larger"],
        Doc("Who goes on after a coalescence: a new particle with parents, or the larger parent."),
    ] = "new"


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How results are committed."""

    unit_frames: Annotated[int, Doc("Frames per commit unit.", ge=1, le=4096)] = 64
    unit_ms: Annotated[
        float, Doc("While watching: a unit that is not full is committed after so many ms.", gt=0.0, le=600000.0)
    ] = 150.0
    shard_frames: Annotated[int, Doc("Label planes per zarr shard.", ge=1, le=4096)] = 64
    labels: Annotated[bool, Doc("Write label images (`labels.ome.zarr`).")] = True
    fsync: Annotated[bool, Doc("Wait for the disk at each commit; only a throw-away run should turn this off.")] = True


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How frames are fetched."""

    prefetch_frames: Annotated[int, Doc("Frames read ahead of the segmentation.", ge=1, le=4096)] = 8
    batch_ms: Annotated[
        float, Doc("While watching: longest wait in ms, from its first frame, for a batch to fill.", gt=0.0, le=60000.0)
    ] = 100.0
    on_bad: Annotated[Literal["skip", "stop"], Doc("A frame that cannot be used: flag its row and go on, or stop.")] = (
        "skip"
    )


@dataclass(frozen=True, slots=True)
class CalibrationOptions:
    """Given by the user, these outrank the file's own values."""

    nm_per_px: Annotated[
        float | None, Doc("Pixel size in nm; none = the file's, or unknown.", gt=0.0, example="0.2")
    ] = None
    fps: Annotated[float | None, Doc("Frames per second; none = the file's, or unknown.", gt=0.0, example="400")] = None


@dataclass(frozen=True, slots=True)
class CoarseningOptions:
    """How the statistics of a finished run are made; it changes nothing in the run, so it is no stage."""

    windows: Annotated[int, Doc("Time windows of equal length, at most.", ge=1, le=1000)] = 40
    window_frames: Annotated[
        int, Doc("Used frames in a window, at least, as long as there are 10 windows.", ge=1, le=1000000)
    ] = 4
    distribution_windows: Annotated[
        int, Doc("Windows, evenly spread, that size distributions and distances are shown for.", ge=1, le=100)
    ] = 5
    contact_angle_deg: Annotated[
        float, Doc("Contact angle through the particle; 90 = hemisphere, 180 = sphere.", gt=0.0, le=180.0)
    ] = 90.0
    bootstrap: Annotated[int, Doc("Draws of the bootstrap over merge families; 0 = none.", ge=0, le=100000)] = 500
    confidence: Annotated[float, Doc("Coverage of the intervals.", gt=0.0, le=0.999)] = 0.95
    seed: Annotated[int, Doc("Seed of every random draw of the statistics.", ge=0)] = 0
    size_classes: Annotated[int, Doc("Classes of initial size, of equal number.", ge=1, le=20)] = 3
    detection_radius_px: Annotated[
        float, Doc("Below this radius particles are counted as near the detection limit.", gt=0.0)
    ] = 3.0


STAGES: dict[str, type] = {
    "calibration": CalibrationOptions,
    "read": ReadOptions,
    "prepare": PrepareOptions,
    "segment": SegmentOptions,
    "measure": MeasureOptions,
    "link": LinkOptions,
    "events": EventOptions,
    "store": StoreOptions,
}
