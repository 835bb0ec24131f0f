"""TIFF, BigTIFF, OME-TIFF and ImageJ stacks.

Pages that lie uncompressed in one block, which is how movies are written, are read by one positioned read into the
slot. All others (compressed, tiled, packed, colour) are decoded by tifffile and imagecodecs, after their claimed size
has been compared with the movie's.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import BadFrame, InputError
from insitu.read import tiff_pages as tp
from insitu.read.files import OpenFile, magic, shown
from insitu.read.frames import GREY_NOTE, check_frame, check_index, check_slot, credible, grey
from insitu.read.picture import LOSSY_NOTE, jpeg_frame
from insitu.read.tiff_metadata import Story, story
from insitu.types import Header, SourceInfo

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# none, LZW, JPEG, deflate (twice), PackBits, LZMA, zstd. Codecs whose decoders size their output by their own header
# (JPEG 2000, WebP, PNG in TIFF) are not asked: nobody stores movies with them.
_CODECS = {1: "", 5: "LZW", 7: "JPEG", 8: "deflate", 32946: "deflate", 32773: "PackBits", 34925: "LZMA", 50000: "zstd"}
_JPEG = 7
_RGB, _PALETTE, _YCBCR = 2, 3, 6
_MIN_IS_WHITE = 0
_UNSIGNED, _SIGNED, _FLOAT, _UNDEFINED = 1, 2, 3, 4

# tifffile reports damage through logging as well as by raising; what is raised is enough
logging.getLogger("tifffile").addHandler(logging.NullHandler())


class TiffReader:
    """A TIFF file as a movie: one frame a page, thumbnails left out.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        No page that can be read, a stack of more than three dimensions, or an unknown compression.
    """

    def __init__(self, path: Path) -> None:
        self._name = shown(path)
        self._file = OpenFile(path)
        self._pages = tp.walk(self._file)
        self._lock = threading.Lock()
        self._tifffile: Any = None
        full = [k for k, reduced in enumerate(self._pages.reduced) if not reduced] or [0]
        first = full[0]
        self._form = self._pages.forms[self._pages.form[first]]
        check_frame(self._form.height, self._form.width, self._name, self._form.samples)
        dtype = _dtype(self._form, self._name)
        self._story = self._tell(first, len(full))
        self._stored = dtype.newbyteorder(self._pages.order)
        self._plan(full, dtype.itemsize * self._form.height * self._form.width)
        self.info = SourceInfo(
            self._name, self._story.kind, self._form.height, self._form.width, dtype, len(self._frame_page),
            self._story.calibration, self._notes, lossy=self._form.compression == _JPEG,
        )  # fmt: skip

    @classmethod
    def claims(cls, path: Path) -> bool | str:
        """Whether `path` starts with a TIFF signature, or is named like one."""
        if tp.is_tiff(magic(path)):
            return True
        return (path.is_file() and path.suffix.lower() in {".tif", ".tiff", ".btf", ".tf8"}) or "no TIFF signature"

    def _tell(self, first: int, n_pages: int) -> Story:
        at = self._pages.at[first]
        x, y, unit = (
            tp.number_tag(self._file, self._pages, at, tag)
            for tag in (tp.X_RESOLUTION, tp.Y_RESOLUTION, tp.RESOLUTION_UNIT)
        )
        text = tp.text_tag(self._file, self._pages, at, tp.DESCRIPTION)
        return story(text, n_pages, (x, y, 2 if unit is None else int(unit)), shown(self._file.path.name))

    def _plan(self, full: list[int], frame_bytes: int) -> None:
        """Lay out the timeline: for each frame its page, and its pixel offset where it needs no decoding."""
        self._notes = (*self._story.notes, *_remarks(self._form))
        if len(full) < len(self._pages):
            self._notes += (f"{len(self._pages) - len(full)} thumbnails ignored",)
        if self._pages.complaint:
            self._notes += (self._pages.complaint,)
        pages = np.asarray(full, np.int64)
        images = self._story.images
        offset = self._pages.offset[full[0]]
        if images is not None and images > len(full) and self._in_one_block(full, images, frame_bytes):
            # ImageJ beyond 4 GB: one directory, then `images` frames one after the other
            images, note = credible(images, self._file.size - offset, frame_bytes, self._name)
            self._frame_page = np.full(images, full[0], np.int64)
            self._frame_offset = offset + frame_bytes * np.arange(images, dtype=np.int64)
            self._notes += note
            step = self._story.planes
            if isinstance(step, range):
                self._frame_page, self._frame_offset = (a[:: step.step] for a in (self._frame_page, self._frame_offset))
            return
        if self._story.planes is not None:
            wanted = np.asarray(self._story.planes, np.int64)
            wanted = wanted[wanted < len(full)] if isinstance(self._story.planes, range) else wanted
            pages = np.where((wanted >= 0) & (wanted < len(full)), pages[np.clip(wanted, 0, len(full) - 1)], -1)
        if images is not None and images > len(full):
            self._notes += (f"cut short: {images} frames declared, {len(full)} found",)
        self._frame_page = pages
        self._frame_offset = np.where(pages >= 0, np.asarray(self._pages.offset, np.int64)[pages], -1)

    def _in_one_block(self, full: list[int], images: int, frame_bytes: int) -> bool:
        """Whether `images` frames follow the first page's pixels without a gap, as far as the directories show.

        In a file cut short whose writer put a directory before each frame, the bytes behind the first frame are no
        frame: reading on would give pixels of two frames and a directory as one.
        """
        begin = self._pages.offset[full[0]]
        directories = np.array([*self._pages.at[1:], tp.next_directory(self._file, self._pages)], np.float64)
        among = (directories >= begin) & (directories < begin + frame_bytes * images)
        found = np.asarray(self._pages.offset, np.int64)[full]
        return begin >= 0 and not among.any() and bool((np.diff(found) == frame_bytes).all())

    def header(self, index: int) -> Header:
        """Return page and recorded time of frame `index`; a plane that the file's metadata leave out is missing."""
        check_index(index, self.info.n_frames)
        page = int(self._frame_page[index])
        times = self._story.times
        return Header(
            source=shown(self._file.path.name),
            source_number=index if self._frame_offset[index] >= 0 and self._story.images else page,
            status="missing" if page < 0 else "ok",
            time_s=times[index] if index < len(times) else None,
        )

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` with frame `index`.

        Raises
        ------
        BadFrame
            ``"truncated"``, ``"shape changed"``, ``"dtype changed"`` or ``"unreadable"``.
        """
        check_index(index, self.info.n_frames)
        check_slot(out, self.info)
        page = int(self._frame_page[index])
        if page < 0:
            raise BadFrame("missing", f"frame {index} is not in {self._name}")
        form = self._pages.forms[self._pages.form[page]]
        if form is not self._form:
            _same_or_bad(form, self._form, f"page {page} of {self._name}", self.info.dtype)
        if self._pages.end[page] > self._file.size:
            raise BadFrame(
                "truncated", f"page {page} of {self._name} is not whole: pixels are missing or outside the file"
            )
        offset = int(self._frame_offset[index])
        if offset >= 0:
            self._file.fill_frame(out, offset, self._stored)
        else:
            self._decode(page, form, out)
        return ()

    def _decode(self, page: int, form: tp.Form, out: NDArray[Any]) -> None:
        """Decode page `page` into `out`; whatever a damaged stream makes a decoder raise means an unreadable frame."""
        where = f"page {page} of {self._name}"
        try:
            self._decode_directory(self._directory(page), form, out, where)
        except BadFrame:
            raise
        except Exception as error:
            raise BadFrame("unreadable", f"{where}: {shown(str(error))[:200]}") from error

    def _decode_directory(self, plane: Any, form: tp.Form, out: NDArray[Any], where: str) -> None:  # noqa: ANN401 - TiffPage
        if form.compression == _JPEG:
            self._check_jpeg(plane, form, where)
        shape: tuple[int, ...] = (form.height, form.width)
        if form.samples > 1:
            shape = (form.samples, *shape) if form.planar == tp.SEPARATE else (*shape, form.samples)
        if plane.shape != shape:
            raise BadFrame("unreadable", f"{where} has the unexpected shape {plane.shape}")
        if form.samples == 1 and plane.dtype == out.dtype and out.flags.c_contiguous:
            # through a view: tifffile changes the shape of the array it is given
            plane.asarray(out=out.view(), maxworkers=1)
        else:
            _reduce(plane.asarray(maxworkers=1), form, out)

    def _directory(self, page: int) -> Any:  # noqa: ANN401 - tifffile.TiffPage
        """Return tifffile's view of a page; parsing moves the shared file position, hence the lock."""
        import tifffile

        with self._lock:
            if self._tifffile is None:
                self._tifffile = tifffile.TiffFile(self._file.path)
                self._tifffile.filehandle.set_lock(True)
            handle = self._tifffile.filehandle
            with handle.lock:
                handle.seek(self._pages.at[page])
                return tifffile.TiffPage(self._tifffile, index=page)

    def _check_jpeg(self, plane: Any, form: tp.Form, where: str) -> None:  # noqa: ANN401 - TiffPage
        """Refuse a JPEG segment that claims to be larger than its strip or tile: its decoder would believe it."""
        height, width = (plane.tilelength, plane.tilewidth) if plane.is_tiled else (plane.rowsperstrip, form.width)
        for offset, count in zip(plane.dataoffsets, plane.databytecounts, strict=True):
            frame = jpeg_frame(self._file.read(offset, min(count, 1 << 16)))
            if frame is None or frame[1] > max(height, 8) or frame[2] > max(width, 8):
                raise BadFrame(
                    "unreadable", f"{where}: a JPEG segment claims {frame} (bits, height, width, components)"
                )

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        with self._lock:
            if self._tifffile is not None:
                self._tifffile.close()


def _dtype(form: tp.Form, name: str) -> np.dtype[Any]:
    """Return the dtype of one sample; packed 1–7 and 9–15 bit counts are widened."""
    if form.compression not in _CODECS:
        raise InputError(
            f"'{name}' is compressed by method {form.compression}, which is not read",
            "save it again without compression, or with zstd or deflate",
        )
    kind = "u" if form.sample_format in {_UNSIGNED, _UNDEFINED} else {_SIGNED: "i", _FLOAT: "f"}.get(form.sample_format)
    bits = form.bits
    if kind == "u" and 1 <= bits < 16:
        bits = 8 if bits <= 8 else 16
    if (kind, bits) not in {(k, b) for k in "ui" for b in (8, 16, 32, 64)} | {("f", 16), ("f", 32), ("f", 64)}:
        raise InputError(
            f"'{name}' stores pixels as format {form.sample_format} of {form.bits} bits, which are no camera counts",
            "save it again as 8- or 16-bit grey",
        )
    return np.dtype(f"{kind}{bits // 8}")


def _remarks(form: tp.Form) -> tuple[str, ...]:
    notes = []
    if form.samples >= 3 and form.photometric in {_RGB, _YCBCR}:
        notes.append(GREY_NOTE)
    elif form.samples > 1:
        notes.append(f"{form.samples} samples a pixel: the first is used")
    if form.photometric == _PALETTE:
        notes.append("colour table ignored: the stored indices are read")
    if form.photometric == _MIN_IS_WHITE:
        notes.append("stored with white as zero: contrast is as stored, not as displayed")
    if form.compression == _JPEG:
        notes.append(LOSSY_NOTE)
    return tuple(notes)


def _same_or_bad(form: tp.Form, first: tp.Form, where: str, dtype: np.dtype[Any]) -> None:
    """Raise BadFrame unless a page has the shape and dtype of the movie; how it is stored may differ."""
    if (form.height, form.width) != (first.height, first.width):
        claims = f"{form.height} × {form.width} px, the movie has {first.height} × {first.width}"
        raise BadFrame("shape changed", f"{where} has {claims}")
    if form.samples != first.samples:
        raise BadFrame("shape changed", f"{where} has {form.samples} samples a pixel, the movie {first.samples}")
    try:
        changed = _dtype(form, where) != dtype
    except InputError as error:
        raise BadFrame("dtype changed", error.message) from error
    if changed:
        raise BadFrame("dtype changed", f"{where} has {form.bits} bits of format {form.sample_format}, not {dtype}")


def _reduce(image: NDArray[Any], form: tp.Form, out: NDArray[Any]) -> None:
    """Fill `out` with a decoded page: colour averaged, further samples dropped."""
    if form.samples == 1:
        out[...] = image
        return
    if form.planar == tp.SEPARATE:
        image = np.moveaxis(image, 0, -1)
    if form.samples >= 3 and form.photometric in {_RGB, _YCBCR}:
        grey(image, out)
    else:
        out[...] = image[..., 0]
