"""A camera to practise with: a process of its own that writes a simulated movie while `insitu watch` looks on."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FRAMES = 200
FPS = 20


@contextmanager
def practising(folder: Path, frames: int = FRAMES) -> Iterator[Path]:
    """Write a movie into `folder` as a Gatan camera does while the block lasts; yield where its frames appear."""
    camera = ("--camera", FPS, "--fps", FPS, "--layout", "gatan", "--writes", "slow")
    movie = ("--frames", frames, "--shape", "256x256", "--quiet", "--overwrite")
    command = [sys.executable, "-m", "insitu", "simulate", folder, *camera, *movie]
    process = subprocess.Popen(  # noqa: S603 - this program, with arguments from here
        [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield folder / "movie"
    finally:
        process.terminate()
        process.wait()
