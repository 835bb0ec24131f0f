"""Damaged movies of every format through the whole command line: frames, bad frames or two lines, never a traceback."""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.soak import targets
from benchmarks.soak.world import Engines, run

NUMBER = 400
_SUFFIX = {
    "tiff": ".tif", "mrc": ".mrc", "dm": ".dm4", "ser": ".ser", "emd": ".emd", "tvips": "_000.tvips", "npy": ".npy",
    "picture": ".png", "hdf5": ".h5", "video": ".avi", "raw": ".json",
}  # fmt: skip
_HOSTILE = (0, 1, 0x7F, 0x80, 0xFF)
_KNOWN = {0, 2, 3, 4, 5}  # done, refused, unreadable, implausible calibration, done but for some frames


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return a copy with flipped bytes, hostile integers, a cut, a zeroed tail or a doubled piece."""
    copy = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(copy) if rng.random() < 0.5 else min(len(copy), 400))
        width = rng.choice((1, 1, 2, 4, 8))
        value = rng.choice(_HOSTILE) if rng.random() < 0.5 else rng.randrange(256)
        copy[at : at + width] = bytes([value] * len(copy[at : at + width]))
    way, at = rng.randrange(5), rng.randrange(len(copy))
    if way == 1:
        del copy[at:]
    elif way == 2:
        copy[at:] = bytes(len(copy) - at)
    elif way == 3:
        copy[at:at] = copy[at : at + rng.randrange(1, 64)]
    return bytes(copy)


def everything(folder: Path) -> set[str]:
    """Return all names below a folder."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


def corrupt(number: int = NUMBER, seed: int = 2) -> dict[str, int]:
    """Analyse `number` distinct damaged files, each into a folder of its own; look at what else was touched."""
    rng = random.Random(seed)
    count: Counter[str] = Counter()
    seen: set[str] = set()
    with tempfile.TemporaryDirectory() as folder, Engines() as engines:
        root = Path(folder)
        (root / "in").mkdir()
        names = list(_SUFFIX)
        while len(seen) < number:
            name = names[len(seen) % len(names)]
            data = damaged(rng.choice(targets.seeds(name)).read_bytes(), rng)
            if (sha := hashlib.sha256(data).hexdigest()) in seen:
                continue
            seen.add(sha)
            path = root / "in" / f"m{len(seen)}{_SUFFIX[name]}"
            path.write_bytes(data)
            if name == "raw":
                path = path.with_suffix(".raw")
                path.write_bytes(bytes(range(256)) * 16)
            before, out = everything(root), root / f"out{len(seen)}"
            # 3 GB of address space beyond what libraries take: a bomb would not fit
            code, said = engines.call(run(path, out, "--frames", "0:64"), memory_limit=8 << 30)
            strange = {n for n in everything(root) - before if n.split("/")[0] != out.name}
            count["corrupt inputs"] += 1
            count[f"exit {code}"] += 1
            count["tracebacks"] += "Traceback" in said or "this is a bug" in said
            count["ended otherwise"] += code not in _KNOWN
            count["files outside OUT"] += len(strange)
            if code not in _KNOWN or "Traceback" in said or "this is a bug" in said or strange:
                print(path.name, code, said[-500:], strange, flush=True)
                (Path(tempfile.gettempdir()) / f"insitu-corrupt-{sha[:10]}{_SUFFIX[name]}").write_bytes(data)
            if len(seen) % 50 == 0:
                print(dict(count), flush=True)
    return dict(count)
