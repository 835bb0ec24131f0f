"""How a command ended, and the environment it runs in."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def refused(self, code: int) -> tuple[str, str]:
        """Message and hint of a command that must have ended with `code`, with two lines and nothing else on stderr."""
        assert self.code == code, self
        assert self.out == ""
        lines = self.err.splitlines()
        assert len(lines) == 2, self.err
        assert lines[0].startswith("error: ")
        assert lines[1].startswith("hint:  ")
        return lines[0].removeprefix("error: "), lines[1].removeprefix("hint:  ")


def environment() -> dict[str, str]:
    """One thread a process: tests share the machine."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
