"""The command line: one file a verb, which parses, calls and prints; no science here.

stdout carries results, stderr progress, logs and errors. Nothing heavy is imported before a verb needs it, so that
``insitu --help`` answers at once.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (see `insitu.errors`)."""
    # OpenMP threads that wait by spinning starve each other where cores are shared: 4 times slower at a load of four
    # a core. Read when torch is loaded, later in this process.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from insitu.cli.failures import guarded
    from insitu.cli.verbs import insitu

    return guarded(insitu, arguments)
