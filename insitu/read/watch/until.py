"""When watching ends: after a time without anything new, when the user says so, or at once."""

from __future__ import annotations

import threading

# how long the first frame may be waited for although an end was asked for after a shorter silence
FIRST_FRAME_S = 60.0


class Until:
    """What a user wants of the end.

    Parameters
    ----------
    idle_s : float or None
        End once nothing came for this long, in s; None: never by itself.

    Attributes
    ----------
    finish : threading.Event
        Set: no more frames are expected; what is there is read, then the source ends.
    stop : threading.Event
        Set: stop waiting at once (`insitu.errors.SourceStopped`).
    """

    def __init__(self, idle_s: float | None = None) -> None:
        self.idle_s = idle_s
        self.finish = threading.Event()
        self.stop = threading.Event()

    def over(self, silence_s: float, *, begun: bool = True) -> bool:
        """Whether the source ends after a silence of `silence_s`; the first frame may take longer than the others."""
        if self.finish.is_set():
            return True
        if self.idle_s is None:
            return False
        return silence_s >= (self.idle_s if begun else max(self.idle_s, FIRST_FRAME_S))
