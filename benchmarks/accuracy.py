"""How right the numbers are: simulated movies at several doses, every frame graded against exact truth.

python -m benchmarks.accuracy              # the default model; writes docs/accuracy.md
python -m benchmarks.accuracy unet shallow # other models too
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

PAGE = Path(__file__).resolve().parent.parent / "docs" / "accuracy.md"
DOSES = (10, 25, 60)
FRAMES = 100
VISIBLE_PX = 6.0  # particles below this true diameter are neither asked for nor held against the engine
HEAD = f"""# Accuracy on simulated movies

Made by `python -m benchmarks.accuracy`. Each movie: {FRAMES} bright-field frames of 512×512 px at 0.2 nm/px and 400
frames/s, about 60 particles of mean diameter 6 nm that ripen, move and merge, on an amorphous support, with defocus
fringes, uneven and flickering illumination, camera MTF and Poisson noise (`insitu simulate`, seeds 0–2, summed). Doses
are electrons per pixel and frame. Truth is the geometry: outlines, identities, events.

Particles are matched one to one within the larger of 3 px and the true radius; those below {VISIBLE_PX:g} px of true
diameter are set aside. Radius bias is the mean of found − true over matched particles away from the border, rms its
root mean square. Links are pairs of consecutive matched positions of one particle. Events (coalescence, dissolution)
are matched within 20 frames and 15 px, away from the border and but for those of the last `events.contact_frames`
frames, which cannot be decided before the movie ends.
"""


def analysed(dose: float, model: str, seed: int, folder: Path):
    """Simulate and analyse one movie; return truth, found, true events, found events and seconds a frame."""
    from insitu.pipeline import process
    from insitu.results import open_run
    from insitu.settings import Settings
    from insitu.simulate import Simulation, SimulationSettings

    movie = Simulation(SimulationSettings(frames=FRAMES, dose_e_per_px=dose, seed=seed))
    settings = Settings().replace({"segment.model": model, "store.fsync": False, "store.labels": False}, "benchmark")
    began = time.process_time()
    summary = process(movie, folder / f"{model}-{dose}-{seed}", settings)
    seconds = (time.process_time() - began) / FRAMES
    run = open_run(summary.out)
    events = pd.DataFrame([{"kind": e.kind, "frame": e.frame, "y": e.y, "x": e.x} for e in movie.events])
    events["touches_edge"] = [e.touches_edge for e in movie.events]
    return pd.DataFrame(movie.particles()), run.particles.to_pandas(), events, run.events.to_pandas(), seconds


def shifted(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Put movies behind one another: frames and particles of movie k are moved far beyond those of the movie before."""
    moved = []
    for k, table in enumerate(tables):
        copy = table.assign(frame=table["frame"] + 10_000 * k)
        moved.append(copy.assign(particle=copy["particle"] + 10**6 * k) if "particle" in copy else copy)
    return pd.concat(moved, ignore_index=True)


def line(model: str, dose: float) -> str:
    """Return one row of the table."""
    from insitu.evaluate import score
    from insitu.options import EventOptions

    with tempfile.TemporaryDirectory() as folder:
        movies = [analysed(dose, model, seed, Path(folder)) for seed in range(3)]
    truth, found, true_events, found_events = (shifted([m[i] for m in movies]) for i in range(4))
    seconds = sum(m[4] for m in movies) / len(movies)
    decided = FRAMES - EventOptions().contact_frames
    inside = [e[~e["touches_edge"].astype(bool) & (e["frame"] % 10_000 < decided)] for e in (true_events, found_events)]
    kinds = ("coalescence", "dissolution")
    scores = score(
        truth, found, *inside, min_diameter_px=VISIBLE_PX, event_frames=20, event_distance_px=15, event_kinds=kinds
    )
    o, links = scores.objects, scores.links
    events = " · ".join(f"{scores.events[k].precision:.2f} / {scores.events[k].recall:.2f}" for k in kinds)
    return (
        f"| {model} | {dose} | {o.f1:.4f} ({o.precision:.4f} / {o.recall:.4f}) "
        f"| {o.radius_bias_px:+.3f} ({o.radius_bias_percent:+.2f} %) "
        f"| {o.radius_rms_px:.3f} ({o.radius_rms_percent:.2f} %) "
        f"| {o.centroid_rms_px:.3f} | {links.precision:.4f} / {links.recall:.4f} | {events} | {1000 * seconds:.0f} |"
    )


def main(models: list[str]) -> None:
    """Print the table; write the page."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: small frames gain nothing from threads
    titles = [
        "model",
        "e⁻/px",
        "detection F1 (precision / recall)",
        "radius bias, px",
        "radius rms, px",
        "centroid rms, px",
    ]
    titles += ["links, precision / recall", "coalescence · dissolution, precision / recall", "CPU ms a frame"]
    rows = [f"| {' | '.join(titles)} |", "|" + " --- |" * len(titles)]
    for model in models or ["default"]:
        for dose in DOSES:
            rows.append(line(model, dose))
            print(rows[-1], flush=True)
    foot = f"Measured {datetime.now(UTC).date()}, Python {platform.python_version()}, CPU only."
    PAGE.write_text("\n".join([HEAD, *rows, "", foot]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
