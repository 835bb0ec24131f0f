"""What all figures share: size, type, colours, units, and how one is written as SVG, PNG and CSV.

Widths are those of one and two columns of a journal. Text stays text in the SVG, so that it can be searched and set in
another face. Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/).
"""

from __future__ import annotations

import csv
import io
import math
import re
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Columns = Mapping[str, Any]

SINGLE_MM, DOUBLE_MM = 85.0, 178.0
_INCH_MM = 25.4
_PNG_DPI = 300
_RASTER_DPI = 220  # of pictures inside an SVG
_PAGE_SCALE = 1.93  # px of a page a pt of the figure: 7 pt type is as large as the page's own small print

INK, MUTED, FAINT = "#1c2127", "#66707b", "#c9ced4"
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
LINES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
# from early to late: darker is later, and lightness alone tells the order
TIMES = ("#8cc6ec", "#4f9fd6", "#2a78b5", "#15528a", "#06305c")
EVENTS = {
    "coalescence": VERMILION,
    "dissolution": BLUE,
    "splitting": PURPLE,
    "nucleation": GREEN,
    "appearance": ORANGE,
}
# a page in a dark or a light room sets these; a file has the colours themselves
_NAMED = {INK: "currentColor", MUTED: "var(--fig-muted)", FAINT: "var(--fig-faint)"} | {
    shade: f"var(--fig-{name})"
    for shade, name in zip(
        (*LINES, *TIMES),
        ("blue", "vermilion", "green", "purple", "orange", "sky", "time1", "time2", "time3", "time4", "time5"),
        strict=True,
    )
}

_RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib; another that is not there would be complained of
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "legend.handlelength": 1.4,
    "svg.fonttype": "none",
    "text.parse_math": False,  # names of runs and sensors are not formulas
    "mathtext.default": "regular",
}


@dataclass(frozen=True, slots=True)
class Units:
    """What lengths, times and areas are in, as they stand in column names: nm or px, s or frame, um2 or mpx."""

    length: str = "px"
    time: str = "frame"
    area: str = "mpx"

    def name(self, template: str) -> str:
        """Fill a column's name: ``mean_radius_{length}`` → ``mean_radius_nm``."""
        return template.format(length=self.length, time=self.time, area=self.area)

    @property
    def time_column(self) -> str:
        """Column of a run's tables that has the time."""
        return "time_s" if self.time == "s" else "frame"

    @property
    def time_axis(self) -> str:
        """Label of a time axis."""
        return "time (s)" if self.time == "s" else "frame"

    @property
    def per_area(self) -> str:
        """Label of a number of particles per area."""
        return "particles (1/µm²)" if self.area == "um2" else "particles per 10⁶ px²"


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A figure, what it shows in one sentence, and the table behind it.

    Attributes
    ----------
    name : str
        Stem of its files.
    figure : Figure
    table : mapping of str to columns of equal length
        What the CSV holds; names carry the units.
    caption : str
        One or two sentences for a reader.
    alt : str
        What a reader who does not see the figure is told.
    """

    name: str
    figure: Figure
    table: Columns
    caption: str
    alt: str
    title: str = ""


@contextmanager
def styled(salt: str = "insitu") -> Iterator[None]:
    """Draw and write in the house's type and colours; `salt` makes the ids of an SVG its own, and always the same."""
    from matplotlib import rc_context

    settings: Any = _RC | {"svg.hashsalt": salt}  # matplotlib types every key by name
    with rc_context(settings):
        yield


def canvas(width_mm: float, height_mm: float) -> Figure:
    """Return an empty figure without pyplot: no window system, no state that outlives the call."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_mm / _INCH_MM, height_mm / _INCH_MM), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(drawn: Drawn, folder: Path) -> str:
    """Write ``NAME.svg``, ``NAME.png`` and ``NAME.csv`` into `folder`, and return the text of the SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    held = io.StringIO()
    with styled(drawn.name):
        drawn.figure.savefig(
            held, format="svg", dpi=_RASTER_DPI, metadata={"Date": None, "Creator": "insitu", "Title": drawn.title}
        )
        drawn.figure.set_layout_engine("none")  # the places that the SVG has, not worked out again
        drawn.figure.savefig(
            folder / f"{drawn.name}.png", dpi=_PNG_DPI, facecolor="white", metadata={"Software": "insitu"}
        )
    svg = held.getvalue()
    (folder / f"{drawn.name}.svg").write_text(svg, encoding="utf-8")
    write_csv(folder / f"{drawn.name}.csv", drawn.table)
    return svg


def write_csv(path: Path, table: Columns) -> None:
    """Write columns as CSV; what is not a finite number is an empty cell."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows([_cell(v) for v in row] for row in zip(*table.values(), strict=True))


def inline(svg: str, name: str, alt: str) -> str:
    """Return an SVG for the inside of a page: one root element, ids of its own, colours that follow the page's.

    Parameters
    ----------
    svg : str
        What `save` returned.
    name : str
        Put before every id, so that several figures of a page do not share any.
    alt : str
        What a reader who does not see the figure is told.
    """
    view = re.search(r'<svg [^>]*viewBox="([^"]+)"', svg)
    assert view is not None
    body = svg[svg.index(">", view.end()) + 1 :]
    for unwanted in (r"<title>.*?</title>", r"<metadata>.*?</metadata>", r"<!--.*?-->", r"<defs>\s*<style.*?</defs>"):
        body = re.sub(unwanted, "", body, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', body))
    body = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", body)
    body = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", body)
    body = re.sub(r"font-family: [^;\"]+;? ?", "", body)
    for shade, named in _NAMED.items():
        body = re.sub(re.escape(shade), named, body, flags=re.IGNORECASE)
    width = float(view[1].split()[2])
    head = (
        f'<svg viewBox="{view[1]}" role="img" aria-label="{escape(alt)}" style="max-width: {width * _PAGE_SCALE:.0f}px"'
    )
    return f'{head} xmlns:xlink="http://www.w3.org/1999/xlink">{re.sub(chr(10) + " *", chr(10), body)}'


def finite(values: Sequence[Any]) -> NDArray[np.float64]:
    """Return a column as float64; what is unknown (None, masked) is NaN, which matplotlib leaves out."""
    return np.array([np.nan if v is None else v for v in values], np.float64)


def powers_of_ten(axes: Axes) -> None:
    """Make both axes logarithmic with labels ``10⁻²`` that are plain text."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(power_of_ten))
        axis.set_minor_formatter(NullFormatter())


def power_of_ten(value: float, _place: int = 0) -> str:
    """Return ``10⁻²`` for a power of ten, nothing for other values: the form of a tick formatter."""
    power = math.log10(value) if value > 0 else math.nan
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    return f"10{str(round(power)).translate(raised)}" if abs(power - round(power)) < 1e-6 else ""


def whole_numbers(axes: Axes) -> None:
    """Let the y axis count in whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))


def band(axes: Axes, x: NDArray[Any], low: Sequence[Any], high: Sequence[Any], shade: str) -> None:
    """Shade between two columns where both are known."""
    bottom, top = finite(low), finite(high)
    axes.fill_between(
        x, bottom, top, where=np.isfinite(bottom) & np.isfinite(top), color=shade, alpha=0.18, linewidth=0
    )


def _cell(value: Any) -> Any:  # noqa: ANN401 - a cell of any type
    if isinstance(value, (float, np.floating)):
        return repr(float(value)) if math.isfinite(value) else ""
    return value.item() if isinstance(value, np.generic) else value
