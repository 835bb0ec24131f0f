"""What every plug-in must pass; nothing in the package imports this module.

Each check raises `AssertionError` with one sentence that says which clause of the contract is broken and where.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import BadFrame, EndOfSource
from insitu.read import open_source
from insitu.types import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

# what a frame gave: its bytes, or the reason why it gave none
_Outcome = tuple[str, bytes | str]


def check_reader(source: Any, *, max_frames: int = 12, threads: int = 3) -> list[NDArray[Any] | str]:  # noqa: ANN401 - as open_source
    """Check a reader against the contract of `insitu.types.Reader`.

    Random access equals sequential access, a slot is filled and nothing outside it touched, a slot of another shape or
    dtype is refused, headers are counted as declared, several threads read what one reads, and `close` may be called
    twice.

    Parameters
    ----------
    source : anything `open_source` takes, or a function without arguments that returns an open reader
    max_frames : int
        Frames read (a long movie is checked on its first ones, its last one included).
    threads : int
        Readers at the same time.

    Returns
    -------
    list of ndarray or str
        The frames that were read, for comparison with another library; the reason for a bad or missing one.

    Raises
    ------
    AssertionError
    """
    opener: Callable[[], Reader] = source if callable(source) else lambda: open_source(source)
    reader = opener()
    try:
        _check_info(reader)
        indices = _indices(reader, max_frames)
        sequential = _sequential(reader, indices)
        if reader.info.n_frames is None:
            _check_end(reader, len(sequential))
        else:
            _check_headers(reader, indices)
            _check_order(reader, sequential)
            _check_threads(reader, sequential, threads)
        _check_refusals(reader)
    finally:
        reader.close()
        reader.close()
    return [_image(outcome, reader) for outcome in sequential.values()]


def _must(holds: bool, clause: str) -> None:
    if not holds:
        raise AssertionError(clause)


def _check_info(reader: Reader) -> None:
    info = reader.info
    _must(isinstance(reader, Reader), f"{type(reader).__name__} lacks a method of Reader")
    _must(info.height >= 1 and info.width >= 1, f"frames of {info.shape} px")
    _must(info.n_frames is None or info.n_frames >= 1, f"{info.n_frames} frames")
    _must(info.dtype.isnative and info.dtype.kind in "iuf", f"dtype {info.dtype} is not a native count")
    for text in (info.path, info.format, info.calibration.nm_source, info.calibration.s_source, *info.notes):
        _must(isinstance(text, str) and text.isprintable(), f"{text!r} is not one printable line")
    for value in (info.calibration.nm_per_px, info.calibration.s_per_frame, info.calibration.exposure_s):
        _must(value is None or (np.isfinite(value) and value > 0), f"calibration {value} is neither positive nor None")


def _indices(reader: Reader, max_frames: int) -> list[int]:
    n_frames = reader.info.n_frames
    if n_frames is None or n_frames <= max_frames:
        return list(range(max_frames if n_frames is None else n_frames))
    return [*range(max_frames - 1), n_frames - 1]


def _read(reader: Reader, index: int, before: int = 77) -> _Outcome:
    """Read one frame into a guarded slot of a batch full of the value `before`; return what came."""
    info = reader.info
    guard = np.array(before).astype(info.dtype)
    batch = np.full((3, *info.shape), guard, info.dtype)
    try:
        flags = reader.read_into(index, batch[1])
    except BadFrame as bad:
        _must(bad.reason.isprintable() and bool(bad.reason), f"frame {index}: a bad frame without a reason")
        return "bad", bad.reason
    finally:
        _must(bool((batch[[0, 2]] == guard).all()), f"frame {index}: pixels outside the slot were written")
    _must(isinstance(flags, tuple) and all(isinstance(f, str) for f in flags), f"frame {index}: flags {flags!r}")
    return "ok", batch[1].tobytes()


def _sequential(reader: Reader, indices: Sequence[int]) -> dict[int, _Outcome]:
    outcomes = {}
    for index in indices:
        try:
            outcomes[index] = _read(reader, index)
        except EndOfSource:
            _must(reader.info.n_frames is None, f"EndOfSource at frame {index} of a movie of known length")
            break
    _must(bool(outcomes), "not one frame")
    return outcomes


def _check_headers(reader: Reader, indices: Iterable[int]) -> None:
    for index in indices:
        header = reader.header(index)
        _must(header.status in {"ok", "missing"}, f"frame {index}: header status {header.status!r}")
        _must(header.source.isprintable(), f"frame {index}: header source {header.source!r}")
        if header.status == "missing":
            _must(_read(reader, index)[0] == "bad", f"frame {index} is missing, yet it was read")
    for index in (-1, reader.info.n_frames or 0):
        for ask in (reader.header, lambda i: reader.read_into(i, np.empty(reader.info.shape, reader.info.dtype))):
            try:
                ask(index)
            except IndexError:
                continue
            _must(holds=False, clause=f"frame {index} lies outside the movie, yet it raised no IndexError")


def _check_order(reader: Reader, expected: dict[int, _Outcome]) -> None:
    order = np.random.default_rng(0).permutation(list(expected))
    for index in (*order, *reversed(expected)):
        _must(_read(reader, int(index)) == expected[int(index)], f"frame {index} differs when it is read out of order")
    for index, outcome in expected.items():
        # what was in the slot before must not shine through
        _must(_read(reader, index, before=33) == outcome, f"frame {index} differs: its slot is not filled as a whole")
    _check_strided(reader, expected)


def _check_strided(reader: Reader, expected: dict[int, _Outcome]) -> None:
    """Read into a slot whose rows do not follow each other, as a cropped view has."""
    height, width = reader.info.shape
    guard = np.array(77).astype(reader.info.dtype)
    frame = np.full((height + 2, width + 2), guard, reader.info.dtype)
    index = next(iter(expected))
    if expected[index][0] != "ok":
        return
    reader.read_into(index, frame[1:-1, 1:-1])
    _must(frame[1:-1, 1:-1].tobytes() == expected[index][1], f"frame {index} differs in a slot with gaps between rows")
    frame[1:-1, 1:-1] = guard
    _must(bool((frame == guard).all()), f"frame {index}: pixels outside a slot with gaps between rows were written")


def _check_threads(reader: Reader, expected: dict[int, _Outcome], threads: int) -> None:
    wrong: list[str] = []

    def read_all(seed: int) -> None:
        try:
            order = np.random.default_rng(seed).permutation(list(expected))
            wrong.extend(f"frame {i} differs" for i in order if _read(reader, int(i)) != expected[int(i)])
        except Exception as error:
            wrong.append(repr(error))

    pool = [threading.Thread(target=read_all, args=(seed,)) for seed in range(threads)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    _must(not wrong, f"{threads} threads at a time: {wrong[:3]}")


def _check_end(reader: Reader, start: int) -> None:
    slot = np.empty(reader.info.shape, reader.info.dtype)
    for index in range(start, start + 10**6):
        try:
            reader.read_into(index, slot)
        except EndOfSource:
            return
        except BadFrame:
            continue
    _must(holds=False, clause="a source of unknown length has no end")


def _check_refusals(reader: Reader) -> None:
    info = reader.info
    other = np.dtype(np.float64 if info.dtype != np.float64 else np.uint8)
    slots = (
        np.empty((info.height + 1, info.width), info.dtype),
        np.empty((1, *info.shape), info.dtype),
        np.empty(info.shape, other),
    )
    for slot in slots:
        try:
            reader.read_into(0, slot)
        except ValueError:
            continue
        _must(holds=False, clause=f"a slot of {slot.shape} {slot.dtype} was taken for {info.shape} {info.dtype}")


def _image(outcome: _Outcome, reader: Reader) -> NDArray[Any] | str:
    kind, value = outcome
    if kind != "ok" or isinstance(value, str):
        return str(value)
    return np.frombuffer(value, reader.info.dtype).reshape(reader.info.shape)
