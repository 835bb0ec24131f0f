"""Pictures of the live page for the docs, in a headless Chromium: ``python -m benchmarks.live_pictures``.

Light with sensors, dark, no particle, 2000 particles, stalled; each a JPEG into docs/images.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from insitu.environment import Following, Sensors
from insitu.live.board import Board
from insitu.live.server import LiveServer
from insitu.pipeline import stream
from insitu.progress import Progress
from insitu.settings import Settings
from insitu.simulate import Simulation

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "live"))
import chromium  # noqa: E402 - found beside the tests that it serves
from live_cases import folder_of, result_of  # noqa: E402 - same

IMAGES = ROOT / "docs" / "images"
FPS = 20.0
FRAMES = 40
_QUALITY = 72


class Clock:
    """A clock that stands still until it is put forward: while a browser starts nothing stalls."""

    now_s = 0.0

    def __call__(self):
        """Return s."""
        return self.now_s


@contextmanager
def page_of(board, folder, *, dark=False):
    """Show a board in a browser."""
    program = chromium.found()
    if program is None:
        sys.exit(f"no browser: install one of {', '.join(chromium.BROWSERS)}")
    with LiveServer(board, 0) as server, chromium.tab(program, folder, dark=dark) as tab:
        tab.open(server.address)
        yield tab


def fed(board, results, folder, title, lag=0):
    """Give a board what a run gives it."""
    board.begin(title, folder_of(folder, nm_per_px=0.2))
    done = particles = events = 0
    for result in results:
        done, particles = done + 1, particles + len(result.particles)
        events += len(result.events)
        board.on_result(result)
        counts = {"done": done, "used": done, "particles": particles, "events": events}
        board.on_progress(Progress(None, **counts, frames_per_s=FPS, lag_frames=lag, lag_s=lag / FPS))


def simulated():
    """Yield the results of a movie in which particles ripen and meet."""
    movie = Simulation(shape=(320, 320), frames=FRAMES, particles=30, mean_diameter_nm=6.0, dose_e_per_px=60.0, seed=4)
    given = {"segment.model": "classical", "calibration.nm_per_px": 0.2, "calibration.fps": FPS}
    yield from stream(movie.frames(), settings=Settings().replace(given, "pictures"))


def shoot(folder):
    """Make all pictures."""
    log = folder / "gas.csv"
    rows = [
        f"{k / 4},{612 + 3 * np.sin(k / 5):.1f},{1.2 + 0.01 * (k % 7):.3f}" for k in range(4 * FRAMES // int(FPS) + 1)
    ]
    log.write_text("\n".join(["time_s,holder_temperature_C,chamber_pressure_mbar", *rows, ""]))
    clock = Clock()
    board = Board(clock)
    fed(board, simulated(), folder / "run", "session7")
    ready = "document.getElementById('caption').textContent.startsWith('frame ')"
    with Following(Sensors(log, 0.0)) as following:
        board.sensors = following
        for dark in (False, True):
            with page_of(board, folder / f"browser{dark}", dark=dark) as tab:
                tab.until(f"{ready} && !document.getElementById('temperature').hidden")
                time.sleep(1.5)
                tab.shot(IMAGES / f"live_{'dark' if dark else 'light'}.jpg", jpeg=_QUALITY)
    clock.now_s += 40.0
    with page_of(board, folder / "stalled") as tab:
        tab.until("document.getElementById('word').textContent === 'STALLED'")
        time.sleep(1.5)
        tab.shot(IMAGES / "live_stalled.jpg", jpeg=_QUALITY)
    for number, shape in ((0, (512, 512)), (2000, (1024, 1024))):
        board = Board(Clock())
        results = (result_of(k, number, shape, fps=FPS) for k in range(40))
        fed(board, results, folder / f"run{number}", f"{number} particles")
        with page_of(board, folder / f"browser{number}") as tab:
            tab.until(ready)
            time.sleep(1.5)
            tab.shot(IMAGES / f"live_{number}.jpg", jpeg=_QUALITY)


def main():
    """Make the pictures and say how large they are."""
    with tempfile.TemporaryDirectory() as folder:
        shoot(Path(folder))
    for path in sorted(IMAGES.glob("live_*.jpg")):
        print(path.name, f"{path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
