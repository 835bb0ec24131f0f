"""How a run is going, in one word that can be read across the room, and a sentence that says why."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

Word = Literal["WAITING", "LIVE", "LAGGING", "STALLED", "DONE", "STOPPED", "FAILED"]

# s behind the camera at which a run lags, and at which it has caught up again
LAGS_S, CAUGHT_UP_S = 1.0, 0.5
# a run without results for so many times its longest recent wait has stalled; never sooner, nor later, than (s)
_TIMES, _SOONEST_S, _LATEST_S = 3.0, 2.0, 30.0
_RECENT = 32


@dataclass(frozen=True, slots=True)
class Signs:
    """What the state is told from; `quiet_s` is the time since the last result, or since the start before the first."""

    quiet_s: float
    started: bool = False
    opened: bool = False
    limit_s: float = _SOONEST_S
    lag_frames: int | None = None
    lag_s: float | None = None
    lagged: bool = False
    ended: tuple[Word, str] | None = None


def state(signs: Signs) -> tuple[Word, str]:
    """Return the word, and a sentence for small print."""
    if signs.ended is not None:
        return signs.ended
    if not signs.started:
        doing = "reading the first frames and loading the model" if signs.opened else "no frame has come yet"
        return "WAITING", f"{doing}, {_rounded(signs.quiet_s)}"
    if signs.quiet_s > signs.limit_s:
        return "STALLED", _stalled(signs)
    if signs.lag_s is not None and signs.lag_s > (CAUGHT_UP_S if signs.lagged else LAGS_S):
        return "LAGGING", f"{signs.lag_s:.1f} s behind the camera; every frame is kept and will be analysed"
    return (
        "LIVE",
        "every frame is analysed as it comes" if signs.lag_frames is not None else "frames are being analysed",
    )


def _stalled(signs: Signs) -> str:
    quiet = _rounded(signs.quiet_s)
    if signs.lag_frames is None:
        return f"no frame was finished for {quiet}"
    if signs.lag_frames:
        return f"frames are there, but none was finished for {quiet}"
    return f"no new frame from the camera for {quiet}"


def _rounded(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min"


class Pace:
    """Learns how long a run usually waits for its next result, and so when it has stalled."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._gaps: deque[float] = deque(maxlen=_RECENT)

    def result(self, now: float) -> None:
        """Note a result at `now` (s)."""
        if self._last is not None:
            self._gaps.append(now - self._last)
        self._last = now

    @property
    def limit_s(self) -> float:
        """Seconds without a result after which the run has stalled."""
        return min(max(_SOONEST_S, _TIMES * max(self._gaps, default=0.0)), _LATEST_S)
