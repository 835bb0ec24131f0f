"""CPU time of simulated frames and training scenes: ``python -m benchmarks.simulating``."""

from __future__ import annotations

import time

import numpy as np

from insitu.simulate import demo_movie, random_scene


def cpu_ms(work, times: int) -> float:
    """Return CPU milliseconds of one call of `work(i)`, the first call left out."""
    work(0)
    start = time.process_time()
    for index in range(1, times + 1):
        work(index)
    return 1e3 * (time.process_time() - start) / times


def main() -> None:
    """Print one row a kind of image."""
    rows = {
        "frame, bright field, waves": demo_movie().frame,
        "frame, bright field, amplitude": demo_movie(optics="amplitude").frame,
        "frame, dark field": demo_movie(mode="dark-field").frame,
        "truth of a frame": demo_movie().truth,
        "label image of a frame": demo_movie().mask,
        "random scene with mask": lambda seed: random_scene(np.random.default_rng(seed)),
    }
    print("512×512 px, about 60 particles, one core")
    for name, work in rows.items():
        print(f"{name:32s}{cpu_ms(work, 40):8.1f} ms")
    movie = demo_movie()
    start = time.process_time()
    count = len(movie.events)
    print(f"{'events of the demo':32s}{1e3 * (time.process_time() - start):8.1f} ms  ({count} events, 400 frames)")


if __name__ == "__main__":
    main()
