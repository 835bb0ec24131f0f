"""How cameras put a file on a disk; the ways differ in what a program sees that looks at the wrong moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Way = Literal["whole", "slow", "chunked", "rename", "allocated"]
WAYS: tuple[Way, ...] = ("whole", "slow", "chunked", "rename", "allocated")

_CHUNKS = 8


def write_file(path: Path, data: bytes, way: Way, duration_s: float, sleep: Callable[[float], None]) -> None:
    """Write `data` under its final name.

    Parameters
    ----------
    path : Path
    data : bytes
    way : {"whole", "slow", "chunked", "rename", "allocated"}
        At once; the header and, at the end, the rest; in chunks, closed after each; under another name that is changed
        at the end; the full size first, the content piece by piece.
    duration_s : float
        Time in s that it takes, but for ``"whole"``.
    sleep : callable
    """
    if way == "whole":
        path.write_bytes(data)
    elif way == "slow":
        with path.open("wb") as file:
            file.write(data[:512])
            file.flush()
            sleep(duration_s)
            file.write(data[512:])
    elif way == "rename":
        part = path.with_name(path.name + ".part")
        write_file(part, data, "slow", duration_s, sleep)
        part.rename(path)
    else:
        if way == "allocated":
            with path.open("wb") as file:
                file.truncate(len(data))
        size = -(-len(data) // _CHUNKS)
        for first in range(0, len(data), size):
            with path.open("r+b" if way == "allocated" else "ab") as file:
                file.seek(first)
                file.write(data[first : first + size])
            sleep(duration_s / _CHUNKS)
