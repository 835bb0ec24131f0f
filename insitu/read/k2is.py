"""Gatan K2-IS raw movies: a ``.gtg`` file and eight ``.bin`` files, one for each sector of the sensor.

A frame is 1860 × 2048 pixels of 12 bits; a sector, 256 columns of it, is 32 blocks of 930 × 16 pixels. Every block has
a header (big-endian) with the frame it belongs to and its place in the sector. The eight files start and stop at
different blocks, and blocks may be lost: frames are found by their number, never by position alone. Layout as in the
public LiberTEM reader (MIT); no file of a real camera was at hand here.
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import BadFrame, InputError
from insitu.read.files import OpenFile, magic, shown
from insitu.read.frames import check_index, check_slot
from insitu.read.untrusted import COPY_AGAIN, reading, reading_frame
from insitu.types import Calibration, Header, SourceInfo

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SECTORS = 8
BLOCKS = 32
BLOCK_BYTES = 0x5758
HEADER_BYTES = 40
ROWS, COLUMNS = 930, 16
HEIGHT, WIDTH = 1860, 256
_SYNC = 0xFFFF0055
_HEADER = np.dtype(
    {
        "names": ["sync", "width", "height", "frame", "x", "y"],
        "formats": [">u4", ">u2", ">u2", ">u4", ">u2", ">u2"],
        "offsets": [0, 20, 22, 24, 28, 30],
        "itemsize": HEADER_BYTES,
    }
)
_IN_BLOCK = np.dtype({"names": ["header"], "formats": [_HEADER], "offsets": [0], "itemsize": BLOCK_BYTES})
# before the shutter opens the camera may run with numbers that start again: looked for in so many frames
_SHUTTER_FRAMES = 400
_NUMBERED = re.compile(r"(.*?)([1-8])\.bin", re.IGNORECASE)
_HINT = "copy all eight .bin files of the movie next to its .gtg"
_NO_TIME = "unknown: K2-IS raw data has no frame time (the camera reads 400 frames/s: --fps 400)"


class _Sector:
    """One ``.bin`` file as a row of blocks, and the block at which the first whole frame begins."""

    def __init__(self, path: Path) -> None:
        self.file = OpenFile(path)
        self.n_blocks = self.file.size // BLOCK_BYTES
        self.base = 0

    def header(self, block: int) -> np.void:
        data = self.file.read(block * BLOCK_BYTES, HEADER_BYTES)
        if len(data) < HEADER_BYTES:
            raise InputError(f"'{shown(self.file.path)}' ends before block {block}", COPY_AGAIN)
        one: np.void = np.frombuffer(data, _HEADER)[0]
        return one

    def frame(self, block: int) -> int:
        """Return the frame number of a block, or where its header is damaged that of the next sound one."""
        for near in range(block, min(block + 4, self.n_blocks)):
            header = self.header(near)
            if header["sync"] == _SYNC:
                return int(header["frame"])
        return int(self.header(block)["frame"])

    def find(self, frame: int, guess: int) -> int:
        """First block of a frame (or of the next that has any), numbers rising from `base` on."""
        if self._belongs(guess, frame) and (guess == self.base or not self._belongs(guess - 1, frame)):
            return guess
        block = bisect_left(range(self.n_blocks), frame, lo=self.base, key=self.frame)
        # a damaged header counts as the block behind it, so the end of the frame before may have been found
        for near in range(block, min(block + 4, self.n_blocks)):
            if self._belongs(near, frame):
                return near
        return block

    def _belongs(self, block: int, frame: int) -> bool:
        return block < self.n_blocks and int(self.header(block)["frame"]) == frame

    def skip_to_recording(self) -> None:
        """Set `base` behind blocks that were sent before the shutter opened, whose frame numbers are higher."""
        first = self.frame(0)
        for block in range(BLOCKS, min(self.n_blocks - BLOCKS, _SHUTTER_FRAMES * BLOCKS), BLOCKS):
            # one damaged header is no new beginning: the next frame must go on from there
            if self.frame(block) < first and self.frame(block) <= self.frame(block + BLOCKS) < first:
                self.base = next(b for b in range(block - BLOCKS, block + 1) if self.frame(b) < first)
                return

    def first_whole(self) -> int:
        """Return the number of the first frame that the file holds from its first block on."""
        begin = self.frame(self.base)
        last = self.base + BLOCKS - 1
        whole = last < self.n_blocks and self.frame(last) == begin
        return begin if whole else begin + 1


class K2ISReader:
    """A K2-IS raw movie.

    Parameters
    ----------
    path : Path
        The ``.gtg``, one of the ``.bin`` files, or a folder that holds one such movie and nothing else of its kind.

    Raises
    ------
    InputError
        Not eight sectors, a sector that does not begin with a block, or no frame that all sectors share.
    """

    def __init__(self, path: Path) -> None:
        from insitu.read.twelve_bits import unpack_blocks

        self._path = path
        self._unpack = unpack_blocks
        # one buffer a thread: a fresh one for every sector costs more in page faults than reading it
        self._buffers = threading.local()
        self._sectors: list[_Sector] = []
        try:
            with reading(path, "K2-IS"):
                self._open()
        except BaseException:
            self.close()
            raise

    @classmethod
    def claims(cls, path: Path) -> bool | str:
        """Return True for a ``.gtg`` with its sectors, one of them, or their folder; else why not."""
        try:
            files = _sector_files(path)
        except OSError as error:
            return f"not readable ({error.strerror})"
        if not files:
            return "no K2-IS sectors beside it" if path.suffix.lower() == ".gtg" else False
        if not magic(files[0], 4).startswith(_SYNC.to_bytes(4, "big")):
            return "its .bin files do not begin with a K2-IS block" if path.suffix.lower() == ".gtg" else False
        return True

    def _open(self) -> None:
        name, files = shown(self._path), _sector_files(self._path)
        if len(files) != SECTORS:
            raise InputError(f"'{name}' has {len(files)} of the {SECTORS} sector files of a K2-IS movie", _HINT)
        for file in files:
            sector = _Sector(file)
            self._sectors.append(sector)
            header = sector.header(0)
            if (header["sync"], header["width"], header["height"]) != (_SYNC, WIDTH, HEIGHT):
                raise InputError(f"'{shown(file)}' does not begin with a K2-IS block", COPY_AGAIN)
        for sector in self._sectors:
            sector.skip_to_recording()
        self._first = max(sector.first_whole() for sector in self._sectors)
        for sector in self._sectors:
            sector.base = sector.find(self._first, sector.base)
        self.info = SourceInfo(
            path=name,
            format="K2-IS raw",
            height=HEIGHT,
            width=SECTORS * WIDTH,
            dtype=np.dtype(np.uint16),
            n_frames=self._count(),
            calibration=Calibration(nm_source="unknown: K2-IS raw data has no pixel size", s_source=_NO_TIME),
            notes=("raw 12-bit counts: no dark or gain correction",),
        )

    def _count(self) -> int:
        """Frames to the last one of which any sector has a block."""
        by_size = max(-(-(s.n_blocks - s.base) // BLOCKS) for s in self._sectors)
        if by_size < 1:
            raise InputError(f"'{shown(self._path)}': no frame that all eight sectors share", COPY_AGAIN)
        ends = [s.frame(s.n_blocks - 1) - self._first + 1 for s in self._sectors if s.n_blocks > s.base]
        # lost blocks make numbers run ahead of the size; a damaged header makes them run anywhere
        believable = [n for n in ends if 0 < n <= 2 * by_size + BLOCKS]
        return max(believable, default=by_size)

    def header(self, index: int) -> Header:
        """Return what is known of frame `index`: its number in the recording."""
        check_index(index, self.info.n_frames)
        return Header(shown(self._sectors[0].file.path.name), self._first + index)

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` (1860, 2048) with frame `index`.

        Raises
        ------
        BadFrame
            ``"incomplete"``: blocks of the frame are missing or damaged, in the sectors named.
        """
        check_index(index, self.info.n_frames)
        check_slot(out, self.info)
        with reading_frame(self._path, index):
            short = []
            for number, sector in enumerate(self._sectors):
                found = self._read_sector(sector, index, out[:, number * WIDTH : (number + 1) * WIDTH])
                if found < BLOCKS:
                    short.append(f"sector {number + 1} has {found} of {BLOCKS} blocks")
            if short:
                raise BadFrame("incomplete", f"frame {self._first + index}: {', '.join(short)}")
        return ()

    def _read_sector(self, sector: _Sector, index: int, out: NDArray[Any]) -> int:
        """Fill the columns of a sector; return how many of its blocks were there."""
        frame = self._first + index
        block = sector.find(frame, sector.base + index * BLOCKS)
        count = min(BLOCKS, sector.n_blocks - block)
        if count < 1:
            return 0
        if not hasattr(self._buffers, "blocks"):
            self._buffers.blocks = np.empty((BLOCKS, BLOCK_BYTES), np.uint8)
        raw = self._buffers.blocks[:count]
        sector.file.fill(raw, block * BLOCK_BYTES)
        headers = raw.view(_IN_BLOCK)[:, 0]["header"]
        good = (headers["sync"] == _SYNC) & (headers["frame"] == frame)
        good &= (headers["x"] % COLUMNS == 0) & (headers["x"] < WIDTH) & (headers["y"] % ROWS == 0)
        good &= headers["y"] < HEIGHT
        y, x = headers["y"][good].astype(np.int64), headers["x"][good].astype(np.int64)
        self._unpack(raw if good.all() else raw[good], y, x, (HEADER_BYTES, ROWS, COLUMNS), out)
        return len(set(zip(y.tolist(), x.tolist(), strict=True)))

    def close(self) -> None:
        """Close the files."""
        for sector in self._sectors:
            sector.file.close()


def _sector_files(path: Path) -> list[Path]:
    """Sector files of a movie in order of their number, from its ``.gtg``, one of them, or their folder."""
    if path.is_dir():
        movies = [p for p in path.iterdir() if p.suffix.lower() == ".gtg"]
        return _sector_files(movies[0]) if len(movies) == 1 else []
    if path.suffix.lower() == ".gtg":
        stem = path.stem
    elif match := _NUMBERED.fullmatch(path.name):
        stem = match[1]
    else:
        return []
    files: dict[int, Path] = {}
    for other in path.parent.iterdir():
        sector = _NUMBERED.fullmatch(other.name)
        if sector and sector[1] == stem:
            files[int(sector[2])] = other
    return [files[number] for number in sorted(files)]
