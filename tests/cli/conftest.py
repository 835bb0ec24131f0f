"""The command line called in this process, and small movies to call it on."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cli_cases import Ended, environment

from insitu.cli import main
from insitu.cli.simulated import make

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def call(capfd):
    """Call the command line in this process."""

    def called(*arguments: object) -> Ended:
        capfd.readouterr()
        code = main([str(a) for a in arguments])
        out, err = capfd.readouterr()
        return Ended(code, out, err)

    return called


@pytest.fixture
def spawn():
    """Call the command line in a process of its own, with pipes for its streams."""

    def spawned(*arguments: object, cwd: Path | None = None) -> Ended:
        command = [sys.executable, "-m", "insitu", *(str(a) for a in arguments)]
        done = subprocess.run(command, capture_output=True, cwd=cwd, env=environment(), check=False)
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    return spawned


@pytest.fixture(scope="session")
def simulated(tmp_path_factory) -> Path:
    """A folder made by a simulation: movie.tif (12 frames of 96×112, calibrated, two particles meet) and its truth."""
    from insitu.simulate import Simulation

    folder = tmp_path_factory.mktemp("simulated")
    make(folder, Simulation(shape=(96, 112), frames=12, particles=6, mean_diameter_nm=4.0, dose_e_per_px=200.0, seed=5))
    return folder


@pytest.fixture(scope="session")
def movie(simulated) -> Path:
    return simulated / "movie.tif"
