"""``run.json``: what a run is, how it went, and whether a resumed run is still the same one."""

from __future__ import annotations

import json
import math
import os
import tomllib
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insitu import __version__
from insitu.errors import CommandError, InputError
from insitu.schema import SCHEMA_VERSION
from insitu.store import layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from insitu.options import StoreOptions
    from insitu.types import RunInfo

# settings that change how a run is done, not what it gives: a resumed run may have others
FREE_SETTINGS = (
    "store.unit_frames", "store.unit_ms", "store.fsync", "read.prefetch_frames", "read.batch_ms", "read.on_bad",
    "segment.lanes",
    "segment.device",  # how it was asked for: the device itself is compared under "identity"
)  # fmt: skip


def begin(info: RunInfo, options: StoreOptions, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of ``run.json`` when a run starts; `about` adds to it and cannot change what stands here."""
    source = asdict(info.source) | {"dtype": str(info.source.dtype), "path": relative(info.source.path, info.out)}
    source.pop("calibration")
    given = dict(about)
    content: dict[str, Any] = plain(
        {
            "schema": SCHEMA_VERSION,
            "insitu": __version__,
            "status": "running",
            "started": now(),
            "finished": None,
            "exit": None,
            "counts": {},
            "source": {**given.pop("source", {}), **source},
            "calibration": asdict(info.calibration),
            "geometry": geometry(info),
            "store": asdict(options),
            **{k: v for k, v in given.items() if k not in layout.RUN_KEYS},
        }
    )
    return content


def geometry(info: RunInfo) -> dict[str, Any]:
    """Return what the numbers of a run refer to: region, origin, binning, first frame and step."""
    return {
        "region": list(info.region),
        "origin": list(info.origin),
        "bin": info.bin,
        "first_frame": info.first_frame,
        "step": info.step,
    }


def now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def relative(source: str, out: Path) -> str:
    """Return a source's path (``file::member`` too) relative to the run folder where it exists, else as given."""
    name, mark, member = (source, "", "") if Path(source).exists() else source.partition("::")
    return f"{Path(os.path.relpath(name, out)).as_posix()}{mark}{member}" if name and Path(name).exists() else source


def plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return `value` as JSON can hold it: tuples as lists, NaN and infinity as null, paths and the rest as text."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)


def encode(about: Mapping[str, Any]) -> bytes:
    """Return the bytes of ``run.json``."""
    return json.dumps(plain(about), indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def read_about(out: Path) -> dict[str, Any] | None:
    """Read ``run.json``; None where there is none.

    Raises
    ------
    InputError
        It cannot be read, or a newer insitu wrote it.
    """
    try:
        content = json.loads((out / layout.RUN).read_bytes())
        schema, writer = int(content["schema"]), str(content["insitu"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"'{out / layout.RUN}' is not the run.json of an insitu run ({error})",
            "name the folder of a run, as printed in the last line of `insitu run`",
        ) from None
    if schema > SCHEMA_VERSION:
        raise InputError(
            f"'{out}' was written by insitu {writer} (schema {schema}); "
            f"this is {__version__} (schema {SCHEMA_VERSION})",
            "pip install -U insitu; the parquet tables open in pandas or duckdb meanwhile",
        )
    return dict(content)


def describe(about: Mapping[str, Any], planes: int) -> str:
    """Return when a run finished and how many frames it has, for people."""
    frames = f"{planes:,} frames".replace(",", " ")
    if about.get("finished"):
        return f"finished {about['finished'][:16].replace('T', ' ')} UTC, {frames}"
    interrupted = "interrupted, " if about.get("status") == "interrupted" else ""
    return f"{interrupted}not finished, {frames} safe"


def check_same(
    out: Path, stored: Mapping[str, Any], fresh: Mapping[str, Any], settings: str, stored_settings: str
) -> None:
    """Compare the run that a folder holds with the one that is to be resumed.

    Compared are the settings (but `FREE_SETTINGS`), the source's shape, dtype and fingerprint, the calibration, the
    geometry, the selected frames, and whatever the caller put into ``about["identity"]`` (device type, versions,
    model).

    Raises
    ------
    CommandError
        They differ; the message says where.
    """
    differing = _changes(stored, fresh, ("schema", "insitu"))
    old, new = _flat(tomllib.loads(stored_settings)), _flat(tomllib.loads(settings))
    differing += _changes(old, new, sorted({*old, *new} - {*FREE_SETTINGS}))
    for section, keys in _COMPARED.items():
        was, given = _flat(stored.get(section) or {}), _flat(fresh.get(section) or {})
        names = [n for n in sorted({*was, *given}) if not keys or n.partition(".")[0] in keys]
        differing += [f"{section} {change}" for change in _changes(was, given, names)]
    hint = f"repeat the first command (--config {out / layout.SETTINGS}), choose -o OTHER, or --overwrite"
    if another := _another_movie(stored.get("source") or {}, fresh.get("source") or {}):
        differing.insert(0, another)
        hint = "give the movie of this run as it was then, choose -o OTHER, or --overwrite"
    if differing:
        shown = "; ".join(differing[:4]) + (" …" if len(differing) > 4 else "")
        raise CommandError(f"'{out}' cannot be resumed: {shown}", hint)


_COMPARED: dict[str, tuple[str, ...]] = {
    "source": ("height", "width", "dtype"),
    "calibration": ("nm_per_px", "s_per_frame"),
    "geometry": (),
    "selection": (),
    "identity": (),
}


def _another_movie(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say that two sources are not the same files with the same content; empty where they are."""
    old, new = was.get("fingerprint"), now.get("fingerprint")
    if old == new:
        return ""
    sizes = [f.get("bytes") if isinstance(f, dict) else None for f in (old, new)]
    grown = f" ({sizes[0]} bytes then, {sizes[1]} now)" if None not in sizes and sizes[0] != sizes[1] else ""
    return f"source fingerprint differs: it is another movie, or has changed since{grown}"


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    return [f"{n} was {old.get(n)}, now {new.get(n)}" for n in names if old.get(n) != new.get(n)]


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values under dotted names."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
