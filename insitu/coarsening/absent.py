"""What could not be computed, and why: the other half of every result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

Columns = dict[str, "NDArray[Any]"]
"""Columns of one table, named as in `insitu.coarsening.columns`, with ``{length}``, ``{time}``, ``{area}`` unfilled."""


@dataclass(frozen=True, slots=True)
class Absent:
    """One thing that is missing from a result; both halves are read by people."""

    what: str
    why: str
