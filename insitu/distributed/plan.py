"""What every worker of a run is given: the movie, the settings, the whole-movie quantities, and what must be equal."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insitu import __version__
from insitu.engine import identity
from insitu.errors import CommandError, InputError
from insitu.read.fingerprint import fingerprint
from insitu.schema import SCHEMA_VERSION
from insitu.store import layout
from insitu.store.about import FREE_SETTINGS, plain

if TYPE_CHECKING:
    from insitu.engine import Engine
    from insitu.store.disk import Disk

RANGE_FRAMES = 1024
_PLAN = f"{layout.RANGES}/plan.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of one run; ``OUT/ranges/plan.json``.

    Attributes
    ----------
    source : str
        Absolute path of the movie, the same on every machine.
    settings : str
        Resolved settings, TOML.
    selection : dict
        Start, stop and step of the frames.
    planes : int
        Frames of the selection.
    range_frames : int
        Frames a range; the last may be shorter.
    reference : dict
        Whole-movie quantities, taken once.
    same : dict
        What ``run.json`` says must be equal for equal bytes: model, device type, precision, batch, versions, threads.
    worker : dict
        What must be equal besides, among the workers of one run: versions of insitu, kind of processor.
    fingerprint : dict
        What identifies the movie.
    """

    source: str
    settings: str
    selection: dict[str, Any]
    planes: int
    range_frames: int
    reference: dict[str, Any]
    same: dict[str, Any]
    worker: dict[str, Any]
    fingerprint: dict[str, Any]

    @property
    def key(self) -> str:
        """Identity of the run: ranges with the same key and the same planes are interchangeable."""
        facts = {k: v for k, v in asdict(self).items() if k not in {"source", "settings", "range_frames"}}
        facts["settings"] = {k: v for k, v in self.values().items() if k not in _OWN}
        text = json.dumps(plain(facts), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def values(self) -> dict[str, Any]:
        """Return the settings under their keys, ``stage.name``, as TOML gave them."""
        stages = tomllib.loads(self.settings)
        return {f"{stage}.{name}": value for stage, given in stages.items() for name, value in given.items()}

    def ranges(self, done: int = 0) -> list[tuple[int, int]]:
        """Return first plane and end of every range that reaches beyond `done` planes."""
        starts = range(0, self.planes, self.range_frames)
        ranges = [(a, min(self.planes, a + self.range_frames)) for a in starts]
        return [(a, b) for a, b in ranges if b > done]

    def write(self, out: Path, disk: Disk) -> None:
        """Write the plan into a run folder."""
        disk.make_folders(out / layout.RANGES, out)
        disk.write(out / _PLAN, json.dumps(plain(asdict(self)), indent=1).encode() + b"\n")
        disk.sync_folder(out / layout.RANGES)


# free settings change no byte; the model's path and the device's number are told by the identity
_OWN = {*FREE_SETTINGS, "segment.model", "segment.device"}


def read_plan(out: Path) -> Plan | None:
    """Return the plan in a run folder, None where there is none.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        return Plan(**json.loads((out / _PLAN).read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise InputError(
            f"'{out / _PLAN}' cannot be read ({error})", "delete it, then give the same command with --resume"
        ) from None


def make_plan(engine: Engine, source: str | os.PathLike[str], out: Path, range_frames: int) -> Plan:
    """Return the plan of a run.

    Raises
    ------
    CommandError
        The length of the movie is not known, so that there is nothing to divide.
    """
    if engine.total is None:
        raise CommandError(
            f"the number of frames of '{source}' is not known: it cannot be divided", "leave out --jobs and --dask"
        )
    settings = engine.settings
    model = Path(settings.segment.model)
    if model.is_file():  # a worker may stand in another folder
        settings = settings.replace({"segment.model": str(model.absolute())}, "plan")
    return Plan(
        # not resolved: the movie may be a link to the same place on every machine
        source=os.path.abspath(os.fspath(source)),  # noqa: PTH100 - Path.absolute keeps a/.. as it is
        settings=settings.to_toml(),
        selection=asdict(engine.selection),
        planes=engine.total,
        range_frames=range_frames,
        reference=plain(asdict(engine.reference)),
        same=plain(identity(engine)),
        worker=worker_facts(engine.device),
        fingerprint=plain(fingerprint(source, out)),
    )


def worker_facts(device: str) -> dict[str, Any]:
    """Return what workers of one run must have in common besides the identity of the run."""
    import torch

    kernels = torch.backends.cpu.get_cpu_capability()
    if device.startswith("cuda"):
        kernels = torch.cuda.get_device_name(device)
    return {"insitu": __version__, "schema": SCHEMA_VERSION, "machine": platform.machine(), "kernels": kernels}


def range_frames(planes: int, jobs: int, shard_frames: int) -> int:
    """Return how many frames a range has: whole shards, several ranges a worker, none longer than `RANGE_FRAMES`."""
    fair = -(-planes // (4 * max(1, jobs)))
    longest = max(shard_frames, RANGE_FRAMES // shard_frames * shard_frames)
    return min(longest, -(-fair // shard_frames) * shard_frames)
