"""``insitu doctor``: everything about this machine that a bug report needs."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

from insitu.cli.console import size
from insitu.cli.parameters import debug_option
from insitu.cli.preview import free_bytes
from insitu.errors import EXIT_DONE, EXIT_RESOURCE, ResourceError

_PACKAGES = ("torch", "numpy", "numba", "scipy", "zarr", "pyarrow", "pandas", "tifffile", "h5py", "click", "pydantic")
_SYNCS = 20
_BLOCK = bytes(1 << 16)


@click.command(short_help="versions, device, disk")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--selftest", is_flag=True, help="Try this machine and disk for a minute: kill an engine, resume it …")
@debug_option
def doctor(*, as_json: bool, selftest: bool) -> int:
    """Print versions, device, threads, free disk and speed of the current folder, and whether ffmpeg is present.

    With --selftest, an engine is killed in the current folder and must go on to the same bytes; room, lock, rename and
    fsync of the disk are looked at, and a GPU must find what the processor finds. Exit 6 where one of these fails.
    """
    facts = examine(Path.cwd())
    if not as_json:
        click.echo(in_words(facts))
    if not selftest:
        if as_json:
            click.echo(json.dumps(facts))
        return EXIT_DONE
    checks = tried(Path.cwd(), quiet=as_json)
    if as_json:
        click.echo(json.dumps(facts | {"selftest": checks}))
    return EXIT_RESOURCE if any(check["verdict"] == "failed" for check in checks) else EXIT_DONE


def tried(folder: Path, *, quiet: bool) -> list[dict[str, str]]:
    """Return the checks of the self-test, each printed as it ends unless `quiet`."""
    from insitu.selftest import selftest

    found = []
    try:
        for check in selftest(folder):
            found.append(asdict(check))
            if not quiet:
                click.echo(f"{check.verdict:<10} {check.name}: {check.text}")
    except OSError as error:
        raise ResourceError(
            f"the self-test cannot write in '{folder}': {error.strerror or error}", "go to the folder runs will lie in"
        ) from error
    return found


def examine(folder: Path) -> dict[str, Any]:
    """Return what is known of this machine and of `folder`; a small file is written there and removed."""
    from insitu import __version__

    return {
        "insitu": __version__,
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: _version(name) for name in _PACKAGES},
        "extras": {name: _version(name) for name in ("av", "rosettasciio")},
        "devices": _devices(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": _memory(),
        "folder": str(folder),
        "free_bytes": free_bytes(folder),
        "fsync_ms": fsync_ms(folder),
        "ffmpeg": _ffmpeg(),
    }


def in_words(facts: dict[str, Any]) -> str:
    """Return the facts as text, one a line."""
    speed = "cannot be written to" if facts["fsync_ms"] is None else f"{facts['fsync_ms']:.2g} ms a commit (fsync)"
    rows = [
        ("insitu", f"{facts['insitu']} · Python {facts['python']} · {facts['system']}"),
        ("packages", _listed(facts["packages"])),
        ("extras", _listed(facts["extras"])),
        ("devices", ", ".join(facts["devices"])),
        ("processor", f"{facts['cpus']} threads · {size(facts['memory_bytes'])} memory"),
        ("folder", facts["folder"]),
        ("disk", f"{size(facts['free_bytes'])} free · {speed}"),
        ("ffmpeg", facts["ffmpeg"] or "not found: no overlay.mp4 (pip install imageio-ffmpeg)"),
    ]
    return "\n".join(f"{name:<10} {text}" for name, text in rows)


def fsync_ms(folder: Path) -> float | None:
    """Return the median time of writing and syncing 64 kB in `folder`, in ms; None where it cannot be written to."""
    times = []
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            for _ in range(_SYNCS):
                start = time.perf_counter()
                file.write(_BLOCK)
                file.flush()
                os.fsync(file.fileno())
                times.append(time.perf_counter() - start)
    except OSError:
        return None
    return 1000 * statistics.median(times)


def _devices() -> list[str]:
    import torch

    gpus = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    named = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in gpus]
    return [*named, f"cpu, {torch.get_num_threads()} threads"]


def _memory() -> int:
    import psutil

    total: int = psutil.virtual_memory().total
    return total


def _ffmpeg() -> str | None:
    try:
        import imageio_ffmpeg

        return f"{imageio_ffmpeg.get_ffmpeg_version()} ({imageio_ffmpeg.get_ffmpeg_exe()})"
    except (ImportError, RuntimeError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _listed(packages: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {found or 'not installed'}" for name, found in packages.items())
