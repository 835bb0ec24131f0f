"""Names in a run folder. Nothing of a run is written outside it.

Paths inside the folder are kept as POSIX strings relative to it, so that a run can be moved and zipped.
"""

from __future__ import annotations

RUN = "run.json"
SETTINGS = "settings.toml"
COMMITS = "commits.jsonl"
PROBLEMS = "problems.jsonl"
LOCK = "lock"
TOLD = "events-told.json"  # up to which event `--on-event` has told another program
PARTS = "parts"
STATE = "state"
RANGES = "ranges"  # frames that other processes have analysed and that wait to be linked
LABELS = "labels.ome.zarr"
LABEL_ARRAY = f"{LABELS}/0"
# notes of the operator, written by the live page
MARKS = "marks.jsonl"
# what the sensors said, from `--log`
ENVIRONMENT = "environment.parquet"

TABLES = ("particles", "events", "frames", "tracks")
# made on demand by other verbs; replaced together with the run they describe
ON_DEMAND = (
    ENVIRONMENT, "coarsening", "figures", "report.html", "overlay.mp4", "overlay.gif", "overlay.png", MARKS,
)  # fmt: skip

# written by the store itself: nothing a caller says about a run can replace these
RUN_KEYS = (
    "schema",
    "insitu",
    "status",
    "started",
    "finished",
    "exit",
    "counts",
    "calibration",
    "geometry",
    "store",
)

OURS = (
    RUN,
    SETTINGS,
    COMMITS,
    PROBLEMS,
    LOCK,
    TOLD,
    PARTS,
    STATE,
    RANGES,
    LABELS,
    *(f"{table}.parquet" for table in TABLES),
    *ON_DEMAND,
)


def table(name: str) -> str:
    """Return the path of a finished table."""
    return f"{name}.parquet"


def part(name: str, plane: int) -> str:
    """Return the path of a table's rows of the unit that begins with `plane`."""
    return f"{PARTS}/{name}-{plane:08d}.parquet"


def merged_part(name: str, plane: int, planes: int) -> str:
    """Return the path of a table's rows of units that were merged: planes from `plane` to before `planes`."""
    return f"{PARTS}/{name}-{plane:08d}-{planes:08d}.parquet"


def part_plane(path: str) -> int:
    """Return the first plane of a part, pending planes or state file, from its path."""
    return int(path.rsplit("-", 1)[1].partition(".")[0])


def tracker_state(plane: int) -> str:
    """Return the path of the tracker's state after `plane` planes."""
    return f"{STATE}/tracker-{plane:08d}.npz"


def pending_planes(plane: int) -> str:
    """Return the path of packed label planes, from `plane` on, whose shard is not complete yet."""
    return f"{STATE}/planes-{plane:08d}.npz"


def shard(number: int) -> str:
    """Return the path of a shard of the label array."""
    return f"{LABEL_ARRAY}/c/{number}/0/0"


def holds_planes(path: str) -> bool:
    """Return whether a state file holds packed label planes."""
    return path.startswith(f"{STATE}/planes-")
