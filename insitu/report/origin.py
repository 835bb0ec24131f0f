"""Where the numbers of a report come from: settings that differ from the defaults, versions, and how to repeat them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insitu.errors import InsituError
from insitu.settings import catalogue, read_file
from insitu.settings.catalogue import to_toml
from insitu.store import layout

if TYPE_CHECKING:
    from insitu.report.material import Material


@dataclass(frozen=True, slots=True)
class Changed:
    """A setting that differs from its default, as it is written in TOML, and what it means."""

    key: str
    value: str
    default: str
    meaning: str


def changed(material: Material) -> list[Changed] | str:
    """Return the settings that differ from the defaults, or why they are not known."""
    try:
        settings = read_file(material.run.path / layout.SETTINGS)
    except InsituError as error:
        return error.message
    return [
        Changed(key, to_toml(value), to_toml(catalogue()[key].default), catalogue()[key].doc.text)
        for key, value in settings.changed().items()
    ]


def versions(material: Material) -> list[tuple[str, str]]:
    """Return program, library and machine, as the run noted them."""
    about = material.about
    identity, host = about.get("identity") or {}, about.get("host") or {}
    fingerprint = (about.get("source") or {}).get("fingerprint")
    sha256 = fingerprint.get("sha256") if isinstance(fingerprint, dict) else fingerprint
    rows = [
        ("insitu", about.get("insitu")),
        ("Python", host.get("python")),
        *sorted((identity.get("versions") or {}).items()),
        ("model", identity.get("model")),
        ("weights", identity.get("weights")),
        ("device", identity.get("device")),
        ("precision", identity.get("precision")),
        ("network batch", identity.get("batch")),
        ("system", host.get("system")),
        ("run finished", about.get("finished")),
        ("movie sha-256", sha256),
    ]
    return [(name, str(value)) for name, value in rows if value not in (None, "")]


def command(material: Material) -> str:
    """Return the command that gives this run again, with every setting that differs from the defaults."""
    settings = changed(material)
    name, _, member = str(material.about["source"]["path"]).partition("::")
    movie = f"{Path(name).name}{'::' if member else ''}{member}"
    parts = ["insitu", "run", movie, "-o", f"{material.run.path.name}-again"]
    if isinstance(settings, str):
        return shlex.join([*parts, "--config", f"{material.run.path.name}/{layout.SETTINGS}"])
    given = {c.key: c.value for c in settings}
    for option, key in (("--nm-per-px", "calibration.nm_per_px"), ("--fps", "calibration.fps")):
        if key in given:
            parts += [option, given.pop(key)]
    if selection := _selection(material.about):
        parts += ["--frames", selection]
    for key, value in given.items():
        parts += ["--set", f"{key}={value}"]
    return shlex.join(parts)


def statistics_command(material: Material) -> str:
    """Return the command that made the statistics, with names in place of paths; empty where there are none."""
    told = material.summary.get("command")
    if not isinstance(told, str):
        return ""
    words = [Path(word).name if "/" in word else word for word in shlex.split(told)]
    return shlex.join(words)


def script(material: Material) -> str:
    """Return five lines of Python that read this run."""
    return "\n".join(
        [
            "import insitu",
            f"run = insitu.open({str(material.run.path.name)!r})",
            "particles = run.particles.to_pandas()   # one row a particle a frame",
            "tracks, events = run.tracks.to_pandas(), run.events.to_pandas()",
            'print(tracks.groupby("fate").size(), events.groupby("kind").size())',
        ]
    )


def _selection(about: dict[str, Any]) -> str:
    chosen = about.get("selection") or {}
    start, stop, step = chosen.get("start") or 0, chosen.get("stop"), chosen.get("step") or 1
    if (start, stop, step) == (0, None, 1):
        return ""
    return f"{start}:{'' if stop is None else stop}:{step}"
