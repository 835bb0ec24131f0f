"""What a reader also has whose source is still being filled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, runtime_checkable

from insitu.types import Reader

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Past:
    """What an earlier run, that is being resumed, has made of a source.

    Attributes
    ----------
    sources : tuple of (str or None)
        The file of each frame as `Header.source` told it; None where the frame was missing.
    numbers : tuple of int
        Its number.
    fingerprint : dict
        As `Live.fingerprint` gave it.
    """

    sources: tuple[str | None, ...] = ()
    numbers: tuple[int, ...] = ()
    fingerprint: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Live(Reader, Protocol):
    """A reader whose source is still being filled; its ``info.n_frames`` is None."""

    def ready(self, index: int, timeout_s: float, slot: NDArray[Any] | None = None) -> bool:
        """Wait up to `timeout_s` until frame `index` can be given, or it is known that the source ends before it.

        Its pixels may be put into `slot`, which spares a copy if the same slot is then given to `read_into`.

        Raises
        ------
        SourceStopped
            The user wants to wait no longer.
        """

    def lag(self, index: int) -> tuple[int, float]:
        """Return how many frames, and how many s, the source is ahead of frame `index`."""

    def remarks(self) -> list[tuple[int | None, str, str]]:
        """Return what was odd since the last call: frame (None: the source), where, and what."""

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the source however far it has been filled."""

    def account(self) -> dict[str, Any]:
        """Return what ``run.json`` says at the end: files that came late, and whether the order held."""


def is_live(source: object) -> TypeGuard[Live]:
    """Whether `source` is an opened reader whose source is still being filled."""
    return isinstance(source, Live)
