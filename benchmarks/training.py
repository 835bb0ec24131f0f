"""Minutes to a usable network: `unet` from 200 simulated frames, ``python -m benchmarks.training``.

Writes ``benchmarks/results/training.md``. Data, preparation of the tiles and training are timed apart.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch start their thread pools

import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from insitu.models.memory import keep_large_blocks
from insitu.models.network import Network
from insitu.simulate import Simulation
from insitu.train.gather import Movie
from insitu.train.held_out import labels_of
from insitu.train.learn import Plan, learn
from insitu.train.loop import Recipe

MOVIES, FRAMES, SIDE_PX = 40, 5, 512
UNSEEN = 12
DOSES = (10.0, 25.0, 60.0)
RECIPE = Recipe(steps=1200, batch=8, crop_px=128, most_rate=0.008, jitter=0.15, precision="bfloat16", check_every=300)
PAGE = Path(__file__).parent / "results" / "training.md"


def simulated(seed: int, frames: int) -> Movie:
    """Return frames of one simulated movie with the numbers of their particles."""
    movie = Simulation(
        shape=(SIDE_PX, SIDE_PX), frames=frames, particles=60, seed=seed, dose_e_per_px=DOSES[seed % len(DOSES)]
    )
    return Movie(
        f"simulated, seed {seed}",
        [movie.frame(k) for k in range(frames)],
        [np.asarray(movie.mask(k), np.int32) for k in range(frames)],
        [np.zeros((SIDE_PX, SIDE_PX), np.bool_)] * frames,
        list(range(frames)),
    )


def dice(truth: np.ndarray, found: np.ndarray) -> float:
    """Return the Dice coefficient of two masks."""
    return float(2 * (truth & found).sum() / max(truth.sum() + found.sum(), 1))


def main() -> None:
    """Train, score and write the page."""
    keep_large_blocks()
    torch.set_num_threads(1)
    began = time.perf_counter()
    movies = [simulated(seed, FRAMES) for seed in range(MOVIES)]
    simulating = time.perf_counter() - began
    began, cpu = time.perf_counter(), time.process_time()
    learned = learn(
        movies,
        Plan("unet", recipe=RECIPE, variants=0, validation=0.1),
        report=lambda step, loss: print(f"step {step} loss {loss:.3f}", file=sys.stderr, flush=True),
    )
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    model = Network(learned.module, "unet", learned.card)
    scores: dict[float, list[float]] = {dose: [] for dose in DOSES}
    for seed in range(1000, 1000 + UNSEEN):
        movie = simulated(seed, 1)
        scores[DOSES[seed % 3]].append(dice(movie.labels[0] > 0, labels_of(movie.images[0], model) > 0))
    every = [s for values in scores.values() for s in values]
    rows = "\n".join(f"| {dose:g} | {np.mean(v):.4f} | {min(v):.4f} |" for dose, v in scores.items())
    text = f"""# Training

`python -m benchmarks.training`: `unet` ({learned.card["parameter_count"]} parameters) from {MOVIES * FRAMES} simulated
frames of {SIDE_PX}×{SIDE_PX} px ({MOVIES} movies, about 60 gold caps of 6 nm at 0.2 nm/px,
{", ".join(f"{d:g}" for d in DOSES)} e⁻/px; a tenth of the movies set aside for validation); {RECIPE.steps} steps of
{RECIPE.batch} crops of {RECIPE.crop_px} px, one thread, bfloat16. Scored as a run with default settings sees them:
{UNSEEN} frames of movies with other seeds.

- Training with the preparation of its tiles: **{wall:.0f} s**, {cpu:.0f} s of CPU (bar: 10 minutes on 2 cores).
  The {MOVIES * FRAMES} frames took {simulating:.0f} s to simulate. Wall time holds whatever else the machine did.
- Dice on unseen frames: **{np.mean(every):.4f}**, least {min(every):.4f} (bar: 0.95). Threshold
  {learned.card["threshold"]}, chosen on the training data.

| e⁻/px | Dice, mean | least |
| --- | --- | --- |
{rows}

{platform.machine()}, torch {version("torch")}, numpy {version("numpy")}
"""
    PAGE.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
