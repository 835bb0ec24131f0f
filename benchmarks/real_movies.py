"""Three real movies from the first frame to the last, with default settings.

    INSITU_SAMPLES=FOLDER python -m benchmarks.real_movies      # writes benchmarks/results/real_movies.md

The gold particle that grows in a liquid cell has a known answer: from a Gaussian of 4 px and Otsu's threshold its
equivalent diameter goes from 54.3 to 84.7 nm, and its area rises in every frame.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "real_movies.md"
MOVIES = ("au_growth_liquid_tem_13frames.tif", "lptem_rods_jpeg", "bulk_water_optical.mov")
NM_PER_PX = 0.1635  # of the gold movie: its resolution tag names no unit
FIRST_NM, LAST_NM, TOLERANCE = 54.3, 84.7, 0.03


def samples() -> Path:
    """Return the folder of real movies, or stop."""
    folder = Path(os.environ.get("INSITU_SAMPLES", Path(__file__).resolve().parents[2] / "shared" / "data")) / "movies"
    if not folder.is_dir():
        sys.exit("error: no real movies\nhint:  set INSITU_SAMPLES to the folder that holds 'movies'")
    return folder


def analysed(movie: Path, out: Path):
    """Run a movie; return the run and the seconds it took."""
    import insitu

    began = time.time()
    run = insitu.analyze(movie, out, nm_per_px=NM_PER_PX if movie.suffix == ".tif" else None)
    return run, time.time() - began


def summary(name: str, run, seconds: float) -> str:
    """Return one row of the table."""
    frames, rows = run.frames.to_pandas(), run.particles.to_pandas()
    kinds = run.events.to_pandas()["kind"].value_counts().sort_index()
    events = ", ".join(f"{n} {kind}" for kind, n in kinds.items()) or "none"
    a_frame = frames["n_particles"]
    status = frames["status"].value_counts().to_dict()
    return (
        f"| `{name}` | {status} | {len(rows)} | {a_frame.min()}–{a_frame.max()} | {len(run.tracks)} | {events} "
        f"| {seconds:.0f} |"
    )


def gold(run) -> tuple[list[str], bool]:
    """Return the growth of the gold particle as lines, and whether it is what is known."""
    rows = run.particles.to_pandas()
    big = rows.sort_values("area_px").groupby("frame").tail(1).sort_values("frame")
    diameter = big["equivalent_diameter_nm"].to_numpy()
    first, last = diameter[0] / FIRST_NM - 1, diameter[-1] / LAST_NM - 1
    right = bool((diameter[1:] > diameter[:-1]).all()) and big["particle"].nunique() == 1
    right = right and abs(first) <= TOLERANCE and abs(last) <= TOLERANCE
    series = ", ".join(f"{d:.1f}" for d in diameter)
    identities = big["particle"].nunique()
    bar = f"bar of ± {100 * TOLERANCE:.0f} % {'held' if right else 'NOT HELD'}"
    return [
        f"Gold particle: {identities} identity in {len(big)} frames; equivalent diameter, nm: {series}.",
        f"First {100 * first:+.1f} %, last {100 * last:+.1f} % from {FIRST_NM} and {LAST_NM} nm, rising: {bar}.",
    ], right


def main() -> int:
    """Run the movies, print and keep the table."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    titles = ("movie", "frames", "particle rows", "particles a frame", "tracks", "events", "s")
    lines = [f"| {' | '.join(titles)} |", "|" + " --- |" * len(titles)]
    growth: list[str] = []
    right = False
    with tempfile.TemporaryDirectory() as folder:
        for name in MOVIES:
            run, seconds = analysed(samples() / name, Path(folder) / name)
            lines.append(summary(name, run, seconds))
            print(lines[-1], flush=True)
            if name == MOVIES[0]:
                growth, right = gold(run)
    head = ["# Real movies", "", "`python -m benchmarks.real_movies`: default model and settings.", ""]
    foot = [
        "",
        *growth,
        "",
        "The overlays of all three were looked at; `bulk_water_optical.mov` is optical microscopy of",
    ]
    foot += ["crowded colloids at several heights: what passes in front of another is counted as contact and parting."]
    RESULTS.write_text("\n".join([*head, *lines, *foot]) + "\n", encoding="utf-8")
    print("\n".join(growth))
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
