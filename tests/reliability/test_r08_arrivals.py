"""Files in any order, twice, late, replaced; a watcher that is frozen meanwhile: the run is that of the folder."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pandas as pd
import tifffile

from benchmarks.soak.world import digest, discs, run

FRAMES = 60


def write(folder, k, image):
    """As a camera does: under another name first."""
    part = folder / f".f_{k:04}.part"
    tifffile.imwrite(part, image)
    part.rename(folder / f"f_{k:04}.tif")


def test_any_order_within_the_window_gives_the_bytes_of_the_finished_folder(engines, tmp_path):
    rng, images = random.Random(4), list(discs(FRAMES))
    folder = tmp_path / "movie"
    folder.mkdir()
    order = sorted(range(FRAMES), key=lambda k: k + rng.uniform(0, 6))

    def camera():
        for k in order:
            write(folder, k, images[k])
            if k % 9 == 0:
                write(folder, k, images[k])  # sent twice
            time.sleep(0.004)

    writer = threading.Thread(target=camera)
    writer.start()
    code, said = engines.call(run(folder, tmp_path / "watched", "--until-idle", "1.5", "--no-live", verb="watch"))
    writer.join()
    assert code == 0, said
    assert engines.call(run(folder, tmp_path / "batch"))[0] == 0
    assert digest(tmp_path / "watched") == digest(tmp_path / "batch")


def test_a_watcher_that_is_frozen_while_the_camera_goes_on_misses_nothing(tmp_path):
    images, folder, out = list(discs(8)), tmp_path / "movie", tmp_path / "run"
    folder.mkdir()
    for k in range(8):
        write(folder, k, images[k])
    command = [sys.executable, "-m", "insitu", *run(folder, out, "--stop-after", "600", "--no-live", verb="watch")]
    watcher = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (out / "commits.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(watcher.pid, signal.SIGSTOP)
    for k in range(8, 600):
        write(folder, k, images[k % 8])
    os.kill(watcher.pid, signal.SIGCONT)
    said = watcher.communicate(timeout=240)[1]
    assert watcher.returncode == 0, said
    frames = pd.read_parquet(out / "frames.parquet")
    assert frames["status"].tolist() == ["ok"] * 600
