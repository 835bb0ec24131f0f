"""Names of sensors and their units, as the heads of logs write them: ``"Tmeas[C]"``, ``"Holder Pressure (Torr)"``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from insitu.schema import SENSOR_UNITS

if TYPE_CHECKING:
    from collections.abc import Iterable

_SPELLINGS = {
    "C": ("c", "°c", "degc", "deg c", "degree c", "celsius", "centigrade"),
    "K": ("k", "kelvin"),
    "Torr": ("torr",),
    "mbar": ("mbar", "millibar"),
    "bar": ("bar",),
    "Pa": ("pa", "pascal"),
    "hPa": ("hpa", "hectopascal"),
    "kPa": ("kpa", "kilopascal"),
    "V": ("v", "volt"),
    "mV": ("mv", "millivolt"),
    "A": ("a", "amp", "ampere"),
    "mA": ("ma", "milliamp", "milliampere"),
    "uA": ("ua", "µa", "microamp", "microampere"),
    "W": ("w", "watt"),
    "mW": ("mw", "milliwatt"),
    "Ohm": ("ohm", "Ω", "ω"),
    "percent": ("%", "percent"),
    "sccm": ("sccm",),
    "ml_min": ("ml/min", "mln/min"),
    "e_nm2_s": ("e/nm2/s", "e/nm²/s", "e-/nm2/s", "e-/nm²/s", "e⁻ nm⁻² s⁻¹", "e/(nm²·s)", "e/(nm2 s)"),
    "e_A2_s": ("e/a2/s", "e/å2/s", "e/å²/s", "e-/a2/s", "e-/å2/s", "e-/å²/s", "e⁻ å⁻² s⁻¹"),
}
_SUFFIX = {spelling: suffix for suffix, spellings in _SPELLINGS.items() for spelling in spellings}
_IN_BRACKETS = re.compile(r"^(?P<name>.*?)\s*[(\[](?P<unit>[^()\[\]]*(?:\([^()]*\))?[^()\[\]]*)[)\]]\s*$")
_AFTER_SLASH = re.compile(r"^(?P<name>.*\S)\s+/\s*(?P<unit>\S.*)$")
_SECONDS = {
    **dict.fromkeys(("s", "sec", "second"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond"), 1e-3),
    **dict.fromkeys(("us", "µs", "microsecond"), 1e-6),
    **dict.fromkeys(("min", "minute"), 60.0),
    **dict.fromkeys(("h", "hr", "hour"), 3600.0),
}


def split_unit(head: str) -> tuple[str, str]:
    """Split the head of a column into name and unit; the unit is empty where none is told."""
    head = head.strip()
    for pattern in (_IN_BRACKETS, _AFTER_SLASH):
        if found := pattern.match(head):
            return found["name"].strip(), found["unit"].strip()
    for suffix in sorted(SENSOR_UNITS, key=len, reverse=True):
        if head.endswith((f"_{suffix}", f" {suffix}")):
            return head[: -len(suffix) - 1].strip(), suffix.replace("_", "/") if suffix == "ml_min" else suffix
    name, _, last = head.rpartition(" ")
    return (name.strip(), last) if name and last.lower() in _SUFFIX and last[0] in "°%" else (head, "")


def in_seconds(unit: str) -> float | None:
    """Return how many s a unit of time is; None for what is none."""
    return _SECONDS.get(unit.strip().lower().removesuffix("s") or "s", _SECONDS.get(unit.strip().lower()))


def known_unit(unit: str) -> tuple[str, str]:
    """Return the ending of a column's name for a unit, and the unit as it is shown: ``"degC"`` → ``("C", "°C")``."""
    plain = " ".join(unit.lower().split())
    # "Degrees C", "Volts", "Amps": but not the s of "e/nm2/s"
    singular = " ".join(re.sub(r"(?<=[a-z]{3})s$", "", word) for word in plain.split())
    suffix = _SUFFIX.get(plain) or _SUFFIX.get(singular) or (unit if unit in SENSOR_UNITS else "")
    if suffix:
        return suffix, SENSOR_UNITS[suffix]
    return _slug(unit), unit


def column_names(heads: Iterable[tuple[str, str]], taken: Iterable[str]) -> list[tuple[str, str]]:
    """Return name and unit of the table's column for each (name, unit) of a log; no two names are equal."""
    used, result = set(taken), []
    for head, unit in heads:
        suffix, shown = known_unit(unit) if unit else ("", "")
        plain = "_".join(part for part in (_slug(head).lower() or "sensor", suffix) if part)
        name, number = plain, 1
        while name in used:
            number += 1
            name = f"{_slug(head).lower() or 'sensor'}_{number}" + (f"_{suffix}" if suffix else "")
        used.add(name)
        result.append((name, shown))
    return result


def _slug(text: str) -> str:
    return re.sub(r"\W+", "_", text.replace("%", " percent ")).strip("_")
