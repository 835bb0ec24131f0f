"""One message to a page: its length, plain values as JSON, and the newest picture as JPEG."""

from __future__ import annotations

import base64
import json
import struct
import threading
from typing import TYPE_CHECKING, Any

from insitu import figures
from insitu.errors import InsituError
from insitu.live.pictures import Drawer, enlarged
from insitu.store.about import read_about

if TYPE_CHECKING:
    from insitu.live.board import Board, Happened, News, Seen
    from insitu.live.pictures import Shot


class Messenger:
    """Makes the messages of all pages; a picture that two of them want is drawn once."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._drawing = threading.Lock()
        self._drawer = Drawer()
        self._drawn: dict[tuple[int, bool], bytes] = {}
        self._thumbnails: dict[tuple[int, int], str] = {}
        self._known: tuple[int, dict[str, Any]] = (-1, {})

    def message(self, seen: Seen) -> bytes:
        """Return what a page that has `seen` so much is told next."""
        news = self._board.news(seen)
        with self._drawing:
            known = self._calibration(news.facts["movie"])
            content = {
                **news.facts,
                **known,
                "series": news.part.plain(),
                "events": [self._event(h, news.facts["movie"]) for h in news.happened],
                "picture": None if news.shot is None else _about(news, news.shot, known.get("nm_per_px")),
            }
            jpeg = b"" if news.shot is None else self._jpeg(news, news.shot, outlines=seen.outlines)
        seen.shot = news.number
        text = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
        return struct.pack(">I", len(text)) + text + jpeg

    def _jpeg(self, news: News, shot: Shot, *, outlines: bool) -> bytes:
        key = (news.number, outlines)
        if key not in self._drawn:
            self._drawn = {k: v for k, v in self._drawn.items() if k[0] == news.number}
            self._drawn[key] = self._drawer.jpeg(shot, outlines=outlines)
        return self._drawn[key]

    def _event(self, happened: Happened, movie: int) -> dict[str, Any]:
        picture = None
        if happened.around is not None:
            key = (movie, happened.number)
            if key not in self._thumbnails:
                while len(self._thumbnails) >= 64:
                    self._thumbnails.pop(next(iter(self._thumbnails)))
                self._thumbnails[key] = base64.b64encode(self._drawer.thumbnail(happened.around)).decode()
            picture = {"frame": happened.around.frame, "jpeg": self._thumbnails[key]}
        names = ("number", "kind", "frame", "time_s", "y", "x", "confidence", "note")
        return {name: getattr(happened, name) for name in names} | {"picture": picture}

    def _calibration(self, movie: int) -> dict[str, Any]:
        """Return what the run itself says of its calibration, read once it is there."""
        out = self._board.out
        if self._known[0] != movie and out is not None:
            try:
                stored = (read_about(out) or {}).get("calibration", {})
            except (InsituError, OSError):
                stored = {}
            names = ("nm_per_px", "nm_source", "s_per_frame", "s_source")
            self._known = movie, {name: stored.get(name) for name in names}
        return self._known[1] if self._known[0] == movie else {}


def _about(news: News, shot: Shot, nm_per_px: float | None) -> dict[str, Any]:
    """Return what is written under a picture, and how camera px map onto it."""
    width = shot.image.shape[1] * shot.stride
    bar = None
    if nm_per_px is not None:
        length, text = figures.bar_length(width, nm_per_px)
        bar = [round(length / width, 5), text]
    return {
        "number": news.number,
        "frame": shot.frame,
        "time_s": shot.time_s,
        "particles": len(shot.ids),
        "y0": shot.runs.origin[0],
        "x0": shot.runs.origin[1],
        "scale": enlarged(shot) / shot.stride,
        "bar": bar,
    }
